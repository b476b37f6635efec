"""Pausing a line, letting it work again, and ending it: rows, periods, refusals, repeats."""

from datetime import datetime, timedelta

import pytest
from django.db import IntegrityError, connection, transaction

from ipam.models import AddressHolder
from ispops.errors import InvalidInput, Refusal
from ispops.models import Event
from ispops.parties.models import AuditEntry, Subscriber, User
from provisioning import amending, orders
from provisioning.models import AaaCredential, ProductOrder, Service, ServiceOrder
from provisioning.placing import ChangeUnderWay, LineNotLive, OrderKeyReused
from provisioning.suspending import AlreadySuspended, NotSuspended, OnlyForStaff
from qualification.models import AccessPort
from tests import factories
from tests.provisioning import ground, later
from tests.provisioning.later import cease, periods, resume, suspend
from tests.small_isp import SmallIsp

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


@pytest.fixture
def line(isp: SmallIsp, ada: Subscriber, at: datetime) -> Service:
    return factories.live_line(isp, ada, "films-streaming", at=at)


def treatment(line: Service) -> str:
    return AaaCredential.objects.get(service=line).treatment


def work(order: ProductOrder, at: datetime) -> str:
    factories.work(at=at)
    order.refresh_from_db()
    return order.state


class TestPausing:
    def test_it_is_paused_and_not_charged(self, line: Service, at: datetime) -> None:
        order = suspend(line, at + HOUR, note="Back in August")
        assert (order.intent, order.state, order.line) == ("suspend", "acknowledged", line)
        assert ground.states(order) == {
            "suspend_service": "ready", "apply_to_session": "pending"
        }  # fmt: skip
        assert work(order, at + HOUR) == "completed"
        line.refresh_from_db()
        assert (line.state, treatment(line)) == ("suspended", "block")
        assert periods(line) == [
            ("fibre-500", "active", at, at + HOUR),
            ("fibre-500", "suspended", at + HOUR, None),
        ]
        row = line.suspensions.get()
        assert (row.reason, row.treatment, row.note) == ("requested", "block", "Back in August")
        entry = AuditEntry.objects.get(subject=order.public_id)
        assert (entry.actor, entry.reason) == (line.subscriber.users.get(), "Back in August")
        placed = Event.objects.get(kind="order.placed", subject=order.public_id)
        assert placed.payload["intent"] == "suspend"

    def test_a_partner_s_product_goes_on(self, isp: SmallIsp, line: Service, at: datetime) -> None:
        work(suspend(line, at + HOUR), at + HOUR)
        assert Service.objects.get(offering=isp.streaming).state == "active"

    def test_the_walled_garden(self, line: Service, at: datetime) -> None:
        work(suspend(line, at, "non_payment", treatment="walled_garden"), at)
        assert treatment(line) == "walled_garden"
        work(suspend(line, at, "abuse"), at)
        assert treatment(line) == "block"

    def test_one_reason_is_lifted_and_the_other_stays(self, line: Service, at: datetime) -> None:
        work(suspend(line, at + HOUR, "non_payment", treatment="walled_garden"), at + HOUR)
        work(suspend(line, at + 2 * HOUR, "abuse"), at + 2 * HOUR)
        order = resume(line, at + 3 * HOUR, "abuse")
        assert work(order, at + 3 * HOUR) == "completed"
        line.refresh_from_db()
        assert (line.state, treatment(line)) == ("suspended", "walled_garden")
        assert "stays suspended" in ground.last_try(ground.step(order, "resume_service")).detail
        work(resume(line, at + 4 * HOUR, "non_payment"), at + 4 * HOUR)
        line.refresh_from_db()
        assert (line.state, treatment(line)) == ("active", "")
        assert [row[1:] for row in periods(line)] == [
            ("active", at, at + HOUR),
            ("suspended", at + HOUR, at + 4 * HOUR),
            ("active", at + 4 * HOUR, None),
        ]

    def test_a_boost_is_paused_with_its_line(
        self, isp: SmallIsp, ada: Subscriber, at: datetime
    ) -> None:
        addon = later.boost()
        line = factories.live_line(isp, ada, "boost", at=at)
        carried = Service.objects.get(offering=addon)
        assert later.speed(line) == (700_000, 600_000)
        work(suspend(line, at + HOUR), at + HOUR)
        work(resume(line, at + 2 * HOUR), at + 2 * HOUR)
        assert [row[1] for row in periods(carried)] == ["active", "suspended", "active"]
        assert later.speed(line) == (700_000, 600_000)

    def test_it_waits_for_its_moment(self, line: Service, at: datetime) -> None:
        order = suspend(line, at, wanted_from=at + DAY)
        assert order.state == "pending"
        assert work(order, at + DAY - HOUR) == "pending"
        line.refresh_from_db()
        assert line.state == "active"
        assert work(order, at + DAY) == "completed"
        line.refresh_from_db()
        assert line.state == "suspended"

    def test_it_does_not_wait_for_a_change(self, line: Service, at: datetime) -> None:
        cease(line, at, wanted_from=at + DAY)
        assert work(suspend(line, at), at) == "completed"


