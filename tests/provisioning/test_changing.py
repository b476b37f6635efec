"""Changing what a line is and carries: items, the moment it counts from, refusals, repeats."""

from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest

from ipam.models import AddressHolder
from ispops.catalog import publishing
from ispops.catalog.models import ProductOffering
from ispops.errors import InvalidInput, Refusal
from ispops.parties.models import Subscriber, User
from provisioning import execution, fallout, orders
from provisioning.changing import OtherNetwork
from provisioning.composing import OfferingWithdrawn
from provisioning.models import ProductOrder, Service, ServiceOrder
from provisioning.placing import ChangeUnderWay, LineNotLive, OrderKeyReused
from qualification.models import AccessPort
from qualification.qualify import OfferNotQualified, QualificationExpired
from rating import line_choices
from tests import factories
from tests.provisioning import ground, later
from tests.provisioning.later import change, periods, speed
from tests.small_isp import SmallIsp

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


@pytest.fixture
def fast_1000(isp: SmallIsp) -> ProductOffering:
    return later.faster(isp)


@pytest.fixture
def line(isp: SmallIsp, fast_1000: ProductOffering, ada: Subscriber, at: datetime) -> Service:
    return factories.live_line(isp, ada, at=at)


def work(order: ProductOrder, at: datetime, **how: bool) -> str:
    factories.work(at=at, **how)
    order.refresh_from_db()
    return order.state


def items(order: ProductOrder) -> set[tuple[str, str]]:
    return set(order.items.values_list("action", "offering__code"))


class TestAnotherPlan:
    def test_up_at_once(self, line: Service, fast_1000: ProductOffering, at: datetime) -> None:
        order = change(line, at + HOUR, plan_code="fibre-1000")
        item = order.items.get()
        assert (item.action, item.offering, item.old_offering.code, item.service) == (
            "modify", fast_1000, "fibre-500", line
        )  # fmt: skip
        assert ground.states(order) == {
            "change_service": "ready", "apply_to_session": "pending"
        }  # fmt: skip
        assert work(order, at + HOUR) == "completed"
        assert periods(line) == [
            ("fibre-500", "active", at, at + HOUR),
            ("fibre-1000", "active", at + HOUR, None),
        ]
        assert speed(line) == (1_000_000, 1_000_000)
        assert AddressHolder.objects.get(service_ref=line.public_id).plan == fast_1000

    def test_down_at_the_next_period(self, line: Service, at: datetime) -> None:
        """It counts from the moment that was asked for, though the worker came seconds later."""
        work(change(line, at, plan_code="fibre-1000"), at)
        day = at + 10 * DAY
        order = change(line, at, plan_code="fibre-500", wanted_from=day)
        assert (order.state, order.expected_at > day) == ("pending", True)
        assert work(order, day - HOUR) == "pending"
        assert speed(line) == (1_000_000, 1_000_000)
        assert work(order, day + timedelta(seconds=9)) == "completed"
        assert [row[2:] for row in periods(line)][-2:] == [
            (at + timedelta(microseconds=1), day), (day, None)
        ]  # fmt: skip
        assert speed(line) == (500_000, 500_000)

    def test_what_comes_late_counts_from_when_it_came(self, line: Service, at: datetime) -> None:
        order = change(line, at, plan_code="fibre-1000", wanted_from=at + DAY)
        assert work(order, at + 2 * DAY) == "completed"
        assert periods(line)[-1][2] == at + 2 * DAY

    def test_a_full_node_does_not_matter_to_who_has_a_port(
        self, isp: SmallIsp, line: Service, at: datetime
    ) -> None:
        AccessPort.objects.filter(service_ref__isnull=True).update(
            service_ref="svc_other", taken_at=at
        ) if AccessPort.objects.filter(service_ref__isnull=True).count() == 1 else [
            AccessPort.objects.filter(pk=port.pk).update(service_ref=f"svc_{port.pk}", taken_at=at)
            for port in AccessPort.objects.filter(service_ref__isnull=True)
        ]
        order = change(line, at, plan_code="fibre-1000", add=["films-streaming"])
        assert order.items.get(action="modify").offer.reason_code == "no_free_port"
        assert work(order, at) == "completed"

    def test_a_paused_line_changes_and_stays_paused(self, line: Service, at: datetime) -> None:
        work(later.suspend(line, at + HOUR), at + HOUR)
        work(change(line, at + 2 * HOUR, plan_code="fibre-1000"), at + 2 * HOUR)
        assert [row[:2] for row in periods(line)] == [
            ("fibre-500", "active"), ("fibre-500", "suspended"), ("fibre-1000", "suspended")
        ]  # fmt: skip

    def test_another_network_changes_its_line_first(
        self, isp: SmallIsp, ada: Subscriber, at: datetime
    ) -> None:
        order = factories.order(ada, isp.oak_1, "dsl-6", at=at)
        factories.work(at=at)
        line = order.items.get().service
        assert line is not None
        order = change(line, at + DAY, plan_code="dsl-25")
        assert order.expected_at == at + 11 * DAY
        work(order, at + DAY, answer_partners=False)
        asked = ServiceOrder.objects.get(state="acknowledged")
        assert (asked.action, asked.offering.code, asked.service) == ("modify", "dsl-25", line)
        assert speed(line) == (6_000, 700)
        assert ground.states(order)["change_service"] == "pending"
        assert work(order, at + 2 * DAY) == "completed"
        assert speed(line) == (25_000, 3_000)
        assert periods(line)[-1][2] == at + 2 * DAY

    def test_a_change_that_is_cancelled_leaves_all_as_it_was(
        self, isp: SmallIsp, ada: Subscriber, otto: User, at: datetime
    ) -> None:
        factories.order(ada, isp.oak_1, "dsl-25", at=at)
        factories.work(at=at)
        line = Service.objects.get()
        order = change(line, at, plan_code="dsl-6")
        work(order, at, answer_partners=False)
        factories.confirm_partner_orders(at=at)
        orders.cancel_order(order_id=order.pk, actor=otto, reason="Mind changed", at=at)
        assert work(order, at) == "cancelled"
        assert ServiceOrder.objects.get(action="modify").state == "cancelled"
        assert ServiceOrder.objects.get(action="add").state == "completed"
        line.refresh_from_db()
        assert (line.state, line.offering) == ("active", isp.dsl)


