"""What a thing costs to the micro-unit, who gets which part of it, and why.

No database, no clock, no floats: amounts are whole micro-units (millionths of the currency's
unit), percentages are whole thousandths of a percent.

**Every charge is a step of a running total.** With F the price of everything so far, a charge is
F(after) - F(before): for use, "so far" is what was used of the service in the billing period; for
a recurring price it is the time of the billing period that has gone by; for a one-off price it is
the purchase itself. Partners' shares and tax are steps of running totals in the same way; see
`rating.sharing`. So sums do not depend on the order or the batches in which the steps are taken,
and the steps of a whole period add up to exactly its price. What F is for use says
`rating.usage_prices`, and in which order discounts, caps and minimums apply.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from zoneinfo import ZoneInfo

from ispops.periods import Period
from rating.amounts import WHOLE, AmountTooLarge, checked, portion, words
from rating.sharing import (
    NO_TERMS,
    Priced,
    Share,
    ShareTier,
    Terms,
    Totals,
    add,
    take_step,
)
from rating.usage_prices import (
    NO_DISCOUNT,
    Discount,
    EventPrice,
    Standing,
    Tier,
    UsagePrice,
    Use,
)
from rating.usage_words import difference, discount_words, explain

__all__ = [
    "NO_DISCOUNT",
    "NO_TERMS",
    "WHOLE",
    "AmountTooLarge",
    "BundlePart",
    "Discount",
    "EventPrice",
    "Later",
    "Priced",
    "Share",
    "ShareTier",
    "Standing",
    "Terms",
    "Tier",
    "UsagePrice",
    "Use",
    "close_period",
    "elapsed",
    "price_one_off",
    "price_recurring",
    "price_usage",
    "price_use",
    "words",
]

Proration = Literal["second", "day"]


@dataclass(frozen=True, slots=True)
class BundlePart:
    """Which part of an aggregated plan's one price a component is: `weight` of `weights`."""

    price: int
    weight: int
    weights: int

    def in_words(self, amount: int) -> str:
        """Say where a component's amount comes from."""
        return (
            f"{words(amount)} is the part {self.weight} of {self.weights} "
            f"of the one price of {words(self.price)}"
        )


@dataclass(frozen=True, slots=True)
class Later:
    """What late use changes in a later period, because less is carried over into it."""

    since: datetime
    price: UsagePrice
    before: Standing
    after: Standing


def price_one_off(
    *,
    amount: int,
    version: str,
    terms: Terms = NO_TERMS,
    part: BundlePart | None = None,
    discount: Discount = NO_DISCOUNT,
) -> Priced:
    """Price something that is bought once. `part` only explains the amount; see below.

    Raises:
        ValueError: the amount is negative. AmountTooLarge: it cannot be stored.
    """
    checked(amount)
    net = discount.of(amount)
    explanation = _why("one_off", version, f"one price of {_discounted(amount, discount)}")
    if part is not None:
        explanation["bundle"] = part.in_words(amount)
    return take_step(Totals(0, 0), Totals(net, amount, part=1), terms, explanation)


def price_recurring(
    *,
    amount: int,
    version: str,
    span: Period,
    period: Period,
    terms: Terms = NO_TERMS,
    part: BundlePart | None = None,
    discount: Discount = NO_DISCOUNT,
    proration: Proration = "second",
    zone: str = "UTC",
) -> Priced:
    """Price a span within a billing period at a price for the whole period.

    By the *second*, every microsecond counts. By the *day* of the zone, a day is charged to what
    is active when it ends: the day on which something starts is charged, the day on which it ends
    is not. `part` only explains where `amount` comes from, when it is a component's part of a
    bundle.

    Raises:
        ValueError: the span is not within the period, or the amount is negative.
        AmountTooLarge: the amount cannot be stored.
    """
    checked(amount)
    if not period.start <= span.start < span.end <= period.end:
        raise ValueError("a span is charged within its billing period")
    start, whole = elapsed(period, span.start, proration, zone)
    end, _ = elapsed(period, span.end, proration, zone)
    due = discount.of(amount)
    text = _recurring_words(_discounted(amount, discount), end - start, whole, proration)
    explanation = _why("recurring", version, text)
    if part is not None:
        explanation["bundle"] = part.in_words(amount)

    def at(gone: int) -> Totals:
        return Totals(
            portion(due, gone, whole), portion(amount, gone, whole), part=gone, whole=whole
        )

    return take_step(at(start), at(end), terms, explanation)


