"""The real Kea, in a network namespace of its own, serves what orders made of their lines."""

from __future__ import annotations

import json
import socket
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from ipam import (
    blocks,
    kea_servers,
    overallocation,
    renumbering,
    returning,
    static_addresses,
)
from ipam.models import (
    AddressServer,
    Allocation,
    Block,
    ExtraAddress,
    OverallocationRequest,
    Pool,
    StaticAddress,
)
from ipam.servers.registry import adapter_of, range_of
from ispops.catalog.models import AddressEntitlement
from ispops.parties.models import Subscriber, User
from provisioning import lease_following, reservations, suspending, upkeep
from provisioning.models import DhcpReservation, DhcpServer
from tests import factories
from tests.dhcp import kea, relay
from tests.dhcp.relay import ACK, NAK
from tests.small_isp import SmallIsp

pytestmark = [pytest.mark.daemon, pytest.mark.xdist_group("processes")]
ROUTER, SECOND, STRANGER = (f"02:00:00:00:00:0{number}" for number in (1, 2, 3))


def test_a_line_from_its_first_day_to_its_last(
    isp: SmallIsp, ada: Subscriber, otto: User, dhcp: DhcpServer, kea_url: str, at: datetime,
    tmp_path: Path,
) -> None:  # fmt: skip
    by_staff = {"channel": "csr", "placed_by": otto, "at": at}
    with kea.server(tmp_path, kea_url, pools=True) as running:
        assert relay.gets(ROUTER, "barre-1/1") is None, "no line, no address"
        line = factories.live_line(isp, ada, at=at)
        given = relay.gets(ROUTER, "barre-1/1")
        mine = Allocation.objects.get().address.removesuffix("/32")
        assert given is not None
        assert (given.kind, given.address, given.seconds) == (ACK, mine, 300)
        again = relay.renews(ROUTER, mine, "barre-1/1")
        assert again is not None
        assert (again.kind, again.address) == (ACK, mine)
        assert relay.gets(STRANGER, "barre-1/2") is None, "a port without a line"
        assert relay.gets(STRANGER) is None, "a device that nobody knows"
        assert relay.gets(SECOND, "barre-1/1") is None, "one line, one address"
        assert refusals(tmp_path) == 4

        suspending.suspend_line(line=line, reason="non_payment", treatment="walled_garden",
                                idempotency_key="s", **by_staff)  # fmt: skip
        factories.work(at=at)
        refused = relay.renews(ROUTER, mine, "barre-1/1")
        assert refused is not None
        assert refused.kind == NAK
        walled = relay.gets(ROUTER, "barre-1/1")
        assert walled is not None
        assert (walled.address, walled.seconds) == ("100.127.9.192", 60)

        suspending.resume_line(line=line, reason="non_payment", idempotency_key="r", **by_staff)
        factories.work(at=at)
        refused = relay.renews(ROUTER, walled.address, "barre-1/1")
        assert refused is not None
        assert refused.kind == NAK, "out of the walled garden, too"
        back = relay.gets(ROUTER, "barre-1/1")
        assert back is not None
        assert back.address == mine

        reservations.name_device(service=line, device=SECOND, actor=otto, reason="label", at=at)
        reservations.sync_due(at=at + upkeep.SWEPT_AFTER, limit=5)
        other = relay.gets(SECOND)
        assert other is not None
        assert other.address == DhcpReservation.objects.get().address

        suspending.cease_line(line=line, idempotency_key="c", **by_staff)
        factories.work(at=at)
        refused = relay.renews(SECOND, other.address)
        assert refused is not None
        assert refused.kind == NAK
        assert relay.gets(SECOND) is None
        assert relay.gets(ROUTER, "barre-1/1") is None
        assert "ALLOC_FAIL_CLASSES" in running.said()


def a_pool(name: str, network: str, purpose: str, at: datetime) -> Pool:
    """A pool more of the only server."""
    top = blocks.create_block(network=network, tier=Block.Tier.ALLOCATION, at=at)
    block = blocks.create_block(network=network, tier=Block.Tier.POOL, parent=top, at=at)
    server = AddressServer.objects.get()
    return blocks.create_pool(name=name, server=server, block=block, purpose=purpose, at=at)


@pytest.fixture
def connected(dhcp: DhcpServer, kea_url: str, at: datetime, tmp_path: Path) -> AddressServer:
    """The server's pools of static addresses and of the walled garden, and its files."""
    server = dhcp.address_server
    a_pool("static-kea", kea.STATIC, "static", at)
    a_pool("garden-kea", "100.127.9.192/26", "walled_garden", at)
    kea_servers.connect_kea(
        server=server, at=at, control_socket=str(tmp_path / "kea4.socket"), config_url=kea_url,
        subnet=kea.SUBNET, lease_file=str(tmp_path / "kea-leases4.csv"),
        log_file=str(tmp_path / "kea4.log"),
    )  # fmt: skip
    return server


def follow(at: datetime | None = None) -> None:
    """What the sweeps do: read what Kea wrote, and tell it what came of that."""
    lease_following.follow_due(at=at or timezone.now())
    factories.deliver_events(at=at or timezone.now())
    reservations.sync_due(at=at or timezone.now(), limit=9)


