"""Technicians' visits: planning them, and booking, moving and cancelling one for an order.

An order is locked before its visit. A place in a slot is taken and given back by one guarded
update each, so that nobody waits for a slot that is full; where both are needed the slots come by
primary key. How visits follow their orders stands in `visit_following`, what comes of a visit in
`visit_results`, and how slots are changed in `visit_slots`.
"""

from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import transaction
from django.db.models import F

from ispops import db, events
from ispops.errors import InvalidInput, NotFound, Refusal
from ispops.parties import audit
from ispops.parties.models import User
from provisioning import plan, visiting
from provisioning.models import Appointment, InstallSlot, OrderTask, ProductOrder
from provisioning.transitions import VISIT
from qualification.models import Premises

State = Appointment.State
# A slot that is listed as free may be full a moment later: so many are tried, and then it is said
# that there are none.
MOST_TRIED = 50
PLANNED_AHEAD = timedelta(days=366)
WORKING_DAYS = 5


class SlotFull(Refusal):
    code = "slot_full"
    title = "The time is taken"


class NoFreeVisit(Refusal):
    code = "no_free_visit"
    title = "No visit is free"


class NoVisitNeeded(Refusal):
    code = "no_visit_needed"
    title = "Nobody has to come"


class TooLateForVisit(Refusal):
    code = "too_late_for_visit"
    title = "It is too late to change the visit"


@transaction.atomic
def add_slots(
    *,
    city: str,
    region: str,
    first_day: date,
    hours: Sequence[tuple[time, time]],
    capacity: int,
    weeks: int = 1,
    at_weekends: bool = False,
    actor: User | None,
    at: datetime,
) -> list[InstallSlot]:
    """Plan visits in a city for some weeks from a day on, at the same hours of the ISP's zone.

    Returns the slots of these weeks, the first first. Those that were planned before stay as they
    are, so that the same again adds nothing.

    Raises:
        InvalidInput: names the field: no such place is known, the day is past or too far off, the
            hours are none or cross each other, or the numbers are of no use.
    """
    area = visiting.area_name(city, region)
    _require_place(city, region)
    _require_hours(hours)
    today = at.astimezone(_zone()).date()
    if not today <= first_day <= today + PLANNED_AHEAD:
        raise InvalidInput("Choose a day from today on, within a year.", field="first_day")
    if not 1 <= weeks <= 12:
        raise InvalidInput("Plan 1 to 12 weeks at a time.", field="weeks")
    days = (first_day + timedelta(days=number) for number in range(7 * weeks))
    rows = [
        InstallSlot(
            area=area,
            starts_at=datetime.combine(day, start, _zone()),
            ends_at=datetime.combine(day, end, _zone()),
            capacity=capacity,
        )
        for day in days
        if at_weekends or day.weekday() < WORKING_DAYS
        for start, end in hours
    ]
    to_come = [row for row in rows if row.starts_at > at]
    if not to_come:
        raise InvalidInput("These hours are over, or at a weekend.", field="first_day")
    db.check_fields(to_come[0], "area", "capacity")
    InstallSlot.objects.bulk_create(to_come, ignore_conflicts=True)
    audit.record(
        actor=actor,
        actor_name="" if actor else "system",
        action="visit.slots_added",
        subject=area,
        at=at,
        first_day=first_day.isoformat(),
        weeks=weeks,
        capacity=to_come[0].capacity,
    )
    span = (to_come[0].starts_at, to_come[-1].starts_at)
    return list(InstallSlot.objects.filter(area=area, starts_at__range=span).order_by("starts_at"))


def _require_place(city: str, region: str) -> None:
    """See that there is somebody to visit: a name that is misspelt would be a calendar for none."""
    city = " ".join(city.split())
    if not Premises.objects.filter(city__iexact=city, region__iexact=region.strip()).exists():
        raise InvalidInput("No place in this city is known: check both names.", field="city")


def _require_hours(hours: Sequence[tuple[time, time]]) -> None:
    if not hours:
        raise InvalidInput("Give the hours of a day, such as 8:00-12:00.", field="hours")
    ordered = sorted(hours)
    for (start, end), following in zip(ordered, [*ordered[1:], None], strict=True):
        if start >= end or (following is not None and following[0] < end):
            raise InvalidInput("Give hours that end after they begin, one after another.",
                               field="hours")  # fmt: skip


