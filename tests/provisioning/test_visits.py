"""Technicians' visits: the calendar, the step that books, and choosing another time."""

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta

import pytest
from django.db import IntegrityError, connection, transaction

from ispops.errors import InvalidInput, NotFound, Refusal
from ispops.models import Event
from ispops.notices.models import Notice
from ispops.parties.models import AuditEntry, Subscriber, User
from provisioning import amending, orders, visiting, visits
from provisioning.models import Appointment, InstallSlot, OrderTask, ProductOrder
from tests import factories
from tests.provisioning import ground, later
from tests.small_isp import SmallIsp, place

MORNING, AFTERNOON = (time(7), time(11)), (time(13), time(17))
# The tests' noon is on a Monday.
TUESDAY = date(2026, 5, 5)
WEDNESDAY_MORNING = datetime(2026, 5, 6, 11, tzinfo=UTC)


def plan_week(
    at: datetime, *, first_day: date = TUESDAY, city: str = "Barre", region: str = "VT",
    capacity: int = 1, hours: tuple[tuple[time, time], ...] = (MORNING, AFTERNOON),
) -> list[InstallSlot]:  # fmt: skip
    return visits.add_slots(
        city=city, region=region, first_day=first_day, hours=hours, capacity=capacity,
        actor=None, at=at,
    )  # fmt: skip


@pytest.fixture
def slots(isp: SmallIsp, at: datetime) -> list[InstallSlot]:
    return plan_week(at)


@pytest.fixture
def quicker(isp: SmallIsp) -> None:
    """A plan that an order can be amended to: it is sold before the address is checked."""
    later.faster(isp)


@pytest.fixture
def order(isp: SmallIsp, ada: Subscriber, slots: list[InstallSlot], at: datetime) -> ProductOrder:
    return factories.order(ada, isp.oak_1, isp.fast.code, at=at)


@pytest.fixture
def visited(order: ProductOrder, at: datetime) -> ProductOrder:
    factories.work(at=at)
    order.refresh_from_db()
    return order


def visit(order: ProductOrder) -> Appointment:
    return order.appointments.select_related("slot").get(state="booked")


def taken() -> list[int]:
    rows = InstallSlot.objects.filter(taken__gt=0).order_by("starts_at")
    return list(rows.values_list("taken", flat=True))


def choose(order: ProductOrder, slot: InstallSlot, at: datetime, actor: User | None = None) -> None:
    visits.book_visit(order_id=order.pk, slot_id=slot.pk, actor=actor, at=at)


class TestCalendar:
    def test_a_week_has_its_working_days_at_the_isps_own_hours(
        self, slots: list[InstallSlot]
    ) -> None:
        assert len(slots) == 10
        assert slots[0].area == "BARRE, VT"
        # Seven o'clock in New York, in summer.
        assert slots[0].starts_at == datetime(2026, 5, 5, 11, tzinfo=UTC)
        assert visiting.in_words(slots[0]) == "Tuesday 5 May, 7:00 to 11:00"
        assert AuditEntry.objects.filter(action="visit.slots_added", subject="BARRE, VT").exists()

    def test_the_same_week_again_adds_nothing(self, slots: list[InstallSlot], at: datetime) -> None:
        assert plan_week(at, city=" barre ", region="vt", capacity=9) == slots
        assert set(InstallSlot.objects.values_list("capacity", flat=True)) == {1}

    @pytest.mark.parametrize(
        ("wrong", "field"),
        [
            ({"city": "Bare"}, "city"),
            ({"region": "NY"}, "city"),
            ({"first_day": date(2026, 5, 3)}, "first_day"),
            ({"first_day": date(2027, 6, 1)}, "first_day"),
            ({"hours": ()}, "hours"),
            ({"hours": ((time(12), time(8)),)}, "hours"),
            ({"hours": ((time(8), time(12)), (time(11), time(15)))}, "hours"),
            ({"capacity": 0}, "capacity"),
            ({"capacity": 501}, "capacity"),
        ],
    )
    def test_what_makes_no_calendar_is_refused(
        self, isp: SmallIsp, at: datetime, wrong: dict[str, object], field: str
    ) -> None:
        with pytest.raises(InvalidInput) as refused:
            plan_week(at, **wrong)  # type: ignore[arg-type]
        assert refused.value.field == field
        assert not InstallSlot.objects.exists()


