"""One batch of stored usage, from its rows to its charges.

Rows are grouped by counter; each counter is raised once for the whole batch, which also locks it,
and the batch's rows then take their steps of the running total in turn. All arithmetic is that of
`rating.pricing`; the rest is done in bulk and in text, because it is what costs time.
"""

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from django.conf import settings
from django.db import connection
from uuid_utils import uuid7

from ispops import bulk
from ispops.catalog.models import OfferingPrice
from ispops.periods import Period, billing_period
from rating import pricing
from rating.amounts import storable
from rating.bands import divide
from rating.meter_reading import Meters
from rating.meters import Counter, Key, More
from rating.tariff import Parties, Tariff

_TAKE = """
SELECT u.id, u.subscriber_id::text, u.service_id::text, u.offering_id, u.started_at, u.ended_at,
       u.quantity, u.unit, s.currency, s.billing_anchor_day, p.bundle_id,
       COALESCE(v.line_id, v.id)::text
  FROM rating_usage u JOIN parties_subscriber s ON s.id = u.subscriber_id
  LEFT JOIN provisioning_service v ON v.id = u.service_id
  LEFT JOIN provisioning_serviceperiod p ON p.service_id = u.service_id
       AND p.started_at <= u.started_at AND (p.ended_at IS NULL OR u.started_at < p.ended_at)
 WHERE u.state = 'received' ORDER BY u.id LIMIT %s FOR NO KEY UPDATE OF u SKIP LOCKED
"""
_CHARGE_COLUMNS = (
    "id",
    "subscriber_id",
    "service_id",
    "offering_id",
    "bundle_id",
    "price_id",
    "kind",
    "cause",
    "period_start",
    "period_end",
    "quantity",
    "unit",
    "currency",
    "amount_net",
    "isp_share",
    "bsp_share",
    "network_provider_share",
    "amount_tax",
    "bsp_id",
    "network_provider_id",
    "explanation",
    "charged_at",
)


class Row(NamedTuple):
    """A stored use, with what its account says of currency and billing day, and the aggregated
    plan and the line that its service was part of then."""

    id: int
    subscriber_id: str
    service_id: str | None
    offering_id: int
    started_at: datetime
    ended_at: datetime | None
    quantity: int
    unit: str
    currency: str
    anchor_day: int
    bundle_id: int | None = None
    line_id: str | None = None


class Fault(NamedTuple):
    """Why a use cannot be rated: a stable code, and words for a person."""

    code: str
    words: str


@dataclass(slots=True)
class Rated:
    """What a batch comes to: usage that is rated, charges for it, and usage in error."""

    done: list[int] = field(default_factory=list)
    charges: list[str] = field(default_factory=list)
    errors: list[tuple[int, Fault]] = field(default_factory=list)

    def write_charges(self) -> None:
        if self.charges:
            bulk.copy_lines("rating_charge", _CHARGE_COLUMNS, self.charges)


class Counted(NamedTuple):
    """A use, the meter and the period it counts in, and what it adds there."""

    row: Row
    meter: Key
    period_start: datetime
    more: More


