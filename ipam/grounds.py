"""Where the rows of a file of blocks are made: in the database, or in memory to try them out.

Both answer the same questions and refuse by the same rules, so that a trial says what making them
comes to. A trial reads all blocks once; then a row costs no query, so that a hundred thousand are
tried in seconds and nobody waits for a lock.
"""

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Protocol

from django.db import transaction

from ipam import blocks, carving, selection, tree
from ipam.models import AddressServer, Block, Pool
from ipam.plan_rows import PlanRow
from ispops.errors import InvalidInput
from ispops.parties.models import User

_Range = tuple[int, int, str]


class Ground(Protocol):
    """What a row can ask, and the two things it can make."""

    @contextmanager
    def one_row(self) -> Iterator[None]:
        """Keep what a row makes as a whole, or nothing of it when it is refused."""

    def find(self, network: str, vrf: int, tier: int) -> Block | None: ...

    def named(self, network: str, vrf: int) -> Block | None:
        """Return the region or allocation of this extent: of several the lowest."""

    def around(self, network: str, vrf: int, tier: int) -> Block | None:
        """Return the smallest region or allocation around a block that is to be of a tier."""

    def add(self, row: PlanRow, tier: int, parent: Block | None) -> Block: ...

    def has_pool(self, block: Block, name: str) -> bool: ...

    def open_pool(self, row: PlanRow, block: Block) -> None: ...


class Database:
    """The blocks that there are, changed by the verbs that people use."""

    def __init__(self, actor: User, at: datetime) -> None:
        self._actor, self._at = actor, at

    @contextmanager
    def one_row(self) -> Iterator[None]:
        with transaction.atomic():
            yield

    def find(self, network: str, vrf: int, tier: int) -> Block | None:
        return Block.objects.filter(network=network, vrf=vrf, tier=tier).first()

    def named(self, network: str, vrf: int) -> Block | None:
        found = Block.objects.filter(vrf=vrf, tier__lt=Block.Tier.POOL, network=network)
        return found.order_by("-tier", "-pk").first()

    def around(self, network: str, vrf: int, tier: int) -> Block | None:
        above = Block.objects.filter(vrf=vrf, tier__lt=Block.Tier.POOL, network__covers=network)
        others = (block for block in above if (block.network, block.tier) != (network, tier))
        return max(others, key=_lowest, default=None)

    def add(self, row: PlanRow, tier: int, parent: Block | None) -> Block:
        return tree.add_block(
            network=row.network, tier=tier, parent=parent, name=row.name, vrf=row.vrf,
            actor=self._actor, at=self._at,
        )  # fmt: skip

    def has_pool(self, block: Block, name: str) -> bool:
        return Pool.objects.filter(name=name, block=block).exists()

    def open_pool(self, row: PlanRow, block: Block) -> None:
        tree.open_pool(
            block=block, name=row.pool,
            server=_known(AddressServer.objects.filter(name=row.server).first(), row),
            purpose=row.purpose, unit_length=row.unit_length, actor=self._actor, at=self._at,
        )  # fmt: skip


