"""The real Kea is told of pools while it runs, says how full they are, and gives them back."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path

import psycopg2
import pytest
from django.utils import timezone

from ipam import allocation, block_steps, blocks, growing, kea_servers, policies, sampling
from ipam.models import Block, BlockRequest, KeaServer, Pool
from ipam.servers import kea_backend
from ipam.servers.base import NotLiveYet, Position, Range, RangeInUse, Refused, ServerAway, Use
from ipam.servers.kea import Kea, Place
from ispops.network import kea as network
from provisioning import lease_following
from tests import databases
from tests.dhcp import kea, relay

pytestmark = [pytest.mark.daemon, pytest.mark.xdist_group("processes")]
INSIDE = Range(7, "100.127.9.64/29", 32, "leased")
GARDEN = Range(8, "100.127.9.192/26", 32, "walled_garden")
ELSEWHERE = Range(9, "100.127.10.0/28", 32, "leased")
FIRST, SECOND = "02:00:00:00:00:01", "02:00:00:00:00:02"


def adapter(folder: Path, url: str) -> Kea:
    return Kea(
        Place(
            family=4,
            control_socket=str(folder / "kea4.socket"),
            config_url=url,
            server_tag="all",
            subnet_id=1,
            subnet=kea.SUBNET,
            shared_network="fibre",
            lease_file=str(folder / "kea-leases4.csv"),
            log_file=str(folder / "kea4.log"),
        )
    )


def know(url: str, *devices: str, subnet: int = 1) -> None:
    """Let devices be known to Kea, without an address of their own."""
    for device in devices:
        databases.execute(
            "INSERT INTO hosts (dhcp_identifier, dhcp_identifier_type, dhcp4_subnet_id)"
            f" VALUES (decode('{device.replace(':', '')}', 'hex'), 0, {subnet})",
            url,
        )


def test_a_pool_comes_is_used_and_goes_while_kea_runs(kea_url: str, tmp_path: Path) -> None:
    told = adapter(tmp_path, kea_url)
    with kea.server(tmp_path, kea_url):
        with pytest.raises(NotLiveYet):
            told.confirm(INSIDE, seconds=0)
        for each in (INSIDE, GARDEN, INSIDE):
            told.add_range(each)
            assert told.confirm(each) < 3
        know(kea_url, FIRST)
        assert relay.gets(SECOND) is None, "a device that is not known gets nothing"
        assert told.refused() == Refused(strangers=1, full=0)
        given = relay.gets(FIRST)
        assert given is not None
        assert given.address == "100.127.9.65"
        assert told.utilisation([INSIDE, GARDEN]) == [Use(INSIDE, 6, 1), Use(GARDEN, 62, 0)]
        with pytest.raises(RangeInUse, match=FIRST):
            told.remove_range(INSIDE)
        told.add_range(ELSEWHERE)
        assert told.confirm(ELSEWHERE) < 3
        assert told.utilisation([ELSEWHERE]) == [Use(ELSEWHERE, 14, 0)]
        told.remove_range(ELSEWHERE)
        told.remove_range(ELSEWHERE)
        assert told.confirm(ELSEWHERE, present=False) < 3
        assert told.utilisation([ELSEWHERE]) == []
    for say in (told.add_range, told.confirm):
        with pytest.raises(ServerAway):
            say(ELSEWHERE)
    with kea.server(tmp_path, kea_url):
        assert told.confirm(INSIDE) < 3, "what it was told before it was started again"
        told.add_range(ELSEWHERE)
        assert told.confirm(ELSEWHERE) < 3


def a_town_of(told: Kea) -> Pool:
    """The pool of that range in our own rows, with a parent that has room, and by this Kea."""
    at, place = timezone.now(), told.place
    top = blocks.create_block(network="100.127.8.0/21", tier=Block.Tier.ALLOCATION, at=at)
    block = blocks.create_block(network=INSIDE.network, tier=Block.Tier.POOL, parent=top, at=at)
    server = allocation.create_server(name="fibre-dhcp", kind="dhcp", secret="s" * 16)
    pool = blocks.create_pool(
        name="town", server=server, block=block, purpose=INSIDE.purpose, at=at
    )
    policies.set_policy(
        pool=pool, decision="automatic", least_days=None, threshold_percent=90, at=at
    )
    kea_servers.connect_kea(
        server=server, control_socket=place.control_socket, config_url=place.config_url,
        subnet=place.subnet, shared_network=place.shared_network, lease_file=place.lease_file,
        log_file=place.log_file, at=at,
    )  # fmt: skip
    return pool


def test_a_full_pool_gets_a_further_block_within_three_seconds(
    db: None, kea_url: str, tmp_path: Path
) -> None:
    """By the sweeps alone: counted, asked for, granted, cut, told, seen there and given out."""
    told = adapter(tmp_path, kea_url)
    pool = a_town_of(told)

    def serve() -> int:
        return network.exchanges(
            4, kea.NAMESPACE, devices=12, a_second=100, first_mac="02:00:00:00:00:00"
        )

    with kea.server(tmp_path, kea_url) as running:
        lease_following.follow_due(at=timezone.now())
        told.confirm(INSIDE)
        know(kea_url, *(f"02:00:00:00:00:{number:02x}" for number in range(12)))
        assert growing.watch(at=timezone.now()) == 0, "nothing is in use yet"
        assert (serve(), told.utilisation([INSIDE])) == (6, [Use(INSIDE, total=6, assigned=6)])
        assert told.refused() == Refused(strangers=0, full=6)

        full = time.monotonic()
        assert sampling.hear(at=timezone.now()) == 1
        assert growing.watch(at=timezone.now()) == 1
        # Looked into twice, cut and told; a start in the middle loses nothing.
        assert block_steps.go_on_due(at=timezone.now(), limit=4) == 4
        assert BlockRequest.objects.get().state == "pushed"
        running.kill()
        running.start()
        with pytest.raises(RangeInUse):
            told.remove_range(INSIDE)
        block_steps.go_on_due(at=timezone.now())
        request = BlockRequest.objects.get()
        assert (request.state, request.decided_by) == ("confirmed", "policy"), request.last_error
        made = Pool.objects.select_related("block").get(grown_from=pool)
        given = relay.gets("02:00:00:00:00:0b")
        assert given is not None
        assert ip_address(given.address) in ip_network(str(made.block.network))
        assert time.monotonic() - full < 3
        assert serve() == 12, "the devices that were refused have one now"

        sampling.hear(at=timezone.now())
        assert (pool.report.assigned, made.report.assigned) == (6, 6)
        assert growing.watch(at=timezone.now()) == 0
        lease_following.follow_due(at=timezone.now())
        heard = KeaServer.objects.get()
        assert (heard.last_error, heard.leases_to > 0) == ("", True)
        seen, position = told.leases(Position(), limit=100)
        assert f"{given.address}/32" in {lease.address for lease in seen}
        assert told.leases(position, limit=100) == ([], position)


def test_a_database_that_is_away_is_a_transient_fault(tmp_path: Path) -> None:
    away = adapter(tmp_path, "postgresql://isp:hush@127.0.0.1:1/kea")
    with pytest.raises(ServerAway, match="refused") as fault:
        away.add_range(INSIDE)
    assert "hush" not in str(fault.value)


def test_a_database_that_has_stopped_is_hung_up_on(
    kea_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No time-out of its own would ever come from a server that has stopped."""
    monkeypatch.setattr(kea_backend, "HANG_UP_SECONDS", 2.0)
    subnet = kea_backend.Subnet(1, kea.SUBNET, "", "all")
    with closing(psycopg2.connect(kea_url)) as other, other.cursor() as cursor:
        other.rollback()
        other.autocommit = True  # what is running is shown as it was at the first look otherwise
        cursor.execute("SELECT pg_advisory_lock(%s)", [kea_backend._TURN])

        def stop() -> int:
            for _ in range(500):
                cursor.execute(
                    "SELECT pid FROM pg_stat_activity WHERE application_name = 'isp-ops'"
                    " AND wait_event = 'advisory' AND datname = current_database()"
                )
                if found := cursor.fetchone():
                    os.kill(found[0], signal.SIGSTOP)
                    return int(found[0])
                time.sleep(0.01)
            raise AssertionError("nobody waits")

        with ThreadPoolExecutor(1) as pool:
            stopped = pool.submit(stop)
            began = time.monotonic()
            try:
                with pytest.raises(ServerAway, match="Kea's database"):
                    kea_backend.add(kea_url, subnet, kea_backend.Pool("100.127.9.65", "", ""))
                assert 1 < time.monotonic() - began < 10
            finally:
                os.kill(stopped.result(timeout=5), signal.SIGCONT)


