"""Verbs for blocks and pools: the tree from the registry's allocation to what servers hand out."""

from datetime import datetime, timedelta

from django.db import IntegrityError, transaction
from django.db.models import Q

from ipam import selection
from ipam.models import AddressServer, Block, FreeExtent, Pool
from ispops import db
from ispops.errors import InvalidInput, Refusal

DEFAULT_QUARANTINE = timedelta(minutes=10)
# What one subscriber gets when a pool does not say: an address, or a /56 (RIPE-690).
USUAL_UNIT = {selection.IPv4: 32, selection.IPv6: 56}


class BadNetwork(InvalidInput):
    """Not a network or not its first address, or units that do not fit the block."""

    code = "bad_network"
    title = "The network cannot be used"


class OutsideParent(Refusal):
    """A block that is not inside the block it is said to be cut from."""

    code = "outside_parent"
    title = "The block is not inside its parent"


class OverlappingBlock(Refusal):
    """Another block holds some of these addresses already."""

    code = "overlapping_block"
    title = "The block overlaps another one"


class PoolExists(Refusal):
    """The block backs a pool already, or the name is taken."""

    code = "pool_exists"
    title = "There is such a pool already"


def create_block(
    *,
    network: str,
    tier: int,
    parent: Block | None = None,
    name: str = "",
    vrf: int = 0,
    at: datetime,
) -> Block:
    """Add a block to the tree: an allocation of the registry, a region of it, or a pool's range.

    A block with a parent is in the parent's VRF, whatever `vrf` says.

    Raises:
        BadNetwork: no network, a prefix that is too long, or an address inside of it.
        OutsideParent: not inside the parent, or not of a lower tier; or a parent is missing.
        OverlappingBlock: a block of the same parent, or an allocation or pool of the VRF, holds
            some of these addresses.
        InvalidInput: no such tier, or the name is too long.
    """
    block = new_block(network=network, tier=tier, parent=parent, name=name, vrf=vrf, at=at)
    try:
        with transaction.atomic():
            block.save(force_insert=True)
    except IntegrityError as error:
        raise _overlapping(block) from error
    return block


def new_block(
    *, network: str, tier: int, parent: Block | None, name: str, vrf: int, at: datetime
) -> Block:
    """Return a block that may be made where nothing is in its way; see `create_block`."""
    canonical = str(_parsed(network))
    block = Block(
        network=canonical,
        tier=tier,
        parent=parent,
        name=name,
        vrf=parent.vrf if parent else vrf,
        created_at=at,
    )
    db.check_fields(block, "tier", "name")
    _require_inside(canonical, tier, parent)
    return block


def create_pool(
    *,
    name: str,
    server: AddressServer,
    block: Block,
    purpose: str,
    unit_length: int | None = None,
    quarantine: timedelta = DEFAULT_QUARANTINE,
    at: datetime,
) -> Pool:
    """Let an address server hand out a block, unit by unit; all of it is free at first.

    `unit_length` is the length of what one device gets: /32 (IPv4) and /56 (IPv6) unless said.
    The free slots are laid out in shards, at most 64 rows whatever the size of the block.

    Raises:
        BadNetwork: the units do not fit the block, or the purpose does not fit its family.
        InvalidInput: the block is no pool's range, the quarantine is under ten seconds, or the
            name or purpose cannot be used.
        PoolExists: the block backs a pool already, or the name is taken.
    """
    pool = new_pool(
        name=name, server=server, block=block, purpose=purpose, unit_length=unit_length,
        quarantine=quarantine, at=at,
    )  # fmt: skip
    slots = selection.slot_count(block.network, pool.unit_length)
    try:
        with transaction.atomic():
            pool.save(force_insert=True)
            first, last = selection.usable_slots(block.network, pool.unit_length)
            FreeExtent.objects.bulk_create(
                FreeExtent(pool=pool, first=extent.first, last=extent.last)
                for extent in selection.shards(first, last, selection.shard_size(slots))
            )
    except IntegrityError as error:
        raise pool_exists(pool) from error
    return pool


