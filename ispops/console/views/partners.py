"""What partners were asked to deliver and have not closed: the queue of whoever calls them."""

from datetime import datetime
from typing import Any

from django.core.paginator import Paginator
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from ispops.console import actions, pages
from provisioning import deliveries, queries
from provisioning.models import Delivery, ServiceOrder

PER_PAGE = 50
OPEN = ServiceOrder.State.ACKNOWLEDGED
_STUCK = Q(delivery__state=Delivery.State.PARKED)


@require_safe
def listing(request: HttpRequest) -> HttpResponse:
    """List open service orders, the one that is due first on top: of one `partner`, or of all.

    `show` is `overdue` for what should have been delivered by now, and `stuck` for what we could
    not take back from a provider; without it, everything that is open.
    """
    now = timezone.now()
    code, show = request.GET.get("partner", ""), request.GET.get("show", "")
    rows = _shown(show, now)
    of_partner = rows.filter(partner__code=code) if code else rows
    asked = of_partner.select_related(
        "partner", "offering", "service__premises", "task__order", "delivery"
    ).prefetch_related("delivery__tries", "delivery__notices")
    shown = Paginator(asked.order_by("answer_by", "pk"), PER_PAGE)
    page = shown.get_page(request.GET.get("page"))
    return pages.show(
        request,
        "console/partner_orders.html",
        "Partners at work",
        rows=page,
        partners=_partners(rows),
        code=code,
        show=show,
        counts=_counts(code, now),
        late_keys={row.pk for row in page if _is_late(row, now)},
    )


def _shown(show: str, now: datetime) -> QuerySet[ServiceOrder]:
    if show == "overdue":
        return queries.overdue(ServiceOrder.objects.all(), now)
    if show == "stuck":
        return ServiceOrder.objects.filter(_STUCK)
    return ServiceOrder.objects.filter(state=OPEN)


def _partners(rows: QuerySet[ServiceOrder]) -> list[Any]:
    """The partners that have something in this list, with how much."""
    counted = rows.order_by().values("partner__code", "partner__name").annotate(count=Count("pk"))
    return list(counted.order_by("partner__name"))


def _counts(code: str, now: datetime) -> list[tuple[str, str, int]]:
    """What can be shown, as (value in the address, words, how many)."""
    rows = ServiceOrder.objects.filter(partner__code=code) if code else ServiceOrder.objects.all()
    late = Q(pk__in=queries.overdue(ServiceOrder.objects.all(), now).values("pk"))
    found = rows.filter(Q(state=OPEN) | _STUCK).aggregate(
        open=Count("pk", filter=Q(state=OPEN)),
        overdue=Count("pk", filter=late),
        stuck=Count("pk", filter=_STUCK),
    )
    return [
        ("", "Open", found["open"]),
        ("overdue", "Overdue", found["overdue"]),
        ("stuck", "Not taken back", found["stuck"]),
    ]


def _is_late(row: ServiceOrder, now: datetime) -> bool:
    return row.state == OPEN and min(row.expected_at or row.answer_by, row.answer_by) < now


@require_POST
def call_provider(request: HttpRequest, ref: str) -> HttpResponse:
    """Call the provider of a service order now, whatever its breaker says."""
    asked = pages.get(ServiceOrder.objects.all(), ServiceOrder, ref)
    actions.attempt_with_reason(
        request,
        deliveries.try_again,
        done="The provider is being called now.",
        service_order_id=asked.pk,
    )
    return actions.back(request, reverse("admin:console_partner_orders"))
