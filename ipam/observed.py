"""What an address server gave by its own choice becomes stays of ours (figures 10 to 12).

Of pools of the purpose *leased*, and of all of DHCPv6, the server chooses the address, and we read
afterwards who has it. A device beyond the plan is asked about as if it had asked us: the server
learns the answer as a reservation, and until it is granted its stay does not count. Where we choose
the addresses, what is read is who is in the walled garden.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q, QuerySet

from ipam import asking, extents, groups, leases, overallocation, selection, statements
from ipam.models import (
    AddressHolder,
    Allocation,
    AllocationHistory,
    ExtraAddress,
    KeaServer,
    Pool,
    RefusedDevice,
    Stay,
)
from ipam.servers.base import Lease, Position, Refusal, Refused
from ispops import db

log = logging.getLogger(__name__)
# Devices that were refused and are kept by name; a flood of more is only counted by the server.
MOST_REFUSED_DEVICES = 10_000
Purpose = Pool.Purpose
# The pools whose leases are followed, by family: what we chose ourselves is known already.
PURPOSES = {
    selection.IPv4: (Purpose.LEASED, Purpose.WALLED_GARDEN),
    selection.IPv6: (Purpose.LEASED, Purpose.PREFIX),
}


@dataclass(frozen=True, slots=True)
class Seen:
    """A lease, and whose it is."""

    service_ref: str
    lease: Lease


@dataclass(frozen=True, slots=True)
class Beyond:
    """A device for which the plan includes no address, and whether it may have one all the same.

    None of a device in the walled garden of a server whose addresses we choose: ipam has not been
    asked for an address for it yet.
    """

    service_ref: str
    device: str
    is_granted: bool | None
    # Since when it has what it has now.
    since: datetime


@transaction.atomic
def record_leases(
    *, kea: KeaServer, before: Position, after: Position, seen: Sequence[Seen], at: datetime
) -> list[Beyond]:
    """Write down what was read between two positions; nothing when another worker did before.

    Returns the devices beyond their plans, whose answers the server is to be told.
    """
    held = db.lock(KeaServer, kea.pk)
    if Position(held.leases_in, held.leases_to) != before:
        return []
    held.leases_in, held.leases_to = after
    held.save(update_fields=["leases_in", "leases_to"])
    # Also of a pool that is draining, or not confirmed yet: what the server gave, somebody has.
    pools = Pool.objects.filter(
        server=kea.server, family=kea.family, state__in=groups.LIVE,
        purpose__in=PURPOSES[kea.family],
    )  # fmt: skip
    known = list(pools.select_related("block").order_by("pk"))
    chooses = any(pool.purpose == Purpose.LEASED for pool in known)
    holders = _lock_holders(each.service_ref for each in seen)
    beyond: dict[tuple[str, str], Beyond] = {}
    for each in seen:
        holder = holders.get(each.service_ref)
        pool = next((p for p in known if _is_of(each.lease, p)), None)
        device = _device_of(each.lease)
        if holder is not None and holder.ended_at is None and pool is not None and device:
            answer = _record(kea, holder, pool, device, each.lease, at, chooses=chooses)
            if answer is not None:
                beyond[each.service_ref, answer.device] = answer
    return list(beyond.values())


@transaction.atomic
def record_refusals(
    *, kea: KeaServer, before: Position, after: Position, seen: Sequence[Refusal]
) -> None:
    """Write down whom a server gave nothing, each device once; nothing when it was read before."""
    held = db.lock(KeaServer, kea.pk)
    if Position(held.log_in, held.log_to) != before:
        return
    held.log_in, held.log_to = after
    held.save(update_fields=["log_in", "log_to"])
    room = MOST_REFUSED_DEVICES - RefusedDevice.objects.filter(kea=kea).count()
    for refusal in seen:
        known = RefusedDevice.objects.filter(kea=kea, device=refusal.device[:253])
        row = known.first()
        if row is None and room > 0:
            room -= 1
            RefusedDevice.objects.create(
                kea=kea,
                device=refusal.device[:253],
                first_at=refusal.at,
                last_at=refusal.at,
                was_full=refusal.is_full,
            )
        elif row is not None:
            row.times, row.last_at, row.was_full = row.times + 1, refusal.at, refusal.is_full
            row.save(update_fields=["times", "last_at", "was_full"])


def record_counts(*, kea: KeaServer, refused: Refused | None, error: str, at: datetime) -> None:
    """Write down what a server counts itself, or why it could not be asked."""
    values: dict[str, object] = {"last_error": error[:300]}
    if refused is not None:
        values |= {
            "strangers_refused": refused.strangers,
            "refused_when_full": refused.full,
            "heard_at": at,
        }
    KeaServer.objects.filter(pk=kea.pk).update(**values)


def forget_refused(*, before: datetime) -> int:
    """Forget the devices that were refused last before then. Returns how many."""
    return RefusedDevice.objects.filter(last_at__lt=before).delete()[0]


def _lock_holders(refs: Iterable[str]) -> dict[str, AddressHolder]:
    rows = AddressHolder.objects.select_for_update(of=("self",), no_key=True).filter(
        service_ref__in=set(refs)
    )
    found = rows.select_related("subscriber", "plan__address_entitlement").order_by("pk")
    return {holder.service_ref: holder for holder in found}


def _is_of(lease: Lease, pool: Pool) -> bool:
    length = int(lease.address.partition("/")[2])
    is_inside = selection.is_inside(lease.address, str(pool.block.network))
    return is_inside and length == pool.unit_length


def _device_of(lease: Lease) -> str:
    """Return the device's one name, empty when anybody could have sent what it calls itself."""
    try:
        return selection.normalise_device(lease.device)
    except selection.UnusableDevice as unusable:
        log.warning("the lease of %s is passed over: %s", lease.address, unusable)
        return ""


