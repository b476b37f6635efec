"""What the running address servers are told of a pool, and what they count in it themselves.

Never called inside a transaction: a server may take its time. See `ipam.servers.base` for what is
raised when one does not answer, or will not, and `ipam.server_calls` for when it is left alone.
"""

from collections.abc import Sequence
from datetime import datetime
from itertools import groupby
from typing import NamedTuple

from ipam.models import AddressServer, KeaServer, Pool
from ipam.server_calls import calling
from ipam.servers.registry import adapter_of, range_of


class Count(NamedTuple):
    """What a server counts in one pool."""

    pool: Pool
    assigned: int
    declined: int


def add(pool: Pool, *, at: datetime) -> None:
    """Let the running server hand out a pool too; safe to repeat."""
    with calling(pool.server, pool.family, at=at):
        adapter_of(pool.server, pool.family).add_range(range_of(pool))


def confirm(pool: Pool, *, present: bool = True, at: datetime) -> None:
    """See that the running server has a pool, or has it no more."""
    with calling(pool.server, pool.family, at=at):
        adapter_of(pool.server, pool.family).confirm(range_of(pool), present=present)


def remove(pool: Pool, *, at: datetime) -> None:
    """Let the running server hand out a pool no more; safe to repeat."""
    with calling(pool.server, pool.family, at=at):
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


def counts(pools: Sequence[Pool], *, at: datetime) -> list[Count]:
    """Ask a server what it counts in its pools of one family."""
    by_number = {pool.pk: pool for pool in pools}
    server, family = pools[0].server, pools[0].family
    with calling(server, family, at=at):
        uses = adapter_of(server, family).utilisation([range_of(pool) for pool in pools])
    return [Count(by_number[use.range.number], use.assigned, use.declined) for use in uses]
