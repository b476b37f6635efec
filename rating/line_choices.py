"""What a subscriber's line can become, and what that means for the bill; changes nothing."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.conf import settings

from ispops.catalog.models import OfferingPrice, ProductOffering
from ispops.catalog.queries import access_plan_of, price_in_force
from ispops.periods import billing_period
from provisioning import changing
from provisioning.models import ProductOrder, Service
from provisioning.placing import carried_by
from qualification.models import QualifiedOffer, ServiceQualification

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
class Meaning:
    """What becomes of a line's products with another plan."""

    comes: list[ProductOffering]
    stays: list[ProductOffering]
    ends: list[ProductOffering]


def choices(line: Service, qualification: ServiceQualification, at: datetime) -> list[Choice]:
    """Return the plans of an answer that the line can become, the cheapest first.

    At its own address the line needs no free port of its own network.
    """
    is_here = qualification.premises_id == line.premises_id
    now = monthly_now(line, at)
    found = []
    rows = qualification.offers.filter(offering__kind__in=_PLANS).select_related(
        "offering__provider"
    )
    for offer in rows.order_by("recurring_amount", "pk"):
        plan = access_plan_of(offer.offering)
        if plan is None or (plan.subscriber_kind not in {"", line.subscriber.kind}):
            continue
        same_network = (plan.provider_id, plan.technology) == (
            line.offering.provider_id, line.offering.technology
        )  # fmt: skip
        intent = _intent(is_here=is_here, same_network=same_network)
        lifted = changing.OWN_LINE if intent == Intent.CHANGE else ()
        if not (offer.eligible or offer.reason_code in lifted):
            continue
        is_current = is_here and offer.offering == (line.bundle or line.offering)
        monthly = _monthly_then(line, offer, at)
        found.append(Choice(offer, intent, is_current, monthly, monthly - now))
    return found


def _intent(*, is_here: bool, same_network: bool) -> str:
    if not is_here:
        return Intent.MOVE
    return Intent.CHANGE if same_network else Intent.PROVIDER_CHANGE


def meaning(line: Service, choice: Choice, at: datetime) -> Meaning:
    """Say what comes, stays and ends with a plan. Raises what `changing.compose` raises."""
    wanted = changing.compose(
        line, choice.code, (), (), at=at, to_new_line=choice.intent != Intent.CHANGE
    )
    ends = [held.product for held in wanted.products.removed]
    if choice.intent != Intent.CHANGE:
        ends += [one.offering for one in carried_by(line) if one.offering.kind == Kind.ADDON]
    return Meaning(
        comes=[held.product for held in wanted.products.added],
        stays=[held.product for held in wanted.products.kept],
        ends=ends,
    )


def monthly_now(line: Service, at: datetime) -> Decimal:
    """Return what a line and what it carries cost a period, before tax."""
    sold = [line.bundle or line.offering]
    sold += [one.offering for one in carried_by(line) if one.bundle_id is None]
    return _sum(sold, line.subscriber.currency, at)


def _monthly_then(line: Service, offer: QualifiedOffer, at: datetime) -> Decimal:
    parts = set(offer.offering.components.values_list("component", flat=True))
    singles = [
        one.offering
        for one in carried_by(line)
        if one.bundle_id is None and one.offering_id not in parts
    ]
    return (offer.recurring_amount or Decimal(0)) + _sum(singles, line.subscriber.currency, at)


def _sum(sold: Iterable[ProductOffering], currency: str, at: datetime) -> Decimal:
    prices = (
        price_in_force(offering, OfferingPrice.Charge.RECURRING, at, currency) for offering in sold
    )
    return sum((Decimal(price.amount) for price in prices if price), Decimal(0))


def next_period_starts_at(line: Service, at: datetime) -> datetime:
    """Return when the account's next billing period begins."""
    anchor = line.subscriber.billing_anchor_day
    return billing_period(at, anchor_day=anchor, zone=settings.BILLING_TIME_ZONE).end
