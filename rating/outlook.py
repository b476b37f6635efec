"""What an order that is not placed yet would change on the bill; changes nothing.

The amounts are those that will be charged: the same prices by the same proration as at the end of
the billing period, as far as they are known today. They are before tax.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.conf import settings

from ipam.models import ExtraAddress
from ispops.catalog.models import OfferingPrice, ProductOffering
from ispops.catalog.queries import entitlement_of
from ispops.money import from_micros, round_to_minor_unit
from ispops.parties.models import Subscriber
from ispops.periods import Period
from provisioning import plan
from provisioning.later_orders import Rehearsal
from provisioning.models import ProductOrderItem, Service
from rating import pricing
from rating.accrual import period_at
from rating.meters import number_of
from rating.pricing import NO_DISCOUNT
from rating.rules import proration
from rating.tariff import Rate, Tariff

Action = ProductOrderItem.Action
Charge = OfferingPrice.Charge
_HOW = {
    Action.ADD: "comes",
    Action.MODIFY: "changes",
    Action.NO_CHANGE: "stays",
    Action.DELETE: "ends",
}


@dataclass(frozen=True, slots=True)
class Line:
    """One thing of an order: what becomes of it, from when, and what it costs.

    `was` is what it was before where it changes; `until` is when it ends by itself. `this_period`
    is how much more or less the running billing period costs by it, exactly.
    """

    offering: ProductOffering
    was: ProductOffering | None
    bundle: ProductOffering | None
    how: str
    begins_at: datetime
    until: datetime | None
    monthly_now: Decimal
    monthly_then: Decimal
    this_period: Decimal
    once: Decimal


@dataclass(frozen=True, slots=True)
class Outlook:
    """What an order changes on the bill, all before tax.

    `starts_at` is from when it counts: for a line that is to be made, when that is expected.
    """

    lines: list[Line]
    period: Period
    starts_at: datetime
    construction: Decimal
    currency: str

    @property
    def rows(self) -> list[tuple[Line, Decimal]]:
        """Each line with what it makes of the running period, as people pay it."""
        return [(line, round_to_minor_unit(line.this_period, self.currency)) for line in self.lines]

    @property
    def monthly_now(self) -> Decimal:
        return sum((line.monthly_now for line in self.lines), Decimal(0))

    @property
    def monthly_then(self) -> Decimal:
        return sum((line.monthly_then for line in self.lines), Decimal(0))

    @property
    def difference(self) -> Decimal:
        return self.monthly_then - self.monthly_now

    @property
    def this_period(self) -> Decimal:
        return sum((line.this_period for line in self.lines), Decimal(0))

    @property
    def to_pay(self) -> Decimal:
        """How much more the running period costs, as people pay it; below zero is less."""
        return round_to_minor_unit(self.this_period, self.currency)

    @property
    def saved(self) -> Decimal:
        return -self.to_pay

    @property
    def once(self) -> Decimal:
        return sum((line.once for line in self.lines), Decimal(0)) + self.construction


def of(rehearsal: Rehearsal, *, subscriber: Subscriber, at: datetime) -> Outlook:
    """Work out what a rehearsed order would change on its account's bill."""
    order, items = rehearsal.order, rehearsal.items
    period = period_at(subscriber, at)
    makes_line = order.intent in plan.NEW_LINES
    starts_at = order.expected_at if makes_line else max(at, order.wanted_from or at)
    ends_at = rehearsal.old_line_until or starts_at
    extras = _extras(order.line) if order.line else []
    tariff = Tariff.of(_offerings(items) | {extra.addon_id for extra in extras})
    lines = [
        _line(
            item,
            ends_at if item.action == Action.DELETE and makes_line else starts_at,
            period,
            tariff,
            subscriber.currency,
        )
        for item in items
    ]
    is_paused = order.line is not None and order.line.state == Service.State.SUSPENDED
    covered = len(extras) if makes_line else _more_places(items)
    for number, extra in enumerate(extras):
        until = ends_at if number < covered else None
        lines.append(_extra(extra, is_paused, until, at, period, tariff, subscriber.currency))
    fees = (item.offer.construction_fee for item in items if _is_built(item) and item.offer)
    construction = sum((fee or Decimal(0) for fee in fees), Decimal(0))
    return Outlook(lines, period, starts_at, construction, subscriber.currency)


def _offerings(items: Iterable[ProductOrderItem]) -> set[int]:
    keys = set()
    for item in items:
        bundle = item.service.bundle_id if item.service else None
        keys |= {item.offering_id, item.old_offering_id, item.bundle_id, bundle}
    return {key for key in keys if key is not None}


