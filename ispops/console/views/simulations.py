"""A simulation: how far it is, what the draft would bring in, and who would pay more or less."""

import csv
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from django.db.models import F, QuerySet, Sum
from django.db.models.functions import Abs
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from ispops.console import actions, charts, pages, price_page
from ispops.money import from_micros
from ispops.parties.models import Subscriber
from ispops.uploads import harmless_row
from rating import rerating, simulations
from rating.differences import Tally, bar_names
from rating.models import Simulation
from rating.simulations import OPEN

SEE = "rating.view_simulation"
POST = "rating.post_simulation"
SIMULATE = "rating.add_simulation"
_SEE_NAMES = "parties.view_subscriber"
LARGEST = 20
_PARTS = ("Revenue before tax", "ISP", "BSP", "Network provider", "Tax on top")
_COLUMNS = ("net", "isp", "bsp", "network_provider", "tax")


@require_safe
def page(request: HttpRequest, ref: str) -> HttpResponse:
    """Show what has come out so far; that part asks for itself again while a worker has it."""
    row = _get(ref)
    facts: dict[str, Any] = {
        "simulation": row,
        "currency": row.facts["currency"],
        "is_open": row.state in OPEN,
        "percent": charts.percent(row.accounts_done, row.accounts_total),
        **_summary(row),
    }
    if request.headers.get("HX-Request"):
        part = render(request, "console/_simulation.html", facts)
        if row.state not in OPEN:
            # The largest differences are known now, and come with the whole page.
            part["HX-Refresh"] = "true"
        return part
    price = price_page.words_of_facts(row.draft.offering, row.facts, row.created_at)
    return pages.show(
        request,
        "console/simulation.html",
        "Re-rating" if row.is_rerating else "Simulation",
        **facts,
        may_cancel=row.state in OPEN and not row.is_rerating and request.user.has_perm(SIMULATE),
        may_post=_may_be_posted(row) and request.user.has_perm(POST),
        hindrance="" if row.state in OPEN else rerating.hindrance_of(row),
        reratings=row.reratings.select_related("created_by").order_by("-created_at")[:20],
        words=price,
        largest=[] if row.state in OPEN else _largest(row),
        may_see_names=request.user.has_perm(_SEE_NAMES),
    )


def _may_be_posted(row: Simulation) -> bool:
    return row.state == Simulation.State.COMPLETED and not row.is_rerating


@require_POST
def post(request: HttpRequest, ref: str) -> HttpResponse:
    """Have the differences charged and given back."""
    row = _get(ref)
    is_posted = actions.attempt_with_reason(
        request, simulations.rerate, done="The differences are being posted.", simulation=row
    )
    shown = row.reratings.latest("created_at") if is_posted else row
    return redirect("admin:console_simulation", shown.public_id)


@require_POST
def cancel(request: HttpRequest, ref: str) -> HttpResponse:
    """Stop a simulation that waits or runs."""
    row = _get(ref)
    actions.attempt(
        request,
        simulations.cancel_simulation,
        done="It is cancelled. What has come out so far stays here.",
        simulation=row,
        actor=request.user,
    )
    return redirect("admin:console_simulation", row.public_id)


def _summary(row: Simulation) -> dict[str, Any]:
    """Return the sums and the bars of the accounts that are done."""
    tally = Tally.read(row.summary)
    sums = [
        (name, from_micros(paid), from_micros(would), from_micros(would - paid))
        for name, paid, would in zip(_PARTS, tally.paid, tally.would, strict=True)
    ]
    return {
        "tally": tally,
        "sums": sums,
        "bars": charts.bars(list(zip(bar_names(), tally.bars, strict=True))),
    }


def _largest(row: Simulation) -> list[dict[str, Any]]:
    """Return the accounts whose sum would change most."""
    found = (
        row.results.values("subscriber")
        .annotate(paid=Sum("paid_net"), would=Sum("would_net"))
        .annotate(changed=Abs(F("would") - F("paid")))
        .exclude(changed=0)
        .order_by("-changed", "subscriber")[:LARGEST]
    )
    accounts = Subscriber.objects.in_bulk([account["subscriber"] for account in found])
    return [
        account
        | {
            "account": accounts[account["subscriber"]],
            "difference": account["would"] - account["paid"],
        }
        for account in found
    ]


@require_safe
def as_file(request: HttpRequest, ref: str) -> StreamingHttpResponse:
    """Give every account and period as a file: what was paid, and what it would have been."""
    row = _get(ref)
    results = row.results.order_by("subscriber", "service", "period_start").values_list(
        "subscriber", "service", "period_start", "quantity",
        *(f"{when}_{part}" for when in ("paid", "would") for part in _COLUMNS),
    )  # fmt: skip
    writer = csv.writer(_Line())
    file = StreamingHttpResponse(
        (writer.writerow(harmless_row(line)) for line in _lines(row, results)),
        content_type="text/csv; charset=utf-8",
    )
    file["Content-Disposition"] = f'attachment; filename="{row.public_id}.csv"'
    return file


def _lines(row: Simulation, results: "QuerySet[Any, Any]") -> Iterator[list[str]]:
    yield [
        "account", "service", "period_start", "quantity", "unit", "currency",
        *(f"{when}_{part}" for when in ("paid", "would_have_paid") for part in _COLUMNS),
        "difference",
    ]  # fmt: skip
    unit, currency = row.facts["unit"], row.facts["currency"]
    for account, service, start, quantity, *amounts in results.iterator(chunk_size=2_000):
        yield [
            f"sub_{account.hex}", f"svc_{service.hex}", start.isoformat(), str(quantity), unit,
            currency, *(_number(amount) for amount in amounts), _number(amounts[5] - amounts[0]),
        ]  # fmt: skip


def _number(amount: Decimal) -> str:
    return f"{amount:f}"


class _Line:
    """What a CSV writer writes to, so that each line comes back to whoever wrote it."""

    def write(self, line: str) -> str:
        return line


def _get(ref: str) -> Simulation:
    rows = Simulation.objects.select_related("draft__offering", "created_by", "posts")
    return pages.get(rows, Simulation, ref)
