"""The commands `isp register`, `isp order` and `isp status` (figure 5)."""

import argparse
import json
import sys
import time
import uuid
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.markdown import Markdown
from rich.prompt import Confirm, Prompt

from ispops.client import asking, screens
from ispops.client.api import Isp, Json, LoginEnded, Refused, ServerAway
from ispops.client.asking import EXIT_CODES, NOT_QUALIFIED, UNDECIDED

DONE, NOT_DONE = 0, 1
ENDS = {"completed": DONE, "partial": DONE, "failed": NOT_DONE, "cancelled": NOT_DONE}
BETWEEN_LOOKS = 1.0
# What the server asks back, and the words for the question.
ASKED_BACK = {
    "person_known": ("is_another_person", "Are you another person, who has no account?"),
    "premises_served": ("premises_answer", "What is it?"),
}


class _NotGiven(Refused):
    """Something has to be given that nobody is there to be asked for."""

    def __init__(self, option: str, what: str) -> None:
        super().__init__({"detail": f"Say {what}: {option}"})


def register(isp: Isp, asked: argparse.Namespace) -> int:
    """Qualify, choose, accept, order, and watch; returns the exit code."""
    console, interactive = Console(), not asked.json and sys.stdin.isatty()
    accounts = isp.accounts()
    answer = _answer(isp, asked, console, interactive=interactive)
    if EXIT_CODES.get(answer["state"], NOT_QUALIFIED):
        screens.show_answer(console, answer, isp.page_of(answer["id"]))
        return EXIT_CODES.get(answer["state"], NOT_QUALIFIED)
    if interactive:
        screens.show_answer(console, answer, isp.page_of(answer["id"]))
    chosen = _chosen(answer, asked, console, interactive=interactive)
    wanted: Json = {
        "qualification": answer["id"],
        "offering_codes": [offer["offering"] for offer in chosen],
        **_person(isp, asked, accounts, console, interactive=interactive),
    }
    if interactive:
        screens.show_price(console, chosen)
    wanted["terms_version"] = _terms(isp, asked, accounts, console, interactive=interactive)
    if interactive and not Confirm.ask("[bold]Order this?[/]", console=console):
        console.print("Nothing was ordered.")
        return NOT_DONE
    made = _place(isp, wanted, asked, console, interactive=interactive)
    if asked.json:
        _print(made)
        return DONE
    console.print("[green]✓[/] Your order is placed.")
    return DONE if asked.no_wait else _follow(isp, made["order"], console)


def order(isp: Isp, asked: argparse.Namespace) -> int:
    """Show an order; stay until it is done, unless told otherwise."""
    found = isp.order(asked.order)
    if asked.json:
        _print(found)
    elif asked.no_wait:
        Console().print(screens.order_view(found, isp.order_page(found["id"])))
    else:
        return _follow(isp, found["id"], Console())
    return ENDS.get(found["state"], UNDECIDED)


def status(isp: Isp, asked: argparse.Namespace) -> int:
    """Show the accounts of the login and their orders."""
    accounts, orders = isp.accounts(), isp.orders()
    if asked.json:
        _print({"accounts": accounts, "orders": orders})
        return DONE
    console = Console()
    for account in accounts:
        pays = account["pays_by"] or "nothing chosen yet"
        console.print(f"{account['name']}  {account['id']}", style="bold", markup=False)
        console.print(f"  {account['standing']}, pays by: {pays}", style="dim", markup=False)
    if not accounts:
        console.print("This login has no account yet. Begin with: isp register")
    for row in orders:
        console.print()
        console.print(screens.order_view(row, isp.order_page(row["id"])))
    return DONE


def _answer(isp: Isp, asked: argparse.Namespace, console: Console, *, interactive: bool) -> Json:
    if asked.qualification:
        return isp.answer(asked.qualification)[0]
    return asking.ask(isp, asked, console, interactive=interactive)


def _chosen(
    answer: Json, asked: argparse.Namespace, console: Console, *, interactive: bool
) -> list[Json]:
    """Return the plan and what goes with it, as they were promised."""
    eligible = {offer["offering"]: offer for offer in answer["offers"] if offer["eligible"]}
    plans = [code for code, offer in eligible.items() if offer["kind"] in screens.PLANS]
    plan = asked.plan
    if plan is None and not interactive:
        raise _NotGiven("--plan CODE", f"which plan, of {', '.join(plans)}")
    if plan is None:
        plan = Prompt.ask("[bold]Which plan?[/]", console=console, choices=plans)
    extras = asked.extras
    if extras is None and interactive:
        extras = _asked_extras(eligible, plan, console)
    codes = [plan, *(extras or [])]
    for code in codes:
        if code not in eligible:
            others = plans if code == plan else [one for one in eligible if one not in plans]
            raise Refused({"detail": f"This place cannot have {code}{_instead(eligible, others)}."})
    return [eligible[code] for code in codes]