def test_prefixes_are_delegated_by_dhcpv6(kea_url: str, tmp_path: Path) -> None:
    prefixes = Range(11, "2001:db8:100::/54", 56, "prefix")
    further = replace(prefixes, number=12, network="2001:db8:200::/55")
    place = adapter(tmp_path, "").place
    told = Kea(
        replace(
            place,
            family=6,
            control_socket=str(tmp_path / "kea6.socket"),
            subnet=network.SUBNET[6],
            shared_network="",
            lease_file=str(tmp_path / "kea-leases6.csv"),
        )
    )
    with kea.server(tmp_path, kea_url, family=6):
        told.add_range(prefixes)
        told.confirm(prefixes)
        served = network.exchanges(
            6, kea.NAMESPACE, devices=6, a_second=100, first_mac="02:00:00:00:00:00"
        )
        assert (served, told.refused().full) == (4, 2)
        told.add_range(further)
        told.confirm(further)
        uses = told.utilisation([prefixes, further])
        assert uses == [Use(prefixes, total=4, assigned=4), Use(further, total=2, assigned=0)]
        told.remove_range(further)
        told.confirm(further, present=False)
        leases, _ = told.leases(Position(), limit=100)
        assert {lease.address for lease in leases} == {
            f"2001:db8:100:{number}00::/56" if number else "2001:db8:100::/56"
            for number in range(4)
        }
