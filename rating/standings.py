"""How much of what is included each service has used in a billing period, to the last rated use.

One reading for all who ask: the portal, the console, thresholds and fair use. Many services are
read at once, by the meters that charges are made with.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from ispops.catalog import catalogue
from ispops.catalog.models import OfferingPrice
from ispops.periods import Period
from provisioning.models import Service
from rating.accrual import period_at
from rating.had_since import Asked, asked_of, had_since
from rating.meter_reading import Meters
from rating.meters import Key
from rating.pricing import UsagePrice, Use
from rating.rules import usage_rule
from rating.thresholds import Bought, reached
from rating.versions import changes, version_at

# By offering and currency, and then by unit, in order.
_Versions = dict[tuple[int, str], dict[str, list[OfferingPrice]]]


@dataclass(frozen=True, slots=True)
class Standing:
    """What a service used of one price's units in a period, and what of it is included.

    `service` is the line where an aggregated plan has the price: its parts use it together.
    `used` is what counts, charged or not; `own` comes with every period, `carried_over` was left of
    earlier ones, and `packs` were bought. Units are whole ones of `price.unit`.
    """

    service: Service
    price: OfferingPrice
    rule: UsagePrice
    period: Period
    use: Use
    used: int
    own: int
    carried_over: int
    packs: int
    bought: tuple[Bought, ...] = ()

    @property
    def unit(self) -> str:
        return self.price.unit

    @property
    def is_shared(self) -> bool:
        return self.price.offering_id == self.service.bundle_id

    @property
    def included(self) -> int:
        return self.own + self.carried_over + self.packs

    @property
    def drawn(self) -> int:
        """How much of what is included is used; all that was used, once that is all of it.

        What was charged before a pack was bought is no part of it.
        """
        return self.use.free if self.left else self.used

    @property
    def percent(self) -> int | None:
        """Whole and rounded down, above 100 when more was used; None where nothing is included."""
        return self.drawn * 100 // self.included if self.included else None

    @property
    def left(self) -> int:
        return max(self.included - self.use.free, 0)

    @property
    def beyond(self) -> int:
        """Units that are charged beyond what is included."""
        return self.used - self.use.free if self.included else 0

    @property
    def threshold(self) -> int | None:
        """The highest threshold that is reached."""
        return max(reached(self.drawn, self.included), default=None)

    @property
    def beside(self) -> int:
        """Units in hours that do not draw upon what is included, such as free nights."""
        return sum(self.use.units) - self.used

    @property
    def free_hours(self) -> list[str]:
        """The hours of the price that do not draw upon what is included, by name and time."""
        return [
            f"{band['name']} ({band['start']} to {band['end']})"
            for band in self.price.bands
            if not band["counts"]
        ]

    @property
    def kept_packs(self) -> int:
        """Units of packs that were bought in earlier periods and are still good."""
        return max(self.packs - sum(pack.units for pack in self.bought), 0)


def standings(services: Collection[Service], at: datetime) -> list[Standing]:
    """Return the standing of services in the period of `at`, at every price by use that they have.

    Services come with their subscribers; what an aggregated plan prices is with its line, so the
    lines of carried services have to be among them. A number of queries that does not grow.
    """
    periods = {s.subscriber_id: period_at(s.subscriber, at) for s in services}
    found = list(_prices(services, periods, at))
    if not found:
        return []
    meters = _meters(found, periods, at)
    return [
        _standing(service, price, periods[service.subscriber_id], meters)
        for service, price in found
    ]


def _prices(
    services: Collection[Service], periods: dict[UUID, Period], at: datetime
) -> Iterator[tuple[Service, OfferingPrice]]:
    """Give each service with each price that its use is counted at, in a steady order."""
    versions = _versions(services, periods, at)
    since = _since(services, versions, periods)
    for service in services:
        start = periods[service.subscriber_id].start
        own, shared = (
            _counting(versions, service, asked[1], at, since.get(asked, start))
            for asked in _asked(service, start)
        )
        if service.line_id is None:
            yield from ((service, price) for price in shared.values())
        yield from ((service, price) for unit, price in own.items() if unit not in shared)


def _versions(
    services: Collection[Service], periods: dict[UUID, Period], at: datetime
) -> _Versions:
    """Return the versions of prices by use that may count now, by offering and currency."""
    keys = {key for s in services for key in (s.offering_id, s.bundle_id) if key}
    first = min((period.start for period in periods.values()), default=at)
    found: _Versions = {}
    for price in catalogue.usage_prices_of(keys):
        if price.valid_from <= at and (price.valid_to is None or price.valid_to > first):
            by_unit = found.setdefault((price.offering_id, price.currency), {})
            by_unit.setdefault(price.unit, []).append(price)
    return found


def _since(
    services: Collection[Service], versions: _Versions, periods: dict[UUID, Period]
) -> dict[Asked, datetime]:
    """Return since when services have what has a new price in these periods."""
    changed = {key for (key, _), units in versions.items() if any(map(changes, units.values()))}
    return had_since(
        asked
        for service in services
        for asked in _asked(service, periods[service.subscriber_id].start)
        if asked[1] in changed
    )


def _asked(service: Service, start: datetime) -> tuple[Asked, Asked]:
    """Return what is asked about a service's own prices, and about those of what it is sold in."""
    own, shared = (
        asked_of(service, key, start, bundle_id=service.bundle_id)
        for key in (service.offering_id, service.bundle_id or 0)
    )
    return own, shared


def _counting(
    versions: _Versions, service: Service, key: int, at: datetime, since: datetime
) -> dict[str, OfferingPrice]:
    """Return the price of each unit that counts now."""
    of_units = versions.get((key, service.subscriber.currency), {})
    found = {unit: version_at(rows, at, since) for unit, rows in of_units.items()}
    return {unit: price for unit, price in found.items() if price is not None}


def _meters(
    found: list[tuple[Service, OfferingPrice]], periods: dict[UUID, Period], at: datetime
) -> Meters:
    rules = {price.pk: usage_rule(price) for _, price in found}

    def rule_of(price: OfferingPrice, *, is_discounted: bool = True) -> UsagePrice:
        rule = rules[price.pk]
        return rule if is_discounted else rule.undiscounted()

    counters, anchors = [], {}
    for service, price in found:
        key: Key = str(service.pk), price.pk
        counters.append((*key, periods[service.subscriber_id].start))
        anchors[key] = service.subscriber.billing_anchor_day
    prices = {price.pk: price for _, price in found}
    return Meters(rule_of, prices, counters, anchors, at=at)


def _standing(service: Service, price: OfferingPrice, period: Period, meters: Meters) -> Standing:
    key: Key = str(service.pk), price.pk
    meter = meters.of(key, period.start)
    packs = [pack for pack in meters.packs(key) if pack.period_start == period.start]
    without_packs = meter.included(period.start, with_packs=False)
    return Standing(
        service=service,
        price=price,
        rule=meter.rule(period.start),
        period=period,
        use=meter.use(period.start),
        used=meter.counting(period.start),
        own=price.allowance,
        carried_over=without_packs - price.allowance,
        packs=meter.included(period.start) - without_packs,
        bought=tuple(Bought(pack.counted, pack.units) for pack in packs),
    )
