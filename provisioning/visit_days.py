"""Reading the visits of a day as technicians go through it, and those that nobody has closed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db.models import Prefetch, QuerySet

from provisioning.models import Appointment, InstallSlot, ProductOrderItem

State = Appointment.State
# What a technician finds on the list of a day: to be made, or made.
SHOWN = (State.BOOKED, State.DONE, State.FAILED)
MOST_SHOWN = 500


@dataclass(frozen=True, slots=True)
class Call:
    """One visit with what whoever makes it has to know."""

    visit: Appointment
    plan: str
    # Why somebody came before in vain.
    before: Sequence[Appointment]


def today(at: datetime) -> date:
    """Return the day that it is for the ISP."""
    return at.astimezone(ZoneInfo(settings.BILLING_TIME_ZONE)).date()


def of_day(day: date, *, area: str = "") -> list[Call]:
    """Return the visits of a day, the first first; `area` keeps those of one."""
    rows = Appointment.objects.filter(state__in=SHOWN, slot__in=_slots_of(day))
    return _calls(rows.filter(slot__area=area) if area else rows)


def overdue(at: datetime) -> QuerySet[Appointment]:
    """Return the visits that are over and of which nobody has said what came of them."""
    return Appointment.objects.filter(state=State.BOOKED, slot__ends_at__lte=at)


def calls_overdue(at: datetime, *, area: str = "") -> list[Call]:
    """Return these with what has to be known of them, the oldest first."""
    rows = overdue(at)
    return _calls(rows.filter(slot__area=area) if area else rows)


def booked_in(slot: InstallSlot) -> list[Call]:
    """Return the visits that are to be made in a slot."""
    return _calls(Appointment.objects.filter(slot=slot, state=State.BOOKED))


def areas(day: date) -> list[str]:
    """Name the areas that have a calendar on a day."""
    rows = _slots_of(day).order_by("area").values_list("area", flat=True)
    return list(rows.distinct())


def next_day(after: date) -> date | None:
    """Return the next day on which somebody is visited."""
    visits = Appointment.objects.filter(
        state__in=SHOWN, slot__starts_at__gte=_begin(after + timedelta(days=1))
    )
    found = visits.order_by("slot__starts_at").values_list("slot__starts_at", flat=True).first()
    return found.astimezone(ZoneInfo(settings.BILLING_TIME_ZONE)).date() if found else None


def _slots_of(day: date) -> QuerySet[InstallSlot]:
    begin, end = _begin(day), _begin(day + timedelta(days=1))
    return InstallSlot.objects.filter(starts_at__gte=begin, starts_at__lt=end)


def _begin(day: date) -> datetime:
    return datetime.combine(day, time(), ZoneInfo(settings.BILLING_TIME_ZONE))


def _calls(rows: QuerySet[Appointment]) -> list[Call]:
    """Read visits with their orders: three questions, for however many visits."""
    items = ProductOrderItem.objects.select_related("offering", "bundle").order_by("pk")
    failed = Appointment.objects.filter(state=State.FAILED).select_related("slot", "closed_by")
    found = rows.select_related(
        "slot",
        "closed_by",
        "order__subscriber",
        "order__qualification__premises",
        "order__line__premises",
    ).prefetch_related(
        Prefetch("order__items", items),
        Prefetch("order__appointments", failed.order_by("closed_at"), to_attr="in_vain"),
    )
    ordered = found.order_by("slot__starts_at", "slot__area", "pk")[:MOST_SHOWN]
    return [Call(visit, _plan(visit), _before(visit)) for visit in ordered]


def _plan(visit: Appointment) -> str:
    added = [item for item in visit.order.items.all() if item.action == "add"]
    names = {str(item.bundle or item.offering): None for item in added}
    return ", ".join(names)


def _before(visit: Appointment) -> list[Appointment]:
    return [row for row in visit.order.in_vain if row.pk != visit.pk]  # type: ignore[attr-defined]
