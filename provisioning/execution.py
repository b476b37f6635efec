"""How the steps of orders are run: the rows are the queue, a worker is only passing through.

A worker takes a lease on steps and opens an attempt for each, does them, and records the outcome.
All of it is guarded by the attempt: when the lease ran out and another worker opened a newer one,
or the order was cancelled meanwhile, the outcome of the older attempt is thrown away with
everything that it wrote. Locks are taken in the order: product order, task, outside system.

Steps of one order that only write rows are taken together and done in one transaction, which also
takes the next ones; when one of them fails, or has failed before, each is done by itself. A step
that calls the outside is taken alone, its lease is renewed while the call lasts, and `outside` says
whether it may be made.
"""

import logging
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

from django.conf import settings
from django.db import InterfaceError, OperationalError, transaction

from ispops import db, jobs
from ispops.errors import PermanentFault, Refusal, TransientFault
from ispops.masking import mask, mask_text
from provisioning import outside, plan, progress, statements, steps
from provisioning.models import OrderTask, ProductOrder, ServiceOrder, TaskAttempt
from provisioning.progress import State

log = logging.getLogger(__name__)

FIRST_PAUSE = timedelta(seconds=2)
LONGEST_PAUSE = timedelta(minutes=10)
MOST_ATTEMPTS = 8
# How many steps of one order are done in one transaction: it holds what it locks until its end.
MOST_TOGETHER = 20
# A connection that breaks, a lock that is not got, a mail server that is away: all of these pass.
TRANSIENT = (TransientFault, OperationalError, InterfaceError, OSError)

# Why a step that waited for a partner falls out, by what became of the partner's order.
_CAUSES: dict[str, str] = {
    ServiceOrder.State.FAILED: "partner_refused",
    ServiceOrder.State.TIMED_OUT: "partner_timed_out",
    ServiceOrder.State.CANCELLED: "partner_order_withdrawn",
}

Outcome = TaskAttempt.Outcome
# Locks a step that is due at a time.
Find = Callable[[datetime], OrderTask | None]


class _NotMine(Exception):
    """The attempt was ended by somebody else: what it found is of no use any more."""


def run_task(*, task_id: int, at: datetime) -> int:
    """Run a step of an order, and with it and after it what else of the order is ready.

    Returns how many steps were run: none when the step is not due or another worker holds it. A
    transient fault is tried again with growing pauses; anything else parks the step in the
    fallout queue with its cause.
    """
    find = partial(statements.due_task, task_id)
    return _run_order(find, at=at, limit=10 * MOST_TOGETHER) or 0


def run_due(*, at: datetime, limit: int) -> int:
    """Run up to `limit` steps that are due: those whose message or worker was lost.

    Whatever became due last and what has waited longest take turns, so that after an outage new
    orders do not stand behind all old ones, nor the old ones behind new. Steps that become ready
    by it are run too. Returns how many were run.
    """
    done, turn = 0, 0
    while done < limit:
        find = statements.newest_due if turn % 2 else statements.oldest_due
        ran = _run_order(find, at=at, limit=limit - done)
        if ran is None:
            break
        done, turn = done + ran, turn + 1
    return done


def _run_order(find: Find, *, at: datetime, limit: int) -> int | None:
    """Run the step that `find` locks, and go on with its order; None when nothing is due.

    The message for what became ready is spared while the same worker goes on. After a call of the
    outside, which may have taken long, it does not.
    """
    taken = _take(find, at=at, limit=limit)
    if taken is None:
        return None
    done = 0
    while taken:
        done += len(taken)
        order_id = taken[0].task.order_id
        if taken[0].task.kind in steps.OUTSIDE:
            _run_outside(taken[0], at=at)
            break
        taken = _run_inside(taken, at=at, limit=limit - done)
        if not taken and done < limit:
            taken = _take(partial(_next_of, order_id), at=at, limit=limit - done) or []
    return done


@transaction.atomic
def _take(find: Find, *, at: datetime, limit: int) -> list[TaskAttempt] | None:
    """Take a due step, and with it others of its order that can be done together with it.

    None when nothing is due. Empty when the step calls a system that is not to be called now.
    """
    first = find(at)
    if first is None:
        return None
    group = [first]
    if first.kind in steps.OUTSIDE:
        if not outside.admit(first, at=at):
            return []
    elif not first.attempts:
        group += _untried(first.order_id, at=at, limit=min(limit, MOST_TOGETHER) - 1, but=first)
    return _open_attempts(group, at)


def _next_of(order_id: UUID, at: datetime) -> OrderTask | None:
    return statements.due_of_order(order_id, at, last=steps.OUTSIDE)


def _untried(
    order_id: UUID, *, at: datetime, limit: int, but: OrderTask | None = None
) -> list[OrderTask]:
    """Lock the due steps of an order that can be done in one transaction."""
    if limit < 1:
        return []
    kinds = steps.INSIDE.keys() - steps.OUTSIDE.keys()
    return statements.untried_of_order(order_id, at, kinds=kinds, limit=limit, but=but)