def new_pool(
    *,
    name: str,
    server: AddressServer,
    block: Block,
    purpose: str,
    unit_length: int | None,
    quarantine: timedelta = DEFAULT_QUARANTINE,
    at: datetime,
) -> Pool:
    """Return a pool that may be made where its block and its name are free; see `create_pool`."""
    family = _parsed(block.network).version
    unit = USUAL_UNIT[family] if unit_length is None else unit_length
    try:
        selection.slot_count(block.network, unit)
    except selection.UnusableNetwork as error:
        raise BadNetwork(f"{error}.", field="unit_length") from error
    pool = Pool(
        name=name,
        server=server,
        block=block,
        purpose=purpose,
        family=family,
        unit_length=unit,
        quarantine=quarantine,
        created_at=at,
    )
    db.check_fields(pool, "name", "purpose")
    _require_fitting(pool)
    return pool


def pool_exists(pool: Pool) -> PoolExists:
    """Return the refusal of a pool whose block or name is taken."""
    return PoolExists(
        f"{pool.block} backs a pool already, or the name {pool.name} is taken.", field="name"
    )


def _parsed(network: str) -> selection.Network:
    try:
        return selection.parse_network(network)
    except selection.UnusableNetwork as error:
        raise BadNetwork(f"{error}. Write it like 100.64.0.0/10.", field="network") from error


def _require_inside(network: str, tier: int, parent: Block | None) -> None:
    if tier == Block.Tier.ALLOCATION:
        if parent is not None:
            raise OutsideParent("A registry allocation has no parent.", field="parent")
        return
    if parent is None:
        raise OutsideParent("Say which block this one is cut from.", field="parent")
    if tier < parent.tier or (tier == parent.tier and tier != Block.Tier.REGION):
        raise OutsideParent(
            f"A {Block.Tier(tier).label.lower()} is not cut from a "
            f"{Block.Tier(parent.tier).label.lower()}.",
            field="tier",
        )
    if not selection.is_inside(network, parent.network):
        raise OutsideParent(
            f"{network} is not inside {parent.network}, from which it is to be cut.",
            field="network",
        )


def _overlapping(block: Block) -> OverlappingBlock:
    """Name the block that is in the way; it is not an ancestor, so it is of the tier or parent."""
    near = Q(parent=block.parent_id) if block.parent_id else Q(pk__isnull=True)
    # Regions overlap those that they are cut from, so only its siblings are in a region's way.
    alike = Q(tier=block.tier) & ~Q(tier=Block.Tier.REGION)
    others = Block.objects.filter(near | alike, vrf=block.vrf)
    other = others.filter(network__overlaps=block.network).order_by("network").first()
    return overlapping(block.network, other.network if other else None)


def overlapping(network: str, other: str | None) -> OverlappingBlock:
    """Return the refusal of a block that is in the way of another one."""
    words = f"{other}, a block of this VRF" if other else "another block of this VRF"
    return OverlappingBlock(
        f"{network} overlaps {words}. Choose a range that is free.", field="network"
    )


# The purposes of single addresses, by the families and units of what is handed out; of IPv6 only a
# DHCP server chooses any.
_IPV4 = (selection.IPv4, 32)
_SINGLE: dict[str, tuple[tuple[int, int], ...]] = {
    Pool.Purpose.DYNAMIC: (_IPV4,),
    Pool.Purpose.WALLED_GARDEN: (_IPV4,),
    Pool.Purpose.LEASED: (_IPV4, (selection.IPv6, 128)),
}


def _require_fitting(pool: Pool) -> None:
    """Refuse what the database would refuse too, in words that say what to do."""
    if pool.block.tier != Block.Tier.POOL:
        raise InvalidInput(
            "A pool hands out a block of the tier Pool: cut one first.", field="block"
        )
    if pool.purpose == Pool.Purpose.PREFIX and pool.family != selection.IPv6:
        raise BadNetwork("Only IPv6 prefixes are delegated.", field="purpose")
    units = _SINGLE.get(pool.purpose)
    if units is not None and (pool.family, pool.unit_length) not in units:
        raise BadNetwork("Such a pool hands out single IPv4 addresses.", field="purpose")
    if pool.quarantine < timedelta(seconds=10):
        raise InvalidInput("The quarantine is at least ten seconds.", field="quarantine")
