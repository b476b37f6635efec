"""What the tree of blocks looks like: what is cut, how full it is, and where in a block it is full.

Nothing here reads a row per address. A pool is read as its free extents, of which there are few.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from django.db import connection
from django.db.models import QuerySet

from ipam import carving, queries, selection
from ipam.models import Block, Pool
from ipam.queries import PoolUse

# So many squares are drawn of a block, whatever its size.
CELLS = 256
# How many blocks are told at once; below that, somebody opens one of them.
MOST_BLOCKS = 500

_FREE_BY_CELL = """
SELECT cell, sum(least(last, (cell + 1) * %(size)s - 1) - greatest(first, cell * %(size)s) + 1)
FROM ipam_freeextent, generate_series(first / %(size)s, last / %(size)s) AS cell
WHERE pool_id = %(pool)s GROUP BY cell
"""


@dataclass(slots=True)
class Node:
    """A block of the tree: `cut` and `held` are shares from 0 to 1.

    `cut` is how much of it is cut into `children`. `held` is how much of what its pools can hand
    out is held or resting; None where it has no pool. `use` is set where it backs a pool itself.
    """

    block: Block
    depth: int
    children: list[Block] = field(default_factory=list)
    use: PoolUse | None = None
    taken: int = 0
    total: int = 0

    @property
    def cut(self) -> float:
        networks = [child.network for child in self.children]
        return sum(carving.coverage(self.block.network, networks, 1))

    @property
    def held(self) -> float | None:
        return self.taken / self.total if self.total else None


def ordered(blocks: QuerySet[Block]) -> QuerySet[Block]:
    """Put each block before what is cut from it, IPv4 before IPv6."""
    return blocks.order_by("vrf", "network", "tier", "pk")


def nodes(
    under: Block | None = None, *, vrf: int | None = None, most: int | None = MOST_BLOCKS
) -> list[Node]:
    """Return a block with all below it, or all blocks (of a VRF), each before what is cut from it.

    There are at most `most`; what is told of those counts all that is below them.
    """
    blocks = Block.objects.select_related("parent")
    if under is not None:
        blocks = blocks.filter(vrf=under.vrf, network__within=under.network, tier__gte=under.tier)
    elif vrf is not None:
        blocks = blocks.filter(vrf=vrf)
    found: dict[int, Node] = {}
    uses = {use.pool.block_id: use for use in _uses(blocks)}
    for block in ordered(blocks):
        parent = found.get(block.parent_id or 0)
        if under is not None and parent is None and block.pk != under.pk:
            # A region of the same extent as the one that was asked for is above it.
            continue
        found[block.pk] = Node(block, depth=parent.depth + 1 if parent else 0)
        if parent:
            parent.children.append(block)
    for node in found.values():
        if use := uses.get(node.block.pk):
            node.use = use
            _count_upwards(node, use, found)
    return list(found.values())[:most]


def _uses(blocks: QuerySet[Block]) -> Iterator[PoolUse]:
    """How full the pools of some blocks are."""
    pools = Pool.objects.filter(block__in=blocks.values("pk"))
    return map(queries.use_of, queries.with_free_slots(pools))


def _count_upwards(node: Node, use: PoolUse, found: dict[int, Node]) -> None:
    """Add a pool to its block and all above it, by addresses: units may differ in size."""
    unit = 1 << (selection.BITS[use.pool.family] - use.pool.unit_length)
    above: Node | None = node
    while above:
        above.taken += use.taken * unit
        above.total += use.total * unit
        above = found.get(above.block.parent_id or 0)


def path_to(block: Block) -> list[Block]:
    """Return the blocks that a block is cut from, the registry's allocation first."""
    above = Block.objects.filter(vrf=block.vrf, network__covers=block.network, tier__lte=block.tier)
    known = {each.pk: each for each in above}
    path, parent = [], known.get(block.parent_id or 0)
    while parent:
        path.append(parent)
        parent = known.get(parent.parent_id or 0)
    return path[::-1]


@dataclass(frozen=True, slots=True)
class Heat:
    """How much of each equal part of a block is taken, from 0 to 1; `length` is of one part."""

    network: str
    length: int
    shares: Sequence[float]

    def network_of(self, cell: int) -> str:
        return selection.address_of(self.network, self.length, cell)


def heat_of_block(block: Block, children: Sequence[Block]) -> Heat:
    """Say where a block is cut already."""
    shares = carving.coverage(block.network, [child.network for child in children], CELLS)
    return _heat(block.network, shares)


def heat_of_pool(pool: Pool) -> Heat:
    """Say where the units of a pool are held or resting; what is never handed out is free."""
    slots = selection.slot_count(pool.block.network, pool.unit_length)
    count = min(CELLS, slots)
    size = slots // count
    with connection.cursor() as cursor:
        cursor.execute(_FREE_BY_CELL, {"pool": pool.pk, "size": size})
        free = dict(cursor.fetchall())
    first, last = selection.usable_slots(pool.block.network, pool.unit_length)
    shares = []
    for cell in range(count):
        usable = min(last, (cell + 1) * size - 1) - max(first, cell * size) + 1
        shares.append(1 - float(free.get(cell, 0)) / usable if usable > 0 else 0.0)
    return _heat(pool.block.network, shares)


def _heat(network: str, shares: Sequence[float]) -> Heat:
    length = selection.parse_network(network).prefixlen + len(shares).bit_length() - 1
    return Heat(network, length, shares)
