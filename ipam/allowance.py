"""What a plan includes at an address server, and which devices of a line are beyond it.

It reads what the caller has locked: the request of a device and the answer of a subscriber must
come to the same.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence, Set

from ipam import leases, selection
from ipam.models import AddressServer, Allocation, Pool
from ispops.catalog.models import AddressEntitlement

# The pools from which a plan's ordinary addresses come, by family.
PURPOSES = {selection.IPv4: Pool.Purpose.DYNAMIC, selection.IPv6: Pool.Purpose.PREFIX}


def included(entitlement: AddressEntitlement, family: int) -> int:
    """Return how many devices a plan lets have an address of a family."""
    if family == selection.IPv4:
        return entitlement.ipv4_addresses
    return entitlement.ipv6_prefixes


def offered(
    entitlement: AddressEntitlement, server: AddressServer, pools: Iterable[Pool]
) -> dict[int, list[Pool]]:
    """Return what of a plan comes out of these pools of a server, by family.

    A DHCP server delegates prefixes as it likes, which is followed (`ipam.observed`).
    """
    found: dict[int, list[Pool]] = {}
    for family, purpose in PURPOSES.items():
        here = [pool for pool in pools if pool.family == family and pool.purpose == purpose]
        is_ours = family == selection.IPv4 or server.kind != AddressServer.Kind.DHCP
        if here and is_ours and included(entitlement, family):
            found[family] = here
    return found


def held_families(device: str, rows: Iterable[Allocation]) -> set[int]:
    """Return the families of which a device has an address that counts."""
    return {
        row.family
        for row in rows
        if row.device == device and row.state == leases.ACTIVE and row.counts
    }


def is_beyond(
    entitlement: AddressEntitlement,
    family: int,
    *,
    device: str,
    rows: Sequence[Allocation],
    extras: Callable[[], Set[str]],
    static_pools: Set[int],
) -> bool:
    """Say whether other devices use up the plan; those with an extra of their own do not.

    Which those are, `extras` reads when it matters: a first device is beyond nothing. Static
    addresses are paid for beside what the plan includes.
    """
    others = users(rows, static_pools).get(family, set()) - {device}
    allowance = included(entitlement, family)
    if len(others) < allowance:
        return False
    with_extra = extras()
    return device not in with_extra and len(others - with_extra) >= allowance


def users(rows: Iterable[Allocation], static_pools: Set[int]) -> Mapping[int, set[str]]:
    """Return by family which devices have an address of the plan, or beyond it."""
    found: dict[int, set[str]] = {}
    for row in rows:
        if row.state == leases.ACTIVE and row.counts and row.pool_id not in static_pools:
            found.setdefault(row.family, set()).add(row.device)
    return found


def covered(
    entitlement: AddressEntitlement,
    *,
    rows: Sequence[Allocation],
    with_extra: Set[str],
    static_pools: Set[int],
) -> int:
    """Return how many of the extra addresses of a line its plan has places for."""
    using = users(rows, static_pools)
    beyond = [
        len(using.get(family, set()) | with_extra) - allowance
        for family in PURPOSES
        if (allowance := included(entitlement, family))
    ]
    return max(0, len(with_extra) - max(0, *beyond)) if beyond else 0
