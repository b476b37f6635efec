"""Celery's way in to qualification. The rows are the queues; see `ispops.jobs`."""

from celery import shared_task
from django.utils import timezone

from ispops import jobs
from qualification import bulk_qualify, letters, queries, reach, waitlist

# A task gives way after so many, so that no kind of work keeps a worker for itself.
LOOKS_A_RUN = 200
LETTERS_A_RUN = 50


@shared_task
def look_at_waitlist() -> None:
    """Look at places of the waitlist whose time has come."""
    for _ in range(LOOKS_A_RUN):
        if waitlist.look_again(at=timezone.now()) is None:
            return
    jobs.send(look_at_waitlist)


@shared_task
def write_to_waitlist() -> None:
    """Write to those for whom service was found."""
    for _ in range(LETTERS_A_RUN):
        if not letters.send_next(at=timezone.now()):
            return
    jobs.send(write_to_waitlist)


@shared_task
def refresh_reached_cells() -> None:
    """Work out the cells of every network anew, because coverage begins and ends by date, too."""
    for provider_id in queries.networks():
        reach.refresh(provider_id=provider_id, at=timezone.now())


@shared_task
def qualify_file(*, bulk_id: str) -> None:
    """Answer rows of a file for one turn, soon after it came or after the turn before."""
    if bulk_qualify.qualify_next(bulk_id=bulk_id, at=timezone.now()):
        jobs.send(qualify_file, bulk_id=bulk_id)


@shared_task
def qualify_due_files() -> None:
    """Go on with the oldest file whose message or worker was lost."""
    bulk_qualify.qualify_next(at=timezone.now())
