"""Reading the work of orders as operations sees it: what stopped, what waits, what nobody has."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet

from ispops.notices import delivery
from ispops.notices.models import Notice
from ispops.parties import webhooks
from ispops.parties.models import WebhookDelivery
from provisioning import access_calls, jeopardy
from provisioning.models import (
    AccessSession,
    OrderTask,
    OutsideSystem,
    ServiceOrder,
    TaskAttempt,
)
from provisioning.transitions import FINISHED_TASK

State = OrderTask.State
# Sweeps run every few seconds: what they have not taken up by then, they will not.
GRACE = timedelta(minutes=10)
MOST_STUCK = 100
AGES = {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(weeks=1)}


def stuck(at: datetime, *, grace: timedelta = GRACE) -> list[OrderTask]:
    """Return steps that nobody will ever take up: there must be none, whatever has failed.

    A step has an owner when it is due soon, is run, waits for a partner that has not answered,
    waits for a person, or waits for an earlier step. What lost its owner less than `grace` ago
    may still be found by a sweep. Returns `MOST_STUCK` at most, the oldest first.
    """
    rows = OrderTask.objects.select_related("order__subscriber", "assigned_to").order_by("pk")
    # Two questions, because each of them has an index of its own.
    running = TaskAttempt.objects.filter(outcome="").values("task")
    left_running = rows.filter(pk__in=running).exclude(state=State.READY)
    lost = without_owner(rows, at, grace=grace)
    return [*lost[:MOST_STUCK], *left_running[:MOST_STUCK]][:MOST_STUCK]


def without_owner(
    rows: QuerySet[OrderTask], at: datetime, *, grace: timedelta = GRACE
) -> QuerySet[OrderTask]:
    """Keep the open steps that have had nobody to go on with them for longer than `grace`."""
    since = at - grace
    links = OrderTask.depends_on.through.objects.filter(from_ordertask=OuterRef("pk"))
    waits_for_a_step = Exists(links.exclude(to_ordertask__state__in=FINISHED_TASK))
    overdue = Q(state=State.READY, next_attempt_at__lte=since) & (
        Q(leased_until__isnull=True) | Q(leased_until__lte=since)
    )
    answered = Q(state=State.AWAITING, service_order__answered_at__lte=since)
    never_closed = Q(
        state=State.AWAITING,
        service_order__state=ServiceOrder.State.ACKNOWLEDGED,
        service_order__answer_by__lte=since,
    )
    order_is_open = Q(order__state__in=["in_progress", "held"])
    forgotten = Q(state=State.PENDING) & ~waits_for_a_step & order_is_open
    return rows.filter(state__in=jeopardy.OPEN).filter(
        overdue | answered | never_closed | forgotten
    )


@dataclass(frozen=True, slots=True)
class Filters:
    """Which steps of the fallout queue are asked for; empty is all. `age` is a key of `AGES`."""

    cause: str = ""
    system: str = ""
    partner: str = ""
    kind: str = ""
    assigned: str = ""
    jeopardy: bool = False
    age: str = ""

    @classmethod
    def read(cls, asked: Mapping[str, str]) -> "Filters":
        """Read filters from an address; what is unknown is left out."""
        age = asked.get("age", "")
        return cls(
            cause=asked.get("cause", "")[:40],
            system=asked.get("system", "")[:80],
            partner=asked.get("partner", "")[:80],
            kind=asked.get("kind", "")[:40],
            assigned=asked.get("assigned", "")[:10],
            jeopardy=asked.get("jeopardy") == "1",
            age=age if age in AGES else "",
        )


def fallout(filters: Filters, *, user_id: int | None, at: datetime) -> QuerySet[OrderTask]:
    """Return the steps that need a person and fit, the oldest order first.

    `assigned` is "me", "nobody" or "others"; `age` keeps what stopped longer ago than that.
    """
    rows = OrderTask.objects.filter(state=State.FALLOUT)
    for name, value in (
        ("cause", filters.cause),
        ("system", filters.system),
        ("kind", filters.kind),
        ("item__offering__provider__code", filters.partner),
    ):
        if value:
            rows = rows.filter(**{name: value})
    if filters.assigned == "me":
        rows = rows.filter(assigned_to=user_id)
    elif filters.assigned == "nobody":
        rows = rows.filter(assigned_to__isnull=True)
    elif filters.assigned == "others":
        rows = rows.filter(assigned_to__isnull=False).exclude(assigned_to=user_id)
    if filters.jeopardy:
        rows = rows.filter(in_jeopardy_at__isnull=False)
    if filters.age:
        fresh = TaskAttempt.objects.filter(task=OuterRef("pk"), ended_at__gt=at - AGES[filters.age])
        rows = rows.filter(~Exists(fresh))
    return rows.order_by("order__placed_at", "position")


def counts(field: str) -> list[tuple[str, int]]:
    """Return how many steps need a person for each value of a field, the most first."""
    rows = OrderTask.objects.filter(state=State.FALLOUT).order_by()
    counted = rows.values_list(field).annotate(n=Count("pk")).order_by("-n", field)
    return [(value, n) for value, n in counted if value]


def totals(user_id: int | None) -> dict[str, int]:
    """Return how many steps need a person: all, mine, nobody's, others', and the late ones."""
    mine = Q(assigned_to=user_id)
    return OrderTask.objects.filter(state=State.FALLOUT).aggregate(
        all=Count("pk"),
        me=Count("pk", filter=mine),
        nobody=Count("pk", filter=Q(assigned_to__isnull=True)),
        others=Count("pk", filter=Q(assigned_to__isnull=False) & ~mine),
        jeopardy=Count("pk", filter=Q(in_jeopardy_at__isnull=False)),
    )


def systems() -> list[OutsideSystem]:
    """Return the outside systems, the failing first, each with `waiting`: so much waits for it."""
    idle = Q(next_attempt_at__isnull=False, leased_until__isnull=True)
    counted: dict[str, int] = {}
    for prefix, key, waiting in (
        ("", "system", OrderTask.objects.filter(idle, state=State.READY).exclude(system="")),
        (webhooks.GATE, "partner__code", WebhookDelivery.objects.filter(idle, state="pending")),
        (delivery.GATE, "channel", Notice.objects.filter(idle, state="pending")),
        (access_calls.GATE, "nas_ip", AccessSession.objects.filter(idle, ended_at__isnull=True)),
    ):
        by_key = waiting.order_by().values_list(key).annotate(Count("pk"))
        counted |= {f"{prefix}{value}": count for value, count in by_key}
    rows = list(OutsideSystem.objects.order_by(F("open_until").asc(nulls_last=True), "name"))
    for row in rows:
        row.waiting = counted.get(row.key, 0)  # type: ignore[attr-defined]
    return rows
