"""Leases that the real Kea chose become stays of ours, and a second device becomes a request."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from ipam import blocks, kea_servers, overallocation, queries
from ipam.models import (
    Allocation,
    Block,
    KeaServer,
    OverallocationRequest,
    Pool,
    RefusedDevice,
)
from ispops.catalog.models import AddressEntitlement
from ispops.network import kea as network_of
from ispops.parties.models import Subscriber, User
from provisioning import lease_following, reservations
from provisioning.models import DhcpServer
from tests import factories
from tests.dhcp import kea, relay
from tests.small_isp import SmallIsp

FIRST, SECOND, STRANGER = (f"02:00:00:00:00:0{number}" for number in (1, 2, 3))


@pytest.fixture
def chosen_by_kea(dhcp: DhcpServer, kea_url: str, tmp_path: Path, at: datetime) -> KeaServer:
    """Pools of the server for addresses that Kea chooses, and a walled garden."""
    server = dhcp.address_server
    Pool.objects.filter(server=server).update(purpose=Pool.Purpose.LEASED)
    top = Block.objects.get(tier=Block.Tier.POOL).parent
    garden = blocks.create_block(network="100.127.9.192/26", tier=Block.Tier.ALLOCATION, at=at)
    block = blocks.create_block(
        network="100.127.9.192/26", tier=Block.Tier.POOL, parent=garden, at=at
    )
    assert top is not None
    blocks.create_pool(
        name="garden-kea", server=server, block=block, purpose=Pool.Purpose.WALLED_GARDEN, at=at
    )
    return kea_servers.connect_kea(
        server=server,
        at=at,
        control_socket=str(tmp_path / "kea4.socket"),
        config_url=kea_url,
        subnet=kea.SUBNET,
        lease_file=str(tmp_path / "kea-leases4.csv"),
        log_file=str(tmp_path / "kea4.log"),
    )


@pytest.mark.daemon
@pytest.mark.xdist_group("processes")
def test_what_kea_chose_is_in_the_history_and_a_second_device_is_asked_about(
    isp: SmallIsp, ada: Subscriber, otto: User, chosen_by_kea: KeaServer, kea_url: str,
    tmp_path: Path,
) -> None:  # fmt: skip
    now = timezone.now()
    AddressEntitlement.objects.update(
        ipv4_addresses=1, policy=AddressEntitlement.Policy.ASK_CSR, most_extra_addresses=1
    )
    with kea.server(tmp_path, kea_url):
        lease_following.follow_due(at=now)
        line = factories.live_line(isp, ada, at=now)
        given = relay.gets(FIRST, "barre-1/1")
        assert given is not None
        assert relay.gets(STRANGER) is None
        lease_following.follow_due(at=now)
        held = Allocation.objects.get()
        assert (held.address, held.device, held.counts) == (f"{given.address}/32", FIRST, True)
        stay = queries.who_had(given.address, timezone.now())
        assert stay is not None
        assert (stay.service_ref, stay.subscriber) == (line.public_id, ada)
        chosen_by_kea.refresh_from_db()
        assert (chosen_by_kea.strangers_refused, chosen_by_kea.last_error) == (1, "")
        assert [(row.device, row.times) for row in RefusedDevice.objects.all()] == [(STRANGER, 1)]

        assert relay.gets(SECOND, "barre-1/1") is not None, "for a moment, until it is seen"
        lease_following.follow_due(at=now)
        asked = OverallocationRequest.objects.get()
        assert (asked.device, asked.state) == (SECOND, "pending")
        walled = relay.gets(SECOND, "barre-1/1")
        assert walled is not None
        assert walled.address.startswith("100.127.9.19")
        assert walled.seconds == 60
        lease_following.follow_due(at=now)
        assert not Allocation.objects.get(device=SECOND, state="active").counts

        overallocation.accept(request_id=asked.public_id, actor=otto, decided_by="csr", at=now)
        relay.renews(SECOND, walled.address, "barre-1/1")
        lease_following.follow_due(at=now)
        extra = relay.gets(SECOND, "barre-1/1")
        assert extra is not None
        assert not extra.address.startswith("100.127.9.19")
        lease_following.follow_due(at=now)
        assert Allocation.objects.get(device=SECOND, state="active").counts
        assert lease_following.follow_due(at=now) == 0, "nothing is read twice"
    later = now + timedelta(seconds=1)
    lease_following.follow_due(at=later)
    chosen_by_kea.refresh_from_db()
    assert "does not answer" in chosen_by_kea.last_error


@pytest.mark.daemon
@pytest.mark.xdist_group("processes")
def test_prefixes_and_addresses_of_dhcpv6_are_in_the_history(
    isp: SmallIsp, ada: Subscriber, otto: User, dhcp: DhcpServer, kea_url: str, tmp_path: Path
) -> None:
    now = timezone.now()
    server = dhcp.address_server
    for name, network, purpose, unit in (
        ("prefixes-kea", "2001:db8:100::/54", Pool.Purpose.PREFIX, 56),
        ("addresses-kea", "2001:db8:ffff:9::1000/116", Pool.Purpose.LEASED, 128),
    ):
        top = blocks.create_block(network=network, tier=Block.Tier.ALLOCATION, at=now)
        block = blocks.create_block(network=network, tier=Block.Tier.POOL, parent=top, at=now)
        blocks.create_pool(
            name=name, server=server, block=block, purpose=purpose, unit_length=unit, at=now
        )
    told = kea_servers.connect_kea(
        server=server, at=now, family=6, control_socket=str(tmp_path / "kea6.socket"),
        subnet=network_of.SUBNET[6], lease_file=str(tmp_path / "kea-leases6.csv"),
    )  # fmt: skip
    line = factories.live_line(isp, ada, at=now)
    reservations.name_device(service=line, device=FIRST, actor=otto, reason="label", at=now)
    with kea.server(tmp_path, kea_url, family=6):
        lease_following.follow_due(at=now)
        # Of the last device perfdhcp does not always wait for the answer; it is of no line.
        assert network_of.exchanges(
            6, kea.NAMESPACE, devices=2, a_second=10, first_mac=FIRST, what="address-and-prefix"
        )
        lease_following.follow_due(at=timezone.now())
        told.refresh_from_db()
        assert told.last_error == ""
    held = {each.address: each for each in Allocation.objects.filter(family=6)}
    prefix = next(each for each in held if str(each).endswith("/56"))
    inside = str(prefix).replace("::/56", ":3::7")
    for address in (inside, *(str(each)[:-4] for each in held if str(each).endswith("/128"))):
        stay = queries.who_had(address, timezone.now())
        assert stay is not None
        assert (stay.service_ref, stay.subscriber) == (line.public_id, ada)
        assert stay.device.endswith(FIRST.replace(":", "")), "the DUID of the router"
    assert len(held) == 2
    assert lease_following.follow_due(at=timezone.now()) == 0
