"""What people do with steps that stopped: try again, skip, take on; one of them or hundreds.

Whoever works on a step is named in its row, so that two do not telephone the same partner. After
an outage all steps with one cause are tried again by one action: they begin one after the other,
and new orders go between them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet

from ispops import jobs
from ispops.errors import IllegalTransition, InvalidInput, Refusal
from ispops.parties import audit
from ispops.parties.models import User
from provisioning import execution, jeopardy, outside, partner_orders, plan, progress, worklist
from provisioning.models import OrderTask, ProductOrder, TaskAttempt
from provisioning.progress import State
from provisioning.transitions import TASK

# What one action takes, oldest first; and how many of them begin in a second.
MOST_AT_ONCE = 2000
BEGUN_A_SECOND = 10.0
WORK_FALLOUT = "provisioning.work_fallout"


class TaskCannotBeSkipped(Refusal):
    code = "task_cannot_be_skipped"
    title = "This step cannot be skipped"


class NobodyForFallout(Refusal):
    code = "nobody_for_fallout"
    title = "They do not work on fallout"


@dataclass(frozen=True, slots=True)
class Retried:
    """How many steps are tried again, how many of the asked ones were not taken on this time, and
    when the last of them begins."""

    count: int
    left: int
    last_at: datetime


@transaction.atomic
def retry_task(*, task_id: int, actor: User, at: datetime) -> OrderTask:
    """Try a step of the fallout queue again, with a fresh number of attempts.

    A step that is ready stays as it is. Raises IllegalTransition when it is in another state.
    """
    task = progress.find_and_lock(task_id)
    if task.state == State.READY:
        return task
    if task.state != State.FALLOUT:
        # The table lets a waiting step become ready too, but only when what it waits for is done.
        raise IllegalTransition("Only a step that needs a person can be tried again.")
    _audit(task, "order_task.retried", actor, "", at)
    task.attempts, task.cause = 0, ""
    progress.make_ready(task, at)
    progress.settle(task.order, at)
    return task


@transaction.atomic
def retry_tasks(*, tasks: QuerySet[OrderTask], actor: User, reason: str, at: datetime) -> Retried:
    """Try all steps of a query that need a person again; `reason` says what was mended.

    They begin `BEGUN_A_SECOND`, the oldest first, and at most `MOST_AT_ONCE` by one action. A
    step that somebody else has settled meanwhile is left out. Steps of one order begin together.

    Raises:
        InvalidInput: there is no reason, or no such step.
    """
    if not reason.strip():
        raise InvalidInput("Say what was mended, for whoever reads this later.", field="reason")
    asked = list(tasks.filter(state=State.FALLOUT).order_by("pk").values_list("pk", "order_id"))
    chosen = _lock_all(asked[:MOST_AT_ONCE])
    if not chosen:
        raise InvalidInput("None of these needs a person any more.", field="tasks")
    _let_try(chosen, at)
    for order in {task.order_id: task.order for task in chosen}.values():
        progress.settle(order, at)
    last_at = max(task.next_attempt_at or at for task in chosen)
    _audit_many(chosen, "order_tasks.retried", actor, reason.strip(), at)
    return Retried(len(chosen), len(asked) - len(chosen), last_at)


def _lock_all(asked: Sequence[tuple[int, UUID]]) -> list[OrderTask]:
    """Lock the orders of many steps, then the steps, each by primary key; keep what has stopped."""
    keys = {order_id for _, order_id in asked}
    rows = ProductOrder.objects.select_for_update(of=("self",), no_key=True)
    held = {order.pk: order for order in rows.filter(pk__in=keys).order_by("pk")}
    tasks = OrderTask.objects.select_for_update(of=("self",)).order_by("pk")
    found = list(tasks.filter(pk__in=[pk for pk, _ in asked], state=State.FALLOUT))
    for task in found:
        task.order = held[task.order_id]
    return found


def _let_try(tasks: Sequence[OrderTask], at: datetime) -> None:
    """Make locked steps ready, to begin one after the other; the sweep runs them."""
    for task in tasks:
        TASK.require(task.state, State.READY)
    OrderTask.objects.filter(pk__in=[task.pk for task in tasks]).update(
        state=State.READY,
        attempts=0,
        cause="",
        assigned_to=None,
        leased_until=None,
        next_attempt_at=at,
    )
    outside.let_come(tasks, at, per_second=BEGUN_A_SECOND)


def take_up_stuck(*, actor: User, at: datetime) -> int:
    """Take up all that has nobody to go on with it, and name who did; returns how many there were.

    What is due is called for, what was answered goes on, what was not answered in time falls out,
    and what waits for nothing any more is made ready. Whatever stays as it is shows whose it is.
    """
    stuck = worklist.stuck(at)
    for task in stuck:
        _take_up(task, actor, at)
    if stuck:
        partner_orders.time_out_due(at=at)
    return len(stuck)


@transaction.atomic
def _take_up(found: OrderTask, actor: User, at: datetime) -> None:
    (task,) = progress.lock_tasks(found.order_id, [found.pk])
    if task.state != found.state or task.state not in jeopardy.OPEN:
        return
    if task.state == State.READY and not jobs.is_due(task, at=at):
        return  # a worker took it meanwhile
    _audit(task, "order_task.taken_up", actor, "", at)
    task.assigned_to = actor
    if task.state == State.READY:
        task.next_attempt_at, task.leased_until = at, None
        progress.send_task(task.pk)
    task.save(update_fields=["assigned_to", "next_attempt_at", "leased_until"])
    if task.state == State.AWAITING and task.service_order_id is not None:
        execution.take_answer(service_order_id=task.service_order_id, at=at)
    elif task.state == State.PENDING:
        progress.send_tasks(progress.settle(task.order, at))


@transaction.atomic
def skip_task(*, task_id: int, actor: User, reason: str, at: datetime) -> OrderTask:
    """Pass over a step of the fallout queue because a person settled it by other means.

    A skipped step stays as it is.

    Raises:
        InvalidInput: there is no reason.
        TaskCannotBeSkipped: going live would not be possible without the step.
        IllegalTransition: the step is not in the fallout queue.
    """
    if not reason.strip():
        raise InvalidInput("Say why this step can be skipped.", field="reason")
    task = progress.find_and_lock(task_id)
    if task.state == State.SKIPPED:
        return task
    if task.state != State.FALLOUT:
        # The table lets a waiting step be skipped too, but only a visit, and by another verb.
        raise IllegalTransition("Only a step that needs a person can be skipped.")
    if task.kind not in plan.MAY_BE_SKIPPED:
        raise TaskCannotBeSkipped("The line cannot go live without this step. Retry it instead.")
    _audit(task, "order_task.skipped", actor, reason.strip(), at)
    progress.note(task, TaskAttempt.Outcome.SKIPPED, f"{actor}: {reason.strip()}", at)
    progress.finish([task], State.SKIPPED, at)
    progress.send_tasks(progress.settle(task.order, at))
    return task


@transaction.atomic
def assign_tasks(*, tasks: QuerySet[OrderTask], to: User | None, actor: User, at: datetime) -> int:
    """Name who works on steps that need a person, or nobody; returns how many were given over.

    Raises:
        NobodyForFallout: the login may not work on fallout, or is closed.
        InvalidInput: none of the steps needs a person.
    """
    if to is not None and not (to.is_active and to.is_staff and to.has_perm(WORK_FALLOUT)):
        raise NobodyForFallout(f"{to} may not work on steps that stopped.", field="to")
    rows = tasks.filter(state=State.FALLOUT).order_by("pk").values_list("pk", "order_id")
    chosen = _lock_all(list(rows[:MOST_AT_ONCE]))
    if not chosen:
        raise InvalidInput("None of these needs a person any more.", field="tasks")
    OrderTask.objects.filter(pk__in=[task.pk for task in chosen]).update(assigned_to=to)
    _audit_many(
        chosen, "order_tasks.assigned", actor, "", at, to=str(to) if to is not None else None
    )
    return len(chosen)


def _audit(task: OrderTask, action: str, actor: User, reason: str, at: datetime) -> None:
    audit.record(
        actor=actor,
        action=action,
        subject=task.order.public_id,
        subscriber=task.order.subscriber,
        reason=reason,
        at=at,
        task=task.kind,
        cause=task.cause,
    )


def _audit_many(
    tasks: Sequence[OrderTask],
    action: str,
    actor: User,
    reason: str,
    at: datetime,
    **detail: Any,
) -> None:
    """Note one action on many steps once, and name the orders; one step by its order."""
    orders = sorted({task.order.public_id for task in tasks})
    audit.record(
        actor=actor,
        action=action,
        subject=orders[0] if len(orders) == 1 else "fallout",
        subscriber=tasks[0].order.subscriber if len(orders) == 1 else None,
        reason=reason,
        at=at,
        count=len(tasks),
        orders=orders,
        kinds=sorted({task.kind for task in tasks}),
        **detail,
    )
