"""A line that takes the place of another: at another address, or on another network (figure 7).

The new line is made by the steps of any new line, on an answer of its own. Its network login is
new, because both lines may be live for a time. The products that are kept go on without a break:
their partners notice nothing. The old line ends when the new one is live, or later, or on a day
before it, whatever the subscriber wants; a speed boost ends with it.
"""

from collections.abc import Sequence
from datetime import datetime

from django.db import transaction

from ispops.catalog.models import ProductOffering
from ispops.errors import InvalidInput, Refusal
from ispops.parties.models import User
from provisioning import changing, composing, placing
from provisioning.composing import Line
from provisioning.models import ProductOrder, ProductOrderItem, Service
from provisioning.placing import Wish
from provisioning.plan import Held
from qualification.models import QualifiedOffer, ServiceQualification

Kind = ProductOffering.Kind
Intent = ProductOrder.Intent
Action = ProductOrderItem.Action


class SameNetwork(Refusal):
    code = "same_network"
    title = "The line is on this network already"


@transaction.atomic
def move_line(
    *,
    line: Service,
    qualification: ServiceQualification,
    plan_code: str | None = None,
    add: Sequence[str] = (),
    remove: Sequence[str] = (),
    reason: str = "",
    channel: str,
    placed_by: User | None,
    idempotency_key: str,
    at: datetime,
    wanted_from: datetime | None = None,
    old_line_until: datetime | None = None,
) -> ProductOrder:
    """Order that a line moves to other premises, those of `qualification`.

    The new line is set up at once and switched on from `wanted_from` on. The old line ends when
    the new one is live; with `old_line_until` on that day, if the new one is live by then, or, when
    the day is before the new line can be there, with a gap. `plan_code` is what the new line shall
    be, by default the same; `add` and `remove` are as in `changing.change_line`.

    Raises:
        InvalidInput: it is not clear what is wanted, or it is the same address.
        NoFreePort: the last free port was taken since the address was checked.
        LineNotLive, ChangeUnderWay, SubscriberNotInGoodStanding, QualificationExpired,
        OfferNotQualified, OfferingWithdrawn, OrderKeyReused: as `changing.change_line`.
    """
    wish = Wish(
        line, Intent.MOVE, channel, placed_by, idempotency_key, at, wanted_from, reason.strip(),
        _asked(qualification, plan_code, add, remove, old_line_until),
    )  # fmt: skip
    held = placing.lock_or_repeat(wish)
    if isinstance(held, ProductOrder):
        return held
    return _replace(wish, held, qualification, plan_code, add, remove, old_line_until)


@transaction.atomic
def change_provider(
    *,
    line: Service,
    qualification: ServiceQualification,
    plan_code: str,
    add: Sequence[str] = (),
    remove: Sequence[str] = (),
    reason: str = "",
    channel: str,
    placed_by: User | None,
    idempotency_key: str,
    at: datetime,
    wanted_from: datetime | None = None,
    old_line_until: datetime | None = None,
) -> ProductOrder:
    """Order that a line is replaced by one of another network at the same premises.

    Everything else is as `move_line`.

    Raises:
        SameNetwork: the plan is delivered by the network that the line is on.
        InvalidInput, NoFreePort, LineNotLive, ChangeUnderWay, SubscriberNotInGoodStanding,
        QualificationExpired, OfferNotQualified, OfferingWithdrawn, OrderKeyReused: as `move_line`.
    """
    wish = Wish(
        line, Intent.PROVIDER_CHANGE, channel, placed_by, idempotency_key, at, wanted_from,
        reason.strip(), _asked(qualification, plan_code, add, remove, old_line_until),
    )  # fmt: skip
    held = placing.lock_or_repeat(wish)
    if isinstance(held, ProductOrder):
        return held
    return _replace(wish, held, qualification, plan_code, add, remove, old_line_until)


def _asked(
    qualification: ServiceQualification,
    plan_code: str | None,
    add: Sequence[str],
    remove: Sequence[str],
    old_line_until: datetime | None,
) -> dict[str, object]:
    return {
        "qualification": qualification.public_id,
        "plan": plan_code,
        "add": sorted(add),
        "remove": sorted(remove),
        "old_line_until": old_line_until.isoformat() if old_line_until else None,
    }


def _replace(
    wish: Wish,
    old: Service,
    qualification: ServiceQualification,
    plan_code: str | None,
    add: Sequence[str],
    remove: Sequence[str],
    old_line_until: datetime | None,
) -> ProductOrder:
    """Write the order of the new line and of the end of the old one, which is locked."""
    placing.require_no_open_change(old)
    placing.require_good_standing(old.subscriber)
    placing.require_day(old_line_until, at=wish.at, name="old_line_until")
    wanted, lines = _judged(wish, old, qualification, plan_code, add, remove)
    order = placing.open_order(
        wish, qualification=qualification, expected_at=_expected_at(wish, lines)
    )
    items = _write_work(order, old, wanted, lines, qualification, old_line_until, wish.at)
    placing.announce(order, [item.offering.code for item in items if item.action == Action.ADD])
    return order


