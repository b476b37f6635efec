"""The end of a billing period of use: what it costs at least, and what partners are guaranteed.

When the bill of a period is made, what a service's use cost is raised to the least that its price
says, for the part of the period in which the service was active and the price in force. Partners
whose terms guarantee them a minimum get what is missing, from the ISP; where the terms changed
within the period, each counts for its own part. The counter is then closed:
use that is reported later costs nothing until it passes what was paid for, and gives a partner
nothing until that passes what it was guaranteed; see `rating.late_use`.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Q, Sum

from ispops.catalog.models import OfferingPrice, ProductOffering
from ispops.db import Prepared, columns, made
from ispops.money import to_micros
from ispops.parties.models import Subscriber
from ispops.periods import Period
from provisioning.models import Service, ServicePeriod
from rating import charges, guarantees, lanes, pricing, rules
from rating.had_since import Asked, asked_of, had_since
from rating.meter_reading import Meters
from rating.meters import Key
from rating.models import Charge, RatedUsage, UsageClosing
from rating.spans import cut, held
from rating.tariff import Parties, Tariff
from rating.usage_ids import AHEAD, first_id

# Parts of a bundle are left out that was taken back, or cancelled before its last confirmation.
_SPANS = Prepared("rating_active_spans", ("uuid", "timestamptz", "timestamptz"), f"""
SELECT (SELECT min(started_at) FROM provisioning_serviceperiod
         WHERE service_id = service.id AND state = 'active'),
       {columns(ServicePeriod, "span")}, {columns(Service, "service")},
       {columns(ProductOffering, "offering")}
  FROM provisioning_service service
  JOIN provisioning_serviceperiod span ON span.service_id = service.id
  JOIN catalog_productoffering offering ON offering.id = span.offering_id
 WHERE service.subscriber_id = $1 AND span.state = 'active'
   AND span.started_at < $3 AND (span.ended_at IS NULL OR span.ended_at > $2)
   AND NOT EXISTS (
    SELECT FROM rating_purchase part JOIN rating_purchase whole ON whole.id = part.part_of_id
     WHERE part.service_id = service.id
       AND (whole.state = 'reversed' OR whole.cancelled_at = whole.settled_at))
 ORDER BY service.created_at, service.id, span.started_at