def test_a_static_address_is_reserved_renumbered_and_released(
    isp: SmallIsp, ada: Subscriber, otto: User, connected: AddressServer, tmp_path: Path
) -> None:
    now = timezone.now()
    with kea.server(tmp_path, DhcpServer.objects.get().hosts_url):
        follow()
        line = factories.live_line(isp, ada, at=now)
        dynamic = relay.gets(ROUTER, "barre-1/1")
        static_addresses.assign_static(service_ref=line.public_id, cause_ref="svc_x", at=now)
        follow()
        mine = StaticAddress.objects.get()
        refused = relay.renews(ROUTER, dynamic.address, "barre-1/1")
        assert refused.kind == NAK, "the address of the plan is not its own any more"
        assert relay.gets(ROUTER, "barre-1/1").address == str(mine)

        source, target = mine.pool, a_pool("static-new", "100.127.9.144/28", "static", now)
        day, said = now + timedelta(days=8), {"actor": otto, "reason": "The range goes back"}
        plan = renumbering.start(source=source, target=target, deadline_at=day, at=now, **said)
        follow()
        assert relay.renews(ROUTER, str(mine), "barre-1/1").kind == ACK, "until the day"
        renumbering.go_on(at=day)
        follow(day)
        moved = StaticAddress.objects.get(released_at=None)
        assert moved.pool == target
        assert relay.renews(ROUTER, str(mine), "barre-1/1").kind == NAK
        assert relay.gets(ROUTER, "barre-1/1").address == str(moved)

        rested = day + source.quarantine
        renumbering.go_on(at=rested)
        renumbering.retire_source(renumbering_id=plan.pk, at=rested, **said)
        given = range_of(source)
        assert adapter_of(connected, 4).missing([given]) == []
        for _ in range(2):
            returning.go_on_due(at=rested)
        source.refresh_from_db()
        assert source.state == "returned"
        assert adapter_of(connected, 4).missing([given]) == [given]

        static_addresses.release_static(service_ref=line.public_id, cause_ref="svc_x", at=rested)
        follow(rested)
        assert relay.renews(ROUTER, str(moved), "barre-1/1").kind == NAK
        assert relay.gets(ROUTER, "barre-1/1").address == dynamic.address


def test_a_second_device_is_refused_or_granted_by_its_plan(
    isp: SmallIsp, ada: Subscriber, otto: User, connected: AddressServer, tmp_path: Path
) -> None:
    now = timezone.now()
    AddressEntitlement.objects.update(ipv4_addresses=1, policy="deny")
    with kea.server(tmp_path, DhcpServer.objects.get().hosts_url):
        follow()
        line = factories.live_line(isp, ada, at=now)
        first = relay.gets(ROUTER, "barre-1/1")
        walled = relay.gets(SECOND, "barre-1/1")
        assert walled.address.startswith("100.127.9.19"), "its line is known by this lease"
        follow()
        assert not OverallocationRequest.objects.exists(), "it might be a router for the other one"
        # Kea counts in seconds.
        time.sleep(1.01)
        relay.renews(ROUTER, first.address, "barre-1/1")
        relay.renews(SECOND, walled.address, "barre-1/1")
        follow()
        asked = OverallocationRequest.objects.get()
        assert (asked.device, asked.state, asked.decided_by) == (SECOND, "denied", "policy")
        assert asked.reason == "The plan includes no further address."
        assert asked.holder.service_ref == line.public_id
        assert relay.renews(SECOND, walled.address, "barre-1/1").kind == NAK
        assert relay.gets(SECOND, "barre-1/1") is None, "denied is no lease at all"

        AddressEntitlement.objects.update(policy="grant_and_charge", most_extra_addresses=1)
        follow()
        assert ExtraAddress.objects.get().device == SECOND
        extra = relay.gets(SECOND, "barre-1/1")
        held = Allocation.objects.get(device=SECOND, state="active", counts=True)
        assert f"{extra.address}/32" == held.address
        assert relay.renews(ROUTER, first.address, "barre-1/1").kind == ACK

        overallocation.end_extra(extra_id=ExtraAddress.objects.get().pk, at=timezone.now())
        AddressEntitlement.objects.update(policy="ask_subscriber")
        follow()
        assert relay.renews(SECOND, extra.address, "barre-1/1").kind == NAK
        walled = relay.gets(SECOND, "barre-1/1")
        time.sleep(1.01)
        relay.renews(ROUTER, first.address, "barre-1/1")
        relay.renews(SECOND, walled.address, "barre-1/1")
        follow()
        asked = OverallocationRequest.objects.get(state="pending")
        overallocation.accept(request_id=asked.public_id, actor=ada.users.get(), at=timezone.now())
        follow()
        assert relay.renews(SECOND, walled.address, "barre-1/1").kind == NAK
        again = relay.gets(SECOND, "barre-1/1")
        assert again.address == extra.address, "sticky, as everywhere"


def refusals(folder: Path) -> int:
    """How many devices Kea has refused, by its own count."""
    asked = {"command": "statistic-get", "arguments": {"name": "v4-allocation-fail-classes"}}
    with socket.socket(socket.AF_UNIX) as control:
        control.connect(str(folder / "kea4.socket"))
        control.sendall(json.dumps(asked).encode())
        control.shutdown(socket.SHUT_WR)
        answer: Any = json.loads(b"".join(iter(lambda: control.recv(65_536), b"")))
    return int(answer["arguments"]["v4-allocation-fail-classes"][0][0])
