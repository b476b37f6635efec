"""Rows that say what a system outside should have, and how far it has been told.

Whoever changes what it should have raises the row's revision; the row is due until the system has
that revision. A worker takes it under a lease, tells the system outside any transaction, and notes
what came of it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from django.db import transaction
from django.db.models import F, QuerySet

from ispops import jobs
from ispops.masking import mask_text
from provisioning.models import DhcpReservation, SubscriberEquipment
from provisioning.outcomes import Outcome

Row = TypeVar("Row", DhcpReservation, SubscriberEquipment)
# The order that changed a row tells the system at once; the sweep is for when it is taken back.
SWEPT_AFTER = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class Pauses:
    """How long a row rests after a fault: first, and at most."""

    first: timedelta
    longest: timedelta


def want_anew(held: DhcpReservation | SubscriberEquipment, at: datetime) -> None:
    """Raise the revision of a row that the caller has locked and saves."""
    held.revision += 1
    held.next_attempt_at, held.attempts, held.last_error = at + SWEPT_AFTER, 0, ""


def due_now(rows: "QuerySet[Row]", at: datetime) -> "QuerySet[Row]":
    """Make the rows due that are behind and that nobody has taken; returns those behind."""
    behind = rows.filter(written_revision__lt=F("revision"))
    behind.exclude(leased_until__gt=at).update(next_attempt_at=at)
    return behind


def write(
    row: Row,
    tell: Callable[[Row], Outcome],
    at: datetime,
    *,
    pauses: Pauses,
    then: Callable[[Row], None] = lambda _: None,
) -> Outcome:
    """Tell the system what a taken row says, and note that it has this revision, or why not.

    `then` changes a row that the system has at last, before it is saved. Raises what `tell` does.
    """
    try:
        outcome = tell(row)
    except Exception as fault:
        _record(row, fault, at, pauses, then)
        raise
    _record(row, None, at, pauses, then)
    return outcome


def _record(
    row: Row, fault: Exception | None, at: datetime, pauses: Pauses, then: Callable[[Row], None]
) -> None:
    """Whoever had the row for too long may have written over what came after: it is due again."""
    with transaction.atomic():
        rows = type(row)._default_manager.select_for_update(of=("self",), no_key=True)
        held = rows.get(pk=row.pk)
        if held.leased_until != row.leased_until:
            held.written_revision, held.next_attempt_at = 0, at
        elif fault is not None:
            pause = jobs.backoff(held.attempts - 1, base=pauses.first, most=pauses.longest)
            held.last_error, held.leased_until = mask_text(str(fault))[:300], None
            held.next_attempt_at = at + pause
        else:
            held.written_revision, held.written_at = row.revision, at
            held.leased_until, held.last_error, held.attempts = None, "", 0
            held.next_attempt_at = None if row.revision == held.revision else at
            if held.next_attempt_at is None:
                then(held)
        held.save()
