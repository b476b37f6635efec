"""Stale leases: what a device holds of which nothing has been heard, taken back before the pool
gets more (figure 12).

Whoever sees devices registers as a witness; provisioning does, with its sessions. A lease is put on
notice first: it is shortened, so that a device that asks meanwhile gets it anew under the lock of
its line. Only what is still silent at the end of the notice is ended, and rests as always.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet

from ipam import leases
from ipam.models import AddressServer, Allocation, Pool

# Long enough for the first accounting message of a session that was let in a moment before.
NOTICE = timedelta(seconds=15)
# What was put on notice ends by itself after this, should nobody come back to it.
ENDS_AFTER = timedelta(minutes=5)
LOOKED_AT_ONCE = 500

Witness = Callable[[Sequence[Allocation]], Mapping[int, datetime]]
"""Says, by the key of the allocation, when its device was heard of last, where it knows."""

_witnesses: list[Witness] = []


def witness(seen: Witness) -> Witness:
    """Register somebody who knows when devices were heard of; for later stages."""
    _witnesses.append(seen)
    return seen


def count_stale(*, first: Pool, silent: timedelta, at: datetime) -> int:
    """Return how many leases of a group are stale, up to the number that one look takes."""
    return len(_silent(list(_quiet(first, silent, at)), silent, at))


def put_on_notice(*, first: Pool, silent: timedelta, at: datetime) -> int:
    """Shorten the stale leases of a group, as many as one look takes; returns how many."""
    with transaction.atomic():
        locked = _quiet(first, silent, at).select_for_update(skip_locked=True, of=("self",))
        stale = _silent(list(locked), silent, at)
        _end_at(stale, at + ENDS_AFTER)
    return len(stale)


def take_back(*, first: Pool, silent: timedelta, noticed_at: datetime, at: datetime) -> int:
    """End the leases that were put on notice then and are still silent; returns how many.

    A device that asked meanwhile has a whole lease again, and one that was seen gets it.
    """
    with transaction.atomic():
        noticed = list(
            _leases(first)
            .filter(expires_at=noticed_at + ENDS_AFTER)
            .select_for_update(skip_locked=True, of=("self",))
        )
        stale = _silent(noticed, silent, at)
        leases.let_go(stale, because=leases.Because.RECLAIMED, at=at)
        ended = {row.pk for row in stale}
        _end_at([row for row in noticed if row.pk not in ended], at + settings.ADDRESS_LEASE)
    return len(stale)


def _leases(first: Pool) -> QuerySet[Allocation]:
    return (
        Allocation.objects.filter(
            Q(pool=first) | Q(pool__grown_from=first),
            state=Allocation.State.ACTIVE,
            counts=True,
            pool__server__kind=AddressServer.Kind.RADIUS,
        )
        .select_related("holder")
        .order_by("expires_at", "pk")
    )


def _quiet(first: Pool, silent: timedelta, at: datetime) -> QuerySet[Allocation]:
    """What was not asked for since then: a lease begins anew when its device asks.

    Only what we lease ourselves can be stale: a DHCP server keeps its own leases, as long as it
    likes, and gives up those that run out.
    """
    asked_before = at - silent + settings.ADDRESS_LEASE
    return _leases(first).filter(expires_at__gt=at, expires_at__lte=asked_before)[:LOOKED_AT_ONCE]


def _silent(rows: Sequence[Allocation], silent: timedelta, at: datetime) -> list[Allocation]:
    """Leave out the devices of which a witness has heard since."""
    heard: dict[int, datetime] = {}
    for seen in _witnesses:
        for key, moment in seen(rows).items():
            heard[key] = max(moment, heard.get(key, moment))
    return [row for row in rows if row.pk not in heard or heard[row.pk] <= at - silent]


def _end_at(rows: Sequence[Allocation], ends_at: datetime) -> None:
    Allocation.objects.filter(pk__in=[row.pk for row in rows]).update(expires_at=ends_at)
