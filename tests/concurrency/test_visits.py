"""Eight subscribers want the last visit of a morning at the same moment: one of them gets it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, time, timedelta

import pytest
from django.db import IntegrityError, connection
from django.db.models import F
from django.utils import timezone

from ispops.errors import InvalidInput, Refusal
from provisioning import visit_results, visit_slots, visits
from provisioning.models import Appointment, InstallSlot, ProductOrder
from tests import factories
from tests.small_isp import SmallIsp, make_small_isp

pytestmark = pytest.mark.django_db(transaction=True)
ASKERS = 8
HOURS = ((time(8), time(12)), (time(13), time(17)))


@pytest.fixture
def now() -> datetime:
    return timezone.now()


def calendar(now: datetime, *, capacity: int) -> list[InstallSlot]:
    return visits.add_slots(
        city="Barre", region="VT", first_day=(now + timedelta(days=3)).date(), hours=HOURS,
        capacity=capacity, at_weekends=True, actor=None, at=now,
    )  # fmt: skip


def ordered(isp: SmallIsp, now: datetime) -> list[ProductOrder]:
    """One order of each of eight subscribers, at the same house."""
    return [
        factories.order(factories.subscriber(at=now), isp.oak_1, isp.fast.code, at=now)
        for _ in range(ASKERS)
    ]


def at_once(work: Callable[[int], bool]) -> int:
    """Do the work in threads with connections of their own, released together; count who won."""
    start = threading.Barrier(ASKERS)

    def one(number: int) -> bool:
        try:
            start.wait(timeout=10)
            return work(number)
        finally:
            connection.close()

    with ThreadPoolExecutor(ASKERS) as pool:
        return sum(pool.map(one, range(ASKERS)))


def booking(orders: list[ProductOrder], slot: InstallSlot, now: datetime) -> Callable[[int], bool]:
    def work(number: int) -> bool:
        try:
            visits.book_visit(order_id=orders[number].pk, slot_id=slot.pk, actor=None, at=now)
        except visits.SlotFull:
            return False
        return True

    return work


def booked(slot: InstallSlot) -> int:
    return Appointment.objects.filter(slot=slot, state="booked").count()


def test_the_last_place_goes_to_one_of_eight(now: datetime) -> None:
    isp = make_small_isp(fibre_ports=ASKERS)
    slot = calendar(now, capacity=1)[0]
    assert at_once(booking(ordered(isp, now), slot, now)) == 1
    slot.refresh_from_db()
    assert (slot.taken, booked(slot)) == (1, 1)


def look_and_then_write(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Take a place as if looking were enough: all look before any of them writes."""
    all_have_looked = threading.Barrier(ASKERS)

    def take(slot: InstallSlot) -> None:
        free = InstallSlot.objects.filter(pk=slot.pk, taken__lt=F("capacity")).exists()
        all_have_looked.wait(timeout=10)
        if not free:
            raise visits.SlotFull("Full.")
        InstallSlot.objects.filter(pk=slot.pk).update(taken=F("taken") + 1)

    monkeypatch.setattr(visits, "_take", take)