def fill(
    wish: Wish,
    old: Service,
    qualification: ServiceQualification,
    plan_code: str | None,
    add: Sequence[str],
    remove: Sequence[str],
    old_line_until: datetime | None,
    order: ProductOrder,
) -> None:
    """Fill the order of a locked line, which the caller has emptied, with what is wanted now.

    Raises:
        what `move_line` raises for the account, plans, products and ports.
    """
    placing.require_good_standing(old.subscriber)
    wanted, lines = _judged(wish, old, qualification, plan_code, add, remove)
    order.expected_at = _expected_at(wish, lines)
    order.save(update_fields=["expected_at"])
    _write_work(order, old, wanted, lines, qualification, old_line_until, wish.at)


def _expected_at(wish: Wish, lines: Sequence[Line]) -> datetime:
    return max(wish.at + placing.install_days(lines), wish.starts_at)


def _judged(
    wish: Wish,
    old: Service,
    qualification: ServiceQualification,
    plan_code: str | None,
    add: Sequence[str],
    remove: Sequence[str],
) -> tuple[changing.Composition, list[Line]]:
    """See that the new line can be what is wanted, and return that."""
    wanted = changing.compose(
        old, plan_code or (old.bundle or old.offering).code, add, remove, at=wish.at,
        to_new_line=True,
    )  # fmt: skip
    if wish.intent == Intent.PROVIDER_CHANGE:
        changing.require_of_premises(qualification, old)
        _require_other_network(old, wanted.access)
    elif placing.promised_premises(qualification) == old.premises:
        raise InvalidInput(
            "The line is at this address already. Change its plan instead.", field="qualification"
        )
    lines = _lines(wish, old, wanted, qualification)
    composing.require_carried(lines, qualification=qualification)
    return wanted, lines


def _write_work(
    order: ProductOrder,
    old: Service,
    wanted: changing.Composition,
    lines: Sequence[Line],
    qualification: ServiceQualification,
    old_line_until: datetime | None,
    at: datetime,
) -> list[ProductOrderItem]:
    """Write the items and the steps of the new line and of the old one's end."""
    items = _create_items(order, old, wanted, lines, qualification, at)
    placing.create_tasks(
        order,
        items,
        at=at,
        old_line_until=old_line_until,
        old_line_ends_first=old_line_until is not None and old_line_until < order.expected_at,
    )
    return items


def _require_other_network(old: Service, access: Held[ProductOffering]) -> None:
    plan = access.product
    if (plan.provider_id, plan.technology) == (old.offering.provider_id, old.offering.technology):
        raise SameNetwork(
            f"{plan} is delivered by {plan.provider}, as the line is. Change the plan instead.",
            field="plan",
        )


def _lines(
    wish: Wish,
    old: Service,
    wanted: changing.Composition,
    qualification: ServiceQualification,
) -> list[Line]:
    """Return what the new line shall be, the access plan first, with its promises."""

    def promised(held: Held[ProductOffering]) -> QualifiedOffer:
        sold = held.bundle or held.product
        # What another line at the place would need is no matter: this order brings its own.
        return composing.offer_of(qualification, sold, old.subscriber, wish.at)

    differ = wanted.products
    lines = [Line(wanted.access.product, promised(wanted.access), wanted.access.bundle)]
    lines += [Line(held.product, promised(held), held.bundle) for held in differ.added]
    for held in differ.kept:
        offer = promised(held) if held.product in differ.regrouped else None
        lines.append(Line(held.product, offer, held.bundle))
    return lines


def _create_items(
    order: ProductOrder,
    old: Service,
    wanted: changing.Composition,
    lines: Sequence[Line],
    qualification: ServiceQualification,
    at: datetime,
) -> list[ProductOrderItem]:
    """Write the items: the new line, what it carries, and what ends with the old one."""
    new = placing.new_line(
        subscriber=old.subscriber, qualification=qualification, access=lines[0], at=at
    )
    items = [placing.add_item(order, lines[0], new)]
    items += [changing.add_product(order, new, line, wanted) for line in lines[1:]]
    ends = [old, *(s for s in placing.carried_by(old) if s.offering.kind == Kind.ADDON)]
    ends += [wanted.now[held.product] for held in wanted.products.removed]
    for service in ends:
        gone = Line(service.offering, None, service.bundle)
        items.append(placing.add_item(order, gone, service, action=Action.DELETE))
    return items
