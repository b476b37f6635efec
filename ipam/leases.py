"""Holding an address and letting it go: allocation rows and the history that tells of them.

The ground floor of `ipam.allocation` and `ipam.overallocation`, called inside their transactions,
with the holder's row locked where a holder is counted.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import groupby

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Greatest

from ipam import extents, selection
from ipam.models import AddressHolder, Allocation, AllocationHistory, Pool

ACTIVE, QUARANTINED = Allocation.State.ACTIVE, Allocation.State.QUARANTINED
ENDED_AT_ONCE = 500


class Because:
    """Why a stay ended, as the history keeps it."""

    LEASE_EXPIRED = "lease_expired"
    SERVICE_CEASED = "service_ceased"
    EXTRA_ENDED = "extra_ended"
    OTHER_SERVER = "moved_to_other_server"
    LEFT_WALLED_GARDEN = "left_walled_garden"


def lock_allocations(holder: AddressHolder, *, at: datetime) -> list[Allocation]:
    """Read and lock all that a holder holds or has resting; end first what is overdue."""
    rows = list(
        Allocation.objects.filter(holder=holder)
        .select_for_update(of=("self",))
        .select_related("pool__block", "stay")
        .order_by("pk")
    )
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
) -> list[Allocation]:
    """Give a device one slot of each family, out of the pools that `pools` names for it.

    The device gets the address again that rests in quarantine for it, else the one it had before
    if that is free, else any. `resting` are the holder's locked rows. Nothing is given when one
    family has nothing left: the caller's transaction must then roll back.

    Raises:
        AddressPoolExhausted: a family has no free slot.
    """
    if not pools:
        return []
    again = _resting_for(device, pools, resting)
    kept = [_reactivate(row, holder, counts=counts, lease=lease, at=at) for row in again.values()]
    missing = {family: pools[family] for family in sorted(pools) if family not in again}
    wishes = _last_slots(holder, device, missing) if missing else {}
    asker = f"{holder.service_ref} {device}"
    slots = [
        extents.take(of_family, asker=asker, wishes=wishes, at=at) for of_family in missing.values()
    ]
    return kept + _write(slots, holder, device, counts=counts, expires_at=at + lease, at=at)


def renew(rows: Sequence[Allocation], *, lease: timedelta, at: datetime) -> None:
    """Let held addresses go on for a whole lease from now."""
    Allocation.objects.filter(pk__in=[row.pk for row in rows]).update(expires_at=at + lease)
    for row in rows:
        row.expires_at = at + lease


def let_go(rows: Sequence[Allocation], *, because: str, at: datetime) -> None:
    """End the stays of locked, active rows and put their addresses into quarantine."""
    if not rows:
        return
    AllocationHistory.objects.filter(pk__in=[row.stay_id for row in rows]).update(
        held_to=Greatest(at, F("held_from")), ended_because=because
    )
    by_rest = sorted(rows, key=lambda row: row.pool.quarantine)
    for quarantine, group in groupby(by_rest, key=lambda row: row.pool.quarantine):
        resting = list(group)
        Allocation.objects.filter(pk__in=[row.pk for row in resting]).update(
            state=QUARANTINED, expires_at=at + quarantine
        )
        for row in resting:
            row.state, row.expires_at = QUARANTINED, at + quarantine
            row.stay.held_to = max(at, row.stay.held_from)


def end_overdue(*, at: datetime) -> int:
    """Let go some of the leases that have run out. Returns how many; zero when none is left."""
    with transaction.atomic():
        overdue = list(
            Allocation.objects.filter(state=ACTIVE, expires_at__lte=at)
            .select_for_update(of=("self",), skip_locked=True)
            .select_related("pool", "stay")
            .order_by("expires_at")[:ENDED_AT_ONCE]
        )
        let_go(overdue, because=Because.LEASE_EXPIRED, at=at)
    return len(overdue)


def _resting_for(
    device: str, pools: Mapping[int, Sequence[Pool]], rows: Iterable[Allocation]
) -> dict[int, Allocation]:
    """The device's address in quarantine by family, the last one where there are several."""
    return {
        row.family: row
        for row in sorted(rows, key=lambda row: row.allocated_at)
        if row.state == QUARANTINED
        and row.device == device
        and row.pool in pools.get(row.family, ())
    }


def _reactivate(
    row: Allocation, holder: AddressHolder, *, counts: bool, lease: timedelta, at: datetime
) -> Allocation:
    """Give an address back to the device for which it rests; its new stay follows the last."""
    since = max(at, row.stay.held_to or at)
    row.stay = AllocationHistory.objects.create(
        vrf=row.pool.block.vrf,
        address=row.address,
        pool=row.pool,
        service_ref=holder.service_ref,
        subscriber_id=holder.subscriber_id,
        device=row.device,
        held_from=since,
    )
    row.state, row.counts = ACTIVE, counts
    row.allocated_at, row.expires_at = since, since + lease
    row.save(update_fields=["stay", "state", "counts", "allocated_at", "expires_at"])
    return row


def _last_slots(
    holder: AddressHolder, device: str, pools: Mapping[int, Sequence[Pool]]
) -> dict[int, int]:
    """The slot that the device had last in each of these pools, by the pool's id."""
    known = {pool.pk: pool for of_family in pools.values() for pool in of_family}
    stays = (
        AllocationHistory.objects.filter(
            service_ref=holder.service_ref, device=device, pool_id__in=known
        )
        .order_by("-held_from")
        .values_list("pool_id", "address")[: 2 * len(known)]
    )
    wishes: dict[int, int] = {}
    for pool_id, address in stays:
        if pool_id not in wishes:
            pool = known[pool_id]
            wishes[pool_id] = selection.slot_of(pool.block.network, pool.unit_length, address)
    return wishes


def _write(
    slots: Sequence[extents.Slot],
    holder: AddressHolder,
    device: str,
    *,
    counts: bool,
    expires_at: datetime,
    at: datetime,
) -> list[Allocation]:
    """Write the stays and the allocations of slots just taken: two statements in all."""
    stays = AllocationHistory.objects.bulk_create(
        AllocationHistory(
            vrf=pool.block.vrf,
            address=selection.address_of(pool.block.network, pool.unit_length, number),
            pool=pool,
            service_ref=holder.service_ref,
            subscriber_id=holder.subscriber_id,
            device=device,
            held_from=at,
        )
        for pool, number in slots
    )
    return Allocation.objects.bulk_create(
        Allocation(
            pool=slot.pool,
            slot=slot.number,
            address=stay.address,
            holder=holder,
            device=device,
            family=slot.pool.family,
            counts=counts,
            stay=stay,
            allocated_at=at,
            expires_at=expires_at,
        )
        for slot, stay in zip(slots, stays, strict=True)
    )
