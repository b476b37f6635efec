"""What came of a technician's visit, and what the order makes of it."""

from datetime import UTC, datetime, timedelta

import pytest
from django.conf import settings

from ispops.errors import IllegalTransition, InvalidInput, NotFound
from ispops.models import Event
from ispops.notices.models import Notice
from ispops.parties.models import AuditEntry, Subscriber, User
from provisioning import fallout, jeopardy, orders, visit_results, visiting, visits, worklist
from provisioning.models import Appointment, InstallSlot, ProductOrder, Service
from provisioning.queries import order_progress
from tests import factories
from tests.provisioning import ground
from tests.provisioning.test_visits import choose, plan_week, taken, visit
from tests.small_isp import SmallIsp, place

# The visit that the step books.
BEGINS = datetime(2026, 5, 5, 17, tzinfo=UTC)
ENDS = BEGINS + timedelta(hours=4)


@pytest.fixture
def slots(isp: SmallIsp, at: datetime) -> list[InstallSlot]:
    return plan_week(at)


@pytest.fixture
def order(isp: SmallIsp, ada: Subscriber, slots: list[InstallSlot], at: datetime) -> ProductOrder:
    made = factories.order(ada, isp.oak_1, isp.fast.code, at=at)
    factories.work(at=at)
    return made


def done(order: ProductOrder, otto: User, at: datetime, note: str = "Connected.") -> Appointment:
    key = visit(order).pk
    return visit_results.complete_visit(visit_id=key, actor=otto, note=note, at=at)


def failed(
    order: ProductOrder, otto: User, at: datetime, failure: str = "nobody_home"
) -> Appointment:
    key = visit(order).pk
    return visit_results.fail_visit(
        visit_id=key, failure=failure, actor=otto, note="Rang twice.", at=at
    )


def letter(kind: str) -> Notice:
    return Notice.objects.get(kind=kind, channel="email")


class TestDone:
    def test_the_line_goes_live_when_the_technician_was_there(
        self, order: ProductOrder, otto: User, at: datetime
    ) -> None:
        assert ground.states(order)["install_visit"] == "awaiting"
        assert Service.objects.get(subscriber=order.subscriber).state == "reserved"

        done(order, otto, ENDS)
        factories.work(at=ENDS)

        order.refresh_from_db()
        assert order.state == "completed"
        assert Service.objects.get(subscriber=order.subscriber).state == "active"
        made = order.appointments.get()
        assert (made.state, made.closed_by, made.note) == ("done", otto, "Connected.")
        # The technician's time is gone.
        assert taken() == [1]
        assert AuditEntry.objects.get(action="visit.done").actor == otto
        assert not visiting.is_visited(order)
        with pytest.raises(visits.NoVisitNeeded):
            choose(order, InstallSlot.objects.latest("starts_at"), ENDS)

    def test_once_is_enough(self, order: ProductOrder, otto: User) -> None:
        key = done(order, otto, ENDS).pk
        before = ground.rows()
        again = visit_results.complete_visit(visit_id=key, actor=otto, note="Again.", at=ENDS)
        assert again.note == "Connected."
        assert ground.rows() == before
        with pytest.raises(IllegalTransition):
            visit_results.fail_visit(
                visit_id=key, failure="nobody_home", actor=otto, note="No.", at=ENDS
            )
        assert ground.rows() == before

    def test_it_may_be_sooner_than_planned(
        self, order: ProductOrder, otto: User, at: datetime
    ) -> None:
        done(order, otto, at)
        factories.work(at=at)
        order.refresh_from_db()
        assert order.state == "completed"

    def test_a_visit_before_the_order_came_to_it_is_not_waited_for(
        self, isp: SmallIsp, ada: Subscriber, slots: list[InstallSlot], otto: User, at: datetime
    ) -> None:
        order = factories.order(ada, isp.oak_1, isp.fast.code, at=at)
        choose(order, slots[4], at)
        done(order, otto, at)
        factories.work(at=at)
        order.refresh_from_db()
        assert order.state == "completed"
        assert order.appointments.count() == 1

    def test_what_cannot_be_said_is_refused_and_changes_nothing(
        self, order: ProductOrder, otto: User, at: datetime
    ) -> None:
        before = ground.rows()
        with pytest.raises(InvalidInput) as refused:
            done(order, otto, ENDS, note=" \0 ")
        assert refused.value.field == "note"
        with pytest.raises(InvalidInput) as refused:
            failed(order, otto, ENDS, failure="rain")
        assert refused.value.field == "failure"
        with pytest.raises(InvalidInput, match="has not begun"):
            failed(order, otto, BEGINS - timedelta(seconds=1))
        with pytest.raises(NotFound):
            visit_results.complete_visit(visit_id=order.pk, actor=otto, note="Ok.", at=at)
        assert ground.rows() == before


