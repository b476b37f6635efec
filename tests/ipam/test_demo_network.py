"""The demo ISP's addresses: whole, made once, and enough for the tour."""

import pytest

from ipam import allocation, queries
from ipam.models import AddressServer, Block, FreeExtent, Pool
from ispops.demo import network, people
from ispops.parties import accounts
from tests.ipam.ground import NOON, a_plan, a_subscriber, after, mac

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _operations() -> None:
    accounts.create_login(email=people.OPERATIONS_EMAIL, at=NOON, is_staff=True)


def test_loading_twice_makes_everything_once() -> None:
    network.load(at=NOON)
    before = list(FreeExtent.objects.order_by("pk").values())
    blocks = Block.objects.count()
    network.load(at=after(days=1))
    assert list(FreeExtent.objects.order_by("pk").values()) == before
    assert (Block.objects.count(), AddressServer.objects.count()) == (blocks, 2)
    # Its addresses are given by FreeRADIUS, so nothing is leased by a server itself.
    given = set(Pool.Purpose.values) - {Pool.Purpose.LEASED}
    assert {pool.purpose for pool in Pool.objects.all()} == given


def test_a_load_that_fails_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "POOLS", (*network.POOLS, network.POOLS[0]))
    with pytest.raises(Exception, match="overlaps"):
        network.load(at=NOON)
    assert not AddressServer.objects.exists()
    assert not Block.objects.exists()


def test_the_server_logs_in_and_a_device_is_served() -> None:
    network.load(at=NOON)
    server = queries.authenticate_server(network.SERVER, network.SERVER_SECRET)
    assert server is not None
    allocation.open_holder(service_ref="svc_1", subscriber=a_subscriber(), plan=a_plan(), at=NOON)
    first, second = (
        allocation.request_addresses(service_ref="svc_1", device=mac(n), server=server, at=NOON)
        for n in (1, 2)
    )
    assert first.outcome == "granted"
    assert first.ipv4 is not None
    assert first.ipv4.startswith("198.18.")
    assert first.ipv6_prefix is not None
    assert first.ipv6_prefix.startswith("2001:db8:")
    assert second.outcome == "walled_garden"
    assert second.ipv4 is not None
    assert second.ipv4.startswith("100.64.")
