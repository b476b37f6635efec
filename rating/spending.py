"""What a subscriber spends on partners' products, and how much of it is allowed."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from django.db import connection

from ispops.db import Prepared
from ispops.errors import Refusal
from ispops.money import format_coins, from_micros
from ispops.parties.models import Subscriber
from ispops.periods import Period
from rating import accrual, charges, posting
from rating.models import Charge


class SpendingLimitReached(Refusal):
    code = "spending_limit_reached"
    title = "The spending limit would be passed"
    # To a partner, who may not know what is spent elsewhere.
    to_partners = "The subscriber's spending limit does not allow it."


class PrepaidBalanceTooLow(SpendingLimitReached):
    """What is paid in limits what may be spent, as a spending limit does."""

    code = "prepaid_balance_too_low"
    title = "The prepaid balance does not cover it"
    to_partners = "The subscriber's prepaid balance does not cover it."


def counted_sql(subscriber: str, start: str, end: str, at: str) -> str:
    """Return the SQL of what is counted as of one moment, for a larger statement too; values are
    SQL as well. The three columns are the fields of `Counted`."""
    return f"""
    rating_spent({subscriber}, {start}, {end}),
    (SELECT COALESCE(sum(amount - used_amount), 0) FROM rating_reservation
      WHERE subscriber_id = {subscriber} AND released_at IS NULL AND held_until > {at})::bigint,
    EXISTS (SELECT FROM provisioning_service service
             WHERE service.subscriber_id = {subscriber}
               AND (service.line_id IS NOT NULL OR service.bundle_id IS NOT NULL
                    OR EXISTS (SELECT FROM catalog_settlementterm term
                                WHERE term.role = 'bsp'
                                  AND term.offering_id = service.offering_id)))
    """  # noqa: S608


_COUNTED = Prepared(
    "rating_counted",
    ("uuid", "timestamptz", "timestamptz", "timestamptz"),
    f"SELECT {counted_sql('$1', '$2', '$3', '$4')}",
)


class Counted(NamedTuple):
    """What is charged and held of a billing period, in micro-units, and whether anything may come
    that is not charged yet."""

    charged: int
    reserved: int
    may_come: bool


@dataclass(frozen=True, slots=True)
class Spent:
    """What partners' products come to in a billing period, with tax: what is charged or will be,
    and what is held."""

    used: Decimal
    reserved: Decimal

    @property
    def total(self) -> Decimal:
        return self.used + self.reserved


@dataclass(frozen=True, slots=True)
class Prepaid:
    """What is paid ahead by the ledger, and what it has to cover: partners' products that are on no
    bill yet, those that will be charged until the period's end, and what is held; with tax."""

    paid_in: Decimal
    charged: Decimal
    reserved: Decimal
    coming: Decimal = Decimal(0)

    @property
    def left(self) -> Decimal:
        return self.paid_in - self.charged - self.reserved - self.coming


def third_party_spend(
    subscriber: Subscriber, at: datetime, *, counted: Counted | None = None
) -> Decimal:
    """Return what a subscriber's partner products come to in the billing period of `at`, with tax.

    That is all charges in which a BSP has a part, less what of them was taken back whenever, what
    was rated and is not charged yet, what subscriptions will still add until the period's end, and
    what is held. For `counted` see `spent_of`.
    """
    return spent_of(subscriber, at, counted=counted).total


def spent_of(
    subscriber: Subscriber,
    at: datetime,
    coming: Decimal | None = None,
    *,
    counted: Counted | None = None,
) -> Spent:
    """Return `third_party_spend` in its parts.

    `coming` is what is not charged yet, where it is known; see `billing.running_bill`. `counted` is
    what was just read of an account that is held.
    """
    period = accrual.period_at(subscriber, at)
    found = counted or _counted(subscriber, period, at)
    if coming is None and found.may_come:
        # What is charged is read last: what becomes a charge now counts twice, never not.
        coming = _coming(subscriber, period, at)
        found = _counted(subscriber, period, at)
    return Spent(from_micros(found.charged) + (coming or 0), from_micros(found.reserved))


def _counted(subscriber: Subscriber, period: Period, at: datetime) -> Counted:
    [row] = _COUNTED.rows(subscriber.pk, period.start, period.end, at)
    return Counted(*row)


def _coming(subscriber: Subscriber, period: Period, at: datetime) -> Decimal:
    """Return what subscriptions will still add, and what use of them is rated and not charged."""
    due = accrual.due(subscriber=subscriber, period=period, at=at)
    return of_partners(due, posting.due(subscriber=subscriber), period)


def of_partners(due: Iterable[Charge], used: Iterable[Charge], period: Period) -> Decimal:
    """Return what partners' products come to of what is due in a period and was used in it."""
    rows = [*due, *(row for row in used if row.period_start in period)]
    return charges.total_of(row for row in rows if row.bsp_id is not None)


def prepaid_in_books(subscriber: Subscriber, at: datetime) -> Prepaid:
    """Return what is paid ahead and taken up, as of one moment, by what is charged and held."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM rating_prepaid(%s, %s)", [subscriber.pk, at])
        paid_in, charged, reserved = cursor.fetchone()
    return Prepaid(from_micros(paid_in), from_micros(charged), from_micros(reserved))


def prepaid_of(
    subscriber: Subscriber,
    at: datetime,
    coming: Decimal | None = None,
    *,
    counted: Counted | None = None,
) -> Prepaid:
    """Return what is paid ahead, and all that it has to cover.

    `coming` is what is not charged yet of this period, where it is known. A period that is over and
    not billed yet has something coming, too. For `counted` see `spent_of`.
    """
    period = accrual.period_at(subscriber, at)
    if coming is None:
        if not (counted or _counted(subscriber, period, at)).may_come:
            return prepaid_in_books(subscriber, at)
        coming = _coming(subscriber, period, at)
    before = accrual.period_at(subscriber, period.start - timedelta(microseconds=1))
    coming += _coming(subscriber, before, at)
    # Read last: what becomes a charge now counts twice, never not.
    return replace(prepaid_in_books(subscriber, at), coming=coming)


def require_room(
    account: Subscriber, wanted: Decimal, at: datetime, *, counted: Counted | None = None
) -> None:
    """Refuse what would pass the spending limit of an account that is held, or what it paid ahead.

    `counted` is what was just read of it.

    Raises:
        SpendingLimitReached: see above.
        PrepaidBalanceTooLow: see above.
    """
    if account.is_prepaid:
        _require_cover(account, wanted, at, counted)
    limit = account.may_spend
    if limit is None:
        return
    spent = third_party_spend(account, at, counted=counted)
    if spent + wanted > limit:
        left = max(limit - spent, Decimal(0))
        raise SpendingLimitReached(
            f"This costs {format_coins(wanted, account.currency)} with tax in this billing period, "
            f"and {format_coins(left, account.currency)} of the spending limit are left. "
            "Raise the limit, or wait for the next period.",
            field="offering",
        )


def _require_cover(
    account: Subscriber, wanted: Decimal, at: datetime, counted: Counted | None
) -> None:
    left = prepaid_of(account, at, counted=counted).left
    if wanted > left:
        raise PrepaidBalanceTooLow(
            f"This costs {format_coins(wanted, account.currency)} with tax, and "
            f"{format_coins(max(left, Decimal(0)), account.currency)} of the prepaid balance are "
            "left. Pay in more first.",
            field="offering",
        )
