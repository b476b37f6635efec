"""What partners are asked to deliver, and what they answer (figures 4 step 3 and 8 step 4).

A partner hears of its order by webhook and answers through the API, or it has an API of its own,
where the order is placed (`provisioning.deliveries`). The first answer counts; a repeat of it
changes nothing, and an answer to an order that is closed is refused. An answer is told upward by
an event: an order's task goes on, a purchase is settled.
"""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction

from ispops import db, events
from ispops.catalog.models import ProductOffering
from ispops.errors import InvalidInput, NotFound, Refusal
from ispops.parties import webhooks
from ispops.parties.models import Partner, Subscriber
from provisioning import deliveries
from provisioning.models import PartnerSubscriber, Service, ServiceOrder
from provisioning.transitions import SERVICE_ORDER

TIME_OUTS_PER_SWEEP = 500
# How long a partner has to end what it delivered.
UNDONE_WITHIN = timedelta(days=14)
_UNDONE_BY: dict[str, str] = {
    ServiceOrder.Action.ADD: ServiceOrder.Action.DELETE,
    ServiceOrder.Action.MODIFY: ServiceOrder.Action.MODIFY,
}
# A date that a partner gives is believed when it is not further off than this.
LATEST_DELIVERY = timedelta(days=365)
_OPEN_OR_DONE = (ServiceOrder.State.ACKNOWLEDGED, ServiceOrder.State.COMPLETED)


class PartnerNotActive(Refusal):
    code = "partner_not_active"
    title = "The partner is not active"


class ServiceOrderClosed(Refusal):
    code = "service_order_closed"
    title = "The service order is closed"


@dataclass(frozen=True, slots=True)
class Progress:
    """What a partner says of an order that it has not closed: empty where it says nothing new.

    `state` is in_progress or held; `expected_at` is when it will have delivered.
    """

    state: str = ""
    message: str = ""
    expected_at: datetime | None = None


@transaction.atomic
def request_line(
    *,
    service: Service,
    cause: str,
    answer_by: datetime,
    at: datetime,
    action: str = ServiceOrder.Action.ADD,
    offering: ProductOffering | None = None,
) -> ServiceOrder:
    """Ask the network provider of an access plan to deliver, change or end a line.

    Once per `cause`: a repeat returns the order that was made, whatever became of it. The partner
    learns the address, because it has to go there, and no name. `offering` is what the line shall
    be changed to; by default it is what the service is. Raises PartnerNotActive.
    """
    return _request(
        kind=ServiceOrder.Kind.LINE,
        action=action,
        service=service,
        offering=offering or service.offering,
        cause=cause,
        answer_by=answer_by,
        at=at,
    )


@transaction.atomic
def request_entitlement(
    *, line: Service, service: Service, offering: ProductOffering, cause: str, at: datetime
) -> ServiceOrder:
    """Ask a BSP to grant what was bought: `service`, which `line` carries, for `offering`.

    Once per `cause`: a repeat returns the order that was made, whatever became of it. The BSP has
    `settings.ENTITLEMENT_CONFIRMED_WITHIN` to answer.

    Raises:
        PartnerNotActive: the BSP delivers nothing at the moment.
        ValueError: the service is carried by another line, or is of another offering.
    """
    if service.line_id != line.pk or service.offering_id != offering.pk:
        raise ValueError("the service is not this offering on this line")
    return _request(
        kind=ServiceOrder.Kind.ENTITLEMENT,
        action=ServiceOrder.Action.ADD,
        service=service,
        offering=service.offering,
        cause=cause,
        answer_by=at + settings.ENTITLEMENT_CONFIRMED_WITHIN,
        at=at,
    )


def _request(
    *,
    kind: str,
    action: str,
    service: Service,
    offering: ProductOffering,
    cause: str,
    answer_by: datetime,
    at: datetime,
    partner: Partner | None = None,
) -> ServiceOrder:
    partner = partner or Partner.objects.filter(offerings=offering, active=True).first()
    if partner is None:
        raise PartnerNotActive(f"Nobody delivers {offering} at the moment.")
    order, is_new = ServiceOrder.objects.get_or_create(
        cause=cause,
        defaults={
            "partner": partner,
            "kind": kind,
            "action": action,
            "service": service,
            "offering": offering,
            "subscriber_ref": reference_of(partner=partner, subscriber=service.subscriber),
            "requested_at": at,
            "answer_by": answer_by,
        },
    )
    if is_new and deliveries.begin(order=order, at=at) is None:
        _tell(order, "created", at=at)
    return order


