"""How the steps of orders are run: the rows are the queue, a worker is only passing through.

A worker takes a lease on a step and opens an attempt, does the step, and records the outcome. All
of it is guarded by the attempt: when the lease ran out and another worker opened a newer one, or
the order was cancelled meanwhile, the outcome of the older attempt is thrown away with everything
that it wrote. Locks are taken in the order: product order, task.
"""

import logging
import time
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import OperationalError, transaction
from django.db.models import QuerySet

from ispops import db, events, jobs
from ispops.errors import (
    IllegalTransition,
    InvalidInput,
    NotFound,
    PermanentFault,
    Refusal,
    TransientFault,
)
from ispops.parties import audit
from ispops.parties.models import User
from provisioning import plan, steps
from provisioning.models import OrderTask, ProductOrder, ServiceOrder, TaskAttempt
from provisioning.transitions import FINISHED_TASK, ORDER, TASK

log = logging.getLogger(__name__)

FIRST_PAUSE = timedelta(seconds=2)
LONGEST_PAUSE = timedelta(minutes=10)
MOST_ATTEMPTS = 8
# A connection that breaks, a lock that is not got, a mail server that is away: all of these pass.
TRANSIENT = (TransientFault, OperationalError, OSError)

# Why a step that waited for a partner falls out, by what became of the partner's order.
_CAUSES: dict[str, str] = {
    ServiceOrder.State.FAILED: "partner_refused",
    ServiceOrder.State.TIMED_OUT: "partner_timed_out",
    ServiceOrder.State.CANCELLED: "partner_order_withdrawn",
}

State = OrderTask.State
Outcome = TaskAttempt.Outcome


class TaskCannotBeSkipped(Refusal):
    code = "task_cannot_be_skipped"
    title = "This step cannot be skipped"


class _NotMine(Exception):
    """The attempt was ended by somebody else: what it found is of no use any more."""


def run_task(*, task_id: int, at: datetime) -> bool:
    """Run one step of an order and record what came of it.

    Returns False when the step is not due or another worker holds it. A transient fault is tried
    again with growing pauses; anything else parks the step in the fallout queue with its cause.
    """
    return _run_next(OrderTask.objects.filter(pk=task_id), at=at)


def run_due(*, at: datetime, limit: int) -> int:
    """Run up to `limit` steps that are due, oldest first: those whose message or worker was lost.

    Steps that become ready by it are run too. Returns how many were run.
    """
    done = 0
    while done < limit and _run_next(OrderTask.objects.all(), at=at):
        done += 1
    return done


def _run_next(rows: QuerySet[OrderTask], *, at: datetime) -> bool:
    attempt = _open_attempt(rows, at=at)
    if attempt is None:
        return False
    started = time.monotonic()
    try:
        _perform(attempt, at=at)
    except _NotMine:
        log.warning("attempt %s of task %s came too late", attempt.number, attempt.task_id)
    except Exception as fault:
        ended_at = at + timedelta(seconds=time.monotonic() - started)
        _record_fault(attempt, fault, at=ended_at)
    return True


@transaction.atomic
def _open_attempt(rows: QuerySet[OrderTask], *, at: datetime) -> TaskAttempt | None:
    """Take the next due step, if there is one; an attempt that was never ended is lost."""
    taken = jobs.claim(rows.filter(state=State.READY), at=at, lease=settings.TASK_LEASE)
    if not taken:
        return None
    task = taken[0]
    if task.attempts > 1:
        _end_attempts(task, Outcome.LOST, "The worker did not come back.", at)
    return TaskAttempt.objects.create(task=task, number=task.tries.count() + 1, started_at=at)


def _perform(attempt: TaskAttempt, *, at: datetime) -> None:
    task = attempt.task
    if task.attempts > MOST_ATTEMPTS:
        raise PermanentFault("Every worker that took this step was lost.")
    result = None
    if outside := steps.OUTSIDE.get(task.kind):
        result = outside(task, at)
    with transaction.atomic():
        task = _lock_task(task.pk, task.order_id)
        if result is None:
            result = steps.INSIDE[task.kind](task, at)
        if result.awaits is None:
            _end(attempt, Outcome.DONE, result.detail, at)
            _finish(task, State.COMPLETED, at)
        else:
            _end(attempt, Outcome.AWAITING, result.detail, at)
            task.service_order = result.awaits
            _move(task, State.AWAITING)
        _settle(task.order, at)


