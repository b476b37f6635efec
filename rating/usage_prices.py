"""What use costs: the price of a running total, by every model of the catalogue.

No database, no clock, no floats. A `UsagePrice` says what everything that was used in one period
costs so far; what a single use costs is the difference that it makes. The order in which it
adjusts a price is fixed:

1. units that are included, carried over or bought in packs cost nothing;
2. the tiers, bands or percentages give the price by the list;
3. the discount's percentage is taken off, then its amount, down to nothing at most;
4. what the period costs is held to the most that it may cost;
5. when the period is closed, it is raised to the least that it must cost.

Tax is added after that. With volume tiers and stairsteps a total may fall when it reaches a
cheaper tier; the step is then below zero and is given back.
"""

from dataclasses import dataclass, field, replace
from operator import mul
from typing import Literal, NamedTuple

from rating.allowances import Rollover
from rating.amounts import LARGEST, WHOLE, AmountTooLarge, portion
from rating.bands import Band
from rating.sharing import Totals

Model = Literal["graduated", "volume", "stairstep"]
MODELS: tuple[Model, ...] = ("graduated", "volume", "stairstep")


@dataclass(frozen=True, slots=True)
class Tier:
    """Units up to a running number cost this much a block; `up_to` None is all the rest.

    `flat` is charged once, when the tier is reached. Of a stairstep, `amount` is the price of
    everything.
    """

    up_to: int | None
    amount: int
    flat: int = 0


@dataclass(frozen=True, slots=True)
class EventPrice:
    """A price of each event by its value: a percentage and a fee, within a minimum and a maximum.

    `worth` is what one unit of the event's quantity is worth: 10,000 for cents.
    """

    percent_milli: int
    worth: int
    fee: int = 0
    minimum: int = 0
    maximum: int | None = None

    def cost(self, quantity: int) -> int:
        """Return what an event of this value costs."""
        cost = portion(quantity * self.worth, self.percent_milli, WHOLE) + self.fee
        cost = max(cost, self.minimum)
        return cost if self.maximum is None else min(cost, self.maximum)


@dataclass(frozen=True, slots=True)
class Discount:
    """What is taken off a whole charge or period: first the percentage, then the amount."""

    percent_milli: int = 0
    amount: int = 0

    def of(self, price: int) -> int:
        """Return a price with the discount taken off, which is never below nothing."""
        return max(price - portion(price, self.percent_milli, WHOLE) - self.amount, 0)


NO_DISCOUNT = Discount()


class Use(NamedTuple):
    """What was used of a service in one period so far.

    `units` are those outside all bands, then those in each band; `free` of them cost nothing.
    `events` is what events cost that have each a price of its own. `part` of `whole` is how much of
    the period had to be paid for when it was closed; nothing while it is open.
    """

    units: tuple[int, ...] = (0,)
    free: int = 0
    events: int = 0
    part: int = 0
    whole: int = 1


class Standing(NamedTuple):
    """What a period's use comes to at a price: what counts in each tier or band, the price of it
    by the list, and the running totals that the parties' shares are taken of."""

    use: Use
    counts: list[int]
    listed: int
    totals: Totals