def _open_attempts(group: Sequence[OrderTask], at: datetime) -> list[TaskAttempt]:
    """Lease steps and open an attempt for each; an attempt that was never ended is lost."""
    if not group:
        return []
    for task in group:
        if task.attempts:
            progress.end_attempts(task, Outcome.LOST, "The worker did not come back.", at)
    return statements.open_attempts(group, until=at + settings.TASK_LEASE, at=at)


def _run_inside(attempts: Sequence[TaskAttempt], *, at: datetime, limit: int) -> list[TaskAttempt]:
    """Do steps that only write rows, together if they all work, else each by itself.

    Returns what was taken next of the order in the same transaction, up to `limit` steps.
    """
    started = time.monotonic()
    try:
        return _perform(attempts, at=at, limit=limit)
    except Exception as fault:
        if len(attempts) > 1:
            for attempt in attempts:
                _run_inside([attempt], at=at, limit=0)
        elif isinstance(fault, _NotMine):
            _log_late(attempts[0])
        else:
            _record_fault(attempts[0], fault, at=at + _since(started))
        return []


def _run_outside(attempt: TaskAttempt, *, at: datetime) -> None:
    """Call the outside for a step, and record what came of it."""
    started = time.monotonic()
    task = attempt.task
    try:
        _require_not_lost_too_often(task)
        with jobs.pulse(task, lease=settings.TASK_LEASE):
            result = steps.OUTSIDE[task.kind](task, at)
        _record(attempt, result, at=at, ended_at=at + _since(started))
    except _NotMine:
        _log_late(attempt)
    except Exception as fault:
        _record_fault(attempt, fault, at=at + _since(started))


def _since(started: float) -> timedelta:
    return timedelta(seconds=time.monotonic() - started)


def _log_late(attempt: TaskAttempt) -> None:
    log.warning("attempt %s of task %s came too late", attempt.number, attempt.task_id)


def _require_not_lost_too_often(task: OrderTask) -> None:
    if task.attempts > MOST_ATTEMPTS:
        raise PermanentFault("Every worker that took this step was lost.")


@transaction.atomic
def _perform(attempts: Sequence[TaskAttempt], *, at: datetime, limit: int = 0) -> list[TaskAttempt]:
    """Do steps of one order and record their outcome, all or none; take what comes next."""
    tasks = _lock(attempts)
    done = []
    for attempt, task in zip(attempts, tasks, strict=True):
        _require_not_lost_too_often(task)
        result = steps.INSIDE[task.kind](task, at)
        _end(attempt, task, result)
        if not result.is_waiting:
            done.append(task)
    statements.end_attempts(attempts, at)
    if done:
        progress.finish(done, State.COMPLETED, at)
    ready = progress.settle(tasks[0].order, at)
    mine = _untried(tasks[0].order_id, at=at, limit=min(limit, MOST_TOGETHER)) if ready else []
    progress.send_tasks(set(ready) - {task.pk for task in mine})
    return _open_attempts(mine, at)


@transaction.atomic
def _record(
    attempt: TaskAttempt, result: steps.Outcome, *, at: datetime, ended_at: datetime
) -> None:
    """Record what came of a call of the outside that got through."""
    (task,) = _lock([attempt])
    _end(attempt, task, result)
    statements.end_attempts([attempt], ended_at)
    if not result.is_waiting:
        progress.finish([task], State.COMPLETED, at)
    outside.report(task, None, at=ended_at)
    progress.send_tasks(progress.settle(task.order, at))


def _lock(attempts: Sequence[TaskAttempt]) -> list[OrderTask]:
    """Lock the order and the steps of attempts, in the order of the attempts.

    Raises:
        _NotMine: somebody else ended one of them; the caller's transaction must then roll back.
    """
    locked = {task.pk: task for task in progress.lock_running(attempts)}
    if len(locked) < len(attempts):
        raise _NotMine
    return [locked[attempt.task_id] for attempt in attempts]


def _end(attempt: TaskAttempt, task: OrderTask, result: steps.Outcome) -> None:
    """Note the outcome of a step that was done, and let it wait when a partner is to answer."""
    attempt.detail = mask_text(result.detail)
    attempt.request, attempt.reply = mask(result.request), mask(result.reply)
    attempt.outcome = Outcome.DONE
    if result.is_waiting:
        attempt.outcome = Outcome.AWAITING
        task.service_order, task.awaited_check = result.awaits, result.awaits_check
        progress.move(task, State.AWAITING)


