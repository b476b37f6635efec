"""Changing the calendar of visits: the hours and the number of a slot, and nobody in it at all.

Whoever is booked in it is told: of the new hours, of another time, or that they have to choose one.
The orders are locked before their slot, all of them by primary key.
"""

from collections.abc import Sequence
from datetime import date, datetime, time
from uuid import UUID
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import transaction

from ispops import db
from ispops.errors import InvalidInput, NotFound, Refusal
from ispops.parties import audit
from ispops.parties.models import User
from provisioning import visiting, visits
from provisioning.models import Appointment, InstallSlot, ProductOrder

BOOKED = Appointment.State.BOOKED


class SlotWithdrawn(Refusal):
    code = "slot_withdrawn"
    title = "Nobody comes at this time any more"


class SlotChanging(Refusal):
    code = "slot_changing"
    title = "Somebody has just booked this time"


@transaction.atomic
def change_slot(
    *, slot_id: UUID, day: date, starts: time, ends: time, capacity: int, actor: User, at: datetime
) -> InstallSlot:
    """Give a slot other hours of the ISP's zone, or another number of visits.

    Publishes `visit.moved` for each that is booked in it when the hours are others. The same again
    changes nothing.

    Raises:
        NotFound: there is no such slot.
        SlotWithdrawn: nobody comes in it any more.
        InvalidInput: names the field: it has begun, the hours are none, past, or those of another
            slot of the area, or more visits are booked than shall be made.
        SlotChanging: somebody has just booked it: look again.
    """
    orders, slot = _hold(slot_id)
    zone = ZoneInfo(settings.BILLING_TIME_ZONE)
    hours = (datetime.combine(day, starts, zone), datetime.combine(day, ends, zone))
    before = (slot.starts_at, slot.ends_at, slot.capacity)
    if (*hours, capacity) == before:
        return slot
    _require_possible(slot, hours, capacity, at)
    moved_from = slot.starts_at
    slot.starts_at, slot.ends_at = hours
    slot.capacity = capacity
    db.check_fields(slot, "capacity")
    slot.save(update_fields=["starts_at", "ends_at", "capacity"])
    audit.record(
        actor=actor, action="visit.slot_changed", subject=slot.public_id, at=at, area=slot.area,
        was=visits.facts_of(before[0], before[1]) | {"capacity": before[2]},
        now=visits.facts_of(*hours) | {"capacity": capacity},
    )  # fmt: skip
    if hours != before[:2]:
        for order in orders:
            visits.expect(order=order, slot=slot, at=at)
            visits.tell(
                "visit.moved", order=order, actor=actor, at=at,
                moved_from=moved_from.isoformat(), **visits.facts_of(*hours),
            )  # fmt: skip
    return slot


def withdraw_slot(*, slot_id: UUID, actor: User, reason: str, at: datetime) -> tuple[int, int]:
    """Send nobody in a slot any more.

    Each visit in it is moved to the next time that is free. Where none is, it is cancelled, and the
    subscriber is asked to choose one when there are others.

    Withdrawing again goes on with the visits that are left. Returns how many visits were moved and
    how many were cancelled.

    Raises:
        NotFound: there is no such slot.
        InvalidInput: there is no reason, or the slot has begun.
    """
    words = reason.replace("\0", "").strip()[:300]
    if not words:
        raise InvalidInput("Say why nobody comes.", field="reason")
    _close(slot_id, actor, words, at)
    booked = Appointment.objects.filter(slot=slot_id, state=BOOKED).order_by("order")
    # Each by itself: nothing can be added to the slot any more, and whoever moves a visit holds
    # its order and two slots, never more.
    moved = [
        _send_elsewhere(key, slot_id, actor, words, at)
        for key in list(booked.values_list("order", flat=True))
    ]
    return moved.count(True), moved.count(False)


@transaction.atomic
def _close(slot_id: UUID, actor: User, reason: str, at: datetime) -> None:
    slot = _lock(slot_id)
    if slot.withdrawn_at is not None:
        return
    if slot.starts_at <= at:
        raise InvalidInput("This time is past. Say of each visit what came of it.", field="slot")
    slot.withdrawn_at = at
    slot.save(update_fields=["withdrawn_at"])
    audit.record(
        actor=actor, action="visit.slot_withdrawn", subject=slot.public_id, reason=reason, at=at,
        area=slot.area, starts_at=slot.starts_at.isoformat(),
    )  # fmt: skip


@transaction.atomic
def _send_elsewhere(
    order_id: UUID, slot_id: UUID, actor: User, reason: str, at: datetime
) -> bool | None:
    """Move one visit out of a slot that was withdrawn; None when somebody else has."""
    order = db.lock(ProductOrder, order_id)
    visit = visiting.visit_of(order)
    if visit is None or visit.slot_id != slot_id:
        return None
    if visits.move_on(order=order, visit=visit, actor=actor, at=at):
        return True
    visits.release(order=order, visit=visit, actor=actor, reason=reason, at=at)
    visits.expect_choice(order=order, at=at)
    return False


def _hold(slot_id: UUID) -> tuple[Sequence[ProductOrder], InstallSlot]:
    """Lock the orders that are booked in a slot, and then the slot."""
    booked = Appointment.objects.filter(slot=slot_id, state=BOOKED)
    keys = set(booked.values_list("order", flat=True))
    rows = ProductOrder.objects.select_for_update(of=("self",), no_key=True)
    orders = list(rows.filter(pk__in=keys).order_by("pk"))
    slot = _lock(slot_id)
    if set(booked.values_list("order", flat=True)) != keys:
        raise SlotChanging("Somebody has just booked or left this time. Look at it again.")
    return orders, slot


def _lock(slot_id: UUID) -> InstallSlot:
    if not InstallSlot.objects.filter(pk=slot_id).exists():
        raise NotFound("There is no such time.")
    return db.lock(InstallSlot, slot_id)


def _require_possible(
    slot: InstallSlot, hours: tuple[datetime, datetime], capacity: int, at: datetime
) -> None:
    if slot.withdrawn_at is not None:
        raise SlotWithdrawn("Nobody comes at this time any more. Plan another one instead.")
    if slot.starts_at <= at:
        raise InvalidInput("This time has begun: it cannot be changed.", field="day")
    if hours[0] <= at or hours[0] > at + visits.PLANNED_AHEAD:
        raise InvalidInput("Choose a time to come, within a year.", field="day")
    if hours[0] >= hours[1]:
        raise InvalidInput("Give hours that end after they begin.", field="ends")
    if capacity < slot.taken:
        raise InvalidInput(
            f"{slot.taken} visits are booked: move some of them first.", field="capacity"
        )
    same = InstallSlot.objects.filter(area=slot.area, starts_at=hours[0], ends_at=hours[1])
    if same.exclude(pk=slot.pk).exists():
        raise InvalidInput("These hours are planned already.", field="starts")