@transaction.atomic
def book_visit(*, order_id: UUID, slot_id: UUID, actor: User | None, at: datetime) -> Appointment:
    """Let our technician come in a slot; a visit that is booked already is moved to it.

    The same slot again changes nothing. Publishes `visit.booked` or `visit.moved`.

    Raises:
        NoVisitNeeded: nobody comes for this order, or it was taken back.
        InvalidInput: the slot is none, of another area, or past.
        TooLateForVisit: the slot, or the visit that is booked, is too near for a subscriber to
            choose; staff may until it begins.
        SlotFull: its last place was taken.
    """
    order = db.lock(ProductOrder, order_id)
    if not visiting.is_visited(order):
        raise NoVisitNeeded("No technician has to come for this order, or not any more.")
    visit = visiting.visit_of(order)
    if visit is not None and visit.slot_id == slot_id:
        return visit
    slot = _slot_for(order, slot_id, actor, at)
    if visit is None:
        _take(slot)
        return _booked(order, slot, actor, at)
    if visit.slot.withdrawn_at is None:
        _require_time(visit.slot, actor, at)
    for each in sorted((visit.slot, slot), key=lambda one: one.pk):
        _take(each) if each is slot else _give(each)
    close(visit, State.MOVED, at)
    return _booked(order, slot, actor, at, moved_from=visit.slot)


def book_first(*, order: ProductOrder, at: datetime) -> Appointment | None:
    """Book the first free visit for a locked order that has none; return the one it has, or had.

    None where no visits are planned in the area at all: then there is nothing to book.

    Raises:
        NoFreeVisit: there are visits to come, and all are taken.
    """
    visit = visiting.visit_of(order) or visiting.made_visit_of(order)
    if visit is not None:
        return visit
    for slot in visiting.free_slots(order, at=at)[:MOST_TRIED]:
        if _is_taken(slot):
            return _booked(order, slot, None, at)
    area = visiting.area_of(order.premises)
    if visiting.has_calendar(area, at=at):
        raise NoFreeVisit(f"All visits to come in {area} are taken.")
    return None


@transaction.atomic
def cancel_visit(*, order_id: UUID, actor: User, reason: str, at: datetime) -> Appointment:
    """Let nobody come after all; the place in the slot is free. Publishes `visit.cancelled`.

    The order waits for another visit, which the subscriber is asked to choose.

    Raises:
        InvalidInput: there is no reason.
        NotFound: no visit is booked.
        TooLateForVisit: as `book_visit`.
    """
    if not reason.strip():
        raise InvalidInput("Say why nobody comes.", field="reason")
    order = db.lock(ProductOrder, order_id)
    visit = visiting.visit_of(order)
    if visit is None:
        raise NotFound("No visit is booked for this order.")
    _require_time(visit.slot, actor, at)
    release(order=order, visit=visit, actor=actor, reason=reason.strip(), at=at)
    expect_choice(order=order, at=at)
    return visit


def move_on(*, order: ProductOrder, visit: Appointment, actor: User | None, at: datetime) -> bool:
    """Move the visit of a locked order to the first time that is free; False when none is, and
    then it stays."""
    later = visiting.free_slots(order, at=at).exclude(pk=visit.slot_id)[:MOST_TRIED]
    try:
        with transaction.atomic():
            # Given first, as its key comes first; and back again where nothing else is free.
            _give(visit.slot)
            slot = next((slot for slot in later if _is_taken(slot)), None)
            if slot is None:
                raise NoFreeVisit("All visits to come are taken.")
    except NoFreeVisit:
        return False
    close(visit, State.MOVED, at)
    _booked(order, slot, actor, at, moved_from=visit.slot)
    return True


def _slot_for(order: ProductOrder, slot_id: UUID, actor: User | None, at: datetime) -> InstallSlot:
    """Return a slot that an order can have its visit in, as far as place and time go."""
    slot = InstallSlot.objects.filter(pk=slot_id).first()
    if slot is None:
        raise InvalidInput("There is no such time. Choose one of those offered.", field="slot")
    if slot.area != visiting.area_of(order.premises):
        raise InvalidInput("This time is for another area.", field="slot")
    if slot.withdrawn_at is not None:
        raise InvalidInput("Nobody comes at this time any more.", field="slot")
    _require_time(slot, actor, at)
    if slot.starts_at < visiting.free_from(order, at, actor):
        raise InvalidInput("This time is before the day of the order.", field="slot")
    return slot


