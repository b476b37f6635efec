"""The SQL with which steps of orders are taken, ended and made ready, written by hand.

Most steps take less time than Django needs to build the queries around them, and every order goes
through these several times. Rows come back as model instances. Which locks are taken in which
order, and what the outcome of a step means, is said in `execution` and `progress`.
"""

import json
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import Model

from ispops.catalog.models import ProductOffering
from ispops.db import Prepared, columns, made
from ispops.parties.models import Partner, Subscriber
from provisioning.models import OrderTask, ProductOrder, ProductOrderItem, Service, TaskAttempt
from qualification.models import Premises, QualifiedOffer, ServiceQualification

_TASK = columns(OrderTask, "task")
# Ready, its time has come, and no living worker holds it: what `jobs.due` says in Django's words.
_DUE = """task.state = 'ready' AND task.next_attempt_at <= $1
    AND (task.leased_until IS NULL OR task.leased_until <= $1)"""


def _due(name: str, types: Sequence[str], which: str, limit: str = "1") -> Prepared:
    """Return a statement that locks due steps; it does not wait for those that others hold."""
    return Prepared(
        f"provisioning_{name}",
        ("timestamptz", *types),
        f"""
        SELECT {_TASK} FROM provisioning_ordertask task WHERE {_DUE} {which}
        LIMIT {limit} FOR NO KEY UPDATE SKIP LOCKED
        """,  # noqa: S608
    )


_ONE = _due("due_task", ["bigint"], "AND task.id = $2")
_OLDEST = _due("oldest_due", [], "ORDER BY task.next_attempt_at, task.id")
_NEWEST = _due("newest_due", [], "ORDER BY task.next_attempt_at DESC, task.id DESC")
_OF_ORDER = _due(
    "due_of_order",
    ["uuid", "text[]"],
    "AND task.order_id = $2 ORDER BY task.kind = ANY ($3), task.position",
)
_UNTRIED = _due(
    "untried_of_order",
    ["uuid", "text[]", "bigint", "int"],
    """
    AND task.order_id = $2 AND task.kind = ANY ($3) AND task.id <> $4 AND task.attempts = 0
    ORDER BY task.position
    """,
    limit="$5",
)


def due_task(task_id: int, at: datetime) -> OrderTask | None:
    """Lock a step if it is due and nobody holds it."""
    return _first(_ONE, at, task_id)


def oldest_due(at: datetime) -> OrderTask | None:
    """Lock the due step that has waited longest."""
    return _first(_OLDEST, at)


def newest_due(at: datetime) -> OrderTask | None:
    """Lock the step that became due last."""
    return _first(_NEWEST, at)


def due_of_order(order_id: UUID, at: datetime, *, last: Iterable[str]) -> OrderTask | None:
    """Lock the first due step of an order; kinds in `last` come after all others."""
    return _first(_OF_ORDER, at, order_id, list(last))


def untried_of_order(
    order_id: UUID, at: datetime, *, kinds: Iterable[str], limit: int, but: OrderTask | None
) -> list[OrderTask]:
    """Lock due steps of an order that are of these kinds and that nobody has tried yet."""
    rows = _UNTRIED.rows(at, order_id, list(kinds), but.pk if but else 0, limit)
    return [made(OrderTask, row) for row in rows]


def _first(statement: Prepared, *parameters: Any) -> OrderTask | None:
    rows = statement.rows(*parameters)
    return made(OrderTask, rows[0]) if rows else None


_OPEN = Prepared(
    "provisioning_open_attempts",
    ("bigint[]", "timestamptz", "timestamptz"),
    """
    WITH held AS (
        UPDATE provisioning_ordertask SET leased_until = $2, attempts = attempts + 1
        WHERE id = ANY ($1) RETURNING id
    )
    INSERT INTO provisioning_taskattempt (task_id, number, started_at, outcome, detail)
    SELECT held.id, 1 + (
        SELECT count(*) FROM provisioning_taskattempt tried WHERE tried.task_id = held.id
    ), $3, '', ''
    FROM held RETURNING task_id, id, number
    """,
)


def open_attempts(
    tasks: Sequence[OrderTask], *, until: datetime, at: datetime
) -> list[TaskAttempt]:
    """Lease locked steps, of which none runs, and open an attempt for each."""
    opened = {
        task_id: (pk, number)
        for task_id, pk, number in _OPEN.rows([task.pk for task in tasks], until, at)
    }
    attempts = []
    for task in tasks:
        task.leased_until, task.attempts = until, task.attempts + 1
        pk, number = opened[task.pk]
        attempts.append(TaskAttempt(pk=pk, task=task, number=number, started_at=at))
    return attempts


_LOCK_ORDER = Prepared(
    "provisioning_lock_order",
    ("uuid",),
    f"""
    SELECT {columns(ProductOrder, "held")} FROM provisioning_productorder held
    WHERE held.id = $1 FOR NO KEY UPDATE
    """,  # noqa: S608
)
_LOCK_TASKS = Prepared(
    "provisioning_lock_tasks",
    ("bigint[]",),
    f"""
    SELECT {_TASK} FROM provisioning_ordertask task
    WHERE task.id = ANY ($1) ORDER BY task.position FOR NO KEY UPDATE
    """,  # noqa: S608
)
# The attempts are locked too: when another worker ended one while this waited for its step,
# PostgreSQL looks at it again and leaves it out.
_LOCK_RUNNING = Prepared(
    "provisioning_lock_running",
    ("bigint[]",),
    f"""
    SELECT {_TASK} FROM provisioning_ordertask task
    JOIN provisioning_taskattempt attempt ON attempt.task_id = task.id
    WHERE attempt.id = ANY ($1) AND attempt.outcome = ''
    ORDER BY task.position FOR NO KEY UPDATE OF task, attempt
    """,  # noqa: S608
)


