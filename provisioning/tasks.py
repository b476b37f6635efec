"""Celery's way in to orders. The rows are the queue; see `ispops.jobs`."""

from celery import shared_task
from django.utils import timezone

from provisioning import execution, partner_orders, reminders

STEPS_PER_SWEEP = 200
LETTERS_PER_SWEEP = 100


@shared_task
def run_task(*, task_id: int) -> None:
    """Run one step of an order, soon after it became ready."""
    execution.run_task(task_id=task_id, at=timezone.now())


@shared_task
def run_due_tasks() -> None:
    """Run the steps whose message or worker was lost, and close what partners did not answer."""
    partner_orders.time_out_due(at=timezone.now())
    execution.run_due(at=timezone.now(), limit=STEPS_PER_SWEEP)


@shared_task
def tend_registrations() -> None:
    """Write to those who left a registration, and give up what has expired."""
    for _ in range(LETTERS_PER_SWEEP):
        if not reminders.remind_next(at=timezone.now()):
            break
    reminders.forget_expired(at=timezone.now())
