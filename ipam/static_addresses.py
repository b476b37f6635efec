"""Static addresses: kept for a line while its plan includes them, or an add-on pays for them.

The slot is out of its pool's free extents for as long, whether the line is online or not. While a
device of the line is online with it, it has an allocation like any other, which the history tells.
Once released it rests, as every address does that somebody had.

Locks: the holder's row, its allocations, then the extents of the pools.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import QuerySet

from ipam import extents, leases, selection, statements
from ipam.models import AddressHolder, Allocation, AllocationHistory, Pool, StaticAddress
from ipam.statements import Held
from ispops import events
from ispops.errors import NotFound


def assign_static(*, service_ref: str, cause_ref: str, at: datetime) -> StaticAddress:
    """Keep an address for a line, for the add-on that pays for it. Safe to repeat.

    Of the address server where the line is, where that has one to give.

    Raises:
        NotFound: the line may hold no addresses, or no more.
        AddressPoolExhausted: no pool has a static address left.
    """
    with transaction.atomic():
        found = statements.lock_holder(service_ref)
        if found is None or found[0].ended_at is not None:
            raise NotFound("The line may hold no addresses.", field="service_ref")
        known = _kept_for(found[0], cause_ref).first()
        return known or _assign(found[0], cause_ref, 1, at)


def follow_plan(*, service_ref: str, at: datetime) -> list[StaticAddress]:
    """Keep as many addresses for a line as its plan includes, and no more. Safe to repeat.

    They are counted with the holder locked, so that nobody adds to them meanwhile. Returns what is
    kept for the plan then; nothing for a line that may hold no addresses (yet, or any more).

    Raises:
        AddressPoolExhausted: no pool has a static address left; nothing was changed.
    """
    with transaction.atomic():
        found = statements.lock_holder(service_ref)
        if found is None or found[0].ended_at is not None:
            return []
        holder, entitlement = found
        places = range(1, entitlement.static_addresses + 1)
        kept = {static.place: static for static in _kept_for(holder, service_ref)}
        beyond = [static for place, static in kept.items() if place not in places]
        if beyond:
            release_all(beyond, leases.lock_allocations(holder, at=at), at)
        return [kept.get(place) or _assign(holder, service_ref, place, at) for place in places]


def _kept_for(holder: AddressHolder, cause_ref: str) -> QuerySet[StaticAddress]:
    kept = holder.static_addresses.filter(cause_ref=cause_ref, released_at__isnull=True)
    return kept.select_related("pool").order_by("place")


def _assign(holder: AddressHolder, cause_ref: str, place: int, at: datetime) -> StaticAddress:
    """Keep one more address for a locked holder."""
    slot = extents.take(_pools(holder, at), asker=holder.service_ref, wishes={}, at=at)
    static = StaticAddress.objects.create(
        holder=holder, pool=slot.pool, slot=slot.number, address=slot.address,
        cause_ref=cause_ref, place=place, assigned_at=at,
    )  # fmt: skip
    _publish("address.static_assigned", static, at)
    return static


def release_static(*, service_ref: str, cause_ref: str, at: datetime) -> int:
    """Give back what was kept for an add-on; who is online with it loses it. Safe to repeat."""
    with transaction.atomic():
        found = statements.lock_holder(service_ref)
        if found is None:
            return 0
        kept = list(_kept_for(found[0], cause_ref))
        if kept:
            release_all(kept, leases.lock_allocations(found[0], at=at), at)
    return len(kept)


def release_all(
    kept: Sequence[StaticAddress],
    held: Sequence[Allocation],
    at: datetime,
    *,
    because: str = leases.Because.STATIC_ENDED,
) -> None:
    """Give back static addresses of a locked holder, whose locked allocations are `held`."""
    for static in kept:
        row = _allocation_of(static, held)
        static.released_at = max(at, static.assigned_at)
        static.save(update_fields=["released_at"])
        if row is None:
            _let_rest(static, at)
        elif row.state == leases.ACTIVE:
            # Its prefix, too: it asks for both anew, and gets the prefix again.
            mine = [
                each for each in held if each.device == row.device and each.state == leases.ACTIVE
            ]
            leases.let_go(mine, because=because, at=at)
        _publish("address.static_released", static, at)


def _let_rest(static: StaticAddress, at: datetime) -> None:
    """Let an address rest that a line had, and that nobody is online with.

    Its last stay tells for whom it rests. What nobody ever had is free at once.
    """
    last = AllocationHistory.objects.filter(
        service_ref=static.holder.service_ref, address=static.address, pool=static.pool,
        held_from__gte=static.assigned_at,
    ).order_by("-held_from").first()  # fmt: skip
    if last is None:
        extents.put_back(static.pool, static.slot)
        return
    Allocation.objects.create(
        pool=static.pool, slot=static.slot, address=static.address, holder=static.holder,
        device=last.device, family=static.pool.family, state=leases.QUARANTINED, stay=last,
        allocated_at=last.held_from, expires_at=at + static.pool.quarantine,
    )  # fmt: skip


def for_device(
    holder: AddressHolder, device: str, held: Sequence[Allocation], pools: Sequence[Pool]
) -> StaticAddress | None:
    """Return the static address that a device of a locked holder gets: its own, else a spare one.

    Only of `pools`, from which it can be routed to where the device is.
    """
    near = {pool.pk for pool in pools if pool.purpose == Pool.Purpose.STATIC}
    if not near or not holder.keeps_static:
        return None
    rows = holder.static_addresses.filter(released_at__isnull=True, pool__in=near)
    kept = list(rows.order_by("assigned_at", "place", "pk"))
    users = {
        static: row.device
        for static in kept
        if (row := _allocation_of(static, held)) is not None and row.state == leases.ACTIVE
    }
    mine = [static for static, user in users.items() if user == device]
    spare = [static for static in kept if static not in users]
    return next(iter([*mine, *spare]), None)


def serve(
    static: StaticAddress,
    *,
    pool: Pool,
    device: str,
    held: Sequence[Allocation],
    lease: timedelta,
    at: datetime,
) -> Held:
    """Let a device have a static address of its locked holder for a lease."""
    row = _allocation_of(static, held)
    if row is None:
        slots = [(pool, static.slot, static.address)]
        (given,) = statements.open_stays(
            slots=slots, holder=static.holder, device=device, counts=True, expires_at=at + lease,
            at=at,
        )  # fmt: skip
        return given
    if row.state == leases.ACTIVE:
        leases.renew([row], lease=lease, at=at)
        return leases.held_by(row)
    # It rests for the device that had it last, which may be another one of the line.
    row.device = device
    row.save(update_fields=["device"])
    return leases.reactivate(row, pool, static.holder, counts=True, lease=lease, at=at)


def _allocation_of(static: StaticAddress, held: Sequence[Allocation]) -> Allocation | None:
    place = (static.pool_id, static.slot)
    return next((row for row in held if (row.pool_id, row.slot) == place), None)


def _pools(holder: AddressHolder, at: datetime) -> list[Pool]:
    """The pools of static addresses, those of the server where the line is first."""
    pools = Pool.objects.filter(
        purpose=Pool.Purpose.STATIC, family=selection.IPv4, state=Pool.State.ACTIVE,
        server__active=True,
    )  # fmt: skip
    found = list(pools.select_related("block").order_by("pk"))
    if not found:
        raise extents.AddressPoolExhausted("There is no pool of static addresses.")
    held = leases.lock_allocations(holder, at=at)
    here = {row.pool.server_id for row in held}
    return sorted(found, key=lambda pool: pool.server_id not in here)


def _publish(kind: str, static: StaticAddress, at: datetime) -> None:
    events.publish(
        kind, subject=static.public_id, at=at, service=static.holder.service_ref,
        subscriber=static.holder.subscriber.public_id, address=static.address,
        addon=static.cause_ref,
    )  # fmt: skip
