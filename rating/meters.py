"""What was used of a service so far, and what more of it costs.

A meter is a service at one price of use, with a counter for each billing period. Mostly a period
stands for itself. Where units are carried over, or packs were bought, what is free in a period
depends on those before it: then all of the meter's counters are held at once, and a use that is
reported late may also make a later period dearer.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from operator import add
from typing import NamedTuple

from django.conf import settings
from django.db import connection

from ispops import bulk
from ispops.periods import billing_period
from rating.allowances import Pack, free_units
from rating.pricing import Later, Priced, Terms, UsagePrice, Use, price_use

# Ids travel as text: making UUIDs of them takes longer than rating.
Key = tuple[str, int]
Counter = tuple[str, int, datetime]
_NO_UNITS = (0, 0, 0, 0)
_MORE_THAN_ANYBODY_USES = 2**62

_RAISE = """
INSERT INTO rating_usagecounter
    (service_id, price_id, period_start, quantity, band_1, band_2, band_3, events_amount)
VALUES %s
ON CONFLICT (service_id, price_id, period_start) DO UPDATE SET
    quantity = rating_usagecounter.quantity + EXCLUDED.quantity,
    band_1 = rating_usagecounter.band_1 + EXCLUDED.band_1,
    band_2 = rating_usagecounter.band_2 + EXCLUDED.band_2,
    band_3 = rating_usagecounter.band_3 + EXCLUDED.band_3,
    events_amount = rating_usagecounter.events_amount + EXCLUDED.events_amount
RETURNING service_id::text, price_id, period_start,
    quantity, band_1, band_2, band_3, events_amount, closed_part, closed_whole
"""
_ALL_OF = """
SELECT c.service_id::text, c.price_id, c.period_start,
       quantity, band_1, band_2, band_3, events_amount, closed_part, closed_whole
  FROM rating_usagecounter c
  JOIN unnest(%s::uuid[], %s::bigint[]) AS k(service_id, price_id)
    ON (k.service_id, k.price_id) = (c.service_id, c.price_id)
 ORDER BY c.service_id, c.price_id, c.period_start
"""
_HELD = " FOR NO KEY UPDATE OF c"
_PACKS = """
SELECT p.service_id::text, p.price_id, p.period_start, p.after, p.units, p.periods
  FROM rating_usagepack p WHERE p.service_id = ANY(%s::uuid[]) ORDER BY p.id
"""


class More(NamedTuple):
    """What a use adds to a counter: units outside all bands and in each, and what it costs where
    each event has its own price."""

    units: tuple[int, ...]
    events: int = 0

    def plus(self, other: "More") -> "More":
        units = tuple(map(add, self.units, other.units))
        return More(units, self.events + other.events)


class GrantedPack(NamedTuple):
    """A pack as the database has it: the period in which it was bought by its start."""

    period_start: datetime
    after: int
    units: int
    periods: int


class Meter:
    """The periods of a service at one price, in order, and what was used in each."""

    def __init__(
        self,
        uses: dict[datetime, Use],
        packs: tuple[GrantedPack, ...],
        rule_at: Callable[[datetime], UsagePrice],
    ) -> None:
        """`uses` are by the periods' starts, in order; what is free of them is found here."""
        self.starts = list(uses)
        self._places = {start: place for place, start in enumerate(self.starts)}
        self._packs = packs
        self._rules = [rule_at(start) for start in self.starts]
        # All versions of a rule are alike in what is included.
        self._rule = self._rules[0]
        freed = self._freed(list(uses.values()))
        self._standings = [rule.standing(use) for rule, use in zip(self._rules, freed, strict=True)]

    def add(self, start: datetime, more: More, quantity: int, terms: Terms) -> Priced:
        """Count one more use in a period; returns what it costs there and in later periods."""
        place = self._places[start]
        before = self._standings
        uses = [standing.use for standing in before]
        uses[place] = _raised(uses[place], more)
        self._standings = after = [
            was if use is was.use else rule.standing(use)
            for rule, was, use in zip(self._rules, before, self._freed(uses), strict=True)
        ]
        later = [
            Later(self.starts[n], self._rules[n], before[n], after[n])
            for n in range(place + 1, len(after))
            if before[n] is not after[n]
        ]
        return price_use(
            price=self._rules[place],
            quantity=quantity,
            before=before[place],
            after=after[place],
            terms=terms,
            later=later,
        )

    def rule(self, start: datetime) -> UsagePrice:
        """Return the rule of a period."""
        return self._rules[self._places[start]]

    def use(self, start: datetime) -> Use:
        """Return what was used in a period so far."""
        return self._standings[self._places[start]].use

    def counting(self, start: datetime) -> int:
        """Return how many units of a period draw upon what is included."""
        return self._rule.counting(self.use(start).units)

    def included(self, start: datetime, *, with_packs: bool = True) -> int:
        """Return how many units of a period are free in all, used or not."""
        place = self._places[start]
        counting = [self._rule.counting(standing.use.units) for standing in self._standings]
        counting[place] = _MORE_THAN_ANYBODY_USES
        return self._free(counting, self._packs if with_packs else ())[place]

    def _freed(self, uses: list[Use]) -> list[Use]:
        """Say of each period how many of its units are free; what does not change is kept."""
        free = self._free([self._rule.counting(use.units) for use in uses], self._packs)
        return [
            use if use.free == units else use._replace(free=units)
            for use, units in zip(uses, free, strict=True)
        ]

    def _free(self, counting: list[int], granted: tuple[GrantedPack, ...]) -> list[int]:
        rule = self._rule
        if len(counting) == 1 and not granted:
            return [min(counting[0], rule.allowance)]
        packs = [
            Pack(bisect_left(self.starts, p.period_start), p.after, p.units, p.periods)
            for p in granted
        ]
        return free_units(counting, rule.allowance, rule.rollover, packs)