def reference_of(*, partner: Partner, subscriber: Subscriber) -> str:
    """Return the name by which a partner knows a subscriber; made at random when first needed."""
    known, _ = PartnerSubscriber.objects.get_or_create(
        partner=partner,
        subscriber=subscriber,
        defaults={"reference": f"psb_{secrets.token_hex(16)}"},
    )
    return known.reference


@transaction.atomic
def complete(
    *, service_order_id: UUID, partner: Partner, reference: str = "", at: datetime
) -> ServiceOrder:
    """Take a partner's word that its order is delivered. Publishes `service_order.completed`.

    `reference` is the partner's own number for it. Confirming again changes nothing.

    Raises:
        NotFound: this partner has no such order.
        InvalidInput: the reference is too long.
        ServiceOrderClosed: the order was refused, timed out or cancelled before.
    """
    order = _lock_own(service_order_id, partner)
    if order.state == ServiceOrder.State.COMPLETED:
        return order
    order.partner_reference = _text(reference, "reference", most=100)
    return _answer(order, ServiceOrder.State.COMPLETED, at=at)


@transaction.atomic
def fail(*, service_order_id: UUID, partner: Partner, reason: str, at: datetime) -> ServiceOrder:
    """Take a partner's word that it cannot deliver. Publishes `service_order.failed`.

    Refusing again changes nothing.

    Raises:
        NotFound: this partner has no such order.
        InvalidInput: there is no reason, or it is too long.
        ServiceOrderClosed: the order was confirmed, timed out or cancelled before.
    """
    order = _lock_own(service_order_id, partner)
    if order.state == ServiceOrder.State.FAILED:
        return order
    order.reason = _text(reason, "reason", most=300)
    if not order.reason:
        raise InvalidInput("Say why it cannot be delivered.", field="reason")
    return _answer(order, ServiceOrder.State.FAILED, at=at)


@transaction.atomic
def report_progress(
    *, service_order_id: UUID, partner: Partner, progress: Progress, at: datetime
) -> ServiceOrder:
    """Take a partner's word of how far it is. Publishes `service_order.progressed` when it is new.

    Where the partner names a later date, it is given that much longer to answer.

    Raises:
        NotFound: this partner has no such order.
        InvalidInput: the message is too long, or the date is over or too far off.
        ServiceOrderClosed: the order is closed.
    """
    order = _lock_own(service_order_id, partner)
    if order.state != ServiceOrder.State.ACKNOWLEDGED:
        raise ServiceOrderClosed(_closed_words(order))
    before = (order.progress, order.message, order.expected_at)
    order.progress = progress.state or order.progress
    order.message = _text(progress.message, "message", most=300)
    if (expected_at := progress.expected_at) is not None:
        if not is_believable(expected_at, at=at):
            raise InvalidInput("Give a date within a year.", field="expected_at")
        order.expected_at = expected_at
        order.answer_by = max(order.answer_by, expected_at + settings.LINE_ANSWERED_AFTER_DUE)
    if (order.progress, order.message, order.expected_at) == before:
        return order
    order.save(update_fields=["progress", "message", "expected_at", "answer_by"])
    events.publish(
        "service_order.progressed",
        subject=order.public_id,
        at=at,
        cause=order.cause,
        progress=order.progress,
        message=order.message,
        expected_at=order.expected_at.isoformat() if order.expected_at else None,
    )
    return order


@transaction.atomic
def withdraw(*, service_order_id: UUID, reason: str, at: datetime) -> ServiceOrder:
    """Take an order back: it is no longer wanted, or what was delivered is to be ended.

    The partner is told, the way in which it was asked. An order that the partner refused or let
    pass, or that was taken back before, stays as it is.
    """
    order = db.lock(ServiceOrder, service_order_id)
    if not SERVICE_ORDER.allows(order.state, ServiceOrder.State.CANCELLED):
        return order
    was_delivered = order.state == ServiceOrder.State.COMPLETED
    order.reason = reason[:300]
    _answer(order, ServiceOrder.State.CANCELLED, at=at)
    delivery = deliveries.of_order(order)
    if was_delivered and _is_asked_to_end(order):
        return order
    if delivery is None:
        _tell(order, "cancelled", at=at)
    elif was_delivered:
        undo(order=order, at=at)
    else:
        deliveries.take_back(delivery=delivery, at=at)
    return order


def undo(*, order: ServiceOrder, at: datetime) -> ServiceOrder | None:
    """Ask a provider to end, or change back, what it delivered for an order that is not wanted.

    Providers do not take back by their APIs what is delivered: that is an order of its own.
    Returns None where there is nothing to undo, or it has been asked for.
    """
    action = _UNDONE_BY.get(order.action)
    # A change ends with its line.
    is_over = action == ServiceOrder.Action.MODIFY and order.service.state == Service.State.CEASED
    if action is None or is_over or _is_asked_to_end(order):
        return None
    return _request(
        kind=order.kind,
        action=action,
        service=order.service,
        offering=order.service.offering,
        cause=f"undo:{order.public_id}",
        answer_by=at + UNDONE_WITHIN,
        at=at,
        # Also one that we have stopped to deal with since.
        partner=order.partner,
    )


