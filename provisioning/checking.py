"""Letting orders go on, or fall out, by what came of a check of identity or credit."""

from datetime import datetime
from uuid import UUID

from django.db import transaction

from ispops.parties.models import SubscriberCheck
from provisioning import progress, telling
from provisioning.models import OrderTask, TaskAttempt

State = OrderTask.State


@transaction.atomic
def take_verdict(*, check_id: UUID, at: datetime) -> int:
    """Move every step that waits for a check. Safe to repeat; returns how many there were.

    A refusal parks the step, and the subscriber is told that the order is kept: a person cancels
    it, or tries the step again, and then staff look into it.
    """
    check = SubscriberCheck.objects.get(pk=check_id)
    if check.state not in {SubscriberCheck.State.PASSED, SubscriberCheck.State.REFUSED}:
        return 0
    waiting = OrderTask.objects.filter(awaited_check=check, state=State.AWAITING).order_by("pk")
    moved = 0
    for order_id, task_id in waiting.values_list("order_id", "pk"):
        (task,) = progress.lock_tasks(order_id, [task_id])
        if task.state != State.AWAITING:
            continue
        moved += 1
        if check.state == SubscriberCheck.State.PASSED:
            progress.note(task, TaskAttempt.Outcome.DONE, f"Passed: {check.reason}", at)
            progress.finish([task], State.COMPLETED, at)
        else:
            progress.note(task, TaskAttempt.Outcome.FALLOUT, f"Refused: {check.reason}", at)
            progress.park(task, "check_refused", at)
            telling.check_refused(order=task.order, check=check, at=at)
        progress.send_tasks(progress.settle(task.order, at))
    return moved
