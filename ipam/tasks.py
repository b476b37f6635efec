"""Celery's way in: the sweeps that find what is overdue."""

import logging

from celery import shared_task
from django.utils import timezone

from ipam import (
    allocation,
    block_imports,
    block_steps,
    csr_letters,
    extents,
    growing,
    overallocation,
    renumbering,
    returning,
    sampling,
)
from ipam.models import Pool
from ispops import jobs

log = logging.getLogger(__name__)


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
def check_pools() -> None:
    """Tell the operator of pools in which an address is nobody's, or free and held at once."""
    pools = Pool.objects.filter(state__in=(Pool.State.ACTIVE, Pool.State.DRAINING))
    for pool in pools.select_related("block").order_by("pk"):
        if number := extents.unaccounted(pool):
            log.error("%s does not add up: %+d addresses. Nothing is changed.", pool.name, number)


@shared_task
def write_to_csrs() -> None:
    """Tell customer service of devices that wait for its decision."""
    csr_letters.tell(at=timezone.now())


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


@shared_task
def read_block_import(*, import_id: str) -> None:
    """Do rows of a file of blocks for one turn, soon after it came or after the turn before."""
    if block_imports.read_next(import_id=import_id, at=timezone.now()):
        jobs.send(read_block_import, import_id=import_id)


@shared_task
def read_due_block_imports() -> None:
    """Go on with the oldest file of blocks whose message or worker was lost."""
    block_imports.read_next(at=timezone.now())


@shared_task
def delete_old_block_imports() -> None:
    """Let go of files of blocks that are over for long."""
    block_imports.delete_old(at=timezone.now())
