"""The queue of devices that asked for an address beyond the plan: accept or decline."""

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from ipam import csr_letters
from ipam import overallocation as verbs
from ipam.models import OverallocationRequest
from ispops.catalog import queries as catalog_queries
from ispops.catalog.models import OfferingPrice
from ispops.console import actions, pages, queues

PER_PAGE = 50
QUEUE = "admin:console_overallocation"


@require_safe
def queue(request: HttpRequest) -> HttpResponse:
    """List requests: those that wait, the soonest to expire first; or one of the other states."""
    asked = request.GET.get("state", "pending")
    rows = OverallocationRequest.objects.select_related(
        "holder__subscriber", "holder__plan", "server", "addon", "decided_by_user"
    )
    if asked not in OverallocationRequest.State.values:
        asked = "pending"
    rows = rows.filter(state=asked)
    rows = rows.order_by("answer_by") if asked == "pending" else rows.order_by("-decided_at")
    counted = queues.by_state(OverallocationRequest.objects.all())
    shown = Paginator(rows, PER_PAGE).get_page(request.GET.get("page"))
    return pages.show(
        request,
        "console/overallocation.html",
        "Address requests",
        rows=shown,
        asks=_with_prices(list(shown)),
        filters=[
            (value, label, counted.get(value, 0))
            for value, label in OverallocationRequest.State.choices
        ],
        asked=asked,
        may_decide=request.user.has_perm("ipam.change_overallocationrequest"),
        may_choose_letters=request.user in csr_letters.readers(),
        gets_letters=csr_letters.wants(request.user),  # type: ignore[arg-type]
        letters_every=csr_letters.EVERY.seconds // 60,
    )


def _with_prices(
    rows: list[OverallocationRequest],
) -> list[tuple[OverallocationRequest, OfferingPrice | None]]:
    """Pair each request with what accepting it will cost; few add-ons serve many requests."""
    now = timezone.now()
    prices: dict[tuple[int, str], OfferingPrice | None] = {}
    for row in rows:
        if row.addon is not None:
            key = (row.addon.pk, row.holder.subscriber.currency)
            if key not in prices:
                prices[key] = catalog_queries.price_in_force(row.addon, "recurring", now, key[1])
    return [(row, prices.get((row.addon_id or 0, row.holder.subscriber.currency))) for row in rows]


@require_POST
def accept(request: HttpRequest, ref: str) -> HttpResponse:
    """Grant the address on the subscriber's behalf; it is charged from now on."""
    row = pages.get(OverallocationRequest.objects.all(), OverallocationRequest, ref)
    actions.attempt_with_reason(
        request,
        verbs.accept,
        done="The device gets its address when it asks again, within minutes.",
        request_id=row.pk,
        decided_by=OverallocationRequest.Decider.CSR,
    )
    return actions.back(request, reverse(QUEUE))


@require_POST
def decline(request: HttpRequest, ref: str) -> HttpResponse:
    """Refuse the address on the subscriber's behalf."""
    row = pages.get(OverallocationRequest.objects.all(), OverallocationRequest, ref)
    actions.attempt_with_reason(
        request,
        verbs.decline,
        done="The device gets no further address.",
        request_id=row.pk,
        decided_by=OverallocationRequest.Decider.CSR,
    )
    return actions.back(request, reverse(QUEUE))


@require_POST
def letters(request: HttpRequest) -> HttpResponse:
    """Switch the letters about waiting requests on or off, for oneself."""
    wanted = request.POST.get("wanted") == "yes"
    csr_letters.set_wanted(user=request.user, wanted=wanted)  # type: ignore[arg-type]
    actions.say(request, "You get letters again." if wanted else "You get no letters any more.")
    return actions.back(request, reverse(QUEUE))
