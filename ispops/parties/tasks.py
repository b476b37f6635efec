"""Celery's way in to the webhooks."""

from celery import shared_task
from django.utils import timezone

from ispops import jobs
from ispops.parties import check_asking, webhooks
from ispops.parties.models import SubscriberCheck

# Each may take the length of two time-outs, so a sweep ends before many others have piled up.
DELIVERIES_PER_SWEEP = 50
# A task gives way after so many people; a checker whose answer drips in must not hold a worker.
ASKED_PER_SWEEP = 20
LONGEST_SECONDS = 180


@shared_task
def deliver_webhook(*, delivery_id: str) -> None:
    webhooks.deliver(delivery_id=delivery_id, at=timezone.now())


@shared_task
def deliver_due_webhooks() -> None:
    """Send what is due again, what was replayed, and what lost its message or its worker."""
    for delivery_id in webhooks.due_deliveries(at=timezone.now(), limit=DELIVERIES_PER_SWEEP):
        webhooks.deliver(delivery_id=delivery_id, at=timezone.now())


@shared_task(time_limit=LONGEST_SECONDS)
def ask_checker(*, kind: str) -> None:
    """Ask the checker of a kind about those who are due, soon after somebody has ordered."""
    for _ in range(ASKED_PER_SWEEP):
        if not check_asking.ask_next(kind=kind, at=timezone.now()):
            return
    jobs.send(ask_checker, kind=kind)


@shared_task
def ask_due_checkers() -> None:
    """Ask about those whose message or worker was lost, and who are due again."""
    for kind in SubscriberCheck.Kind.values:
        waiting = SubscriberCheck.objects.filter(kind=kind, state=SubscriberCheck.State.ASKING)
        if jobs.due(waiting, at=timezone.now()).exists():
            jobs.send(ask_checker, kind=kind)