def _raised(use: Use, more: More) -> Use:
    units = tuple(map(add, use.units, more.units))
    return use._replace(units=units, events=use.events + more.events)


def packs_of(services: Iterable[str]) -> dict[Key, tuple[GrantedPack, ...]]:
    """Return the packs that were bought for services, in that order."""
    found: defaultdict[Key, list[GrantedPack]] = defaultdict(list)
    with connection.cursor() as cursor:
        cursor.execute(_PACKS, [list(services)])
        for service, price, *pack in cursor.fetchall():
            found[service, price].append(GrantedPack(*pack))
    return {key: tuple(packs) for key, packs in found.items()}


def raise_counters(added: dict[Counter, More]) -> dict[Counter, Use]:
    """Add to counters and hold them until the transaction ends; returns what they were before.

    One statement raises and locks, in the order of the keys, so that two workers never hold what
    the other waits for. What is free is not said: it depends on more than the counter.
    """
    rows = [
        (*key, *more.units, *_NO_UNITS[len(more.units) :], more.events)
        for key, more in sorted(added.items())
    ]
    if not rows:
        return {}
    template = "(%s::uuid, %s, %s, %s, %s, %s, %s, %s)"
    found = {}
    for service, price, start, *values in bulk.insert_returning(_RAISE, rows, template=template):
        more = added[service, price, start]
        use = _use(values, len(more.units))
        units = tuple(now - new for now, new in zip(use.units, more.units, strict=True))
        found[service, price, start] = use._replace(units=units, events=use.events - more.events)
    return found


def counters_of(keys: dict[Key, int], *, hold: bool) -> dict[Counter, Use]:
    """Return all counters of some meters, held or not; `keys` say how many columns each uses."""
    if not keys:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(_ALL_OF + _HELD * hold, [[key[0] for key in keys], [key[1] for key in keys]])
        return {
            (service, price, start): _use(values, keys[service, price])
            for service, price, start, *values in cursor.fetchall()
        }


def _use(values: Sequence[int | None], columns: int) -> Use:
    *units, events, part, whole = values
    return Use(
        units=tuple(units[:columns]),  # type: ignore[arg-type]
        events=events or 0,
        part=part or 0,
        whole=whole or 1,
    )


def period_starts(first: datetime, last: datetime, anchor_day: int) -> list[datetime]:
    """Return the starts of an account's billing periods, from the one that holds `first` to the
    one that holds `last`."""
    starts = []
    at = first
    while True:
        period = billing_period(at, anchor_day=anchor_day, zone=settings.BILLING_TIME_ZONE)
        starts.append(period.start)
        if last < period.end:
            return starts
        at = period.end


def after_periods(start: datetime, periods: int, anchor_day: int) -> datetime:
    """Return the start of the period that is so many periods after the one that starts then."""
    at = start
    for _ in range(periods):
        period = billing_period(at, anchor_day=anchor_day, zone=settings.BILLING_TIME_ZONE)
        at = period.end
    return at


def number_of(start: datetime, since: datetime, anchor_day: int) -> int:
    """Return the number of the period that starts at `start`, 0 being the one that holds
    `since`; never below that."""
    if start <= since:
        return 0
    return len(period_starts(since, start + timedelta(seconds=1), anchor_day)) - 1
