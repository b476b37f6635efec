"""Uses priced one after another, through the meters that they are counted by.

For prices whose steps do not follow from one running total: by the hour, by the event, with units
that are carried over, packs, discounts, caps and minimums. All arithmetic is that of
`rating.pricing`; the rest is done in bulk and in text, because it is what costs time.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from django.conf import settings

from ispops import bulk
from ispops.catalog.models import OfferingPrice
from rating.amounts import AmountTooLarge, storable
from rating.bands import divide
from rating.guarantees import without_minimum
from rating.late_use import LateUse
from rating.meter_reading import Meters
from rating.meters import Counter, Key, Meter, More
from rating.pricing import Priced, UsagePrice
from rating.tariff import Parties, Tariff

_ROWS_AT_ONCE = 10_000
_COLUMNS = (
    "usage_id", "subscriber_id", "service_id", "offering_id", "price_id", "period_start", "step",
    "started_at", "quantity", "units_after", "band_1", "band_2", "band_3", "free_after",
    "events_after", "amount_net", "isp_share", "bsp_share", "network_provider_share",
    "amount_tax", "bsp_id", "network_provider_id", "explanation", "rated_at",
)  # fmt: skip


class Row(NamedTuple):
    """A use, the service that it is counted for, and what it is priced and shared by."""

    id: int
    subscriber_id: str
    service_id: str
    offering_id: int
    started_at: datetime
    ended_at: datetime | None
    quantity: int
    price: OfferingPrice
    parties: Parties
    period_start: datetime
    anchor_day: int

    @property
    def meter(self) -> Key:
        return self.service_id, self.price.pk


def rate(rows: Sequence[Row], tariff: Tariff, at: datetime) -> list[tuple[int, str]]:
    """Write what uses come to; returns those that cannot be rated, and why.

    The caller holds their lanes. A use that costs more than can be stored is left out of its
    counter, and the others go on.
    """
    refused: list[tuple[int, str]] = []
    # So many meters are looked at once that memory does not grow with the batch.
    for some in _pieces(sorted(rows, key=lambda row: (row.meter, row.id))):
        _rate(some, tariff, at, refused)
    return refused


def _pieces(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    """Yield rows by the ten thousand; those of one meter, which are in a row, stay together."""
    start = 0
    while start < len(rows):
        end = min(start + _ROWS_AT_ONCE, len(rows))
        while end < len(rows) and rows[end].meter == rows[end - 1].meter:
            end += 1
        yield rows[start:end]
        start = end


def _rate(
    rows: Sequence[Row], tariff: Tariff, at: datetime, refused: list[tuple[int, str]]
) -> None:
    counters: set[Counter] = {(*row.meter, row.period_start) for row in rows}
    meters = Meters(
        tariff.rule,
        {row.price.pk: row.price for row in rows},
        counters,
        {row.meter: row.anchor_day for row in rows},
        at=at,
    )
    late = LateUse(
        (service, price, start)
        for service, price, start in counters
        if meters.of((service, price), start).use(start).part
    )
    lines = _lines(rows, meters, late, tariff, at, refused)
    bulk.copy_lines("rating_ratedusage", _COLUMNS, lines)


def _lines(
    rows: Iterable[Row],
    meters: Meters,
    late: LateUse,
    tariff: Tariff,
    at: datetime,
    refused: list[tuple[int, str]],
) -> Iterable[str]:
    for row in rows:
        meter = meters.of(row.meter, row.period_start)
        part = late.part_of((*row.meter, row.period_start), row.started_at)
        terms = without_minimum(row.parties.terms) if part else row.parties.terms
        try:
            more = _added(row, tariff.rule(row.price))
            priced = meter.add(row.period_start, more, row.quantity, terms)
        except AmountTooLarge as too_large:
            refused.append((row.id, str(too_large)[:300]))
        else:
            if part is not None:
                priced = part.take(priced, row.parties.bsp_id, row.parties.network_provider_id)
            yield _line(row, meter, priced, at)


def _added(row: Row, rule: UsagePrice) -> More:
    """Say what a use adds to its counter."""
    if rule.bands:
        zone = settings.BILLING_TIME_ZONE
        return More(divide(row.quantity, row.started_at, row.ended_at, rule.bands, zone))
    if rule.event_price:
        return More((row.quantity,), storable(rule.event_price.cost(row.quantity)))
    return More((1 if rule.counts_events else row.quantity,))


def _line(row: Row, meter: Meter, priced: Priced, at: datetime) -> str:
    """Write a step as COPY reads it; only the explanation can hold what COPY would mistake."""
    use = meter.use(row.period_start)
    bands = (*use.units[1:], 0, 0, 0)[:3]
    explanation = bulk.escape(json.dumps(priced.explanation))
    return (
        f"{row.id}\t{row.subscriber_id}\t{row.service_id}\t{row.offering_id}\t{row.price.pk}\t"
        f"{row.period_start}\t{meter.step(row.period_start)}\t{row.started_at}\t{row.quantity}\t"
        f"{sum(use.units)}\t{bands[0]}\t{bands[1]}\t{bands[2]}\t{use.free}\t{use.events}\t"
        f"{priced.net}\t{priced.isp}\t{priced.bsp}\t{priced.network_provider}\t{priced.tax}\t"
        f"{_null(row.parties.bsp_id)}\t{_null(row.parties.network_provider_id)}\t"
        f"{explanation}\t{at}"
    )


def _null(value: object) -> object:
    return "\\N" if value is None else value