class TestRepeats:
    def test_the_same_key_is_the_same_order(self, line: Service, at: datetime) -> None:
        first = suspend(line, at, idempotency_key="k")
        assert suspend(line, at, idempotency_key="k") == first
        factories.work(at=at)
        before = ground.rows()
        assert suspend(line, at + HOUR, idempotency_key="k") == first
        assert ground.rows() == before

    def test_the_same_key_for_something_else(self, line: Service, at: datetime) -> None:
        suspend(line, at, idempotency_key="k")
        with pytest.raises(OrderKeyReused):
            suspend(line, at, idempotency_key="k", treatment="walled_garden")
        with pytest.raises(OrderKeyReused):
            cease(line, at, idempotency_key="k")


class TestRefusals:
    def refused(self, why: type[Refusal], field: str, line: Service, at: datetime,
                verb: object = suspend, **wanted: object) -> None:  # fmt: skip
        before = ground.rows()
        with pytest.raises(why) as refusal:
            verb(line, at, **wanted)  # type: ignore[operator]
        assert refusal.value.field == field
        assert ground.rows() == before

    def test_what_makes_no_sense(self, isp: SmallIsp, line: Service, at: datetime) -> None:
        self.refused(InvalidInput, "reason", line, at, reason="noise")
        self.refused(InvalidInput, "treatment", line, at, treatment="shout")
        self.refused(InvalidInput, "wanted_from", line, at, wanted_from=at - DAY)
        self.refused(InvalidInput, "wanted_from", line, at, wanted_from=at + 400 * DAY)
        self.refused(InvalidInput, "reason", line, at, note="x" * 301)
        self.refused(InvalidInput, "idempotency_key", line, at, idempotency_key="")
        films = Service.objects.get(offering=isp.streaming)
        self.refused(InvalidInput, "line", films, at)

    def test_twice(self, line: Service, at: datetime) -> None:
        suspend(line, at)
        self.refused(AlreadySuspended, "reason", line, at)
        factories.work(at=at)
        self.refused(AlreadySuspended, "reason", line, at)
        self.refused(NotSuspended, "reason", line, at, resume, reason="abuse")
        resume(line, at)
        self.refused(NotSuspended, "reason", line, at, resume)

    def test_a_subscriber_leaves_alone_what_we_did(
        self, line: Service, ada: Subscriber, otto: User, at: datetime
    ) -> None:
        user = ada.users.get()
        self.refused(OnlyForStaff, "", line, at, reason="abuse", placed_by=user)
        work(suspend(line, at, "abuse", placed_by=otto), at)
        self.refused(OnlyForStaff, "", line, at, resume, reason="abuse", placed_by=user)
        work(resume(line, at, "abuse", placed_by=otto), at)
        line.refresh_from_db()
        assert line.state == "active"

    def test_a_line_that_is_not_there(self, isp: SmallIsp, ada: Subscriber, at: datetime) -> None:
        new = factories.order(ada, isp.oak_1, "fibre-500", at=at).items.get().service
        assert new is not None
        self.refused(LineNotLive, "line", new, at)