class TestStep:
    def test_a_line_of_ours_gets_the_first_free_visit(self, visited: ProductOrder) -> None:
        assert ground.states(visited)["book_visit"] == "completed"
        # The first one is in less than a day.
        assert visit(visited).slot.starts_at == datetime(2026, 5, 5, 17, tzinfo=UTC)
        assert taken() == [1]
        said = ground.last_try(ground.step(visited, "book_visit")).detail
        assert said == "Our technician comes on Tuesday 5 May, 13:00 to 17:00."
        # It goes live when he was there.
        assert (visited.state, ground.states(visited)["go_live"]) == ("in_progress", "pending")
        assert Event.objects.filter(kind="visit.booked", subject=visited.public_id).count() == 1
        notice = Notice.objects.get(kind="visit_booked")
        assert "Tuesday 5 May, 13:00 to 17:00" in notice.subject

    def test_what_the_subscriber_has_chosen_stays(
        self, order: ProductOrder, slots: list[InstallSlot], at: datetime
    ) -> None:
        choose(order, slots[5], at)
        factories.work(at=at)
        assert visit(order).slot == slots[5]
        assert taken() == [1]

    def test_no_step_without_a_calendar(self, isp: SmallIsp, ada: Subscriber, at: datetime) -> None:
        plan_week(at, city="Stowe")
        order = factories.order(ada, isp.oak_1, isp.fast.code, at=at)
        assert "book_visit" not in ground.states(order)

    def test_another_network_sends_its_own_people(
        self, isp: SmallIsp, ada: Subscriber, slots: list[InstallSlot], at: datetime
    ) -> None:
        order = factories.order(ada, isp.oak_1, isp.dsl.code, at=at)
        assert "book_visit" not in ground.states(order)

    def test_the_setting_switches_it_off(
        self,
        isp: SmallIsp,
        ada: Subscriber,
        slots: list[InstallSlot],
        at: datetime,
        settings: object,
    ) -> None:
        settings.INSTALL_VISITS = False  # type: ignore[attr-defined]
        order = factories.order(ada, isp.oak_1, isp.fast.code, at=at)
        assert "book_visit" not in ground.states(order)

    def test_a_calendar_that_has_ended_meanwhile_stops_nobody(
        self, order: ProductOrder, at: datetime
    ) -> None:
        InstallSlot.objects.all().delete()
        factories.work(at=at)
        order.refresh_from_db()
        assert order.state == "completed"
        assert "by hand" in ground.last_try(ground.step(order, "book_visit")).detail

    def test_a_full_calendar_needs_a_person(
        self, isp: SmallIsp, order: ProductOrder, at: datetime
    ) -> None:
        InstallSlot.objects.exclude(starts_at=datetime(2026, 5, 5, 17, tzinfo=UTC)).delete()
        bob = factories.subscriber(at=at, email="bob@example.com")
        other = factories.order(bob, place("3 OAK ST"), isp.fast.code, at=at)
        choose(other, InstallSlot.objects.get(), at)
        factories.work(at=at)
        parked = ground.step(order, "book_visit")
        assert (parked.state, parked.cause) == ("fallout", "no_free_visit")

    def test_whoever_moves_is_visited_from_the_day_on(
        self, isp: SmallIsp, ada: Subscriber, at: datetime
    ) -> None:
        line = factories.live_line(isp, ada, at=at)
        plan_week(at)
        order = later.move(line, place("3 OAK ST"), at, wanted_from=WEDNESDAY_MORNING)
        factories.work(at=at)
        assert visit(order).slot.starts_at == WEDNESDAY_MORNING

    def test_another_day_takes_the_visit_along(
        self, isp: SmallIsp, ada: Subscriber, at: datetime
    ) -> None:
        line = factories.live_line(isp, ada, at=at)
        slots = plan_week(at)
        order = later.move(line, place("3 OAK ST"), at, wanted_from=WEDNESDAY_MORNING)
        factories.work(at=at)

        def reschedule(day: datetime) -> None:
            amending.reschedule_order(
                order_id=order.pk, wanted_from=day, actor=None, reason="Later.", at=at
            )

        reschedule(WEDNESDAY_MORNING + timedelta(days=1, hours=1))
        assert visit(order).slot.starts_at == datetime(2026, 5, 7, 17, tzinfo=UTC)
        assert taken() == [1]
        # Nothing is free after the last one; and an earlier day leaves it where it is.
        reschedule(slots[-1].starts_at + timedelta(days=1))
        reschedule(WEDNESDAY_MORNING)
        assert visit(order).slot.starts_at == datetime(2026, 5, 7, 17, tzinfo=UTC)
        assert taken() == [1]
        assert Event.objects.filter(kind="visit.moved").count() == 1


