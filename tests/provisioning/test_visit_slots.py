"""Changing the calendar of visits: other hours, other numbers, and nobody at all."""

from datetime import UTC, date, datetime, time, timedelta

import pytest

from ispops.errors import InvalidInput, NotFound
from ispops.models import Event
from ispops.notices.models import Notice
from ispops.parties.models import AuditEntry, Subscriber, User
from provisioning import visit_days, visit_slots, visiting, visits
from provisioning.models import InstallSlot, ProductOrder
from tests import factories
from tests.provisioning import ground
from tests.provisioning.test_visits import choose, plan_week, taken, visit
from tests.small_isp import SmallIsp, place

TUESDAY, WEDNESDAY = date(2026, 5, 5), date(2026, 5, 6)


@pytest.fixture
def slots(isp: SmallIsp, at: datetime) -> list[InstallSlot]:
    return plan_week(at, capacity=2)


@pytest.fixture
def order(isp: SmallIsp, ada: Subscriber, slots: list[InstallSlot], at: datetime) -> ProductOrder:
    made = factories.order(ada, isp.oak_1, isp.fast.code, at=at)
    factories.work(at=at)
    return made


@pytest.fixture
def other(isp: SmallIsp, order: ProductOrder, at: datetime) -> ProductOrder:
    """Bob's, at the same time as Ada's."""
    bob = factories.subscriber(at=at, name="Bob", email="bob@example.com")
    made = factories.order(bob, place("3 OAK ST"), isp.fast.code, at=at)
    factories.work(at=at)
    assert visit(made).slot == visit(order).slot
    return made


def change(slot: InstallSlot, otto: User, at: datetime, **other: object) -> InstallSlot:
    given = {"day": TUESDAY, "starts": time(13), "ends": time(17), "capacity": 2} | other
    return visit_slots.change_slot(slot_id=slot.pk, actor=otto, at=at, **given)  # type: ignore[arg-type]


def withdraw(slot: InstallSlot, otto: User, at: datetime) -> tuple[int, int]:
    return visit_slots.withdraw_slot(slot_id=slot.pk, actor=otto, reason="Ill.", at=at)


class TestChange:
    def test_other_hours_are_told_to_who_is_booked(
        self, order: ProductOrder, other: ProductOrder, otto: User, at: datetime
    ) -> None:
        slot = visit(order).slot
        change(slot, otto, at, day=WEDNESDAY, starts=time(9, 30))
        assert visiting.in_words(visit(order).slot) == "Wednesday 6 May, 9:30 to 17:00"
        assert Event.objects.filter(kind="visit.moved").count() == 2
        factories.deliver_events(at=at)
        told = Notice.objects.filter(kind="visit_booked", body__contains="6 May, 9:30 to 17:00")
        assert told.count() == 2
        entry = AuditEntry.objects.get(action="visit.slot_changed")
        assert entry.detail["was"]["starts_at"] == datetime(2026, 5, 5, 17, tzinfo=UTC).isoformat()
        assert ground.step(order, "install_visit").due_at == datetime(2026, 5, 6, 23, tzinfo=UTC)

    def test_another_number_is_nobody_s_news(
        self, order: ProductOrder, otto: User, at: datetime
    ) -> None:
        slot = change(visit(order).slot, otto, at, capacity=7)
        assert (slot.capacity, slot.taken) == (7, 1)
        assert not Event.objects.filter(kind="visit.moved").exists()

    def test_the_same_again_changes_nothing(
        self, order: ProductOrder, otto: User, at: datetime
    ) -> None:
        before = ground.rows()
        change(visit(order).slot, otto, at)
        assert ground.rows() == before

    def test_what_cannot_be_is_refused_at_the_field(
        self, order: ProductOrder, other: ProductOrder, slots: list[InstallSlot], otto: User,
        at: datetime,
    ) -> None:  # fmt: skip
        slot = visit(order).slot
        before = ground.rows()
        refusals: list[tuple[dict[str, object], str]] = [
            ({"capacity": 1}, "capacity"),
            ({"capacity": 501}, "capacity"),
            ({"day": date(2026, 5, 3)}, "day"),
            ({"day": date(2028, 5, 3)}, "day"),
            ({"starts": time(17)}, "ends"),
            ({"starts": time(7), "ends": time(11)}, "starts"),
        ]
        for wrong, field in refusals:
            with pytest.raises(InvalidInput) as refused:
                change(slot, otto, at, **wrong)
            assert refused.value.field == field, wrong
        with pytest.raises(InvalidInput, match="has begun"):
            change(slot, otto, slot.starts_at, capacity=3)
        with pytest.raises(NotFound):
            visit_slots.change_slot(
                slot_id=order.pk, day=TUESDAY, starts=time(1), ends=time(2), capacity=1,
                actor=otto, at=at,
            )  # fmt: skip
        assert ground.rows() == before


