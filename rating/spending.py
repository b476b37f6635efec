"""What a subscriber spends on partners' products, and how much of it is allowed."""

from datetime import datetime
from decimal import Decimal

from django.db.models import Exists, OuterRef, Q, Sum

from ispops.catalog.models import SettlementTerm
from ispops.errors import Refusal
from ispops.money import format_money
from ispops.parties.models import Subscriber
from ispops.periods import Period
from provisioning.models import Service
from rating import accrual, held, posting
from rating.models import Charge


class SpendingLimitReached(Refusal):
    code = "spending_limit_reached"
    title = "The spending limit would be passed"


def third_party_spend(subscriber: Subscriber, at: datetime) -> Decimal:
    """Return what a subscriber's partner products come to in the billing period of `at`, with tax.

    That is all charges in which a BSP has a part, less what was taken back, what was rated and is
    not charged yet, what subscriptions will still add until the period's end, and what is held.
    """
    period = accrual.period_at(subscriber, at)
    # What is charged is read last: what becomes a charge at this moment counts twice, never not.
    coming = held.held_of(subscriber, at) + _coming(subscriber, period, at)
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
    of_partners = Q(line__isnull=False) | Q(bundle__isnull=False) | Exists(shares)
    if not Service.objects.filter(of_partners, subscriber=subscriber).exists():
        return Decimal(0)
    due = accrual.due(subscriber=subscriber, period=period, at=at)
    due += (row for row in posting.due(subscriber=subscriber) if row.period_start in period)
    return sum((c.amount_net + c.amount_tax for c in due if c.bsp_id is not None), Decimal(0))


def require_room(account: Subscriber, wanted: Decimal, at: datetime) -> None:
    """Refuse what would pass the spending limit of an account that is held.

    Raises:
        SpendingLimitReached: see above.
    """
    if account.spending_limit is None:
        return
    spent = third_party_spend(account, at)
    if spent + wanted > account.spending_limit:
        left = max(account.spending_limit - spent, Decimal(0))
        raise SpendingLimitReached(
            f"This costs {format_money(wanted, account.currency)} with tax in this billing period, "
            f"and {format_money(left, account.currency)} of the spending limit are left. "
            "Raise the limit, or wait for the next period.",
            field="offering",
        )
