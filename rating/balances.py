"""What is left at a moment: of the spending limit, of standing consents, of what is included.

Read from what is charged, held and rated, so it is right to the last of them; nothing is kept.
TM Forum: Bucket and AccumulatedBalance (TMF654).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from ispops.catalog.models import ProductOffering
from ispops.db import Prepared, columns, made
from ispops.money import from_micros
from ispops.parties.models import Partner, Subscriber
from provisioning.models import Service
from rating import ledger, standing
from rating.models import StandingConsent
from rating.spending import prepaid_of, spent_of
from rating.standings import standings

# By hand and planned once: a partner waits for the answer before it serves somebody.
_CONSENTS = Prepared(
    "rating_consents_of",
    ("uuid", "timestamptz", "timestamptz", "bigint"),
    f"""
SELECT {standing.used_of_month_sql("$1", "consent.partner_id", "$2", "$3")}, partner.name,
       {columns(StandingConsent, "consent")}
  FROM rating_standingconsent consent
  JOIN parties_partner partner ON partner.id = consent.partner_id
 WHERE consent.subscriber_id = $1 AND consent.ended_at IS NULL
   AND ($4 IS NULL OR consent.partner_id = $4)
 ORDER BY consent.id
""",  # noqa: S608
)
_ACTIVE = Prepared("rating_active_of", ("uuid",), f"""
SELECT {columns(Service, "service")}, {columns(ProductOffering, "offering")}
  FROM provisioning_service service
  JOIN catalog_productoffering offering ON offering.id = service.offering_id
 WHERE service.subscriber_id = $1 AND service.state = 'active'
 ORDER BY service.created_at, service.id
""")  # noqa: S608  # fmt: skip


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
    rows = _CONSENTS.rows(subscriber.pk, standing.month_of(at), at, partner and partner.pk)
    for used, reserved, name, *row in rows:
        consent = made(StandingConsent, row)
        yield Bucket(
            "standing_consent",
            f"{name} unasked in this month",
            consent.public_id,
            consent.currency,
            consent.monthly_limit,
            from_micros(used),
            from_micros(reserved),
        )


def _included(
    subscriber: Subscriber, at: datetime, partner: Partner | None = None
) -> Iterator[Bucket]:
    for row in standings(_active(subscriber), at):
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


def _active(subscriber: Subscriber) -> list[Service]:
    """Return the services that are active, with their account and offerings."""
    found = []
    width = len(Service._meta.concrete_fields)
    for row in _ACTIVE.rows(subscriber.pk):
        service = made(Service, row[:width])
        service.subscriber = subscriber
        service.offering = made(ProductOffering, row[width:])
        found.append(service)
    return found
