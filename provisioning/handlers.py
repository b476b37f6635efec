"""What provisioning does when something happened; registered when Django starts."""

from datetime import datetime
from typing import Any

from django.utils import timezone

from ispops import events
from ispops.parties.models import SubscriberCheck
from provisioning import (
    checking,
    control,
    execution,
    expectations,
    further_devices,
    partner_news,
    reservations,
    telling,
)
from provisioning.models import ProductOrder, Service, ServiceOrder


def _go_on(event: Any) -> None:
    key = ServiceOrder.key_of(event.subject)
    if key is not None:
        execution.take_answer(service_order_id=key, at=event.occurred_at)


@events.on("service_order.completed", name="provisioning.partner_confirmed")
def partner_confirmed(event: Any) -> None:
    """A step that waited for the partner is done, and the order goes on."""
    _go_on(event)


@events.on("service_order.failed", name="provisioning.partner_refused")
def partner_refused(event: Any) -> None:
    """A step that waited for the partner needs a person."""
    _go_on(event)


@events.on("service_order.timed_out", name="provisioning.partner_timed_out")
def partner_timed_out(event: Any) -> None:
    """A step that waited for the partner needs a person."""
    _go_on(event)


@events.on("service_order.cancelled", name="provisioning.partner_order_withdrawn")
def partner_order_withdrawn(event: Any) -> None:
    """A step that waited for the partner needs a person, unless its order was cancelled."""
    _go_on(event)


def _order(event: Any) -> ProductOrder | None:
    key = ProductOrder.key_of(event.subject)
    rows = ProductOrder.objects.select_related("subscriber", "line", "qualification__premises")
    return rows.filter(pk=key).first() if key else None


def _line(event: Any) -> Service | None:
    """Return the line that an event is about; what a line carries is told of in other ways."""
    key = Service.key_of(event.subject)
    rows = Service.objects.select_related("subscriber", "offering", "bundle", "premises")
    return rows.filter(pk=key, line__isnull=True).first() if key else None


@events.on("address.renumbered", name="provisioning.end_renumbered_session")
def end_renumbered_session(event: Any) -> None:
    """A line whose address was taken back is disconnected, and gets another one when it returns."""
    address, _, length = event.payload["address"].partition("/")
    line = _line_of(event)
    if line is not None and length in ("", "32"):
        control.end_session(service=line, address=address, at=event.occurred_at)


@events.on("address.static_released", name="provisioning.end_static_session")
def end_static_session(event: Any) -> None:
    """A line that is online with an address it has no more is disconnected."""
    end_renumbered_session(event)


def _follow_addresses(event: Any) -> None:
    """Tell the DHCP server of a line what its devices have now; RADIUS is asked by itself.

    What is given now is not given from the moment of an event that waited to be told.
    """
    if line := _line_of(event):
        at = max(event.occurred_at, timezone.now())
        reservations.follow_addresses(service=line, at=at)


def _line_of(event: Any) -> Service | None:
    """Return the line whose addresses an event is about."""
    key = Service.key_of(event.payload["service"])
    return Service.objects.filter(pk=key).first() if key else None


@events.on("address.static_assigned", name="provisioning.reserve_static_address")
def reserve_static_address(event: Any) -> None:
    """A line by DHCP gets the address that is kept for it."""
    _follow_addresses(event)


@events.on("address.static_released", name="provisioning.reserve_after_static")
def reserve_after_static(event: Any) -> None:
    """A line by DHCP gets an address of its plan in the place of the one that it has no more."""
    _follow_addresses(event)


@events.on("address.static_moved", name="provisioning.reserve_moved_static")
def reserve_moved_static(event: Any) -> None:
    """A line by DHCP gets its new static address."""
    _follow_addresses(event)


@events.on("address.renumbered", name="provisioning.reserve_renumbered")
def reserve_renumbered(event: Any) -> None:
    """A line by DHCP asks for nothing by itself, so its new address is reserved for it."""
    _follow_addresses(event)


@events.on("address.extra_granted", name="provisioning.reserve_extra")
def reserve_extra(event: Any) -> None:
    """A further device of a line by DHCP gets the address that was granted."""
    if line := _line_of(event):
        at = max(event.occurred_at, timezone.now())
        further_devices.let_in(service=line, device=event.payload["device"], at=at)


@events.on("address.extra_ended", name="provisioning.reserve_no_extra")
def reserve_no_extra(event: Any) -> None:
    """A further device of a line by DHCP has an address no more."""
    _follow_addresses(event)


@events.on("address.taken_back", name="provisioning.end_session_without_address")
def end_session_without_address(event: Any) -> None:
    """A device that was freed, or whose extra address has ended, is disconnected."""
    end_renumbered_session(event)


@events.on("order.placed", name="provisioning.write_order_received")
def write_order_received(event: Any) -> None:
    """Whoever ordered hears that the order has arrived."""
    if order := _order(event):
        telling.order_received(order=order, at=event.occurred_at)


@events.on("order.task_in_jeopardy", name="provisioning.write_order_delayed")
def write_order_delayed(event: Any) -> None:
    """Whoever ordered hears that it takes longer, when the promised day has come."""
    if order := _order(event):
        telling.order_delayed(order=order, at=event.occurred_at)


