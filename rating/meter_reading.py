"""The meters of many uses at once: their counters are raised together, and held.

Whoever reads a meter holds its counters until the transaction ends. Where periods hang together,
by units that are carried over or by packs, the meter's first counter is held by everyone, so that
two workers do not rate two of its periods at the same time.
"""

from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial
from uuid import UUID

from django.db.models import Min

from ispops.catalog.models import OfferingPrice
from provisioning.models import Service, ServicePeriod
from rating.meters import (
    Counter,
    GrantedPack,
    Key,
    Meter,
    More,
    counters_of,
    number_of,
    packs_of,
    period_starts,
    raise_counters,
)
from rating.pricing import UsagePrice, Use

RuleOf = Callable[..., UsagePrice]


class Meters:
    """Meters whose counters this transaction has raised by what was `added`, and holds."""

    def __init__(
        self,
        rule_of: RuleOf,
        prices: dict[int, OfferingPrice],
        added: dict[Counter, More],
        anchors: dict[Key, int],
        *,
        hold: bool = True,
    ) -> None:
        """Raise the counters. `anchors` say the billing day of each meter's account.

        Without `hold` nothing is raised nor held: the meters are only read.
        """
        self._rule_of, self._prices, self._anchors = rule_of, prices, anchors
        self._hold = hold
        services = {service for service, _ in anchors}
        self._first_active = self._read_first_active()
        known = packs_of(services) if services else {}
        self._firsts = {key: self._first(key, known.get(key, ())) for key in anchors}
        self._columns = {(service, price): len(m.units) for (service, price, _), m in added.items()}
        self._added = added | {
            (*key, first): More((0,) * self._columns[key])
            for key, first in self._firsts.items()
            if first is not None and (*key, first) not in added
        }
        self._before = raise_counters(self._added) if hold else self._read()
        # What was bought until now is known now that the counters are held.
        self._packs = packs_of(services) if services and hold else known
        self._chains = self._read_chains()
        self._meters: dict[tuple[Key, datetime | None], Meter] = {}

    def of(self, key: Key, start: datetime) -> Meter:
        """Return the meter that a use counts in: of its period, or of all that hang together."""
        chain = self._chains.get(key)
        name = (key, None if chain else start)
        found = self._meters.get(name)
        if found is None:
            counters = chain or {start: self._before[*key, start]}
            packs = self._packs.get(key, ())
            found = self._meters[name] = Meter(counters, packs, partial(self._rule_at, key))
        return found

    def _read(self) -> dict[Counter, Use]:
        found = counters_of(self._columns, hold=False)
        return {
            (service, price, start): found.get(
                (service, price, start), Use((0,) * self._columns[service, price])
            )
            for service, price, start in self._added
        }

    def _rule_at(self, key: Key, start: datetime) -> UsagePrice:
        """Return the rule of a meter in a period: without its discount when that has run out."""
        price = self._prices[key[1]]
        if price.discount_periods is None:
            return self._rule_of(price)
        since = self._first_active.get(key[0], start)
        number = number_of(start, since, self._anchors[key])
        return self._rule_of(price, is_discounted=number < price.discount_periods)

    def _first(self, key: Key, packs: Iterable[GrantedPack]) -> datetime | None:
        """Return the first of the periods of a meter that hang together; None if they do not."""
        price = self._prices[key[1]]
        if price.rollover_periods:
            since = max(price.valid_from, self._first_active.get(key[0], price.valid_from))
            return period_starts(since, since, self._anchors[key])[0]
        return min((pack.period_start for pack in packs), default=None)

    def _read_first_active(self) -> dict[str, datetime]:
        """Return when services were first active, where their price depends on it."""
        services = {
            UUID(service)
            for service, price in self._anchors
            if self._prices[price].rollover_periods
            or self._prices[price].discount_periods is not None
        }
        if not services:
            return {}
        spans = ServicePeriod.objects.filter(service__in=services, state=Service.State.ACTIVE)
        return {str(pk): at for pk, at in spans.values_list("service").annotate(Min("started_at"))}

    def _read_chains(self) -> dict[Key, dict[datetime, Use]]:
        """Return the periods of each meter whose periods hang together, as they were before."""
        keys = {
            key: columns
            for key, columns in self._columns.items()
            if self._firsts[key] is not None or key in self._packs
        }
        found: dict[Key, dict[datetime, Use]] = {key: {} for key in keys}
        counters = counters_of(keys, hold=self._hold) | self._before
        for (service, price, start), use in sorted(counters.items(), key=lambda item: item[0]):
            if (service, price) in found:
                found[service, price][start] = use
        return {key: self._without_gaps(key, counters) for key, counters in found.items()}

    def _without_gaps(self, key: Key, counters: dict[datetime, Use]) -> dict[datetime, Use]:
        """Add the periods in which nothing was used: what was not used then is carried too."""
        nothing = Use((0,) * self._columns[key])
        starts = period_starts(min(counters), max(counters), self._anchors[key])
        return {start: counters.get(start, nothing) for start in starts}


def added_nothing(rule: UsagePrice) -> More:
    """Return what leaves a counter of a price as it is, and only reads or holds it."""
    return More((0,) * (len(rule.bands) + 1))