def _lock_task(task_id: int, order_id: UUID) -> OrderTask:
    """Lock an order, then one of its steps."""
    order = db.lock(ProductOrder, order_id)
    with_service = OrderTask.objects.select_related(
        "item__service__offering__provider", "item__service__premises", "item__service__line"
    )
    task = with_service.select_for_update(of=("self",)).get(pk=task_id)
    task.order = order
    return task


def _find_and_lock(task_id: int) -> OrderTask:
    """Lock the order of a step, then the step. Raises NotFound when there is none."""
    order_id = OrderTask.objects.filter(pk=task_id).values_list("order_id", flat=True).first()
    if order_id is None:
        raise NotFound("There is no such step.")
    return _lock_task(task_id, order_id)


def _record_fault(attempt: TaskAttempt, fault: Exception, *, at: datetime) -> None:
    """Write down why a step failed, and whether it is tried again or a person must look."""
    cause = _cause_of(fault)
    if cause == "internal_error":
        log.error("task %s failed", attempt.task_id, exc_info=fault)
    detail = f"{type(fault).__name__}: {fault}"[:2000]
    try:
        with transaction.atomic():
            task = _lock_task(attempt.task_id, attempt.task.order_id)
            if isinstance(fault, TRANSIENT) and task.attempts < MOST_ATTEMPTS:
                _end(attempt, Outcome.RETRY, detail, at)
                pause = jobs.backoff(task.attempts - 1, base=FIRST_PAUSE, most=LONGEST_PAUSE)
                task.next_attempt_at, task.leased_until = at + pause, None
                task.save(update_fields=["next_attempt_at", "leased_until"])
            else:
                _end(attempt, Outcome.FALLOUT, detail, at)
                _park(task, cause, at)
            _settle(task.order, at)
    except _NotMine:
        log.warning("attempt %s of task %s failed too late", attempt.number, attempt.task_id)


def _cause_of(fault: Exception) -> str:
    if isinstance(fault, TRANSIENT):
        return "gave_up"
    if isinstance(fault, PermanentFault):
        return fault.cause
    return fault.code if isinstance(fault, Refusal) else "internal_error"


@transaction.atomic
def take_answer(*, service_order_id: UUID, at: datetime) -> OrderTask | None:
    """Let a step go on, or fall out, by what its partner answered. Safe to repeat.

    Returns None when no step waits for this order (any more): it was a purchase's, or the product
    order has been cancelled.
    """
    waiting = OrderTask.objects.filter(service_order_id=service_order_id, state=State.AWAITING)
    found = waiting.first()
    if found is None:
        return None
    task = _lock_task(found.pk, found.order_id)
    answer = ServiceOrder.objects.select_related("partner").get(pk=service_order_id)
    if task.state != State.AWAITING or task.service_order_id != answer.pk:
        return None
    if answer.state == ServiceOrder.State.COMPLETED:
        reference = f" as {answer.partner_reference}" if answer.partner_reference else ""
        _note(task, Outcome.DONE, f"{answer.partner} confirmed{reference}.", at)
        _finish(task, State.COMPLETED, at)
    elif answer.state != ServiceOrder.State.ACKNOWLEDGED:
        _note(task, Outcome.FALLOUT, f"{answer.partner}: {answer.reason}", at)
        _park(task, _CAUSES[answer.state], at)
    _settle(task.order, at)
    return task


@transaction.atomic
def retry_task(*, task_id: int, actor: User, at: datetime) -> OrderTask:
    """Try a step of the fallout queue again, with a fresh number of attempts.

    A step that is ready stays as it is. Raises IllegalTransition when it is in another state.
    """
    task = _find_and_lock(task_id)
    if task.state == State.READY:
        return task
    if task.state != State.FALLOUT:
        # The table lets a waiting step become ready too, but only when what it waits for is done.
        raise IllegalTransition("Only a step that needs a person can be tried again.")
    _audit(task, "order_task.retried", actor, "", at)
    task.attempts, task.cause = 0, ""
    _make_ready(task, at)
    _settle(task.order, at)
    return task


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
    task = _find_and_lock(task_id)
    if task.state == State.SKIPPED:
        return task
    TASK.require(task.state, State.SKIPPED)
    if task.kind not in plan.MAY_BE_SKIPPED:
        raise TaskCannotBeSkipped("The line cannot go live without this step. Retry it instead.")
    _audit(task, "order_task.skipped", actor, reason.strip(), at)
    _note(task, Outcome.SKIPPED, f"{actor}: {reason.strip()}", at)
    _finish(task, State.SKIPPED, at)
    _settle(task.order, at)
    return task


