"""Taking slots out of a pool and giving them back: the free extents under many askers at once.

Called by the verbs of `ipam.leases` inside their transaction. An asker locks one extent until its
transaction ends; others step over it and take from another shard. Extents are given back by one
transaction a pool at a time, which holds the pool's row.
"""

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from django.db import IntegrityError, connection, transaction

from ipam import selection
from ipam.models import Allocation, FreeExtent, Pool, StaticAddress
from ipam.selection import Extent
from ispops.errors import Refusal

log = logging.getLogger(__name__)
RETURNED_AT_ONCE = 1000

# The extent that holds the wish or lies next below it, else the next above: two index probes.
_STEP_OVER_LOCKED = """
SELECT * FROM (
    SELECT id, first, last FROM ipam_freeextent WHERE pool_id = %(pool)s AND first <= %(wish)s
    ORDER BY first DESC LIMIT 1 FOR UPDATE SKIP LOCKED
) AS at_or_below
UNION ALL SELECT * FROM (
    SELECT id, first, last FROM ipam_freeextent WHERE pool_id = %(pool)s AND first > %(wish)s
    ORDER BY first LIMIT 1 FOR UPDATE SKIP LOCKED
) AS above
LIMIT 1
"""
# Any extent, waiting for those that hold one. There is no condition on `first`, which the other
# may change: a row that no longer fits would be passed over without looking for a better one.
_WAIT_FOR_LOCKED = """
SELECT id, first, last FROM ipam_freeextent WHERE pool_id = %(pool)s
ORDER BY first LIMIT 1 FOR UPDATE
"""
_NEIGHBOURS = """
SELECT DISTINCT free.id, free.first, free.last
FROM unnest(%(firsts)s::bigint[], %(lasts)s::bigint[]) AS run (first, last)
JOIN ipam_freeextent free
ON int8range(free.pool_id, free.pool_id, '[]') && int8range(%(pool)s, %(pool)s, '[]')
AND int8range(free.first, free.last, '[]') && int8range(run.first - 1, run.last + 1, '[]')
"""


class AddressPoolExhausted(Refusal):
    """Every slot of every pool that fits is held or in quarantine."""

    code = "address_pool_exhausted"
    title = "There is no free address left"
    status = 503


class PoolsChanged(AddressPoolExhausted):
    """A pool was closed while its addresses were waited for; others may give them instead."""


class Slot(NamedTuple):
    """One unit of one pool, taken out of the free extents."""

    pool: Pool
    number: int

    @property
    def address(self) -> str:
        return selection.address_of(self.pool.block.network, self.pool.unit_length, self.number)


def take(pools: Sequence[Pool], *, asker: str, wishes: Mapping[int, int], at: datetime) -> Slot:
    """Take one free slot out of the first of these pools that has one.

    `wishes` names, by pool id, the slot that the asker would like best. Nobody else gets the slot
    when the caller's transaction commits, and it is free again when that rolls back.

    *Full* is said only after waiting for everybody who holds an extent of these pools, and after
    giving back what has come out of quarantine meanwhile.

    Raises:
        PoolsChanged: there is none, and one of the pools gives no new leases any more.
        AddressPoolExhausted: there is none.
    """
    for pool in pools:
        if slot := _take_from(pool, _STEP_OVER_LOCKED, asker, wishes.get(pool.pk)):
            return slot
    while True:
        for pool in pools:
            if slot := _take_from(pool, _WAIT_FOR_LOCKED, asker):
                return slot
        given_back = sum([give_back(pool=pool, at=at) for pool in pools])
        # What somebody joined to another extent while we waited is a new row, not yet seen.
        if not given_back and not FreeExtent.objects.filter(pool__in=pools).exists():
            names = ", ".join(pool.name for pool in pools)
            giving = Pool.objects.filter(pk__in=[pool.pk for pool in pools], state="active")
            reason = AddressPoolExhausted if giving.count() == len(pools) else PoolsChanged
            raise reason(f"No address is free in {names}.", pools=names)


def _take_from(pool: Pool, statement: str, asker: str, wish: int | None = None) -> Slot | None:
    start = wish
    if start is None:
        slots = selection.slot_count(pool.block.network, pool.unit_length)
        start = selection.starting_point(asker, slots)
    with connection.cursor() as cursor:
        cursor.execute(statement, {"pool": pool.pk, "wish": start})
        row = cursor.fetchone()
    if row is None:
        return None
    extent = Extent(row[1], row[2], row[0])
    number = wish if wish is not None and wish in extent else extent.first
    _write_without(pool, extent, number)
    return Slot(pool, number)


