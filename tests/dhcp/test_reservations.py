"""Lines that get their addresses by DHCP: their orders, what Kea is told, and what goes wrong."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from ipam.models import Allocation
from ispops.errors import InvalidInput, TransientFault
from ispops.parties.models import AuditEntry, Subscriber, User
from provisioning import dhcp_telling, execution, fallout, orders, reservations, suspending
from provisioning.models import DhcpReservation, DhcpServer, OrderTask, OutsideSystem, Service
from provisioning.network import kea
from tests import factories
from tests.provisioning import ground
from tests.small_isp import SmallIsp

Hosts = Callable[[], list[dict[str, Any]]]
FIRST, MAC = "100.127.9.", "02:00:00:00:00:09"


@pytest.fixture
def line(isp: SmallIsp, ada: Subscriber, dhcp: DhcpServer, at: datetime) -> Service:
    return factories.live_line(isp, ada, at=at)


def held(line: Service) -> DhcpReservation:
    return DhcpReservation.objects.get(service=line)


def order_of(line: Service) -> Any:
    return line.subscriber.orders.latest("placed_at")


def suspended(line: Service, treatment: str, user: User, at: datetime) -> Any:
    order = suspending.suspend_line(
        line=line, reason="abuse", treatment=treatment, channel="csr", placed_by=user,
        idempotency_key=f"suspend-{treatment}", at=at,
    )  # fmt: skip
    factories.work(at=at)
    return order


def resumed(line: Service, user: User, at: datetime) -> None:
    suspending.resume_line(
        line=line, reason="abuse", channel="csr", placed_by=user,
        idempotency_key=f"resume-{at}", at=at,
    )  # fmt: skip
    factories.work(at=at)


def ceased(line: Service, user: User, at: datetime) -> Any:
    order = suspending.cease_line(
        line=line, channel="csr", placed_by=user, idempotency_key="cease", at=at
    )
    factories.work(at=at)
    return order


class TestNewLine:
    def test_it_has_its_address_when_it_is_live(self, line: Service, hosts: Hosts) -> None:
        row, address = hosts()[0], Allocation.objects.get()
        assert (row["identifier"], row["type"], row["subnet"]) == (b"barre-1/1", 2, 1)
        assert address.address == f"{row['address']}/32"
        assert address.holder.service_ref == line.public_id
        assert address.device == "barre-1/1"
        assert line.public_id in row["context"]
        task = OrderTask.objects.get(kind="reserve_in_dhcp")
        done = ground.last_try(task)
        assert done.request["identifier"] == "barre-1/1"
        assert done.detail == f"barre-1/1 gets {row['address']} from fibre-dhcp."
        assert OutsideSystem.objects.get().name == "DHCP server fibre-dhcp"

    def test_its_device_is_served_when_all_else_is_done(
        self, isp: SmallIsp, ada: Subscriber, dhcp: DhcpServer, at: datetime, hosts: Hosts
    ) -> None:
        order = factories.order(ada, isp.oak_1, isp.bundle.code, at=at)
        factories.work(at=at, answer_partners=False)
        assert ground.states(order)["reserve_in_dhcp"] == "pending"
        assert hosts() == []
        factories.work(at=at)
        assert len(hosts()) == 1
        kinds = list(ground.states(order))
        assert kinds.index("go_live") == kinds.index("reserve_in_dhcp") + 1

    def test_the_address_is_kept_without_being_asked_for(self, line: Service, at: datetime) -> None:
        from ipam import allocation

        assert allocation.expire_due(at=at + timedelta(days=3_650)) == 0
        assert Allocation.objects.filter(state="active").count() == 1

    def test_other_networks_log_in_by_radius(
        self, isp: SmallIsp, ada: Subscriber, dhcp: DhcpServer, at: datetime, hosts: Hosts
    ) -> None:
        order = factories.order(ada, isp.oak_1, isp.dsl.code, at=at)
        factories.work(at=at)
        assert "reserve_in_dhcp" not in ground.states(order)
        assert hosts() == []

    def test_a_technology_of_its_own_comes_first(
        self, isp: SmallIsp, dhcp: DhcpServer, kea_url: str, at: datetime
    ) -> None:
        from ipam import allocation
        from provisioning import dhcp_servers

        other = dhcp_servers.connect_dhcp(
            address_server=allocation.create_server(name="own", kind="dhcp", secret="s" * 16),
            provider=isp.fibre, technology=isp.fast.technology, hosts_url=kea_url, at=at,
        )  # fmt: skip
        assert reservations.server_of(isp.fast) == other
        isp.fast.technology = 40
        assert reservations.server_of(isp.fast) == dhcp
        assert reservations.server_of(isp.dsl) is None


class TestLaterLife:
    def test_the_walled_garden_and_back(
        self, line: Service, otto: User, at: datetime, hosts: Hosts
    ) -> None:
        before = hosts()[0]["address"]
        order = suspended(line, "walled_garden", otto, at)
        assert list(ground.states(order).items()) == [
            ("suspend_service", "completed"), ("reserve_in_dhcp", "completed"),
            ("apply_to_session", "completed"),
        ]  # fmt: skip
        assert [(row["address"], row["classes"]) for row in hosts()] == [(None, "walled_garden")]
        resumed(line, otto, at)
        assert [(row["address"], row["classes"]) for row in hosts()] == [(before, None)]

    def test_a_blocked_line_is_not_served(
        self, line: Service, otto: User, at: datetime, hosts: Hosts
    ) -> None:
        before = hosts()
        suspended(line, "block", otto, at)
        assert hosts() == []
        assert Allocation.objects.get().state == "active", "the address is kept for it"
        resumed(line, otto, at)
        assert [row["address"] for row in hosts()] == [row["address"] for row in before]

    def test_a_line_that_ended_leaves_nothing(
        self, line: Service, otto: User, at: datetime, hosts: Hosts
    ) -> None:
        order = ceased(line, otto, at)
        assert hosts() == []
        assert ground.states(order)["release_in_dhcp"] == "completed"
        assert Allocation.objects.get().state == "quarantined"
        assert (held(line).access, held(line).device, held(line).address) == ("none", "", None)

    def test_its_subscriber_sees_its_address_and_does_not_free_it(
        self, line: Service, ada: Subscriber, hosts: Hosts, client: Client
    ) -> None:
        client.force_login(ada.users.get())
        page = client.get("/account/devices/")
        assert page.status_code == 200
        assert (hosts()[0]["address"] in page.text, "Free<" in page.text) == (True, False)
        device = Allocation.objects.get().device
        answer = client.post(f"/account/devices/{line.public_id}/{device}/free/")
        assert answer.status_code == 404
        assert Allocation.objects.get().state == "active"

    @pytest.mark.parametrize("before", ["", "block", "walled_garden"])
    def test_the_next_line_of_the_port_has_its_circuit(
        self,
        isp: SmallIsp,
        line: Service,
        otto: User,
        at: datetime,
        hosts: Hosts,
        before: str,
    ) -> None:
        old = hosts()[0]
        if before:
            suspended(line, before, otto, at)
        ceased(line, otto, at)
        bob = factories.subscriber(at=at, email="bob@example.com")
        factories.live_line(isp, bob, at=at)
        (new,) = hosts()
        assert new["identifier"] == old["identifier"]
        assert new["address"] != old["address"], "that one rests"

    def test_a_move_reserves_the_new_line_and_releases_the_old(
        self, isp: SmallIsp, line: Service, otto: User, at: datetime, hosts: Hosts
    ) -> None:
        from provisioning import moving
        from tests.small_isp import place

        suspended(line, "walled_garden", otto, at)
        there = place("3 OAK ST")
        order = moving.move_line(
            line=line, qualification=factories.qualified(there, at=at), channel="csr",
            placed_by=otto, idempotency_key="move", at=at,
        )  # fmt: skip
        factories.work(at=at)
        reservations.sync_due(at=at + timedelta(minutes=1), limit=10)
        assert ground.states(order)["release_in_dhcp"] == "completed"
        assert [(row["identifier"], row["classes"]) for row in hosts()] == [
            (b"barre-1/2", "walled_garden")
        ], "whoever is walled in stays so at the new place"


class TestTakenBack:
    def test_a_cancelled_order_is_undone_in_the_server(
        self, isp: SmallIsp, ada: Subscriber, dhcp: DhcpServer, otto: User, at: datetime,
        hosts: Hosts,
    ) -> None:  # fmt: skip
        order = factories.order(ada, isp.oak_1, isp.fast.code, at=at)
        while ground.states(order)["reserve_in_dhcp"] != "completed":
            assert execution.run_due(at=at, limit=1)
        assert len(hosts()) == 1
        orders.cancel_order(order_id=order.pk, actor=otto, reason="changed their mind", at=at)
        assert len(hosts()) == 1, "nothing outside is called in a transaction"
        later = at + timedelta(minutes=1)
        assert reservations.sync_due(at=later, limit=10) == 1
        assert hosts() == []
        assert reservations.sync_due(at=later, limit=10) == 0

    def test_it_is_tried_until_the_server_is_back(
        self, line: Service, dhcp: DhcpServer, at: datetime, hosts: Hosts, kea_url: str
    ) -> None:
        from provisioning import services

        DhcpServer.objects.update(hosts_url="postgresql://u@127.0.0.1:1/kea")
        services.cease(service=line, at=at)
        for minute in range(1, 4):
            reservations.sync_due(at=at + timedelta(minutes=minute), limit=10)
        row = held(line)
        assert row.attempts == 3
        assert "127.0.0.1" in row.last_error
        assert len(hosts()) == 1
        DhcpServer.objects.update(hosts_url=_encrypted(dhcp))
        reservations.sync_due(at=at + timedelta(hours=1), limit=10)
        assert hosts() == []
        assert held(line).last_error == ""


def _encrypted(server: DhcpServer) -> str:
    return server.hosts_url


class TestOutage:
    def test_orders_wait_and_are_delivered_when_it_is_back(
        self, isp: SmallIsp, ada: Subscriber, dhcp: DhcpServer, at: datetime, hosts: Hosts,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        def away(*_: object) -> None:
            raise TransientFault("Kea's database: it is away")

        order = factories.order(ada, isp.oak_1, isp.fast.code, at=at)
        with monkeypatch.context() as broken:
            broken.setattr(kea, "reserve", away)
            for minute in range(20):
                factories.work(at=at + timedelta(minutes=minute))
        task = ground.step(order, "reserve_in_dhcp")
        assert task.state == "ready", "no order fails for an outage"
        system = OutsideSystem.objects.get(key="dhcp:fibre-dhcp")
        assert system.open_until is not None
        assert system.last_error == "Kea's database: it is away"
        assert Service.objects.get().state == "reserved"
        factories.work(at=system.open_until + timedelta(hours=1))
        order.refresh_from_db()
        assert order.state == "completed"
        assert len(hosts()) == 1

    def test_what_changes_while_the_server_is_told_is_told_next(
        self, line: Service, otto: User, at: datetime, hosts: Hosts,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        from provisioning import services

        real = kea.reserve

        def slow(*asked: Any) -> Any:
            services.cease(service=line, at=at)
            return real(*asked)

        reservations.write_again(reservation_id=held(line).pk, actor=otto, at=at)
        with monkeypatch.context() as slowly:
            slowly.setattr(kea, "reserve", slow)
            assert reservations.sync_due(at=at, limit=1) == 1
        assert len(hosts()) == 1
        reservations.sync_due(at=at, limit=1)
        assert hosts() == []

    def test_who_comes_too_late_does_not_have_the_last_word(
        self, line: Service, otto: User, at: datetime, hosts: Hosts,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        """A worker that was stopped for minutes writes what held before a suspension."""
        real = kea.reserve

        def asleep(*asked: Any) -> Any:
            monkeypatch.undo()
            later = at + timedelta(minutes=10)
            suspended(line, "block", otto, later)
            assert hosts() == []
            return real(*asked)

        reservations.write_again(reservation_id=held(line).pk, actor=otto, at=at)
        monkeypatch.setattr(kea, "reserve", asleep)
        reservations.sync_due(at=at, limit=1)
        assert len(hosts()) == 1, "it has written over the suspension"
        reservations.sync_due(at=at + timedelta(minutes=11), limit=1)
        assert hosts() == []


class TestDevice:
    def test_without_a_circuit_a_person_names_it(
        self, isp: SmallIsp, ada: Subscriber, dhcp: DhcpServer, otto: User, at: datetime,
        hosts: Hosts,
    ) -> None:  # fmt: skip
        DhcpServer.objects.update(circuit_id="")
        order = factories.order(ada, isp.oak_1, isp.fast.code, at=at)
        factories.work(at=at)
        task = ground.step(order, "reserve_in_dhcp")
        assert (task.state, task.cause) == ("fallout", "dhcp_device_unknown")
        line = Service.objects.get()
        reservations.name_device(
            service=line, device="02-00-00-00-00-09", actor=otto, reason="read on its label", at=at
        )
        fallout.retry_task(task_id=task.pk, actor=otto, at=at)
        factories.work(at=at)
        order.refresh_from_db()
        assert order.state == "completed"
        (row,) = hosts()
        assert (row["type"], row["identifier"]) == (0, bytes.fromhex(MAC.replace(":", "")))
        entry = AuditEntry.objects.get(action="dhcp_reservation.device_named")
        assert entry.detail["device"] == MAC

    def test_another_device_takes_the_place_of_the_first(
        self, line: Service, otto: User, at: datetime, hosts: Hosts
    ) -> None:
        reservations.name_device(service=line, device=MAC, actor=otto, reason="new router", at=at)
        reservations.sync_due(at=at + timedelta(minutes=1), limit=5)
        assert [row["type"] for row in hosts()] == [0]
        assert Allocation.objects.filter(state="active").get().device == MAC
        reservations.name_device(service=line, device="", actor=otto, reason="back", at=at)
        reservations.sync_due(at=at + timedelta(minutes=2), limit=5)
        assert [row["identifier"] for row in hosts()] == [b"barre-1/1"]

    def test_two_lines_are_never_told_by_one_device(
        self, isp: SmallIsp, line: Service, otto: User, at: datetime, hosts: Hosts
    ) -> None:
        bob = factories.subscriber(at=at, email="bob@example.com")
        other = factories.live_line(isp, bob, at=at)
        reservations.name_device(service=line, device=MAC, actor=otto, reason="label", at=at)
        before = ground.rows()
        with pytest.raises(InvalidInput, match="Another line is told by") as refused:
            reservations.name_device(service=other, device=MAC, actor=otto, reason="label", at=at)
        assert refused.value.field == "device"
        assert ground.rows() == before

    @pytest.mark.parametrize(
        ("device", "reason", "field"),
        [
            ("ff:ff:ff:ff:ff:ff", "label", "device"),
            ("x" * 300, "label", "device"),
            ("käse", "label", "device"),
            (MAC, " ", "reason"),
        ],
    )
    def test_bad_input(
        self, line: Service, otto: User, at: datetime, device: str, reason: str, field: str
    ) -> None:
        before = ground.rows()
        with pytest.raises(InvalidInput) as refused:
            reservations.name_device(service=line, device=device, actor=otto, reason=reason, at=at)
        assert refused.value.field == field
        assert ground.rows() == before

    def test_a_full_pool_needs_a_person(
        self, isp: SmallIsp, ada: Subscriber, dhcp: DhcpServer, at: datetime
    ) -> None:
        from ipam.models import FreeExtent

        FreeExtent.objects.all().delete()
        order = factories.order(ada, isp.oak_1, isp.fast.code, at=at)
        factories.work(at=at)
        task = ground.step(order, "reserve_in_dhcp")
        assert (task.state, task.cause) == ("fallout", "dhcp_no_address")
        assert held(Service.objects.get()).access == "none"


def test_a_lost_database_is_written_anew(
    line: Service, otto: User, at: datetime, hosts: Hosts, kea_url: str
) -> None:
    from tests import databases

    before = [row["address"] for row in hosts()]
    databases.execute("DELETE FROM hosts", kea_url)
    assert reservations.sync_due(at=at, limit=5) == 0
    reservations.write_again(reservation_id=held(line).pk, actor=otto, at=at)
    assert reservations.sync_due(at=at, limit=5) == 1
    assert [row["address"] for row in hosts()] == before


def test_a_device_of_another_line_keeps_what_it_has(
    line: Service, otto: User, dhcp: DhcpServer, at: datetime, hosts: Hosts
) -> None:
    """At Eve's port a device calls itself as Ada's does, and Eve's plan has no place for it."""
    reservations.name_device(service=line, device=MAC, actor=otto, reason="label", at=at)
    reservations.sync_due(at=at + timedelta(minutes=30), limit=9)
    before = hosts()
    assert len(before) == 1
    for say in (dhcp_telling.wall_in, dhcp_telling.refuse):
        say(dhcp, line=f"svc_{'e' * 32}", device=MAC)
        assert hosts() == before
