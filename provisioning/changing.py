"""Changing what a line is and what it carries: plans, products and speed boosts (figure 7).

What a line shall have is compared with what it has (`plan.differences`), so that nothing is ended
that goes on: a product that comes into an aggregated plan, or out of one, keeps running.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from django.db import transaction

from ispops.catalog.models import ProductOffering
from ispops.errors import InvalidInput, Refusal
from ispops.parties.models import User
from provisioning import composing, placing, plan, services
from provisioning.composing import Line
from provisioning.models import ProductOrder, ProductOrderItem, Service
from provisioning.placing import Wish
from provisioning.plan import Held
from qualification.models import QualifiedOffer, ServiceQualification

Kind = ProductOffering.Kind
Action = ProductOrderItem.Action
Products = plan.Differences[ProductOffering]

# What a line needs no answer to, because it is there already.
OWN_LINE = ("no_free_port", "no_line")


class OtherNetwork(Refusal):
    code = "other_network"
    title = "This plan is delivered on another network"


@dataclass(frozen=True, slots=True)
class Composition:
    """What a line has and shall have: its access plan, and all that goes with it."""

    now: dict[ProductOffering, Service]
    access: Held[ProductOffering]
    products: Products
    # When the speed boosts that come end by themselves; None is when somebody ends them.
    boosts_until: datetime | None = None


@transaction.atomic
def change_line(
    *,
    line: Service,
    qualification: ServiceQualification | None = None,
    plan_code: str | None = None,
    add: Sequence[str] = (),
    remove: Sequence[str] = (),
    reason: str = "",
    channel: str,
    placed_by: User | None,
    idempotency_key: str,
    at: datetime,
    wanted_from: datetime | None = None,
    boosts_until: datetime | None = None,
) -> ProductOrder:
    """Order another plan for a line, or products and boosts to come or to go, now or from a moment.

    `plan_code` is an access plan or an aggregated plan on the line's network; without it the plan
    stays. What came with an aggregated plan that is left ends, unless `add` keeps it; what the
    line carries otherwise stays, unless `remove` ends it. All of it takes effect in one moment.
    Speed boosts that come end by themselves at `boosts_until`, or when they are removed.
    What comes new rests on an answer to *can this place be served?* for the line's premises.
    The same key gives the first order again and changes nothing.

    Raises:
        InvalidInput: it is not clear what is wanted, or nothing would change; says why.
        LineNotLive: the line is not switched on, or has ended.
        ChangeUnderWay: another change of the line is not done yet.
        SubscriberNotInGoodStanding: the account is restricted, and something would come new.
        QualificationExpired, OfferNotQualified: the premises were not promised this, or too long
            ago; or a product that stays needs more than the new plan gives.
        OtherNetwork: the plan is delivered on another network: that is a change of network.
        OfferingWithdrawn: an offering is no longer sold.
        OrderKeyReused: the key belongs to an order for something else.
    """
    wish = Wish(
        line, ProductOrder.Intent.CHANGE, channel, placed_by, idempotency_key, at, wanted_from,
        reason.strip(),
        {
            "qualification": qualification.public_id if qualification else None,
            "plan": plan_code,
            "add": sorted(add),
            "remove": sorted(remove),
        }
        | ({"boosts_until": boosts_until.isoformat()} if boosts_until else {}),
    )  # fmt: skip
    held = placing.lock_or_repeat(wish)
    if isinstance(held, ProductOrder):
        return held
    placing.require_no_open_change(held)
    wanted = wanted_of(wish, held, plan_code, add, remove, boosts_until)
    return _place(wish, held, wanted, qualification)


def wanted_of(
    wish: Wish,
    held: Service,
    plan_code: str | None,
    add: Sequence[str],
    remove: Sequence[str],
    boosts_until: datetime | None,
) -> Composition:
    """Work out what a locked line shall have on its own network.

    Raises:
        OtherNetwork: that is not where the plan is delivered; and what `compose` raises.
        InvalidInput: no speed boost comes that could end, or it would end before it comes.
    """
    wanted = compose(held, plan_code, add, remove, at=wish.at)
    if held.offering.provider_id != wanted.access.product.provider_id or (
        held.offering.technology != wanted.access.product.technology
    ):
        raise OtherNetwork(
            f"{wanted.access.product} is delivered by {wanted.access.product.provider}. "
            "Order a change of network instead.",
            field="plan",
        )
    if boosts_until is not None:
        _require_end(wanted, boosts_until, wish)
    return replace(wanted, boosts_until=boosts_until)


def _require_end(wanted: Composition, until: datetime, wish: Wish) -> None:
    """See that there is a speed boost to end, after it has begun and within a year."""
    coming = {held.product.addon_type for held in wanted.products.added}
    if composing.BOOST not in coming:
        raise InvalidInput("Only a speed boost that comes can end by itself.", field="boosts_until")
    placing.require_day(until, at=wish.at, name="boosts_until")
    if until <= wish.starts_at:
        raise InvalidInput("The boost would end before it begins.", field="boosts_until")


def compose(
    line: Service,
    plan_code: str | None,
    add: Sequence[str],
    remove: Sequence[str],
    *,
    at: datetime,
    to_new_line: bool = False,
) -> Composition:
    """Work out what a line shall have. A new line takes no boosts along: they are the old one's.

    Raises:
        InvalidInput: it is not clear what is wanted.
        OfferingWithdrawn: what is added is no longer sold.
    """
    carried = [
        service
        for service in placing.carried_by(line)
        if not to_new_line or service.offering.kind == Kind.BSP
    ]
    now = {service.offering: service for service in [line, *carried]}
    ends = _named(carried, remove)
    access, bundled = _plan(line, carried, plan_code, at)
    comes = _coming(add, now, ends, stays={held.product for held in bundled}, at=at)
    was_sold_in = line.bundle if plan_code is None else None
    for product in ends:
        sold_in = now[product].bundle
        if sold_in is not None and sold_in.kind == Kind.PACKAGE:
            raise InvalidInput(f"{product} is part of {sold_in}. Cancel that.", field="remove")
        if sold_in is not None and sold_in == was_sold_in:
            raise InvalidInput(
                f"{product} is part of {was_sold_in}. Choose another plan to be without it.",
                field="remove",
            )
    # What was bought in a bundle of partners' products stays in it, whichever plan the line has.
    stays = [
        Held(service.offering, service.bundle)
        for service in carried
        if is_apart(service) and service.offering not in ends
    ]
    then = {held.product: held for held in bundled}
    for held in [*stays, *(Held(product) for product in comes)]:
        then.setdefault(held.product, held)
    before = [Held(service.offering, service.bundle) for service in carried]
    return Composition(now, access, plan.differences(before, then.values()))


def is_apart(service: Service) -> bool:
    """Say whether a product was not sold with the plan of its line."""
    return service.bundle is None or service.bundle.kind == Kind.PACKAGE


def _named(carried: Sequence[Service], codes: Sequence[str]) -> set[ProductOffering]:
    """Return the products of a line that shall end."""
    known = {service.offering.code: service for service in carried}
    for code in codes:
        if code not in known:
            raise InvalidInput(f"The line does not carry {code}.", field="remove")
        if known[code].state == Service.State.RESERVED:
            raise InvalidInput(
                f"{known[code].offering} is being set up. Remove it when it is there.",
                field="remove",
            )
    return {known[code].offering for code in codes}


def _plan(
    line: Service, carried: Sequence[Service], plan_code: str | None, at: datetime
) -> tuple[Held[ProductOffering], list[Held[ProductOffering]]]:
    """Return the access plan that the line shall have, and what comes with it as one plan."""
    if plan_code is None:
        of_it = [one for one in carried if line.bundle_id and not is_apart(one)]
        return (
            Held(line.offering, line.bundle),
            [Held(one.offering, one.bundle) for one in of_it],
        )
    chosen = composing.offerings([plan_code], at)[0]
    if chosen.kind == Kind.ACCESS:
        return Held(chosen), []
    parts = composing.components_of([chosen]).get(chosen.code, [])
    access = next((part for part in parts if part.kind == Kind.ACCESS), None)
    if access is None:
        raise InvalidInput(f"{chosen} is no internet plan and no aggregated plan.", field="plan")
    return Held(access, chosen), [Held(part, chosen) for part in parts if part != access]


def _coming(
    codes: Sequence[str],
    now: dict[ProductOffering, Service],
    ends: set[ProductOffering],
    *,
    stays: set[ProductOffering],
    at: datetime,
) -> list[ProductOffering]:
    """Return what shall come to the line, or stay on it when its aggregated plan is left."""
    if len(set(codes)) != len(codes):
        raise InvalidInput("Name each product once.", field="add")
    products = composing.offerings(codes, at)
    for product in products:
        if product.kind in {Kind.ACCESS, Kind.BUNDLE}:
            raise InvalidInput(f"{product} is a plan. Name it as the plan.", field="add")
        composing.require_lasting(product)
        if product in ends:
            raise InvalidInput(f"{product} cannot be added and removed at once.", field="add")
        if product in stays:
            raise InvalidInput(f"The line has {product} already, with its plan.", field="add")
        if product in now and is_apart(now[product]):
            raise InvalidInput(f"The line has {product} already.", field="add")
    return products


def _place(
    wish: Wish, line: Service, wanted: Composition, qualification: ServiceQualification | None
) -> ProductOrder:
    """Write the order that makes of a locked line what is wanted."""
    lines = _judged(wish, line, wanted, qualification)
    order = placing.open_order(
        wish, qualification=qualification, expected_at=wish.starts_at + plan.OWN_WORK_TAKES
    )
    items = _write_work(wish, line, wanted, lines, order)
    placing.announce(order, [item.offering.code for item in items if item.action != "no_change"])
    return order


def fill(
    wish: Wish,
    line: Service,
    wanted: Composition,
    qualification: ServiceQualification | None,
    order: ProductOrder,
) -> None:
    """Fill the order of a locked line, which the caller has emptied, with what is wanted now.

    Raises:
        what `change_line` raises for plans and products.
    """
    lines = _judged(wish, line, wanted, qualification)
    _write_work(wish, line, wanted, lines, order)


def _judged(
    wish: Wish, line: Service, wanted: Composition, qualification: ServiceQualification | None
) -> list[Line]:
    """See that a line can be what is wanted, and return that."""
    is_modified = _is_modified(line, wanted)
    differ = wanted.products
    if not (is_modified or differ.added or differ.removed or differ.regrouped):
        raise InvalidInput("The line is like this already: nothing would change.", field="plan")
    comes_new = is_modified or bool(differ.added or differ.regrouped)
    if comes_new:
        placing.require_good_standing(line.subscriber)
        qualification = require_of_premises(qualification, line)
    lines = _lines(wish, line, wanted, qualification if comes_new else None, is_modified)
    composing.require_carried(lines, qualification=qualification if comes_new else None)
    return lines


def _is_modified(line: Service, wanted: Composition) -> bool:
    access = wanted.access
    return (access.product, access.bundle) != (line.offering, line.bundle)


def _write_work(
    wish: Wish, line: Service, wanted: Composition, lines: Sequence[Line], order: ProductOrder
) -> list[ProductOrderItem]:
    """Write the items and the steps of a change, and until when it should be done."""
    items = _create_items(order, line, wanted, lines, _is_modified(line, wanted))
    order.expected_at = wish.starts_at + max(
        placing.answered_within(items),
        placing.install_days(lines) if placing.as_planned(items[0]).is_off_net else plan.NO_TIME,
    )
    order.save(update_fields=["expected_at"])
    placing.create_tasks(order, items, at=wish.at)
    return items


def require_of_premises(
    qualification: ServiceQualification | None, line: Service
) -> ServiceQualification:
    """See that what comes new was promised to the premises of the line."""
    if qualification is None:
        raise InvalidInput(
            "Check first what can be had at the address of the line.", field="qualification"
        )
    if qualification.premises_id != line.premises_id:
        raise InvalidInput(
            f"This answer is about another address than {line.premises}.", field="qualification"
        )
    return qualification


def _lines(
    wish: Wish,
    line: Service,
    wanted: Composition,
    qualification: ServiceQualification | None,
    is_modified: bool,
) -> list[Line]:
    """Return what the line shall be, the access plan first, each with its promise if it is new."""

    def promised(held: Held[ProductOffering]) -> QualifiedOffer | None:
        if qualification is None:
            return None
        return composing.offer_of(
            qualification, held.bundle or held.product, line.subscriber, wish.at, lifted=OWN_LINE
        )

    differ = wanted.products
    access = wanted.access
    lines = [Line(access.product, promised(access) if is_modified else None, access.bundle)]
    lines += [Line(held.product, promised(held), held.bundle) for held in differ.added]
    for held in differ.kept:
        offer = promised(held) if held.product in differ.regrouped else None
        lines.append(Line(held.product, offer, held.bundle))
    return lines


def _create_items(
    order: ProductOrder, main: Service, wanted: Composition, lines: Sequence[Line], modified: bool
) -> list[ProductOrderItem]:
    """Write the items of a change, the line first; make the services of what comes new."""
    differ = wanted.products
    action = Action.MODIFY if modified else Action.NO_CHANGE
    old = main.offering if modified else None
    items = [placing.add_item(order, lines[0], main, action=action, old_offering=old)]
    items += [add_product(order, main, line, wanted) for line in lines[1:]]
    for held in differ.removed:
        gone = Line(held.product, None, held.bundle)
        service = wanted.now[held.product]
        items.append(placing.add_item(order, gone, service, action=Action.DELETE))
    return items


def add_product(
    order: ProductOrder, main: Service, line: Line, wanted: Composition
) -> ProductOrderItem:
    """Write the item of a product that comes to a line or stays; make the service of a new one."""
    service = wanted.now.get(line.offering)
    if service is None:
        service = services.create_carried_service(
            line=main,
            offering=line.offering,
            bundle=line.bundle,
            ends_at=wanted.boosts_until if line.offering.addon_type == composing.BOOST else None,
            at=order.placed_at,
        )
        return placing.add_item(order, line, service)
    if line.offering in wanted.products.regrouped:
        return placing.add_item(
            order, line, service, action=Action.MODIFY, old_offering=service.offering
        )
    return placing.add_item(order, line, service, action=Action.NO_CHANGE)