class TestFailed:
    def test_the_order_waits_for_another_time_and_the_subscriber_is_told(
        self, order: ProductOrder, slots: list[InstallSlot], ada: Subscriber, otto: User
    ) -> None:
        failed(order, otto, ENDS)
        factories.work(at=ENDS)

        order.refresh_from_db()
        assert (order.state, ground.states(order)["install_visit"]) == ("in_progress", "awaiting")
        assert visiting.awaits_visit(order)
        assert "nobody was at home. Please choose another time." in letter("needs_you").body
        # What staff note of people stays inside.
        assert "Rang twice" not in letter("needs_you").body

        later = slots[6]
        choose(order, later, ENDS, ada.users.get())
        assert visit(order).slot == later
        assert taken() == [1, 1]
        done(order, otto, later.ends_at)
        factories.work(at=later.ends_at)
        order.refresh_from_db()
        assert order.state == "completed"
        states = order.appointments.order_by("pk").values_list("state", flat=True)
        assert list(states) == ["failed", "done"]

    def test_work_that_was_not_possible_is_told_so(self, order: ProductOrder, otto: User) -> None:
        failed(order, otto, ENDS, "not_possible")
        factories.deliver_events(at=ENDS)
        assert "the work was not possible" in letter("needs_you").body

    def test_nobody_is_asked_who_has_chosen_meanwhile(
        self, order: ProductOrder, slots: list[InstallSlot], otto: User
    ) -> None:
        failed(order, otto, ENDS)
        choose(order, slots[6], ENDS)
        factories.deliver_events(at=ENDS)
        assert not Notice.objects.filter(kind="needs_you").exists()

    def test_an_order_in_wait_can_be_cancelled(
        self, order: ProductOrder, slots: list[InstallSlot], otto: User
    ) -> None:
        failed(order, otto, ENDS)
        orders.cancel_order(order_id=order.pk, actor=otto, reason="No.", at=ENDS)
        factories.work(at=ENDS)
        assert not Notice.objects.filter(kind__in=["needs_you", "visit_cancelled"]).exists()
        with pytest.raises(visits.NoVisitNeeded):
            choose(order, slots[6], ENDS)


class TestLate:
    def test_a_visit_that_nobody_closed_is_in_jeopardy(
        self, order: ProductOrder, at: datetime
    ) -> None:
        late = ENDS + settings.VISIT_CLOSED_WITHIN
        assert jeopardy.mark_late(at=late - timedelta(seconds=1)) == 0
        assert jeopardy.mark_late(at=late) == 1
        assert ground.step(order, "install_visit").in_jeopardy_at == late
        assert worklist.stuck(late + timedelta(days=9)) == []

    def test_another_time_is_another_date(
        self, order: ProductOrder, slots: list[InstallSlot], at: datetime
    ) -> None:
        late = ENDS + settings.VISIT_CLOSED_WITHIN
        jeopardy.mark_late(at=late)
        # The promise was five days; the last slot is after it.
        assert slots[-1].ends_at > order.expected_at
        choose(order, slots[-1], at)
        order.refresh_from_db()
        assert order.expected_at == slots[-1].ends_at
        step = ground.step(order, "install_visit")
        assert step.in_jeopardy_at is None
        assert step.due_at == slots[-1].ends_at + settings.VISIT_CLOSED_WITHIN
        assert jeopardy.mark_late(at=slots[-1].ends_at) == 0
        told = Event.objects.get(kind="order.rescheduled")
        assert told.payload["because"].startswith("Our technician comes on")

    def test_who_chooses_no_other_time_is_called_in_the_end(
        self, order: ProductOrder, otto: User
    ) -> None:
        failed(order, otto, ENDS)
        late = ENDS + settings.VISIT_CHOSEN_WITHIN
        assert jeopardy.mark_late(at=late - timedelta(seconds=1)) == 0
        assert jeopardy.mark_late(at=late) == 1