class Trial:
    """All blocks in memory, as they are now and as the rows so far would have made them."""

    def __init__(self, at: datetime) -> None:
        self._at = at
        self._by_place = defaultdict[tuple[int, str], list[Block]](list)
        self._ranges = defaultdict[tuple[object, ...], list[_Range]](list)
        # The lengths of what can be cut from, by VRF and family: there are few.
        self._lengths = defaultdict[tuple[int, int], set[int]](set)
        self._cut = defaultdict[int, int](int)
        self._pool_of: dict[int, str] = {}
        self._undo: list[Block] = []
        self._names = set(Pool.objects.values_list("name", flat=True))
        self._servers = {server.name: server for server in AddressServer.objects.all()}
        known: dict[int, Block] = {}
        for block in Block.objects.order_by("tier", "pk"):
            known[block.pk] = block
        for block in known.values():
            block.parent = known.get(block.parent_id or 0)
            self._enter(block)
        for pool in Pool.objects.exclude(block=None):
            self._pool_of[id(known[pool.block_id or 0])] = pool.name

    @contextmanager
    def one_row(self) -> Iterator[None]:
        self._undo = []
        try:
            yield
        except Exception:
            for block in self._undo:
                self._forget(block)
            raise

    def find(self, network: str, vrf: int, tier: int) -> Block | None:
        there = self._by_place.get((vrf, network), ())
        return next((block for block in there if block.tier == tier), None)

    def named(self, network: str, vrf: int) -> Block | None:
        there = self._by_place.get((vrf, network), ())
        above = (block for block in there if block.tier < Block.Tier.POOL)
        # Of one tier the last that was made is the lowest.
        return max(enumerate(above), key=lambda each: (each[1].tier, each[0]), default=(0, None))[1]

    def around(self, network: str, vrf: int, tier: int) -> Block | None:
        whole = selection.parse_network(network)
        lengths = self._lengths.get((vrf, whole.version), set())
        for length in sorted(lengths, reverse=True):
            if length > whole.prefixlen:
                continue
            at = str(whole.supernet(new_prefix=length))
            there = self._by_place.get((vrf, at), ())
            above = [
                block
                for block in there
                if block.tier < Block.Tier.POOL and (at, block.tier) != (network, tier)
            ]
            if above:
                return max(enumerate(above), key=lambda each: (each[1].tier, each[0]))[1]
        return None

    def add(self, row: PlanRow, tier: int, parent: Block | None) -> Block:
        block = blocks.new_block(
            network=row.network, tier=tier, parent=parent, name=row.name, vrf=row.vrf, at=self._at
        )
        wanted = _range(block)
        rivals = (_in_the_way(self._ranges.get(key, []), wanted) for key in _rivals(block))
        if others := [other for other in rivals if other]:
            raise blocks.overlapping(block.network, min(others)[2])
        self._enter(block)
        self._undo.append(block)
        return block

    def has_pool(self, block: Block, name: str) -> bool:
        return self._pool_of.get(id(block)) == name

    def open_pool(self, row: PlanRow, block: Block) -> None:
        server = _known(self._servers.get(row.server), row)
        pool_name, cut = self._pool_of.get(id(block), ""), self._cut[id(block)]
        if refusal := tree.in_use(block.network, pool_name, cut):
            raise refusal
        pool = blocks.new_pool(
            name=row.pool, server=server, block=block, purpose=row.purpose,
            unit_length=row.unit_length, at=self._at,
        )  # fmt: skip
        if pool.name in self._names:
            raise blocks.pool_exists(pool)
        self._names.add(pool.name)
        self._pool_of[id(block)] = pool.name

    def _enter(self, block: Block) -> None:
        self._by_place[block.vrf, block.network].append(block)
        if block.tier < Block.Tier.POOL:
            whole = selection.parse_network(block.network)
            self._lengths[block.vrf, whole.version].add(whole.prefixlen)
        for key in _rivals(block):
            insort(self._ranges[key], _range(block))
        if block.parent:
            self._cut[id(block.parent)] += 1

    def _forget(self, block: Block) -> None:
        self._by_place[block.vrf, block.network].remove(block)
        for key in _rivals(block):
            self._ranges[key].remove(_range(block))
        if block.parent:
            self._cut[id(block.parent)] -= 1


def _lowest(block: Block) -> tuple[int, int, int]:
    return (carving.length_of(block.network), block.tier, block.pk)


def _known(server: AddressServer | None, row: PlanRow) -> AddressServer:
    if server is None:
        raise InvalidInput(f"There is no address server {row.server or 'named'}.", field="server")
    return server


def _rivals(block: Block) -> list[tuple[object, ...]]:
    """Name the sets of blocks that a block may not overlap, as the exclusions of the database do:
    those of one parent, and the allocations and the pools' ranges of a VRF."""
    version = 6 if ":" in block.network else 4
    sets: list[tuple[object, ...]] = []
    if block.parent:
        sets.append((id(block.parent), version))
    if block.tier != Block.Tier.REGION:
        sets.append((block.vrf, block.tier, version))
    return sets


def _range(block: Block) -> _Range:
    whole = selection.parse_network(block.network)
    first = int(whole.network_address)
    return first, first + whole.num_addresses - 1, block.network


def _in_the_way(ranges: list[_Range], wanted: _Range) -> _Range | None:
    """Return the first of some ranges, none of which overlap, that overlaps another one."""
    place = bisect_left(ranges, wanted)
    for other in ranges[max(place - 1, 0) : place + 1]:
        if other[0] <= wanted[1] and wanted[0] <= other[1]:
            return other
    return None