class TestChoosing:
    def test_another_time_frees_the_first(
        self, visited: ProductOrder, slots: list[InstallSlot], ada: Subscriber, at: datetime
    ) -> None:
        choose(visited, slots[4], at, ada.users.get())
        assert visit(visited).slot == slots[4]
        assert taken() == [1]
        assert list(visited.appointments.order_by("pk").values_list("state", flat=True)) == [
            "moved", "booked"
        ]  # fmt: skip
        assert AuditEntry.objects.get(action="visit.moved").actor == ada.users.get()
        factories.deliver_events(at=at)
        assert Notice.objects.filter(kind="visit_booked").count() == 2

    def test_the_same_time_again_changes_nothing(self, visited: ProductOrder, at: datetime) -> None:
        before = ground.rows()
        choose(visited, visit(visited).slot, at)
        assert ground.rows() == before

    def test_what_cannot_be_is_refused_and_changes_nothing(
        self, isp: SmallIsp, visited: ProductOrder, slots: list[InstallSlot], at: datetime
    ) -> None:
        elsewhere = plan_week(at, city="Stowe")[5]
        bob = factories.subscriber(at=at, email="bob@example.com")
        other = factories.order(bob, place("3 OAK ST"), isp.fast.code, at=at)
        choose(other, slots[6], at)
        before = ground.rows()
        refusals: list[tuple[InstallSlot, datetime, type[Exception], str]] = [
            (slots[6], at, visits.SlotFull, "slot"),
            (elsewhere, at, InvalidInput, "slot"),
            (slots[0], at, visits.TooLateForVisit, "slot"),
            (slots[0], at + timedelta(days=1, hours=1), InvalidInput, "slot"),
            # Its own visit is too near now.
            (slots[7], at + timedelta(hours=12), visits.TooLateForVisit, "slot"),
        ]
        for slot, when, refusal, field in refusals:
            with pytest.raises(refusal) as refused:
                choose(visited, slot, when)
            assert refused.value.field == field  # type: ignore[attr-defined]
        assert ground.rows() == before

    def test_staff_may_until_it_begins(
        self, visited: ProductOrder, slots: list[InstallSlot], otto: User, at: datetime
    ) -> None:
        choose(visited, slots[0], at - timedelta(seconds=1), otto)
        assert visit(visited).slot == slots[0]

    def test_an_order_that_nobody_comes_for_has_no_visit(
        self, isp: SmallIsp, ada: Subscriber, slots: list[InstallSlot], at: datetime
    ) -> None:
        order = factories.order(ada, isp.oak_1, isp.dsl.code, at=at)
        assert visiting.offer_slots(order, at=at) == []
        with pytest.raises(visits.NoVisitNeeded):
            choose(order, slots[5], at)

    def test_what_is_offered_is_free_and_not_too_near(
        self, visited: ProductOrder, slots: list[InstallSlot], at: datetime
    ) -> None:
        assert visiting.offer_slots(visited, at=at) == slots[2:]


class TestGivingBack:
    def test_staff_cancel_a_visit_and_the_order_waits_for_another(
        self, visited: ProductOrder, otto: User, at: datetime
    ) -> None:
        def cancel(reason: str = "The line was there already.") -> Appointment:
            return visits.cancel_visit(order_id=visited.pk, actor=otto, reason=reason, at=at)

        with pytest.raises(InvalidInput):
            cancel(" ")
        assert cancel().state == "cancelled"
        assert taken() == []
        with pytest.raises(NotFound):
            cancel()
        assert Event.objects.filter(kind="visit.cancelled").count() == 1
        assert visiting.awaits_visit(visited)
        factories.deliver_events(at=at)
        notice = Notice.objects.get(kind="needs_you")
        assert "cannot come on Tuesday 5 May, 13:00 to 17:00" in notice.body
        assert f"/orders/{visited.public_id}/visit/" in notice.body

    @pytest.mark.parametrize("take_back", [orders.cancel_order, orders.fail_order])
    def test_an_order_that_is_taken_back_frees_its_place(
        self, order: ProductOrder, slots: list[InstallSlot], otto: User, at: datetime,
        take_back: Callable[..., ProductOrder],
    ) -> None:  # fmt: skip
        choose(order, slots[5], at)
        take_back(order_id=order.pk, actor=otto, reason="No.", at=at)
        assert taken() == []
        assert order.appointments.get().state == "cancelled"
        with pytest.raises(visits.NoVisitNeeded):
            choose(order, slots[6], at)

    @pytest.mark.usefixtures("quicker")
    def test_an_order_that_is_amended_keeps_the_time_that_was_chosen(
        self, order: ProductOrder, slots: list[InstallSlot], at: datetime
    ) -> None:
        choose(order, slots[5], at)
        kept = visit(order)
        amend(order, at, ["fibre-1000"])
        assert visit(order) == kept
        factories.work(at=at)
        assert visit(order) == kept
        assert taken() == [1]
        assert "on Thursday 7 May" in ground.last_try(live_step(order)).detail
        assert not Event.objects.filter(kind="visit.cancelled").exists()

    def test_an_order_that_needs_nobody_any_more_says_that_nobody_comes(
        self, isp: SmallIsp, order: ProductOrder, slots: list[InstallSlot], otto: User, at: datetime
    ) -> None:
        choose(order, slots[5], at)
        amend(order, at, [isp.dsl.code])
        assert taken() == []
        said = AuditEntry.objects.get(action="visit.cancelled", subject=order.public_id)
        assert said.reason == "Nobody has to come for what is ordered now."
        assert Event.objects.filter(kind="visit.cancelled", subject=order.public_id).exists()

    @pytest.mark.usefixtures("quicker")
    def test_an_order_for_a_later_day_gives_an_earlier_time_back(
        self, isp: SmallIsp, order: ProductOrder, slots: list[InstallSlot], otto: User, at: datetime
    ) -> None:
        """Where no later time was free it stayed with the day; it does not with new products."""
        choose(order, slots[5], at)
        ProductOrder.objects.update(wanted_from=slots[6].starts_at)
        amend(order, at, ["fibre-1000"])
        assert taken() == []
        factories.work(at=at)
        assert visit(order).slot == slots[6]

    def test_a_refused_amendment_leaves_the_visit(
        self, isp: SmallIsp, order: ProductOrder, slots: list[InstallSlot], otto: User, at: datetime
    ) -> None:
        choose(order, slots[5], at)
        with pytest.raises(Refusal):
            amend(order, at, ["nothing-like-it"])
        assert visit(order).slot == slots[5]


