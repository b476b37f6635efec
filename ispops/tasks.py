"""Celery's way in to the parts that belong to no one department."""

import socket

from celery import shared_task
from django.utils import timezone

from ispops import events, health

DELIVERIES_PER_SWEEP = 200


@shared_task
def heartbeat() -> None:
    """Prove that beat, Redis, a worker and the database work together."""
    health.record_heartbeat(name=f"worker@{socket.gethostname()}", at=timezone.now())


@shared_task
def deliver_event(*, delivery_id: int) -> None:
    events.deliver(delivery_id=delivery_id, at=timezone.now())


@shared_task
def deliver_due_events() -> None:
    """Find the deliveries whose message was lost or whose worker died."""
    for delivery_id in events.due_deliveries(at=timezone.now(), limit=DELIVERIES_PER_SWEEP):
        deliver_event(delivery_id=delivery_id)
