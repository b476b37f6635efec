"""Celery's way in: the sweeps that find what is overdue."""

from celery import shared_task
from django.utils import timezone

from ipam import allocation, block_steps, growing, overallocation, renumbering, returning, sampling


@shared_task
def expire_addresses() -> None:
    """End leases that have run out, and free addresses that have rested long enough."""
    allocation.expire_due(at=timezone.now())


@shared_task
def expire_overallocation_requests() -> None:
    """Close the requests for extra addresses that nobody answered in time."""
    while overallocation.expire_due_requests(at=timezone.now()):
        pass


@shared_task
def move_holders() -> None:
    """Go on with the holders of pools that are being renumbered."""
    renumbering.go_on(at=timezone.now())


@shared_task
def sample_pools() -> None:
    """Write down how full every pool is, and throw away what is too old to keep so closely."""
    now = timezone.now()
    sampling.hear(at=now)
    sampling.sample(at=now)
    sampling.forget(at=now)


@shared_task
def watch_pools() -> None:
    """Ask for a further block where a pool's policy says so; give back what nobody uses."""
    now = timezone.now()
    growing.watch(at=now)
    returning.watch(at=now)


@shared_task
def grow_pools() -> None:
    """Go on with further blocks, and with those on their way back."""
    block_steps.go_on_due(at=timezone.now())
    returning.go_on_due(at=timezone.now())