def amend(order: ProductOrder, at: datetime, codes: list[str]) -> None:
    amending.amend_order(
        order_id=order.pk, offering_codes=codes, actor=None, reason="Other.", at=at
    )


def live_step(order: ProductOrder) -> OrderTask:
    return order.tasks.exclude(state="cancelled").get(kind="book_visit")


class TestGuards:
    """What must never be false, attacked past the verbs."""

    @pytest.mark.parametrize(
        ("guard", "statement"),
        [
            ("install_slot_not_overbooked", "UPDATE provisioning_installslot SET taken = 2"),
            ("taken_is_booked", "UPDATE provisioning_installslot SET taken = 0"),
            ("taken_is_booked",
             "UPDATE provisioning_appointment SET state = 'cancelled', closed_at = now()"),
            ("closed_visit_says_when", "UPDATE provisioning_appointment SET state = 'moved'"),
            ("one_visit_an_order",
             "INSERT INTO provisioning_appointment "
             "(id, order_id, slot_id, state, booked_at, failure, note) "
             "SELECT gen_random_uuid(), order_id, slot_id, 'booked', now(), '', '' "
             "FROM provisioning_appointment"),
            ("made_visit_says_by_whom",
             "UPDATE provisioning_appointment SET state = 'done', closed_at = now()"),
            ("failed_visit_says_why",
             "UPDATE provisioning_appointment SET state = 'failed', closed_at = now(), note = 'x', "
             "closed_by_id = (SELECT id FROM parties_user LIMIT 1)"),
            ("withdrawn_takes_none",
             "UPDATE provisioning_installslot SET withdrawn_at = now() WHERE taken = 0; "
             "UPDATE provisioning_installslot SET taken = 1 WHERE taken = 0"),
            ("withdrawn_takes_none",
             "UPDATE provisioning_installslot SET withdrawn_at = now(); "
             "UPDATE provisioning_installslot SET withdrawn_at = NULL"),
            ("visit_keeps_its_slot",
             "UPDATE provisioning_appointment SET slot_id = (SELECT id FROM "
             "provisioning_installslot WHERE taken = 0 LIMIT 1)"),
            ("install_slot_once",
             "INSERT INTO provisioning_installslot (id, area, starts_at, ends_at, capacity, taken) "
             "SELECT gen_random_uuid(), area, starts_at, ends_at, 3, 0 "
             "FROM provisioning_installslot"),
        ],
    )  # fmt: skip
    def test_the_database_refuses(self, visited: ProductOrder, guard: str, statement: str) -> None:
        with (
            pytest.raises(IntegrityError, match=guard),
            transaction.atomic(),
            connection.cursor() as cursor,
        ):
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            cursor.execute(statement)

    def test_what_is_over_stays_so(self, visited: ProductOrder, otto: User, at: datetime) -> None:
        visits.cancel_visit(order_id=visited.pk, actor=otto, reason="No.", at=at)
        with pytest.raises(IntegrityError, match="may not go from cancelled"), transaction.atomic():
            Appointment.objects.update(state="booked", closed_at=None)
