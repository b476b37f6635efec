"""The outbox: facts that earlier stages publish and later stages act on.

`publish` writes the event and one delivery per registered handler in the caller's transaction,
so an event exists exactly when the change it tells of is committed. A worker hands each delivery
to its handler, at least once; a handler must be safe to run twice.
"""

import json
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction

from ispops import db, jobs
from ispops.errors import IllegalTransition

Handler = Callable[[Any], None]
log = logging.getLogger(__name__)
_handlers: dict[str, tuple[str, Handler]] = {}

LEASE = timedelta(seconds=60)
MOST_ATTEMPTS = 20
# One statement, because most verbs end with it.
_PUBLISH = """
WITH event AS (
    INSERT INTO ispops_event (kind, subject, payload, occurred_at)
    VALUES (%s, %s, %s::jsonb, %s) RETURNING id
), delivery AS (
    INSERT INTO ispops_eventdelivery (event_id, handler, next_attempt_at, attempts, last_error)
    SELECT event.id, handler, %s, 0, '' FROM event, unnest(%s::text[]) handler RETURNING id
)
SELECT id, ARRAY(SELECT id FROM delivery ORDER BY id) FROM event
"""


def on(kind: str, *, name: str) -> Callable[[Handler], Handler]:
    """Register a handler of one kind of event under a name that stays the same for ever.

    The handler gets the `ispops.models.Event` row, inside a transaction of its own.
    """

    def register(handler: Handler) -> Handler:
        if name in _handlers:
            raise ValueError(f"an event handler named {name} is registered already")
        _handlers[name] = (kind, handler)
        return handler

    return register


def publish(kind: str, *, subject: str, at: datetime, **payload: Any) -> Any:
    """Record that something happened, and queue it for every handler of its kind.

    `subject` is the public id of the object; `payload` must be plain JSON. Returns the event.

    Raises:
        RuntimeError: called outside a transaction, where the event could outlive its cause.
    """
    from ispops.models import Event
    from ispops.tasks import deliver_event

    if not transaction.get_connection().in_atomic_block:
        raise RuntimeError("events are published inside the transaction of their cause")
    names = [name for name, (handled, _) in _handlers.items() if handled == kind]
    with connection.cursor() as cursor:
        cursor.execute(_PUBLISH, [kind, subject, json.dumps(payload), at, at, names])
        key, deliveries = cursor.fetchone()
    for delivery_id in deliveries:
        jobs.send_on_commit(deliver_event, delivery_id=delivery_id)
    return Event(id=key, kind=kind, subject=subject, payload=payload, occurred_at=at)


def deliver(*, delivery_id: int, at: datetime) -> bool:
    """Hand one queued event to its handler. Returns False when it is done or held elsewhere.

    What the handler writes and the note that it ran are one transaction, so its rows are written
    once even when a slow worker outlives its lease. A handler that fails is tried again with
    growing pauses, and parked after `MOST_ATTEMPTS`.
    """
    from ispops.models import EventDelivery

    pending = EventDelivery.objects.filter(pk=delivery_id, delivered_at__isnull=True)
    claimed = jobs.claim(pending.select_related("event"), at=at, lease=LEASE)
    if not claimed:
        return False
    delivery = claimed[0]
    pending = pending.filter(leased_until=delivery.leased_until)
    try:
        with transaction.atomic():
            # First, so that the row is held while the handler works, and the lease is still ours.
            if not pending.update(
                delivered_at=at, leased_until=None, next_attempt_at=None, last_error=""
            ):
                return False
            _handlers[delivery.handler][1](delivery.event)
    except Exception as error:
        log.exception("event %s was not handled by %s", delivery.event_id, delivery.handler)
        retry = jobs.backoff(
            delivery.attempts, base=timedelta(seconds=1), most=timedelta(minutes=10)
        )
        pending.update(
            leased_until=None,
            next_attempt_at=at + retry if delivery.attempts < MOST_ATTEMPTS else None,
            last_error=f"{type(error).__name__}: {error}"[:500],
        )
        return False
    return True


def due_deliveries(*, at: datetime, limit: int) -> list[int]:
    """The deliveries, oldest first, that a sweep should make because nobody else did."""
    from ispops.models import EventDelivery

    waiting = jobs.due(EventDelivery.objects.filter(delivered_at__isnull=True), at=at)
    return list(waiting.order_by("next_attempt_at", "pk").values_list("pk", flat=True)[:limit])


@transaction.atomic
def retry(*, delivery_id: int, at: datetime) -> Any:
    """Take a parked delivery up again, as if it were new, or a waiting one now. Returns it.

    Raises:
        IllegalTransition: it was delivered, or is being delivered at this moment.
    """
    from ispops.models import EventDelivery
    from ispops.tasks import deliver_event

    delivery = db.lock(EventDelivery, delivery_id)
    if delivery.delivered_at or (delivery.leased_until and delivery.leased_until > at):
        raise IllegalTransition("This event has been handled, or is being handled right now.")
    delivery.attempts = 0
    delivery.leased_until = None
    delivery.next_attempt_at = at
    delivery.save(update_fields=["attempts", "leased_until", "next_attempt_at"])
    jobs.send_on_commit(deliver_event, delivery_id=delivery.pk)
    return delivery
