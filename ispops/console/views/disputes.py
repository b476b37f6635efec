"""The queue of charges that are held to be wrong: what is disputed, since when, and our answer."""

from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import Any

from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from ispops.console import actions, pages, queues
from ispops.errors import InvalidInput
from rating import disputes, queries
from rating.models import Dispute

PER_PAGE = 50
QUEUE = "admin:console_disputes"
BY = (("", "Anybody"), ("subscriber", "Subscribers"), ("partner", "Partners"))


def _asked(request: HttpRequest) -> tuple[str, str, QuerySet[Dispute]]:
    state, by = request.GET.get("state", ""), request.GET.get("by", "")
    if state not in Dispute.State.values:
        state = str(Dispute.State.OPEN)
    rows = Dispute.objects.filter(state=state).select_related(
        "subscriber", "partner", "answered_by", "correction",
        "charge__offering", "charge__price", "charge__bsp", "charge__network_provider",
    )  # fmt: skip
    if by in {"subscriber", "partner"}:
        rows = rows.filter(partner__isnull=by == "subscriber")
    return state, by, rows.order_by("opened_at" if state == "open" else "-answered_at", "pk")


@require_safe
def queue(request: HttpRequest) -> HttpResponse:
    """List the disputes that wait, the oldest first; or those of another state."""
    state, by, rows = _asked(request)
    counted = queues.by_state(Dispute.objects.all())
    shown = Paginator(rows, PER_PAGE).get_page(request.GET.get("page"))
    return pages.show(
        request,
        "console/disputes.html",
        "Disputes",
        rows=shown,
        asks=[(row, queries.why(row.charge)) for row in shown],
        filters=[(value, label, counted.get(value, 0)) for value, label in Dispute.State.choices],
        asked=state,
        by=by,
        all_by=BY,
        may_answer=request.user.has_perm("rating.answer_dispute"),
    )


@require_safe
def as_file(request: HttpRequest) -> StreamingHttpResponse:
    """Give the whole list as a file, with the filters of the page."""
    _, _, rows = _asked(request)
    return pages.file_of("disputes", _table(rows))


def _table(rows: QuerySet[Dispute]) -> Iterator[list[Any]]:
    yield [
        "dispute", "state", "opened", "by", "charge", "product", "net", "tax", "currency", "words",
        "answered", "answer", "given_back_net", "given_back_tax",
    ]  # fmt: skip
    for row in rows.iterator(chunk_size=500):
        charge, back = row.charge, row.correction
        yield [
            row.public_id, row.state, row.opened_at.isoformat(), str(row.partner or row.subscriber),
            charge.public_id, charge.offering.name, str(charge.amount_net), str(charge.amount_tax),
            charge.currency, row.words, row.answered_at.isoformat() if row.answered_at else "",
            row.answer, str(-back.amount_net) if back else "",
            str(-back.amount_tax) if back else "",
        ]  # fmt: skip


@require_POST
def answer(request: HttpRequest, ref: str) -> HttpResponse:
    """Uphold or reject one; whoever disputed it is told."""
    row = pages.get(Dispute.objects.all(), Dispute, ref)
    if request.POST.get("verdict") == "reject":
        verb, done = disputes.reject, "It is rejected. They are told why."
    else:
        verb, done = disputes.uphold, "It is upheld and put right. They are told."
    try:
        how = {} if verb is disputes.reject else amounts(request)
    except InvalidInput as refusal:
        actions.refuse(request, refusal)
        return actions.back(request, reverse(QUEUE))
    actions.attempt_with_reason(request, verb, done=done, dispute_id=row.pk, **how)
    return actions.back(request, reverse(QUEUE))


def amounts(request: HttpRequest) -> dict[str, Decimal]:
    """Read how much is to be given back: `12.50` is an amount with tax, `40 %` a percentage.

    Raises:
        InvalidInput: it is neither.
    """
    written = request.POST.get("amount", "").strip()
    if not written:
        return {}
    kind = "percent" if written.endswith("%") else "amount"
    try:
        return {kind: Decimal(written.rstrip("%").strip().replace(",", "."))}
    except InvalidOperation:
        raise InvalidInput(
            "Write an amount like 12.50, or a percentage like 40 %. Nothing was changed.",
            field="amount",
        ) from None
