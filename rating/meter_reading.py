"""The meters of many uses at once: where their counters stand, and what is included in them."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial
from uuid import UUID

from django.db.models import Min

from ispops.catalog.models import OfferingPrice
from provisioning.models import Service, ServicePeriod
from rating.had_since import had_since
from rating.meters import (
    Counter,
    GrantedPack,
    Key,
    Meter,
    Newest,
    first_kept,
    newest_steps,
    number_of,
    packs_of,
    period_starts,
)
from rating.pricing import UsagePrice
from rating.versions import changes

RuleOf = Callable[..., UsagePrice]
# What versions of one price agree in: offering, currency and unit.
_Same = tuple[int, str, str]


def _same(price: OfferingPrice) -> _Same:
    return price.offering_id, price.currency, price.unit


class Meters:
    """The meters of some counters, as they stand.

    Whoever is to take steps holds the lanes of the subscribers before the meters are read.
    """

    def __init__(
        self,
        rule_of: RuleOf,
        prices: dict[int, OfferingPrice],
        counters: Iterable[Counter],
        anchors: dict[Key, int],
        *,
        at: datetime,
    ) -> None:
        """Read the counters, and those of all periods until `at` that hang together with them.

        `anchors` say the billing day of each meter's account.
        """
        self._rule_of, self._prices, self._anchors = rule_of, prices, anchors
        self._first_active = self._read_first_active()
        self._versions = self._read_versions()
        self._had = self._read_had()
        services = {service for service, _ in anchors}
        self._packs = packs_of(services) if services else {}
        wanted = set(counters)
        self._chains = self._find_chains(wanted, at)
        for key, starts in self._chains.items():
            wanted |= {(*key, start) for start in starts}
        columns = {key: len(rule_of(prices[key[1]]).bands) + 1 for key in anchors}
        self._newest = newest_steps(columns, wanted)
        self._meters: dict[tuple[Key, datetime | None], Meter] = {}

    def of(self, key: Key, start: datetime) -> Meter:
        """Return the meter that a use counts in: of its period, or of all that hang together."""
        chain = self._chains.get(key)
        name = (key, None if chain else start)
        found = self._meters.get(name)
        if found is None:
            counters: dict[datetime, Newest] = {
                start: self._newest[*key, start] for start in chain or (start,)
            }
            packs = self._packs.get(key, ())
            found = self._meters[name] = Meter(counters, packs, partial(self._rule_at, key))
        return found

    def packs(self, key: Key) -> tuple[GrantedPack, ...]:
        """Return the packs that were bought for a meter, in that order."""
        return self._packs.get(key, ())

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
            first_active = self._first_active.get(key[0])
            return first_kept(
                self._versions[_same(price)],
                price.valid_from,
                first_active,
                self._had.get(key),
                self._anchors[key],
            )
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

    def _read_versions(self) -> dict[_Same, list[OfferingPrice]]:
        """Return all versions of the prices with units that are carried over, in order."""
        wanted = {_same(p): p for p in self._prices.values() if p.rollover_periods}
        if not wanted:
            return {}
        found: dict[_Same, list[OfferingPrice]] = {same: [] for same in wanted}
        rows = OfferingPrice.objects.filter(
            charge=OfferingPrice.Charge.USAGE, offering__in={same[0] for same in wanted}
        )
        for price in rows.order_by("valid_from"):
            found.setdefault(_same(price), []).append(price)
        return found

    def _read_had(self) -> dict[Key, datetime]:
        """Return since when services have had what they have, where its price changed meanwhile."""
        asked = {}
        for service, key in self._anchors:
            price = self._prices[key]
            changed = price.rollover_periods and changes(self._versions[_same(price)])
            if changed and price.valid_from in changed:
                since = max(price.valid_from, self._first_active.get(service, price.valid_from))
                start = period_starts(since, since, self._anchors[service, key])[0]
                asked[service, key] = (service, price.offering_id, start)
        found = had_since(asked.values())
        return {key: found[one] for key, one in asked.items()}

    def _find_chains(self, counters: set[Counter], at: datetime) -> dict[Key, list[datetime]]:
        """Return all periods of each meter whose periods hang together, in order.

        Those in which nothing was used are among them: what was not used then is carried too.
        """
        asked: defaultdict[Key, list[datetime]] = defaultdict(list)
        for service, price, start in counters:
            asked[service, price].append(start)
        chains = {}
        for key, starts in asked.items():
            first = self._first(key, self._packs.get(key, ()))
            if first is not None:
                last = max([at, *starts])
                chains[key] = period_starts(min([first, *starts]), last, self._anchors[key])
        return chains
