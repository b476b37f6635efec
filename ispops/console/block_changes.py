"""What can be done to the tree of blocks by hand: read from a form, tried out, and then done.

A preview does the thing and takes it back, so it says exactly what would be made or refused.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction

from ipam import carving, selection, tree
from ipam.models import AddressServer, Block, Pool
from ispops.errors import InvalidInput
from ispops.parties.models import User

Given = Mapping[str, str]
_MOST_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a change comes to, in words; `leads_to` is the block to show afterwards."""

    words: tuple[str, ...]
    leads_to: Block | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """One kind of change: what its button says, and what does it."""

    title: str
    button: str
    work: Callable[[Block | None, Given, User, datetime], Outcome]


def preview(kind: str, block: Block | None, given: Given, actor: User, at: datetime) -> Outcome:
    """Say what a change would come to; nothing is kept of it.

    Raises:
        Refusal: what the change itself would refuse.
    """
    with transaction.atomic():
        outcome = CHANGES[kind].work(block, given, actor, at)
        transaction.set_rollback(True)
    return outcome


def _carve(block: Block | None, given: Given, actor: User, at: datetime) -> Outcome:
    made = tree.carve_block(
        parent=_named(block), length=length(given.get("length", "")), tier=_tier(given),
        name=given.get("name", ""), actor=actor, at=at,
    )  # fmt: skip
    return Outcome((f"{_told(made)}, the smallest gap that fits",), made)


def _add(block: Block | None, given: Given, actor: User, at: datetime) -> Outcome:
    made = tree.add_block(
        network=given.get("network", ""), tier=_tier(given) if block else Block.Tier.ALLOCATION,
        parent=block, name=given.get("name", ""), vrf=_vrf(given), actor=actor, at=at,
    )  # fmt: skip
    return Outcome((_told(made),), made)


def _split(block: Block | None, given: Given, actor: User, at: datetime) -> Outcome:
    old = _named(block)
    made = tree.split_block(block=old, length=length(given.get("length", "")), actor=actor, at=at)
    words = [_told(each) for each in made[:_MOST_SHOWN]]
    if len(made) > _MOST_SHOWN:
        words.append(f"and {len(made) - _MOST_SHOWN} more, up to {made[-1].network}")
    return Outcome((*words, f"in the place of {old.network}"), old.parent or made[0])


def _merge(block: Block | None, given: Given, actor: User, at: datetime) -> Outcome:
    old = _named(block)
    other = Block.objects.filter(pk=_number(given, "other")).first()
    if other is None:
        raise InvalidInput("Choose the neighbour to join it with.", field="other")
    made = tree.merge_blocks(chosen=[old, other], actor=actor, at=at)
    return Outcome((_told(made), f"in the place of {old.network} and {other.network}"), made)


def _pool(block: Block | None, given: Given, actor: User, at: datetime) -> Outcome:
    server = AddressServer.objects.filter(name=given.get("server", "")).first()
    if server is None:
        raise InvalidInput("Choose the server that hands it out.", field="server")
    unit = given.get("unit_length", "").strip()
    pool = tree.open_pool(
        block=_named(block), name=given.get("name", ""), server=server,
        purpose=given.get("purpose", ""),
        unit_length=length(unit, field="unit_length") if unit else None,
        actor=actor, at=at,
    )  # fmt: skip
    first, last = selection.usable_slots(pool.block.network, pool.unit_length)
    units = f"{last - first + 1:,} times a /{pool.unit_length}"
    return Outcome((f"Pool {pool}: {units} from {pool.block}, handed out by {server}",), pool.block)


def _remove(block: Block | None, given: Given, actor: User, at: datetime) -> Outcome:
    old = _named(block)
    tree.remove_block(block=old, actor=actor, at=at)
    back = f"{old.parent.network} has that range free again" if old.parent else "Its range is gone"
    return Outcome((f"{old.network} is removed", back), old.parent)


CHANGES = {
    "carve": Change("Cut the next free block", "Cut it", _carve),
    "add": Change("Add a block of a range you choose", "Add it", _add),
    "split": Change("Split the block", "Split it", _split),
    "merge": Change("Join with a neighbour", "Join them", _merge),
    "pool": Change("Open a pool", "Open the pool", _pool),
    "remove": Change("Remove the block", "Remove it", _remove),
}


def neighbours(block: Block) -> list[Block]:
    """Return the unused blocks that make one network with an unused one."""
    beside = Block.objects.filter(
        parent=block.parent_id, tier=block.tier, vrf=block.vrf, pool__isnull=True,
        children__isnull=True,
    ).exclude(pk=block.pk)  # fmt: skip
    length_of = selection.parse_network(block.network).prefixlen
    whole = selection.parse_network(block.network)
    if length_of == 0:
        return []
    buddy = str(whole.supernet())
    return [each for each in beside.filter(network__within=buddy) if _joins(block, each)]


def _joins(one: Block, other: Block) -> bool:
    try:
        carving.joined([one.network, other.network])
    except selection.UnusableNetwork:
        return False
    return True


def length(text: str, *, field: str = "length") -> int:
    """Read a length as people write it: `24` or `/24`.

    Raises:
        InvalidInput: it is none.
    """
    digits = text.strip().removeprefix("/")
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= 3):
        raise InvalidInput("Write a length like /24.", field=field)
    return int(digits)


def _named(block: Block | None) -> Block:
    if block is None:
        raise InvalidInput("Choose the block first.", field="block")
    return block


def _told(block: Block) -> str:
    name = f" “{block.name}”" if block.name else ""
    return f"{block.network}{name}: {Block.Tier(block.tier).label.lower()}, VRF {block.vrf}"


def _tier(given: Given) -> int:
    return _number(given, "tier")


def _vrf(given: Given) -> int:
    return _number(given, "vrf") if given.get("vrf", "").strip() else 0


def _number(given: Given, name: str) -> int:
    digits = given.get(name, "").strip()
    if not (digits.isascii() and digits.isdecimal() and len(digits) < 19):
        raise InvalidInput("Write a whole number.", field=name)
    return int(digits)


def servers() -> list[AddressServer]:
    """Return the servers that can hand out a pool."""
    return list(AddressServer.objects.filter(active=True).order_by("name"))


def purposes() -> list[tuple[str, str]]:
    """Return what a pool can be for."""
    return list(Pool.Purpose.choices)