class TestWithdraw:
    def test_visits_move_to_the_next_free_time_and_are_told(
        self, order: ProductOrder, other: ProductOrder, slots: list[InstallSlot], otto: User,
        at: datetime,
    ) -> None:  # fmt: skip
        slot = visit(order).slot
        assert withdraw(slot, otto, at) == (2, 0)
        # Wednesday morning has two places.
        assert visit(order).slot == visit(other).slot == slots[2]
        slot.refresh_from_db()
        assert (slot.withdrawn_at, slot.taken) == (at, 0)
        factories.deliver_events(at=at)
        told = Notice.objects.filter(kind="visit_booked", subject__contains="Wednesday 6 May")
        assert told.count() == 2
        assert AuditEntry.objects.get(action="visit.slot_withdrawn").reason == "Ill."
        assert withdraw(slot, otto, at) == (0, 0)

    def test_who_finds_no_other_time_is_asked_to_choose_one(
        self, order: ProductOrder, other: ProductOrder, slots: list[InstallSlot], otto: User,
        at: datetime,
    ) -> None:  # fmt: skip
        slot = visit(order).slot
        InstallSlot.objects.filter(taken=0).exclude(pk=slots[5].pk).delete()
        change(slots[5], otto, at, day=date(2026, 5, 7), capacity=1)
        assert withdraw(slot, otto, at) == (1, 1)
        factories.deliver_events(at=at)
        waiting = [each for each in (order, other) if visiting.awaits_visit(each)]
        assert len(waiting) == 1
        notice = Notice.objects.get(kind="needs_you")
        assert notice.subscriber == waiting[0].subscriber
        assert "cannot come on Tuesday 5 May, 13:00 to 17:00" in notice.body
        # A new time is planned, and chosen.
        later = plan_week(at, first_day=date(2026, 5, 11), capacity=1)[0]
        choose(waiting[0], later, at)
        assert visit(waiting[0]).slot == later

    def test_nobody_is_booked_into_it(
        self, isp: SmallIsp, order: ProductOrder, slots: list[InstallSlot], otto: User, at: datetime
    ) -> None:
        withdraw(slots[4], otto, at)
        assert slots[4] not in visiting.offer_slots(order, at=at)
        with pytest.raises(InvalidInput, match="Nobody comes"):
            choose(order, slots[4], at)
        with pytest.raises(visits.SlotFull):
            visits._take(slots[4])
        with pytest.raises(visit_slots.SlotWithdrawn):
            change(slots[4], otto, at, capacity=9)

    def test_what_has_begun_or_has_no_reason_is_refused(
        self, order: ProductOrder, slots: list[InstallSlot], otto: User, at: datetime
    ) -> None:
        before = ground.rows()
        with pytest.raises(InvalidInput, match="past"):
            withdraw(slots[0], otto, slots[0].starts_at)
        with pytest.raises(InvalidInput) as refused:
            visit_slots.withdraw_slot(slot_id=slots[0].pk, actor=otto, reason=" ", at=at)
        assert refused.value.field == "reason"
        assert ground.rows() == before

    def test_an_area_without_any_other_time_has_no_calendar_any_more(
        self, isp: SmallIsp, slots: list[InstallSlot], otto: User, at: datetime
    ) -> None:
        for slot in slots:
            withdraw(slot, otto, at)
        assert not visiting.has_calendar("BARRE, VT", at=at)
        assert taken() == []


class TestDay:
    def test_a_day_lists_its_visits_with_what_has_to_be_known(
        self, order: ProductOrder, other: ProductOrder, slots: list[InstallSlot], at: datetime
    ) -> None:
        calls = visit_days.of_day(TUESDAY)
        assert [call.visit.order for call in calls] == [order, other]
        assert {call.plan for call in calls} == {"Fibre 500"}
        assert visit_days.of_day(TUESDAY, area="STOWE, VT") == []
        assert visit_days.of_day(WEDNESDAY) == []
        assert visit_days.areas(TUESDAY) == ["BARRE, VT"]
        assert visit_days.next_day(date(2026, 5, 1)) == TUESDAY
        assert visit_days.next_day(TUESDAY) is None

    def test_many_visits_cost_no_more_questions(
        self, isp: SmallIsp, order: ProductOrder, other: ProductOrder,
        django_assert_num_queries: object,
    ) -> None:  # fmt: skip
        with django_assert_num_queries(3):  # type: ignore[operator]
            calls = visit_days.of_day(TUESDAY)
            assert all(call.visit.order.premises for call in calls)
            assert [list(call.before) for call in calls] == [[], []]

    def test_what_is_over_and_not_closed_is_overdue(
        self, order: ProductOrder, at: datetime
    ) -> None:
        ends = visit(order).slot.ends_at
        assert not visit_days.overdue(ends - timedelta(seconds=1)).exists()
        (call,) = visit_days.calls_overdue(ends)
        assert call.visit.order == order
