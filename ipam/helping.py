"""What would help where a parent has no room for a further block, in sentences for a person."""

from datetime import datetime, timedelta

from django.db.models import Exists, OuterRef

from ipam import growing, reclaiming, selection, tree
from ipam.models import Allocation, Block, Pool, StaticAddress

# More would not be read.
MOST_OF_A_KIND = 3


def what_would_help(first: Pool, *, length: int, at: datetime) -> list[str]:
    """Return what a person could do instead: gaps, unused pools, stale leases, other parents."""
    parent = first.block.parent
    if parent is None:
        return [
            f"Cut {first.block.network} from a larger block: then it has a parent that can give."
        ]
    return [
        *_largest_gap(parent),
        *_unused_siblings(first, parent),
        *_stale(first, at),
        *_other_parents(parent, length),
    ]


def _largest_gap(parent: Block) -> list[str]:
    free = tree.free_space(parent)
    if not free:
        return []
    largest = min(free, key=lambda gap: selection.parse_network(gap).prefixlen)
    return [f"The largest free range of {parent.network} is {largest}: grant that."]


def _unused_siblings(first: Pool, parent: Block) -> list[str]:
    held = Allocation.objects.filter(pool=OuterRef("pk"))
    pools = Pool.objects.filter(block__parent=parent, state=Pool.State.ACTIVE)
    kept = StaticAddress.objects.filter(pool=OuterRef("pk"), released_at__isnull=True)
    empty = pools.exclude(pk=first.pk).exclude(Exists(held)).exclude(Exists(kept))
    unused = empty.select_related("block", "server")
    return [
        f"{pool.name} ({pool.block.network} of {pool.server.name}) holds nothing: take it away."
        for pool in unused.order_by("name")[:MOST_OF_A_KIND]
    ]


def _stale(first: Pool, at: datetime) -> list[str]:
    policy = growing.policy_of(first)
    if policy is None or not policy.stale_hours:
        return ["No lease of this pool is ever taken for stale: set after how many hours it is."]
    silent = timedelta(hours=policy.stale_hours)
    found = reclaiming.count_stale(first=first, silent=silent, at=at)
    return [f"{found:,} stale leases can be ended."] if found else []


def _other_parents(parent: Block, length: int) -> list[str]:
    """Other blocks of the same kind and VRF that have room for what was asked."""
    others = Block.objects.filter(vrf=parent.vrf, tier=parent.tier).exclude(pk=parent.pk)
    found = []
    for other in others.order_by("pk"):
        same_family = (":" in other.network) == (":" in parent.network)
        if same_family and _has_room(other, length):
            found.append(f"{other.network} {other.name} has room for a /{length}.")
        if len(found) == MOST_OF_A_KIND:
            break
    return found


def _has_room(block: Block, length: int) -> bool:
    gaps = map(selection.parse_network, tree.free_space(block))
    return any(gap.prefixlen <= length for gap in gaps)