class TestTheGuard:
    def test_a_line_with_an_open_suspension_is_not_active(
        self, line: Service, at: datetime
    ) -> None:
        """The database's own word, behind the verbs' backs."""
        work(suspend(line, at), at)
        with pytest.raises(IntegrityError, match="open suspension"), transaction.atomic():
            Service.objects.filter(pk=line.pk).update(state="active")
            with connection.cursor() as cursor:
                cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL DEFERRED")


class TestCeasing:
    def test_everything_is_free(self, isp: SmallIsp, line: Service, at: datetime) -> None:
        order = cease(line, at + DAY, reason="Moving abroad")
        actions = order.items.order_by("pk").values_list("offering__code", "action")
        assert list(actions) == [("fibre-500", "delete"), ("films-streaming", "delete")]
        assert work(order, at + DAY) == "completed"
        line.refresh_from_db()
        assert line.state == "ceased"
        assert periods(line) == [("fibre-500", "active", at, at + DAY)]
        assert Service.objects.get(offering=isp.streaming).state == "ceased"
        assert not AccessPort.objects.filter(service_ref=line.public_id).exists()
        assert AddressHolder.objects.get(service_ref=line.public_id).ended_at == at + DAY
        assert not AaaCredential.objects.get(service=line).enabled
        assert ServiceOrder.objects.get(offering=isp.streaming).state == "cancelled"

    def test_it_can_be_taken_back_until_its_day(
        self, line: Service, otto: User, at: datetime
    ) -> None:
        order = cease(line, at, wanted_from=at + DAY)
        orders.cancel_order(order_id=order.pk, actor=otto, reason="Stays after all", at=at + HOUR)
        assert work(order, at + 2 * DAY) == "cancelled"
        line.refresh_from_db()
        assert line.state == "active"
        assert AccessPort.objects.filter(service_ref=line.public_id).exists()
        assert not ServiceOrder.objects.filter(state="cancelled").exists()
        assert cease(line, at + 2 * DAY).state == "acknowledged"

    def test_what_we_ordered_is_for_us_to_take_back_or_move(
        self, line: Service, ada: Subscriber, otto: User, at: datetime
    ) -> None:
        user = ada.users.get()
        for placed_by in (otto, None):
            order = cease(line, at, wanted_from=at + DAY, placed_by=placed_by)
            with pytest.raises(OnlyForStaff, match="Please call us"):
                orders.cancel_order(order_id=order.pk, actor=user, reason="No", at=at)
            with pytest.raises(OnlyForStaff):
                amending.reschedule_order(
                    order_id=order.pk, wanted_from=at + 90 * DAY, actor=user, reason="", at=at
                )
            order.refresh_from_db()
            assert (order.state, order.wanted_from) == ("pending", at + DAY)
            orders.cancel_order(order_id=order.pk, actor=otto, reason="Paid", at=at)
        own = cease(line, at, wanted_from=at + DAY, placed_by=user)
        assert orders.cancel_order(order_id=own.pk, actor=user, reason="No", at=at).pk == own.pk

    def test_and_not_after_it(self, line: Service, otto: User, at: datetime) -> None:
        order = cease(line, at)
        work(order, at)
        with pytest.raises((orders.TooLateToCancel, Refusal)):
            orders.cancel_order(order_id=order.pk, actor=otto, reason="No", at=at)

    def test_one_change_at_a_time(self, line: Service, at: datetime) -> None:
        cease(line, at, wanted_from=at + DAY)
        with pytest.raises(ChangeUnderWay, match="End of the line"):
            cease(line, at)

    def test_a_suspended_line_ends_with_its_suspension(self, line: Service, at: datetime) -> None:
        work(suspend(line, at), at)
        work(cease(line, at + DAY), at + DAY)
        line.refresh_from_db()
        assert line.state == "ceased"
        assert line.suspensions.get().ended_at == at + DAY

    def test_what_waited_finds_nothing_left_to_do(self, line: Service, at: datetime) -> None:
        order = suspend(line, at, wanted_from=at + 2 * DAY)
        work(cease(line, at + DAY), at + DAY)
        assert work(order, at + 2 * DAY) == "completed"
        detail = ground.last_try(ground.step(order, "suspend_service")).detail
        assert detail == "The line has ended meanwhile."
