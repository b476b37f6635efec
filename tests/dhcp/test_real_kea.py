"""The real Kea, in a network namespace of its own, serves what orders made of their lines."""

from __future__ import annotations

import json
import socket
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from ipam.models import Allocation
from ispops.parties.models import Subscriber, User
from provisioning import reservations, suspending, upkeep
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


def refusals(folder: Path) -> int:
    """How many devices Kea has refused, by its own count."""
    asked = {"command": "statistic-get", "arguments": {"name": "v4-allocation-fail-classes"}}
    with socket.socket(socket.AF_UNIX) as control:
        control.connect(str(folder / "kea4.socket"))
        control.sendall(json.dumps(asked).encode())
        control.shutdown(socket.SHUT_WR)
        answer: Any = json.loads(b"".join(iter(lambda: control.recv(65_536), b"")))
    return int(answer["arguments"]["v4-allocation-fail-classes"][0][0])