def _instead(eligible: dict[str, Json], codes: list[str]) -> str:
    """What there is, by code and name, for whoever knows the plans by their names alone."""
    names = [f"{code} ({eligible[code]['name']})" for code in codes]
    return f"; it can have {', '.join(names)}" if names else ""


def _asked_extras(eligible: dict[str, Json], plan: str, console: Console) -> list[str]:
    """Ask for each product that can go with the line; what does not fit the server refuses."""
    parts = eligible.get(plan, {}).get("includes") or []
    return [
        code
        for code, offer in eligible.items()
        if offer["kind"] == "bsp" and offer.get("is_subscription") and code not in parts
        if Confirm.ask(f"With {offer['name']}?", console=console, default=False)
    ]


def _person(
    isp: Isp,
    asked: argparse.Namespace,
    accounts: list[Json],
    console: Console,
    *,
    interactive: bool,
) -> Json:
    """Who pays, and how; a login with an account is asked for neither."""
    given: Json = {"is_another_person": asked.another_person}
    if asked.premises_answer:
        given["premises_answer"] = asked.premises_answer
    if accounts and not asked.pay:
        return given
    kinds = [str(each["kind"]) for each in isp.payment_kinds()]
    name, phone, pay = asked.name, asked.phone, asked.pay
    if not accounts and interactive:
        name = name or Prompt.ask("[bold]Full name, as on the bill[/]", console=console)
        if phone is None:
            phone = Prompt.ask("Phone, for the installer (may be empty)", console=console)
        pay = pay or Prompt.ask("[bold]How will you pay?[/]", console=console, choices=kinds)
    for option, value in (("--name NAME", name), (f"--pay {'|'.join(kinds)}", pay)):
        if not value and not accounts:
            raise _NotGiven(option, "who pays, and how")
    said = {"name": name, "phone": phone, "payment_kind": pay}
    return given | {field: value for field, value in said.items() if value}


def _terms(
    isp: Isp,
    asked: argparse.Namespace,
    accounts: list[Json],
    console: Console,
    *,
    interactive: bool,
) -> str:
    """Return the version of the terms that is accepted, after it was shown."""
    if asked.accept_terms:
        return str(asked.accept_terms)
    newest = isp.terms()
    if accounts and not accounts[0]["terms_to_accept"]:
        return str(newest["version"])
    if not interactive:
        raise _NotGiven(f"--accept-terms {newest['version']}", "that you accept the terms")
    console.print()
    console.print(Markdown(str(newest["text"])))
    console.print()
    question = f"[bold]Do you accept these terms[/] (version {newest['version']})?"
    if not Confirm.ask(question, console=console):
        raise Refused({"detail": "Without the terms nothing can be ordered. Nothing was."})
    return str(newest["version"])


def _place(
    isp: Isp, wanted: Json, asked: argparse.Namespace, console: Console, *, interactive: bool
) -> Json:
    """Order, and answer what the server asks back; one key for all that is the same order."""
    key = asked.key or uuid.uuid4().hex
    while True:
        try:
            return isp.register(wanted, key=key)
        except ServerAway as away:
            raise ServerAway(
                f"{away} The order may have come through. To be sure, run it again with --key {key}"
            ) from away
        except Refused as refused:
            name, question = ASKED_BACK.get(refused.code, ("", ""))
            if not interactive or not name or wanted.get(name):
                raise
            console.print(f"[yellow]![/] {refused}", highlight=False)
            wanted[name] = _asked_back(name, question, console)
            if not wanted[name]:
                raise
            key = uuid.uuid4().hex


def _asked_back(name: str, question: str, console: Console) -> Any:
    if name == "is_another_person":
        return Confirm.ask(question, console=console, default=False)
    choices = ["second_line", "moving_in", "neither"]
    said = Prompt.ask(question, console=console, choices=choices)
    return "" if said == "neither" else said


def _follow(isp: Isp, order_id: str, console: Console) -> int:
    """Show an order until it is done; each look that fails is tried again for a while."""
    found = isp.order(order_id)
    failures = 0
    with Live(console=console, auto_refresh=False) as live:
        while True:
            live.update(screens.order_view(found, isp.order_page(order_id)), refresh=True)
            if found["state"] in ENDS:
                return ENDS[found["state"]]
            time.sleep(BETWEEN_LOOKS * (1 + failures))
            try:
                found, failures = isp.order(order_id), 0
            except (ServerAway, LoginEnded):
                failures += 1
                if failures > 10:
                    raise


def _print(found: Any) -> None:
    sys.stdout.write(json.dumps(found, indent=2) + "\n")
