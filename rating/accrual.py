"""What a subscriber owes for a billing period by what was active in it, before it is charged.

Nothing tells rating to start or stop charging: the periods in which services were active, and the
extra addresses that were held, are read when a bill is made. The same reading makes the preview
of a running bill, where what is active now is taken to last until the period's end.

- A recurring price is owed for the active time of the period, in arrears, cut where the price, the
  settlement terms or the tax changed. Time that is charged already (the first period of a purchase)
  is left out.
- A one-off price of something that was ordered is owed when it is first active. What was bought
  from a partner afterwards is charged when it is bought; see `rating.purchases`.
- An aggregated plan has one price. Each component owes its part of it by revenue weight, prorated
  by its own active time, and is settled by its own terms and taxed by its own category.
- What building a line cost by the accepted offer is owed when the line is first active.
- What use costs at least in a period is owed at its end; see `rating.closing`.
- A discount is for the first periods of a service, counted from the one in which it was first
  active. It is taken off the price of a whole period, and the rest is prorated.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings

from ipam import queries as ipam
from ipam.models import ExtraAddress
from ispops.catalog.models import OfferingPrice, ProductOffering
from ispops.db import Prepared
from ispops.money import to_micros
from ispops.parties.models import Subscriber
from ispops.periods import Period, billing_period
from provisioning.models import ProductOrderItem, Service, ServicePeriod
from rating import charges, closing, pricing
from rating.meters import number_of
from rating.models import Charge, Purchase
from rating.rules import proration, version
from rating.spans import cut, joined, without
from rating.tariff import Parties, Tariff

# A span that is charged is in one billing period, so an earlier one than this has ended.
LONGEST_PERIOD = timedelta(days=62)
_CHARGED = Prepared(
    "rating_charged_spans",
    ("uuid", "timestamptz", "timestamptz", "timestamptz"),
    """
SELECT COALESCE(extra_address_id, service_id), period_start, period_end FROM rating_charge
 WHERE subscriber_id = $1 AND kind = 'recurring'
   AND period_start >= $2 AND period_start < $4 AND period_end > $3
""",
)


def period_at(subscriber: Subscriber, at: datetime) -> Period:
    """Return the billing period of an account that holds a moment."""
    return billing_period(
        at, anchor_day=subscriber.billing_anchor_day, zone=settings.BILLING_TIME_ZONE
    )


@dataclass(frozen=True, slots=True)
class _Held:
    """Something that was held for a span and has a price: a service, or an extra address."""

    service: Service
    offering: ProductOffering
    started_at: datetime
    ended_at: datetime | None
    first_active_at: datetime
    bundle_id: int | None = None
    extra: ExtraAddress | None = None

    @property
    def key(self) -> UUID:
        return self.extra.pk if self.extra else self.service.pk

    @property
    def public_id(self) -> str:
        return self.extra.public_id if self.extra else self.service.public_id


def due(*, subscriber: Subscriber, period: Period, at: datetime) -> list[Charge]:
    """Return the charges of a period that follow from what was active, not saved and not yet
    posted, in a stable order. Saves nothing."""
    active = closing.spans_of(subscriber, period)
    spans = [span.row for span in active]
    held = [*map(_service, active), *_extra_addresses(subscriber, period)]
    tariff = Tariff.of(
        {row.offering.pk for row in held} | {row.bundle_id for row in held if row.bundle_id}
    )
    charged = _charged_spans(subscriber, period)
    drafts: list[Charge] = []
    for row in held:
        drafts += _recurring(subscriber, row, period, charged[row.key], tariff, at)
    drafts += _one_off(subscriber, held, period, tariff, at)
    drafts += _construction(subscriber, held, period, tariff, at)
    drafts += closing.minimums(
        subscriber=subscriber, period=period, spans=spans, tariff=tariff, at=at
    )
    return drafts


def _service(active: closing.ActiveSpan) -> _Held:
    span = active.row
    return _Held(
        service=span.service,
        offering=span.offering,
        started_at=span.started_at,
        ended_at=span.ended_at,
        first_active_at=active.first_active_at,
        bundle_id=span.bundle_id,
    )


def _extra_addresses(subscriber: Subscriber, period: Period) -> list[_Held]:
    """Return when extra addresses were held while their lines were active; a pause costs nothing.

    Each is first active when its line first is after the grant.
    """
    if not ipam.ever_had_extra_addresses(subscriber):
        return []
    extras = list(
        ipam.extra_addresses_between(period.start, period.end, subscriber=subscriber)
        .select_related("addon", "holder")
        .order_by("granted_at", "pk")
    )
    if not extras:
        return []
    keys = {Service.key_of(extra.holder.service_ref) for extra in extras}
    lines = Service.objects.in_bulk({key for key in keys if key})
    active: defaultdict[UUID, list[ServicePeriod]] = defaultdict(list)
    for row in ServicePeriod.objects.filter(service__in=lines, state=Service.State.ACTIVE).order_by(
        "started_at"
    ):
        active[row.service_id].append(row)
    found = []
    for extra in extras:
        key = Service.key_of(extra.holder.service_ref)
        if key is None or key not in lines:
            continue
        spans = joined(_while_held(extra, active[key]))
        found += [
            _Held(
                service=lines[key],
                offering=extra.addon,
                started_at=start,
                ended_at=end,
                first_active_at=spans[0][0],
                extra=extra,
            )
            for start, end in spans
        ]
    return found


def _while_held(
    extra: ExtraAddress, periods: Iterable[ServicePeriod]
) -> Iterator[tuple[datetime, datetime | None]]:
    """Give the parts of a line's periods in which it held an extra address."""
    for row in periods:
        ends = [end for end in (extra.ended_at, row.ended_at) if end is not None]
        start, end = max(extra.granted_at, row.started_at), min(ends, default=None)
        if end is None or start < end:
            yield start, end


