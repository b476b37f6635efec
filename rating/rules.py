"""From rows of the catalogue to the pure rules that price by them, in whole micro-units."""

from decimal import Decimal
from typing import Any, cast

from ispops.catalog.models import OfferingPrice, SettlementTerm
from ispops.money import to_micros
from rating.allowances import Rollover
from rating.bands import Band
from rating.pricing import Discount, EventPrice, Proration, Share, ShareTier, Tier, UsagePrice
from rating.usage_prices import Model


def version(price: OfferingPrice) -> str:
    """Name a price so that it can be found again, with the day from which it is in force."""
    return f"{price.pk or 'draft'} from {price.valid_from:%Y-%m-%d}"


def usage_rule(price: OfferingPrice) -> UsagePrice:
    """Return the running total's price that a usage price of the catalogue means.

    Raises:
        ValueError, KeyError, TypeError, ArithmeticError: it makes no sense.
    """
    is_percentage = price.model == OfferingPrice.Model.PERCENTAGE
    tiers = tuple(
        Tier(tier["up_to"], _micros(tier["amount"]), _micros(tier.get("flat", 0)))
        for tier in price.tiers
    )
    return UsagePrice(
        version=version(price),
        unit=price.unit,
        tiers=tiers or (Tier(None, to_micros(price.amount)),),
        block_size=price.block_size,
        counts_started_blocks=price.counts_started_blocks,
        allowance=price.allowance,
        model="graduated" if is_percentage else cast(Model, price.model),
        counts_events=price.counts_events,
        event_price=event_price(price) if is_percentage else None,
        bands=tuple(_band(band) for band in price.bands),
        rollover=rollover(price),
        discount=discount(price),
        most=None if price.period_maximum is None else to_micros(price.period_maximum),
        least=to_micros(price.period_minimum),
    )


def event_price(price: OfferingPrice) -> EventPrice:
    """Return the price of each event by its value."""
    most = price.event_maximum
    return EventPrice(
        percent_milli=milli(price.percent),
        worth=to_micros(price.amount),
        fee=to_micros(price.event_fee),
        minimum=to_micros(price.event_minimum),
        maximum=None if most is None else to_micros(most),
    )


def rollover(price: OfferingPrice) -> Rollover | None:
    """Return for how long units that were not used are kept; None where they lapse."""
    if not price.rollover_periods:
        return None
    return Rollover(price.rollover_periods, price.rollover_most)


def discount(price: OfferingPrice) -> Discount:
    """Return what is taken off a price, while there is a discount."""
    return Discount(milli(price.discount_percent), to_micros(price.discount_amount))


def proration(price: OfferingPrice) -> Proration:
    """Return by what a price is prorated."""
    return cast(Proration, price.proration)


def share(term: SettlementTerm) -> Share:
    """Return what a partner gets by a settlement term."""
    basis = SettlementTerm.Basis
    is_fixed, is_wholesale = term.basis == basis.FIXED, term.basis == basis.WHOLESALE
    tiers = term.tiers if term.basis == basis.TIERED else []
    return Share(
        percent_milli=milli(term.percent) if term.basis == basis.PERCENT_OF_NET else 0,
        retail_percent_milli=milli(term.percent) if term.basis == basis.PERCENT_OF_RETAIL else 0,
        fixed=to_micros(term.amount) if is_fixed else 0,
        wholesale=to_micros(term.amount) if is_wholesale else 0,
        wholesale_block=term.block_size,
        tiers=tuple(_share_tier(tier) for tier in tiers),
        minimum=to_micros(term.minimum),
    )


def milli(percent: Decimal) -> int:
    """Return a percentage in thousandths of a percent."""
    return int(percent * 1000)


def _share_tier(tier: dict[str, Any]) -> ShareTier:
    upto = tier["up_to"]
    return ShareTier(None if upto is None else _micros(upto), milli(Decimal(str(tier["percent"]))))


def _band(band: dict[str, Any]) -> Band:
    return Band(
        name=band["name"],
        days=frozenset(band["days"]),
        start=_minutes(band["start"]),
        end=_minutes(band["end"]),
        amount=_micros(band["amount"]),
        counts=band["counts"],
    )


def _minutes(clock: str) -> int:
    hours, _, minutes = clock.partition(":")
    return int(hours) * 60 + int(minutes)


def _micros(amount: Any) -> int:
    return to_micros(Decimal(str(amount)))