class TestAggregatedPlans:
    def test_into_one(self, isp: SmallIsp, line: Service, at: datetime) -> None:
        order = change(line, at + HOUR, plan_code="fibre-and-films")
        assert items(order) == {("modify", "fibre-500"), ("add", "films-streaming")}
        assert work(order, at + HOUR, answer_partners=False) == "in_progress"
        line.refresh_from_db()
        assert line.bundle is None
        assert work(order, at + 2 * HOUR) == "completed"
        line.refresh_from_db()
        films = Service.objects.get(offering=isp.streaming)
        assert (line.bundle, films.bundle) == (isp.bundle, isp.bundle)
        assert films.periods.get().started_at == line.periods.latest("started_at").started_at
        assert line.periods.latest("started_at").bundle == isp.bundle

    def test_what_it_has_already_goes_on(self, isp: SmallIsp, line: Service, at: datetime) -> None:
        work(change(line, at, add=["films-streaming"]), at)
        order = change(line, at + DAY, plan_code="fibre-and-films")
        assert items(order) == {("modify", "fibre-500"), ("modify", "films-streaming")}
        assert work(order, at + DAY, answer_partners=False) == "completed"
        films = Service.objects.get(offering=isp.streaming)
        assert [row.bundle for row in films.periods.order_by("started_at")] == [None, isp.bundle]

    def test_out_of_one_ends_what_came_with_it(
        self, isp: SmallIsp, line: Service, at: datetime
    ) -> None:
        work(change(line, at, plan_code="fibre-and-films"), at)
        order = change(line, at + DAY, plan_code="fibre-1000")
        assert items(order) == {("modify", "fibre-1000"), ("delete", "films-streaming")}
        work(order, at + DAY)
        assert Service.objects.get(offering=isp.streaming).state == "ceased"
        assert ServiceOrder.objects.get(offering=isp.streaming).state == "cancelled"

    def test_or_keeps_it_by_itself(self, isp: SmallIsp, line: Service, at: datetime) -> None:
        work(change(line, at, plan_code="fibre-and-films"), at)
        order = change(line, at + DAY, plan_code="fibre-1000", add=["films-streaming"])
        assert items(order) == {("modify", "fibre-1000"), ("modify", "films-streaming")}
        work(order, at + DAY)
        films = Service.objects.get(offering=isp.streaming)
        assert (films.state, films.bundle) == ("active", None)


