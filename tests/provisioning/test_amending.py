"""Changing an order that is under way: its day, its plan, its products; and when it is too late."""

from datetime import datetime, timedelta
from functools import partial

import pytest

from ipam.models import AddressHolder
from ispops.errors import InvalidInput, Refusal
from ispops.models import Event
from ispops.parties.models import AuditEntry, Subscriber, User
from provisioning import amending, execution, orders, outside, partner_orders, statements
from provisioning.amending import TooLateToAmend
from provisioning.models import OrderTask, ProductOrder, Service, ServiceOrder
from provisioning.placing import OnlyForStaff, SubscriberNotInGoodStanding
from qualification.models import AccessPort
from qualification.qualify import OfferNotQualified
from tests import factories
from tests.provisioning import ground, later
from tests.small_isp import SmallIsp, place

DAY = timedelta(days=1)


@pytest.fixture
def line(isp: SmallIsp, ada: Subscriber, at: datetime) -> Service:
    later.faster(isp)
    return factories.live_line(isp, ada, at=at)


def amend(order: ProductOrder, at: datetime, **wanted: object) -> ProductOrder:
    return amending.amend_order(order_id=order.pk, actor=None, reason="", at=at, **wanted)  # type: ignore[arg-type]


def another_day(order: ProductOrder, day: datetime | None, at: datetime) -> ProductOrder:
    return amending.reschedule_order(
        order_id=order.pk, wanted_from=day, actor=None, reason="", at=at
    )


def work(order: ProductOrder, at: datetime) -> str:
    factories.work(at=at)
    order.refresh_from_db()
    return order.state


def test_a_restricted_account_amends_nothing_into_something_new(
    isp: SmallIsp, ada: Subscriber, line: Service, at: datetime
) -> None:
    """What it could not order, it does not get by an order that was placed before."""
    new = factories.order(ada, isp.oak_1, "fibre-500", at=at)
    moved = later.move(line, place("3 OAK ST"), at)
    Subscriber.objects.update(standing="restricted")
    with pytest.raises(SubscriberNotInGoodStanding):
        amend(new, at, offering_codes=["fibre-1000"])
    with pytest.raises(SubscriberNotInGoodStanding):
        amend(moved, at, plan_code="fibre-1000")
    assert new.items.get().offering == isp.fast


class TestAnotherDay:
    def test_nobody_waits_behind_a_step_of_another_day(
        self, isp: SmallIsp, ada: Subscriber, at: datetime
    ) -> None:
        order = factories.order(ada, isp.oak_1, "fibre-500", at=at)
        ready, parked = order.tasks.filter(state="ready").order_by("pk")[:2]
        OrderTask.objects.filter(pk=ready.pk).update(system="dhcp:1")
        OrderTask.objects.filter(pk=parked.pk).update(
            state="fallout", cause="internal_error", next_attempt_at=None
        )
        day = at + 30 * DAY
        for task in (ready, parked):
            execution.move_to(task=task, begins_at=day, due_at=day, at=at)
            task.refresh_from_db()
            assert (task.begins_at, task.system) == (day, "")
        assert (ready.next_attempt_at, parked.state) == (day, "fallout")
        outside.let_come([ready], at, per_second=1)
        ready.refresh_from_db()
        assert ready.next_attempt_at == day

    def test_later_and_at_once(self, line: Service, at: datetime) -> None:
        order = later.change(line, at, plan_code="fibre-1000", wanted_from=at + DAY)
        order = another_day(order, at + 3 * DAY, at)
        assert (order.state, order.expected_at) == (
            "pending", at + 3 * DAY + timedelta(minutes=15)
        )  # fmt: skip
        assert work(order, at + 2 * DAY) == "pending"
        order = another_day(order, None, at + 2 * DAY)
        assert ground.step(order, "change_service").begins_at is None
        assert work(order, at + 2 * DAY) == "completed"
        assert later.periods(line)[-1][2] == at + 2 * DAY
        assert AuditEntry.objects.filter(action="order.amended").count() == 2
        assert Event.objects.filter(kind="order.amended", subject=order.public_id).count() == 2

    def test_of_a_new_line_only_the_switch_waits(
        self, isp: SmallIsp, ada: Subscriber, at: datetime
    ) -> None:
        order = factories.order(ada, isp.oak_1, "fibre-500", at=at)
        order = another_day(order, at + 20 * DAY, at)
        assert order.expected_at == at + 20 * DAY
        assert work(order, at) == "in_progress"
        assert ground.states(order)["go_live"] == "ready"
        assert work(order, at + 20 * DAY) == "completed"

    def test_of_a_move_the_end_of_the_old_line_keeps_its_day(
        self, line: Service, at: datetime
    ) -> None:
        order = later.move(line, place("3 OAK ST"), at, old_line_until=at + 30 * DAY)
        order = another_day(order, at + 9 * DAY, at)
        assert ground.step(order, "cease_service").begins_at == at + 30 * DAY
        assert ground.step(order, "go_live").begins_at == at + 9 * DAY

    def test_a_worker_that_was_at_it_comes_too_late(self, line: Service, at: datetime) -> None:
        order = later.change(line, at, plan_code="fibre-1000")
        task = ground.step(order, "change_service")
        taken = execution._take(partial(statements.due_task, task.pk), at=at, limit=1)
        assert taken is not None
        another_day(order, at + DAY, at)
        with pytest.raises(execution._NotMine):
            execution._perform(taken, at=at)
        line.refresh_from_db()
        assert line.offering.code == "fibre-500"
        assert work(order, at + DAY) == "completed"

    def test_the_same_day_changes_nothing(self, line: Service, at: datetime) -> None:
        order = later.cease(line, at, wanted_from=at + DAY)
        before = ground.rows()
        another_day(order, at + DAY, at)
        assert ground.rows() == before


