"""What the terminal shows of an answer: for people, in their words, narrow or wide."""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

Json = dict[str, Any]

# A state is a word and a shape, and only then a colour.
STATES = {
    "qualified": ("green", "✓", "You can be connected"),
    "qualified_with_construction": ("green", "✓", "You can be connected, once the line is built"),
    "not_qualified": ("red", "✗", "Nothing reaches this place yet"),
    "out_of_footprint": ("red", "✗", "This place is outside our area"),
    "choose": ("yellow", "?", "Which of these is it?"),
    "pending": ("yellow", "…", "We are still asking a network"),
    "failed": ("red", "!", "No network could answer"),
}
WIDE = 76


def show_answer(console: Console, answer: Json, page: str) -> None:
    """Print an answer: what it is, the plans, what they carry, what is not there and why."""
    console.print(_summary(answer))
    offers = answer.get("offers") or []
    plans = [offer for offer in offers if offer["eligible"] and offer["kind"] in PLANS]
    extras = [offer for offer in offers if offer["eligible"] and offer["kind"] not in PLANS]
    refused = [offer for offer in offers if not offer["eligible"]]
    if plans:
        console.print(_plans(plans, wide=console.width >= WIDE))
    if limited := [plan for plan in plans if plan["usage_terms"]]:
        console.print(_list("Data", (_terms(plan) for plan in limited)))
    if extras:
        console.print(_list("Works with your line", (_extra(offer) for offer in extras)))
    if refused:
        names = {offer["offering"]: offer["name"] for offer in offers}
        lines = (_refusal(offer, names) for offer in refused)
        console.print(_list("Not available here, and why", lines))
    console.print(f"[dim]Reference[/] {escape(answer['id'])}", soft_wrap=True)
    console.print(f"[dim]Page     [/] {escape(page)}", soft_wrap=True)


PLANS = ("access", "bundle")

# A step's or an order's state as a shape, and only then a colour.
STEP_LOOKS = {
    "completed": ("✓", "green"),
    "skipped": ("✓", "green"),
    "ready": ("◔", "cyan"),
    "awaiting": ("◔", "cyan"),
    "fallout": ("!", "yellow"),
    "cancelled": ("✗", "red"),
}
ORDER_WORDS = {
    "acknowledged": "We have your order and are about to start",
    "pending": "It waits for the day that was asked for",
    "in_progress": "We are at work",
    "held": "It takes longer: one of us is looking into it",
    "completed": "Everything is set up",
    "partial": "What could be delivered is set up",
    "failed": "We could not deliver this. Nothing is charged for it",
    "cancelled": "This order was cancelled. Nothing is charged for it",
}


def show_code(console: Console, code: str, page: str, direct_page: str) -> None:
    """Tell somebody where to go, and what to compare or type there."""
    lines: list[RenderableType] = [
        Text("Open this page in a browser, on any device:"),
        Text(direct_page, style="bold cyan"),
        Text(""),
        Text.assemble("The code there must be ", (code, "bold")),
    ]
    if direct_page != page:
        lines.append(Text(f"(without the code: {page})", style="dim"))
    console.print(Panel(Group(*lines), expand=False), soft_wrap=True)


def order_view(order: Json, page: str) -> Group:
    """Draw an order and its steps as they stand now."""
    done = sum(step["state"] in {"completed", "skipped"} for step in order["steps"])
    state = str(order["state"])
    names = ", ".join(str(item["name"]) for item in order["items"])
    table = Table.grid(padding=(0, 1))
    for step in order["steps"]:
        shape, color = STEP_LOOKS.get(step["state"], ("○", "dim"))
        table.add_row(
            Text(shape, style=color), Text(str(step["words"])), Text(step["status"], style="dim")
        )
    lines: list[RenderableType] = [
        Text.assemble((ORDER_WORDS.get(state, state), "bold")),
        Text(f"{names}  ({done} of {len(order['steps'])} steps done)", style="dim"),
        table,
    ]
    if state in OPEN_ORDERS:
        lines.append(Text(f"Expected by {_day(order['expected_at'])}", style="dim"))
    lines += [Text(f"Order {order['id']}", style="dim"), Text(page, style="dim")]
    return Group(*lines)


OPEN_ORDERS = ("acknowledged", "pending", "in_progress", "held")


def show_price(console: Console, chosen: list[Json]) -> None:
    """Print what is about to be ordered, with the sums."""
    currency = chosen[0]["currency"]
    monthly = sum(Decimal(offer["recurring_amount"]) for offer in chosen)
    once = sum(
        Decimal(offer["one_off_amount"]) + Decimal(offer["construction_fee"]) for offer in chosen
    )
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("You order")
    table.add_column("Price", justify="right")
    for offer in chosen:
        table.add_row(escape(offer["name"]), _price(offer))
    table.add_row("[bold]Every month[/]", f"[bold]{money(currency, str(monthly))}[/]")
    if once:
        table.add_row("[bold]Once[/]", f"[bold]{money(currency, str(once))}[/]")
    console.print(table)
    console.print("[dim]Before tax. Charging starts on the day your line goes live.[/]")


