"""Filters of the queues of orders and fallout: links with counts, and the same as files."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, Prefetch, QuerySet
from django.http import QueryDict

from ispops.console import queues
from provisioning import causes, worklist
from provisioning.models import OrderTask, ProductOrder, TaskAttempt

AGES = {"hour": "Over an hour", "day": "Over a day", "week": "Over a week"}
ORDER_AGES = {"day": "Over a day", "week": "Over a week", "month": "Over a month"}
_DAYS = {"day": 1, "week": 7, "month": 30}


@dataclass(frozen=True, slots=True)
class Link:
    """One value of a filter: its words, the address that chooses it, and how many it would show."""

    words: str
    query: str
    is_chosen: bool
    count: int | None = None


def link(asked: QueryDict, name: str, value: str, words: str, count: int | None = None) -> Link:
    """Return the link that sets one filter and keeps the others; the page begins anew."""
    query = asked.copy()
    query.pop("page", None)
    query[name] = value
    for other in [key for key, held in query.items() if not held]:
        del query[other]
    return Link(words, query.urlencode(), asked.get(name, "") == value, count)


def fallout_filters(asked: QueryDict, user_id: int | None) -> list[tuple[str, list[Link]]]:
    """The filters of the fallout queue, each a name and its links; five queries."""
    totals = worklist.totals(user_id)
    whose = {"me": "Mine", "nobody": "Nobody's", "others": "Others'"}
    groups = [
        (
            "Assigned",
            [
                link(asked, "assigned", "", "All", totals["all"]),
                *(link(asked, "assigned", key, word, totals[key]) for key, word in whose.items()),
            ],
        ),
        ("Cause", [
            link(asked, "cause", code, causes.of(code).words, n)
            for code, n in worklist.counts("cause")
        ]),
        ("Task", [
            link(asked, "kind", kind, kind.replace("_", " ").capitalize(), n)
            for kind, n in worklist.counts("kind")
        ]),
        ("System", [
            link(asked, "system", key, key.replace("_", " ").capitalize(), n)
            for key, n in worklist.counts("system")
        ]),
        ("Partner", [
            link(asked, "partner", code, code, n)
            for code, n in worklist.counts("item__offering__provider__code")
        ]),
        ("Stopped", [
            link(asked, "jeopardy", "1", "Late", totals["jeopardy"]),
            *(link(asked, "age", key, words) for key, words in AGES.items()),
        ]),
    ]  # fmt: skip
    shown = []
    for name, links in groups:
        key = {"Assigned": "", "Stopped": "age", "Task": "kind"}.get(name, name.lower())
        if key and links:
            links.insert(0, link(asked, key, "", "All"))
        if len(links) > 1:
            shown.append((name, links))
    return shown


def fallout_rows(rows: QuerySet[OrderTask]) -> QuerySet[OrderTask]:
    """Read steps of the fallout queue with what their line of the table shows."""
    return rows.select_related(
        "order__subscriber", "item__offering__provider", "assigned_to"
    ).prefetch_related(Prefetch("tries", TaskAttempt.objects.order_by("number")))


def fallout_table(rows: Iterable[OrderTask]) -> Iterator[list[str]]:
    """The fallout queue as lines of a file."""
    yield ["order", "placed_at", "subscriber", "task", "partner", "system", "cause", "said",
           "attempts", "stopped_at", "due_at", "assigned_to"]  # fmt: skip
    for task in rows:
        tries = list(task.tries.all())
        last = tries[-1] if tries else None
        provider = task.item.offering.provider if task.item else None
        yield [
            task.order.public_id, task.order.placed_at.isoformat(), task.order.subscriber.name,
            task.kind, provider.code if provider else "", task.system, task.cause,
            last.detail if last else "", str(len(tries)),
            last.ended_at.isoformat() if last and last.ended_at else "",
            task.due_at.isoformat() if task.due_at else "", str(task.assigned_to or ""),
        ]  # fmt: skip


def orders(asked: QueryDict, at: datetime) -> QuerySet[ProductOrder]:
    """Return the orders that fit the address: state, intent, channel, late, jeopardy and age."""
    rows = ProductOrder.objects.all()
    state = asked.get("state", "")
    if state == "open":
        rows = rows.filter(state__in=queues.OPEN_ORDERS)
    elif state in ProductOrder.State.values:
        rows = rows.filter(state=state)
    for name, choices in (("intent", ProductOrder.Intent), ("channel", ProductOrder.Channel)):
        if asked.get(name) in choices.values:
            rows = rows.filter(**{name: asked[name]})
    if asked.get("late") == "1":
        rows = rows.filter(expected_at__lt=at, state__in=queues.OPEN_ORDERS)
    if asked.get("jeopardy") == "1":
        late = OrderTask.objects.filter(in_jeopardy_at__isnull=False, finished_at__isnull=True)
        rows = rows.filter(pk__in=late.values("order"), state__in=queues.OPEN_ORDERS)
    if days := _DAYS.get(asked.get("age", "")):
        rows = rows.filter(placed_at__lt=at - timedelta(days=days))
    return rows


def order_filters(asked: QueryDict, at: datetime) -> list[tuple[str, list[Link]]]:
    """The filters of the list of orders, with counts of all orders; four queries."""
    by_state = queues.by_state(ProductOrder.objects.all())
    is_open = sum(by_state.get(state, 0) for state in queues.OPEN_ORDERS)
    late = ProductOrder.objects.filter(expected_at__lt=at, state__in=queues.OPEN_ORDERS)
    groups = [
        (
            "State",
            [
                link(asked, "state", "open", "In progress", is_open),
                *(
                    link(asked, "state", value, str(label), by_state[value])
                    for value, label in ProductOrder.State.choices
                    if by_state.get(value) and value not in ("acknowledged", "in_progress")
                ),
                link(asked, "state", "", "All", sum(by_state.values())),
            ],
        )
    ]
    for name, title, choices in (
        ("intent", "What", ProductOrder.Intent.choices),
        ("channel", "From", ProductOrder.Channel.choices),
    ):
        counted = _by(name)
        links = [
            link(asked, name, value, str(label), counted[value])
            for value, label in choices
            if value in counted
        ]
        if len(links) > 1:
            groups.append((title, [link(asked, name, "", "All"), *links]))
    groups.append(
        (
            "Time",
            [
                link(asked, "age", "", "Any"),
                *(link(asked, "age", key, words) for key, words in ORDER_AGES.items()),
                link(asked, "late", "" if asked.get("late") else "1", "Late", late.count()),
                link(asked, "jeopardy", "" if asked.get("jeopardy") else "1", "In jeopardy"),
            ],
        )
    )
    return groups


def _by(name: str) -> dict[str, int]:
    counted = ProductOrder.objects.order_by().values_list(name).annotate(Count("pk"))
    return dict(counted)


def order_table(rows: Iterable[ProductOrder]) -> Iterator[list[str]]:
    """The list of orders as lines of a file."""
    yield ["order", "state", "what", "channel", "subscriber", "placed_at", "expected_at",
           "completed_at", "tasks_done", "tasks"]  # fmt: skip
    for row in rows:
        yield [
            row.public_id, row.state, row.intent, row.channel, row.subscriber.name,
            row.placed_at.isoformat(), row.expected_at.isoformat(),
            row.completed_at.isoformat() if row.completed_at else "",
            str(row.done_count), str(row.task_count),  # type: ignore[attr-defined]
        ]  # fmt: skip
