"""What partners get: statements that are the sums of their shares."""

from datetime import datetime, timedelta
from decimal import Decimal

from django.conf import settings
from django.db import transaction
from django.db.models import Count, Sum

from ispops import db, events
from ispops.errors import Refusal
from ispops.parties.models import Partner
from ispops.periods import Period
from rating import posting, queries
from rating.models import SettlementStatement

# What was begun within a period is committed by then, so that a statement misses nothing.
SETTLED_AFTER = timedelta(hours=1)


class PeriodNotOver(Refusal):
    code = "settlement_period_not_over"
    title = "The period cannot be settled yet"


@transaction.atomic
def settle_period(*, partner: Partner, period: Period, at: datetime) -> list[SettlementStatement]:
    """State what a partner gets of all charges that were made in a period: in our currency, and in
    each other one in which it has a share, a statement of its own; ours comes first.

    Reversals count in the period in which they were made. A statement that was issued already is
    returned and nothing changes. Publishes `statement.issued`.

    Raises:
        PeriodNotOver: the period ended less than `SETTLED_AFTER` ago.
    """
    db.lock(Partner, partner.pk)
    rows = SettlementStatement.objects.filter(partner=partner, period_start=period.start)
    issued = {row.currency: row for row in rows}
    if not issued and at < period.end + SETTLED_AFTER:
        raise PeriodNotOver(
            f"Settle this period after {period.end + SETTLED_AFTER:%Y-%m-%d %H:%M}."
        )
    posting.post_rated_usage(until=period.end)
    shares = queries.shares_of(partner).filter(
        charged_at__gte=period.start, charged_at__lt=period.end
    )
    by_currency = shares.order_by().values("currency")
    sums = {
        row["currency"]: (row["count"], row["amount"])
        for row in by_currency.annotate(count=Count("pk"), amount=Sum("share"))
    }
    sums.setdefault(settings.CURRENCY, (0, Decimal(0)))
    in_order = sorted(sums, key=lambda currency: (currency != settings.CURRENCY, currency))
    return [
        issued.get(currency) or _issue(partner, period, currency, *sums[currency], at)
        for currency in in_order
    ]


def _issue(
    partner: Partner, period: Period, currency: str, count: int, amount: Decimal, at: datetime
) -> SettlementStatement:
    statement = SettlementStatement.objects.create(
        partner=partner,
        period_start=period.start,
        period_end=period.end,
        currency=currency,
        charge_count=count,
        amount=amount,
        issued_at=at,
    )
    events.publish(
        "statement.issued",
        subject=statement.public_id,
        at=at,
        partner=partner.code,
        amount=str(statement.amount),
        currency=currency,
    )
    return statement