def is_guess(question: Json, answer: Json) -> bool:
    """Whether the candidates are what the address may mean, and not what it says."""
    insisted = question.get("as_written")
    return "address" in question and answer.get("confidence") == "yellow" and not insisted


def show_candidates(console: Console, answer: Json, *, guessed: bool = False) -> None:
    """Print the places to choose from, numbered from 1; 0 is the address as it was written."""
    console.print(_summary(answer))
    for number, place in enumerate(answer["candidates"], start=1):
        metres = place.get("distance_m")
        away = f"  [dim]{metres} m away[/]" if isinstance(metres, int) else ""
        console.print(f"  [bold]{number:>3}[/]  {escape(place['address'])}{away}")
    if guessed:
        console.print(f"  [bold]  0[/]  None of these: {escape(str(answer['address']))} is right")


def waiting_for(answer: Json) -> str:
    """Say who is being asked, for the line that moves while it waits."""
    asked = [
        str(inquiry.get("provider_name") or inquiry.get("provider"))
        for inquiry in answer.get("inquiries") or []
        if inquiry.get("state") == "pending"
    ]
    who = " and ".join(asked) if asked else "the network"
    return f"Asking {who} what it can deliver …"


def speed(kbps: int | None) -> str:
    """Write a speed for people: `25 Mbit/s`, `1.5 Gbit/s`; a hyphen where there is none."""
    if not kbps:
        return "-"
    whole, unit = (Decimal(kbps), "kbit/s")
    if kbps >= 1_000_000:
        whole, unit = Decimal(kbps) / 1_000_000, "Gbit/s"
    elif kbps >= 1_000:
        whole, unit = Decimal(kbps) / 1_000, "Mbit/s"
    return f"{whole.quantize(Decimal('0.01')).normalize():f} {unit}"


def money(currency: str, amount: str) -> str:
    return f"{currency} {Decimal(amount):,.2f}"


def _summary(answer: Json) -> Panel:
    color, shape, words = STATES.get(answer["state"], ("white", "·", answer["state"]))
    premises = answer.get("premises") or {}
    lines: list[RenderableType] = [
        Text.assemble((f"{shape} {words}", f"bold {color}")),
        Text(str(premises.get("address") or answer["address"])),
    ]
    if answer.get("remark"):
        lines.append(Text(str(answer["remark"]), style="yellow"))
    if answer["state"].startswith("qualified"):
        lines.append(
            Text(f"These prices are yours until {_day(answer['expires_at'])}, before tax.")
        )
    return Panel(Group(*lines), border_style=color, expand=False)


def _plans(plans: list[Json], *, wide: bool) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("Plan")
    if wide:
        table.add_column("Network")
    table.add_column("Down", justify="right")
    table.add_column("Up", justify="right")
    table.add_column("A month", justify="right")
    table.add_column("Ready in", justify="right")
    for plan in sorted(plans, key=lambda offer: -(offer["download_kbps"] or 0)):
        owner = plan.get("provider_name") or plan.get("provider") or ""
        network = ", ".join(filter(None, (owner, plan.get("technology_name"))))
        name = (
            escape(plan["name"]) if wide else f"{escape(plan['name'])}\n[dim]{escape(network)}[/]"
        )
        table.add_row(
            name,
            *([escape(network)] if wide else []),
            speed(plan["download_kbps"]),
            speed(plan["upload_kbps"]),
            _price(plan),
            _days(plan["install_days"]),
        )
    return table


def _price(offer: Json) -> str:
    parts = [money(offer["currency"], offer["recurring_amount"])]
    for name, words in (("one_off_amount", "once"), ("construction_fee", "to build the line")):
        if Decimal(offer[name]):
            parts.append(f"[dim]+ {money(offer['currency'], offer[name])} {words}[/]")
    return "\n".join(parts)


def _days(days: int | None) -> str:
    return "-" if days is None else "1 day" if days == 1 else f"{days} days"


def _extra(offer: Json) -> str:
    terms = []
    if Decimal(offer["recurring_amount"]):
        terms.append(f"{money(offer['currency'], offer['recurring_amount'])} a month")
    if Decimal(offer["one_off_amount"]):
        terms.append(f"{money(offer['currency'], offer['one_off_amount'])} once")
    if offer["usage_terms"]:
        terms.append(offer["usage_terms"])
    return f"[bold]{escape(offer['name'])}[/]  {escape('; '.join(terms))}"


def _terms(plan: Json) -> str:
    return f"[bold]{escape(plan['name'])}[/]  {escape(plan['usage_terms'])}"


def _refusal(offer: Json, names: dict[str, str]) -> str:
    line = f"[bold]{escape(offer['name'])}[/]  {escape(offer['reason'])}"
    if other := str(offer.get("alternative") or ""):
        line += f" Closest: {escape(names.get(other, other))}."
    return line


def _list(title: str, lines: Iterable[str]) -> Group:
    table = Table.grid(padding=(0, 1))
    for line in lines:
        table.add_row("•", line)
    return Group(Text(f"\n{title}", style="dim"), table)


def _day(instant: str) -> str:
    return f"{datetime.fromisoformat(instant).astimezone():%B %-d, %Y}"