def _charged_spans(subscriber: Subscriber, period: Period) -> defaultdict[UUID, list[Period]]:
    """Return the recurring spans that are posted, also those that were taken back later."""
    spans: defaultdict[UUID, list[Period]] = defaultdict(list)
    since = period.start - LONGEST_PERIOD
    for key, start, end in _CHARGED.rows(subscriber.pk, since, period.start, period.end):
        spans[key].append(Period(start, end))
    return spans


def _recurring(
    subscriber: Subscriber,
    held: _Held,
    period: Period,
    charged: Iterable[Period],
    tariff: Tariff,
    at: datetime,
) -> Iterator[Charge]:
    whole = period.overlap(held.started_at, held.ended_at)
    if whole is None:
        return
    edges = tariff.edges(held.offering.pk, held.bundle_id)
    for span in cut(without(whole, charged), edges):
        yield from recurring_charge(
            subscriber=subscriber,
            service=held.service,
            offering=held.offering,
            span=span,
            period=period,
            cause=f"recurring:{held.public_id}:{span.start:%Y-%m-%dT%H:%M:%S.%f}",
            tariff=tariff,
            at=at,
            since=held.first_active_at,
            bundle_id=held.bundle_id,
            extra=held.extra,
        )


def recurring_charge(
    *,
    subscriber: Subscriber,
    service: Service,
    offering: ProductOffering,
    span: Period,
    period: Period,
    cause: str,
    tariff: Tariff,
    at: datetime,
    since: datetime,
    bundle_id: int | None = None,
    extra: ExtraAddress | None = None,
) -> Iterator[Charge]:
    """Give the charge for a span of a period, or nothing where there is no recurring price.

    Price, terms and tax are those in force when the span begins; `since` is when the service was
    first active, from which the periods of a discount are counted.
    """
    rate = tariff.rate(
        offering.pk,
        OfferingPrice.Charge.RECURRING,
        span.start,
        subscriber.currency,
        bundle_id=bundle_id,
    )
    if rate is None:
        return
    price = rate.price
    parties = tariff.parties(offering.pk, span.start, price.tax_category)
    number = number_of(period.start, since, subscriber.billing_anchor_day)
    is_over = price.discount_periods is not None and number >= price.discount_periods
    priced = pricing.price_recurring(
        amount=rate.amount,
        version=version(price),
        span=span,
        period=period,
        terms=parties.terms,
        part=rate.part,
        discount=pricing.NO_DISCOUNT if is_over else rate.discount,
        proration=proration(price),
        zone=settings.BILLING_TIME_ZONE,
    )
    yield charges.draft(
        subscriber=subscriber,
        offering_id=offering.pk,
        kind=Charge.Kind.RECURRING,
        cause=cause,
        priced=priced,
        parties=parties,
        period_start=span.start,
        period_end=span.end,
        at=at,
        service=service,
        bundle_id=bundle_id,
        extra_address=extra,
        price=price,
    )