def test_without_the_guarded_update_the_database_refuses_the_others(
    now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    isp = make_small_isp(fibre_ports=ASKERS)
    slot = calendar(now, capacity=1)[0]
    orders = ordered(isp, now)
    look_and_then_write(monkeypatch)
    work = booking(orders, slot, now)
    refusals: list[str] = []

    def refused(number: int) -> bool:
        try:
            return work(number)
        except IntegrityError as error:
            refusals.append(str(error))
            return False

    assert at_once(refused) == 1
    assert all("install_slot_not_overbooked" in words for words in refusals)
    assert booked(slot) == 1


def test_without_guard_and_constraint_the_slot_is_overbooked(
    now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control: the race is real."""
    isp = make_small_isp(fibre_ports=ASKERS)
    slot = calendar(now, capacity=1)[0]
    orders = ordered(isp, now)
    look_and_then_write(monkeypatch)
    name = "install_slot_not_overbooked"
    (constraint,) = [one for one in InstallSlot._meta.constraints if one.name == name]
    with connection.schema_editor() as editor:
        editor.remove_constraint(InstallSlot, constraint)
    try:
        assert at_once(booking(orders, slot, now)) == ASKERS
        assert booked(slot) == ASKERS
    finally:
        InstallSlot.objects.update(capacity=ASKERS)
        with connection.schema_editor() as editor:
            editor.add_constraint(InstallSlot, constraint)


def test_two_who_change_places_do_not_wait_for_each_other_for_ever(now: datetime) -> None:
    """Half of them move from the morning to the afternoon while the others move back."""
    isp = make_small_isp(fibre_ports=ASKERS)
    slots = calendar(now, capacity=ASKERS)[:2]
    orders = ordered(isp, now)
    for number, order in enumerate(orders):
        key = slots[number % 2].pk
        visits.book_visit(order_id=order.pk, slot_id=key, actor=None, at=now)

    def swap(number: int) -> bool:
        key = slots[1 - number % 2].pk
        visits.book_visit(order_id=orders[number].pk, slot_id=key, actor=None, at=now)
        return True

    assert at_once(swap) == ASKERS
    assert [booked(slot) for slot in slots] == [ASKERS // 2, ASKERS // 2]


def test_one_order_that_books_eight_times_at_once_has_one_visit(now: datetime) -> None:
    isp = make_small_isp(fibre_ports=ASKERS)
    slots = calendar(now, capacity=1)[:ASKERS]
    order = ordered(isp, now)[0]

    def work(number: int) -> bool:
        visits.book_visit(order_id=order.pk, slot_id=slots[number].pk, actor=None, at=now)
        return True

    assert at_once(work) == ASKERS
    assert Appointment.objects.filter(order=order, state="booked").count() == 1
    assert sum(InstallSlot.objects.values_list("taken", flat=True)) == 1


def test_a_time_that_is_withdrawn_while_eight_book_it_has_nobody_in_it(now: datetime) -> None:
    isp = make_small_isp(fibre_ports=ASKERS)
    slot, *_ = calendar(now, capacity=ASKERS)
    orders = ordered(isp, now)
    otto = factories.staff("Operations", at=now)

    def work(number: int) -> bool:
        if number == 0:
            visit_slots.withdraw_slot(slot_id=slot.pk, actor=otto, reason="Ill.", at=now)
            return True
        try:
            visits.book_visit(order_id=orders[number].pk, slot_id=slot.pk, actor=None, at=now)
        except (visits.SlotFull, InvalidInput):
            return False
        return True

    won = at_once(work)
    slot.refresh_from_db()
    assert (slot.taken, booked(slot)) == (0, 0)
    # Who had booked it has the next time.
    elsewhere = Appointment.objects.filter(state="booked")
    assert elsewhere.count() == won - 1
    assert sum(InstallSlot.objects.values_list("taken", flat=True)) == won - 1


def test_a_visit_that_is_done_in_vain_and_moved_at_once_is_one_of_them(now: datetime) -> None:
    isp = make_small_isp(fibre_ports=ASKERS)
    slot, other = calendar(now, capacity=1)[:2]
    order = ordered(isp, now)[0]
    otto = factories.staff("Operations", at=now)
    visit = visits.book_visit(order_id=order.pk, slot_id=slot.pk, actor=None, at=now)
    during = slot.starts_at - timedelta(seconds=1)

    def work(number: int) -> bool:
        try:
            if number % 2:
                visit_results.complete_visit(
                    visit_id=visit.pk, actor=otto, note=f"By {number}.", at=during
                )
            else:
                visits.book_visit(order_id=order.pk, slot_id=other.pk, actor=otto, at=during)
        except Refusal:
            return False
        return True

    assert at_once(work) >= 1
    visit.refresh_from_db()
    states = sorted(order.appointments.values_list("state", flat=True))
    assert states in (["done"], ["booked", "moved"])
    slot.refresh_from_db()
    other.refresh_from_db()
    assert slot.taken + other.taken == sum(state in {"booked", "done"} for state in states)
