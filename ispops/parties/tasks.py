"""Celery's way in to the webhooks."""

from celery import shared_task
from django.utils import timezone

from ispops.parties import webhooks

# Each may take the length of two time-outs, so a sweep ends before many others have piled up.
DELIVERIES_PER_SWEEP = 50


@shared_task
def deliver_webhook(*, delivery_id: str) -> None:
    webhooks.deliver(delivery_id=delivery_id, at=timezone.now())


@shared_task
def deliver_due_webhooks() -> None:
    """Send what is due again, what was replayed, and what lost its message or its worker."""
    for delivery_id in webhooks.due_deliveries(at=timezone.now(), limit=DELIVERIES_PER_SWEEP):
        webhooks.deliver(delivery_id=delivery_id, at=timezone.now())
