"""Placing an order and taking it back (figures 4 to 6)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction

from ispops import db, events
from ispops.catalog import queries as catalog
from ispops.catalog.models import BundleComponent, ProductOffering
from ispops.errors import InvalidInput, Refusal
from ispops.parties import audit
from ispops.parties.models import Subscriber, User
from provisioning import execution, plan, services
from provisioning.models import OrderTask, ProductOrder, ProductOrderItem, Service
from provisioning.transitions import ORDER
from qualification import ports, qualify
from qualification.eligibility import in_mbits
from qualification.models import QualifiedOffer, ServiceQualification

Kind = ProductOffering.Kind


class SubscriberNotInGoodStanding(Refusal):
    code = "subscriber_not_in_good_standing"
    title = "The account is not in good standing"


class OfferingWithdrawn(Refusal):
    code = "offering_withdrawn"
    title = "The offering is no longer sold"


class OrderKeyReused(Refusal):
    code = "order_key_reused"
    title = "The key was used for another order"


class TooLateToCancel(Refusal):
    code = "too_late_to_cancel"
    title = "The line is live already"


@dataclass(frozen=True, slots=True)
class _Line:
    """One line of an order to be: the offering, the promise it rests on, the plan it is part of."""

    offering: ProductOffering
    offer: QualifiedOffer
    bundle: ProductOffering | None


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
        QualificationExpired, OfferNotQualified: the address was not promised this, or too long ago.
        OfferingWithdrawn: an offering is no longer sold.
        NoFreePort: the last free port was taken since the address was checked.
        OrderKeyReused: the key belongs to an order for something else.
    """
    codes = list(offering_codes)
    first = _placed_before(subscriber, idempotency_key, qualification, codes)
    if first is not None:
        return first
    _require_good_standing(subscriber)
    lines = _lines_of(qualification, codes, subscriber, at)
    order, is_new = ProductOrder.objects.get_or_create(
        subscriber=subscriber,
        idempotency_key=idempotency_key,
        defaults={
            "qualification": qualification,
            "channel": channel,
            "placed_by": placed_by,
            "placed_at": at,
            "expected_at": at + timedelta(days=max(_install_days(line) for line in lines)),
        },
    )
    if not is_new:
        return _placed_before(subscriber, idempotency_key, qualification, codes) or order
    items = _create_items(order, lines, at)
    _create_tasks(order, items, at)
    audit.record(
        actor=placed_by,
        actor_name="" if placed_by else channel,
        action="order.placed",
        subject=order.public_id,
        subscriber=subscriber,
        at=at,
        offerings=codes,
        channel=channel,
    )
    events.publish("order.placed", subject=order.public_id, at=at, offerings=codes)
    return order


