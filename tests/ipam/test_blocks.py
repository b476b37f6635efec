"""Blocks and pools: the tree, its refusals, and how a pool's free slots are laid out."""

from datetime import timedelta
from typing import Any

import pytest

from ipam import blocks
from ipam.models import AddressServer, Block, FreeExtent, Pool
from ispops.errors import InvalidInput, Refusal
from tests.ipam.ground import NOON, Purpose, Tier, a_block, a_server

pytestmark = pytest.mark.django_db


def create(network: str, tier: int = Tier.ALLOCATION, **fields: Any) -> Block:
    return blocks.create_block(network=network, tier=tier, at=NOON, **fields)


@pytest.fixture
def server() -> AddressServer:
    return a_server()


# --- Blocks -------------------------------------------------------------------------------------


def test_a_tree_goes_from_the_registry_to_the_pool() -> None:
    top = create("100.64.0.0/10", name="Shared address space")
    region = create("100.64.0.0/12", Tier.REGION, parent=top)
    leaf = create(" 100.64.0.0/16 ", Tier.POOL, parent=region)
    stored = Block.objects.get(pk=leaf.pk)
    assert (stored.network, stored.parent, stored.parent.parent) == ("100.64.0.0/16", region, top)
    assert stored.created_at == NOON


@pytest.mark.parametrize(
    "network", ["192.0.2.1/24", "192.0.2.0/33", "everything", "", "2001::/200"]
)
def test_what_is_no_network_is_refused(network: str) -> None:
    with pytest.raises(blocks.BadNetwork) as refused:
        create(network)
    assert refused.value.field == "network"
    assert not Block.objects.exists()


@pytest.mark.parametrize("network", ["192.0.2.0/24", "192.0.2.128/25", "192.0.0.0/16"])
def test_blocks_of_a_tier_do_not_overlap(network: str) -> None:
    create("192.0.2.0/24")
    with pytest.raises(blocks.OverlappingBlock):
        create(network)
    assert Block.objects.count() == 1


def test_another_vrf_is_another_world() -> None:
    create("10.0.0.0/8")
    elsewhere = create("10.0.0.0/8", vrf=7)
    assert create("10.0.0.0/16", Tier.REGION, parent=elsewhere).vrf == 7


@pytest.mark.parametrize("network", ["192.0.3.0/24", "192.0.0.0/16", "2001:db8::/48"])
def test_a_block_lies_inside_its_parent(network: str) -> None:
    top = create("192.0.2.0/24")
    with pytest.raises(blocks.OutsideParent):
        create(network, Tier.REGION, parent=top)


def test_every_tier_is_cut_from_a_higher_one() -> None:
    top = create("192.0.2.0/24")
    leaf = create("192.0.2.0/25", Tier.POOL, parent=top)
    for tier, parent in [
        (Tier.REGION, None),
        (Tier.REGION, leaf),
        (Tier.POOL, leaf),
        (Tier.ALLOCATION, top),
    ]:
        with pytest.raises(blocks.OutsideParent):
            create("192.0.2.0/26", tier, parent=parent)


def test_an_unknown_tier_is_refused() -> None:
    with pytest.raises(InvalidInput):
        create("192.0.2.0/24", 9, parent=create("192.0.2.0/24"))


# --- Pools --------------------------------------------------------------------------------------


def make(server: AddressServer, network: str, **fields: Any) -> Pool:
    values = {"name": "north", "purpose": Purpose.DYNAMIC, "block": None, **fields}
    values["block"] = values["block"] or a_block(network)
    return blocks.create_pool(server=server, at=NOON, **values)


@pytest.mark.parametrize(
    ("network", "fields", "extents", "slots"),
    [
        ("192.0.2.0/22", {}, 64, 1022),
        ("10.0.0.0/8", {}, 64, 2**24 - 2),
        ("2001:db8::/32", {"purpose": Purpose.PREFIX}, 64, 2**24),
        ("2001:db8::/32", {"purpose": Purpose.PREFIX, "unit_length": 64}, 64, 2**32),
        ("192.0.2.0/29", {}, 1, 6),
        ("192.0.2.7/32", {"purpose": Purpose.STATIC}, 1, 1),
    ],
)
def test_a_pool_of_any_size_is_a_few_free_extents(
    server: AddressServer, network: str, fields: dict[str, Any], extents: int, slots: int
) -> None:
    network = "192.0.0.0/22" if network == "192.0.2.0/22" else network
    pool = make(server, network, **fields)
    free = FreeExtent.objects.filter(pool=pool)
    assert free.count() == extents
    assert sum(extent.last - extent.first + 1 for extent in free) == slots


def test_a_device_gets_an_address_or_a_56_unless_said_otherwise(server: AddressServer) -> None:
    assert make(server, "192.0.2.0/24").unit_length == 32
    six = make(server, "2001:db8::/32", name="six", purpose=Purpose.PREFIX)
    assert (six.family, six.unit_length) == (6, 56)


def test_a_block_backs_one_pool_and_a_name_is_taken_once(server: AddressServer) -> None:
    pool = make(server, "192.0.2.0/24")
    with pytest.raises(blocks.PoolExists):
        make(server, "", block=pool.block, name="other")
    with pytest.raises(blocks.PoolExists):
        make(server, "198.51.100.0/24")
    assert Pool.objects.count() == 1
    assert set(FreeExtent.objects.values_list("pool", flat=True)) == {pool.pk}


@pytest.mark.parametrize(
    ("network", "fields", "field"),
    [
        ("192.0.2.0/24", {"unit_length": 33}, "unit_length"),
        ("192.0.2.0/24", {"unit_length": 20}, "unit_length"),
        ("2001:db8::/32", {"unit_length": 128}, "unit_length"),
        ("192.0.2.0/24", {"purpose": Purpose.PREFIX}, "purpose"),
        ("192.0.2.0/24", {"purpose": "gifts"}, "purpose"),
        ("2001:db8::/112", {"unit_length": 128}, "purpose"),
        ("192.0.2.0/24", {"purpose": Purpose.WALLED_GARDEN, "unit_length": 28}, "purpose"),
        ("192.0.2.0/24", {"name": "not a slug"}, "name"),
        ("192.0.2.0/24", {"quarantine": timedelta(seconds=9)}, "quarantine"),
    ],
)
def test_a_pool_that_makes_no_sense_is_refused(
    server: AddressServer, network: str, fields: dict[str, Any], field: str
) -> None:
    with pytest.raises(Refusal) as refused:
        make(server, network, **fields)
    assert refused.value.field == field
    assert not Pool.objects.exists()
    assert not FreeExtent.objects.exists()


def test_only_a_block_of_the_lowest_tier_backs_a_pool(server: AddressServer) -> None:
    with pytest.raises(InvalidInput) as refused:
        make(server, "", block=create("192.0.2.0/24"))
    assert refused.value.field == "block"
