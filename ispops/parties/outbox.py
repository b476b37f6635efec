"""What a person does to the outbox of `ispops.events`, with a note in the audit trail."""

from datetime import datetime

from django.db import transaction

from ispops import events
from ispops.models import EventDelivery
from ispops.parties import audit
from ispops.parties.models import User


@transaction.atomic
def retry_event(*, delivery_id: int, actor: User, at: datetime, reason: str = "") -> EventDelivery:
    """Hand a parked event to its handler again, after the cause was mended.

    Raises:
        IllegalTransition: it was handled, or is being handled at this moment.
    """
    delivery: EventDelivery = events.retry(delivery_id=delivery_id, at=at)
    audit.record(
        actor=actor,
        action="event.retried",
        subject=delivery.event.subject,
        reason=reason,
        at=at,
        kind=delivery.event.kind,
        handler=delivery.handler,
    )
    return delivery
