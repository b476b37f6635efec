"""Celery's way in to rating. Each task calls its verb until there is nothing left, or for so long.

The rows are the queues: a task that is lost is made up for by the next sweep of beat.
"""

from celery import shared_task
from django.utils import timezone

from ispops import jobs
from provisioning import partner_orders
from rating import (
    charge_months,
    consents,
    partitions,
    posting,
    retrying,
    simulations,
    usage,
    usage_files,
    watching,
)

# A task gives way after so many batches, so that no kind of work keeps a worker for itself.
BATCHES = 20
MESSAGES_A_BATCH = 16_000
USES_A_BATCH = 100_000


@shared_task
def meter_accounting() -> None:
    """Turn stored accounting messages into usage, and have it rated at once."""
    taken = 0
    for _ in range(BATCHES):
        done = usage.meter_accounting(at=timezone.now(), limit=MESSAGES_A_BATCH)
        taken += done
        if done < MESSAGES_A_BATCH:
            break
    usage.close_stale(at=timezone.now())
    if taken:
        rate_stored_usage()


@shared_task
def rate_stored_usage() -> None:
    """Rate the usage that waits, and have somebody look at whom it concerns."""
    rated = 0
    for _ in range(BATCHES):
        done = usage.rate_usage(at=timezone.now(), limit=USES_A_BATCH)
        rated += done
        if not done:
            break
    if rated:
        jobs.send(watch_usage)


@shared_task
def watch_usage() -> None:
    """Tell who passed a threshold, and slow who passed fair use."""
    watching.look(at=timezone.now())


@shared_task
def read_usage_file(*, file_id: str) -> None:
    """Read a file for one turn, soon after it came or after the turn before."""
    if usage_files.read_next(file_id=file_id, at=timezone.now()):
        jobs.send(read_usage_file, file_id=file_id)


@shared_task
def read_due_usage_files() -> None:
    """Go on with the oldest file whose message or worker was lost."""
    usage_files.read_next(at=timezone.now())


@shared_task
def delete_old_usage_files() -> None:
    """Let go of files of usage that are over for long."""
    usage_files.delete_old(at=timezone.now())


@shared_task
def retry_rating_errors() -> None:
    """Let go of errors whose reason has gone."""
    retrying.retry_guided_wrong(at=timezone.now())


@shared_task
def expire_purchases() -> None:
    """Give up on partners that let the time pass; their purchases are taken back by the event.

    What a subscriber was asked and did not answer in time is closed, too.
    """
    partner_orders.time_out_due(at=timezone.now())
    consents.expire_due(at=timezone.now())


@shared_task
def post_rated_usage() -> None:
    """Charge what was rated since the last time, tend the months of usage and of charges, and put
    late use right that fell into periods that were re-rated."""
    now = timezone.now()
    posting.post_rated_usage(until=now - posting.COMMITTED_WITHIN)
    partitions.tend_months(at=now)
    charge_months.tend_months(at=now)
    simulations.follow_reratings(at=now)


@shared_task
def simulate_price(*, simulation_id: str) -> None:
    """Try a price on past use for one turn, soon after it was asked for or the turn before."""
    if simulations.simulate_next(simulation_id=simulation_id, at=timezone.now()):
        jobs.send(simulate_price, simulation_id=simulation_id)


@shared_task
def simulate_due_prices() -> None:
    """Go on with the oldest simulation whose message or worker was lost."""
    simulations.simulate_next(at=timezone.now())
