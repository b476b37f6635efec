"""Addresses follow sessions: freed when one has stopped, and never another's while one may run."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.conf import settings

from ipam import allocation, overallocation, sampling, selection
from ipam import sessions as ipam_sessions
from ipam.models import AddressServer, Allocation, AllocationHistory, PoolSample
from ispops.parties.models import Subscriber
from provisioning import sessions
from provisioning.models import AccessSession, Service
from tests import factories
from tests.provisioning import online
from tests.small_isp import SmallIsp

MINUTE = timedelta(minutes=1)
ONE, TWO = "02:00:00:00:00:01", "02:00:00:00:00:02"


@pytest.fixture
def line(isp: SmallIsp, ada: Subscriber, at: datetime) -> Service:
    return factories.live_line(isp, ada, at=at)


@pytest.fixture
def server(at: datetime) -> AddressServer:
    return factories.address_server(at=at)


class Device:
    """A device of a line, with what its address server asks and tells for it."""

    def __init__(self, name: str, line: Service, server: AddressServer) -> None:
        self.name, self.line, self.server = name, line, server
        self.address: str | None = None

    def asks(self, at: datetime) -> str:
        answer = allocation.request_addresses(
            service_ref=self.line.public_id, device=self.name, server=self.server, at=at
        )
        self.address = answer.ipv4
        return str(answer.outcome)

    def tells(self, kind: str, session: str, *, at: datetime, age: int = 0) -> None:
        online.told(
            self.server, self.line, kind, at=at, age=age, session=session,
            Calling_Station_Id=self.name, Framed_IP_Address=self.address,
        )  # fmt: skip
        sessions.follow_accounting(at=at)

    @property
    def row(self) -> Allocation:
        return Allocation.objects.get(device=self.name, address=f"{self.address}/32")


@pytest.fixture
def one(line: Service, server: AddressServer, at: datetime) -> Device:
    device = Device(ONE, line, server)
    assert device.asks(at) == "granted"
    return device


@pytest.fixture
def two(line: Service, server: AddressServer) -> Device:
    return Device(TWO, line, server)


def ends(one: Device, at: datetime) -> bool:
    """Whether the device's session is to be ended."""
    factories.deliver_events(at=at)
    return AccessSession.objects.get(framed_ip=one.address).must_end


class TestWhatIsTakenBack:
    def test_a_freed_device_is_cut_and_its_address_waits_for_that(
        self, one: Device, at: datetime
    ) -> None:
        one.tells("Start", "s-1", at=at)
        freed = at + MINUTE
        allocation.free_device(service_ref=one.line.public_id, device=ONE, at=freed)
        assert ends(one, freed)
        # Nobody hears of its end: the longest time is that of the lease.
        assert one.row.expires_at == at + settings.ADDRESS_LEASE
        stopped = at + 5 * MINUTE
        one.tells("Stop", "s-1", at=stopped, age=300)
        assert one.row.expires_at == stopped + one.row.pool.quarantine

    def test_so_is_a_device_whose_extra_address_has_ended(
        self, one: Device, two: Device, ada: Subscriber, at: datetime
    ) -> None:
        two.asks(at)
        request = overallocation.OverallocationRequest.objects.get()
        overallocation.accept(request_id=request.pk, actor=ada.users.get(), at=at)
        two.asks(at)
        two.tells("Start", "s-2", at=at)
        extra = overallocation.ExtraAddress.objects.get()
        overallocation.end_extra(extra_id=extra.pk, at=at + MINUTE)
        assert ends(two, at + MINUTE)
        assert two.row.expires_at == at + settings.ADDRESS_LEASE

    def test_a_session_first_heard_of_afterwards_is_cut_too(
        self, one: Device, at: datetime
    ) -> None:
        allocation.free_device(service_ref=one.line.public_id, device=ONE, at=at + MINUTE)
        one.tells("Start", "s-1", at=at + 2 * MINUTE, age=120)
        assert AccessSession.objects.get().must_end


