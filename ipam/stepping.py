"""Rows of ipam that a worker goes on with, one step of their state table at a time.

A step is done outside any transaction, because it may talk to an address server, and writes what
came of it under the lock of its row, if the row is still the one that this worker claimed.
"""

import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, TypeVar

from django.core.cache import cache
from django.db import transaction
from django.db.models import QuerySet

from ipam.models import AddressServer, BlockRequest, BlockReturn
from ipam.server_calls import LeftAlone
from ispops import db, jobs
from ispops.errors import PermanentFault, TransientFault
from ispops.masking import mask_text

log = logging.getLogger(__name__)
Row = TypeVar("Row", BlockRequest, BlockReturn)
# Longer than a server is waited for, which is told by one worker at a time.
LEASE = timedelta(seconds=90)
FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=5), timedelta(minutes=10)
MOST_ATTEMPTS = 12
PARKED = "parked"
DRY_IS_TOLD_EVERY = 5


class TakenOver(Exception):
    """Another worker has the row by now: what this one found out counts no more."""


def go_on_due(
    rows: "QuerySet[Row]",
    steps: Mapping[str, Callable[[Row, datetime], None]],
    *,
    at: datetime,
    limit: int,
) -> int:
    """Do the next steps of rows that are due; returns how many were done.

    What fails is tried again with growing pauses, and parked at last, or at once where a server
    refused. What a server is not called for, because it is left alone, waits.
    """
    done = 0
    while done < limit and (taken := jobs.claim(rows, at=at, lease=LEASE)):
        done += 1
        _go_on(taken[0], steps, at)
    return done


def _go_on(row: Row, steps: Mapping[str, Callable[[Row, datetime], None]], at: datetime) -> None:
    try:
        steps[row.state](row, at)
    except TakenOver:
        log.info("%s was taken over by another worker", row.public_id)
    except LeftAlone as left:
        _put_back(row, left.until)
    except TransientFault as fault:
        _rest(row, fault, at, is_over=row.attempts >= MOST_ATTEMPTS)
    except PermanentFault as fault:
        _rest(row, fault, at, is_over=True)
    except Exception as error:
        # Whatever it is, the lease runs out and another worker finds the row as it was.
        log.exception("%s could not be gone on with", row.public_id)
        if row.attempts >= MOST_ATTEMPTS:
            told = PermanentFault(f"A fault of ours; the log says more: {error!r}")
            _rest(row, told, at, is_over=True)


def hold(row: Row) -> Row:
    """Lock a row that this worker claimed.

    Raises:
        TakenOver: it is not this worker's any more.
    """
    held = db.lock(type(row), row.pk)
    if held.leased_until != row.leased_until or held.state != row.state:
        raise TakenOver
    return held


def move(held: Row, state: str, *, due_at: datetime | None = None) -> None:
    """Save a locked row in its new state; it is due again at that time, or waits for somebody."""
    held.state, held.next_attempt_at, held.leased_until = state, due_at, None
    held.save()


def _rest(row: Row, fault: Exception, at: datetime, *, is_over: bool) -> None:
    pause = jobs.backoff(row.attempts, base=FIRST_PAUSE, most=LONGEST_PAUSE)
    with transaction.atomic():
        try:
            held = hold(row)
        except TakenOver:
            return
        held.last_error = mask_text(str(fault))[:300]
        if is_over:
            move(held, PARKED)
        else:
            move(held, held.state, due_at=at + pause)


def _put_back(row: Row, until: datetime) -> None:
    """Let a row wait for a server that is left alone; it was not tried."""
    with transaction.atomic():
        try:
            held = hold(row)
        except TakenOver:
            return
        held.attempts -= 1
        move(held, held.state, due_at=until)


def work_soon() -> None:
    """Have a worker go on once this transaction is committed."""
    from ipam.tasks import grow_pools

    jobs.send_on_commit(grow_pools)


def look_soon(server: AddressServer) -> None:
    """Have a server's pools looked at now and not within a minute, because one has run dry.

    However many devices find it dry, it is one message in some seconds.
    """
    from ipam.tasks import watch_pools

    task: Any = watch_pools
    if cache.add(f"ipam:dry:{server.pk}", True, timeout=DRY_IS_TOLD_EVERY):
        jobs.send(task)
