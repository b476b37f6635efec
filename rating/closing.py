"""The end of a billing period of use: what it costs at least, and what partners are guaranteed.

When the bill of a period is made, what a service's use cost is raised to the least that its price
says, for the part of the period in which the service was active and the price in force. Partners
whose terms guarantee them a minimum get what is missing, from the ISP. The counter is then closed:
use that is reported later costs nothing until it passes what was paid for.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.conf import settings
from django.db import transaction

from ispops.catalog.models import OfferingPrice
from ispops.parties.models import Subscriber
from ispops.periods import Period
from provisioning.models import Service, ServicePeriod
from rating import charges, lanes, pricing, rules
from rating.meter_reading import Meters
from rating.meters import Key
from rating.models import Charge, UsageClosing
from rating.tariff import Tariff


@dataclass(frozen=True, slots=True)
class _Due:
    """A meter that is to be closed: for how much of the period, and what that comes to."""

    key: Key
    price: OfferingPrice
    part: int
    whole: int
    charge: Charge | None


def active_spans(subscriber: Subscriber, period: Period) -> list[ServicePeriod]:
    """Return when an account's services were active in a period, the oldest service first."""
    spans = ServicePeriod.objects.filter(
        service__subscriber=subscriber, state=Service.State.ACTIVE, started_at__lt=period.end
    ).exclude(ended_at__lte=period.start)
    rows = spans.select_related("service", "offering")
    return list(rows.order_by("service__created_at", "service_id", "started_at"))


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
    return [due.charge for due in found if due.charge is not None]


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
            closed_at=at,
        )
        for due in found
    )
    return Charge.objects.bulk_create(due.charge for due in found if due.charge is not None)


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
        if price.currency == subscriber.currency and _has_minimum(price, tariff, period)
    }
    active = _active(spans, prices.values(), period, tariff)
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


def _has_minimum(price: OfferingPrice, tariff: Tariff, period: Period) -> bool:
    if price.period_minimum:
        return True
    terms = tariff.parties(price.offering_id, max(price.valid_from, period.start)).terms
    return any(share and share.minimum for share in (terms.bsp, terms.network_provider))


def _active(
    spans: Iterable[ServicePeriod],
    prices: Iterable[OfferingPrice],
    period: Period,
    tariff: Tariff,
) -> dict[Key, list[Period]]:
    """Return when in a period services were active while a price of theirs was in force."""
    found: defaultdict[Key, list[Period]] = defaultdict(list)
    for span in spans:
        active = period.overlap(span.started_at, span.ended_at)
        for price in prices:
            if active is None or price.offering_id not in (span.offering_id, span.bundle_id):
                continue
            in_force = active.overlap(price.valid_from, price.valid_to)
            if in_force is None or not _counts(span, price, in_force.start, tariff):
                continue
            shared = price.offering_id == span.bundle_id
            # The price of an aggregated plan is the line's, and not each part's.
            if not (shared and span.service.line_id):
                found[str(span.service_id), price.pk].append(in_force)
    return dict(found)


def _counts(span: ServicePeriod, price: OfferingPrice, at: datetime, tariff: Tariff) -> bool:
    """Say whether use goes by a price: a part's does not where the plan has one of its own."""
    rated_by = tariff.usage_price(
        span.offering_id, at, price.currency, price.unit, bundle_id=span.bundle_id
    )
    return rated_by is not None and rated_by.pk == price.pk


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
    part, whole = _part_of(period, times, price)
    parties = tariff.parties(price.offering_id, times[-1].start, price.tax_category)
    priced = pricing.close_period(
        price=meter.rule(period.start), use=use, part=part, whole=whole, terms=parties.terms
    )
    if priced is None:
        return _Due(key, price, part, whole, None)
    charge = charges.draft(
        subscriber=service.subscriber,
        offering_id=price.offering_id,
        kind=Charge.Kind.USAGE,
        cause=f"minimum:{service.public_id}:{price.pk}:{period.start:%Y-%m-%dT%H:%M:%S}",
        priced=priced,
        parties=parties,
        period_start=times[0].start,
        period_end=period.end,
        at=at,
        service=service,
        price=price,
        quantity=0,
        unit=price.unit,
    )
    return _Due(key, price, part, whole, charge)


def _part_of(period: Period, times: list[Period], price: OfferingPrice) -> tuple[int, int]:
    """Return how much of a period some spans are, by what the price is prorated by."""

    def gone(instant: datetime) -> int:
        zone = settings.BILLING_TIME_ZONE
        return pricing.elapsed(period, instant, rules.proration(price), zone)[0]

    return sum(gone(span.end) - gone(span.start) for span in times), gone(period.end)