def _require_time(slot: InstallSlot, actor: User | None, at: datetime) -> None:
    """See that a slot has not begun, and is not too near for a subscriber to change."""
    if slot.starts_at <= at:
        raise InvalidInput("This time is past.", field="slot")
    is_of_staff = actor is not None and actor.is_staff
    if not is_of_staff and slot.starts_at < at + settings.VISIT_NOTICE:
        hours = int(settings.VISIT_NOTICE.total_seconds() // 3600)
        raise TooLateForVisit(
            f"A visit can be chosen and moved until {hours} hours before it. Please call us.",
            field="slot",
        )


def _is_taken(slot: InstallSlot) -> bool:
    """Take a place in a slot if there is one; whoever comes at the same moment waits, and looks
    again."""
    free = InstallSlot.objects.filter(
        pk=slot.pk, taken__lt=F("capacity"), withdrawn_at__isnull=True
    )
    return bool(free.update(taken=F("taken") + 1))


def _take(slot: InstallSlot) -> None:
    if not _is_taken(slot):
        raise SlotFull("This time has just been taken. Choose another.", field="slot")


def _give(slot: InstallSlot) -> None:
    InstallSlot.objects.filter(pk=slot.pk).update(taken=F("taken") - 1)


def _booked(
    order: ProductOrder,
    slot: InstallSlot,
    actor: User | None,
    at: datetime,
    *,
    moved_from: InstallSlot | None = None,
) -> Appointment:
    """Write the visit whose place was taken, and tell of it."""
    visit = Appointment.objects.create(order=order, slot=slot, booked_at=at, booked_by=actor)
    facts = facts_of(slot.starts_at, slot.ends_at)
    if moved_from is not None:
        facts["moved_from"] = moved_from.starts_at.isoformat()
    expect(order=order, slot=slot, at=at)
    kind = "visit.moved" if moved_from else "visit.booked"
    tell(kind, order=order, actor=actor, at=at, **facts)
    return visit


def facts_of(starts_at: datetime, ends_at: datetime) -> dict[str, str]:
    """Write the hours of a visit for events and the audit trail."""
    return {"starts_at": starts_at.isoformat(), "ends_at": ends_at.isoformat()}


def expect(*, order: ProductOrder, slot: InstallSlot, at: datetime) -> None:
    """Let a locked order be expected no sooner than its visit, and be late no sooner.

    Publishes `order.rescheduled` when the date is later than it was. A visit that nobody has
    closed some time after its end is late: see `jeopardy`.
    """
    if slot.ends_at > order.expected_at:
        before, order.expected_at = order.expected_at, slot.ends_at
        order.save(update_fields=["expected_at"])
        events.publish(
            "order.rescheduled",
            subject=order.public_id,
            at=at,
            was=before.isoformat(),
            expected_at=order.expected_at.isoformat(),
            because=f"Our technician comes on {visiting.in_words(slot)}.",
        )
    due_at = slot.ends_at + settings.VISIT_CLOSED_WITHIN
    order.tasks.filter(kind=plan.INSTALL_VISIT, finished_at__isnull=True).update(
        due_at=due_at, in_jeopardy_at=None
    )
    later = order.tasks.filter(kind__in=plan.AFTER_VISIT, state=OrderTask.State.PENDING)
    later.filter(due_at__lt=due_at + plan.OWN_WORK_TAKES).update(
        due_at=due_at + plan.OWN_WORK_TAKES, in_jeopardy_at=None
    )


def expect_choice(*, order: ProductOrder, at: datetime) -> None:
    """Let a locked order that needs another visit be late when nobody has chosen one for long."""
    due_at = at + settings.VISIT_CHOSEN_WITHIN
    waiting = order.tasks.filter(kind=plan.INSTALL_VISIT, finished_at__isnull=True)
    waiting.update(due_at=due_at, in_jeopardy_at=None)


def release(
    *, order: ProductOrder, visit: Appointment, actor: User | None, reason: str, at: datetime
) -> None:
    """Give the place of a booked visit of a locked order back. Publishes `visit.cancelled`."""
    _give(visit.slot)
    close(visit, State.CANCELLED, at)
    starts_at = visit.slot.starts_at.isoformat()
    tell("visit.cancelled", order=order, actor=actor, reason=reason, at=at, starts_at=starts_at)


def close(visit: Appointment, state: str, at: datetime) -> None:
    """Write that a visit of a locked order is over, and how."""
    VISIT.require(visit.state, state)
    visit.state, visit.closed_at = state, at
    visit.save()


def tell(
    kind: str,
    *,
    order: ProductOrder,
    actor: User | None,
    reason: str = "",
    at: datetime,
    **facts: str,
) -> None:
    """Note what happened to a visit, and publish it under the same name."""
    audit.record(
        actor=actor,
        actor_name="" if actor else "worker",
        action=kind,
        subject=order.public_id,
        subscriber=order.subscriber,
        reason=reason,
        at=at,
        **facts,
    )
    events.publish(kind, subject=order.public_id, at=at, **facts)


def _zone() -> ZoneInfo:
    return ZoneInfo(settings.BILLING_TIME_ZONE)