def _write_done(event: Any) -> None:
    if order := _order(event):
        telling.order_done(order=order, at=event.occurred_at)


@events.on("order.completed", name="provisioning.write_order_done")
def write_order_done(event: Any) -> None:
    """Whoever ordered hears that it is done."""
    _write_done(event)


@events.on("order.partial", name="provisioning.write_order_partly_done")
def write_order_partly_done(event: Any) -> None:
    """Whoever ordered hears that it is done; its page says what was left out."""
    _write_done(event)


def _write_cancelled(event: Any) -> None:
    if order := _order(event):
        telling.order_cancelled(order=order, at=event.occurred_at)


@events.on("order.cancelled", name="provisioning.write_order_cancelled")
def write_order_cancelled(event: Any) -> None:
    """Whoever ordered hears that nothing more happens."""
    _write_cancelled(event)


@events.on("order.failed", name="provisioning.write_order_failed")
def write_order_failed(event: Any) -> None:
    """Whoever ordered hears that nothing more happens."""
    _write_cancelled(event)


def _write_visit(event: Any) -> None:
    if order := _order(event):
        telling.visit_booked(order=order, cause=f"event:{event.pk}", at=event.occurred_at)


@events.on("visit.booked", name="provisioning.write_visit_booked")
def write_visit_booked(event: Any) -> None:
    """Whoever ordered hears when the technician comes."""
    _write_visit(event)


@events.on("visit.moved", name="provisioning.write_visit_moved")
def write_visit_moved(event: Any) -> None:
    """Whoever ordered hears when the technician comes instead."""
    _write_visit(event)


@events.on("visit.failed", name="provisioning.write_visit_failed")
def write_visit_failed(event: Any) -> None:
    """Whoever was not at home, or could not be helped, is asked for another time."""
    if order := _order(event):
        telling.visit_failed(
            order=order, failure=event.payload.get("failure", ""), cause=f"event:{event.pk}",
            at=event.occurred_at,
        )  # fmt: skip


@events.on("visit.cancelled", name="provisioning.write_visit_cancelled")
def write_visit_cancelled(event: Any) -> None:
    """Whoever waited for a technician hears that nobody comes, and what to do if one must."""
    if order := _order(event):
        starts_at = datetime.fromisoformat(event.payload["starts_at"])
        cause = f"event:{event.pk}"
        telling.visit_cancelled(order=order, starts_at=starts_at, cause=cause, at=event.occurred_at)


@events.on("visit.needed", name="provisioning.write_visit_needed")
def write_visit_needed(event: Any) -> None:
    """Whoever has to choose a time for the technician is asked to."""
    if order := _order(event):
        telling.visit_needed(order=order, cause=f"event:{event.pk}", at=event.occurred_at)


@events.on("check.decided", name="provisioning.check_decided")
def check_decided(event: Any) -> None:
    """Steps that waited for a check go on, or need a person."""
    key = SubscriberCheck.key_of(event.subject)
    if key is not None:
        checking.take_verdict(check_id=key, at=event.occurred_at)


@events.on("service.suspended", name="provisioning.write_line_suspended")
def write_line_suspended(event: Any) -> None:
    """Whose line is suspended hears why, and what to do."""
    if line := _line(event):
        reason = event.payload.get("reason", "")
        cause = f"event:{event.pk}"
        telling.line_suspended(line=line, cause=cause, reason=reason, at=event.occurred_at)


@events.on("service.activated", name="provisioning.write_line_resumed")
def write_line_resumed(event: Any) -> None:
    """Whose line was suspended hears that it is on again."""
    if line := _line(event):
        telling.line_activated(line=line, cause=f"event:{event.pk}", at=event.occurred_at)


@events.on("service.ceased", name="provisioning.write_line_ceased")
def write_line_ceased(event: Any) -> None:
    """Whose line has ended hears from when on."""
    if line := _line(event):
        telling.line_ceased(line=line, cause=f"event:{event.pk}", at=event.occurred_at)


@events.on("service_order.progressed", name="provisioning.partner_progressed")
def partner_progressed(event: Any) -> None:
    """The order may take as long as the partner says."""
    key = ServiceOrder.key_of(event.subject)
    if key is not None:
        expectations.follow_partner(service_order_id=key, at=event.occurred_at)


def _tell_partner(event: Any) -> None:
    key = Service.key_of(event.subject)
    if key is not None:
        partner_news.tell_of_service(service_id=key, kind=event.kind, at=event.occurred_at)


@events.on("service.activated", name="provisioning.tell_partner_of_start")
def tell_partner_of_start(event: Any) -> None:
    """Whoever delivers a service hears that it is in use, also after a pause."""
    _tell_partner(event)


@events.on("service.suspended", name="provisioning.tell_partner_of_pause")
def tell_partner_of_pause(event: Any) -> None:
    """Whoever delivers a service hears that it is paused."""
    _tell_partner(event)


@events.on("service.ceased", name="provisioning.tell_partner_of_end")
def tell_partner_of_end(event: Any) -> None:
    """Whoever delivers a service hears that it has ended."""
    _tell_partner(event)
