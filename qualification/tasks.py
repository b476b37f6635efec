"""Celery's way in to qualification. The rows are the queues; see `ispops.jobs`."""

import time
from uuid import UUID

from celery import shared_task
from django.utils import timezone

from ispops import jobs
from qualification import (
    asking,
    bulk_qualify,
    collecting,
    import_work,
    letters,
    queries,
    reach,
    waitlist,
)

# A task gives way after so many, so that no kind of work keeps a worker for itself.
LOOKS_A_RUN = 200
LETTERS_A_RUN = 50
ASKING_SECONDS = 10.0
# A provider whose answer drips in must not hold a worker for ever; its lease runs out before.
LONGEST_CALL_SECONDS = 120


@shared_task(time_limit=LONGEST_CALL_SECONDS)
def ask_provider(*, inquiry_id: str) -> None:
    """Ask a provider, soon after it became due."""
    asking.ask(inquiry_id=UUID(inquiry_id), at=timezone.now())


@shared_task(time_limit=LONGEST_CALL_SECONDS)
def ask_due_providers() -> None:
    """Go on with what is due again, and with what lost its message or its worker."""
    started = time.monotonic()
    while asking.ask_next(at=timezone.now()):
        if time.monotonic() - started > ASKING_SECONDS:
            return


@shared_task
def collect_provider_files() -> None:
    """Take in what providers answered by file."""
    collecting.collect(at=timezone.now())


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


@shared_task
def import_list(*, import_id: str) -> None:
    """Check a list, apply it or take it back, soon after it was asked for."""
    import_work.work_on(import_id=UUID(import_id), at=timezone.now())


@shared_task
def import_due_lists() -> None:
    """Go on with the oldest list whose message or worker was lost."""
    import_work.work_on(at=timezone.now())
