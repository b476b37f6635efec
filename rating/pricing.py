"""What a thing costs to the micro-unit, who gets which part of it, and why.

No database, no clock, no floats: amounts are whole micro-units (millionths of the currency's
unit), percentages are whole thousandths of a percent.

**Every charge is a step of a running total.** With F the price of everything so far, a charge is
F(after) - F(before): for use, "so far" is what was used of the service in the billing period; for
a recurring price it is the time of the billing period that has gone by; for a one-off price it is
the purchase itself. Partners' shares and tax are steps of running totals in the same way, each
rounded as a function of the total alone. So sums do not depend on the order or the batches in
which the steps are taken, and the steps of a whole period add up to exactly its price.

**Who gets the remainder.** A partner's percentage is rounded down to a whole micro-unit; the ISP
gets what is left. With one partner no share is ever below zero. With two, rounding can make the
ISP's part of a single step one micro-unit less than nothing, never its sum.

**Tax** is a percentage of the net amount, on top of it, half a micro-unit rounded up.
"""

from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from operator import mul
from typing import Any

from ispops.periods import Period

# A percentage is counted in thousandths of a percent: 19 % is 19,000 of these 100,000.
WHOLE = 100_000
# What fits the database's bigint, with room for sums.
LARGEST = 2**60


class AmountTooLarge(ValueError):
    """A quantity at a price comes to more than can be stored."""


@dataclass(frozen=True, slots=True)
class Tier:
    """Units up to a running number cost this much a block; `up_to` None is all the rest."""

    up_to: int | None
    amount: int