def _is_asked_to_end(order: ServiceOrder) -> bool:
    ends = ServiceOrder.objects.filter(service=order.service_id, kind=order.kind)
    return ends.filter(action=ServiceOrder.Action.DELETE, state__in=_OPEN_OR_DONE).exists()


def time_out_due(*, at: datetime) -> int:
    """Close the orders that no partner answered in time, and tell the partners not to deliver.

    Publishes `service_order.timed_out` for each and returns how many there were. An answer that
    is being written at this moment wins: its row is passed over.
    """
    waiting = ServiceOrder.objects.filter(
        state=ServiceOrder.State.ACKNOWLEDGED, answer_by__lte=at
    ).order_by("pk")
    keys = list(waiting.values_list("pk", flat=True)[:TIME_OUTS_PER_SWEEP])
    return sum(_time_out(waiting, key, at) for key in keys)


@transaction.atomic
def _time_out(waiting: Any, key: UUID, at: datetime) -> bool:
    order = waiting.select_for_update(skip_locked=True, of=("self",)).filter(pk=key).first()
    if order is None:
        return False
    order.reason = "No answer in time."
    _answer(order, ServiceOrder.State.TIMED_OUT, at=at)
    delivery = deliveries.of_order(order)
    if delivery is None:
        _tell(order, "timed_out", at=at)
    else:
        deliveries.take_back(delivery=delivery, at=at)
    return True


def _lock_own(service_order_id: UUID, partner: Partner) -> ServiceOrder:
    """Hold a partner's order; another partner's is not there for it (invariant 7)."""
    own = ServiceOrder.objects.select_for_update(of=("self",)).filter(partner=partner)
    order = own.filter(pk=service_order_id).first()
    if order is None:
        raise NotFound("There is no such service order.")
    return order


def _answer(order: ServiceOrder, state: str, *, at: datetime) -> ServiceOrder:
    """Write the state of a locked order and tell whoever caused it."""
    if not SERVICE_ORDER.allows(order.state, state):
        raise ServiceOrderClosed(_closed_words(order))
    order.state, order.answered_at = state, at
    order.save(update_fields=["state", "answered_at", "partner_reference", "reason"])
    events.publish(
        f"service_order.{state}",
        subject=order.public_id,
        at=at,
        cause=order.cause,
        service=Service(pk=order.service_id).public_id,
        asked_for=order.kind,
        reason=order.reason,
    )
    return order


def is_believable(expected_at: datetime, *, at: datetime) -> bool:
    """Say whether a line can be expected at a time that a partner named."""
    return abs(expected_at - at) < LATEST_DELIVERY


def _closed_words(order: ServiceOrder) -> str:
    return (
        f"This order is closed ({order.get_state_display().lower()}), so it cannot be answered "
        "any more. Do not deliver it; a new order follows if it is still wanted."
    )


def _text(value: str, field: str, *, most: int) -> str:
    text = value.replace("\x00", "").strip()
    if len(text) > most:
        raise InvalidInput(f"The {field} may have {most} characters at most.", field=field)
    return text


def _tell(order: ServiceOrder, what: str, *, at: datetime) -> None:
    """Queue the signed webhook about an order; a partner without an address for it polls."""
    webhooks.queue_webhook(
        partner=order.partner,
        kind=f"service_order.{what}",
        subject=order.public_id,
        data=told_about(order),
        at=at,
    )


def told_about(order: ServiceOrder) -> dict[str, Any]:
    """Return what a partner learns of its order by webhook."""
    told: dict[str, Any] = {
        "id": order.public_id,
        "kind": order.kind,
        "action": order.action,
        "state": order.state,
        "subscriber_ref": order.subscriber_ref,
        "service_ref": Service(pk=order.service_id).public_id,
        "offering": order.offering.code,
        "answer_by": order.answer_by.isoformat(),
        "href": f"{settings.BASE_URL}/api/v1/service_orders/{order.public_id}",
    }
    if order.kind == ServiceOrder.Kind.LINE:
        told["premises"] = premises_for_partner(order.service)
    return told


def premises_for_partner(service: Service) -> dict[str, Any]:
    """Say where a line is to be delivered: the address, the location id and the coordinates."""
    place = service.premises
    return {
        "address": str(place),
        "location_id": place.location_id,
        "latitude": None if place.latitude is None else str(place.latitude),
        "longitude": None if place.longitude is None else str(place.longitude),
    }