def take_slot(pool: Pool, number: int) -> bool:
    """Take one slot, if it is free; a server has given it to somebody already."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT first, last, id FROM ipam_freeextent WHERE pool_id = %s AND first <= %s"
            " AND last >= %s FOR UPDATE",
            [pool.pk, number, number],
        )
        row = cursor.fetchone()
    if row is None:
        return False
    _write_without(pool, Extent(*row), number)
    return True


def _write_without(pool: Pool, extent: Extent, number: int) -> None:
    """Write what is left of a locked extent; the smaller extent goes first, so none overlap."""
    remaining = selection.cut(extent, number)
    with connection.cursor() as cursor:
        if not remaining:
            cursor.execute("DELETE FROM ipam_freeextent WHERE id = %s", [extent.key])
            return
        cursor.execute(
            "UPDATE ipam_freeextent SET first = %s, last = %s WHERE id = %s",
            [remaining[0].first, remaining[0].last, extent.key],
        )
    for part in remaining[1:]:
        FreeExtent.objects.create(pool=pool, first=part.first, last=part.last)


def give_back(*, pool: Pool, at: datetime) -> int:
    """Make the slots of a pool whose quarantine is over free again, and join what touches.

    Returns how many slots became free, or are gone from a pool that is drained. Two calls for one
    pool take turns.
    """
    resting = Allocation.objects.filter(
        pool=pool, state=Allocation.State.QUARANTINED, expires_at__lte=at
    )
    if not resting.exists():
        return 0
    with transaction.atomic():
        held = Pool.objects.select_for_update(no_key=True).get(pk=pool.pk)
        rested = list(
            resting.select_for_update(skip_locked=True)
            .order_by("slot")
            .values_list("pk", "slot")[:RETURNED_AT_ONCE]
        )
        if rested:
            Allocation.objects.filter(pk__in=[pk for pk, _ in rested]).delete()
            if held.state != Pool.State.DRAINING:
                kept = _kept(pool)
                _free(pool, [slot for _, slot in rested if slot not in kept])
    return len(rested)


def give_back_all(*, at: datetime) -> int:
    """Do `give_back` for every pool until nothing is left; returns how many slots it were.

    A pool whose rows contradict each other does not keep the others from being freed.
    """
    done = 0
    rested = Allocation.objects.filter(state=Allocation.State.QUARANTINED, expires_at__lte=at)
    for pool in Pool.objects.filter(pk__in=rested.values("pool")).select_related("block"):
        try:
            while batch := give_back(pool=pool, at=at):
                done += batch
        except (IntegrityError, ValueError):
            log.exception("the addresses of %s that have rested cannot be freed", pool)
    return done


def put_back(pool: Pool, slot: int) -> None:
    """Make a slot free that nobody holds and that does not rest, where its pool gives any."""
    held = Pool.objects.select_for_update(no_key=True).get(pk=pool.pk)
    if held.state in (Pool.State.PENDING, Pool.State.ACTIVE):
        _free(held, [slot])


def _kept(pool: Pool) -> set[int]:
    """The slots of a pool that are some line's for good, online or not."""
    if pool.purpose != Pool.Purpose.STATIC:
        return set()
    kept = StaticAddress.objects.filter(pool=pool, released_at__isnull=True)
    return set(kept.values_list("slot", flat=True))


def take_all(pool: Pool) -> None:
    """Take every free slot out of a pool whose row the caller has locked: nobody is given any.

    Whoever holds an extent is waited for. What such an asker left of it is a new row, which the
    next round sees; a round that finds none ends it.
    """
    while FreeExtent.objects.filter(pool=pool).delete()[0]:
        pass


def free_again(pool: Pool) -> None:
    """Undo `take_all` for a pool whose row the caller has locked: what nobody has is free."""
    first, last = selection.usable_slots(pool.block.network, pool.unit_length)
    size = selection.shard_size(selection.slot_count(pool.block.network, pool.unit_length))
    taken = Allocation.objects.filter(pool=pool).values_list("slot", flat=True)
    left = selection.gaps(first, last, {*taken, *_kept(pool)}, size)
    FreeExtent.objects.bulk_create(
        FreeExtent(pool=pool, first=extent.first, last=extent.last) for extent in left
    )


_WHERE_ABOUTS = """
SELECT (SELECT coalesce(sum(last - first + 1), 0) FROM ipam_freeextent WHERE pool_id = %(pool)s),
    (SELECT count(*) FROM ipam_allocation WHERE pool_id = %(pool)s),
    (SELECT count(*) FROM ipam_staticaddress kept
     WHERE kept.pool_id = %(pool)s AND kept.released_at IS NULL AND NOT EXISTS (
         SELECT FROM ipam_allocation held
         WHERE held.pool_id = kept.pool_id AND held.slot = kept.slot))
"""


def unaccounted(pool: Pool) -> int:
    """Count the slots that are neither free nor held nor kept; negative where some are both.

    Of a pool that is drained none is free, and it is asked whether that is so. One statement sees
    one moment, so a sound pool comes to zero at any time.
    """
    first, last = selection.usable_slots(pool.block.network, pool.unit_length)
    with connection.cursor() as cursor:
        cursor.execute(_WHERE_ABOUTS, {"pool": pool.pk})
        free, held, kept = (int(count) for count in cursor.fetchone())
    return -free if pool.state == Pool.State.DRAINING else last - first + 1 - free - held - kept


def _free(pool: Pool, slots: Sequence[int]) -> None:
    size = selection.shard_size(selection.slot_count(pool.block.network, pool.unit_length))
    runs = selection.runs(slots, size)
    neighbours = _lock_neighbours(pool, runs)
    FreeExtent.objects.filter(pk__in=[extent.key for extent in neighbours]).delete()
    FreeExtent.objects.bulk_create(
        FreeExtent(pool=pool, first=extent.first, last=extent.last)
        for extent in selection.join([*runs, *neighbours], size)
    )


def _lock_neighbours(pool: Pool, runs: Sequence[Extent]) -> list[Extent]:
    """Lock the free extents that touch the runs, found through the index of the exclusion.

    They are read again under the lock, because an asker may have cut them meanwhile.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            _NEIGHBOURS,
            {
                "pool": pool.pk,
                "firsts": [run.first for run in runs],
                "lasts": [run.last for run in runs],
            },
        )
        touching = [row[0] for row in cursor.fetchall()]
    locked = (
        FreeExtent.objects.select_for_update()
        .filter(pk__in=touching)
        .order_by("pk")
        .values_list("first", "last", "pk")
    )
    return [Extent(first, last, key) for first, last, key in locked]
