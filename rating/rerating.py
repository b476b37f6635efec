"""Re-rating: what was charged for past use becomes what it should have been, by new charges.

Nothing that was charged is edited. The difference between what was charged so far and what the use
comes to at the right price is a charge of kind adjustment, with the differences of all shares and
of the tax. What was charged so far includes earlier re-ratings, so doing it again charges nothing.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db.models import Q

from ispops.catalog.models import OfferingPrice
from ispops.catalog.queries import quantity_words
from ispops.money import format_money, from_micros
from ispops.parties.models import Subscriber
from ispops.periods import billing_period
from rating import lanes, past_use, telling
from rating.differences import Parts
from rating.models import Charge, RatedUsage, Simulation
from rating.simulated import Trial, months
from rating.tried_use import Difference, Result

# What was rated by a transaction that was committed late is seen by the next look.
OVERLAP = timedelta(hours=1)


def post_differences(
    *, rerating: Simulation, trial: Trial, subscribers: Sequence[UUID], at: datetime
) -> list[Result]:
    """Charge what some accounts have to pay on top or get back, and tell each of them the sum;
    returns what they come to.

    In the transaction of the caller, which holds their lanes from here on: use that is being rated
    just now is before this or after it.
    """
    lanes.hold_lanes(subscribers)
    accounts = Subscriber.objects.in_bulk(subscribers)
    results, found = trial.settle(subscribers)
    charged: defaultdict[UUID, list[Charge]] = defaultdict(list)
    for one in found:
        key = UUID(one.subscriber_id)
        charged[key].append(_charge(rerating, trial, accounts[key], one, at))
    Charge.objects.bulk_create(row for rows in charged.values() for row in rows)
    for key, rows in charged.items():
        telling.price_put_right(rerating=rerating, subscriber=accounts[key], charged=rows, at=at)
    return results


def _charge(
    rerating: Simulation, trial: Trial, account: Subscriber, one: Difference, at: datetime
) -> Charge:
    start = one.shared.period_start
    scope = trial.scope
    period = billing_period(
        start, anchor_day=account.billing_anchor_day, zone=settings.BILLING_TIME_ZONE
    )
    more = one.more
    service = UUID(one.service_id)
    is_part = one.shared.offering_id != scope.offering.pk
    return Charge(
        subscriber=account,
        service_id=service,
        offering_id=one.shared.offering_id,
        bundle=scope.offering if is_part else None,
        price=_price_then(trial, period.start, period.end),
        kind=Charge.Kind.ADJUSTMENT,
        cause=f"rerating:{rerating.public_id}:{service.hex}:{start:%Y%m%d}:"
        f"{one.shared.offering_id}:{one.shared.bsp_id or ''}:"
        f"{one.shared.network_provider_id or ''}",
        period_start=start,
        period_end=period.end,
        quantity=0,
        unit=scope.unit,
        currency=account.currency,
        amount_net=from_micros(more.net),
        isp_share=from_micros(more.isp),
        bsp_share=from_micros(more.bsp),
        network_provider_share=from_micros(more.network_provider),
        amount_tax=from_micros(more.tax),
        bsp_id=one.shared.bsp_id,
        network_provider_id=one.shared.network_provider_id,
        explanation=_explanation(rerating, one, more, account.currency),
        charged_at=at,
    )


def _price_then(trial: Trial, start: datetime, end: datetime) -> OfferingPrice | None:
    """Return the price by use that was in force in a period, the last one of it."""
    scope = trial.scope
    rows = OfferingPrice.objects.filter(
        Q(valid_to__isnull=True) | Q(valid_to__gt=start),
        offering=scope.offering,
        charge=OfferingPrice.Charge.USAGE,
        unit=scope.unit,
        currency=scope.currency,
        valid_from__lt=end,
    )
    return rows.order_by("-valid_from").first()


def _explanation(
    rerating: Simulation, one: Difference, more: Parts, currency: str
) -> dict[str, str]:
    def words(micros: int) -> str:
        return format_money(from_micros(micros), currency)

    # The subscriber reads this, so the draft's name, which is for the staff, is not in it.
    used = quantity_words(one.quantity, rerating.facts["unit"])
    text = (
        f"{used} of the period: {words(one.would.net)} at the price that is right, "
        f"and {words(one.paid.net)} was charged"
    )
    back = one.would.net - one.paid.net - more.net
    text += f", of which {words(-back)} went back before" if back else ""
    text += f": {words(more.net)}"
    return {"rule": "rerating", "arithmetic": text}


def hindrance_of(simulation: Simulation) -> str:
    """Say in words why the differences cannot be posted; nothing where they can.

    Units that are carried over make each month hang on the one before, for as long as a price is in
    force; with it they end. So all months of the prices that are concerned are put right, or none.
    """
    facts, draft = simulation.facts, simulation.draft
    begin, end = (_start(simulation.first_month_date), _after(simulation.last_month_date))
    concerned = [
        price
        for price in past_use.versions(draft.offering, facts["unit"], facts["currency"])
        if price.valid_from < end and (price.valid_to is None or price.valid_to > begin)
    ]
    carries = bool(facts.get("rollover_periods")) or any(p.rollover_periods for p in concerned)
    if not carries:
        return ""
    if any(price.valid_to is None or price.valid_to > end for price in concerned):
        return (
            "Units of this price are carried over, so a month that is put right changes those "
            "after it. Publish the right price from the beginning of a month on, and try the draft "
            "on all months before that."
        )
    if any(price.valid_from < begin for price in concerned):
        return (
            "Units of this price are carried over, so all its months are put right together. Try "
            f"the draft on the months from {_local(concerned[0].valid_from):%B %Y} on."
        )
    return ""


def _local(moment: datetime) -> datetime:
    return moment.astimezone(ZoneInfo(settings.BILLING_TIME_ZONE))


def _start(month: date) -> datetime:
    return datetime(month.year, month.month, 1, tzinfo=ZoneInfo(settings.BILLING_TIME_ZONE))


def _after(month: date) -> datetime:
    return _start((month.replace(day=1) + timedelta(days=32)).replace(day=1))


def late_accounts(last: Simulation, asked_for: Sequence[str]) -> list[str]:
    """Return the accounts with use in the periods of a re-rating that was rated after it.

    `asked_for` are the accounts that are meant, none for all.
    """
    begin, until = months(last.first_month_date, last.last_month_date)
    rows = RatedUsage.objects.filter(
        price__offering=last.draft.offering_id,
        price__unit=last.facts["unit"],
        price__currency=last.facts["currency"],
        rated_at__gte=(last.followed_until or last.created_at) - OVERLAP,
        period_start__gte=begin,
        period_start__lt=until,
    )
    keys = {str(key) for key in rows.values_list("subscriber", flat=True).distinct()}
    return sorted(keys & set(asked_for) if asked_for else keys)


def in_force(reratings: Iterable[Simulation]) -> list[Simulation]:
    """Return the last posting of each simulation that no later one contradicts in any month."""
    kept: dict[UUID | None, Simulation] = {}
    for one in sorted(reratings, key=lambda row: row.created_at, reverse=True):
        if one.posts_id not in kept and not any(_meet(one, other) for other in kept.values()):
            kept[one.posts_id] = one
    return list(kept.values())


def _meet(one: Simulation, other: Simulation) -> bool:
    return (
        one.draft.offering_id == other.draft.offering_id
        and all(one.facts[name] == other.facts[name] for name in ("unit", "currency"))
        and one.first_month_date <= other.last_month_date
        and other.first_month_date <= one.last_month_date
    )
