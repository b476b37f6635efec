"""The tree of blocks: carve, split, join, take away; refusals write nothing."""

from typing import Any

import pytest
from django.db import IntegrityError, transaction

from ipam import blocks, tree
from ipam.models import Block, Pool
from ispops.errors import NotFound
from ispops.parties.models import AuditEntry, User
from tests.ipam.ground import NOON, Purpose, Tier, a_server, a_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def user() -> User:
    return a_user()


@pytest.fixture
def top() -> Block:
    return blocks.create_block(network="10.0.0.0/16", tier=Tier.ALLOCATION, at=NOON)


def carve(parent: Block, length: int, tier: int = Tier.REGION, **fields: Any) -> Block:
    return tree.carve_block(parent=parent, length=length, tier=tier, at=NOON, **fields)


def networks() -> list[str]:
    return list(Block.objects.order_by("tier", "network").values_list("network", flat=True))


def test_the_next_free_block_is_cut_by_best_fit_and_noted(top: Block, user: User) -> None:
    first = carve(top, 24, name="North", actor=user)
    assert (first.network, first.tier, first.parent, first.name) == (
        "10.0.0.0/24", Tier.REGION, top, "North",
    )  # fmt: skip
    assert carve(top, 18).network == "10.0.64.0/18"
    # The smallest gap that holds a /24 is the one beside the first block.
    assert carve(top, 24).network == "10.0.1.0/24"
    entry = AuditEntry.objects.get(actor=user)
    assert (entry.action, entry.subject) == ("block.carved", "10.0.0.0/24")


def test_a_region_is_cut_from_a_region_and_a_pool_from_that(top: Block) -> None:
    country = carve(top, 18)
    town = carve(country, 20)
    leaf = carve(town, 24, Tier.POOL)
    assert (leaf.network, leaf.parent.parent) == ("10.0.0.0/24", country)
    with pytest.raises(blocks.OutsideParent):
        carve(leaf, 26, Tier.POOL)


def test_a_full_block_says_what_is_free(top: Block) -> None:
    carve(top, 17)
    with pytest.raises(tree.NoRoom, match="largest that is free is a /17"):
        carve(top, 16)
    carve(top, 17)
    with pytest.raises(tree.NoRoom, match="all in use"):
        carve(top, 24)
    assert tree.free_space(top) == []


@pytest.mark.parametrize("length", [8, 33])
def test_no_such_length_can_be_cut(top: Block, length: int) -> None:
    with pytest.raises(blocks.BadNetwork) as refused:
        carve(top, length)
    assert refused.value.field == "length"
    assert networks() == ["10.0.0.0/16"]


def test_another_vrf_has_a_tree_of_its_own(top: Block) -> None:
    other = tree.add_block(
        network="10.0.0.0/16", tier=Tier.ALLOCATION, parent=None, vrf=7, actor=None, at=NOON
    )
    assert carve(top, 24).network == carve(other, 24).network == "10.0.0.0/24"


def test_blocks_of_one_parent_never_overlap_whatever_their_tiers(top: Block) -> None:
    region = carve(top, 20)
    with pytest.raises(blocks.OverlappingBlock, match=r"overlaps 10\.0\.0\.0/20"):
        tree.add_block(network="10.0.1.0/24", tier=Tier.POOL, parent=top, actor=None, at=NOON)
    with pytest.raises(IntegrityError, match="blocks_of_a_parent"), transaction.atomic():
        Block.objects.create(network="10.0.1.0/24", tier=Tier.POOL, parent=top, created_at=NOON)
    assert Block.objects.get(tier=Tier.REGION) == region


def test_the_database_keeps_a_region_inside_its_region(top: Block) -> None:
    region = carve(top, 20)
    with pytest.raises(IntegrityError, match="not inside its parent"), transaction.atomic():
        Block.objects.create(
            network="10.0.16.0/24", tier=Tier.REGION, parent=region, created_at=NOON
        )


def test_an_unused_block_is_split_and_joined_again(top: Block, user: User) -> None:
    block = carve(top, 22, name="North")
    parts = tree.split_block(block=block, length=24, actor=user, at=NOON)
    assert [part.network for part in parts] == [f"10.0.{n}.0/24" for n in range(4)]
    assert {(part.name, part.tier, part.parent) for part in parts} == {("North", 1, top)}
    joined = tree.merge_blocks(chosen=parts[::-1], actor=user, at=NOON)
    assert (joined.network, joined.parent) == ("10.0.0.0/22", top)
    assert networks() == ["10.0.0.0/16", "10.0.0.0/22"]
    assert [entry.action for entry in AuditEntry.objects.order_by("pk")] == [
        "block.carved", "block.split", "block.merged",
    ]  # fmt: skip


def test_an_allocation_is_split_too(top: Block) -> None:
    halves = tree.split_block(block=top, length=17, actor=None, at=NOON)
    assert [half.parent for half in halves] == [None, None]


def test_what_is_in_use_stays_as_it_is(top: Block) -> None:
    region = carve(top, 22)
    used = carve(region, 24, Tier.POOL)
    beside = carve(region, 24, Tier.POOL)
    tree.open_pool(
        block=used, name="north", server=a_server(), purpose=Purpose.DYNAMIC, actor=None, at=NOON
    )
    before = networks()
    with pytest.raises(tree.BlockInUse, match="pool north"):
        tree.split_block(block=used, length=25, actor=None, at=NOON)
    with pytest.raises(tree.BlockInUse, match="pool north"):
        tree.merge_blocks(chosen=[used, beside], actor=None, at=NOON)
    with pytest.raises(tree.BlockInUse, match="2 blocks are cut"):
        tree.remove_block(block=region, actor=None, at=NOON)
    with pytest.raises(tree.BlockInUse):
        tree.open_pool(
            block=region, name="x", server=a_server("b"), purpose="static", actor=None, at=NOON
        )
    assert networks() == before
    assert tree.free_space(used) == []
    assert tree.free_space(region) == ["10.0.2.0/23"]


def test_strangers_are_not_joined(top: Block) -> None:
    region, other = carve(top, 24), carve(top, 24)
    deep = carve(other, 25)
    far = carve(top, 20)
    for chosen in ([region, deep], [region, far], [region]):
        with pytest.raises(tree.NotNeighbours):
            tree.merge_blocks(chosen=chosen, actor=None, at=NOON)
    assert len(networks()) == 5


def test_a_removed_block_is_free_again_and_gone_for_good(top: Block) -> None:
    block = carve(top, 24)
    tree.remove_block(block=block, actor=None, at=NOON)
    assert tree.free_space(top) == ["10.0.0.0/16"]
    for verb in (tree.remove_block, lambda **given: tree.split_block(length=25, **given)):
        with pytest.raises(NotFound):
            verb(block=Block(pk=block.pk, network="10.0.0.0/24"), actor=None, at=NOON)
    assert not Pool.objects.exists()
