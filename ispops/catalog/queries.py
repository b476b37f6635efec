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
    included = f"{quantity_words(price.allowance, price.unit)} included, then "
    block = quantity_words(price.block_size, price.unit)
    each = "started " if price.counts_started_blocks and price.block_size > 1 else ""
    block = block.removeprefix("1 ")
    if not price.tiers:
        amount = format_money(price.amount, price.currency)
        return f"{included if price.allowance else ''}{amount} for each {each}{block}"
    steps = []
    for tier in price.tiers:
        amount = format_money(Decimal(str(tier["amount"])), price.currency)
        limit = tier["up_to"]
        upto = f"up to {quantity_words(limit, price.unit)}" if limit is not None else "beyond"
        steps.append(f"{amount} {upto}")
    return f"{included if price.allowance else ''}for each {each}{block}: {', '.join(steps)}"


def quantity_words(quantity: int, unit: str) -> str:
    """Write an amount of use for people: bytes as GB or TB, anything else with its own word."""
    if unit == "byte":
        for size, name in ((10**12, "TB"), (10**9, "GB"), (10**6, "MB")):
            if quantity >= size:
                return f"{Decimal(quantity) / size:,.3f}".rstrip("0").rstrip(".") + f" {name}"
    plural = "" if quantity == 1 or unit.endswith("s") or unit.isupper() else "s"
    return f"{quantity:,} {unit}{plural}"
