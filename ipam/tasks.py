"""Celery's way in: the sweeps that find what is overdue."""

from celery import shared_task
from django.utils import timezone

from ipam import allocation, overallocation


@shared_task
def expire_addresses() -> None:
    """End leases that have run out, and free addresses that have rested long enough."""
    allocation.expire_due(at=timezone.now())


@shared_task
def expire_overallocation_requests() -> None:
    """Close the requests for extra addresses that nobody answered in time."""
    while overallocation.expire_due_requests(at=timezone.now()):
        pass