def lock_order(order_id: UUID) -> ProductOrder:
    """Lock an order, as `db.lock` does."""
    rows = _LOCK_ORDER.rows(order_id)
    if not rows:
        raise ProductOrder.DoesNotExist
    return made(ProductOrder, rows[0])


def lock_tasks(task_ids: Collection[int]) -> list[OrderTask]:
    """Lock steps, in the order of their positions."""
    return [made(OrderTask, row) for row in _LOCK_TASKS.rows(list(task_ids))]


def lock_running(attempts: Sequence[TaskAttempt]) -> list[OrderTask]:
    """Lock the steps of those of these attempts that still run, and the attempts."""
    return [made(OrderTask, row) for row in _LOCK_RUNNING.rows([each.pk for each in attempts])]


# What an item is about: by its name in the row that refers to it, which row that is, and its kind.
_ABOUT: tuple[tuple[str, str, type[Model]], ...] = (
    ("offer", "item", QualifiedOffer),
    ("qualification", "offer", ServiceQualification),
    ("service", "item", Service),
    ("offering", "service", ProductOffering),
    ("provider", "offering", Partner),
    ("premises", "service", Premises),
    ("line", "service", Service),
    ("subscriber", "service", Subscriber),
)
_ITEMS = Prepared(
    "provisioning_items",
    ("bigint[]",),
    f"""
    SELECT {columns(ProductOrderItem, "item")},
        {", ".join(columns(model, name) for name, _, model in _ABOUT)}
    FROM provisioning_productorderitem item {
        " ".join(
            f"LEFT JOIN {model._meta.db_table} {name} ON {name}.id = {of}.{name}_id"
            for name, of, model in _ABOUT
        )
    }
    WHERE item.id = ANY ($1)
    """,  # noqa: S608
)


def items(item_ids: Collection[int]) -> dict[int, ProductOrderItem]:
    """Read items of an order with what they are about; by their keys."""
    return {row[0]: _item(row) for row in _ITEMS.rows(list(item_ids))}


def _item(row: Sequence[Any]) -> ProductOrderItem:
    first = len(ProductOrderItem._meta.concrete_fields)
    item = made(ProductOrderItem, row[:first])
    rows: dict[str, Model] = {"item": item}
    for name, of, model in _ABOUT:
        last = first + len(model._meta.concrete_fields)
        if row[first] is not None:
            rows[name] = made(model, row[first:last])
            setattr(rows[of], name, rows[name])
        first = last
    return item


_END_ATTEMPTS = Prepared(
    "provisioning_end_attempts",
    ("timestamptz", "bigint[]", "text[]", "text[]", "text[]", "text[]"),
    """
    UPDATE provisioning_taskattempt attempt
    SET ended_at = $1, outcome = said.outcome, detail = said.detail,
        request = said.request::jsonb, reply = said.reply::jsonb
    FROM unnest($2, $3, $4, $5, $6) AS said (id, outcome, detail, request, reply)
    WHERE attempt.id = said.id
    """,
)
_FINISH = Prepared(
    "provisioning_finish_tasks",
    ("bigint[]", "text", "timestamptz"),
    """
    UPDATE provisioning_ordertask
    SET state = $2, finished_at = $3, cause = '',
        leased_until = NULL, next_attempt_at = NULL, assigned_to_id = NULL
    WHERE id = ANY ($1)
    """,
)


def end_attempts(attempts: Sequence[TaskAttempt], at: datetime) -> None:
    """Write how attempts ended that the caller has locked."""
    _END_ATTEMPTS.rows(
        at,
        [each.pk for each in attempts],
        [each.outcome for each in attempts],
        [each.detail for each in attempts],
        [_json(each.request) for each in attempts],
        [_json(each.reply) for each in attempts],
    )


def _json(value: object) -> str | None:
    return None if value is None else json.dumps(value, cls=DjangoJSONEncoder)


def finish_tasks(tasks: Sequence[OrderTask], state: str, at: datetime) -> None:
    """Write that locked steps ended in the same way."""
    _FINISH.rows([task.pk for task in tasks], state, at)


class Settled(NamedTuple):
    """A step of an order: the state that it is in, or was in before it was woken just now."""

    task_id: int
    kind: str
    state: str
    # When a step may begin that was woken; else None.
    woken_for: datetime | None


_WAKE = Prepared(
    "provisioning_wake_tasks",
    ("uuid", "timestamptz", "text[]"),
    """
    WITH woken AS (
        UPDATE provisioning_ordertask task
        SET state = 'ready', next_attempt_at = greatest($2, task.begins_at)
        WHERE task.order_id = $1 AND task.state = 'pending' AND NOT EXISTS (
            SELECT 1 FROM provisioning_ordertask_depends_on link
            JOIN provisioning_ordertask earlier ON earlier.id = link.to_ordertask_id
            WHERE link.from_ordertask_id = task.id AND earlier.state <> ALL ($3)
        )
        RETURNING task.id, task.next_attempt_at
    )
    SELECT task.id, task.kind, task.state, woken.next_attempt_at
    FROM provisioning_ordertask task LEFT JOIN woken ON woken.id = task.id
    WHERE task.order_id = $1 AND task.state <> 'cancelled' ORDER BY task.position
    """,
)


def wake_tasks(order_id: UUID, at: datetime, *, finished: Collection[str]) -> list[Settled]:
    """Make those steps of a locked order ready that wait for no other, and return all of it.

    Cancelled steps, which an amendment took out of the order, are no part of it any more.
    """
    return [Settled(*row) for row in _WAKE.rows(order_id, at, list(finished))]
