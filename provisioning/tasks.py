"""Celery's way in to orders. The rows are the queue; see `ispops.jobs`."""

from celery import shared_task
from django.utils import timezone

from provisioning import execution, partner_orders

STEPS_PER_SWEEP = 200


@shared_task
def run_task(*, task_id: int) -> None:
    """Run one step of an order, soon after it became ready."""
    execution.run_task(task_id=task_id, at=timezone.now())


@shared_task
def run_due_tasks() -> None:
    """Run the steps whose message or worker was lost, and close what partners did not answer."""
    partner_orders.time_out_due(at=timezone.now())
    execution.run_due(at=timezone.now(), limit=STEPS_PER_SWEEP)
