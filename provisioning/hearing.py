"""What a provider with an API of its own says of our orders, asked or by itself.

The first word that closes an order counts. A provider that repeats itself, or goes back to an
earlier state, changes nothing; one that answers after we had given up on it is told once more not
to deliver, and what it had delivered is ended.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from ispops import db
from ispops.errors import NotFound
from provisioning import deliveries, partner_orders
from provisioning.delivery.base import Told, masked
from provisioning.models import Delivery, DeliveryConnection, DeliveryNotice, ServiceOrder
from provisioning.partner_orders import Progress
from provisioning.transitions import goes_back

State = Delivery.State
Outcome = DeliveryNotice.Outcome
Order = ServiceOrder.State
_REFUSALS = {
    "failed": "They cannot deliver it.",
    "cancelled": "They cancelled the order.",
    "partial": "They delivered a part of it only.",
}
OVER = frozenset({"completed", *_REFUSALS})


@dataclass(frozen=True, slots=True)
class Notice:
    """One event of a provider: its own id for it, its time, and the order that it is about."""

    event_id: str
    kind: str
    happened_at: datetime | None
    # Our id of the order, where the provider says it; its own is in what it tells.
    order: str
    told: Told
    body: dict[str, Any]


@transaction.atomic
def take_notice(*, connection: DeliveryConnection, notice: Notice, at: datetime) -> DeliveryNotice:
    """Take what a provider tells of itself; the same event again changes nothing.

    What comes too late is written down with the outcome `refused`.

    Raises:
        NotFound: this provider has no such order.
    """
    found = _find(connection, notice)
    order = db.lock(ServiceOrder, found.service_order_id)
    known = connection.notices.filter(event_id=notice.event_id).first()
    if known is not None:
        return known
    delivery = deliveries.of_order(order)
    if delivery is None:
        raise NotFound("There is no such order.")
    outcome, detail = _hear_notice(delivery, notice, at)
    written, _ = DeliveryNotice.objects.get_or_create(
        connection=connection,
        event_id=notice.event_id,
        defaults={
            "delivery": delivery,
            "kind": notice.kind,
            "happened_at": notice.happened_at,
            "received_at": at,
            "outcome": outcome,
            "detail": detail,
            "body": masked(notice.body),
        },
    )
    return written


def _find(connection: DeliveryConnection, notice: Notice) -> Delivery:
    """Find the order that is told of; another provider's is not there (invariant 7)."""
    own = Delivery.objects.filter(connection=connection)
    if notice.order:
        key = ServiceOrder.key_of(notice.order)
        found = own.filter(service_order_id=key).first() if key else None
    else:
        found = own.filter(reference=notice.told.reference).first()
    if (
        found is None
        or (found.reference and found.reference != notice.told.reference)
        or deliveries.is_anothers(found, notice.told.reference)
    ):
        raise NotFound("There is no such order.")
    return found


def _hear_notice(delivery: Delivery, notice: Notice, at: datetime) -> tuple[str, str]:
    """Take a locked delivery on by a notice; return the outcome and its words."""
    happened_at = notice.happened_at
    is_over = notice.told.state in OVER
    if happened_at and delivery.told_at and happened_at < delivery.told_at and not is_over:
        return Outcome.IGNORED, "Something later is known."
    was_closed = delivery.service_order.state != Order.ACKNOWLEDGED
    before = delivery.provider_state
    if not hear(delivery=delivery, told=notice.told, at=at):
        return Outcome.IGNORED, f"They said {before} before."
    if happened_at:
        delivery.told_at = max(happened_at, delivery.told_at or happened_at)
        delivery.save(update_fields=["told_at"])
    if was_closed and notice.told.state not in {before, "cancelled", "failed"}:
        return Outcome.REFUSED, _closed_words(delivery.service_order)
    return Outcome.TAKEN, ""


def _closed_words(order: ServiceOrder) -> str:
    return (
        f"This order is closed ({order.get_state_display().lower()}), so it cannot be answered "
        "any more. Do not deliver it."
    )


def hear(*, delivery: Delivery, told: Told, at: datetime) -> bool:
    """Take on a locked delivery, and its locked order, by what the provider says of it.

    Returns False, and changes nothing, where the provider goes back to an earlier state.
    """
    if goes_back(delivery.provider_state, told.state):
        return False
    delivery.reference = delivery.reference or told.reference
    delivery.service_reference = told.line or delivery.service_reference
    delivery.provider_state, delivery.last_error = told.state, ""
    order = delivery.service_order
    if order.state == Order.ACKNOWLEDGED:
        _take_on(delivery, told, at)
    elif order.state in {Order.CANCELLED, Order.TIMED_OUT}:
        _is_not_wanted(delivery, told, at)
    else:
        deliveries.go_to(delivery, State.CLOSED, due_at=None)
    return True


def _take_on(delivery: Delivery, told: Told, at: datetime) -> None:
    """An order that we wait for goes on, is delivered, or is refused."""
    order = delivery.service_order
    own: dict[str, Any] = {"service_order_id": order.pk, "partner": order.partner, "at": at}
    if told.state in OVER:
        deliveries.go_to(delivery, State.CLOSED, due_at=None)
        if told.state == "completed":
            partner_orders.complete(reference=told.reference[:100], **own)
        else:
            partner_orders.fail(reason=told.message or _REFUSALS[told.state], **own)
        return
    partner_orders.report_progress(
        progress=Progress(
            state="" if told.state == "acknowledged" else told.state,
            message=told.message,
            expected_at=_believed(told.expected_at, at),
        ),
        **own,
    )
    pause = timedelta(seconds=delivery.connection.look_every_seconds)
    deliveries.go_to(delivery, State.PLACED, due_at=at + pause)


def _believed(expected_at: datetime | None, at: datetime) -> datetime | None:
    """Leave a date out that makes no sense, rather than the state that came with it."""
    is_good = expected_at is not None and partner_orders.is_believable(expected_at, at=at)
    return expected_at if is_good else None


def _is_not_wanted(delivery: Delivery, told: Told, at: datetime) -> None:
    """An order that was taken back, or not answered in time, must not be delivered."""
    order = delivery.service_order
    if told.state not in OVER:
        if delivery.state in {State.TO_CANCEL, State.CANCELLING}:
            delivery.save()
        else:
            deliveries.take_back(delivery=delivery, at=at)
        return
    deliveries.go_to(delivery, State.CLOSED, due_at=None)
    if told.state in {"completed", "partial"}:
        partner_orders.undo(order=order, at=at)
