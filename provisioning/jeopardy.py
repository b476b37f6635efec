"""Steps that are late, so that the order will not keep its date unless somebody looks."""

from datetime import datetime

from django.db import transaction

from ispops import events
from provisioning.models import OrderTask

MARKED_PER_SWEEP = 500
# In these states something is still to be done.
OPEN = (
    OrderTask.State.PENDING,
    OrderTask.State.READY,
    OrderTask.State.AWAITING,
    OrderTask.State.FALLOUT,
)


@transaction.atomic
def mark_late(*, at: datetime) -> int:
    """Mark the steps that are past their time, once each; returns how many there were.

    Publishes `order.task_in_jeopardy`. A step that a worker is just recording is passed over: it
    is done, or late in the next sweep.
    """
    late = OrderTask.objects.filter(
        due_at__lte=at, in_jeopardy_at__isnull=True, finished_at__isnull=True, state__in=OPEN
    )
    found = list(
        late.select_for_update(skip_locked=True, of=("self",))
        .select_related("order")
        .order_by("due_at", "pk")[:MARKED_PER_SWEEP]
    )
    OrderTask.objects.filter(pk__in=[task.pk for task in found]).update(in_jeopardy_at=at)
    for task in found:
        events.publish(
            "order.task_in_jeopardy",
            subject=task.order.public_id,
            at=at,
            task=task.kind,
            state=task.state,
            due_at=task.due_at.isoformat() if task.due_at else None,
        )
    return len(found)