class TestWhatHasStopped:
    def test_its_place_in_the_plan_is_free_and_its_address_rests_for_it(
        self, one: Device, two: Device, at: datetime
    ) -> None:
        one.tells("Start", "s-1", at=at)
        one.tells("Stop", "s-1", at=at + MINUTE, age=60)
        assert one.row.expires_at == at + settings.ADDRESS_LEASE
        stay = AllocationHistory.objects.get(address=f"{one.address}/32")
        assert (stay.held_to, stay.ended_because) == (at + MINUTE, "session_ended")
        assert two.asks(at + 30 * MINUTE) == "granted"
        assert two.address != one.address
        # Its rest is not taken for a stay.
        at += timedelta(hours=2)
        sampling.sample(at=at)
        look = PoolSample.objects.get(pool=one.row.pool, grain=PoolSample.Grain.MOMENT)
        assert (look.held, look.resting, look.peak) == (1, 1, 1)

    def test_a_stop_that_comes_late_leaves_the_next_session_alone(
        self, one: Device, at: datetime
    ) -> None:
        one.tells("Start", "s-1", at=at)
        one.tells("Start", "s-2", at=at + 2 * MINUTE)
        one.tells("Stop", "s-1", at=at + MINUTE, age=60)
        assert one.row.state == "active"

    def test_so_does_one_of_before_the_lease_began_anew(self, one: Device, at: datetime) -> None:
        again = at + timedelta(hours=13)
        one.asks(again)
        one.tells("Stop", "s-1", at=again - MINUTE, age=60)
        assert one.row.state == "active"

    def test_one_that_is_told_of_another_address_takes_nothing(
        self, one: Device, at: datetime
    ) -> None:
        one.address = "192.0.2.250"
        one.tells("Stop", "s-1", at=at + MINUTE, age=60)
        assert Allocation.objects.get(family=4).state == "active"

    def test_a_session_that_was_let_in_meanwhile_has_the_address_again(
        self, one: Device, at: datetime
    ) -> None:
        """It was let in without a word being written, before the stop of the last one was read."""
        one.tells("Start", "s-1", at=at)
        one.tells("Stop", "s-1", at=at + MINUTE, age=60)
        one.tells("Start", "s-2", at=at + 2 * MINUTE)
        assert (one.row.state, one.row.expires_at) == ("active", at + settings.ADDRESS_LEASE)
        stays = AllocationHistory.objects.filter(address=f"{one.address}/32").order_by("held_from")
        spans = [(stay.held_from, stay.held_to) for stay in stays]
        assert spans == [(at, at + MINUTE), (at + 2 * MINUTE, None)]
        assert not AccessSession.objects.filter(must_end=True).exists()

    def test_but_not_in_the_plan_where_another_device_took_the_place(
        self, one: Device, two: Device, at: datetime
    ) -> None:
        one.tells("Start", "s-1", at=at)
        one.tells("Stop", "s-1", at=at + MINUTE, age=60)
        assert two.asks(at + 2 * MINUTE) == "granted"
        began = at + 3 * MINUTE
        one.tells("Start", "s-2", at=began)
        counted = Allocation.objects.filter(state="active", counts=True)
        assert set(counted.values_list("device", flat=True)) == {selection.normalise_device(TWO)}
        assert AccessSession.objects.get(must_end=True).session_id == "s-2"
        # Until it is cut, the history says who has the address.
        stays = AllocationHistory.objects.filter(address=f"{one.address}/32", held_to=None)
        assert [(stay.device, stay.held_from) for stay in stays] == [
            (selection.normalise_device(ONE), began)
        ]
        one.tells("Stop", "s-2", at=began + MINUTE, age=60)
        assert one.row.state == "quarantined"
        assert not stays.all().exists()

    def test_that_device_is_asked_about_as_any_other(
        self, one: Device, two: Device, at: datetime
    ) -> None:
        one.tells("Stop", "s-1", at=at + MINUTE, age=60)
        two.asks(at + 2 * MINUTE)
        one.tells("Start", "s-2", at=at + 3 * MINUTE)
        in_the_plan = one.address
        assert one.asks(at + 4 * MINUTE) == "walled_garden"
        assert one.address != in_the_plan
        # The place is free again: it is let in when it asks next, with the address it had.
        allocation.free_device(service_ref=two.line.public_id, device=TWO, at=at + 5 * MINUTE)
        assert one.asks(at + 6 * MINUTE) == "granted"
        assert one.address == in_the_plan
        request = overallocation.OverallocationRequest.objects.get()
        assert (request.state, request.decided_by) == ("denied", "not_needed")

    def test_a_line_whose_devices_come_and_go_does_not_empty_the_pool(
        self, line: Service, server: AddressServer, at: datetime, monkeypatch: Any
    ) -> None:
        monkeypatch.setattr(ipam_sessions, "MOST_RESTING", 2)
        outcomes = []
        for number in range(3):
            device = Device(f"02:00:00:00:00:{number:02}", line, server)
            outcomes.append(device.asks(at))
            if device.address:
                device.tells("Stop", f"s-{number}", at=at + MINUTE, age=60)
        assert outcomes == ["granted", "granted", "walled_garden"]
        assert Allocation.objects.filter(state="quarantined").count() == 2
