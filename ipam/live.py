"""What the running address servers are told of a pool, and what they count in it themselves.

Never called inside a transaction: a server may take its time. See `ipam.servers.base` for what is
raised when one does not answer, or will not.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from ipam.models import AddressServer, KeaServer, Pool
from ipam.servers.registry import adapter_of, range_of


class Count(NamedTuple):
    """What a server counts in one pool."""

    pool: Pool
    assigned: int
    declined: int


def add(pool: Pool) -> None:
    """Let the running server hand out a pool too; safe to repeat."""
    adapter_of(pool.server, pool.family).add_range(range_of(pool))


def confirm(pool: Pool, *, present: bool = True) -> None:
    """See that the running server has a pool, or has it no more."""
    adapter_of(pool.server, pool.family).confirm(range_of(pool), present=present)


def remove(pool: Pool) -> None:
    """Let the running server hand out a pool no more; safe to repeat."""
    adapter_of(pool.server, pool.family).remove_range(range_of(pool))


def counting() -> list[tuple[AddressServer, list[Pool]]]:
    """Return the servers that count themselves, each family apart, with the pools they have."""
    pools = Pool.objects.filter(
        server__active=True,
        server__in=KeaServer.objects.values("server"),
        state__in=(Pool.State.ACTIVE, Pool.State.DRAINING),
    )
    rows = pools.select_related("server", "block").order_by("server", "family", "pk")
    grouped = groupby(rows, key=lambda pool: (pool.server, pool.family))
    return [(server, list(group)) for (server, _), group in grouped]


def counts(pools: Sequence[Pool]) -> Iterator[Count]:
    """Ask a server what it counts in its pools of one family."""
    by_number = {pool.pk: pool for pool in pools}
    adapter = adapter_of(pools[0].server, pools[0].family)
    for use in adapter.utilisation([range_of(pool) for pool in pools]):
        yield Count(by_number[use.range.number], use.assigned, use.declined)