class TestProductsAndBoosts:
    def test_one_comes_and_goes(self, isp: SmallIsp, line: Service, at: datetime) -> None:
        order = change(line, at, add=["films-streaming"])
        assert items(order) == {("no_change", "fibre-500"), ("add", "films-streaming")}
        assert work(order, at) == "completed"
        order = change(line, at + DAY, remove=["films-streaming"], qualification=None)
        assert (order.qualification, items(order)) == (
            None, {("no_change", "fibre-500"), ("delete", "films-streaming")}
        )  # fmt: skip
        assert work(order, at + DAY) == "completed"
        films = Service.objects.get(offering=isp.streaming)
        assert periods(films) == [("films-streaming", "active", at, at + DAY)]
        assert len(periods(line)) == 1

    def test_one_that_was_passed_over_leaves_the_order_partial(
        self, isp: SmallIsp, line: Service, otto: User, at: datetime
    ) -> None:
        order = change(line, at, plan_code="fibre-1000", add=["films-streaming"])
        execution.run_due(at=at, limit=9)
        from provisioning import partner_orders

        asked = ServiceOrder.objects.get(state="acknowledged")
        partner_orders.fail(
            service_order_id=asked.pk, partner=asked.partner, reason="Sold out", at=at
        )
        factories.work(at=at)
        fallout.skip_task(
            task_id=ground.step(order, "grant_entitlement").pk, actor=otto, reason="Gone", at=at
        )
        assert work(order, at) == "partial"
        assert order.completed_at == at
        assert speed(line) == (1_000_000, 1_000_000)
        assert Service.objects.get(offering=isp.streaming).state == "ceased"

    def test_a_boost_makes_the_line_faster_until_it_goes(self, line: Service, at: datetime) -> None:
        later.boost()
        order = change(line, at, add=["boost"])
        assert "grant_entitlement" not in ground.states(order)
        assert work(order, at) == "completed"
        assert speed(line) == (700_000, 600_000)
        work(change(line, at + DAY, remove=["boost"], qualification=None), at + DAY)
        assert speed(line) == (500_000, 500_000)

    def test_the_line_must_have_the_speed_of_both(self, line: Service, at: datetime) -> None:
        later.boost()
        work(change(line, at, add=["boost"]), at)
        with pytest.raises(OfferNotQualified, match=r"1\.2 Gbit/s down"):
            change(line, at, plan_code="fibre-1000")
        order = change(line, at, plan_code="fibre-1000", remove=["boost"])
        work(order, at)
        assert speed(line) == (1_000_000, 1_000_000)
        with pytest.raises(OfferNotQualified):
            change(line, at, add=["boost"])


class TestRepeats:
    def test_the_same_key_is_the_same_order(self, line: Service, at: datetime) -> None:
        answer = factories.qualified(line.premises, at=at)
        wanted: dict[str, Any] = {
            "plan_code": "fibre-1000", "qualification": answer, "idempotency_key": "k"
        }  # fmt: skip
        first = change(line, at, **wanted)
        assert change(line, at, **wanted) == first
        factories.work(at=at)
        before = ground.rows()
        assert change(line, at + DAY * 90, **wanted) == first
        assert ground.rows() == before
        with pytest.raises(OrderKeyReused):
            change(line, at, **wanted | {"plan_code": "fibre-500"})


