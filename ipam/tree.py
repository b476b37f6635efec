"""Verbs that change the tree of blocks: cut the next free one, split, join and take away.

Each holds the row of the block that is cut from until its transaction ends, so that two who cut
from one block take turns and never get the same range. The database refuses an overlap besides.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from ipam import blocks, carving, selection
from ipam.blocks import BadNetwork
from ipam.models import AddressServer, Block, Pool
from ispops import db
from ispops.errors import NotFound, Refusal
from ispops.parties import audit
from ispops.parties.models import User


class NoRoom(Refusal):
    """The block has no free range of this size left, though smaller ones may be free."""

    code = "no_room_in_block"
    title = "There is no room in the block"


class BlockInUse(Refusal):
    """Something is cut from the block, or a pool hands it out."""

    code = "block_in_use"
    title = "The block is in use"


class NotNeighbours(Refusal):
    """Only blocks that are together one network, of one parent and tier, are joined."""

    code = "not_neighbours"
    title = "The blocks cannot be joined"


def carve_block(
    *,
    parent: Block,
    length: int,
    tier: int,
    name: str = "",
    actor: User | None = None,
    at: datetime,
) -> Block:
    """Cut the next free block of a length out of another one, by best fit.

    `actor` is None where a worker cuts it.

    Raises:
        BadNetwork: the parent has no networks of this length.
        NoRoom: nothing that large is free; says what is.
        OutsideParent, InvalidInput: as `blocks.create_block`.
    """
    with transaction.atomic():
        held = _lock(parent.pk)
        taken = list(held.children.values_list("network", flat=True))
        try:
            network = carving.best_fit(held.network, taken, length)
        except selection.UnusableNetwork as error:
            raise BadNetwork(f"{error}.", field="length") from error
        if network is None:
            raise NoRoom(_no_room(held.network, taken, length), field="length")
        block = blocks.create_block(network=network, tier=tier, parent=held, name=name, at=at)
        _note(actor, "carved", block, at, parent=held.network)
    return block


def add_block(
    *,
    network: str,
    tier: int,
    parent: Block | None,
    name: str = "",
    vrf: int = 0,
    actor: User | None,
    at: datetime,
) -> Block:
    """Add a block of a range that somebody chose; what `blocks.create_block` refuses is refused."""
    with transaction.atomic():
        held = _lock(parent.pk) if parent else None
        block = blocks.create_block(
            network=network, tier=tier, parent=held, name=name, vrf=vrf, at=at
        )
        _note(actor, "added", block, at)
    return block


def split_block(*, block: Block, length: int, actor: User | None, at: datetime) -> list[Block]:
    """Make blocks of a longer length out of an unused one, all of its tier and name.

    Raises:
        BadNetwork: it cannot be split so.
        BlockInUse: something is cut from it, or a pool hands it out.
    """
    with transaction.atomic():
        held = _lock_with_parent(block.pk)
        _require_unused(held)
        try:
            networks = carving.parts(held.network, length)
        except selection.UnusableNetwork as error:
            raise BadNetwork(f"{error}.", field="length") from error
        made = _replace([held], networks, at)
        _note(actor, "split", held, at, into=networks)
    return made


def merge_blocks(*, chosen: Sequence[Block], actor: User | None, at: datetime) -> Block:
    """Make one block out of unused neighbours of one parent and tier; the first one's name stays.

    Raises:
        NotNeighbours: they are not the whole of one network, or not of one parent and tier.
        BlockInUse: something is cut from one of them, or a pool hands it out.
    """
    with transaction.atomic():
        held = [_lock_with_parent(pk) for pk in sorted({block.pk for block in chosen})]
        held.sort(key=lambda each: int(selection.parse_network(each.network).network_address))
        if len({(each.parent_id, each.tier, each.vrf) for each in held}) != 1:
            raise NotNeighbours("Only blocks of one parent and tier are joined.", field="blocks")
        for each in held:
            _require_unused(each)
        try:
            network = carving.joined([each.network for each in held])
        except selection.UnusableNetwork as error:
            raise NotNeighbours(f"{error}.", field="blocks") from error
        (made,) = _replace(held, [network], at)
        _note(actor, "merged", made, at, parts=[each.network for each in held])
    return made


def remove_block(*, block: Block, actor: User | None, at: datetime) -> None:
    """Give an unused block back to the block that it was cut from.

    Raises:
        BlockInUse: something is cut from it, or a pool hands it out.
    """
    with transaction.atomic():
        held = _lock_with_parent(block.pk)
        _require_unused(held)
        _note(actor, "removed", held, at, tier=held.tier, name=held.name)
        held.delete()


def open_pool(
    *,
    block: Block,
    name: str,
    server: AddressServer,
    purpose: str,
    unit_length: int | None = None,
    quarantine: timedelta = blocks.DEFAULT_QUARANTINE,
    actor: User | None,
    at: datetime,
) -> Pool:
    """Let a server hand out an unused block, as somebody decided; see `blocks.create_pool`.

    Raises:
        BlockInUse: something is cut from the block.
    """
    with transaction.atomic():
        held = _lock(block.pk)
        _require_unused(held)
        pool = blocks.create_pool(
            name=name, server=server, block=held, purpose=purpose, unit_length=unit_length,
            quarantine=quarantine, at=at,
        )  # fmt: skip
        audit.record(
            actor=actor, actor_name=_worker(actor), action="pool.opened", subject=pool.name, at=at,
            network=held.network, server=server.name, purpose=purpose,
        )  # fmt: skip
    return pool


def free_space(block: Block) -> list[str]:
    """Return what nobody has cut from a block yet, as the fewest networks; nothing of a pool's."""
    if Pool.objects.filter(block=block).exists():
        return []
    return carving.gaps(block.network, block.children.values_list("network", flat=True))


