"""Holding an address and letting it go: allocation rows and the history that tells of them.

The ground floor of `ipam.allocation` and `ipam.overallocation`, called inside their transactions,
with the holder's row locked where a holder is counted.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction

from ipam import extents, selection, statements
from ipam.models import AddressHolder, Allocation, AllocationHistory, Pool
from ipam.statements import Held
from ispops import events

ACTIVE, QUARANTINED = Allocation.State.ACTIVE, Allocation.State.QUARANTINED
ENDED_AT_ONCE = 500


class Because:
    """Why a stay ended, as the history keeps it."""

    LEASE_EXPIRED = "lease_expired"
    SESSION_ENDED = "session_ended"
    FREED = "freed_by_subscriber"
    SERVICE_CEASED = "service_ceased"
    EXTRA_ENDED = "extra_ended"
    PLAN_INCLUDES = "plan_includes_it"
    OTHER_SERVER = "moved_to_other_server"
    RENUMBERED = "renumbered"
    STATIC_GIVEN = "static_address_given"
    STATIC_ENDED = "static_address_ended"
    LEFT_WALLED_GARDEN = "left_walled_garden"
    POOL_DRAINED = "pool_drained"
    RECLAIMED = "reclaimed_as_stale"


def lock_allocations(holder: AddressHolder, *, at: datetime) -> list[Allocation]:
    """Read and lock all that a holder holds or has resting; end first what is overdue."""
    rows = statements.lock_allocations(holder)
    overdue = [row for row in rows if row.state == ACTIVE and row.expires_at <= at]
    let_go(overdue, because=Because.LEASE_EXPIRED, at=at)
    return rows


def hold(
    *,
    holder: AddressHolder,
    device: str,
    pools: Mapping[int, Sequence[Pool]],
    resting: Iterable[Allocation],
    counts: bool,
    lease: timedelta,
    at: datetime,
) -> list[Held]:
    """Give a device one slot of each family, out of the pools that `pools` names for it.

    The device gets the address again that rests in quarantine for it, else the one it had before
    if that is free (not looked up for a stay that does not count), else any. `resting` are the
    holder's locked rows. Nothing is given when one family has nothing left: the caller's
    transaction must then roll back.

    Raises:
        AddressPoolExhausted: a family has no free slot.
    """
    if not pools:
        return []
    known = {pool.pk: pool for family in sorted(pools) for pool in pools[family]}
    again = _resting_for(device, known, resting)
    kept = [
        reactivate(row, known[row.pool_id], holder, counts=counts, lease=lease, at=at)
        for row in again.values()
    ]
    missing = [pools[family] for family in sorted(pools) if family not in again]
    if not missing:
        return kept
    wishes = _last_slots(holder, device, known) if counts else {}
    asker = f"{holder.service_ref} {device}"
    slots = [extents.take(each, asker=asker, wishes=wishes, at=at) for each in missing]
    return kept + statements.open_stays(
        slots=[(slot.pool, slot.number, slot.address) for slot in slots],
        holder=holder,
        device=device,
        counts=counts,
        expires_at=at + lease,
        at=at,
    )


def held_by(row: Allocation) -> Held:
    """Return what an answer needs of an allocation."""
    return Held(row.family, row.address, row.expires_at)


def renew(rows: Sequence[Allocation], *, lease: timedelta, at: datetime) -> None:
    """Let held addresses go on for a whole lease from now."""
    if not rows:
        return
    Allocation.objects.filter(pk__in=[row.pk for row in rows]).update(expires_at=at + lease)
    for row in rows:
        row.expires_at = at + lease


def let_go(
    rows: Sequence[Allocation],
    *,
    because: str,
    at: datetime,
    ended_at: Sequence[datetime] | None = None,
    in_use_until: datetime | None = None,
) -> None:
    """End the stays of locked, active rows and put their addresses into quarantine.

    The stays end now, or each at its own moment of `ended_at`. An address that may still be in use
    rests until the end of its lease, which `in_use_until` limits.
    """
    if rows:
        statements.end_stays(
            rows,
            because=because,
            ended_at=ended_at or [at] * len(rows),
            in_use_until=in_use_until or at,
            at=at,
        )
        for row in rows:
            row.state = QUARANTINED


def take_back(
    holder: AddressHolder, rows: Sequence[Allocation], *, because: str, at: datetime
) -> None:
    """Take from a device of a locked holder what it may be online with, and tell, so it is cut.

    Its session lasts as long as its lease at most: until then nobody else is given the addresses,
    unless its end is heard of before (`ipam.sessions`).
    """
    let_go(rows, because=because, at=at, in_use_until=at + settings.ADDRESS_LEASE)
    for row in rows:
        events.publish(
            "address.taken_back",
            subject=holder.service_ref,
            at=at,
            subscriber=holder.subscriber.public_id,
            service=holder.service_ref,
            device=row.device,
            address=str(row.address),
            because=because,
        )


def end_overdue(*, at: datetime) -> int:
    """Let go some of the leases that have run out. Returns how many; zero when none is left."""
    with transaction.atomic():
        overdue = list(
            Allocation.objects.filter(state=ACTIVE, expires_at__lte=at)
            .select_for_update(skip_locked=True)
            .order_by("expires_at")[:ENDED_AT_ONCE]
        )
        let_go(overdue, because=Because.LEASE_EXPIRED, at=at)
    return len(overdue)


def _resting_for(
    device: str, pools: Mapping[int, Pool], rows: Iterable[Allocation]
) -> dict[int, Allocation]:
    """The device's address in quarantine by family, the last one where there are several."""
    return {
        row.family: row
        for row in sorted(rows, key=lambda row: row.allocated_at)
        if row.state == QUARANTINED and row.device == device and row.pool_id in pools
    }


def reactivate(
    row: Allocation,
    pool: Pool,
    holder: AddressHolder,
    *,
    counts: bool,
    lease: timedelta,
    at: datetime,
) -> Held:
    """Give an address back to the device for which it rests; its new stay follows the last."""
    since = max(at, row.stay.held_to or at)
    row.stay = AllocationHistory.objects.create(
        vrf=pool.block.vrf,
        address=row.address,
        pool=pool,
        service_ref=holder.service_ref,
        subscriber_id=holder.subscriber_id,
        device=row.device,
        held_from=since,
    )
    row.state, row.counts = ACTIVE, counts
    row.allocated_at, row.expires_at = since, since + lease
    row.save(update_fields=["stay", "state", "counts", "allocated_at", "expires_at"])
    return held_by(row)


def _last_slots(holder: AddressHolder, device: str, pools: Mapping[int, Pool]) -> dict[int, int]:
    """The slot that the device had last in each of these pools, by the pool's id."""
    wishes: dict[int, int] = {}
    for pool_id, address in statements.last_stays(
        holder=holder, device=device, pools=pools.values()
    ):
        if pool_id not in wishes:
            pool = pools[pool_id]
            wishes[pool_id] = selection.slot_of(pool.block.network, pool.unit_length, address)
    return wishes
