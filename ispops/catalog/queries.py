"""What the catalogue holds at a moment: what is sold, for how much, with which terms."""

from datetime import datetime
from decimal import Decimal

from django.db.models import Q, QuerySet

from ispops.catalog.models import (
    AddressEntitlement,
    OfferingPrice,
    ProductOffering,
)
from ispops.money import format_money


def sold_at(at: datetime) -> QuerySet[ProductOffering]:
    """The offerings that can be ordered at a moment."""
    return ProductOffering.objects.filter(sold_from__lte=at).filter(
        Q(sold_to__isnull=True) | Q(sold_to__gt=at)
    )


def price_in_force(
    offering: ProductOffering, charge: str, at: datetime, currency: str, unit: str = ""
) -> OfferingPrice | None:
    """Return the one price of a charge at a moment; `unit` is needed for a price by use."""
    prices = OfferingPrice.objects.at(at).filter(currency=currency, unit=unit)
    return prices.filter(offering=offering, charge=charge).first()


def entitlement_of(plan: ProductOffering) -> AddressEntitlement:
    """Return how many addresses a plan includes.

    A plan without a row of its own includes one of each kind and refuses more.
    """
    found = AddressEntitlement.objects.select_related("extra_address").filter(offering=plan).first()
    return found or AddressEntitlement(offering=plan, policy=AddressEntitlement.Policy.DENY)


def access_plan_of(offering: ProductOffering) -> ProductOffering | None:
    """Return the access plan that is sold: the offering itself, or the one inside a bundle."""
    if offering.kind == ProductOffering.Kind.ACCESS:
        return offering
    return ProductOffering.objects.filter(
        kind=ProductOffering.Kind.ACCESS, pk__in=offering.components.values("component")
    ).first()


def usage_words(price: OfferingPrice) -> str:
    """Say a price by use in words: `1 TB included, then USD 10.00 for each started 50 GB`."""
    said = _percentage_words(price) if price.model == price.Model.PERCENTAGE else _unit_words(price)
    for band in price.bands:
        amount = format_money(Decimal(band["amount"]), price.currency)
        said += f"; {amount} in {band['name']} ({band['start']} to {band['end']})"
        said += "" if band["counts"] else ", beside what is included"
    if price.rollover_periods:
        said += f"; what is left is kept for {quantity_words(price.rollover_periods, 'period')}"
    if price.period_minimum:
        said += f"; at least {format_money(price.period_minimum, price.currency)} a period"
    if price.period_maximum is not None:
        said += f"; at most {format_money(price.period_maximum, price.currency)} a period"
    return said


def _unit_words(price: OfferingPrice) -> str:
    unit = "event" if price.counts_events else price.unit
    included = f"{quantity_words(price.allowance, unit)} included, then " if price.allowance else ""
    block = quantity_words(price.block_size, unit).removeprefix("1 ")
    each = "started " if price.counts_started_blocks and price.block_size > 1 else ""
    if not price.tiers:
        amount = format_money(price.amount, price.currency)
        return f"{included}{amount} for each {each}{block}"
    steps = []
    for tier in price.tiers:
        amount = format_money(Decimal(str(tier["amount"])), price.currency)
        if tier.get("flat"):
            amount += f" and {format_money(Decimal(str(tier['flat'])), price.currency)} once"
        limit = tier["up_to"]
        upto = f"up to {quantity_words(limit, unit)}" if limit is not None else "beyond"
        steps.append(f"{amount} {upto}")
    model = price.Model(price.model)
    of = {
        model.VOLUME: f"all at one price for each {each}{block}, by how much it is in all",
        model.STAIRSTEP: "one price for all",
    }.get(model, f"for each {each}{block}")
    return f"{included}{of}: {', '.join(steps)}"


def _percentage_words(price: OfferingPrice) -> str:
    said = f"{price.percent.normalize():f} % of the value"
    if price.event_fee:
        said += f" and {format_money(price.event_fee, price.currency)}"
    if price.event_minimum:
        said += f", at least {format_money(price.event_minimum, price.currency)}"
    if price.event_maximum is not None:
        said += f", at most {format_money(price.event_maximum, price.currency)}"
    return said


def quantity_words(quantity: int, unit: str) -> str:
    """Write an amount of use for people: bytes as GB or TB, anything else with its own word."""
    if unit == "byte":
        for size, name in ((10**12, "TB"), (10**9, "GB"), (10**6, "MB")):
            if quantity >= size:
                return f"{Decimal(quantity) / size:,.3f}".rstrip("0").rstrip(".") + f" {name}"
    plural = "" if quantity == 1 or unit.endswith("s") or unit.isupper() else "s"
    return f"{quantity:,} {unit}{plural}"
