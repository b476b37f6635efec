"""The double-entry ledger: balanced transactions, never changed. Debits are positive.

A bill debits the subscriber's receivable with what is due, and credits revenue with the ISP's
shares, each partner's payable with its shares, tax, and the rounding of the bill's lines. A payment
debits cash and credits the receivable. So the balance of a receivable is what the subscriber owes.
What a subscriber pays ahead is a credit of its own that pays bills; see `rating.prepaid`.
"""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal

from django.db import transaction

from ispops.db import Prepared
from ispops.errors import Refusal
from ispops.money import from_micros
from ispops.parties.models import Partner, Subscriber
from rating.models import LedgerAccount, LedgerEntry, LedgerTransaction

Kind = LedgerAccount.Kind
_OWED = Prepared("rating_owed", ("uuid",), """
SELECT COALESCE(sum(entry.amount), 0)::bigint
  FROM rating_ledgeraccount account JOIN rating_ledgerentry entry ON entry.account_id = account.id
 WHERE account.subscriber_id = $1 AND account.kind = 'receivable'
""")  # fmt: skip


class Unbalanced(Refusal):
    code = "ledger_unbalanced"
    title = "The entries do not sum to zero"


class AlreadyPosted(Refusal):
    code = "ledger_already_posted"
    title = "The cause was posted with other entries"


def account(
    kind: str,
    currency: str,
    *,
    subscriber: Subscriber | None = None,
    partner: Partner | None = None,
) -> LedgerAccount:
    """Return the account of a kind, currency and owner; it is made when it is first needed."""
    found, _ = LedgerAccount.objects.get_or_create(
        kind=kind, currency=currency, subscriber=subscriber, partner=partner
    )
    return found


@transaction.atomic
def post(
    *,
    cause: str,
    description: str,
    entries: Iterable[tuple[LedgerAccount, Decimal]],
    at: datetime,
) -> LedgerTransaction:
    """Post entries that sum to zero. Entries of one account are added up, and zeros left out.

    The same cause and entries again return the first transaction and change nothing.

    Raises:
        Unbalanced: the entries do not sum to zero, are all zero, or are of several currencies.
        AlreadyPosted: the cause was posted before, with other entries.
    """
    amounts: defaultdict[LedgerAccount, Decimal] = defaultdict(Decimal)
    for to, amount in entries:
        amounts[to] += amount
    wanted = {to.pk: amount for to, amount in amounts.items() if amount}
    if not wanted or sum(wanted.values(), Decimal(0)) or len({to.currency for to in amounts}) > 1:
        raise Unbalanced(f"{cause}: the entries must be of one currency and sum to zero.")
    posted, is_new = LedgerTransaction.objects.get_or_create(
        cause=cause, defaults={"description": description, "posted_at": at}
    )
    if is_new:
        LedgerEntry.objects.bulk_create(
            LedgerEntry(transaction=posted, account_id=key, amount=amount)
            for key, amount in sorted(wanted.items())
        )
    elif dict(posted.entries.values_list("account", "amount")) != wanted:
        raise AlreadyPosted(f"{cause} was posted before with other entries.")
    return posted


def balance(subscriber: Subscriber) -> Decimal:
    """Return what a subscriber owes by the ledger; below zero it is in credit."""
    [(owed,)] = _OWED.rows(subscriber.pk)
    return from_micros(owed)
