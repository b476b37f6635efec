"""What a subscriber lets itself spend on partners' products, below what the ISP allows."""

from datetime import datetime
from decimal import Decimal

from django.db import transaction

from ispops import db
from ispops.errors import InvalidInput
from ispops.money import format_money, minor_unit
from ispops.parties import audit
from ispops.parties.models import Subscriber, User


@transaction.atomic
def set_own_limit(
    *, subscriber: Subscriber, amount: Decimal | None, user: User, at: datetime
) -> Subscriber:
    """Set what partners' products may come to in a billing period, with tax; None is no own limit.

    It counts at once, for what is bought from then on: a lower one, and a higher one up to the
    ISP's. The ISP's own limit stays, and the lower of the two counts. What is spent already stays.
    The same amount again changes nothing.

    Raises:
        InvalidInput: it is below zero, no whole coin, or above the ISP's limit.
    """
    account = db.lock(Subscriber, subscriber.pk)
    if amount is not None:
        _require(account, amount)
    if account.own_limit == amount:
        return account
    before, account.own_limit = account.own_limit, amount
    account.save(update_fields=["own_limit"])
    audit.record(
        actor=user,
        action="subscriber.own_limit_set",
        subject=account.public_id,
        subscriber=account,
        at=at,
        before=None if before is None else str(before),
        after=None if amount is None else str(amount),
        currency=account.currency,
    )
    return account


def _require(account: Subscriber, amount: Decimal) -> None:
    is_amount = amount.is_finite() and 0 <= amount < Decimal(10) ** 9
    if not is_amount or amount != amount.quantize(minor_unit(account.currency)):
        raise InvalidInput("Give an amount, such as 20.00, or 0 to buy nothing.", field="amount")
    most = account.spending_limit
    if most is not None and amount > most:
        raise InvalidInput(
            f"The most that we allow on your account is {format_money(most, account.currency)}.",
            field="amount",
        )