class TestRefusals:
    @pytest.mark.parametrize(
        ("wanted", "why", "words"),
        [
            ({}, InvalidInput, "nothing would change"),
            ({"plan_code": "fibre-500"}, InvalidInput, "nothing would change"),
            ({"plan_code": "nothing"}, InvalidInput, "There is no offering nothing"),
            ({"plan_code": "films-streaming"}, InvalidInput, "no internet plan"),
            ({"plan_code": "dsl-25"}, OtherNetwork, "Old Copper"),
            ({"plan_code": "fibre-office"}, OfferNotQualified, "businesses"),
            ({"add": ["fibre-1000"]}, InvalidInput, "is a plan"),
            ({"add": ["extra-address"]}, InvalidInput, "when a device asks"),
            ({"add": ["films-streaming"] * 2}, InvalidInput, "once"),
            ({"remove": ["films-streaming"]}, InvalidInput, "does not carry"),
            ({"plan_code": "fibre-1000", "qualification": None}, InvalidInput, "Check first"),
        ],
    )
    def test_what_makes_no_sense(
        self, line: Service, at: datetime, wanted: dict[str, Any], why: type[Refusal], words: str
    ) -> None:
        wanted.setdefault("qualification", factories.qualified(line.premises, at=at))
        before = ground.rows()
        with pytest.raises(why, match=words):
            change(line, at, **wanted)
        assert ground.rows() == before

    def test_a_part_of_the_plan_stays_with_it(self, line: Service, at: datetime) -> None:
        work(change(line, at, plan_code="fibre-and-films"), at)
        with pytest.raises(InvalidInput, match="is part of Fibre and films"):
            change(line, at, remove=["films-streaming"])
        with pytest.raises(InvalidInput, match="already, with its plan"):
            change(line, at, add=["films-streaming"])
        offered = factories.qualified(line.premises, at=at)
        choose = partial(line_choices.products, line, offered, line.subscriber.kind)
        assert "films-streaming" in choose().codes_to_add
        assert "films-streaming" not in choose(keeps_plan=True).codes_to_add

    def test_the_answer_is_old_or_of_elsewhere(
        self, isp: SmallIsp, line: Service, at: datetime
    ) -> None:
        old = factories.qualified(line.premises, at=at)
        with pytest.raises(QualificationExpired):
            change(line, old.expires_at, plan_code="fibre-1000", qualification=old)
        elsewhere = factories.qualified(isp.elm_1, at=at)
        with pytest.raises(InvalidInput, match="another address"):
            change(line, at, plan_code="fibre-1000", qualification=elsewhere)

    def test_withdrawn(self, line: Service, fast_1000: ProductOffering, at: datetime) -> None:
        answer = factories.qualified(line.premises, at=at)
        publishing.withdraw_offering(offering=fast_1000, at=at)
        with pytest.raises(OfferingWithdrawn):
            change(line, at, plan_code="fibre-1000", qualification=answer)

    def test_who_owes_may_have_less_and_not_more(
        self, line: Service, ada: Subscriber, at: datetime
    ) -> None:
        work(change(line, at, add=["films-streaming"]), at)
        Subscriber.objects.filter(pk=ada.pk).update(standing="restricted")
        with pytest.raises(orders.SubscriberNotInGoodStanding):
            change(line, at, plan_code="fibre-1000")
        assert change(line, at, remove=["films-streaming"], qualification=None)

    def test_a_product_that_stays_needs_more(
        self, isp: SmallIsp, ada: Subscriber, at: datetime
    ) -> None:
        factories.order(ada, isp.oak_1, "dsl-25", "films-streaming", at=at)
        factories.work(at=at)
        line = Service.objects.get(line__isnull=True)
        with pytest.raises(OfferNotQualified, match=r"Films needs 25 Mbit/s, which Dsl 6"):
            change(line, at, plan_code="dsl-6")
        order = change(line, at, plan_code="dsl-6", remove=["films-streaming"])
        assert work(order, at) == "completed"

    def test_one_at_a_time(self, line: Service, at: datetime) -> None:
        change(line, at, plan_code="fibre-1000", wanted_from=at + DAY)
        with pytest.raises(ChangeUnderWay, match="Change of plan"):
            change(line, at, add=["films-streaming"])

    def test_an_ended_line(self, line: Service, at: datetime) -> None:
        work(later.cease(line, at), at)
        with pytest.raises(LineNotLive, match="ceased"):
            change(line, at, plan_code="fibre-1000")


def test_a_kept_product_that_is_no_longer_sold_stays(
    isp: SmallIsp, line: Service, at: datetime
) -> None:
    work(change(line, at, add=["films-streaming"]), at)
    publishing.withdraw_offering(offering=isp.streaming, at=at + HOUR)
    order = change(line, at + DAY, plan_code="fibre-1000")
    assert items(order) == {("modify", "fibre-1000"), ("no_change", "films-streaming")}
    assert work(order, at + DAY) == "completed"
