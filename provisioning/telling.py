"""Telling subscribers what became of their orders and lines; the words are `notice_kinds`."""

from datetime import datetime
from typing import Final

from django.conf import settings
from django.db.models import QuerySet
from django.urls import reverse

from ispops.catalog.models import ProductOffering
from ispops.notices import notify
from ispops.parties.models import SubscriberCheck
from ispops.periods import day_in_words
from provisioning import notice_kinds, visiting
from provisioning.models import (
    Appointment,
    ProductOrder,
    ProductOrderItem,
    Service,
    ServiceSuspension,
)
from provisioning.transitions import CLOSED_ORDER

Action, Intent = ProductOrderItem.Action, ProductOrder.Intent
_ACCESS = ProductOffering.Kind.ACCESS

# Suspending and resuming are told of when they happen, which is at once.
_ACKNOWLEDGED: Final = {
    Intent.NEW,
    Intent.CHANGE,
    Intent.MOVE,
    Intent.PROVIDER_CHANGE,
    Intent.CEASE,
}
# A new line is welcomed by a step of its order, and the end of a line is told of by the line.
_DONE: Final = {
    Intent.CHANGE: notice_kinds.PLAN_CHANGED,
    Intent.MOVE: notice_kinds.ORDER_COMPLETED,
    Intent.PROVIDER_CHANGE: notice_kinds.ORDER_COMPLETED,
}
_REASONS: Final = {
    ServiceSuspension.Reason.REQUESTED: "as you asked",
    ServiceSuspension.Reason.NON_PAYMENT: "because bills are not paid",
    ServiceSuspension.Reason.ABUSE: "because it was used against our rules",
}

_FINDINGS: Final = {
    SubscriberCheck.Kind.IDENTITY: "We could not confirm who you are.",
    SubscriberCheck.Kind.CREDIT: "We could not confirm that you can pay later.",
}
_CHOOSE: Final = "Please choose another time."


def order_received(*, order: ProductOrder, at: datetime) -> None:
    """Say that an order has arrived, and until when it should be done."""
    if order.intent in _ACKNOWLEDGED:
        _of_order(notice_kinds.ORDER_RECEIVED.code, order, at, expected_date=day(order.expected_at))


def order_delayed(*, order: ProductOrder, at: datetime) -> None:
    """Say that the promised day has come without what was promised, once an order.

    A step of ours that is late long before that day is no concern of the subscriber's.
    """
    if (
        order.intent in _ACKNOWLEDGED
        and order.state not in CLOSED_ORDER
        and at >= order.expected_at
    ):
        _of_order(notice_kinds.ORDER_DELAYED.code, order, at, expected_date=day(order.expected_at))


def order_done(*, order: ProductOrder, at: datetime) -> None:
    """Say that a change, a move or a change of network is done."""
    kind = _DONE.get(Intent(order.intent))
    if kind is not None:
        _of_order(kind.code, order, at, date=day(at))


def order_cancelled(*, order: ProductOrder, at: datetime) -> None:
    """Say that an order was taken back. Staff wrote the reason for themselves: it stays inside."""
    if order.intent in _ACKNOWLEDGED:
        _of_order(notice_kinds.ORDER_CANCELLED.code, order, at)


def check_refused(*, order: ProductOrder, check: SubscriberCheck, at: datetime) -> None:
    """Say that an order waits because a check was refused. Why, staff or the checker wrote for us:
    it stays inside."""
    _of_order(
        notice_kinds.CHECK_REFUSED.code,
        order,
        at,
        cause=f"{check.public_id}:{order.public_id}",
        finding=_FINDINGS[SubscriberCheck.Kind(check.kind)],
    )


def visit_booked(*, order: ProductOrder, cause: str, at: datetime) -> None:
    """Say when the technician comes; nothing where the visit was cancelled meanwhile."""
    visit = visiting.visit_of(order)
    if visit is not None:
        words = visiting.in_words(visit.slot)
        _of_order(notice_kinds.VISIT_BOOKED.code, order, at, cause=cause, visit=words)


def visit_failed(*, order: ProductOrder, failure: str, cause: str, at: datetime) -> None:
    """Ask for another time after a visit in vain; what staff noted of it stays inside."""
    visit = visiting.last_visit_of(order)
    if visit is None or not visiting.awaits_visit(order):
        return
    came = f"Our technician came on {visiting.in_words(visit.slot)}"
    if failure == Appointment.Failure.NOBODY_HOME:
        need = f"{came}, and nobody was at home. {_CHOOSE}"
    else:
        need = f"{came}, and the work was not possible. {_CHOOSE}"
    _needs_you(order, need, cause, at)


