"""The add-on of a static address: ordered, assigned when live, charged, released when it ends."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from ipam import allocation, blocks
from ipam.models import Block, StaticAddress
from ispops.catalog import publishing
from ispops.parties.models import Subscriber
from provisioning.models import Service
from tests import factories
from tests.provisioning import later
from tests.small_isp import LAUNCH, SmallIsp, priced


@pytest.fixture
def line(isp: SmallIsp, ada: Subscriber, at: datetime) -> Service:
    addon = publishing.create_offering(
        code="static-address", name="Static address", kind="addon", addon_type="static_address",
        at=LAUNCH,
    )  # fmt: skip
    priced(addon, "9", LAUNCH)
    server = factories.address_server(at=at)
    top = blocks.create_block(network="203.0.113.0/24", tier=Block.Tier.ALLOCATION, at=at)
    block = blocks.create_block(network="203.0.113.0/28", tier=Block.Tier.POOL, parent=top, at=at)
    blocks.create_pool(name="static", server=server, block=block, purpose="static", at=at)
    return factories.live_line(isp, ada, at=at)


def test_it_comes_with_the_order_and_goes_with_the_next(line: Service, at: datetime) -> None:
    later.change(line, at, add=["static-address"])
    assert not StaticAddress.objects.exists()
    factories.work(at=at)
    addon = Service.objects.get(line=line, offering__code="static-address")
    static = StaticAddress.objects.get()
    assert (addon.state, static.cause_ref) == ("active", addon.public_id)
    answer = allocation.request_addresses(
        service_ref=line.public_id, device="02:00:00:00:00:01", server=static.pool.server, at=at
    )
    assert answer.ipv4 == str(static)
    after = at + timedelta(days=3)
    later.change(line, after, remove=["static-address"])
    factories.work(at=after)
    static.refresh_from_db()
    addon.refresh_from_db()
    assert (addon.state, static.released_at) == ("ceased", after)