@dataclass(frozen=True, slots=True)
class UsagePrice:
    """The price of a running total of use within one billing period.

    The first `allowance` units are free; tiers count the units after them. An exact price charges
    each unit `amount / block_size`, and rounds the running total down to a whole micro-unit. With
    `counts_started_blocks` a block is charged whole as soon as it is begun, at the price of the
    tier in which it begins.

    Raises:
        ValueError: tiers are not ascending with the last one open, or something is negative.
    """

    version: str
    unit: str
    tiers: tuple[Tier, ...]
    block_size: int = 1
    counts_started_blocks: bool = False
    allowance: int = 0
    # The limits of all tiers but the last, in what is counted: blocks or units.
    _limits: tuple[int, ...] = field(init=False, repr=False, compare=False)
    _amounts: tuple[int, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        limits = [tier.up_to for tier in self.tiers]
        known = [limit for limit in limits[:-1] if limit is not None]
        if not limits or limits[-1] is not None or len(known) != len(limits) - 1:
            raise ValueError("the last tier, and only the last, must be open")
        if known != sorted(set(known)) or any(limit <= 0 for limit in known):
            raise ValueError("the limits of tiers must be above zero and ascend")
        if self.block_size <= 0 or self.allowance < 0 or any(t.amount < 0 for t in self.tiers):
            raise ValueError("a block must be above zero, and no allowance or amount below it")
        object.__setattr__(self, "_limits", tuple(self.counted(limit) for limit in known))
        object.__setattr__(self, "_amounts", tuple(tier.amount for tier in self.tiers))

    def counted(self, units: int) -> int:
        """Return what is counted of units: the blocks that they begin, or the units themselves."""
        return -(-units // self.block_size) if self.counts_started_blocks else units

    def spread(self, quantity: int) -> list[int]:
        """Return how much of the first `quantity` units of a period counts in each tier."""
        charged = self.counted(max(quantity - self.allowance, 0))
        counts: list[int] = []
        below = 0
        for limit in self._limits:
            here = min(charged, limit)
            counts.append(here - below)
            below = here
        counts.append(charged - below)
        return counts

    def cost(self, counts: list[int]) -> int:
        """Return the price of what counts in each tier, in micro-units."""
        cost: int = sum(map(mul, counts, self._amounts))
        return cost if self.counts_started_blocks else cost // self.block_size

    def total(self, quantity: int) -> int:
        """Return the price of the first `quantity` units of a period, in micro-units."""
        return self.cost(self.spread(quantity))


@dataclass(frozen=True, slots=True)
class Share:
    """What a partner gets: a part of the net amount, or a fixed amount for a whole charge."""

    percent_milli: int = 0
    fixed: int = 0


@dataclass(frozen=True, slots=True)
class Terms:
    """The tax on a charge, and the partners' shares of it; None where there is no partner."""

    tax_milli: int = 0
    bsp: Share | None = None
    network_provider: Share | None = None


NO_TERMS = Terms()


@dataclass(frozen=True, slots=True)
class Priced:
    """The parts of one charge in micro-units: `bsp + network_provider + isp == net`."""

    net: int
    tax: int
    bsp: int
    network_provider: int
    isp: int
    explanation: dict[str, Any]


@dataclass(frozen=True, slots=True)
class BundlePart:
    """Which part of an aggregated plan's one price a component is: `weight` of `weights`."""

    price: int
    weight: int
    weights: int


def price_one_off(*, amount: int, version: str, terms: Terms = NO_TERMS) -> Priced:
    """Price something that is bought once.

    Raises:
        ValueError: the amount is negative. AmountTooLarge: it cannot be stored.
    """
    _check(amount)
    text = f"one price of {words(amount)}"
    return _step(0, amount, terms, _fixed(terms, 0, 1, 1), _why("one_off", version, text))


def prorate(amount: int, start: int, end: int, whole: int) -> int:
    """Return the part of an amount that falls on `[start, end)` of a span of length `whole`.

    The parts of a span that was cut anywhere add up to the amount exactly.
    """
    return amount * end // whole - amount * start // whole


def price_recurring(
    *,
    amount: int,
    version: str,
    span: Period,
    period: Period,
    terms: Terms = NO_TERMS,
    part: BundlePart | None = None,
) -> Priced:
    """Price a span within a billing period at a price for the whole period, by the microsecond.

    `part` only explains where `amount` comes from, when it is a component's part of a bundle.

    Raises:
        ValueError: the span is not within the period, or the amount is negative.
        AmountTooLarge: the amount cannot be stored.
    """
    _check(amount)
    if not period.start <= span.start < span.end <= period.end:
        raise ValueError("a span is charged within its billing period")
    start, end, whole = _offset(period, span.start), _offset(period, span.end), _length(period)
    explanation = _why("recurring", version, _recurring_words(amount, end - start, whole))
    if part is not None:
        explanation["bundle"] = (
            f"{words(amount)} is the part {part.weight} of {part.weights} "
            f"of the plan's price of {words(part.price)}"
        )
    return _step(
        amount * start // whole,
        amount * end // whole,
        terms,
        _fixed(terms, start, end, whole),
        explanation,
    )


def price_usage(
    *, price: UsagePrice, before: int, quantity: int, terms: Terms = NO_TERMS
) -> Priced:
    """Price `quantity` more units after `before` units of the same service, price and period.

    Fixed shares are for one-off and recurring charges: of use they give nothing.

    Raises:
        ValueError: a quantity is negative. AmountTooLarge: the amount cannot be stored.
    """
    if before < 0 or quantity < 0:
        raise ValueError("use is never negative")
    after = before + quantity
    old, new = price.spread(before), price.spread(after)
    owed, owes = price.cost(old), price.cost(new)
    if owes > LARGEST:
        raise AmountTooLarge(f"{after} {price.unit} cost more than can be stored")
    tiers, parts = _tiers(price, before, after, old, new)
    text = (
        f"{quantity:,} {price.unit}{'' if quantity == 1 else 's'} after {before:,} in the period: "
        f"{' + '.join(parts) or _NOTHING[quantity > 0]}; "
        f"{words(owes)} - {words(owed)} = {words(owes - owed)}"
    )
    explanation = _why("usage", price.version, text)
    explanation["before"] = before
    explanation["after"] = after
    explanation["tiers"] = tiers
    return _step(owed, owes, terms, (0, 0), explanation)


@lru_cache(maxsize=65_536)
def words(micros: int) -> str:
    """Write micro-units as a decimal number with two to six decimals, exactly."""
    whole, rest = divmod(abs(micros), 1_000_000)
    decimals = f"{rest:06d}"
    while len(decimals) > 2 and decimals[-1] == "0":
        decimals = decimals[:-1]
    return f"{'-' if micros < 0 else ''}{whole}.{decimals}"


def _check(amount: int) -> None:
    if amount < 0:
        raise ValueError("a price is never negative")
    if amount > LARGEST:
        raise AmountTooLarge(f"{words(amount)} is more than can be stored")


def _step(
    before: int, after: int, terms: Terms, fixed: tuple[int, int], explanation: dict[str, Any]
) -> Priced:
    """Take one step of the running totals of price, tax and shares."""
    net = after - before
    tax = _tax(after, terms.tax_milli) - _tax(before, terms.tax_milli)
    bsp = network_provider = 0
    if terms.bsp is not None:
        bsp = fixed[0] + _percent(before, after, terms.bsp)
    if terms.network_provider is not None:
        network_provider = fixed[1] + _percent(before, after, terms.network_provider)
    if terms.tax_milli:
        explanation["tax"] = f"{_percent_words(terms.tax_milli)} of {words(net)} = {words(tax)}"
    return Priced(net, tax, bsp, network_provider, net - bsp - network_provider, explanation)


def _tax(total: int, tax_milli: int) -> int:
    return (2 * total * tax_milli + WHOLE) // (2 * WHOLE)


def _percent(before: int, after: int, share: Share) -> int:
    return after * share.percent_milli // WHOLE - before * share.percent_milli // WHOLE


def _fixed(terms: Terms, start: int, end: int, whole: int) -> tuple[int, int]:
    """Prorate the fixed amounts of both partners as the charge itself is."""
    bsp = prorate(terms.bsp.fixed, start, end, whole) if terms.bsp else 0
    network = terms.network_provider
    return bsp, prorate(network.fixed, start, end, whole) if network else 0


def _offset(period: Period, instant: datetime) -> int:
    """Return the microseconds from the start of a period to an instant in it."""
    gone = instant - period.start
    return (gone.days * 86_400 + gone.seconds) * 1_000_000 + gone.microseconds


def _length(period: Period) -> int:
    return _offset(period, period.end)


def _why(rule: str, version: str, arithmetic: str) -> dict[str, Any]:
    return {"rule": rule, "price_version": version, "arithmetic": arithmetic}


def _recurring_words(amount: int, charged: int, whole: int) -> str:
    if charged == whole:
        return f"the whole period at {words(amount)}"
    return f"{words(amount)} x {_seconds(charged)} / {_seconds(whole)} seconds of the period"


def _seconds(microseconds: int) -> str:
    whole, rest = divmod(microseconds, 1_000_000)
    return f"{whole:,}" + (f".{rest:06d}".rstrip("0") if rest else "")


def _percent_words(milli: int) -> str:
    whole, rest = divmod(milli, 1000)
    return f"{whole}" + (f".{rest:03d}".rstrip("0") if rest else "") + " %"


_NOTHING = ("nothing used", "within a block that is charged already")


def _tiers(
    price: UsagePrice, before: int, after: int, old: list[int], new: list[int]
) -> tuple[list[dict[str, Any]], list[str]]:
    """Say what a step takes of the allowance and of each tier it touches, in facts and in words.

    `units` counts blocks where the price charges started blocks, else units.
    """
    touched: list[dict[str, Any]] = []
    parts: list[str] = []
    if before < price.allowance:
        free = min(after, price.allowance) - before
        touched.append({"allowance": price.allowance, "units": free})
        parts.append(f"{free:,} included")
    for tier, was, now in zip(price.tiers, old, new, strict=True):
        if now > was:
            amount = words(tier.amount)
            touched.append({"up_to": tier.up_to, "units": now - was, "amount": amount})
            parts.append(_part(price, now - was, amount))
    return touched, parts


def _part(price: UsagePrice, count: int, amount: str) -> str:
    if price.counts_started_blocks:
        return f"{count:,} started x {price.block_size:,} at {amount}"
    if price.block_size == 1:
        return f"{count:,} x {amount}"
    return f"{count:,} / {price.block_size:,} x {amount}"