""")  # noqa: S608  # fmt: skip


@dataclass(frozen=True, slots=True)
class ActiveSpan:
    """A span in which a service was active, and when it was first active in its life."""

    row: ServicePeriod
    first_active_at: datetime


@dataclass(frozen=True, slots=True)
class _Due:
    """A meter that is to be closed: for how much of the period, and what that comes to."""

    key: Key
    price: OfferingPrice
    part: int
    whole: int
    charges: list[Charge]
    # What the partners of each part were guaranteed, where the terms changed within the period.
    kept: list[dict[str, Any]]


def active_spans(subscriber: Subscriber, period: Period) -> list[ServicePeriod]:
    """Return when an account's services were active in a period, the oldest service first.

    Parts of a bundle that did not come to be are left out: nothing is owed for them.
    """
    return [span.row for span in spans_of(subscriber, period)]


def spans_of(subscriber: Subscriber, period: Period) -> list[ActiveSpan]:
    """Return `active_spans`, each with when its service was first active."""
    found = []
    widths = [len(model._meta.concrete_fields) for model in (ServicePeriod, Service)]
    for first, *row in _SPANS.rows(subscriber.pk, period.start, period.end):
        span = made(ServicePeriod, row[: widths[0]])
        span.service = made(Service, row[widths[0] : sum(widths)])
        span.service.subscriber = subscriber
        span.offering = made(ProductOffering, row[sum(widths) :])
        found.append(ActiveSpan(span, first))
    return found


def minimums(
    *,
    subscriber: Subscriber,
    period: Period,
    spans: list[ServicePeriod],
    tariff: Tariff,
    at: datetime,
) -> list[Charge]:
    """Return what would still be due for use if the period ended as things are. Saves nothing."""
    found = _due(subscriber, period, spans, tariff, at)
    return [charge for due in found for charge in due.charges]


@transaction.atomic
def close_use(*, subscriber: Subscriber, period: Period, at: datetime) -> list[Charge]:
    """Close the use of a period: charges what is still due for it, once."""
    lanes.hold_lane(subscriber.pk)
    spans = active_spans(subscriber, period)
    tariff = Tariff.of({s.offering_id for s in spans} | {s.bundle_id for s in spans if s.bundle_id})
    found = list(_due(subscriber, period, spans, tariff, at))
    UsageClosing.objects.bulk_create(
        UsageClosing(
            service_id=UUID(due.key[0]),
            price=due.price,
            period_start=period.start,
            part=due.part,
            whole=due.whole,
            parts=due.kept,
            closed_at=at,
        )
        for due in found
    )
    return Charge.objects.bulk_create(charge for due in found for charge in due.charges)


def _due(
    subscriber: Subscriber,
    period: Period,
    spans: list[ServicePeriod],
    tariff: Tariff,
    at: datetime,
) -> Iterator[_Due]:
    prices = {
        price.pk: price
        for price in tariff.usage_prices()
        if price.currency == subscriber.currency
        and (price.period_minimum or tariff.guarantees(price.offering_id, period))
    }
    active = _active(spans, prices, period, tariff)
    if not active:
        return
    meters = Meters(
        tariff.rule,
        prices,
        {(*key, period.start) for key in active},
        dict.fromkeys(active, subscriber.billing_anchor_day),
        at=at,
    )
    services = {str(span.service_id): span.service for span in spans}
    for key, times in active.items():
        due = _close(key, services[key[0]], prices[key[1]], times, period, meters, tariff, at)
        if due is not None:
            yield due


def _active(
    spans: Iterable[ServicePeriod],
    prices: dict[int, OfferingPrice],
    period: Period,
    tariff: Tariff,
) -> dict[Key, list[Period]]:
    """Return when in a period services were active while a price of theirs counted."""
    found: defaultdict[Key, list[Period]] = defaultdict(list)
    units = {(price.currency, price.unit) for price in prices.values()}
    if not units:
        return {}
    had = _had(spans, period, tariff)
    moments = tariff.moments()
    for span in spans:
        active = period.overlap(span.started_at, span.ended_at)
        own, plan = (had.get(asked, period.start) for asked in _asked(span, period))
        for part in cut([active] if active else [], moments):
            for currency, unit in units:
                price = tariff.usage_price(
                    span.offering_id,
                    part.start,
                    currency,
                    unit,
                    since=own,
                    plan=(span.bundle_id, plan) if span.bundle_id else None,
                )
                # The price of an aggregated plan is the line's, and not each part's.
                is_parts = price and price.offering_id == span.bundle_id and span.service.line_id
                if price and price.pk in prices and not is_parts:
                    found[str(span.service_id), price.pk].append(part)
    return dict(found)


def _had(spans: Iterable[ServicePeriod], period: Period, tariff: Tariff) -> dict[Asked, datetime]:
    """Return since when services have had what they have, if a price changed in the period."""
    if not any(period.start < moment < period.end for moment in tariff.changes()):
        return {}
    return had_since(asked for span in spans for asked in _asked(span, period) if asked[1])


def _asked(span: ServicePeriod, period: Period) -> tuple[Asked, Asked]:
    """Return what is asked about the prices of what a service had, and of what that was sold in."""
    own, plan = (
        asked_of(span.service, key, period.start, bundle_id=span.bundle_id)
        for key in (span.offering_id, span.bundle_id or 0)
    )
    return own, plan


def _close(
    key: Key,
    service: Service,
    price: OfferingPrice,
    times: list[Period],
    period: Period,
    meters: Meters,
    tariff: Tariff,
    at: datetime,
) -> _Due | None:
    meter = meters.of(key, period.start)
    use = meter.use(period.start)
    if use.part:
        return None
    zone, by = settings.BILLING_TIME_ZONE, rules.proration(price)
    terms = held(
        times,
        tariff.edges_of_terms(price.offering_id, price.tax_category),
        lambda moment: tariff.parties(price.offering_id, moment, price.tax_category),
    )
    got = _got(key, period, terms) if len(terms) > 1 else [(0, 0)]
    whole = pricing.elapsed(period, period.end, by, zone)[0]
    parts = [
        guarantees.Part(parties.terms, guarantees.length(period, spans, by, zone), *given)
        for (parties, spans), given in zip(terms, got, strict=True)
    ]
    if not any(part.part for part in parts):
        return None
    found = guarantees.close_period(
        price=meter.rule(period.start), use=use, parts=parts, whole=whole
    )
    drafts = [
        charges.draft(
            subscriber=service.subscriber,
            offering_id=price.offering_id,
            kind=Charge.Kind.USAGE,
            cause=_cause(service, price, period, number),
            priced=ended.due,
            parties=parties,
            period_start=spans[0].start,
            period_end=period.end,
            at=at,
            service=service,
            price=price,
            quantity=0,
            unit=price.unit,
        )
        for number, ((parties, spans), ended) in enumerate(zip(terms, found, strict=True))
        if ended.due is not None
    ]
    kept = [
        guarantees.kept(spans[0].start, ended, parties.bsp_id, parties.network_provider_id)
        for (parties, spans), ended in zip(terms, found, strict=True)
        if len(terms) > 1
    ]
    return _Due(key, price, sum(part.part for part in parts), whole, drafts, kept)


def _cause(service: Service, price: OfferingPrice, period: Period, number: int) -> str:
    cause = f"minimum:{service.public_id}:{price.pk}:{period.start:%Y-%m-%dT%H:%M:%S}"
    return f"{cause}:{number}" if number else cause


def _got(
    key: Key, period: Period, terms: list[tuple[Parties, list[Period]]]
) -> list[tuple[int, int]]:
    """Return what the partners of each terms got of the use in their part of the period."""
    edges = [period.start, *(spans[0].start for _, spans in terms[1:]), period.end]
    steps = RatedUsage.objects.filter(
        service=UUID(key[0]),
        price=key[1],
        period_start=period.start,
        pk__gte=first_id(period.start - AHEAD),
    )
    found = []
    for (parties, _), (start, end) in zip(terms, itertools.pairwise(edges), strict=True):
        sums = steps.filter(started_at__gte=start, started_at__lt=end).aggregate(
            bsp=Sum("bsp_share", filter=Q(bsp=parties.bsp_id)),
            network=Sum(
                "network_provider_share", filter=Q(network_provider=parties.network_provider_id)
            ),
        )
        bsp, network = (to_micros(sums[name] or Decimal(0)) for name in ("bsp", "network"))
        found.append((bsp, network))
    return found