def elapsed(
    period: Period, instant: datetime, proration: Proration = "second", zone: str = "UTC"
) -> tuple[int, int]:
    """Return how much of a period has gone by at an instant, and how much there is of it.

    That is in microseconds, or in days of the zone of which each counts when it is over.
    """
    if proration == "day":
        tz = ZoneInfo(zone)
        first = period.start.astimezone(tz).date()
        gone = (instant.astimezone(tz).date() - first).days
        return gone, (period.end.astimezone(tz).date() - first).days
    return _offset(period, instant), _offset(period, period.end)


def price_usage(
    *, price: UsagePrice, before: int, quantity: int, terms: Terms = NO_TERMS
) -> Priced:
    """Price `quantity` more units after `before` units of the same service, price and period.

    The period stands for itself: nothing is carried into it, and there are no packs.

    Raises:
        ValueError: a quantity is negative. AmountTooLarge: the amount cannot be stored.
    """
    if before < 0 or quantity < 0:
        raise ValueError("use is never negative")
    return price_use(
        price=price,
        quantity=quantity,
        before=price.standing(price.use(before)),
        after=price.standing(price.use(before + quantity)),
        terms=terms,
    )


def price_use(
    *,
    price: UsagePrice,
    quantity: int,
    before: Standing,
    after: Standing,
    terms: Terms = NO_TERMS,
    later: Sequence[Later] = (),
) -> Priced:
    """Price a use by what it changes: in its own period, and in later ones where it was late.

    Fixed shares are for one-off and recurring charges: of use they give nothing.
    """
    text, tiers = explain(price, quantity, before, after)
    explanation = _why("usage", price.version, text)
    explanation["before"] = before.totals.units
    explanation["after"] = after.totals.units
    explanation["tiers"] = tiers
    own = take_step(before.totals, after.totals, terms, explanation)
    if not later:
        return own
    steps = [own]
    for step in later:
        steps.append(take_step(step.before.totals, step.after.totals, terms, {}))
        fewer = step.before.use.free - step.after.use.free
        explanation["arithmetic"] += (
            f"; {fewer:,} fewer carried into the period from {step.since:%Y-%m-%d}: "
            f"{difference(step.price, step.before, step.after)}"
        )
    return add(steps, terms, explanation)


def close_period(
    *, price: UsagePrice, use: Use, part: int, whole: int, terms: Terms = NO_TERMS
) -> Priced | None:
    """Price what is still due when a period ends: up to the least that it costs, and what partners
    are guaranteed; None where that is nothing.

    The part of the period in which the service was active counts. Use that is reported later is
    free until it passes what was paid for.
    """
    before = price.standing(use).totals
    after = price.standing(use._replace(part=part, whole=whole)).totals
    floor = portion(price.least, part, whole)
    text = f"at least {words(floor)} is due for the period"
    if part != whole:
        text += f" ({words(price.least)} x {part:,} / {whole:,} of it)"
    text += f", and {words(before.net)} was charged: {words(after.net - before.net)}"
    if after.net == before.net:
        text = "nothing more is due; a partner is paid what it is guaranteed for the period"
    step = take_step(before, after, terms.of_use(), _why("minimum", price.version, text))
    return step if step.net or step.bsp or step.network_provider else None


def _offset(period: Period, instant: datetime) -> int:
    """Return the microseconds from the start of a period to an instant in it."""
    gone = instant - period.start
    return (gone.days * 86_400 + gone.seconds) * 1_000_000 + gone.microseconds


def _why(rule: str, version: str, arithmetic: str) -> dict[str, Any]:
    return {"rule": rule, "price_version": version, "arithmetic": arithmetic}


def _discounted(amount: int, discount: Discount) -> str:
    taken = discount_words(discount)
    return (
        f"{words(amount)} less {taken} = {words(discount.of(amount))}" if taken else words(amount)
    )


def _recurring_words(amount: str, charged: int, whole: int, proration: Proration) -> str:
    if charged == whole:
        return f"the whole period at {amount}"
    amount = f"({amount})" if "=" in amount else amount
    if proration == "day":
        return f"{amount} x {charged:,} / {whole:,} days of the period"
    return f"{amount} x {_seconds(charged)} / {_seconds(whole)} seconds of the period"


def _seconds(microseconds: int) -> str:
    whole, rest = divmod(microseconds, 1_000_000)
    return f"{whole:,}" + (f".{rest:06d}".rstrip("0") if rest else "")
