"""By when an order is expected, as its partners go on with their parts of it."""

from datetime import datetime
from uuid import UUID

from django.db import transaction

from ispops import db, events
from provisioning.models import OrderTask, ProductOrder, ServiceOrder


@transaction.atomic
def follow_partner(*, service_order_id: UUID, at: datetime) -> ProductOrder | None:
    """Let the order that waits for a partner be expected no sooner than the partner delivers.

    Publishes `order.rescheduled` when the date is later than it was. A date that comes sooner
    changes only what is said of the partner's own step: others may still need until then. Safe to
    repeat; returns None when nothing waits for this order (any more).
    """
    waiting = OrderTask.objects.filter(
        service_order_id=service_order_id, state=OrderTask.State.AWAITING
    )
    order_id = waiting.values_list("order_id", flat=True).first()
    if order_id is None:
        return None
    order = db.lock(ProductOrder, order_id)
    said = ServiceOrder.objects.select_related("partner").get(pk=service_order_id)
    if said.expected_at is not None and said.expected_at > order.expected_at:
        before, order.expected_at = order.expected_at, said.expected_at
        order.save(update_fields=["expected_at"])
        events.publish(
            "order.rescheduled",
            subject=order.public_id,
            at=at,
            was=before.isoformat(),
            expected_at=order.expected_at.isoformat(),
            because=said.message or f"{said.partner} needs longer.",
        )
    return order