@transaction.atomic
def cancel_order(*, order_id: UUID, actor: User | None, reason: str, at: datetime) -> ProductOrder:
    """Take an order back before its line is live, and undo in reverse what was done.

    Partners are asked to end what they were asked for; login, addresses and port are free again.
    A cancelled order stays as it is. Publishes `order.cancelled`.

    Raises:
        InvalidInput: there is no reason.
        TooLateToCancel: the line is live, so it has to be ceased instead.
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


def _placed_before(
    subscriber: Subscriber, key: str, qualification: ServiceQualification, codes: Sequence[str]
) -> ProductOrder | None:
    """Return the order that has this key, if it is for the same things."""
    if not 0 < len(key) <= 200:
        raise InvalidInput("Give a key of 1 to 200 characters.", field="idempotency_key")
    order = ProductOrder.objects.filter(subscriber=subscriber, idempotency_key=key).first()
    if order is None:
        return None
    items = order.items.select_related("offering", "bundle")
    ordered = {(item.bundle or item.offering).code for item in items}
    if order.qualification_id != qualification.pk or ordered != set(codes):
        raise OrderKeyReused("Use a new key for a new order.", field="idempotency_key")
    return order


def _require_good_standing(subscriber: Subscriber) -> None:
    """Look at the account as it is now, and not as the caller read it."""
    standing = Subscriber.objects.values_list("standing", flat=True).get(pk=subscriber.pk)
    if standing != Subscriber.Standing.GOOD:
        raise SubscriberNotInGoodStanding(
            f"The account is {Subscriber.Standing(standing).label.lower()}. "
            "Settle what is open, or call us, and order again."
        )


def _lines_of(
    qualification: ServiceQualification, codes: Sequence[str], subscriber: Subscriber, at: datetime
) -> list[_Line]:
    """Check every offering of the order and return its lines, aggregated plans taken apart."""
    offerings = {offering.code: offering for offering in _offerings(codes, at)}
    _require_one_plan(list(offerings.values()), len(codes))
    components = _components_of(list(offerings.values()))
    offers = {
        code: qualify.require_live_offer(qualification=qualification, offering=offering, at=at)
        for code, offering in offerings.items()
    }
    for offering in offerings.values():
        if offering.subscriber_kind not in {"", subscriber.kind}:
            raise qualify.OfferNotQualified(
                f"{offering} is for {offering.get_subscriber_kind_display().lower()} accounts.",
                field="offering_codes",
            )
    names = {bundle: [part.code for part in parts] for bundle, parts in components.items()}
    known = offerings | {part.code: part for parts in components.values() for part in parts}
    lines = [
        _Line(known[code], offers[bundle or code], offerings[bundle] if bundle else None)
        for code, bundle in plan.expand_bundles(codes, names)
    ]
    _require_each_once(lines)
    _require_carried(lines)
    return lines


def _offerings(codes: Sequence[str], at: datetime) -> list[ProductOffering]:
    """Find the offerings by their codes, in the order of the codes."""
    sold = catalog.sold_at(at).select_related("provider").filter(code__in=codes)
    found = {offering.code: offering for offering in sold}
    for code in codes:
        if code not in found:
            raise _not_sold(code)
    return [found[code] for code in codes]


def _not_sold(code: str) -> Refusal:
    known = ProductOffering.objects.filter(code=code).first()
    if known is None:
        return InvalidInput(f"There is no offering {code}.", field="offering_codes")
    return OfferingWithdrawn(
        f"{known} is no longer sold. Check the address again to see what is.",
        field="offering_codes",
    )


def _require_one_plan(offerings: Sequence[ProductOffering], asked: int) -> None:
    """See that the offerings are one line and products that it can carry from the first day."""
    if len(offerings) != asked:
        raise InvalidInput("Name each offering once.", field="offering_codes")
    plans = [offering for offering in offerings if offering.kind in {Kind.ACCESS, Kind.BUNDLE}]
    if len(plans) != 1:
        raise InvalidInput(
            "Choose exactly one internet plan or one aggregated plan.", field="offering_codes"
        )
    for offering in offerings:
        if offering.kind == Kind.BSP and not offering.is_subscription:
            raise InvalidInput(
                f"{offering} is bought once the line is live. Leave it out of the order.",
                field="offering_codes",
            )


def _components_of(offerings: Sequence[ProductOffering]) -> dict[str, list[ProductOffering]]:
    """Return what each aggregated plan of an order is made of."""
    rows = BundleComponent.objects.filter(bundle__in=list(offerings)).order_by("pk")
    components: dict[str, list[ProductOffering]] = {}
    for row in rows.select_related("bundle", "component__provider"):
        components.setdefault(row.bundle.code, []).append(row.component)
    return components


def _require_each_once(lines: Sequence[_Line]) -> None:
    seen: set[str] = set()
    for line in lines:
        if line.offering.kind == Kind.ADDON:
            raise InvalidInput(
                f"{line.offering} is added when a device asks for it, once the line is live.",
                field="offering_codes",
            )
        if line.offering.code in seen:
            raise InvalidInput(
                f"{line.offering} is part of the aggregated plan already. Leave it out.",
                field="offering_codes",
            )
        seen.add(line.offering.code)


def _require_carried(lines: Sequence[_Line]) -> None:
    """See that the plan which was chosen carries the products that were chosen beside it.

    The qualification judged them by the best line at the address, and an aggregated plan as one.
    A product that staff promised by hand is theirs to answer for.
    """
    access = next(line for line in lines if line.offering.kind == Kind.ACCESS)
    for line in lines:
        product = line.offering
        if line.bundle is not None or product.kind != Kind.BSP or line.offer.overridden:
            continue
        if product.needs_download_kbps > (access.offer.download_kbps or 0):
            lacking = f"needs {in_mbits(product.needs_download_kbps)}"
        elif product.needs_low_latency and access.offer.low_latency is False:
            lacking = "needs a line with a short response time"
        else:
            continue
        raise qualify.OfferNotQualified(
            f"{product} {lacking}, which {access.offering} does not give here. "
            "Leave it out or choose another plan.",
            field="offering_codes",
            offering=product.code,
        )


def _install_days(line: _Line) -> int:
    return line.offer.install_days or 0


def _create_items(
    order: ProductOrder, lines: Sequence[_Line], at: datetime
) -> list[ProductOrderItem]:
    """Make the services of an order, the line first as it carries the others; take the port."""
    access = next(line for line in lines if line.offering.kind == Kind.ACCESS)
    promised = order.qualification
    premises = promised.premises if promised else None
    if premises is None:
        raise InvalidInput("The address has to be chosen first.", field="qualification")
    main = Service.objects.create(
        subscriber=order.subscriber,
        offering=access.offering,
        bundle=access.bundle,
        premises=premises,
        created_at=at,
    )
    _take_port(order, main, access.offer, at)
    return [
        ProductOrderItem.objects.create(
            order=order,
            offering=line.offering,
            offer=line.offer,
            bundle=line.bundle,
            service=main
            if line is access
            else services.create_carried_service(
                line=main, offering=line.offering, bundle=line.bundle, at=at
            ),
        )
        for line in lines
    ]


def _take_port(order: ProductOrder, line: Service, offer: QualifiedOffer, at: datetime) -> None:
    """Take the line's port; without one an order stands only where staff promised it by hand, or
    where the network itself said that it delivers. What to do then, the step finds out."""
    try:
        services.take_port(line=line, qualification=order.qualification, at=at)
    except ports.NotReached:
        if offer.coverage_id is not None:
            raise
    except ports.NoFreePort:
        if not offer.overridden:
            raise


def _create_tasks(order: ProductOrder, items: Sequence[ProductOrderItem], at: datetime) -> None:
    """Write the steps of an order; those that wait for nothing are ready at once."""
    planned = plan.plan_order([_as_planned(item) for item in items])
    tasks = OrderTask.objects.bulk_create(
        OrderTask(
            order=order,
            item=items[step.item],
            kind=step.kind,
            position=position,
            state=OrderTask.State.PENDING if step.depends_on else OrderTask.State.READY,
            next_attempt_at=None if step.depends_on else at,
        )
        for position, step in enumerate(planned)
    )
    links = OrderTask.depends_on.through
    links.objects.bulk_create(
        links(from_ordertask=tasks[position], to_ordertask=tasks[earlier])
        for position, step in enumerate(planned)
        for earlier in step.depends_on
    )
    for task in tasks:
        if task.state == OrderTask.State.READY:
            execution.send_task(task.pk)


def _as_planned(item: ProductOrderItem) -> plan.Item:
    offering = item.offering
    is_access = offering.kind == Kind.ACCESS
    provider = offering.provider
    return plan.Item(
        is_access=is_access,
        is_off_net=is_access and provider is not None and not provider.is_on_net,
    )


def _take_back(
    order_id: UUID, state: str, *, actor: User | None, reason: str, at: datetime
) -> ProductOrder:
    if not reason:
        raise InvalidInput("Say why the order is taken back.", field="reason")
    order = db.lock(ProductOrder, order_id)
    if order.state == state:
        return order
    if order.tasks.filter(kind=plan.GO_LIVE, state=OrderTask.State.COMPLETED).exists():
        raise TooLateToCancel("The line is live. Cease it instead of cancelling the order.")
    ORDER.require(order.state, state)
    execution.cancel_tasks(order=order, reason=reason, at=at)
    line = order.items.select_related("service").get(offering__kind=Kind.ACCESS).service
    if line is not None:
        services.cease(service=line, at=at)
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
