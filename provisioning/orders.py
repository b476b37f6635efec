"""Placing an order for a new line (figures 4 to 6), and taking back any order that is under way."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from django.conf import settings
from django.db import transaction

from ispops import db, events
from ispops.catalog.models import ProductOffering
from ispops.errors import InvalidInput, Refusal
from ispops.parties import audit
from ispops.parties.models import Subscriber, User
from provisioning import (
    composing,
    execution,
    partner_orders,
    placing,
    plan,
    services,
    visit_following,
)
from provisioning.composing import OfferingWithdrawn
from provisioning.models import (
    OrderTask,
    ProductOrder,
    ProductOrderItem,
    Service,
    ServiceSuspension,
)
from provisioning.placing import OnlyForStaff, OrderKeyReused, SubscriberNotInGoodStanding
from provisioning.transitions import ORDER
from qualification.models import ServiceQualification

__all__ = [
    "OfferingWithdrawn",
    "OrderKeyReused",
    "SubscriberNotInGoodStanding",
    "TooLateToCancel",
    "TooManyLines",
    "cancel_order",
    "fail_order",
    "place_order",
]

Kind = ProductOffering.Kind
Action = ProductOrderItem.Action


class TooManyLines(Refusal):
    code = "too_many_lines"
    title = "The account has as many lines as it may order by itself"


class TooLateToCancel(Refusal):
    code = "too_late_to_cancel"
    title = "The order has taken effect already"


@transaction.atomic
def place_order(
    *,
    subscriber: Subscriber,
    qualification: ServiceQualification,
    offering_codes: Sequence[str],
    channel: str,
    placed_by: User | None,
    idempotency_key: str,
    at: datetime,
) -> ProductOrder:
    """Take an order for one access plan or one aggregated plan, and partner products on its line.

    The same subscriber and key give the first order again and change nothing. The line's port is
    taken in this transaction, so an order that is accepted has one, and a refused order leaves
    nothing behind. Publishes `order.placed`; workers do the rest.

    Raises:
        InvalidInput: the offerings do not make an order; says which one and why.
        SubscriberNotInGoodStanding: the account is restricted or closed.
        TooManyLines: it has as many as may be ordered without one of us.
        QualificationExpired, OfferNotQualified: the address was not promised this, or too long ago.
        OfferingWithdrawn: an offering is no longer sold.
        NoFreePort: the last free port was taken since the address was checked.
        OrderKeyReused: the key belongs to an order for something else.
    """
    codes = list(offering_codes)
    first = _placed_before(subscriber, idempotency_key, qualification, codes)
    if first is not None:
        return first
    placing.require_good_standing(subscriber)
    _require_room(subscriber, placed_by)
    lines = composing.lines_of(qualification, codes, subscriber, at)
    order, is_new = ProductOrder.objects.get_or_create(
        subscriber=subscriber,
        idempotency_key=idempotency_key,
        defaults={
            "qualification": qualification,
            "channel": channel,
            "placed_by": placed_by,
            "placed_at": at,
            "expected_at": at + placing.install_days(lines),
            "asked": _asked(qualification, codes),
        },
    )
    if not is_new:
        return _placed_before(subscriber, idempotency_key, qualification, codes) or order
    _write_work(order, qualification, lines, at)
    placing.announce(order, codes)
    return order


def fill(
    order: ProductOrder, qualification: ServiceQualification, codes: Sequence[str], at: datetime
) -> None:
    """Fill the order of a new line, which the caller has emptied, with other offerings.

    Raises:
        what `place_order` raises for the account, offerings and ports.
    """
    placing.require_good_standing(order.subscriber)
    lines = composing.lines_of(qualification, codes, order.subscriber, at)
    order.expected_at = max(at + placing.install_days(lines), order.wanted_from or at)
    order.save(update_fields=["expected_at"])
    _write_work(order, qualification, lines, at)


def _write_work(
    order: ProductOrder,
    qualification: ServiceQualification,
    lines: Sequence[composing.Line],
    at: datetime,
) -> None:
    items = _create_items(order, qualification, lines, at)
    placing.create_tasks(order, items, at=at)


def _asked(qualification: ServiceQualification, codes: Sequence[str]) -> dict[str, object]:
    return {"qualification": qualification.public_id, "offerings": sorted(codes)}


@transaction.atomic
def cancel_order(*, order_id: UUID, actor: User | None, reason: str, at: datetime) -> ProductOrder:
    """Take an order back before it takes effect, and undo in reverse what was done.

    Partners are asked to end what they were asked for; login, addresses and port are free again.
    A cancelled order stays as it is. Publishes `order.cancelled`.

    Raises:
        InvalidInput: there is no reason.
        TooLateToCancel: it has taken effect, so another order has to be placed instead.
        OnlyForStaff: a subscriber would take back what we did, such as a suspension for abuse.
    """
    return _take_back(
        order_id, ProductOrder.State.CANCELLED, actor=actor, reason=reason.strip(), at=at
    )


@transaction.atomic
def fail_order(*, order_id: UUID, actor: User, reason: str, at: datetime) -> ProductOrder:
    """Give an order up because it cannot be delivered, and undo in reverse what was done.

    As `cancel_order`, but the fault is ours. Publishes `order.failed`.
    """
    return _take_back(
        order_id, ProductOrder.State.FAILED, actor=actor, reason=reason.strip(), at=at
    )


def _require_room(subscriber: Subscriber, placed_by: User | None) -> None:
    """Keep one account from taking all the ports of an area; we may order more for it.

    Orders that come at once may pass by the limit, as many as are served at a time.
    """
    if placed_by is None or placed_by.is_staff:
        return
    lines = Service.objects.filter(subscriber=subscriber, line__isnull=True)
    if lines.exclude(state=Service.State.CEASED).count() >= settings.LINES_ORDERED_ALONE:
        raise TooManyLines(
            f"This account has {settings.LINES_ORDERED_ALONE} lines or more. Please call us for "
            "another one."
        )


def _placed_before(
    subscriber: Subscriber, key: str, qualification: ServiceQualification, codes: Sequence[str]
) -> ProductOrder | None:
    """Return the order that has this key, if it is for the same things."""
    placing.check_key(key)
    order = ProductOrder.objects.filter(subscriber=subscriber, idempotency_key=key).first()
    if order is None:
        return None
    if order.asked != _asked(qualification, codes):
        raise OrderKeyReused("Use a new key for a new order.", field="idempotency_key")
    return order


def _create_items(
    order: ProductOrder,
    qualification: ServiceQualification,
    lines: Sequence[composing.Line],
    at: datetime,
) -> list[ProductOrderItem]:
    """Make the services of an order, the line first as it carries the others; take the port."""
    access = next(line for line in lines if line.offering.kind == Kind.ACCESS)
    main = placing.new_line(
        subscriber=order.subscriber, qualification=qualification, access=access, at=at
    )
    return [
        placing.add_item(
            order,
            line,
            main
            if line is access
            else services.create_carried_service(
                line=main, offering=line.offering, bundle=line.bundle, at=at
            ),
        )
        for line in lines
    ]


def _take_back(
    order_id: UUID, state: str, *, actor: User | None, reason: str, at: datetime
) -> ProductOrder:
    if not reason:
        raise InvalidInput("Say why the order is taken back.", field="reason")
    order = db.lock(ProductOrder, order_id)
    if order.state == state:
        return order
    require_entitled(order, actor)
    _refuse_when_too_late(order, state)
    ORDER.require(order.state, state)
    execution.cancel_tasks(order=order, reason=reason, at=at)
    visit_following.give_back(order=order, at=at)
    undo(order, reason, at)
    order.state = state
    order.save(update_fields=["state"])
    audit.record(
        actor=actor,
        actor_name="" if actor else "system",
        action=f"order.{state}",
        subject=order.public_id,
        subscriber=order.subscriber,
        reason=reason,
        at=at,
    )
    events.publish(f"order.{state}", subject=order.public_id, at=at, reason=reason)
    return order


def _refuse_when_too_late(order: ProductOrder, state: str) -> None:
    """Refuse to take back what has taken effect.

    Whoever moves without an overlap may have no line any more when the new one turns out to be
    impossible; then it can still be given up.
    """
    final = set(plan.NO_RETURN)
    if state == ProductOrder.State.FAILED and order.intent in plan.NEW_LINES:
        final.discard(plan.CEASE_SERVICE)
    done = order.tasks.filter(kind__in=final, state=OrderTask.State.COMPLETED)
    if not done.exists():
        return
    if order.intent == ProductOrder.Intent.NEW:
        raise TooLateToCancel("The line is live. Cease it instead of cancelling the order.")
    raise TooLateToCancel("It has taken effect. Place a new order for what you want instead.")


def require_entitled(order: ProductOrder, actor: User | None) -> None:
    """Leave what we ordered to us, such as a suspension for abuse. Raises OnlyForStaff."""
    if actor and not actor.is_staff and is_ours(order):
        raise OnlyForStaff("Please call us: we placed this order, and only we can take it back.")


def is_ours(order: ProductOrder) -> bool:
    """Say whether only we may take an order back or change it.

    Of what stops a line, that is all that was not the subscriber's own wish: a suspension for
    another reason, and an end that one of us, or the system, ordered.
    """
    if order.intent == ProductOrder.Intent.CEASE:
        return order.placed_by is None or order.placed_by.is_staff
    return order.suspension not in {"", ServiceSuspension.Reason.REQUESTED}


def undo(order: ProductOrder, reason: str, at: datetime) -> None:
    """Undo in reverse what an order did: end what it added, and have its partners take back the
    rest. What it would have changed or ended stays as it is, and so does a visit."""
    for task in order.tasks.filter(kind=plan.MODIFY_LINE, service_order__isnull=False):
        if task.service_order_id:
            partner_orders.withdraw(service_order_id=task.service_order_id, reason=reason, at=at)
    added = order.items.filter(action=Action.ADD, service__isnull=False)
    for item in added.select_related("service").order_by("-pk"):
        if item.service is not None:
            services.cease(service=item.service, at=at)