class TestOtherProducts:
    def test_of_a_new_line(self, isp: SmallIsp, ada: Subscriber, at: datetime) -> None:
        """The partner's product is called back, and the port is still there."""
        AccessPort.objects.filter(node=isp.fibre_node).exclude(number=1).delete()
        order = factories.order(ada, isp.oak_1, "fibre-and-films", at=at)
        execution.run_due(at=at, limit=9)
        order = amend(order, at, offering_codes=["fibre-500"])
        assert list(order.items.values_list("action", "offering__code")) == [("add", "fibre-500")]
        assert ServiceOrder.objects.get().state == "cancelled"
        assert order.tasks.filter(item=None, state="cancelled").count() == 6
        assert work(order, at) == "completed"
        line = Service.objects.get(state="active")
        assert AccessPort.objects.get().service_ref == line.public_id
        assert AddressHolder.objects.get(service_ref=line.public_id).ended_at is None
        assert Service.objects.filter(state="ceased").count() == 2

    def test_of_a_change(self, isp: SmallIsp, line: Service, at: datetime) -> None:
        order = later.change(line, at, plan_code="fibre-1000", add=["films-streaming"])
        execution.run_due(at=at, limit=9)
        order = amend(order, at, plan_code="fibre-and-films")
        actions = set(order.items.values_list("action", "offering__code"))
        assert actions == {("modify", "fibre-500"), ("add", "films-streaming")}
        assert work(order, at) == "completed"
        line.refresh_from_db()
        assert line.bundle == isp.bundle
        assert ServiceOrder.objects.filter(state="completed").count() == 1

    def test_of_a_move(self, isp: SmallIsp, line: Service, at: datetime) -> None:
        order = later.move(line, place("3 OAK ST"), at, old_line_until=at + 30 * DAY)
        order = amend(order, at, plan_code="fibre-1000", add=["films-streaming"])
        assert ground.states(order)["cease_service"] in {"cancelled", "pending"}
        work(order, at)
        new = Service.objects.get(state="active", offering__code="fibre-1000")
        assert new.carried.get().offering == isp.streaming
        assert work(order, at + 30 * DAY) == "completed"
        line.refresh_from_db()
        assert line.state == "ceased"

    def test_out_of_the_fallout(self, isp: SmallIsp, line: Service, at: datetime) -> None:
        order = later.change(line, at, plan_code="fibre-and-films")
        execution.run_due(at=at, limit=9)

        asked = ServiceOrder.objects.get(state="acknowledged")
        partner_orders.fail(service_order_id=asked.pk, partner=asked.partner, reason="No", at=at)
        assert work(order, at) == "held"
        order = amend(order, at, plan_code="fibre-1000")
        assert order.state == "in_progress"
        assert work(order, at) == "completed"


class TestRefusals:
    def test_a_refused_amendment_leaves_the_order_as_it_was(
        self, line: Service, at: datetime
    ) -> None:
        order = later.change(line, at, plan_code="fibre-1000")
        before = ground.rows()
        for wanted, why in (
            ({"plan_code": "dsl-25"}, Refusal),
            ({"plan_code": "fibre-office"}, OfferNotQualified),
            ({}, InvalidInput),
        ):
            with pytest.raises(why):
                amend(order, at, **wanted)
        with pytest.raises(InvalidInput):
            another_day(order, at - DAY, at)
        assert ground.rows() == before
        assert work(order, at) == "completed"

    def test_too_late(self, line: Service, otto: User, at: datetime) -> None:
        done = later.change(line, at, plan_code="fibre-1000")
        work(done, at)
        taken_back = later.cease(line, at, wanted_from=at + DAY)
        orders.cancel_order(order_id=taken_back.pk, actor=otto, reason="No", at=at)
        for order in (done, taken_back):
            with pytest.raises(TooLateToAmend):
                another_day(order, at + 2 * DAY, at)
        with pytest.raises(TooLateToAmend):
            amend(done, at, plan_code="fibre-500")

    def test_what_has_no_products(self, line: Service, at: datetime) -> None:
        order = later.cease(line, at, wanted_from=at + DAY)
        with pytest.raises(InvalidInput, match="Cancel it"):
            amend(order, at, plan_code="fibre-1000")

    def test_what_we_ordered_is_ours(self, line: Service, ada: Subscriber, at: datetime) -> None:
        order = later.suspend(line, at, "abuse", wanted_from=at + DAY)
        user = ada.users.get()
        with pytest.raises(OnlyForStaff):
            amending.reschedule_order(
                order_id=order.pk, wanted_from=at + 9 * DAY, actor=user, reason="", at=at
            )
        with pytest.raises(OnlyForStaff):
            orders.cancel_order(order_id=order.pk, actor=user, reason="No", at=at)
