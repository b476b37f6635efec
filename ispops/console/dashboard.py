"""The console's first page: what waits, what came in, and where the network fills up."""

from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, Q
from django.db.models.functions import TruncDate
from django.http import HttpRequest
from django.utils import timezone

from ipam import queries as ipam_queries
from ipam.models import PoolPolicy
from ispops.console import charts, queues
from ispops.console.zone import local
from ispops.parties.models import Subscriber, User
from provisioning.models import ProductOrder
from qualification.models import Premises

DAYS = 7
DEMAND_DAYS = 30
MOST_AREAS = 8


def fill(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Add to the index page what this member of staff may see; called by django-unfold."""
    user: User = request.user  # type: ignore[assignment]
    now = timezone.now()
    counts = queues.counts(request)
    entries: list[dict[str, Any]] = [
        {"queue": queue, "count": counts[queue.key], "shown": queues.shown(counts[queue.key])}
        for queue in queues.visible(user)
    ]
    # What went wrong stands first; an empty queue is a name among others, and no figure.
    entries.sort(key=lambda entry: not entry["queue"].is_trouble)
    context["waiting"] = [entry for entry in entries if entry["count"]]
    context["idle"] = [entry for entry in entries if not entry["count"]]
    context["is_fullwidth"] = "1"
    if user.has_perm("parties.view_subscriber"):
        context["newcomers"] = newcomers(now)
    if user.has_perm("provisioning.view_productorder"):
        context["orders_by_state"] = orders_by_state()
    if user.has_perm("ipam.view_pool"):
        context["pools"] = pools()
        context["pool_warnings"] = PoolPolicy.objects.exclude(warning="").select_related("pool")
    if user.has_perm("qualification.view_waitlistentry"):
        context["demand"] = demand(now)
        context["demand_days"] = DEMAND_DAYS
    return context


def newcomers(now: datetime) -> dict[str, Any]:
    """New subscribers of the last seven days, today included, day by day where the ISP is."""
    now = local(now)
    first = now.date() - timedelta(days=DAYS - 1)
    start = now.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=DAYS - 1)
    counted = dict(
        Subscriber.objects.filter(created_at__gte=start)
        .order_by()
        .values_list(TruncDate("created_at", tzinfo=now.tzinfo))
        .annotate(Count("pk"))
    )
    days = [first + timedelta(days=index) for index in range(DAYS)]
    values = [(f"{day:%a}", counted.get(day, 0)) for day in days]
    return {"total": sum(counted.values()), "bars": charts.bars(values)}


def orders_by_state() -> list[dict[str, Any]]:
    """Every state of an order with how many there are, in the order of an order's life."""
    counted = queues.by_state(ProductOrder.objects.all())
    most = max(counted.values(), default=0)
    return [
        {
            "state": state.value,
            "label": state.label,
            "count": counted.get(state.value, 0),
            "percent": charts.percent(counted.get(state.value, 0), most),
        }
        for state in ProductOrder.State
    ]


def pools() -> list[dict[str, Any]]:
    """How full each pool is, the fullest first."""
    rows = [
        {
            "name": row.pool.name,
            "purpose": row.pool.get_purpose_display(),
            "taken_words": charts.count_words(row.taken),
            "total_words": charts.count_words(row.total),
            "percent": charts.percent(row.taken, row.total),
            "pk": row.pool.pk,
        }
        for row in ipam_queries.utilisation()
    ]
    return sorted(rows, key=lambda row: (-row["percent"], row["name"]))


def demand(now: datetime) -> list[dict[str, Any]]:
    """Where people asked for service lately, by city: how many, and how many we turned away."""
    turned_away = Q(qualifications__state__in=["not_qualified", "out_of_footprint"])
    recent = Q(qualifications__asked_at__gte=now - timedelta(days=DEMAND_DAYS))
    rows = (
        Premises.objects.filter(recent)
        .order_by()
        .values("city", "region")
        .annotate(
            asked=Count("qualifications"),
            refused=Count("qualifications", filter=turned_away),
            waiting=Count("qualifications__waitlist", distinct=True),
        )
        .order_by("-refused", "-asked", "city")[:MOST_AREAS]
    )
    return [row | {"percent": charts.percent(row["refused"], row["asked"])} for row in rows]