def _lock(pk: int) -> Block:
    try:
        return db.lock(Block, pk)
    except Block.DoesNotExist as error:
        raise NotFound("There is no such block any more.", field="block") from error


def _lock_with_parent(pk: int) -> Block:
    """Lock a block after the one that it was cut from, as all who cut from that do."""
    parent = Block.objects.filter(pk=pk).values_list("parent_id", flat=True).first()
    if parent is not None:
        _lock(parent)
    return _lock(pk)


def _replace(old: Sequence[Block], networks: Sequence[str], at: datetime) -> list[Block]:
    """Put blocks in the place of others of the same range; they never change their extent."""
    first = old[0]
    Block.objects.filter(pk__in=[each.pk for each in old]).delete()
    return [
        blocks.create_block(
            network=network, tier=first.tier, parent=first.parent, name=first.name,
            vrf=first.vrf, at=at,
        )
        for network in networks
    ]  # fmt: skip


def _require_unused(block: Block) -> None:
    pool = Pool.objects.filter(block=block).first()
    if refusal := in_use(block.network, pool.name if pool else "", block.children.count()):
        raise refusal


def in_use(network: str, pool: str, cut: int) -> BlockInUse | None:
    """Return the refusal of a block that a pool hands out, or from which others are cut."""
    if pool:
        return BlockInUse(f"{network} is handed out by the pool {pool}.", field="block")
    if cut:
        return BlockInUse(
            f"{cut:,} blocks are cut from {network}. Remove those first.", field="block"
        )
    return None


def _no_room(network: str, taken: Sequence[str], length: int) -> str:
    free = carving.gaps(network, taken)
    if not free:
        return f"{network} is all in use, so no /{length} is free in it."
    largest = min(selection.parse_network(gap).prefixlen for gap in free)
    return f"No /{length} is free in {network}. The largest that is free is a /{largest}."


def _note(actor: User | None, what: str, block: Block, at: datetime, **detail: Any) -> None:
    audit.record(
        actor=actor, actor_name=_worker(actor), action=f"block.{what}", subject=block.network,
        at=at, vrf=block.vrf, **detail,
    )  # fmt: skip


def _worker(actor: User | None) -> str:
    return "" if actor else "worker"
