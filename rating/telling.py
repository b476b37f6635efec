"""Telling subscribers what became of what they use; the words are `notice_kinds`."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from django.conf import settings
from django.db import transaction
from django.urls import reverse

from ispops.catalog import fair_use
from ispops.catalog.models import FairUseRule, OfferingPrice
from ispops.catalog.queries import quantity_words, usage_words
from ispops.money import format_money, round_to_minor_unit
from ispops.notices import notify
from ispops.parties.models import Subscriber
from ispops.periods import day_in_words
from provisioning.models import Service, Slowdown
from rating import notice_kinds, topping_up
from rating.accrual import period_at
from rating.models import Charge, Simulation
from rating.spending import third_party_spend
from rating.standings import Standing
from rating.thresholds import SPENDING_THRESHOLDS

_BECAUSE = {
    Slowdown.EndedFor.PERIOD: "because a new billing period began",
    Slowdown.EndedFor.ROOM: "because there is more data for it now",
    Slowdown.EndedFor.STAFF: "because one of us has seen to it",
}


def threshold_passed(
    *, standing: Standing, percent: int, rule: FairUseRule | None, at: datetime
) -> None:
    """Say that so much of what is included is used, and what more of it means.

    `rule` is the one by which the line is slow now, if it is.
    """
    service, price = standing.service, standing.price
    start, packs = standing.period.start, len(standing.bought)
    notify.send(
        kind=notice_kinds.USAGE_THRESHOLD.code,
        subscriber=service.subscriber,
        cause=f"{service.public_id}:{price.pk}:{start:%Y-%m-%d}:{percent}:{packs}",
        at=at,
        product=_name(service, price),
        percent=str(percent),
        used=quantity_words(standing.drawn, price.unit),
        included=quantity_words(standing.included, price.unit),
        then=_then(standing, rule),
        until=_day(standing.period.end),
        usage_url=_usage_url(service),
    )


def _then(standing: Standing, rule: FairUseRule | None) -> str:
    if rule is not None and standing.unit == fair_use.UNIT:
        return "Your line is slower now, by the fair use of your plan; see our other message."
    price = standing.price
    if not (price.amount or price.tiers):
        return "More of it costs nothing."
    # What a price says after its allowance; where it says more than that, all of it.
    _, _, beyond = usage_words(price).rpartition(" included, then ")
    return f"{'More of it costs' if standing.left == 0 else 'After that, it costs'} {beyond}."


@transaction.atomic
def spending(*, subscriber: Subscriber, at: datetime) -> None:
    """Say that partners' products have come to a threshold of what may be spent on them, once."""
    limit = subscriber.may_spend
    if not limit:
        return
    spent = third_party_spend(subscriber, at)
    reached = [percent for percent in SPENDING_THRESHOLDS if spent * 100 >= limit * percent]
    if not reached:
        return
    period, currency = period_at(subscriber, at), subscriber.currency
    notify.send(
        kind=notice_kinds.SPENDING_LIMIT.code,
        subscriber=subscriber,
        cause=f"{subscriber.public_id}:{period.start:%Y-%m-%d}:{reached[-1]}:{limit:f}",
        at=at,
        percent=str(reached[-1]),
        spent=format_money(round_to_minor_unit(spent, currency), currency),
        limit=format_money(round_to_minor_unit(limit, currency), currency),
        until=_day(period.end),
        usage_url=_page("portal:usage"),
    )


def price_put_right(
    *, rerating: Simulation, subscriber: Subscriber, charged: Sequence[Charge], at: datetime
) -> None:
    """Say what a re-rating comes to for an account, in one sum, unless that is nothing."""
    more = round_to_minor_unit(
        sum((row.amount_net + row.amount_tax for row in charged), Decimal(0)), subscriber.currency
    )
    if not more:
        return
    words = format_money(abs(more), subscriber.currency)
    first, last = (f"{m:%B %Y}" for m in (rerating.first_month_date, rerating.last_month_date))
    largest = max(charged, key=lambda row: abs(row.amount_net))
    notify.send(
        kind=notice_kinds.PRICE_PUT_RIGHT.code,
        subscriber=subscriber,
        cause=rerating.public_id,
        at=at,
        product=rerating.draft.offering.name,
        months=first if first == last else f"{first} to {last}",
        outcome=f"You pay {words} more." if more > 0 else f"You get {words} back.",
        charge_url=_page("portal:charge", largest.public_id),
    )


def line_slowed(*, slowdown: Slowdown, at: datetime) -> None:
    """Say how slow a line is now, until when, and what helps before."""
    line = slowdown.service
    packs = topping_up.packs_for(line, at)
    helps = "More data from your account makes it fast again at once." if packs else ""
    notify.send(
        kind=notice_kinds.LINE_SLOWED.code,
        subscriber=line.subscriber,
        cause=f"{line.public_id}:{slowdown.pk}",
        at=at,
        product=str(line.bundle or line.offering),
        speed=f"{_speed(slowdown.download_kbps)} down, {_speed(slowdown.upload_kbps)} up",
        helps=helps,
        until=_day(slowdown.holds_until),
        usage_url=_usage_url(line),
    )


def line_restored(*, slowdown: Slowdown, at: datetime) -> None:
    """Say that a line is as fast as before, where that is news: not when its plan changed."""
    line, because = slowdown.service, _BECAUSE.get(Slowdown.EndedFor(slowdown.ended_for))
    if because is None:
        return
    notify.send(
        kind=notice_kinds.LINE_RESTORED.code,
        subscriber=line.subscriber,
        cause=f"{line.public_id}:{slowdown.pk}",
        at=at,
        product=str(line.bundle or line.offering),
        because=because,
        usage_url=_usage_url(line),
    )


def _name(service: Service, price: OfferingPrice) -> str:
    is_shared = price.offering_id == service.bundle_id
    return str(service.bundle if is_shared else service.offering)


def _speed(kbps: int) -> str:
    return f"{kbps / 1000:g} Mbit/s" if kbps >= 1000 else f"{kbps} kbit/s"


def _day(at: datetime) -> str:
    return day_in_words(at, zone=settings.BILLING_TIME_ZONE)


def _usage_url(service: Service) -> str:
    line = Service.PREFIX + "_" + (service.line_id or service.pk).hex
    return f"{_page('portal:usage')}?line={line}"


def _page(name: str, *ids: str) -> str:
    return settings.BASE_URL.rstrip("/") + reverse(name, args=ids)
