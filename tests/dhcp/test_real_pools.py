"""The real Kea is told of pools while it runs, says how full they are, and gives them back."""

from __future__ import annotations

from pathlib import Path

import pytest

from ipam.servers.base import NotLiveYet, Range, RangeInUse, Refused, ServerAway, Use
from ipam.servers.kea import Kea, Place
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
            log_file=str(folder / "kea.log"),
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
    with kea.cable() as interface, kea.server(tmp_path, interface, kea_url):
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
    with kea.cable() as interface, kea.server(tmp_path, interface, kea_url):
        assert told.confirm(INSIDE) < 3, "what it was told before it was started again"
        told.add_range(ELSEWHERE)
        assert told.confirm(ELSEWHERE) < 3
