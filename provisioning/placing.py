"""What all orders have in common when they are placed: key, checks, row, items and steps.

A later order is placed while its line is locked, so that what it was judged by still holds when
it is written; that a line has one open change is the database's word (`one_open_change_a_line`).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import IntegrityError

from ispops import db, events
from ispops.catalog.models import ProductOffering
from ispops.errors import InvalidInput, Refusal
from ispops.parties import audit, checks
from ispops.parties.models import Subscriber, User
from provisioning import equipment, execution, plan, reservations, services, visiting
from provisioning.composing import Line
from provisioning.models import OrderTask, ProductOrder, ProductOrderItem, Service
from provisioning.transitions import CLOSED_ORDER
from qualification import ports
from qualification.models import Premises, QualifiedOffer, ServiceQualification

Kind = ProductOffering.Kind
Intent = ProductOrder.Intent
Action = ProductOrderItem.Action

# Of these, a line has one at a time.
CHANGES = (Intent.CHANGE, Intent.MOVE, Intent.PROVIDER_CHANGE, Intent.CEASE)
LONGEST_AHEAD = timedelta(days=366)


class SubscriberNotInGoodStanding(Refusal):
    code = "subscriber_not_in_good_standing"
    title = "The account is not in good standing"


class OrderKeyReused(Refusal):
    code = "order_key_reused"
    title = "The key was used for another order"


class LineNotLive(Refusal):
    code = "line_not_live"
    title = "The line is not live"


class ChangeUnderWay(Refusal):
    code = "change_under_way"
    title = "The line is being changed already"


class OnlyForStaff(Refusal):
    code = "only_for_staff"
    title = "Only we can do this"


@dataclass(frozen=True, slots=True)
class Wish:
    """Who wants what of a line, when and by which key: what every later verb is told.

    `asked` are the particulars as plain JSON, by which a repeat is told from another order.
    """

    line: Service
    intent: str
    channel: str
    placed_by: User | None
    key: str
    at: datetime
    wanted_from: datetime | None = None
    reason: str = ""
    asked: Mapping[str, Any] = field(default_factory=dict)

    @property
    def starts_at(self) -> datetime:
        return self.wanted_from or self.at

    @property
    def is_of_staff(self) -> bool:
        """Say whether one of us asks, or the system itself, and not the subscriber."""
        return self.placed_by is None or self.placed_by.is_staff

    def in_full(self) -> dict[str, Any]:
        """Return all that makes it another wish, as plain JSON."""
        wanted_from = self.wanted_from.isoformat() if self.wanted_from else None
        return {"line": self.line.public_id, "wanted_from": wanted_from, **self.asked}


def check_key(key: str) -> None:
    if not 0 < len(key) <= 200:
        raise InvalidInput("Give a key of 1 to 200 characters.", field="idempotency_key")


def placed_before(wish: Wish) -> ProductOrder | None:
    """Return the order that has this key, if it is for the same things.

    Raises:
        OrderKeyReused: it is for something else.
    """
    check_key(wish.key)
    subscriber = wish.line.subscriber_id
    order = ProductOrder.objects.filter(subscriber=subscriber, idempotency_key=wish.key).first()
    if order is not None and (order.intent != wish.intent or order.asked != wish.in_full()):
        raise OrderKeyReused("Use a new key for a new order.", field="idempotency_key")
    return order


def require_good_standing(subscriber: Subscriber) -> None:
    """Look at the account as it is now, and not as the caller read it."""
    standing = Subscriber.objects.values_list("standing", flat=True).get(pk=subscriber.pk)
    if standing != Subscriber.Standing.GOOD:
        raise SubscriberNotInGoodStanding(
            f"The account is {Subscriber.Standing(standing).label.lower()}. "
            "Settle what is open, or call us, and order again."
        )


def lock_or_repeat(wish: Wish) -> Service | ProductOrder:
    """Hold the line that a later order is for; or return the order that has this key already.

    Raises:
        OrderKeyReused: the key belongs to an order for something else.
        LineNotLive: the line is not switched on yet, or has been ceased.
        InvalidInput: the service is carried by a line, or the day is past or too far off.
    """
    db.lock(Service, wish.line.pk)
    return placed_before(wish) or lock_line(wish)


def lock_line(wish: Wish) -> Service:
    """Hold the line that a later order is for, and see that it can have one.

    Raises:
        LineNotLive, InvalidInput: as `lock_or_repeat`.
    """
    db.lock(Service, wish.line.pk)
    with_names = Service.objects.select_related(
        "offering__provider", "bundle", "subscriber", "premises"
    )
    line = with_names.get(pk=wish.line.pk)
    if line.line_id is not None:
        raise InvalidInput("Choose the line itself and not what it carries.", field="line")
    if line.state not in {Service.State.ACTIVE, Service.State.SUSPENDED}:
        raise LineNotLive(f"The line is {line.get_state_display().lower()}.", field="line")
    require_day(wish.wanted_from, at=wish.at)
    return line


def carried_by(line: Service) -> list[Service]:
    """Return what a line carries and keeps, our own add-ons too, oldest first."""
    living = line.carried.exclude(state=Service.State.CEASED)
    return list(living.select_related("offering__provider", "bundle").order_by("pk"))


def require_day(day: datetime | None, *, at: datetime, name: str = "wanted_from") -> None:
    """See that a day that was asked for is to come, and within a year."""
    if day is not None and not at <= day <= at + LONGEST_AHEAD:
        raise InvalidInput("Choose a day from today on, within a year.", field=name)


def require_no_open_change(line: Service) -> None:
    """Refuse a second change of a line that the caller has locked. Raises ChangeUnderWay."""
    open_ones = ProductOrder.objects.filter(line=line, intent__in=CHANGES)
    if order := open_ones.exclude(state__in=CLOSED_ORDER).first():
        raise _under_way(order)


def _under_way(order: ProductOrder | None) -> ChangeUnderWay:
    which = f"{order.get_intent_display()} {order.public_id}" if order else "Another order"
    return ChangeUnderWay(f"{which} is not done yet. Wait for it, change it or cancel it first.")


def open_order(
    wish: Wish,
    *,
    expected_at: datetime,
    qualification: ServiceQualification | None = None,
    **facts: Any,
) -> ProductOrder:
    """Write the row of a later order; `facts` are further fields of it.

    Raises:
        InvalidInput: the channel is unknown or the reason too long.
        ChangeUnderWay: the line has an open change.
    """
    order = ProductOrder(
        subscriber_id=wish.line.subscriber_id,
        intent=wish.intent,
        qualification=qualification,
        line=wish.line,
        wanted_from=wish.wanted_from,
        reason=wish.reason,
        asked=wish.in_full(),
        channel=wish.channel,
        placed_by=wish.placed_by,
        idempotency_key=wish.key,
        state=_first_state(wish),
        placed_at=wish.at,
        expected_at=expected_at,
        **facts,
    )
    db.check_fields(order, "channel", "reason")
    try:
        order.save(force_insert=True)
    except IntegrityError as refused:
        if "one_open_change_a_line" in str(refused):
            raise _under_way(None) from refused
        raise
    return order


def _first_state(wish: Wish) -> str:
    if wish.starts_at > wish.at and wish.intent not in plan.NEW_LINES:
        return ProductOrder.State.PENDING
    return ProductOrder.State.ACKNOWLEDGED


def new_line(
    *, subscriber: Subscriber, qualification: ServiceQualification, access: Line, at: datetime
) -> Service:
    """Make the service of a new line and take its port.

    Raises:
        InvalidInput: the answer is about no one place.
        NoFreePort: the last free port was taken since the address was checked.
    """
    line = Service.objects.create(
        subscriber=subscriber,
        offering=access.offering,
        bundle=access.bundle,
        premises=promised_premises(qualification),
        created_at=at,
    )
    _take_port(qualification, line, promise_of(access), at)
    return line


def promised_premises(qualification: ServiceQualification) -> Premises:
    if qualification.premises is None:
        raise InvalidInput("The address has to be chosen first.", field="qualification")
    return qualification.premises


def promise_of(line: Line) -> QualifiedOffer:
    if line.offer is None:
        raise ValueError(f"{line.offering.code} is delivered without a promise")
    return line.offer


def _take_port(
    qualification: ServiceQualification, line: Service, offer: QualifiedOffer, at: datetime
) -> None:
    """Take the line's port; without one an order stands only where staff promised it by hand, or
    where the network itself said that it delivers. What to do then, the step finds out."""
    try:
        services.take_port(line=line, qualification=qualification, at=at)
    except ports.NotReached:
        if offer.coverage_id is not None:
            raise
    except ports.NoFreePort:
        if not offer.overridden:
            raise


def add_item(
    order: ProductOrder,
    line: Line,
    service: Service,
    *,
    action: str = Action.ADD,
    old_offering: ProductOffering | None = None,
) -> ProductOrderItem:
    return ProductOrderItem.objects.create(
        order=order,
        action=action,
        offering=line.offering,
        old_offering=old_offering,
        offer=line.offer,
        bundle=line.bundle,
        service=service,
    )


def create_tasks(
    order: ProductOrder,
    items: Sequence[ProductOrderItem],
    *,
    at: datetime,
    old_line_until: datetime | None = None,
    old_line_ends_first: bool = False,
) -> None:
    """Write the steps of an order; those that wait for nothing are ready when their day comes."""
    planned = planned_steps(items, order.intent, old_line_ends_first=old_line_ends_first)
    # After those that an amendment took out.
    first = order.tasks.count()
    tasks = OrderTask.objects.bulk_create(
        new_task(order, items, step, first + position, at=at, old_line_until=old_line_until)
        for position, step in enumerate(planned)
    )
    link(tasks, planned)
    for task in tasks:
        if task.next_attempt_at is not None and task.next_attempt_at <= at:
            execution.send_task(task.pk)


def planned_steps(
    items: Sequence[ProductOrderItem], intent: str, *, old_line_ends_first: bool = False
) -> list[plan.Step]:
    return plan.plan_order(
        [as_planned(item) for item in items], intent, old_line_ends_first=old_line_ends_first
    )


def new_task(
    order: ProductOrder,
    items: Sequence[ProductOrderItem],
    step: plan.Step,
    position: int,
    *,
    at: datetime,
    old_line_until: datetime | None = None,
) -> OrderTask:
    """Return the row of a planned step, not saved."""
    begins_at = old_line_until if step.of_old_line else day_of(order, step.kind)
    starts_at = max(at, begins_at or at)
    expected_at = max(order.expected_at, starts_at) if step.of_old_line else order.expected_at
    return OrderTask(
        order=order,
        item=items[step.item],
        kind=step.kind,
        position=position,
        state=OrderTask.State.PENDING if step.depends_on else OrderTask.State.READY,
        next_attempt_at=None if step.depends_on else starts_at,
        begins_at=begins_at,
        due_at=plan.due_at(step.kind, starts_at=starts_at, expected_at=expected_at),
    )


def day_of(order: ProductOrder, kind: str) -> datetime | None:
    """Return the day that a step waits for. A new line is made ready before its day comes."""
    is_prepared = order.intent in plan.NEW_LINES and kind not in plan.ON_THE_DAY
    return None if is_prepared else order.wanted_from


def link(tasks: Sequence[OrderTask], planned: Sequence[plan.Step]) -> None:
    """Write which step waits for which; both are in the same order."""
    links = OrderTask.depends_on.through
    links.objects.bulk_create(
        links(from_ordertask=tasks[position], to_ordertask=tasks[earlier])
        for position, step in enumerate(planned)
        for earlier in step.depends_on
    )


def as_planned(item: ProductOrderItem) -> plan.Item:
    offering = item.offering
    is_access = offering.kind == Kind.ACCESS
    provider = offering.provider
    return plan.Item(
        is_access=is_access,
        is_off_net=is_access and provider is not None and not provider.is_on_net,
        action=item.action,
        is_granted=offering.kind == Kind.BSP,
        checks=_checks_of(item) if is_access else (),
        is_visited=is_access and visiting.is_needed(item),
        is_by_dhcp=is_access and reservations.is_by_dhcp(item),
        is_configured=is_access and equipment.is_configured(item),
    )


def _checks_of(item: ProductOrderItem) -> tuple[str, ...]:
    """Return the checks before a plan that is new to the line; who keeps a plan was let have it."""
    if item.action not in {Action.ADD, Action.MODIFY}:
        return ()
    old = item.order.line
    if old is not None and (old.offering_id, old.bundle_id) == (item.offering_id, item.bundle_id):
        return ()
    code = (item.bundle or item.offering).code
    needed = checks.needed(subscriber=item.order.subscriber, plan_code=code)
    return tuple(f"{kind}_check" for kind in needed)


def install_days(lines: Collection[Line]) -> timedelta:
    """Return how long the slowest of them takes to be delivered."""
    return timedelta(
        days=max((line.offer.install_days or 0) if line.offer else 0 for line in lines)
    )


def answered_within(items: Sequence[ProductOrderItem]) -> timedelta:
    """Return how long what an order adds to a line takes: partners' products, their answers."""
    if any(step.is_granted and step.action == Action.ADD for step in map(as_planned, items)):
        return settings.ENTITLEMENT_CONFIRMED_WITHIN
    return plan.OWN_WORK_TAKES


def announce(order: ProductOrder, codes: Sequence[str]) -> None:
    """Write who placed an order for what, and publish `order.placed`."""
    facts = {"offerings": list(codes), "channel": order.channel}
    if order.intent != Intent.NEW:
        facts |= {"intent": order.intent, "asked": order.asked}
    audit.record(
        actor=order.placed_by,
        actor_name="" if order.placed_by else order.channel,
        action="order.placed",
        subject=order.public_id,
        subscriber=order.subscriber,
        reason=order.reason,
        at=order.placed_at,
        **facts,
    )
    told = {} if order.intent == Intent.NEW else {"intent": order.intent}
    events.publish(
        "order.placed", subject=order.public_id, at=order.placed_at, offerings=list(codes), **told
    )
