"""How the steps of an order, and the order with them, move along their state tables.

Workers, partners' answers and people all move steps; what follows from it is the same and stands
here: which steps become ready, what becomes of the order, what is told. The caller has locked the
order and then the steps; see `lock_tasks`.
"""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from uuid import UUID

from ispops import events, jobs
from ispops.errors import NotFound
from provisioning import plan, statements
from provisioning.models import OrderTask, ProductOrder, TaskAttempt
from provisioning.transitions import FINISHED_TASK, ORDER, TASK

State = OrderTask.State
Outcome = TaskAttempt.Outcome


def lock_tasks(order_id: UUID, task_ids: Collection[int]) -> list[OrderTask]:
    """Lock an order, then steps of it; returns the steps in their order, with what they work on."""
    order = statements.lock_order(order_id)
    return _with_items(statements.lock_tasks(task_ids), order)


def lock_running(attempts: Sequence[TaskAttempt]) -> list[OrderTask]:
    """Lock the order of attempts, then the steps of those that nobody else has ended."""
    order = statements.lock_order(attempts[0].task.order_id)
    return _with_items(statements.lock_running(attempts), order)


def _with_items(tasks: list[OrderTask], order: ProductOrder) -> list[OrderTask]:
    keys = {task.item_id for task in tasks if task.item_id}
    items = statements.items(keys) if keys else {}
    for task in tasks:
        task.order = order
        if task.item_id:
            task.item = items[task.item_id]
    return tasks


def find_and_lock(task_id: int) -> OrderTask:
    """Lock the order of a step, then the step.

    Raises:
        NotFound: there is no such step.
    """
    order_id = OrderTask.objects.filter(pk=task_id).values_list("order_id", flat=True).first()
    if order_id is None:
        raise NotFound("There is no such step.")
    return lock_tasks(order_id, [task_id])[0]


def finish(tasks: Sequence[OrderTask], state: str, at: datetime) -> None:
    """Close steps of one order, all in the same way."""
    for task in tasks:
        TASK.require(task.state, state)
        task.state, task.finished_at, task.cause = state, at, ""
        task.leased_until = task.next_attempt_at = task.assigned_to = None
    statements.finish_tasks(tasks, state, at)


def park(task: OrderTask, cause: str, at: datetime) -> None:
    """Leave a step to a person."""
    task.cause = cause
    move(task, State.FALLOUT)
    events.publish(
        "order.task_fallout", subject=task.order.public_id, at=at, task=task.kind, cause=cause
    )


def make_ready(task: OrderTask, at: datetime) -> None:
    """Let a step be taken by the next worker, and call one; not before the step may begin."""
    task.next_attempt_at = max(at, task.begins_at or at)
    move(task, State.READY)
    if task.next_attempt_at <= at:
        send_task(task.pk)


def move(task: OrderTask, state: str) -> None:
    """Write the state of a locked step; a step that is not ready is not due and not leased."""
    TASK.require(task.state, state)
    task.state, task.leased_until = state, None
    if state != State.READY:
        task.next_attempt_at = None
    if state != State.FALLOUT:
        task.assigned_to = None
    task.save()


def settle(order: ProductOrder, at: datetime) -> list[int]:
    """Bring a locked order in line with its steps, and make those ready that wait for nothing.

    Returns the steps that became ready and may begin now, by their keys. Nobody was called for
    them: the caller goes on with them, or calls `send_tasks`.
    """
    rows = statements.wake_tasks(order.pk, at, finished=FINISHED_TASK)
    states = {row.state for row in rows}
    if State.FALLOUT in states:
        state = ProductOrder.State.HELD
    elif states <= FINISHED_TASK:
        # A partner's product that was skipped is not delivered; the rest was settled otherwise.
        left_out = (plan.GRANT_ENTITLEMENT, State.SKIPPED) in {
            (row.kind, row.state) for row in rows
        }
        state = ProductOrder.State.PARTIAL if left_out else ProductOrder.State.COMPLETED
    else:
        state = ProductOrder.State.IN_PROGRESS
    if state != order.state:
        _move_order(order, state, at)
    return [row.task_id for row in rows if row.woken_for == at]


def _move_order(order: ProductOrder, state: str, at: datetime) -> None:
    ORDER.require(order.state, state)
    order.state = state
    if state in {ProductOrder.State.COMPLETED, ProductOrder.State.PARTIAL}:
        order.completed_at = at
    order.save(update_fields=["state", "completed_at"])
    events.publish(f"order.{state}", subject=order.public_id, at=at)


def end_attempts(task: OrderTask, outcome: str, detail: str, at: datetime) -> None:
    """End what runs of a step in another way than its worker would."""
    running = task.tries.filter(outcome=Outcome.RUNNING)
    running.update(outcome=outcome, detail=detail, ended_at=at)


def note(task: OrderTask, outcome: str, detail: str, at: datetime, *, reply: object = None) -> None:
    """Add something that happened to a step outside a worker's attempt to its history."""
    number = task.tries.count() + 1
    task.tries.create(
        number=number, started_at=at, ended_at=at, outcome=outcome, detail=detail, reply=reply
    )


def send_tasks(task_ids: Iterable[int]) -> None:
    """Call a worker for each of these steps once this transaction is committed."""
    for task_id in task_ids:
        send_task(task_id)


def send_task(task_id: int) -> None:
    """Ask a worker to run a step once this transaction is committed."""
    from provisioning.tasks import run_task as task

    jobs.send_on_commit(task, task_id=task_id)
