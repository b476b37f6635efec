"""What is left at a moment: of the spending limit, of standing consents, of what is included.

Read from what is charged, held and rated, so it is right to the last of them; nothing is kept.
TM Forum: Bucket and AccumulatedBalance (TMF654).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from ispops.parties.models import Partner, Subscriber
from provisioning.models import Service
from rating import ledger, standing
from rating.models import StandingConsent
from rating.spending import prepaid_of, spent_of
from rating.standings import standings


@dataclass(frozen=True, slots=True)
class Bucket:
    """Something that is used up: money in a currency, or units of a product.

    `remaining` is what may still be used: `allowed` less `used` and `reserved`, never below zero;
    it and `allowed` are None where there is no limit.
    """

    kind: str
    name: str
    subject: str
    unit: str
    allowed: Decimal | None
    used: Decimal
    reserved: Decimal

    @property
    def remaining(self) -> Decimal | None:
        if self.allowed is None:
            return None
        return max(self.allowed - self.used - self.reserved, Decimal(0))

    @property
    def percent(self) -> int:
        """How much of what is allowed is used or reserved; 100 at most, 0 where nothing limits."""
        if not self.allowed:
            return 0
        return min(int((self.used + self.reserved) * 100 / self.allowed), 100)


@dataclass(frozen=True, slots=True)
class Balance:
    """What a subscriber owes by the ledger, and the buckets, at a moment."""

    at: datetime
    currency: str
    owed: Decimal
    buckets: list[Bucket]


def balance_of(subscriber: Subscriber, at: datetime) -> Balance:
    """Return what is left for a subscriber."""
    buckets = [spending(subscriber, at), *prepaid(subscriber, at)]
    buckets += _consents(subscriber, at)
    buckets += _included(subscriber, at)
    return Balance(at, subscriber.currency, ledger.balance(subscriber), buckets)


def balance_for(partner: Partner, subscriber: Subscriber, at: datetime) -> list[Bucket]:
    """Return what a partner may know of a subscriber: its own consent and its own products."""
    return [*_consents(subscriber, at, partner), *_included(subscriber, at, partner)]


def spending(subscriber: Subscriber, at: datetime, coming: Decimal | None = None) -> Bucket:
    """Return what partners' products come to in the billing period, of the spending limit."""
    spent = spent_of(subscriber, at, coming)
    limit = subscriber.may_spend
    name = "Partners' products in this billing period"
    currency = subscriber.currency
    return Bucket(
        "spending_limit", name, subscriber.public_id, currency, limit, spent.used, spent.reserved
    )


def prepaid(
    subscriber: Subscriber, at: datetime, coming: Decimal | None = None
) -> Iterator[Bucket]:
    """Give what is paid ahead, and how much of it is taken up, of an account that pays ahead."""
    if subscriber.is_prepaid:
        now = prepaid_of(subscriber, at, coming)
        used = now.charged + now.coming
        yield Bucket(
            "prepaid", "Prepaid balance", subscriber.public_id, subscriber.currency,
            now.paid_in, used, now.reserved,
        )  # fmt: skip


def _consents(
    subscriber: Subscriber, at: datetime, partner: Partner | None = None
) -> Iterator[Bucket]:
    rows = StandingConsent.objects.filter(subscriber=subscriber, ended_at__isnull=True)
    rows = rows.filter(partner=partner) if partner else rows
    for consent in rows.select_related("partner").order_by("pk"):
        used, reserved = standing.used_of_month(consent, at)
        yield Bucket(
            "standing_consent",
            f"{consent.partner} unasked in this month",
            consent.public_id,
            consent.currency,
            consent.monthly_limit,
            used,
            reserved,
        )


def _included(
    subscriber: Subscriber, at: datetime, partner: Partner | None = None
) -> Iterator[Bucket]:
    rows = Service.objects.filter(subscriber=subscriber, state=Service.State.ACTIVE)
    rows = rows.select_related("subscriber", "offering__provider").order_by("created_at", "pk")
    for row in standings(rows, at):
        service = row.service
        is_own = partner is None or service.offering.provider_id == partner.pk
        if is_own and not (partner is not None and row.is_shared):
            yield Bucket(
                "allowance",
                service.offering.name,
                service.public_id,
                row.unit,
                Decimal(row.included),
                Decimal(row.used),
                Decimal(0),
            )
