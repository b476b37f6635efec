"""Reading the calendar of technicians' visits: which there are for an order, and in what words."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db.models import F, QuerySet

from ispops.parties.models import User
from provisioning import plan
from provisioning.models import (
    Appointment,
    InstallSlot,
    OrderTask,
    ProductOrder,
    ProductOrderItem,
)
from provisioning.transitions import FINISHED_TASK
from qualification.models import Premises

# So many are offered to choose from.
MOST_OFFERED = 40


def area_name(city: str, region: str) -> str:
    """Name the area of a place: its city and state, however they are written."""
    return f"{' '.join(city.split())}, {region.strip()}".upper()


def area_of(premises: Premises | None) -> str:
    """Return the area whose technicians visit a place; empty where there is none."""
    return area_name(premises.city, premises.region) if premises else ""


def has_calendar(area: str, *, at: datetime) -> bool:
    """Say whether visits in an area are planned at all, free or taken."""
    to_come = InstallSlot.objects.filter(area=area, starts_at__gt=at)
    return to_come.filter(withdrawn_at__isnull=True).exists()


def is_needed(item: ProductOrderItem) -> bool:
    """Say whether a technician comes for a line that an order adds: not where no calendar is kept,
    so that an ISP that keeps none is not stopped."""
    provider, offer = item.offering.provider, item.offer
    if offer is None or item.action != ProductOrderItem.Action.ADD or not settings.INSTALL_VISITS:
        return False
    is_on_net = provider is not None and provider.is_on_net
    if not plan.needs_visit(is_on_net=is_on_net, install_days=offer.install_days):
        return False
    return has_calendar(area_of(item.order.premises), at=item.order.placed_at)


def visit_of(order: ProductOrder) -> Appointment | None:
    """Return the visit that is booked for an order."""
    booked = Appointment.objects.filter(order=order, state=Appointment.State.BOOKED)
    return booked.select_related("slot").first()


def made_visit_of(order: ProductOrder) -> Appointment | None:
    """Return the visit in which the work for an order was done."""
    done = Appointment.objects.filter(order=order, state=Appointment.State.DONE)
    return done.select_related("slot").first()


def last_visit_of(order: ProductOrder) -> Appointment | None:
    """Return the visit that was booked last for an order, whatever has become of it."""
    rows = Appointment.objects.filter(order=order).select_related("slot", "closed_by")
    return rows.order_by("-booked_at", "-pk").first()


def is_visited(order: ProductOrder) -> bool:
    """Say whether a technician comes for an order: it was not taken back, nor the work done."""
    states = dict(
        order.tasks.filter(kind__in=[plan.BOOK_VISIT, plan.INSTALL_VISIT])
        .exclude(state=OrderTask.State.CANCELLED)
        .values_list("kind", "state")
    )
    if plan.BOOK_VISIT not in states or states.get(plan.INSTALL_VISIT) in FINISHED_TASK:
        return False
    return made_visit_of(order) is None


def awaits_visit(order: ProductOrder) -> bool:
    """Say whether going on needs a visit that is not booked: the subscriber has to choose one."""
    waits = order.tasks.filter(kind=plan.INSTALL_VISIT, state=OrderTask.State.AWAITING)
    return waits.exists() and visit_of(order) is None


def free_from(order: ProductOrder, at: datetime, asker: User | None = None) -> datetime:
    """Return from when on a visit for an order can be had.

    Whoever moves has the new place from the day that was asked for. Staff need no notice: they
    have spoken with the technician.
    """
    is_of_staff = asker is not None and asker.is_staff
    soonest = at if is_of_staff else at + settings.VISIT_NOTICE
    return max(soonest, order.wanted_from or soonest)


def free_slots(
    order: ProductOrder, *, at: datetime, asker: User | None = None
) -> QuerySet[InstallSlot]:
    """Return the slots with a place left in which an order can have its visit, the first first."""
    area = area_of(order.premises)
    slots = InstallSlot.objects.filter(area=area, starts_at__gte=free_from(order, at, asker))
    free = slots.filter(taken__lt=F("capacity"), withdrawn_at__isnull=True)
    return free.order_by("starts_at", "ends_at")


def offer_slots(order: ProductOrder, *, at: datetime) -> list[InstallSlot]:
    """Return the next slots that the subscriber can choose for an order that is visited."""
    if not is_visited(order):
        return []
    return list(free_slots(order, at=at)[:MOST_OFFERED])


def may_be_moved(visit: Appointment, *, at: datetime) -> bool:
    """Say whether it is early enough for the subscriber to choose another time."""
    return bool(visit.slot.starts_at >= at + settings.VISIT_NOTICE)


def hours_of(slot: InstallSlot) -> dict[str, Any]:
    """Return the hours of a slot in the ISP's own zone, as whoever changes it fills them in."""
    starts, ends = (moment.astimezone(_zone()) for moment in (slot.starts_at, slot.ends_at))
    return {
        "day": starts.date(),
        "starts": f"{starts:%H:%M}",
        "ends": f"{ends:%H:%M}",
        "capacity": slot.capacity,
    }


def in_words(slot: InstallSlot) -> str:
    """Write when it is in the ISP's own zone: `Tuesday 3 December, 8:00 to 12:00`."""
    return f"{day_in_words(slot)}, {hours_in_words(slot)}"


def day_in_words(slot: InstallSlot) -> str:
    return f"{slot.starts_at.astimezone(_zone()):%A %-d %B}"


def hours_in_words(slot: InstallSlot) -> str:
    starts, ends = (moment.astimezone(_zone()) for moment in (slot.starts_at, slot.ends_at))
    return f"{starts:%-H:%M} to {ends:%-H:%M}"


def _zone() -> ZoneInfo:
    return ZoneInfo(settings.BILLING_TIME_ZONE)
