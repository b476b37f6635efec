"""Worked examples of a price: what telling quantities cost, who gets which part of it, and why.

No database, no clock. An example is priced as a first use of a period, or as a purchase, by the
same functions as any charge; so an example never says anything else than a bill.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from ispops.periods import Period
from rating.amounts import AmountTooLarge
from rating.bands import divide
from rating.pricing import (
    Discount,
    EventPrice,
    Priced,
    Proration,
    Terms,
    UsagePrice,
    Use,
    close_period,
    price_one_off,
    price_recurring,
    price_use,
)

# More than this nobody uses in a period; what a limit means is looked for below it.
_MOST_UNITS = 2**50
_POINTS = 48


@dataclass(frozen=True, slots=True)
class Example:
    """A case and what it costs; `quantity` is None where nothing is counted."""

    case: str
    quantity: int | None
    priced: Priced


def limits(price: UsagePrice) -> list[int]:
    """Return the quantities of a period at which something about a price changes."""
    found = {price.allowance} if price.allowance else set()
    if price.event_price is None:
        found |= {price.allowance + tier.up_to for tier in price.tiers if tier.up_to is not None}
        if price.counts_started_blocks and price.block_size > 1:
            found.add(price.allowance + price.block_size)
        cap = _reaches_most(price)
        found |= {cap} if cap else set()
    elif price.event_price.percent_milli and price.event_price.worth:
        found |= _event_limits(price.event_price)
    return sorted(found)


def _reaches_most(price: UsagePrice) -> int | None:
    """Return the first quantity that costs the most that a period may cost."""
    most = price.most
    if most is None or price.model != "graduated":
        return None

    def is_there(quantity: int) -> bool:
        try:
            return price.standing(price.use(quantity, *_nothing(price))).totals.net >= most
        except AmountTooLarge:
            return True

    low, high = 0, _MOST_UNITS
    if not is_there(high):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_there(middle) else (middle, high)
    return high


def _event_limits(event: EventPrice) -> set[int]:
    """Return the first values at which an event's minimum is passed and its maximum reached."""
    found = set()
    for amount in (event.minimum, event.maximum):
        if amount and amount > event.fee:
            a_unit = event.percent_milli * event.worth
            found.add(-(-(amount - event.fee) * 100_000 // a_unit))
    return found


def telling(price: UsagePrice, step: int = 1) -> list[tuple[str, int]]:
    """Return quantities that show a price: one unit, around each limit, and a typical one.

    `step` is how far from a limit "just below" and "just above" are: a unit that people know.
    """
    at = limits(price)
    cases: dict[int, str] = {}
    for limit in at:
        for quantity, case in (
            (limit - step, "just below a limit"),
            (limit, "at a limit"),
            (limit + step, "just above a limit"),
        ):
            if quantity > 0 and (quantity not in cases or quantity == limit):
                cases[quantity] = case
    cases.setdefault(step, "the first")
    cases.setdefault(_typical(at, step), "typical")
    return [(case, quantity) for quantity, case in sorted(cases.items())]


def _typical(at: Sequence[int], step: int) -> int:
    """Return a round quantity somewhat beyond the middle limit, where a price has shown itself."""
    if not at:
        return 100 * step
    middle = at[len(at) // 2] * 5 // 4 // step
    digits: int = 10 ** max(len(str(middle)) - 2, 0)
    return max(middle // digits * digits, 2) * step


def of_use(price: UsagePrice, terms: Terms, cases: Iterable[tuple[str, int]]) -> list[Example]:
    """Price each quantity as the only use of a period, outside all bands.

    What costs more than can be stored is left out.
    """
    found = []
    if price.counts_events:
        # A use is one unit: so many of them are priced, in the words of units.
        price = replace(price, counts_events=False, unit="use")
    for case, quantity in cases:
        try:
            found.append(Example(case, quantity, _one(price, terms, quantity)))
        except AmountTooLarge:
            continue
    return found


def _one(price: UsagePrice, terms: Terms, quantity: int) -> Priced:
    if price.event_price is not None:
        return _step(price, terms, quantity, Use((quantity,), 0, price.event_price.cost(quantity)))
    return _step(price, terms, quantity, price.use(quantity, *_nothing(price)))


def _step(price: UsagePrice, terms: Terms, quantity: int, use: Use) -> Priced:
    before = price.standing(Use((0,) * len(use.units)))
    return price_use(
        price=price, quantity=quantity, before=before, after=price.standing(use), terms=terms
    )


def _nothing(price: UsagePrice) -> tuple[int, ...]:
    return (0,) * len(price.bands)


def in_bands(price: UsagePrice, terms: Terms, zone: str, day: datetime) -> list[Example]:
    """Price a use that is wholly in each band, and one of which half is before the band begins.

    `day` is midnight of some day in the zone; the first day from it on that a band has is taken.
    """
    quantity = 4 * price.allowance or 120
    found = []
    for band in price.bands:
        begin = next(
            start
            for start in (day + timedelta(days=n, minutes=band.start) for n in range(8))
            if start.weekday() in band.days
        )
        for case, start, minutes in (
            (f"in {band.name}", begin, 1),
            (f"half before {band.name}", begin - timedelta(minutes=10), 20),
        ):
            end = start + timedelta(minutes=minutes)
            units = divide(quantity, start, end, price.bands, zone)
            found.append(Example(case, quantity, _step(price, terms, quantity, price.use(*units))))
    return found


def of_nothing(price: UsagePrice, terms: Terms) -> Example | None:
    """Price a period in which nothing was used, when it ends; None when that costs nothing."""
    use = Use((0,) * (len(price.bands) + 1))
    priced = close_period(price=price, use=use, part=1, whole=1, terms=terms)
    return None if priced is None else Example("nothing used, at the period's end", 0, priced)


def of_purchase(*, amount: int, version: str, discount: Discount, terms: Terms) -> list[Example]:
    """Price one purchase."""
    priced = price_one_off(amount=amount, version=version, discount=discount, terms=terms)
    return [Example("one purchase", None, priced)]


def of_period(
    *,
    amount: int,
    version: str,
    discount: Discount,
    later_discount: Discount,
    proration: Proration,
    terms: Terms,
    period: Period,
    zone: str,
) -> list[Example]:
    """Price a whole period, one that begins after ten days of it, and one without its discount."""

    def priced(span: Period, off: Discount) -> Priced:
        return price_recurring(
            amount=amount,
            version=version,
            span=span,
            period=period,
            terms=terms,
            discount=off,
            proration=proration,
            zone=zone,
        )

    begun = Period(period.start + timedelta(days=10, hours=12), period.end)
    found = [
        Example("a whole period", None, priced(period, discount)),
        Example("begun at noon of the 11th day", None, priced(begun, discount)),
    ]
    if later_discount != discount:
        case = "a whole period, after the discount"
        found.append(Example(case, None, priced(period, later_discount)))
    return found


def curve(price: UsagePrice, up_to: int) -> list[tuple[int, int]]:
    """Return what quantities up to a limit cost before tax: evenly spread, and at each limit.

    Just beside a limit a point is taken, too, so that a step is drawn as one.
    """
    at = {up_to * n // _POINTS for n in range(_POINTS + 1)}
    for limit in limits(price):
        at |= {quantity for quantity in (limit, limit + 1) if quantity <= up_to}
    points = []
    for quantity in sorted(at):
        try:
            points.append((quantity, _one(price, Terms(), quantity).net))
        except AmountTooLarge:
            break
    return points
