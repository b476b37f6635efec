"""Work that must be done: the row is the queue, a Celery message only makes it sooner.

A row that inherits `LeasedRow` is due at `next_attempt_at`. A worker takes a lease with `claim`,
does the work outside any transaction, and records the outcome. A worker that dies leaves a lease
that runs out, and the next sweep takes the row again; so the work itself must be safe to repeat.
"""

import contextlib
import logging
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

from django.db import DatabaseError, connection, models, transaction
from django.utils import timezone
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

log = logging.getLogger(__name__)
BROKER_REST_SECONDS = 5.0
_broker_is_away_until = 0.0
R = TypeVar("R", bound="LeasedRow")


class LeasedRow(models.Model):
    """A piece of work: due when `next_attempt_at` has come and no lease is running."""

    next_attempt_at = models.DateTimeField(null=True, blank=True)
    attempts = models.PositiveIntegerField(default=0)
    leased_until = models.DateTimeField(null=True, blank=True)

    class Meta:
        abstract = True


def due(rows: "models.QuerySet[R]", *, at: datetime) -> "models.QuerySet[R]":
    """Keep the rows whose time has come and that no living worker holds."""
    return rows.filter(next_attempt_at__lte=at).filter(
        models.Q(leased_until__isnull=True) | models.Q(leased_until__lte=at)
    )


def is_due(row: LeasedRow, *, at: datetime) -> bool:
    """Say of one row, which the caller has locked, what `due` asks the database."""
    if row.next_attempt_at is None or row.next_attempt_at > at:
        return False
    return row.leased_until is None or row.leased_until <= at


def go_on_with_next(waiting: "models.QuerySet[Any]", go_on: Callable[[Any], bool]) -> bool:
    """Go on with the first row of `waiting` that can be; False when none can.

    The rows of a `connection` of which one could not be gone on with are passed over.
    """
    passed_over: set[int] = set()
    while row := waiting.exclude(connection__in=passed_over).first():
        if go_on(row):
            return True
        passed_over.add(row.connection_id)
    return False


def claim(rows: "models.QuerySet[R]", *, at: datetime, lease: timedelta, limit: int = 1) -> list[R]:
    """Take up to `limit` due rows, oldest first, and hold each for the length of `lease`.

    Two workers never get the same row: the rows are locked while the lease is written, and rows
    that another transaction holds are skipped. The claim counts as an attempt, so that a row
    that kills its worker every time is seen to be tried.
    """
    with transaction.atomic():
        taken = list(
            due(rows, at=at)
            .select_for_update(skip_locked=True, of=("self",))
            .order_by("next_attempt_at", "pk")[:limit]
        )
        hold(taken, until=at + lease)
    return taken


def hold(rows: Sequence[LeasedRow], *, until: datetime) -> None:
    """Write the lease of locked rows of one kind, and that they are tried once more."""
    if not rows:
        return
    for row in rows:
        row.leased_until = until
        row.attempts += 1
    held = type(rows[0])._default_manager.filter(pk__in=[row.pk for row in rows])
    held.update(leased_until=until, attempts=models.F("attempts") + 1)


def put_back(row: LeasedRow, *, until: datetime) -> None:
    """Undo a claim of this transaction: the row is due later, and was not tried."""
    row.leased_until, row.next_attempt_at = None, until
    row.attempts -= 1
    row.save(update_fields=["leased_until", "next_attempt_at", "attempts"])


class Pulse:
    """What keeps a claimed row alive while its worker is in a statement that takes long.

    `until` is the end of the lease, and so the worker's token: whoever finds another one in the
    row has been given up on. What is in `facts` is written with it, for people to see.
    """

    def __init__(self, row: LeasedRow, lease: timedelta) -> None:
        self.until = row.leased_until
        self.facts: dict[str, Any] = {}
        self._rows = type(row)._default_manager.filter(pk=row.pk)
        self._lease = lease
        self._stop = threading.Event()
        # Often enough for whoever watches, and for the lease.
        self._every = min(1.0, lease.total_seconds() / 4)

    def beat(self) -> None:
        """Renew the lease until told to stop, on a connection of this thread's own."""
        while not self._stop.wait(self._every):
            until = timezone.now() + self._lease
            try:
                mine = self._rows.filter(leased_until=self.until)
                if mine.update(leased_until=until, **self.facts):
                    self.until = until
            except DatabaseError:
                log.warning("the lease of a row could not be renewed", exc_info=True)
        connection.close()

    def stop(self) -> None:
        self._stop.set()


@contextlib.contextmanager
def pulse(row: LeasedRow, *, lease: timedelta) -> Iterator[Pulse]:
    """Hold a claimed row for as long as the block lasts; for work in one long transaction.

    After it, `row.leased_until` is the token that guards the outcome. The row is not written within
    it, because a transaction that has written it keeps the pulse waiting.
    """
    kept = Pulse(row, lease)
    thread = threading.Thread(target=kept.beat, name="pulse", daemon=True)
    thread.start()
    try:
        yield kept
    finally:
        kept.stop()
        thread.join()
        row.leased_until = kept.until


def backoff(attempts: int, *, base: timedelta, most: timedelta) -> timedelta:
    """Return how long to wait after this many attempts: doubling, with jitter, up to a limit."""
    wait: timedelta = min(base * 2 ** min(attempts, 16), most)
    return wait * random.uniform(0.5, 1.0)  # noqa: S311


def send_on_commit(task: Callable[..., Any], **kwargs: Any) -> None:
    """Ask Celery to run a task once this transaction is committed.

    A broker that is away is logged and otherwise ignored: the sweep will find the row.
    """
    transaction.on_commit(lambda: send(task, **kwargs))


def send(task: Any, **kwargs: Any) -> None:
    """Ask Celery to run a task now; see `send_on_commit`.

    A broker that did not answer is left alone for some seconds, so that a request with ten
    messages does not wait for ten time-outs.
    """
    global _broker_is_away_until
    if time.monotonic() < _broker_is_away_until:
        return
    try:
        task.apply_async(kwargs=kwargs, retry=False)
    except (OperationalError, RedisError, OSError) as away:
        _broker_is_away_until = time.monotonic() + BROKER_REST_SECONDS
        log.warning("the broker is away, the sweep will run %s: %s", task.name, away)
