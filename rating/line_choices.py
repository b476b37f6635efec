"""What a line can become, and what it would cost a month; changes nothing.

The portal and the console show the same choices: what may be ordered, the verbs of provisioning
decide, by the same answer to *can this place be served?*
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db.models import QuerySet

from ispops.catalog.models import OfferingPrice, ProductOffering
from ispops.catalog.queries import access_plan_of, price_in_force
from provisioning import changing, composing, later_orders
from provisioning.models import ProductOrder, Service
from provisioning.placing import carried_by
from qualification.models import QualifiedOffer, ServiceQualification
from rating.accrual import period_at

Intent = ProductOrder.Intent
Kind = ProductOffering.Kind
_PLANS = (Kind.ACCESS, Kind.BUNDLE)


@dataclass(frozen=True, slots=True)
class Choice:
    """A plan that the line can have, and how much more or less a month it is than today's."""

    offer: QualifiedOffer
    intent: str
    is_current: bool
    monthly: Decimal
    difference: Decimal

    @property
    def saving(self) -> Decimal:
        return -self.difference

    @property
    def code(self) -> str:
        return self.offer.offering.code


@dataclass(frozen=True, slots=True)
class Products:
    """What can come to a line beside its plan, and what of it can go, each by itself."""

    boosts: list[QualifiedOffer]
    # Our other add-ons, such as a static address.
    addons: list[QualifiedOffer]
    partners: list[QualifiedOffer]
    carried: list[Service]

    @property
    def codes_to_add(self) -> list[str]:
        return [offer.offering.code for offer in [*self.boosts, *self.addons, *self.partners]]

    @property
    def codes_to_remove(self) -> list[str]:
        return [service.offering.code for service in self.carried]


def choices(line: Service, qualification: ServiceQualification, at: datetime) -> list[Choice]:
    """Return the plans of an answer that the line can become, the cheapest first.

    At its own address the line needs no free port of its own network.
    """
    is_here = qualification.premises_id == line.premises_id
    now = monthly_now(line, at)
    found = []
    for offer in _offers(qualification, _PLANS):
        plan = access_plan_of(offer.offering)
        if plan is None or (plan.subscriber_kind not in {"", line.subscriber.kind}):
            continue
        intent = later_orders.intent_of(line, qualification, plan)
        lifted = changing.OWN_LINE if intent == Intent.CHANGE else ()
        if not (offer.eligible or offer.reason_code in lifted):
            continue
        is_current = is_here and offer.offering == (line.bundle or line.offering)
        monthly = _monthly_then(line, offer, at)
        found.append(Choice(offer, intent, is_current, monthly, monthly - now))
    return found


def of_order(
    order: ProductOrder, qualification: ServiceQualification, at: datetime
) -> tuple[list[Choice], Products]:
    """Return what an order that is under way can be for instead, and stay the order it is."""
    kind = order.subscriber.kind
    if order.line is None:
        plans = [
            Choice(offer, Intent.NEW, False, offer.recurring_amount or Decimal(0), Decimal(0))
            for offer in _offers(qualification, _PLANS)
            if offer.eligible and offer.offering.subscriber_kind in {"", kind}
        ]
        return plans, products(None, qualification, kind)
    plans = [one for one in choices(order.line, qualification, at) if one.intent == order.intent]
    return plans, products(order.line, qualification, kind)


def standing_answer(order: ProductOrder, at: datetime) -> ServiceQualification | None:
    """Return the answer that an order rests on, while it still stands: its port is in it."""
    answer = order.qualification
    return answer if answer is not None and at < answer.expires_at else None


def products(
    line: Service | None,
    qualification: ServiceQualification,
    kind: str,
    *,
    keeps_plan: bool = False,
) -> Products:
    """Return the products that can come to a line at the place of an answer, or go from it.

    `line` is None for one that is not there yet. What is part of an aggregated plan goes with it,
    and can come by itself unless the line `keeps_plan`.
    """
    is_here = line is not None and qualification.premises_id == line.premises_id
    lifted = changing.OWN_LINE if is_here else ()
    living = carried_by(line) if line else []
    carried = [one for one in living if _can_go(one)]
    # A boost does not move along, so at another place it can be had again.
    has = {
        one.offering_id
        for one in living
        if one.state != Service.State.RESERVED
        and (is_here or one.offering.kind == Kind.BSP)
        and (keeps_plan or changing.is_apart(one))
    }
    open_ones = [
        offer
        for offer in _offers(qualification, (Kind.BSP, Kind.ADDON))
        if (offer.eligible or offer.reason_code in lifted)
        and offer.offering_id not in has
        and offer.offering.subscriber_kind in {"", kind}
        and _lasts(offer.offering)
    ]
    return Products(
        boosts=[one for one in open_ones if one.offering.addon_type == composing.BOOST],
        addons=[
            one
            for one in open_ones
            if one.offering.kind == Kind.ADDON and one.offering.addon_type != composing.BOOST
        ],
        partners=[one for one in open_ones if one.offering.kind == Kind.BSP],
        carried=carried if is_here else [one for one in carried if one.offering.kind == Kind.BSP],
    )


def _can_go(carried: Service) -> bool:
    return carried.bundle_id is None and carried.state != Service.State.RESERVED


def _lasts(offering: ProductOffering) -> bool:
    if offering.kind == Kind.ADDON:
        return offering.addon_type in composing.ORDERED
    return offering.is_subscription


def _offers(qualification: ServiceQualification, kinds: Iterable[str]) -> QuerySet[QualifiedOffer]:
    rows = qualification.offers.filter(offering__kind__in=list(kinds))
    return rows.select_related("offering__provider").order_by("recurring_amount", "pk")


def monthly_now(line: Service, at: datetime) -> Decimal:
    """Return what a line and what it carries cost a period, before tax."""
    sold = [line.bundle or line.offering]
    carried = carried_by(line)
    sold += [one.offering for one in carried if one.bundle_id is None]
    sold += _packages(carried)
    return _sum(sold, line.subscriber.currency, at)


def _monthly_then(line: Service, offer: QualifiedOffer, at: datetime) -> Decimal:
    parts = set(offer.offering.components.values_list("component", flat=True))
    carried = carried_by(line)
    singles = [
        one.offering for one in carried if one.bundle_id is None and one.offering_id not in parts
    ]
    stays = singles + _packages(carried)
    return (offer.recurring_amount or Decimal(0)) + _sum(stays, line.subscriber.currency, at)


def _packages(carried: Iterable[Service]) -> list[ProductOffering]:
    """Return the bundles of partners' products that a line carries parts of."""
    sold_in = {one.bundle for one in carried if one.bundle is not None}
    return [bundle for bundle in sold_in if bundle.kind == Kind.PACKAGE]


def _sum(sold: Iterable[ProductOffering], currency: str, at: datetime) -> Decimal:
    prices = (
        price_in_force(offering, OfferingPrice.Charge.RECURRING, at, currency) for offering in sold
    )
    return sum((Decimal(price.amount) for price in prices if price), Decimal(0))


def next_period_starts_at(line: Service, at: datetime) -> datetime:
    """Return when the account's next billing period begins."""
    return period_at(line.subscriber, at).end