def cancel_tasks(*, order: ProductOrder, reason: str, at: datetime) -> None:
    """Close all steps of an order that the caller has locked and is taking back, last one first.

    A worker that runs one of them finds its attempt ended. What was done is noted as undone; the
    undoing itself is `orders._undo`, in the same transaction. What cannot be undone stays done.
    """
    for task in order.tasks.select_for_update(of=("self",)).order_by("-position"):
        if task.state == State.CANCELLED:
            continue
        if task.state == State.COMPLETED and task.kind in plan.NO_RETURN:
            continue
        was_done = task.state in {State.COMPLETED, State.AWAITING}
        _end_attempts(task, Outcome.CANCELLED, reason, at)
        if was_done:
            _note(task, Outcome.UNDONE, reason, at)
        task.finished_at, task.cause = at, ""
        _move(task, State.CANCELLED)


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


def _end(attempt: TaskAttempt, outcome: str, detail: str, at: datetime) -> None:
    """Write the outcome of the attempt that runs.

    Raises:
        _NotMine: somebody else ended it; the caller's transaction must then roll back.
    """
    running = TaskAttempt.objects.filter(pk=attempt.pk, outcome=Outcome.RUNNING)
    if not running.update(outcome=outcome, detail=detail, ended_at=at):
        raise _NotMine


def _end_attempts(task: OrderTask, outcome: str, detail: str, at: datetime) -> None:
    running = task.tries.filter(outcome=Outcome.RUNNING)
    running.update(outcome=outcome, detail=detail, ended_at=at)


def _note(task: OrderTask, outcome: str, detail: str, at: datetime) -> None:
    """Add something that happened to a step outside a worker's attempt to its history."""
    number = task.tries.count() + 1
    task.tries.create(number=number, started_at=at, ended_at=at, outcome=outcome, detail=detail)


def _park(task: OrderTask, cause: str, at: datetime) -> None:
    task.cause = cause
    _move(task, State.FALLOUT)
    events.publish(
        "order.task_fallout", subject=task.order.public_id, at=at, task=task.kind, cause=cause
    )


def _finish(task: OrderTask, state: str, at: datetime) -> None:
    """Close a step and make those ready that waited only for it."""
    task.finished_at, task.cause = at, ""
    _move(task, state)
    waiting = OrderTask.objects.filter(depends_on=task, state=State.PENDING).order_by("pk")
    unfinished = OrderTask.objects.filter(order=task.order_id).exclude(state__in=FINISHED_TASK)
    for dependent in waiting.exclude(depends_on__in=unfinished):
        _make_ready(dependent, at)


def _make_ready(task: OrderTask, at: datetime) -> None:
    task.next_attempt_at = max(at, task.begins_at or at)
    _move(task, State.READY)
    if task.next_attempt_at <= at:
        send_task(task.pk)


def _move(task: OrderTask, state: str) -> None:
    """Write the state of a locked step; a step that is not ready is not due and not leased."""
    TASK.require(task.state, state)
    task.state, task.leased_until = state, None
    if state != State.READY:
        task.next_attempt_at = None
    task.save()


def _settle(order: ProductOrder, at: datetime) -> None:
    """Bring the state of a locked order in line with its steps."""
    states = set(order.tasks.values_list("state", flat=True))
    if State.FALLOUT in states:
        state = ProductOrder.State.HELD
    elif states <= FINISHED_TASK:
        state = _how_complete(order)
    else:
        state = ProductOrder.State.IN_PROGRESS
    if state == order.state:
        return
    ORDER.require(order.state, state)
    order.state = state
    if states <= FINISHED_TASK:
        order.completed_at = at
    order.save(update_fields=["state", "completed_at"])
    events.publish(f"order.{state}", subject=order.public_id, at=at)


def _how_complete(order: ProductOrder) -> ProductOrder.State:
    """Say whether all that was ordered is there, or a product was passed over."""
    left_out = order.tasks.filter(kind=plan.GRANT_ENTITLEMENT, state=State.SKIPPED)
    return ProductOrder.State.PARTIAL if left_out.exists() else ProductOrder.State.COMPLETED


def send_task(task_id: int) -> None:
    """Ask a worker to run a step once this transaction is committed."""
    from provisioning.tasks import run_task as task

    jobs.send_on_commit(task, task_id=task_id)
