"""What may be asked about addresses: who holds, who held, what is free, what waits."""

from dataclasses import dataclass
from datetime import datetime

from django.db.models import BigIntegerField, F, Q, QuerySet, Sum
from django.db.models.functions import Cast, Coalesce

from ipam import selection
from ipam.models import (
    AddressServer,
    Allocation,
    AllocationHistory,
    ExtraAddress,
    OverallocationRequest,
    Pool,
    StaticAddress,
    Stay,
)
from ispops.db import Prepared
from ispops.errors import InvalidInput
from ispops.parties.models import Subscriber

_EVER_EXTRA = Prepared("ipam_ever_extra", ("uuid",), """
SELECT 1 FROM ipam_extraaddress extra JOIN ipam_addressholder holder ON holder.id = extra.holder_id
 WHERE holder.subscriber_id = $1 LIMIT 1
""")  # fmt: skip


def authenticate_server(name: str, secret: str) -> AddressServer | None:
    """Return the active address server with this name and secret, or None.

    An unknown name takes as long as a wrong secret, so that names cannot be found by the clock.
    """
    server = (
        AddressServer.objects.filter(name=name, active=True).first() if "\0" not in name else None
    )
    return server if (server or AddressServer()).has_secret(secret) else None


def addresses_of(subscriber: Subscriber) -> QuerySet[Allocation]:
    """Return what a subscriber's devices hold now, by service and device; quarantine left out."""
    return (
        Allocation.objects.filter(holder__subscriber=subscriber, state=Allocation.State.ACTIVE)
        .select_related("holder", "pool")
        .order_by("holder__service_ref", "device", "family")
    )


def holders_of(pool: Pool, asked: str = "") -> QuerySet[Allocation]:
    """Return what is held of a pool or rests, by address; what is asked is an address, or part of
    the name of a device or subscriber."""
    rows = Allocation.objects.filter(pool=pool).select_related("holder__subscriber")
    if asked:
        named = Q(device__icontains=asked) | Q(holder__subscriber__name__icontains=asked)
        try:
            wanted = selection.parse_address(asked)
        except selection.UnusableNetwork:
            rows = rows.filter(named)
        else:
            rows = rows.filter(address__covers=wanted)  # type: ignore[misc]
    return rows.order_by("slot")


def static_addresses_of(subscriber: Subscriber) -> QuerySet[StaticAddress]:
    """Return the addresses that are kept for a subscriber's lines, online or not."""
    kept = StaticAddress.objects.filter(holder__subscriber=subscriber, released_at__isnull=True)
    return kept.select_related("holder", "pool").order_by("assigned_at", "pk")


def keeps_static(service_ref: str, server: AddressServer) -> bool:
    """Say whether an address of a server is kept for a line."""
    kept = StaticAddress.objects.filter(holder__service_ref=service_ref, pool__server=server)
    return kept.filter(released_at__isnull=True).exists()


def held_from(service_ref: str, server: AddressServer) -> dict[str, str]:
    """Return the IPv4 addresses that we gave to devices of a line, by device; the walled garden
    and what the server chose itself left out."""
    held = Allocation.objects.filter(
        holder__service_ref=service_ref, state=Allocation.State.ACTIVE, counts=True,
        family=selection.IPv4, pool__server=server,
        pool__purpose__in=(Pool.Purpose.DYNAMIC, Pool.Purpose.STATIC),
    )  # fmt: skip
    rows = held.order_by("device").values_list("device", "address")
    return {device: str(address).removesuffix("/32") for device, address in rows}


def is_held_elsewhere(device: str, service_ref: str, server: AddressServer) -> bool:
    """Say whether another line's device, which calls itself the same, has a server's address."""
    held = AllocationHistory.objects.filter(device=device, held_to=None, pool__server=server)
    return held.exclude(service_ref=service_ref).exists()


def pending_requests(
    subscriber: Subscriber | None = None,
) -> QuerySet[OverallocationRequest]:
    """Return the requests that wait for an answer, of one subscriber or of all, oldest first."""
    waiting = OverallocationRequest.objects.filter(state=OverallocationRequest.State.PENDING)
    if subscriber is not None:
        waiting = waiting.filter(holder__subscriber=subscriber)
    return waiting.select_related("holder__subscriber", "server", "addon").order_by("asked_at")


def extra_addresses_between(
    start: datetime, end: datetime, subscriber: Subscriber | None = None
) -> QuerySet[ExtraAddress]:
    """Return the extra addresses that were held at some moment of the half-open `[start, end)`."""
    held = ExtraAddress.objects.filter(granted_at__lt=end).filter(
        Q(ended_at__isnull=True) | Q(ended_at__gt=start)
    )
    if subscriber is not None:
        held = held.filter(holder__subscriber=subscriber)
    return held.select_related("holder__subscriber", "addon", "request").order_by("granted_at")


def ever_had_extra_addresses(subscriber: Subscriber) -> bool:
    """Say whether there ever was an extra address of a subscriber's; most never had one."""
    return bool(_EVER_EXTRA.rows(subscriber.pk))


def who_had(address: str, at: datetime, *, vrf: int = 0) -> AllocationHistory | None:
    """Return the stay that an address, or the prefix around it, belonged to at a moment.

    One probe of the index behind the exclusion constraint, however long the history is.

    Raises:
        InvalidInput: this is no address.
    """
    return next(iter(stays_at(address, at, vrf=vrf)), None)


def stays_at(address: str, at: datetime, *, vrf: int = 0) -> QuerySet[AllocationHistory]:
    """Return `who_had` as a query: one row, or none.

    Raises:
        InvalidInput: this is no address.
    """
    try:
        wanted = selection.parse_address(address)
    except selection.UnusableNetwork as error:
        raise InvalidInput(
            f"{address!r} is no IP address. Write one like 203.0.113.7 or 2001:db8::7.",
            field="address",
        ) from error
    return (
        AllocationHistory.objects.alias(stay=Stay())
        .filter(address__covers=wanted, stay__contains=at, vrf=vrf)  # type: ignore[misc]
        .select_related("subscriber", "pool")
    )


@dataclass(frozen=True, slots=True)
class PoolUse:
    """How full a pool is, in slots. What is not free is held or rests in quarantine."""

    pool: Pool
    total: int
    free: int

    @property
    def taken(self) -> int:
        return self.total - self.free

    @property
    def percent(self) -> float:
        return 100 * self.taken / self.total


def with_free_slots(pools: QuerySet[Pool]) -> QuerySet[Pool]:
    """Add `free_slots` to each pool: the sum of its free extents; no address is counted."""
    size = Cast(F("free_extents__last"), BigIntegerField()) - F("free_extents__first") + 1
    return pools.select_related("block", "server").annotate(
        free_slots=Coalesce(Sum(size), 0, output_field=BigIntegerField())
    )


def use_of(pool: Pool) -> PoolUse:
    """Return how full a pool that came `with_free_slots` is."""
    first, last = selection.usable_slots(pool.block.network, pool.unit_length)
    return PoolUse(pool, total=last - first + 1, free=pool.free_slots)  # type: ignore[attr-defined]


def utilisation() -> list[PoolUse]:
    """Return how full every pool is that has a block, by name."""
    pools = Pool.objects.exclude(state=Pool.State.RETURNED).order_by("name")
    return [use_of(pool) for pool in with_free_slots(pools)]
