"""What was used of a service so far, and what more of it costs.

A meter is a service at one price of use, with a counter for each billing period. Mostly a period
stands for itself. Where units are carried over, or packs were bought, what is free in a period
depends on those before it: then the meter has all of its counters at once, and a use that is
reported late may also make a later period dearer.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from operator import add
from typing import Any, NamedTuple

from django.conf import settings
from django.db import connection

from ispops.db import Prepared
from ispops.periods import billing_period
from rating.allowances import Pack, free_units
from rating.pricing import Later, Priced, Terms, UsagePrice, Use, price_use
from rating.usage_ids import AHEAD, first_id
from rating.versions import Version, version_at

# Ids travel as text: making UUIDs of them takes longer than rating.
Key = tuple[str, int]
Counter = tuple[str, int, datetime]
_MORE_THAN_ANYBODY_USES = 2**62

_MOST_PREPARED = 16
_NEWEST = """
SELECT asked.service::text, asked.price, asked.start, COALESCE(newest.step, 0),
       COALESCE(newest.units_after, 0), COALESCE(newest.band_1, 0), COALESCE(newest.band_2, 0),
       COALESCE(newest.band_3, 0), COALESCE(newest.events_after, 0), closing.part, closing.whole
  FROM unnest({services}::uuid[], {prices}::bigint[], {starts}::timestamptz[])
       asked (service, price, start)
  LEFT JOIN LATERAL (
    SELECT * FROM rating_ratedusage step
     WHERE step.service_id = asked.service AND step.price_id = asked.price
       AND step.period_start = asked.start AND step.usage_id >= {first}
     ORDER BY step.step DESC LIMIT 1) newest ON true
  LEFT JOIN rating_usageclosing closing ON
    (closing.service_id, closing.price_id, closing.period_start)
    = (asked.service, asked.price, asked.start)
"""
# Planning it takes as long as there are months, and a balance asks for few counters.
_NEWEST_OF_FEW = Prepared(
    "rating_newest",
    ("uuid[]", "bigint[]", "timestamptz[]", "bigint"),
    _NEWEST.format(services="$1", prices="$2", starts="$3", first="$4"),
)
_NEWEST_OF_MANY = _NEWEST.format(services="%s", prices="%s", starts="%s", first="%s")
_PACKS = """
SELECT p.service_id::text, p.price_id, p.period_start, p.after, p.units, p.periods, p.counted
  FROM rating_usagepack p WHERE p.service_id = ANY(%s::uuid[]) ORDER BY p.id
"""


class More(NamedTuple):
    """What a use adds to a counter: units outside all bands and in each, and what it costs where
    each event has its own price."""

    units: tuple[int, ...]
    events: int = 0


class Newest(NamedTuple):
    """Where a counter stands: what was used, without what is free of it, and the last step."""

    use: Use
    step: int


class GrantedPack(NamedTuple):
    """A pack as the database has it: the period in which it was bought by its start, and what had
    been used in it by then."""

    period_start: datetime
    after: int
    units: int
    periods: int
    counted: int = 0


class Meter:
    """The periods of a service at one price, in order, and what was used in each."""

    def __init__(
        self,
        counters: dict[datetime, Newest],
        packs: tuple[GrantedPack, ...],
        rule_at: Callable[[datetime], UsagePrice],
    ) -> None:
        """`counters` are by the periods' starts, in order; what is free of them is found here."""
        self.starts = list(counters)
        self._places = {start: place for place, start in enumerate(self.starts)}
        self._packs = packs
        self._rules = [rule_at(start) for start in self.starts]
        # All versions of a rule are alike in what is included.
        self._rule = self._rules[0]
        self._steps = {start: counter.step for start, counter in counters.items()}
        freed = self._freed([counter.use for counter in counters.values()])
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
        self._steps[start] += 1
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

    def step(self, start: datetime) -> int:
        """Return the number of the last step that was taken in a period."""
        return self._steps[start]

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


def newest_steps(columns: dict[Key, int], counters: Iterable[Counter]) -> dict[Counter, Newest]:
    """Return where counters stand: at their newest steps, or at nothing.

    `columns` say in how many parts each meter counts: outside all bands, and in each. Whoever
    is to take more steps holds the lane of the subscriber; see `rating.lanes`.
    """
    asked = sorted(set(counters))
    if not asked:
        return {}
    since = first_id(min(start for _, _, start in asked) - AHEAD)
    services, prices, starts = zip(*asked, strict=True)
    told: list[Any] = [f"{{{','.join(services)}}}", list(prices), list(starts), since]
    if len(asked) <= _MOST_PREPARED:
        rows = _NEWEST_OF_FEW.rows(*told)
    else:
        with connection.cursor() as cursor:
            cursor.execute(_NEWEST_OF_MANY, told)
            rows = cursor.fetchall()
    return {
        (service, price, start): _newest(columns[service, price], *values)
        for service, price, start, *values in rows
    }


def _newest(
    columns: int,
    step: int,
    units: int,
    band_1: int,
    band_2: int,
    band_3: int,
    events: int,
    part: int | None,
    whole: int | None,
) -> Newest:
    outside = units - band_1 - band_2 - band_3
    counted = (outside, band_1, band_2, band_3)[:columns]
    return Newest(Use(counted, events=events, part=part or 0, whole=whole or 1), step)


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


def first_kept(
    versions: Sequence[Version],
    since: datetime,
    first_active: datetime | None,
    had: datetime | None,
    anchor_day: int,
) -> datetime:
    """Return the start of the first period in which the version that began at `since` counts.

    What was included in a period of the version before it is not included again. `had` is since
    when the service has had it in that period.
    """
    begins = max(since, first_active or since)
    start = period_starts(begins, begins, anchor_day)[0]
    counting = version_at(versions, begins, max(start, had or start))
    if counting is None or counting.valid_from == since:
        return start
    return billing_period(begins, anchor_day=anchor_day, zone=settings.BILLING_TIME_ZONE).end


def number_of(start: datetime, since: datetime, anchor_day: int) -> int:
    """Return the number of the period that starts at `start`, 0 being the one that holds
    `since`; never below that."""
    if start <= since:
        return 0
    return len(period_starts(since, start + timedelta(seconds=1), anchor_day)) - 1