def _record(
    kea: KeaServer,
    holder: AddressHolder,
    pool: Pool,
    device: str,
    lease: Lease,
    at: datetime,
    *,
    chooses: bool,
) -> Beyond | None:
    """Write down one lease; says what is to become of a device beyond the plan."""
    slot = selection.slot_of(str(pool.block.network), pool.unit_length, lease.address)
    row = (
        Allocation.objects.select_for_update(of=("self",))
        .select_related("pool", "stay")
        .filter(pool=pool, slot=slot)
        .first()
    )
    mine = row is not None and row.holder_id == holder.pk and row.device == device
    if not lease.seconds or lease.ends_at <= at:
        if row is not None and mine and row.state == leases.ACTIVE:
            leases.let_go([row], because=leases.Because.LEASE_EXPIRED, at=min(at, lease.ends_at))
        elif lease.seconds:
            _remember(holder, pool, device, lease)
        return None
    since = _since(lease)
    is_same_stay = row is not None and mine and row.state == leases.ACTIVE
    if pool.family == selection.IPv6:
        # Nobody is asked about prefixes: the network is large enough.
        verdict, counts = None, True
    elif not chooses:
        began = row.allocated_at if row is not None and is_same_stay else since
        verdict, counts = Beyond(holder.service_ref, device, None, began), False
    else:
        verdict = _judge(kea, holder, pool, device, since, at)
        counts = pool.purpose == Purpose.LEASED and (verdict is None or bool(verdict.is_granted))
    if row is not None and is_same_stay:
        row.expires_at, row.counts = lease.ends_at, counts
        row.save(update_fields=["expires_at", "counts"])
        return verdict
    if row is not None:
        if row.state == leases.ACTIVE:
            leases.let_go([row], because=leases.Because.OTHER_SERVER, at=since)
        row.delete()
    else:
        extents.take_slot(pool, slot)
    _open(holder, pool, slot, device, lease, counts=counts, since=since)
    return verdict


def _open(
    holder: AddressHolder,
    pool: Pool,
    slot: int,
    device: str,
    lease: Lease,
    *,
    counts: bool,
    since: datetime,
) -> None:
    """Open a stay; the device's other one ends by it, and it follows whoever was there before."""
    elsewhere = Allocation.objects.select_for_update(of=("self",)).filter(
        holder=holder, device=device, family=pool.family, state=leases.ACTIVE
    )
    # A device may have both an address and a prefix of IPv6.
    bits = selection.BITS[pool.family]
    single = Q(pool__unit_length=bits)
    elsewhere = elsewhere.filter(single if pool.unit_length == bits else ~single)
    leases.let_go(list(elsewhere), because="moved", at=since)
    later = _stays_after(lease, pool).values_list("held_to", flat=True)
    ends = [end for end in later if end is not None]
    statements.open_stays(
        slots=[(pool, slot, lease.address)],
        holder=holder,
        device=device,
        counts=counts,
        expires_at=lease.ends_at,
        at=max([since, *ends]),
    )


def _remember(holder: AddressHolder, pool: Pool, device: str, lease: Lease) -> None:
    """Keep a stay that ended before anybody read of it, as after our workers were down.

    What the history knows of somebody after the lease began is believed instead.
    """
    ends = list(_stays_after(lease, pool).values_list("held_to", flat=True))
    since = None if None in ends else max([_since(lease), *filter(None, ends)])
    if since is not None and since < lease.ends_at:
        AllocationHistory.objects.create(
            address=lease.address,
            vrf=pool.block.vrf,
            pool=pool,
            service_ref=holder.service_ref,
            subscriber=holder.subscriber,
            device=device,
            held_from=since,
            held_to=lease.ends_at,
            ended_because=leases.Because.LEASE_EXPIRED,
        )


def _since(lease: Lease) -> datetime:
    return lease.ends_at - timedelta(seconds=lease.seconds)


def _stays_after(lease: Lease, pool: Pool) -> QuerySet[AllocationHistory]:
    """Return the stays in a lease's address that ended after it began, or are open."""
    return AllocationHistory.objects.alias(stay=Stay()).filter(
        Q(held_to__gt=_since(lease)) | Q(held_to=None),
        address__covers=lease.address,
        vrf=pool.block.vrf,
    )


def _others(holder: AddressHolder, family: int, device: str) -> set[str]:
    """The other devices that have addresses of the plan; static ones are beside them."""
    held = Allocation.objects.filter(
        holder=holder, family=family, state=leases.ACTIVE, counts=True
    ).exclude(pool__purpose=Purpose.STATIC)
    return set(held.exclude(device=device).values_list("device", flat=True))


def _judge(
    kea: KeaServer,
    holder: AddressHolder,
    pool: Pool,
    device: str,
    since: datetime,
    at: datetime,
) -> Beyond | None:
    """Ask about a device for which other devices leave no address of the plan; None if they do.

    One that was asked about before, and for which they do by now, is let out of the garden.
    """
    others = _others(holder, pool.family, device)
    extras = set(
        ExtraAddress.objects.filter(holder=holder, ended_at__isnull=True).values_list(
            "device", flat=True
        )
    )
    entitlement = overallocation.entitlement_of(holder)
    granted = Beyond(holder.service_ref, device, True, since)
    if device in extras:
        return granted
    if len(others - extras) < entitlement.ipv4_addresses:
        was_asked = pool.purpose == Purpose.WALLED_GARDEN and (
            holder.requests.filter(device=device).exists()
        )
        return granted if was_asked else None
    verdict = asking.decide(
        holder=holder,
        entitlement=entitlement,
        device=device,
        server=kea.server,
        open_extras=len(extras),
        at=at,
    )
    return Beyond(holder.service_ref, device, verdict.granted, since)
