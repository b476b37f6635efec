"""A subscriber comes in by a real access server, gets our address, and real bytes are accounted."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.radius import vpn
from tests.radius.conftest import Isp

pytestmark = [pytest.mark.daemon, pytest.mark.xdist_group("processes")]

PING_BYTES = 1_000
PINGS = 200


def ping(namespace: str, address: str) -> None:
    """Send so many packets through the tunnel, and hear each of them again."""
    vpn.run(
        "ip", "netns", "exec", namespace, "ping", "-q", "-c", str(PINGS), "-i", "0.005",
        "-s", str(PING_BYTES), "-W", "5", address,
    )  # fmt: skip


def test_from_the_tunnel_to_usage(isp: Isp, tmp_path: Path) -> None:
    if reason := vpn.missing():
        pytest.skip(f"ocserv and openconnect: {reason}")
    try:
        come_in(isp, tmp_path)
    except BaseException:
        for log in ("ocserv.log", "openconnect.log"):
            print(f"--- {log}", (tmp_path / log).read_text()[-4000:])
        raise


def come_in(isp: Isp, folder: Path) -> None:
    ports = {"auth_port": isp.radius.auth_port, "acct_port": isp.radius.acct_port}
    login = {"username": isp.username, "password": isp.password}
    leave(isp)
    with (
        vpn.namespace() as outside,
        vpn.access_server(folder, **ports) as pin,
        vpn.subscriber(folder, outside, pin=pin, **login) as given,
    ):
        isp.until(given.exists, "the subscriber is in", seconds=30)
        address = given.read_text().strip()
        held = isp.query(
            "SELECT host(address) FROM ipam_allocation WHERE family = 4 AND state = 'active' "
            "AND counts AND device = %s",
            vpn.THERE,
        )
        assert held == [(address,)]
        here = vpn.address_of_tunnel()
        assert here is not None
        ping(outside, here)

    def is_over() -> bool:
        isp.work()
        return "Stop" in kinds(isp)

    isp.until(is_over, "the session is over", seconds=30)
    assert kinds(isp)[0] == "Start"  # in which it says no address yet
    [(up, down)] = isp.query(
        "SELECT sum((u.attributes->>'upload_bytes')::bigint), "
        "sum((u.attributes->>'download_bytes')::bigint) FROM rating_usage u "
        "JOIN rating_meteredsession m ON u.event_id LIKE m.id || '/%%' "
        "WHERE host(m.framed_ip) = %s AND m.username = %s",
        address,
        isp.username,
    )
    sent = PINGS * PING_BYTES
    assert sent < up < 2 * sent
    assert sent < down < 2 * sent


def leave(isp: Isp) -> None:
    """Let the device of the other tests go, because the line has an address for one."""
    from django.utils import timezone

    from ipam import allocation
    from provisioning.models import Service

    with isp.stack.orm():
        line = Service.objects.get(credential__username=isp.username)
        allocation.release_address(
            service_ref=line.public_id, device="02:00:00:00:00:01", at=timezone.now(),
            because="left",
        )  # fmt: skip


def kinds(isp: Isp) -> list[str]:
    found = isp.query(
        "SELECT status_type FROM provisioning_accountingrecord WHERE calling_station_id = %s "
        "ORDER BY id",
        vpn.THERE,
    )
    return [kind for (kind,) in found]
