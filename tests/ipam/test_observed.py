"""What a server gave by its own choice: whatever it writes down, the history knows who had it."""

from __future__ import annotations

from datetime import datetime

import pytest

from ipam import allocation, observed, queries
from ipam.models import AllocationHistory, KeaServer, Pool
from ipam.servers.base import Lease, Position
from tests.ipam.ground import NOON, Isp, Purpose, a_pool, after, an_isp, mac

pytestmark = pytest.mark.django_db


@pytest.fixture
def isp() -> Isp:
    return an_isp()


@pytest.fixture
def kea(isp: Isp) -> KeaServer:
    server = allocation.create_server(name="kea", kind="dhcp", secret="x" * 20)
    a_pool("10.20.0.0/24", server=server, purpose=Purpose.LEASED)
    return KeaServer.objects.create(
        server=server, control_socket="/x", subnet="10.20.0.0/24", lease_file="/x"
    )


def read(isp: Isp, kea: KeaServer, at: datetime, *found: tuple[str, datetime]) -> None:
    """Record leases of an hour of these devices, in the order of the file."""
    kea.refresh_from_db()
    before = Position(kea.leases_in, kea.leases_to)
    seen = [
        observed.Seen(isp.service, Lease("10.20.0.5/32", device, "port-1", ends_at, 3_600))
        for device, ends_at in found
    ]
    observed.record_leases(
        kea=kea, before=before, after=Position(1, before.offset + 1), seen=seen, at=at
    )


def holder_at(at: datetime) -> str:
    stay = queries.who_had("10.20.0.5", at)
    return stay.device if stay else ""


@pytest.mark.parametrize(
    "device", ["00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff", ":".join(["ab"] * 200), "", "\x01"]
)
def test_a_device_that_nobody_can_be_does_not_stop_the_others(
    isp: Isp, kea: KeaServer, device: str
) -> None:
    read(isp, kea, NOON, (device, after(hours=1)), (mac(2), after(hours=1)))
    assert holder_at(after(minutes=1)) == mac(2)


@pytest.mark.parametrize("state", [Pool.State.DRAINING, Pool.State.PENDING])
def test_what_a_pool_gave_that_gives_no_more_is_known(
    isp: Isp, kea: KeaServer, state: Pool.State
) -> None:
    Pool.objects.filter(server=kea.server).update(state=state)
    read(isp, kea, NOON, (mac(1), after(hours=1)))
    assert holder_at(after(minutes=1)) == mac(1)


def test_leases_that_ended_before_they_were_read_are_known(isp: Isp, kea: KeaServer) -> None:
    """The workers were down for a day; meanwhile one device renewed once, and another followed."""
    leases = [
        (mac(1), after(hours=1)), (mac(1), after(hours=1.5)), (mac(2), after(hours=4)),
    ]  # fmt: skip
    read(isp, kea, after(days=1), *leases)
    held = {minute: holder_at(after(minutes=minute)) for minute in (1, 70, 100, 190, 250)}
    assert held == {1: mac(1), 70: mac(1), 100: "", 190: mac(2), 250: ""}
    read(isp, kea, after(days=1), *leases)
    assert AllocationHistory.objects.count() == 3
    assert not AllocationHistory.objects.filter(held_to=None).exists()
