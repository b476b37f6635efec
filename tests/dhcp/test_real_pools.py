"""The real Kea is told of pools while it runs, says how full they are, and gives them back."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from ipam.servers.base import NotLiveYet, Position, Range, RangeInUse, Refused, ServerAway, Use
from ipam.servers.kea import Kea, Place
from ispops.network import kea as network
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


def test_a_full_pool_gets_a_further_block_within_three_seconds(
    kea_url: str, tmp_path: Path
) -> None:
    told = adapter(tmp_path, kea_url)
    with kea.server(tmp_path, kea_url) as running:
        told.add_range(INSIDE)
        told.confirm(INSIDE)
        know(kea_url, *(f"02:00:00:00:00:{number:02x}" for number in range(12)))
        served = network.exchanges(
            4, kea.NAMESPACE, devices=12, a_second=100, first_mac="02:00:00:00:00:00"
        )
        assert (served, told.utilisation([INSIDE])) == (6, [Use(INSIDE, total=6, assigned=6)])
        assert told.refused() == Refused(strangers=0, full=6)
        full = time.monotonic()
        told.add_range(ELSEWHERE)
        running.kill()
        running.start()
        with pytest.raises(RangeInUse):
            told.remove_range(INSIDE)
        told.confirm(ELSEWHERE)
        given = relay.gets("02:00:00:00:00:0b")
        assert given is not None
        assert given.address.startswith("100.127.10."), "a start in the middle loses nothing"
        assert time.monotonic() - full < 3
        heard, position = told.refusals(Position(), limit=100)
        assert heard == [], "the log of now is that of after the start"
        seen, position = told.leases(Position(), limit=100)
        assert [lease.address for lease in seen][-1] == f"{given.address}/32"
        assert told.leases(position, limit=100) == ([], position)


def test_a_database_that_is_away_is_a_transient_fault(tmp_path: Path) -> None:
    away = adapter(tmp_path, "postgresql://isp:hush@127.0.0.1:1/kea")
    with pytest.raises(ServerAway, match="refused") as fault:
        away.add_range(INSIDE)
    assert "hush" not in str(fault.value)


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