class TestWithout:
    def test_a_csr_lets_the_order_go_on(
        self, order: ProductOrder, otto: User, at: datetime
    ) -> None:
        with pytest.raises(InvalidInput):
            visit_results.go_without_visit(order_id=order.pk, actor=otto, reason=" ", at=at)
        visit_results.go_without_visit(
            order_id=order.pk, actor=otto, reason="The line was there.", at=at
        )
        factories.work(at=at)
        order.refresh_from_db()
        assert (order.state, ground.states(order)["install_visit"]) == ("completed", "skipped")
        assert taken() == []
        entry = AuditEntry.objects.get(action="visit.waived")
        assert (entry.actor, entry.reason) == (otto, "The line was there.")
        assert "13:00 to 17:00" in letter("visit_cancelled").subject
        assert not Notice.objects.filter(kind="needs_you").exists()
        with pytest.raises(visit_results.NoVisitAwaited):
            visit_results.go_without_visit(order_id=order.pk, actor=otto, reason="No.", at=at)

    def test_nobody_skips_it_as_if_it_had_failed(
        self, order: ProductOrder, otto: User, at: datetime
    ) -> None:
        task = ground.step(order, "install_visit")
        with pytest.raises(IllegalTransition):
            fallout.skip_task(task_id=task.pk, actor=otto, reason="No.", at=at)

    def test_a_booking_that_was_passed_over_is_not_waited_for(
        self, isp: SmallIsp, order: ProductOrder, otto: User, at: datetime
    ) -> None:
        InstallSlot.objects.filter(taken=0).delete()
        bob = factories.subscriber(at=at, email="bob@example.com")
        other = factories.order(bob, place("3 OAK ST"), isp.fast.code, at=at)
        factories.work(at=at)
        parked = ground.step(other, "book_visit")
        assert parked.cause == "no_free_visit"
        fallout.skip_task(task_id=parked.pk, actor=otto, reason="He was there today.", at=at)
        factories.work(at=at)
        other.refresh_from_db()
        assert other.state == "completed"


def test_whose_visit_was_cancelled_before_the_step_is_asked_for_a_time(
    isp: SmallIsp, ada: Subscriber, slots: list[InstallSlot], otto: User, at: datetime
) -> None:
    InstallSlot.objects.exclude(pk=slots[4].pk).update(withdrawn_at=at)
    bob = factories.subscriber(at=at, email="bob@example.com")
    other = factories.order(bob, place("3 OAK ST"), isp.fast.code, at=at)
    order = factories.order(ada, isp.oak_1, isp.fast.code, at=at)
    choose(order, slots[4], at)
    visits.cancel_visit(order_id=order.pk, actor=otto, reason="Ill.", at=at)
    choose(other, slots[4], at)
    factories.work(at=at)
    # Its line was made ready meanwhile, and the booking is passed over.
    parked = ground.step(order, "book_visit")
    assert parked.cause == "no_free_visit"
    fallout.skip_task(task_id=parked.pk, actor=otto, reason="He calls us.", at=at)
    factories.work(at=at)
    assert visiting.awaits_visit(order)
    assert "Please choose a time." in Notice.objects.get(kind="needs_you").body


def test_the_subscriber_reads_what_is_waited_for(order: ProductOrder) -> None:
    (step,) = [step for step in order_progress(order) if step.kind == "install_visit"]
    assert step.expected_at == ENDS + settings.VISIT_CLOSED_WITHIN
    assert (step.words, step.status) == ("Our technician connects your home", "Waits for the visit")
