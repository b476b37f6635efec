"""Packs of units: 10 hours, 50 gigabytes, bought once and used on top of what is included."""

from datetime import datetime

from ispops.catalog.models import OfferingPrice
from ispops.errors import Refusal
from provisioning.models import Service
from rating import accrual, lanes
from rating.had_since import asked_of, had_since
from rating.meter_reading import Meters
from rating.models import Purchase, UsagePack
from rating.tariff import Tariff

Found = tuple[OfferingPrice, OfferingPrice, Service]


class NothingToTopUp(Refusal):
    code = "nothing_to_top_up"
    title = "The line has nothing that the pack could be used for"


def require_use(*, purchase: Purchase, tariff: Tariff, at: datetime) -> None:
    """Refuse a pack that could not be used: the line lacks the product that it is for.

    Raises:
        NothingToTopUp: see above.
    """
    _find(purchase, tariff, at)


def grant_pack(*, purchase: Purchase, at: datetime) -> UsagePack | None:
    """Grant the units that a purchase bought, if it bought any. Safe to repeat.

    They cover what is used from now on: the subscriber's lane is held, so that use that is being
    rated just now is before them or after them.
    """
    granted = UsagePack.objects.filter(purchase=purchase).first()
    if granted is not None:
        return granted
    found = _find(purchase, Tariff.of([purchase.offering_id]), at)
    if found is None:
        return None
    pack_price, use_price, service = found
    lanes.hold_lane(purchase.subscriber_id)
    period = accrual.period_at(purchase.subscriber, at)
    key = str(service.pk), use_price.pk
    meter = Meters(
        Tariff.of([use_price.offering_id]).rule,
        {use_price.pk: use_price},
        [(*key, period.start)],
        {key: purchase.subscriber.billing_anchor_day},
        at=at,
    ).of(key, period.start)
    without_packs = meter.included(period.start, with_packs=False)
    counted = meter.counting(period.start)
    return UsagePack.objects.create(
        service=service,
        price=use_price,
        purchase=purchase,
        period_start=period.start,
        after=max(counted - without_packs, 0),
        units=pack_price.pack_units,
        periods=pack_price.pack_periods,
        counted=counted,
        granted_at=at,
    )


def _find(purchase: Purchase, tariff: Tariff, at: datetime) -> Found | None:
    """Return the price that sells the pack, the price of the use that it is for, and of what."""
    bought_at, currency = purchase.placed_at, purchase.subscriber.currency
    rate = tariff.rate(
        purchase.offering_id, OfferingPrice.Charge.ONE_OFF, bought_at, currency, bundle_id=None
    )
    wanted = rate.price.pack_for_id if rate else None
    if rate is None or wanted is None:
        return None
    pack, line = rate.price, purchase.line
    carried = line.carried.exclude(state=Service.State.CEASED).order_by("created_at", "pk")
    services = [line, *carried.exclude(state=Service.State.RESERVED)]
    service = next((s for s in services if wanted in (s.offering_id, s.bundle_id)), None)
    price = None
    if service is not None:
        start = accrual.period_at(purchase.subscriber, at).start
        asked = asked_of(service, wanted, start, bundle_id=service.bundle_id)
        price = Tariff.of([wanted]).usage_price(
            wanted, at, currency, pack.pack_unit, since=had_since([asked])[asked]
        )
    if service is None or price is None:
        raise NothingToTopUp(
            f"{purchase.offering} is for {pack.pack_for}, which this line does not have.",
            field="offering",
        )
    return pack, price, service
