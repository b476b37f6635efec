"""What a subscriber spends on partners' products, and how much of it is allowed."""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal

from django.db.models import Exists, OuterRef, Q, Sum

from ispops.catalog.models import SettlementTerm
from ispops.errors import Refusal
from ispops.money import format_money
from ispops.parties.models import Subscriber
from ispops.periods import Period
from provisioning.models import Service
from rating import accrual, charges, held, posting
from rating.models import Charge


class SpendingLimitReached(Refusal):
    code = "spending_limit_reached"
    title = "The spending limit would be passed"


def third_party_spend(
    subscriber: Subscriber, at: datetime, coming: Decimal | None = None
) -> Decimal:
    """Return what a subscriber's partner products come to in the billing period of `at`, with tax.

    That is all charges in which a BSP has a part, less what was taken back, what was rated and is
    not charged yet, what subscriptions will still add until the period's end, and what is held.
    `coming` is the second and third of these, where they are known; see `billing.running_bill`.
    """
    period = accrual.period_at(subscriber, at)
    # What is charged is read last: what becomes a charge at this moment counts twice, never not.
    coming = _coming(subscriber, period, at) if coming is None else coming
    coming += held.held_of(subscriber, at)
    posted = Charge.objects.filter(
        subscriber=subscriber,
        period_start__gte=period.start,
        period_start__lt=period.end,
        bsp__isnull=False,
    ).aggregate(net=Sum("amount_net"), tax=Sum("amount_tax"))
    spent = (posted["net"] or Decimal(0)) + (posted["tax"] or Decimal(0))
    return coming + spent


def _coming(subscriber: Subscriber, period: Period, at: datetime) -> Decimal:
    """Return what subscriptions will still add, and what use of them is rated and not charged.

    Nothing is worked out where there is none.
    """
    shares = SettlementTerm.objects.filter(
        role=SettlementTerm.Role.BSP, offering=OuterRef("offering")
    )
    is_theirs = Q(line__isnull=False) | Q(bundle__isnull=False) | Exists(shares)
    if not Service.objects.filter(is_theirs, subscriber=subscriber).exists():
        return Decimal(0)
    due = accrual.due(subscriber=subscriber, period=period, at=at)
    return of_partners(due, posting.due(subscriber=subscriber), period)


def of_partners(due: Iterable[Charge], used: Iterable[Charge], period: Period) -> Decimal:
    """Return what partners' products come to of what is due in a period and was used in it."""
    rows = [*due, *(row for row in used if row.period_start in period)]
    return charges.total_of(row for row in rows if row.bsp_id is not None)


def require_room(account: Subscriber, wanted: Decimal, at: datetime) -> None:
    """Refuse what would pass the spending limit of an account that is held.

    Raises:
        SpendingLimitReached: see above.
    """
    limit = account.may_spend
    if limit is None:
        return
    spent = third_party_spend(account, at)
    if spent + wanted > limit:
        left = max(limit - spent, Decimal(0))
        raise SpendingLimitReached(
            f"This costs {format_money(wanted, account.currency)} with tax in this billing period, "
            f"and {format_money(left, account.currency)} of the spending limit are left. "
            "Raise the limit, or wait for the next period.",
            field="offering",
        )
