"""What somebody wants of a line, or of an order that is under way, as a page asks for it.

A page has one form for all that can become of a line; which of the verbs of figure 7 that is, is
decided here. The same call can be *rehearsed*: it is made and taken back at once, so that what a
page says before is what will be done, and what would be refused is refused before.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import transaction

from ispops.catalog.models import ProductOffering
from ispops.catalog.queries import access_plan_of
from ispops.errors import InvalidInput
from ispops.parties.models import User
from provisioning import amending, changing, moving, plan, queries, visiting, visits
from provisioning.models import InstallSlot, OrderTask, ProductOrder, ProductOrderItem, Service
from provisioning.queries import StepProgress
from qualification.models import ServiceQualification

Intent = ProductOrder.Intent
Action = ProductOrderItem.Action
Kind = ProductOffering.Kind


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a line shall be, from when; what is None or empty stays as it is.

    `old_line_until` is of a line that is replaced, `slot_id` of a technician's visit.
    """

    plan_code: str | None = None
    add: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    wanted_from: datetime | None = None
    old_line_until: datetime | None = None
    boosts_until: datetime | None = None
    slot_id: UUID | None = None

    @property
    def products(self) -> tuple[object, ...]:
        """What is wanted beside the days; equal where nothing else differs."""
        return (self.plan_code, frozenset(self.add), frozenset(self.remove), self.boosts_until)


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What an order would be: its rows, which are gone again, and the visit that goes with it.

    `slots` are those that can be chosen, `given_back` is a visit that would be lost, and
    `old_line_until` is None where the old line ends with the new one's beginning.
    """

    order: ProductOrder
    items: list[ProductOrderItem]
    steps: list[StepProgress]
    is_visited: bool
    visit: InstallSlot | None
    slots: list[InstallSlot]
    given_back: InstallSlot | None
    old_line_until: datetime | None


def intent_of(
    line: Service, qualification: ServiceQualification | None, access: ProductOffering | None
) -> str:
    """Say which order it is to give a line this access plan, at the place of this answer."""
    if qualification is not None and qualification.premises_id != line.premises_id:
        return Intent.MOVE
    if access is None or (access.provider_id, access.technology) == (
        line.offering.provider_id, line.offering.technology
    ):  # fmt: skip
        return Intent.CHANGE
    return Intent.PROVIDER_CHANGE


def _access_of(plan_code: str | None) -> ProductOffering | None:
    known = ProductOffering.objects.filter(code=plan_code).first() if plan_code else None
    return access_plan_of(known) if known else None


@transaction.atomic
def place(
    *,
    line: Service,
    qualification: ServiceQualification | None,
    wanted: Wanted,
    reason: str,
    channel: str,
    placed_by: User | None,
    idempotency_key: str,
    at: datetime,
) -> ProductOrder:
    """Place the order that makes of a line what is wanted, with the visit that was chosen for it.

    Raises:
        what `changing.change_line`, `moving.move_line` or `moving.change_provider` raises, and
        what `visits.book_visit` does: then nothing is ordered.
    """
    common = {
        "line": line, "add": wanted.add, "remove": wanted.remove, "reason": reason,
        "channel": channel, "placed_by": placed_by, "idempotency_key": idempotency_key,
        "at": at, "wanted_from": wanted.wanted_from,
    }  # fmt: skip
    intent = intent_of(line, qualification, _access_of(wanted.plan_code))
    if intent == Intent.CHANGE:
        order = changing.change_line(
            **common,  # type: ignore[arg-type]
            qualification=qualification,
            plan_code=wanted.plan_code,
            boosts_until=wanted.boosts_until,
        )
    elif wanted.boosts_until is not None:
        raise InvalidInput(
            "A boost for a time can be had when the new line works.", field="boosts_until"
        )
    else:
        verb: Callable[..., ProductOrder] = (
            moving.move_line if intent == Intent.MOVE else moving.change_provider
        )
        order = verb(
            **common,
            qualification=qualification,
            plan_code=wanted.plan_code,
            old_line_until=wanted.old_line_until,
        )
    # A repeat changes nothing: the visit may have been moved since.
    if wanted.slot_id is not None and order.placed_at == at:
        visits.book_visit(order_id=order.pk, slot_id=wanted.slot_id, actor=placed_by, at=at)
    return order


@transaction.atomic
def amend(
    *,
    order: ProductOrder,
    qualification: ServiceQualification | None,
    wanted: Wanted,
    actor: User | None,
    reason: str,
    at: datetime,
) -> ProductOrder:
    """Make an order one for what is wanted now: another day, other products, or both.

    Raises:
        InvalidInput: it is this already; or what a new line shall be is not said.
        and what `amending.reschedule_order`, `amending.amend_order` and `visits.book_visit` raise.
    """
    before = wanted_by(order)
    has_other_day = wanted.wanted_from != order.wanted_from
    has_other_products = qualification is not None and wanted.products != before.products
    if not (has_other_day or has_other_products):
        raise InvalidInput("The order is for this already: nothing would change.", field="plan")
    if has_other_day:
        order = amending.reschedule_order(
            order_id=order.pk, wanted_from=wanted.wanted_from, actor=actor, reason=reason, at=at
        )
    if has_other_products:
        is_new = order.intent == Intent.NEW
        order = amending.amend_order(
            order_id=order.pk,
            qualification=qualification,
            offering_codes=_whole(wanted) if is_new else (),
            plan_code=None if is_new else wanted.plan_code,
            add=() if is_new else wanted.add,
            remove=wanted.remove,
            boosts_until=wanted.boosts_until,
            actor=actor,
            reason=reason,
            at=at,
        )
    if wanted.slot_id is not None:
        visits.book_visit(order_id=order.pk, slot_id=wanted.slot_id, actor=actor, at=at)
    return order


def _whole(wanted: Wanted) -> Sequence[str]:
    """Name all that a new line shall be."""
    if wanted.plan_code is None:
        raise InvalidInput("Choose a plan.", field="plan")
    return [wanted.plan_code, *wanted.add]


def wanted_by(order: ProductOrder) -> Wanted:
    """Return what an order is for, in the words in which it would be asked for again."""
    items = list(order.items.select_related("offering", "bundle", "service").order_by("pk"))
    until = order.asked.get("old_line_until")
    ends = {
        item.service.ends_at
        for item in items
        if item.action == Action.ADD and item.service and item.service.ends_at
    }
    return Wanted(
        plan_code=_plan_of(items),
        add=tuple(item.offering.code for item in items if _comes_alone(item)),
        remove=tuple(item.offering.code for item in items if _goes_alone(item, order.intent)),
        wanted_from=order.wanted_from,
        old_line_until=datetime.fromisoformat(until) if until else None,
        boosts_until=next(iter(ends), None),
    )


def _plan_of(items: Sequence[ProductOrderItem]) -> str | None:
    for item in items:
        if item.offering.kind == Kind.ACCESS and item.action in {Action.ADD, Action.MODIFY}:
            return (item.bundle or item.offering).code
    return None


def _comes_alone(item: ProductOrderItem) -> bool:
    comes = item.action in {Action.ADD, Action.MODIFY}
    return comes and item.bundle is None and item.offering.kind != Kind.ACCESS


def _goes_alone(item: ProductOrderItem, intent: str) -> bool:
    """Say whether an item was named to end: not what ends with its line, or with its plan."""
    if item.action != Action.DELETE or item.bundle or item.offering.kind == Kind.ACCESS:
        return False
    return intent == Intent.CHANGE or item.offering.kind == Kind.BSP


def rehearse(
    act: Callable[[], ProductOrder],
    *,
    asker: User | None,
    at: datetime,
    before: ProductOrder | None = None,
) -> Rehearsal:
    """Do something, see what order it makes, and take it all back.

    `before` is the order as it stands, where one is amended. Nothing is left and nobody is told:
    messages go when a transaction is committed, and this one never is. Whoever wants the port that
    it takes for a moment waits for it; see `qualification.ports`.

    Raises:
        what `act` raises.
    """
    with transaction.atomic():
        booked = visiting.visit_of(before) if before else None
        seen = _seen(act(), booked.slot if booked else None, asker, at)
        transaction.set_rollback(True)
    return seen


def _seen(
    order: ProductOrder, booked: InstallSlot | None, asker: User | None, at: datetime
) -> Rehearsal:
    items = order.items.select_related(
        "offering__provider", "old_offering", "offer", "bundle", "service__bundle"
    )
    living = order.tasks.exclude(state=OrderTask.State.CANCELLED)
    ends = living.filter(kind=plan.CEASE_SERVICE).values_list("begins_at", flat=True).first()
    visit = visiting.visit_of(order)
    is_visited = visiting.is_visited(order)
    free = visiting.free_slots(order, at=at, asker=asker)[: visiting.MOST_OFFERED]
    return Rehearsal(
        order=order,
        items=list(items.order_by("pk")),
        steps=queries.order_progress(order),
        is_visited=is_visited,
        visit=visit.slot if visit else None,
        slots=list(free) if is_visited else [],
        given_back=booked if visit is None else None,
        old_line_until=ends if order.intent in plan.NEW_LINES else None,
    )
