"""The prepaid balance: what a subscriber pays ahead, for what it buys from partners.

Of an account that pays ahead, a purchase or a hold has to be covered by what was paid in, less
what is held, what is on no bill yet, and what is still to come; see `rating.spending`, where it is
decided together with the spending limit. What goes back is there again at once. The bill takes the
money: from what is paid ahead to what the subscriber owes. Our own services
are not paid from it, and what partners' subscriptions and use come to beyond it is owed as usual.
"""

from datetime import datetime
from decimal import Decimal

from django.db import transaction

from ispops import db
from ispops.errors import InvalidInput, Refusal
from ispops.money import minor_unit
from ispops.parties import accounts, audit
from ispops.parties.models import Subscriber, User
from rating import ledger, spending
from rating.ledger import Kind
from rating.models import CustomerBill, LedgerEntry, LedgerTransaction


class NotPrepaid(Refusal):
    code = "not_prepaid"
    title = "The account does not pay ahead"


@transaction.atomic
def set_prepaid(
    *, subscriber_id: object, is_prepaid: bool, actor: User, reason: str, at: datetime
) -> Subscriber:
    """Let an account pay ahead for partners' products, or no longer.

    With that, what is left of what it paid in becomes a credit, which its bills use up.

    Raises:
        what `accounts.set_prepaid` does.
    """
    account = accounts.set_prepaid(
        subscriber_id=subscriber_id, is_prepaid=is_prepaid, actor=actor, reason=reason, at=at
    )
    rest = Decimal(0) if is_prepaid else spending.prepaid_in_books(account, at).paid_in
    if rest:
        _move(
            account,
            rest,
            cause=f"prepaid_back:{account.public_id}:{at:%Y-%m-%dT%H:%M:%S.%f}",
            description="Paid ahead, and now a credit",
            at=at,
        )
    return account


@transaction.atomic
def top_up(
    *, subscriber_id: object, amount: Decimal, reference: str, actor: User, at: datetime
) -> LedgerTransaction:
    """Enter a payment that was taken elsewhere, such as at the counter, as paid ahead.

    The reference says which payment it is: the same one and amount again change nothing, and no
    payment is entered both here and for a bill.

    Raises:
        InvalidInput: the amount is not above zero or no whole coin, or there is no reference.
        NotPrepaid: the account does not pay ahead.
        AlreadyPosted: the reference was used for another payment.
    """
    reference = reference.replace("\x00", "").strip()
    if not 0 < len(reference) <= 100:
        raise InvalidInput("Give a reference of 1 to 100 characters.", field="reference")
    account = db.lock(Subscriber, subscriber_id)
    coin = minor_unit(account.currency)
    is_amount = amount.is_finite() and 0 < amount < Decimal(10) ** 9
    if not is_amount or amount != amount.quantize(coin):
        raise InvalidInput("Give an amount above zero, such as 20.00.", field="amount")
    if not account.is_prepaid:
        raise NotPrepaid("Set the account to prepaid first.")
    currency, cause = account.currency, f"payment:{reference}"
    is_known = LedgerTransaction.objects.filter(cause=cause).exists()
    posted = ledger.post(
        cause=cause,
        description=f"Paid ahead: {reference}",
        entries=[
            (ledger.account(Kind.CASH, currency), amount),
            (ledger.account(Kind.PREPAID, currency, subscriber=account), -amount),
        ],
        at=at,
    )
    if not is_known:
        audit.record(
            actor=actor,
            action="prepaid.topped_up",
            subject=account.public_id,
            subscriber=account,
            at=at,
            amount=str(amount),
            currency=currency,
            reference=reference,
        )
    return posted


def pay_bill(*, bill: CustomerBill, wanted: Decimal, at: datetime) -> None:
    """Pay what partners' products come to on a bill from what is paid ahead, as far as it covers.

    Below zero, it is what goes back. The account is held, and the bill's charges are on it already.
    """
    paid = wanted
    if wanted > 0:
        # What is still held and charged stays covered.
        coin = minor_unit(bill.currency)
        left = spending.prepaid_in_books(bill.subscriber, at).left
        paid = max(min(wanted, left // coin * coin), Decimal(0))
    if paid:
        _move(
            bill.subscriber,
            paid,
            cause=f"prepaid:{bill.public_id}",
            description=f"{bill} from what was paid ahead",
            at=at,
        )


def paid_on(bill: CustomerBill) -> Decimal:
    """Return how much of a bill was paid from what was paid ahead; below zero, what went back."""
    rows = LedgerEntry.objects.filter(account__kind=Kind.PREPAID)
    entry = rows.filter(transaction__cause=f"prepaid:{bill.public_id}").first()
    return entry.amount if entry else Decimal(0)


def _move(
    account: Subscriber, amount: Decimal, *, cause: str, description: str, at: datetime
) -> None:
    """Move an amount from what is paid ahead to what the subscriber owes; below zero, back."""
    owed = ledger.account(Kind.RECEIVABLE, account.currency, subscriber=account)
    ahead = ledger.account(Kind.PREPAID, account.currency, subscriber=account)
    ledger.post(
        cause=cause, description=description, entries=[(ahead, amount), (owed, -amount)], at=at
    )