class Batch:
    """Usage that this transaction holds, and the catalogue it is rated by."""

    def __init__(self, rows: list[Row]) -> None:
        self.rows = rows
        self.tariff = Tariff(
            {row.offering_id for row in rows} | {row.bundle_id for row in rows if row.bundle_id}
        )
        self.prices = {price.pk: price for price in self.tariff.usage_prices()}
        self._periods: defaultdict[int, list[Period]] = defaultdict(list)
        self._broken = self._broken_prices()

    @classmethod
    def take(cls, limit: int) -> "Batch":
        """Hold up to `limit` uses that wait to be rated and that no other worker holds."""
        with connection.cursor() as cursor:
            cursor.execute(_TAKE, [limit])
            return cls([Row._make(row) for row in cursor.fetchall()])

    def rate(self, at: datetime) -> Rated:
        """Raise the counters and give each use its charge; writes only the counters.

        Raises:
            AmountTooLarge: a running total costs more than can be stored.
        """
        rated = Rated()
        counted: list[Counted] = []
        for row in self.rows:
            found = self._price_of(row)
            if isinstance(found, Fault):
                rated.errors.append((row.id, found))
            elif found is None or row.service_id is None:
                rated.done.append(row.id)
            else:
                counted.append(self._count(row, found))
        meters = Meters(self.tariff.rule, self.prices, _added(counted), _anchors(counted))
        for use in counted:
            self._charge(use, meters, at, rated)
        return rated

    def _price_of(self, row: Row) -> OfferingPrice | Fault | None:
        """Return the price of a use, None when it is included, or why it cannot be rated."""
        price = self.tariff.usage_price(
            row.offering_id, row.started_at, row.currency, row.unit, bundle_id=row.bundle_id
        )
        if price is None:
            if self.tariff.has_usage_price(row.offering_id, row.started_at, row.currency):
                return Fault("no_price", f"This product has no price by the {row.unit}.")
            return None
        if row.service_id is None:
            return Fault("no_service", "The use names no service to count it for.")
        return self._broken.get(price.pk, price)

    def _broken_prices(self) -> dict[int, Fault]:
        """Find the prices of the catalogue that no rule can be made of, before use counts."""
        broken = {}
        for price in self.prices.values():
            try:
                self.tariff.rule(price)
            except (ValueError, KeyError, TypeError, ArithmeticError) as error:
                words = f"Price {price.pk} of the catalogue cannot be used: {error}"
                broken[price.pk] = Fault("bad_price", words[:300])
        return broken

    def _count(self, row: Row, price: OfferingPrice) -> Counted:
        """Say what a use adds to which counter.

        Where the aggregated plan has the price, its parts count together, for the line.
        """
        is_shared = price.offering_id == row.bundle_id
        meter = (str(row.line_id if is_shared else row.service_id), price.pk)
        rule = self.tariff.rule(price)
        if rule.bands:
            zone = settings.BILLING_TIME_ZONE
            units = divide(row.quantity, row.started_at, row.ended_at, rule.bands, zone)
        else:
            units = (1 if rule.counts_events else row.quantity,)
        events = rule.event_price.cost(row.quantity) if rule.event_price else 0
        more = More(units, storable(events))
        return Counted(row, meter, self._period_start(row), more)

    def _period_start(self, row: Row) -> datetime:
        known = self._periods[row.anchor_day]
        for period in known:
            if row.started_at in period:
                return period.start
        period = billing_period(
            row.started_at, anchor_day=row.anchor_day, zone=settings.BILLING_TIME_ZONE
        )
        known.append(period)
        return period.start

    def _charge(self, use: Counted, meters: "Meters", at: datetime, rated: Rated) -> None:
        """Take the step of one use, in the order of the uses' ids."""
        row, price = use.row, self.prices[use.meter[1]]
        parties = self.tariff.parties(row.offering_id, row.started_at, price.tax_category)
        meter = meters.of(use.meter, use.period_start)
        priced = meter.add(use.period_start, use.more, row.quantity, parties.terms)
        rated.done.append(row.id)
        is_shared = price.offering_id == row.bundle_id
        rated.charges.append(_charge_line(row, price.pk, priced, parties, at, is_shared=is_shared))


def _added(counted: Iterable[Counted]) -> dict[Counter, More]:
    """Return what a batch adds to each counter in all."""
    added: dict[Counter, More] = {}
    for use in counted:
        key = (*use.meter, use.period_start)
        have = added.get(key)
        added[key] = use.more if have is None else have.plus(use.more)
    return added


def _anchors(counted: Iterable[Counted]) -> dict[Key, int]:
    return {use.meter: use.row.anchor_day for use in counted}


def _charge_line(
    row: Row,
    price_id: int,
    priced: pricing.Priced,
    parties: Parties,
    at: datetime,
    *,
    is_shared: bool,
) -> str:
    """Write a charge as COPY reads it, in the order of `_CHARGE_COLUMNS`.

    A use that lowers the sum is no use to be paid for: what it gives back is an adjustment. Only
    the unit and the explanation can hold what COPY would take for something else.
    """
    explanation = json.dumps(priced.explanation).replace("\\", "\\\\")
    kind = "adjustment" if priced.net < 0 else "usage"
    bundle_id = row.bundle_id if is_shared else None
    return (
        f"{uuid7()}\t{row.subscriber_id}\t{row.service_id}\t{row.offering_id}\t"
        f"{_null(bundle_id)}\t{price_id}\t"
        f"{kind}\tusage:{row.id}\t{row.started_at}\t{_null(row.ended_at)}\t{row.quantity}\t"
        f"{bulk.escape(row.unit)}\t{row.currency}\t{priced.net}\t{priced.isp}\t{priced.bsp}\t"
        f"{priced.network_provider}\t{priced.tax}\t{_null(parties.bsp_id)}\t"
        f"{_null(parties.network_provider_id)}\t{explanation}\t{at}"
    )


def _null(value: object) -> object:
    return "\\N" if value is None else value
