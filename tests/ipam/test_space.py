"""How the tree is told: order, use up to the top, and where a block is full."""

import pytest
from django.test.utils import CaptureQueriesContext

from ipam import space, tree
from ipam.models import Block
from tests.ipam.ground import NOON, Isp, Tier, a_pool, a_server, mac

pytestmark = pytest.mark.django_db


def test_each_block_comes_before_what_is_cut_from_it_with_its_use(isp: Isp) -> None:
    top = tree.add_block(
        network="10.0.0.0/8", tier=Tier.ALLOCATION, parent=None, actor=None, at=NOON
    )
    region = tree.carve_block(parent=top, length=10, tier=Tier.REGION, at=NOON)
    same = tree.carve_block(parent=region, length=10, tier=Tier.REGION, at=NOON)
    leaf = tree.carve_block(parent=same, length=24, tier=Tier.POOL, at=NOON)
    isp.ask(mac(1))
    found = {node.block.pk: node for node in space.nodes()}
    shown = [(node.block.network, node.depth) for node in found.values()]
    assert shown[:4] == [
        ("10.0.0.0/8", 0), ("10.0.0.0/10", 1), ("10.0.0.0/10", 2), ("10.0.0.0/24", 3),
    ]  # fmt: skip
    assert (found[top.pk].cut, found[region.pk].cut, found[top.pk].held) == (0.25, 1, None)
    above = found[isp.dynamic.block.parent_id or 0]
    assert (above.taken, above.total, above.held) == (1, 254, 1 / 254)
    assert [node.block for node in space.nodes(under=same)] == [same, leaf]
    assert space.path_to(leaf) == [top, region, same]


def test_a_tree_costs_the_same_reads_whatever_its_size(
    isp: Isp, django_assert_num_queries: object
) -> None:
    with django_assert_num_queries(2) as context:  # type: ignore[operator]
        space.nodes()
    assert isinstance(context, CaptureQueriesContext)


@pytest.mark.parametrize("network", ["10.0.0.0/8", "203.0.113.0/29"])
def test_a_pool_of_any_size_is_a_few_hundred_squares(isp: Isp, network: str) -> None:
    server = a_server("big")
    pool = a_pool(network, server=server, name="big")
    isp.ask(mac(1), server=server)
    isp.release(mac(1))
    heat = space.heat_of_pool(pool)
    assert len(heat.shares) == min(256, 2 ** (32 - int(network.partition("/")[2])))
    assert [share > 0 for share in heat.shares].count(True) == 1
    assert all(0 <= share <= 1 for share in heat.shares)


def test_where_a_block_is_cut(isp: Isp) -> None:
    block = isp.dynamic.block.parent
    assert block is not None
    assert set(space.heat_of_block(block, [isp.dynamic.block]).shares) == {1}
    empty = Block(network="10.0.0.0/8")
    assert space.heat_of_block(empty, []).network_of(255) == "10.255.0.0/16"