@dataclass(frozen=True, slots=True)
class UsagePrice:
    """The price of a running total of use within one billing period.

    The first `allowance` units are free; tiers count the units after them. An exact price charges
    each unit `amount / block_size`, and rounds the running total down to a whole micro-unit. With
    `counts_started_blocks` a block is charged whole as soon as it is begun.

    - *graduated*: each unit (or block) costs what the tier says in which it lies (or begins);
    - *volume*: all units cost what the tier says in which the total lies;
    - *stairstep*: the tier in which the total lies is the price of everything.

    With `counts_events` a use is one unit, whatever its quantity. With an `event_price` each event
    has its own price and the tiers do not count. With bands there is one price outside them; what
    is free is taken from the dearest hours first, so that it does not depend on the order.

    Raises:
        ValueError: tiers are not ascending with the last one open, something is negative, or two
            things do not go together.
    """

    version: str
    unit: str
    tiers: tuple[Tier, ...]
    block_size: int = 1
    counts_started_blocks: bool = False
    allowance: int = 0
    model: Model = "graduated"
    counts_events: bool = False
    event_price: EventPrice | None = None
    bands: tuple[Band, ...] = ()
    rollover: Rollover | None = None
    discount: Discount = NO_DISCOUNT
    most: int | None = None
    least: int = 0
    # The limits of all tiers but the last, in what is counted: blocks or units.
    _limits: tuple[int, ...] = field(init=False, repr=False, compare=False)
    _amounts: tuple[int, ...] = field(init=False, repr=False, compare=False)
    _has_flats: bool = field(init=False, repr=False, compare=False)
    # Whether a price by the list can be anything but what is charged.
    is_adjusted: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        limits = [tier.up_to for tier in self.tiers]
        known = [limit for limit in limits[:-1] if limit is not None]
        if not limits or limits[-1] is not None or len(known) != len(limits) - 1:
            raise ValueError("the last tier, and only the last, must be open")
        if known != sorted(set(known)) or any(limit <= 0 for limit in known):
            raise ValueError("the limits of tiers must be above zero and ascend")
        amounts = [amount for tier in self.tiers for amount in (tier.amount, tier.flat)]
        amounts += [self.least, self.most or 0, self.discount.amount, self.discount.percent_milli]
        if self.block_size <= 0 or self.allowance < 0 or min(amounts) < 0:
            raise ValueError("a block must be above zero, and no allowance or amount below it")
        if self.model not in MODELS:
            raise ValueError("the model must be graduated, volume or stairstep")
        if self.most is not None and self.least > self.most:
            raise ValueError("the least that a period costs cannot be above the most")
        if self.bands and (self.model != "graduated" or len(limits) > 1 or self.counts_events):
            raise ValueError("bands have one price outside them")
        if self.event_price and (self.allowance or self.bands or self.counts_events):
            raise ValueError("a price of each event by its value has no allowance and no bands")
        object.__setattr__(self, "_limits", tuple(self.counted(limit) for limit in known))
        object.__setattr__(self, "_amounts", tuple(tier.amount for tier in self.tiers))
        object.__setattr__(self, "_has_flats", any(tier.flat for tier in self.tiers))
        adjusted = self.discount != NO_DISCOUNT or self.most is not None or self.least > 0
        object.__setattr__(self, "is_adjusted", adjusted)

    def counted(self, units: int) -> int:
        """Return what is counted of units: the blocks that they begin, or the units themselves."""
        return -(-units // self.block_size) if self.counts_started_blocks else units

    @property
    def is_plain(self) -> bool:
        """Whether what a use costs follows from the tiers and one running total alone."""
        others = (self.bands, self.event_price, self.counts_events, self.rollover)
        return self.model == "graduated" and not (
            any(others) or self.is_adjusted or self._has_flats
        )

    def counted_tiers(self) -> list[tuple[int, int]]:
        """Return each tier's limit, in what is counted, and its amount; the last has no limit."""
        return list(zip((*self._limits, LARGEST), self._amounts, strict=True))

    def counting(self, units: tuple[int, ...]) -> int:
        """Return how many units draw upon the allowance: all but those in bands that do not."""
        if not self.bands:
            return units[0]
        skipped = (
            used for band, used in zip(self.bands, units[1:], strict=False) if not band.counts
        )
        return sum(units) - sum(skipped)

    def use(self, *units: int, events: int = 0) -> Use:
        """Return a use of a period that stands for itself: nothing carried over, no packs."""
        return Use(units, min(self.counting(units), self.allowance), events)

    def undiscounted(self) -> "UsagePrice":
        """Return the same price without its discount."""
        return replace(self, discount=NO_DISCOUNT)

    def spread(self, charged: int) -> list[int]:
        """Return how much of what is not free counts in each tier."""
        charged = self.counted(charged)
        if self.model != "graduated":
            counts = [0] * len(self.tiers)
            counts[self.tier_of(charged)] = charged
            return counts
        counts = []
        below = 0
        for limit in self._limits:
            here = min(charged, limit)
            counts.append(here - below)
            below = here
        counts.append(charged - below)
        return counts

    def tier_of(self, counted: int) -> int:
        """Return the number of the tier in which a total lies."""
        last = len(self.tiers) - 1
        return next((n for n, limit in enumerate(self._limits) if counted <= limit), last)

    def cost(self, counts: list[int]) -> int:
        """Return the price by the list of what counts in each tier, in micro-units."""
        if self.model == "stairstep":
            return sum(tier.amount for tier, n in zip(self.tiers, counts, strict=True) if n)
        cost = self._of_blocks(sum(map(mul, counts, self._amounts)))
        if self._has_flats:
            cost += sum(tier.flat for tier, n in zip(self.tiers, counts, strict=True) if n)
        return cost

    def _of_blocks(self, cost: int) -> int:
        return cost if self.counts_started_blocks else portion(cost, 1, self.block_size)

    def free_by_band(self, use: Use) -> list[int]:
        """Return how many units are free outside all bands and in each, the dearest first."""
        prices = [(self._amounts[0], 0)]
        prices += [(band.amount, n) for n, band in enumerate(self.bands, start=1) if band.counts]
        free, left = [0] * len(use.units), use.free
        for _, number in sorted(prices, key=lambda price: (-price[0], price[1])):
            free[number] = min(left, use.units[number])
            left -= free[number]
        return free

    def charged(self, use: Use) -> list[int]:
        """Return what is counted, after what is free, outside all bands and in each."""
        free = self.free_by_band(use)
        return [self.counted(units - of) for units, of in zip(use.units, free, strict=True)]

    def counts(self, use: Use) -> list[int]:
        """Return what counts in each tier; with bands, outside all of them and in each."""
        if self.event_price is not None:
            return []
        return self.charged(use) if self.bands else self.spread(use.units[0] - use.free)

    def listed(self, use: Use) -> int:
        """Return the price by the list of what was used in a period so far."""
        return self._listed(use, self.counts(use))

    def _listed(self, use: Use, counts: list[int]) -> int:
        if self.event_price is not None:
            return use.events
        if not self.bands:
            return self.cost(counts)
        amounts = (self._amounts[0], *(band.amount for band in self.bands))
        cost = self._of_blocks(sum(map(mul, counts, amounts)))
        return cost + (self.tiers[0].flat if use.units[0] else 0)

    def total(self, quantity: int) -> int:
        """Return the price by the list of the first `quantity` units of a period."""
        return self.listed(self.use(quantity))

    def net(self, listed: int, use: Use) -> int:
        """Return what is to be paid for a price by the list, before tax."""
        if not self.is_adjusted:
            return listed
        due = self.discount.of(listed)
        due = due if self.most is None else min(due, self.most)
        return max(due, portion(self.least, use.part, use.whole))

    def standing(self, use: Use) -> Standing:
        """Return what a period's use comes to so far.

        Raises:
            AmountTooLarge: what it costs cannot be stored.
        """
        counts = self.counts(use)
        listed = self._listed(use, counts)
        units = sum(use.units)
        if listed > LARGEST:
            raise AmountTooLarge(f"{units} {self.unit} cost more than can be stored")
        net = retail = listed
        if self.is_adjusted:
            net = self.net(listed, use)
            retail = listed if self.most is None else min(listed, self.most)
            retail = max(retail, portion(self.least, use.part, use.whole))
        totals = Totals(net, retail, units, use.part, use.whole)
        return Standing(use, counts, listed, totals)