def visit_cancelled(*, order: ProductOrder, starts_at: datetime, cause: str, at: datetime) -> None:
    """Say that a technician who was announced does not come, and ask for another time if one is
    needed. An order that was taken back says so itself."""
    if order.state in CLOSED_ORDER and order.state != ProductOrder.State.COMPLETED:
        return
    if visiting.visit_of(order) is not None:
        return
    was = order.appointments.filter(slot__starts_at=starts_at).select_related("slot").first()
    words = visiting.in_words(was.slot) if was else day(starts_at)
    if visiting.awaits_visit(order):
        _needs_you(order, f"Our technician cannot come on {words}. {_CHOOSE}", cause, at)
    else:
        _of_order(notice_kinds.VISIT_CANCELLED.code, order, at, cause=cause, visit=words)


def visit_needed(*, order: ProductOrder, cause: str, at: datetime) -> None:
    """Ask for a time at which the technician can come."""
    if visiting.awaits_visit(order):
        _needs_you(order, "Our technician has to come. Please choose a time.", cause, at)


def _needs_you(order: ProductOrder, need: str, cause: str, at: datetime) -> None:
    page = reverse("portal:visit", args=[order.public_id])
    _of_order(
        notice_kinds.NEEDS_YOU.code, order, at, cause=cause, need=need,
        todo_url=settings.BASE_URL.rstrip("/") + page,
    )  # fmt: skip


def welcome(*, order: ProductOrder, line: Service, at: datetime) -> None:
    """Say that a new line works. It holds no secret."""
    notify.send(
        kind=notice_kinds.WELCOME.code,
        subscriber=line.subscriber,
        cause=order.public_id,
        at=at,
        plan=str(line.bundle or line.offering),
        premises=str(line.premises),
        order_number=order.public_id,
    )


def line_suspended(*, line: Service, cause: str, reason: str, at: datetime) -> None:
    """Say that a line is suspended, why, and what to do."""
    note = line.suspensions.filter(reason=reason).order_by("-started_at").first()
    known = ServiceSuspension.Reason.values
    why = _REASONS[ServiceSuspension.Reason(reason)] if reason in known else "for now"
    _of_line(
        notice_kinds.LINE_SUSPENDED.code,
        line,
        cause,
        at,
        reason=why,
        note=note.note if note else "",
    )


def line_activated(*, line: Service, cause: str, at: datetime) -> None:
    """Say that a line is on again, if it was suspended before; a new one is welcomed instead."""
    if line.periods.filter(state=Service.State.SUSPENDED, started_at__lt=at).exists():
        _of_line(notice_kinds.LINE_RESUMED.code, line, cause, at)


def line_ceased(*, line: Service, cause: str, at: datetime) -> None:
    """Say that a line has ended, if it ever was in use; an order that was taken back says so."""
    if line.periods.exists():
        _of_line(notice_kinds.LINE_CEASED.code, line, cause, at)


def day(at: datetime) -> str:
    """Write a day as the subscriber's calendar shows it."""
    return day_in_words(at, zone=settings.BILLING_TIME_ZONE)


def _of_order(
    kind: str, order: ProductOrder, at: datetime, *, cause: str = "", **more: str
) -> None:
    notify.send(
        kind=kind,
        subscriber=order.subscriber,
        cause=cause or order.public_id,
        at=at,
        what=in_words(order),
        order_number=order.public_id,
        order_url=settings.BASE_URL.rstrip("/") + reverse("portal:order", args=[order.public_id]),
        **more,
    )


def _of_line(kind: str, line: Service, cause: str, at: datetime, **more: str) -> None:
    notify.send(
        kind=kind,
        subscriber=line.subscriber,
        cause=cause,
        at=at,
        plan=str(line.bundle or line.offering),
        premises=str(line.premises),
        date=day(at),
        **more,
    )


def in_words(order: ProductOrder) -> str:
    """Write what an order is about: `Fiber 500 with Films at 1 Oak Street`."""
    items = order.items.select_related("offering", "bundle", "service__premises").order_by("pk")
    place = _place(order, items)
    named = [item for item in items if item.action in {Action.ADD, Action.MODIFY}]
    main = next((item for item in named if item.offering.kind == _ACCESS), None)
    plan = str((main.bundle or main.offering) if main else _current(order))
    added = [str(item.offering) for item in named if item is not main and item.bundle is None]
    ended = [str(item.offering) for item in items if item.action == Action.DELETE]
    if order.intent == Intent.CEASE:
        return f"the end of {plan} at {place}"
    with_added = f" with {' and '.join(added)}" if added else ""
    # The old plan of a line that gets another one is of no interest.
    without = f" without {' and '.join(ended)}" if ended and main is None else ""
    return f"{plan}{with_added}{without} at {place}"


def _place(order: ProductOrder, items: QuerySet[ProductOrderItem]) -> str:
    """Where it is delivered: of a move, the new address."""
    if order.qualification is not None and order.qualification.premises is not None:
        return str(order.qualification.premises)
    service = order.line or next((item.service for item in items if item.service), None)
    return str(service.premises) if service else ""


def _current(order: ProductOrder) -> str:
    return str(order.line.bundle or order.line.offering) if order.line else ""
