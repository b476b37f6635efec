"""How the steps of an order, and the order with them, move along their state tables.

Workers, partners' answers and people all move steps; what follows from it is the same and stands
here: which steps become ready, what becomes of the order, what is told. The caller has locked the
order and then the steps; see `lock_tasks`.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

from ispops import db, events, jobs
from ispops.errors import NotFound
from provisioning import plan
from provisioning.models import OrderTask, ProductOrder, TaskAttempt
from provisioning.transitions import FINISHED_TASK, ORDER, TASK

State = OrderTask.State
Outcome = TaskAttempt.Outcome


def lock_tasks(order_id: UUID, task_ids: Collection[int]) -> list[OrderTask]:
    """Lock an order, then steps of it; returns the steps in their order, with what they work on."""
    order = db.lock(ProductOrder, order_id)
    with_service = OrderTask.objects.select_related(
        "item__offer__qualification",
        "item__service__offering__provider",
        "item__service__premises",
        "item__service__line",
        "item__service__subscriber",
    )
    rows = with_service.select_for_update(of=("self",)).filter(pk__in=task_ids)
    tasks = list(rows.order_by("position"))
    for task in tasks:
        task.order = order
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
    OrderTask.objects.filter(pk__in=[task.pk for task in tasks]).update(
        state=state,
        finished_at=at,
        cause="",
        leased_until=None,
        next_attempt_at=None,
        assigned_to=None,
    )


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


def settle(order: ProductOrder, at: datetime) -> list[OrderTask]:
    """Bring a locked order in line with its steps, and make those ready that wait for nothing.

    Returns the steps that became ready and may begin now. Nobody was called for them: the caller
    goes on with them, or calls `send_tasks`.
    """
    # What an amendment took out of the order is no part of it any more.
    in_force = order.tasks.exclude(state=State.CANCELLED)
    rows = list(in_force.order_by("position").only("order", "state", "kind", "begins_at"))
    ready = _wake(rows, at)
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
    return ready


def _wake(rows: Sequence[OrderTask], at: datetime) -> list[OrderTask]:
    """Make the pending steps of an order ready whose earlier steps are all finished."""
    states = {row.pk: row.state for row in rows}
    pending = [row for row in rows if row.state == State.PENDING]
    if not pending:
        return []
    links = OrderTask.depends_on.through.objects.filter(
        from_ordertask__in=[row.pk for row in pending]
    )
    waiting = {
        later
        for later, earlier in links.values_list("from_ordertask", "to_ordertask")
        if states[earlier] not in FINISHED_TASK
    }
    ready = [row for row in pending if row.pk not in waiting]
    by_time: dict[datetime, list[int]] = {}
    for row in ready:
        by_time.setdefault(max(at, row.begins_at or at), []).append(row.pk)
    for begins_at, keys in by_time.items():
        OrderTask.objects.filter(pk__in=keys).update(state=State.READY, next_attempt_at=begins_at)
    return [row for row in ready if max(at, row.begins_at or at) == at]


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


def send_tasks(tasks: Sequence[OrderTask]) -> None:
    """Call a worker for each of these steps once this transaction is committed."""
    for task in tasks:
        send_task(task.pk)


def send_task(task_id: int) -> None:
    """Ask a worker to run a step once this transaction is committed."""
    from provisioning.tasks import run_task as task

    jobs.send_on_commit(task, task_id=task_id)
