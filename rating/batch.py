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
from rating.tariff import Parties, Tariff

_TAKE = """
SELECT u.id, u.subscriber_id::text, u.service_id::text, u.offering_id, u.started_at, u.ended_at,
       u.quantity, u.unit, s.currency, s.billing_anchor_day
  FROM rating_usage u JOIN parties_subscriber s ON s.id = u.subscriber_id
 WHERE u.state = 'received' ORDER BY u.id LIMIT %s FOR NO KEY UPDATE OF u SKIP LOCKED
"""
_COUNT = """
INSERT INTO rating_usagecounter (service_id, price_id, period_start, quantity) VALUES %s
ON CONFLICT (service_id, price_id, period_start)
DO UPDATE SET quantity = rating_usagecounter.quantity + EXCLUDED.quantity
RETURNING service_id::text, price_id, period_start, quantity
"""
_CHARGE_COLUMNS = (
    "id",
    "subscriber_id",
    "service_id",
    "offering_id",
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

# Ids travel as text: making UUIDs of them takes longer than rating.
Counter = tuple[str, int, datetime]


class Row(NamedTuple):
    """A stored use with what its account says of currency and billing day."""

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


class Batch:
    """Usage that this transaction holds, and the catalogue it is rated by."""

    def __init__(self, rows: list[Row]) -> None:
        self.rows = rows
        self.tariff = Tariff({row.offering_id for row in rows})
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
        groups: defaultdict[Counter, list[tuple[Row, OfferingPrice]]] = defaultdict(list)
        for row in self.rows:
            found = self._price_of(row)
            if isinstance(found, Fault):
                rated.errors.append((row.id, found))
            elif found is None or row.service_id is None:
                rated.done.append(row.id)
            else:
                key = (row.service_id, found.pk, self._period_start(row))
                groups[key].append((row, found))
        for key, before in _raise_counters(groups):
            self._charge(groups[key], before, at, rated)
        return rated

    def _price_of(self, row: Row) -> OfferingPrice | Fault | None:
        """Return the price of a use, None when it is included, or why it cannot be rated."""
        price = self.tariff.usage_price(row.offering_id, row.started_at, row.currency, row.unit)
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
        for price in self.tariff.usage_prices():
            try:
                self.tariff.rule(price)
            except (ValueError, KeyError, TypeError, ArithmeticError) as error:
                words = f"Price {price.pk} of the catalogue cannot be used: {error}"
                broken[price.pk] = Fault("bad_price", words[:300])
        return broken

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

    def _charge(
        self,
        group: list[tuple[Row, OfferingPrice]],
        before: int,
        at: datetime,
        rated: Rated,
    ) -> None:
        """Take the steps of one counter, in the order of the uses' ids."""
        price = group[0][1]
        rule = self.tariff.rule(price)
        for row, _ in group:
            parties = self.tariff.parties(row.offering_id, row.started_at)
            priced = pricing.price_usage(
                price=rule, before=before, quantity=row.quantity, terms=parties.terms
            )
            before += row.quantity
            rated.done.append(row.id)
            rated.charges.append(_charge_line(row, price.pk, priced, parties, at))


def _charge_line(
    row: Row, price_id: int, priced: pricing.Priced, parties: Parties, at: datetime
) -> str:
    """Write a charge as COPY reads it, in the order of `_CHARGE_COLUMNS`.

    Only the unit and the explanation can hold what COPY would take for something else.
    """
    explanation = json.dumps(priced.explanation).replace("\\", "\\\\")
    return (
        f"{uuid7()}\t{row.subscriber_id}\t{row.service_id}\t{row.offering_id}\t{price_id}\t"
        f"usage\tusage:{row.id}\t{row.started_at}\t{_null(row.ended_at)}\t{row.quantity}\t"
        f"{bulk.escape(row.unit)}\t{row.currency}\t{priced.net}\t{priced.isp}\t{priced.bsp}\t"
        f"{priced.network_provider}\t{priced.tax}\t{_null(parties.bsp_id)}\t"
        f"{_null(parties.network_provider_id)}\t{explanation}\t{at}"
    )


def _null(value: object) -> object:
    return "\\N" if value is None else value


def _raise_counters(
    groups: dict[Counter, list[tuple[Row, OfferingPrice]]],
) -> Iterable[tuple[Counter, int]]:
    """Add each group's use to its counter; returns the totals before it.

    One statement raises and locks, in the order of the keys, so that two workers never hold what
    the other waits for.
    """
    added = {key: sum(row.quantity for row, _ in group) for key, group in groups.items()}
    rows = [(*key, quantity) for key, quantity in sorted(added.items())]
    if not rows:
        return []
    raised = bulk.insert_returning(_COUNT, rows, template="(%s::uuid, %s, %s, %s)")
    return [((s, p, start), after - added[s, p, start]) for s, p, start, after in raised]
