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
from ispops.parties.models import Subscriber, User
from provisioning import lease_following
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
