"""What faces read: progress in plain words, lines, who is online, whose name is whose."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from pytest_django import DjangoAssertNumQueries

from ipam.models import AddressServer
from ispops.parties.models import Subscriber
from provisioning import execution, orders, partner_orders, plan, queries, services, sessions
from provisioning.accounting import record_accounting
from provisioning.models import OrderTask, ProductOrder, Service, ServiceOrder
from tests import factories
from tests.provisioning import ground
from tests.small_isp import SmallIsp


def told(order: ProductOrder) -> list[tuple[str, str]]:
    fresh = ProductOrder.objects.get(pk=order.pk)
    return [(step.words, step.status) for step in queries.order_progress(fresh)]


class TestProgress:
    @pytest.fixture
    def order(self, isp: SmallIsp, ada: Subscriber, at: datetime) -> ProductOrder:
        return factories.order(ada, isp.oak_1, "dsl-25", "films-streaming", at=at)

    def test_before_anything_was_done(self, order: ProductOrder) -> None:
        assert told(order) == [
            ("Reserve your place in the access network", "In progress"),
            ("Set aside your internet addresses", "In progress"),
            ("Create your network login", "In progress"),
            ("Order the line from Old Copper", "Comes after the steps above"),
            ("Set up Films", "Comes after the steps above"),
            ("Switch your line on", "Comes after the steps above"),
            ("Send you a welcome message", "Comes after the steps above"),
        ]

    def test_while_partners_are_waited_for(self, order: ProductOrder, at: datetime) -> None:
        execution.run_due(at=at, limit=10)
        assert dict(told(order))["Order the line from Old Copper"] == "Waiting for Old Copper"
        factories.confirm_partner_orders(at=at)
        factories.deliver_events(at=at)
        execution.run_due(at=at, limit=10)
        assert dict(told(order))["Set up Films"] == "Waiting for Films"

    def test_when_something_went_wrong(self, order: ProductOrder, at: datetime) -> None:
        execution.run_due(at=at, limit=10)
        asked = ServiceOrder.objects.get()
        partner_orders.fail(
            service_order_id=asked.pk, partner=asked.partner, reason="No pair", at=at
        )
        factories.deliver_events(at=at)
        assert dict(told(order))["Order the line from Old Copper"] == (
            "Takes longer: one of us is looking into it"
        )

    def test_when_it_is_done(self, order: ProductOrder, at: datetime) -> None:
        factories.work(at=at)
        assert {status for _, status in told(order)} == {"Done"}
        order.refresh_from_db()
        steps = queries.order_progress(order)
        assert all(step.is_finished and step.finished_at == at for step in steps)
        assert all(step.expected_at is None for step in steps)

    def test_when_it_was_cancelled(
        self, order: ProductOrder, ada: Subscriber, at: datetime
    ) -> None:
        orders.cancel_order(order_id=order.pk, actor=ada.users.get(), reason="Moved", at=at)
        assert {status for _, status in told(order)} == {"Cancelled"}

    def test_when_to_expect_it(self, order: ProductOrder, at: datetime) -> None:
        """A line comes by the promised date; a product by the time its partner has to answer."""
        execution.run_due(at=at, limit=10)
        factories.confirm_partner_orders(at=at)
        factories.deliver_events(at=at)
        execution.run_due(at=at, limit=10)
        granting = ServiceOrder.objects.get(kind="entitlement")
        fresh = ProductOrder.objects.get(pk=order.pk)
        expected = {step.kind: step.expected_at for step in queries.order_progress(fresh)}
        assert expected["order_line"] is None
        assert expected["grant_entitlement"] == granting.answer_by
        assert expected["go_live"] == order.expected_at == at + timedelta(days=10)

    def test_every_kind_and_state_has_words(self) -> None:
        kinds = {value for name, value in vars(plan).items() if name.isupper() and
                 isinstance(value, str)}  # fmt: skip
        assert queries._WORDS.keys() == kinds
        assert queries._STATUS.keys() == set(OrderTask.State) - {OrderTask.State.AWAITING}

    def test_an_order_that_was_read_with_its_work_costs_nothing(
        self, order: ProductOrder, ada: Subscriber, django_assert_num_queries: Any, at: datetime
    ) -> None:
        execution.run_due(at=at, limit=10)
        read = list(queries.orders_of_user(ada.users.get()))
        with django_assert_num_queries(0):
            assert len(queries.order_progress(read[0])) == 7


class TestLines:
    def test_of_a_subscriber(
        self,
        isp: SmallIsp,
        ada: Subscriber,
        at: datetime,
        django_assert_num_queries: DjangoAssertNumQueries,
    ) -> None:
        line = factories.live_line(isp, ada, "films-streaming", at=at)
        factories.live_line(isp, factories.subscriber(at=at, name="Bob"), at=at)
        with django_assert_num_queries(2):
            (found,) = queries.lines_of(ada)
            assert found == line
            assert (found.offering.provider, found.premises) == (isp.fibre, isp.oak_1)
            assert found.credential.enabled
            assert [carried.offering for carried in found.carried.all()] == [isp.streaming]

    def test_what_has_ended_is_history(self, isp: SmallIsp, ada: Subscriber, at: datetime) -> None:
        line = factories.live_line(isp, ada, at=at)
        services.cease(service=line, at=at)
        assert list(queries.lines_of(ada)) == []
        assert list(queries.lines_of(ada, with_ceased=True)) == [line]


class TestOnline:
    @pytest.fixture
    def line(self, isp: SmallIsp, ada: Subscriber, at: datetime) -> Service:
        return factories.live_line(isp, ada, at=at)

    def heard(
        self, server: AddressServer, line: Service, kind: str, at: datetime, **more: Any
    ) -> None:
        record_accounting(
            server=server,
            attributes={
                "Acct-Status-Type": kind,
                "Acct-Session-Id": "s1",
                "User-Name": line.credential.username,
                "Framed-IP-Address": "100.64.0.7",
                "NAS-IP-Address": "10.0.0.1",
                "Calling-Station-Id": "AA-BB-CC-00-11-22",
                **more,
            },
            received_at=at,
        )
        sessions.follow_accounting(at=at)

    def test_never_heard_of(self, line: Service, at: datetime) -> None:
        assert queries.online(line, at) == queries.Online(is_online=False, last_heard_at=None)

    def test_in_use(self, line: Service, radius_server: AddressServer, at: datetime) -> None:
        self.heard(radius_server, line, "Interim-Update", at, **{"Acct-Session-Time": 3600})
        assert queries.online(line, at) == queries.Online(
            is_online=True,
            last_heard_at=at,
            since=at - timedelta(hours=1),
            ip="100.64.0.7",
            device="AA-BB-CC-00-11-22",
            nas_ip="10.0.0.1",
        )

    def test_switched_off(self, line: Service, radius_server: AddressServer, at: datetime) -> None:
        self.heard(radius_server, line, "Start", at)
        self.heard(radius_server, line, "Stop", at)
        assert not queries.online(line, at).is_online
        assert queries.online(line, at).last_heard_at == at

    def test_silent(self, line: Service, radius_server: AddressServer, at: datetime) -> None:
        self.heard(radius_server, line, "Start", at)
        late = at + queries.SILENT_AFTER
        assert queries.online(line, late - timedelta(seconds=1)).is_online
        assert not queries.online(line, late).is_online

    def test_others_say_nothing_of_it(
        self, isp: SmallIsp, line: Service, radius_server: AddressServer, at: datetime
    ) -> None:
        other = factories.live_line(isp, factories.subscriber(at=at, name="Bob"), at=at)
        self.heard(radius_server, other, "Start", at)
        self.heard(radius_server, line, "Accounting-On", at)
        assert not queries.online(line, at).is_online


def test_the_fallout_queue(isp: SmallIsp, ada: Subscriber, at: datetime) -> None:
    order = factories.order(ada, isp.oak_1, "fibre-and-films", at=at)
    execution.run_due(at=at, limit=10)
    assert list(queries.fallout()) == []
    asked = ServiceOrder.objects.get()
    partner_orders.time_out_due(at=asked.answer_by)
    factories.deliver_events(at=asked.answer_by)
    assert list(queries.fallout()) == [ground.step(order, "grant_entitlement")]