def _is_built(item: ProductOrderItem) -> bool:
    return item.action == Action.ADD and item.offering.kind == ProductOffering.Kind.ACCESS


def _line(
    item: ProductOrderItem, begins_at: datetime, period: Period, tariff: Tariff, currency: str
) -> Line:
    """Price one item as it is and as it shall be."""

    def rate(charge: str, offering_id: int, bundle_id: int | None) -> Rate | None:
        return tariff.rate(offering_id, charge, begins_at, currency, bundle_id=bundle_id)

    before = after = once = None
    service = item.service
    if item.action != Action.ADD:
        bundle_id = service.bundle_id if service else item.bundle_id
        before = rate(Charge.RECURRING, item.old_offering_id or item.offering_id, bundle_id)
    if item.action != Action.DELETE:
        after = rate(Charge.RECURRING, item.offering_id, item.bundle_id)
    if item.action == Action.ADD:
        once = rate(Charge.ONE_OFF, item.offering_id, item.bundle_id)
    until = service.ends_at if service and item.action != Action.DELETE else None
    is_paused = service is not None and service.state == Service.State.SUSPENDED
    span = None if is_paused else period.overlap(begins_at, until)
    differs = _rest(after, service, span, period) - _rest(before, service, span, period)
    return Line(
        offering=item.offering,
        was=item.old_offering if item.old_offering_id != item.offering_id else None,
        bundle=item.bundle,
        how=_HOW[Action(item.action)],
        begins_at=begins_at,
        until=until,
        monthly_now=from_micros(_monthly(before)),
        monthly_then=from_micros(_monthly(after)),
        this_period=from_micros(differs),
        once=from_micros(once.discount.of(once.amount) if once else 0),
    )


def _extras(line: Service) -> list[ExtraAddress]:
    """Return the extra addresses of a line; the oldest would end first."""
    held = ExtraAddress.objects.filter(holder__service_ref=line.public_id, ended_at=None)
    return list(held.select_related("addon").order_by("granted_at", "pk"))


def _more_places(items: Iterable[ProductOrderItem]) -> int:
    """Return how many more addresses than the old plan a new one includes."""
    more = 0
    for item in items:
        if item.offering.kind == ProductOffering.Kind.ACCESS and item.old_offering:
            old, new = entitlement_of(item.old_offering), entitlement_of(item.offering)
            more += max(new.ipv4_addresses - old.ipv4_addresses, 0)
    return more


def _extra(
    extra: ExtraAddress,
    is_paused: bool,
    ends_at: datetime | None,
    at: datetime,
    period: Period,
    tariff: Tariff,
    currency: str,
) -> Line:
    """Price an extra address, which goes on beside the order or ends by it."""
    rate = tariff.rate(extra.addon_id, Charge.RECURRING, ends_at or at, currency, bundle_id=None)
    span = None if is_paused or ends_at is None else period.overlap(ends_at, None)
    monthly = from_micros(_monthly(rate))
    return Line(
        offering=extra.addon,
        was=None,
        bundle=None,
        how="stays" if ends_at is None else "ends",
        begins_at=ends_at or at,
        until=None,
        monthly_now=monthly,
        monthly_then=monthly if ends_at is None else Decimal(0),
        this_period=-from_micros(_rest(rate, None, span, period)),
        once=Decimal(0),
    )


def _monthly(rate: Rate | None) -> int:
    """Return what a period costs for good: with a discount only if that never ends."""
    if rate is None:
        return 0
    lasts = rate.price.discount_periods is None
    return rate.discount.of(rate.amount) if lasts else rate.amount


def _rest(rate: Rate | None, service: Service | None, span: Period | None, period: Period) -> int:
    """Return what of a period's price falls on a part of the running period."""
    if rate is None or span is None:
        return 0
    return pricing.price_recurring(
        amount=rate.amount,
        version="",
        span=span,
        period=period,
        discount=NO_DISCOUNT if _is_over(rate, service, period) else rate.discount,
        proration=proration(rate.price),
        zone=settings.BILLING_TIME_ZONE,
    ).net


def _is_over(rate: Rate, service: Service | None, period: Period) -> bool:
    """Say whether a service has had its discount for all the periods for which there is one."""
    most = rate.price.discount_periods
    if most is None or service is None:
        return False
    active = service.periods.filter(state=Service.State.ACTIVE).order_by("started_at").first()
    if active is None:
        return False
    anchor = service.subscriber.billing_anchor_day
    return number_of(period.start, active.started_at, anchor) >= most