def one_off_charge(
    *,
    subscriber: Subscriber,
    service: Service,
    offering: ProductOffering,
    since: datetime,
    cause: str,
    tariff: Tariff,
    at: datetime,
    **facts: Any,
) -> Iterator[Charge]:
    """Give the charge of a one-off price in force at `since`, or nothing where there is none."""
    bundle_id = facts.get("bundle_id")
    rate = tariff.rate(
        offering.pk, OfferingPrice.Charge.ONE_OFF, since, subscriber.currency, bundle_id=bundle_id
    )
    if rate is None:
        return
    parties = tariff.parties(offering.pk, since, rate.price.tax_category)
    yield charges.draft(
        subscriber=subscriber,
        offering_id=offering.pk,
        kind=Charge.Kind.ONE_OFF,
        cause=cause,
        priced=pricing.price_one_off(
            amount=rate.amount,
            version=version(rate.price),
            terms=parties.terms,
            part=rate.part,
            discount=rate.discount,
        ),
        parties=parties,
        period_start=since,
        at=at,
        service=service,
        price=rate.price,
        **facts,
    )


def _one_off(
    subscriber: Subscriber, held: list[_Held], period: Period, tariff: Tariff, at: datetime
) -> Iterator[Charge]:
    """Give the one-off charges of what became active in the period and was not purchased."""
    began = {row.key: row for row in held if _is_first(row, period)}
    if not began:
        return
    purchased = set(
        Purchase.objects.filter(service__in=[row.service.pk for row in began.values()]).values_list(
            "service", flat=True
        )
    )
    posted = _posted(f"activation:{row.public_id}" for row in began.values())
    for row in began.values():
        cause = f"activation:{row.public_id}"
        if cause not in posted and row.key not in purchased:
            yield from one_off_charge(
                subscriber=subscriber,
                service=row.service,
                offering=row.offering,
                since=row.first_active_at,
                cause=cause,
                tariff=tariff,
                at=at,
                bundle_id=row.bundle_id,
                extra_address=row.extra,
            )


def _is_first(held: _Held, period: Period) -> bool:
    """Say whether a span is the one in which a service was first active, and is in the period.

    A service that changed its plan soon after has more spans, and was switched on only once.
    """
    return held.first_active_at in period and held.started_at == held.first_active_at


def _construction(
    subscriber: Subscriber, held: list[_Held], period: Period, tariff: Tariff, at: datetime
) -> Iterator[Charge]:
    """Give the charges for lines that had to be built and became active in the period."""
    lines = {
        row.service.pk: row
        for row in held
        if _is_first(row, period) and row.extra is None and row.service.line_id is None
    }
    items = ProductOrderItem.objects.filter(
        service__in=lines, action=ProductOrderItem.Action.ADD, offer__construction_fee__gt=0
    ).select_related("offer")
    if not lines or not (built := list(items.order_by("pk"))):
        return
    posted = _posted(f"construction:{row.public_id}" for row in lines.values())
    for item in built:
        row = lines[item.service_id]  # type: ignore[index]
        cause, offer = f"construction:{row.public_id}", item.offer
        if offer is not None and cause not in posted:
            parties = _percentages_only(tariff.parties(row.offering.pk, row.first_active_at))
            yield charges.draft(
                subscriber=subscriber,
                offering_id=row.offering.pk,
                kind=Charge.Kind.ONE_OFF,
                cause=cause,
                priced=pricing.price_one_off(
                    amount=to_micros(offer.construction_fee),
                    version=f"of {offer.qualification_id}",
                    terms=parties.terms,
                ),
                parties=parties,
                period_start=row.first_active_at,
                at=at,
                service=row.service,
                bundle_id=row.bundle_id,
            )


def _percentages_only(parties: Parties) -> Parties:
    """Leave fixed shares out: they are for the offering's own prices."""
    terms = parties.terms
    return replace(
        parties,
        terms=replace(
            terms,
            bsp=terms.bsp and replace(terms.bsp, fixed=0),
            network_provider=terms.network_provider and replace(terms.network_provider, fixed=0),
        ),
    )


def _posted(causes: Iterable[str]) -> set[str]:
    return set(Charge.objects.filter(cause__in=list(causes)).values_list("cause", flat=True))