def _record_fault(attempt: TaskAttempt, fault: Exception, *, at: datetime) -> None:
    """Write down why a step failed, and whether it is tried again or a person must look."""
    db.leave_broken_connection()
    cause = _cause_of(fault)
    if cause == "internal_error":
        log.error("task %s failed", attempt.task_id, exc_info=fault)
    attempt.detail = mask_text(f"{type(fault).__name__}: {fault}")[:2000]
    attempt.request = mask(getattr(fault, "request", None))
    attempt.reply = mask(getattr(fault, "reply", None))
    try:
        _write_fault(attempt, fault, cause, at)
    except _NotMine:
        _log_late(attempt)


@transaction.atomic
def _write_fault(attempt: TaskAttempt, fault: Exception, cause: str, at: datetime) -> None:
    (task,) = _lock([attempt])
    parked_until = outside.report(task, fault, at=at) if task.system else None
    is_transient = isinstance(fault, TRANSIENT)
    if is_transient and (parked_until is not None or task.attempts < MOST_ATTEMPTS):
        attempt.outcome = Outcome.RETRY
        pause = jobs.backoff(task.attempts - 1, base=FIRST_PAUSE, most=LONGEST_PAUSE)
        task.next_attempt_at, task.leased_until = at + pause, None
        if parked_until is not None:
            # Not the step is ill but what it calls: that it was tried counts for nothing.
            task.next_attempt_at, task.attempts = parked_until, task.attempts - 1
        task.save(update_fields=["next_attempt_at", "leased_until", "attempts"])
    else:
        attempt.outcome = Outcome.FALLOUT
        progress.park(task, cause, at)
    statements.end_attempts([attempt], at)
    progress.send_tasks(progress.settle(task.order, at))


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
    (task,) = progress.lock_tasks(found.order_id, [found.pk])
    answer = ServiceOrder.objects.select_related("partner").get(pk=service_order_id)
    if task.state != State.AWAITING or task.service_order_id != answer.pk:
        return None
    said = mask(_said(answer))
    if answer.state == ServiceOrder.State.COMPLETED:
        reference = f" as {answer.partner_reference}" if answer.partner_reference else ""
        words = f"{answer.partner} confirmed{reference}."
        progress.note(task, Outcome.DONE, words, at, reply=said)
        progress.finish([task], State.COMPLETED, at)
    elif answer.state != ServiceOrder.State.ACKNOWLEDGED:
        words = mask_text(f"{answer.partner}: {answer.reason}")
        progress.note(task, Outcome.FALLOUT, words, at, reply=said)
        progress.park(task, _CAUSES[answer.state], at)
    progress.send_tasks(progress.settle(task.order, at))
    return task


def _said(answer: ServiceOrder) -> dict[str, str]:
    """What the partner told, in the words of the API."""
    said = {"id": answer.public_id, "state": answer.state}
    if answer.answered_at is not None:
        said["answered_at"] = answer.answered_at.isoformat()
    optional = {"reference": answer.partner_reference, "reason": answer.reason}
    return said | {name: value for name, value in optional.items() if value}


def cancel_tasks(*, order: ProductOrder, reason: str, at: datetime) -> None:
    """Close all steps of an order that the caller has locked and is taking back, last one first.

    A worker that runs one of them finds its attempt ended. What was done is noted as undone; the
    undoing itself is `orders.undo`, in the same transaction. What cannot be undone stays done.
    """
    for task in order.tasks.select_for_update(of=("self",)).order_by("-position"):
        if task.state == State.CANCELLED:
            continue
        if task.state == State.COMPLETED and task.kind in plan.NO_RETURN:
            continue
        was_done = task.state in {State.COMPLETED, State.AWAITING}
        progress.end_attempts(task, Outcome.CANCELLED, reason, at)
        if was_done:
            progress.note(task, Outcome.UNDONE, reason, at)
        task.finished_at, task.cause = at, ""
        progress.move(task, State.CANCELLED)


def move_to(*, task: OrderTask, begins_at: datetime | None, due_at: datetime, at: datetime) -> None:
    """Let an open step of an order that the caller has locked begin on another day.

    A worker that is at it finds its attempt ended. A step that is done or parked keeps its state,
    and a parked one begins on that day when it is tried again. Nobody waits behind a step of
    another day, so it gives up its turn at a system outside.
    """
    held = OrderTask.objects.select_for_update(of=("self",)).get(pk=task.pk)
    if held.state not in {State.PENDING, State.READY, State.FALLOUT}:
        return
    held.begins_at, held.due_at = begins_at, due_at
    if held.state == State.READY and (begins_at is None or begins_at != held.next_attempt_at):
        progress.end_attempts(held, Outcome.CANCELLED, "The day of the order was changed.", at)
        held.next_attempt_at, held.leased_until = max(at, begins_at or at), None
        held.attempts, held.system = 0, ""
    held.save()
    if held.state == State.READY and held.next_attempt_at and held.next_attempt_at <= at:
        progress.send_task(held.pk)


def send_task(task_id: int) -> None:
    """Ask a worker to run a step once this transaction is committed."""
    progress.send_task(task_id)
