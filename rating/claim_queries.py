"""What may be asked about disputes, requests and consents; who may see what is decided here."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from django.db.models import OuterRef, Prefetch, QuerySet, Subquery

from ispops.parties.models import Partner, Subscriber, User
from rating import standing
from rating.models import (
    Charge,
    Dispute,
    Purchase,
    PurchaseRequest,
    Reservation,
    StandingConsent,
)
from rating.queries import reference_of

# The parts of purchases that are bundles, as pages and answers show them.
PARTS = Prefetch(
    "parts",
    Purchase.objects.select_related(
        "offering__provider", "service", "service_order", "subscriber"
    ).order_by("pk"),
)


def with_dispute(charges: QuerySet[Charge]) -> QuerySet[Charge]:
    """Add to charges how the newest dispute of each by its subscriber stands: `dispute_state`."""
    own = Dispute.objects.filter(charge=OuterRef("pk"), partner__isnull=True)
    newest = own.order_by("-opened_at", "-pk").values("state")[:1]
    return charges.annotate(dispute_state=Subquery(newest))


def disputed(charges: Iterable[Charge]) -> dict[UUID, Dispute]:
    """Return the newest dispute by its subscriber of each of some charges that has one."""
    own = Dispute.objects.filter(charge__in=list(charges), partner__isnull=True)
    return {row.charge_id: row for row in own.order_by("opened_at", "pk")}


def requests_to(subscriber: Subscriber) -> QuerySet[PurchaseRequest]:
    """Return what partners asked a subscriber to buy, newest first."""
    asked = PurchaseRequest.objects.filter(subscriber=subscriber)
    return asked.select_related(
        "partner", "line__offering", "line__premises", "offering__provider", "consent__purchase"
    ).order_by("-requested_at", "-pk")


def open_requests(subscriber: Subscriber, at: datetime) -> QuerySet[PurchaseRequest]:
    """Return what partners asked for and the subscriber can still answer."""
    return requests_to(subscriber).filter(state=PurchaseRequest.State.WAITING, expires_at__gt=at)


@dataclass(frozen=True, slots=True)
class Seller:
    """A partner that sells to a subscriber, and what it may sell unasked.

    `used` and `reserved` are what it charged and what it holds by the consent this month.
    """

    partner: Partner
    consent: StandingConsent | None
    used: Decimal
    reserved: Decimal

    @property
    def left(self) -> Decimal:
        """How much more it may charge this month."""
        limit = self.consent.monthly_limit if self.consent else Decimal(0)
        return max(limit - self.used - self.reserved, Decimal(0))


def standing_consents_of(subscriber: Subscriber, at: datetime) -> list[Seller]:
    """Return the partners that sell, with what each may sell unasked in the month of `at`."""
    given = {
        row.partner_id: row
        for row in StandingConsent.objects.filter(subscriber=subscriber, ended_at__isnull=True)
    }
    sellers = Partner.objects.filter(kind=Partner.Kind.BSP, active=True, offerings__isnull=False)
    found = []
    for partner in sellers.distinct().order_by("name"):
        consent = given.get(partner.pk)
        spent = standing.used_of_month(consent, at) if consent else (Decimal(0), Decimal(0))
        found.append(Seller(partner, consent, *spent))
    return found


# --- What a login may see, of all its accounts --------------------------------------------------


def purchases_of_user(user: User) -> QuerySet[Purchase]:
    """Return what the accounts of a login bought, newest first."""
    bought = Purchase.objects.filter(subscriber__users=user, part_of__isnull=True)
    with_names = bought.select_related("subscriber", "line", "offering__provider")
    return with_names.prefetch_related(PARTS).order_by("-placed_at", "-pk")


def charges_of_user(user: User) -> QuerySet[Charge]:
    """Return what the accounts of a login were charged, newest first."""
    charged = Charge.objects.filter(subscriber__users=user)
    return charged.select_related(
        "subscriber", "offering", "price", "bsp", "network_provider", "bill_line__bill"
    ).order_by("-charged_at", "-pk")


def requests_to_user(user: User) -> QuerySet[PurchaseRequest]:
    """Return what partners asked the accounts of a login to buy, newest first."""
    asked = PurchaseRequest.objects.filter(subscriber__users=user)
    return asked.select_related(
        "partner", "subscriber", "line", "offering__provider", "consent__purchase"
    ).order_by("-requested_at", "-pk")


def standing_of_user(user: User) -> QuerySet[StandingConsent]:
    """Return the standing consents of the accounts of a login, also those that ended."""
    given = StandingConsent.objects.filter(subscriber__users=user)
    return given.select_related("partner", "subscriber").order_by("-given_at", "-pk")


def disputes_of_user(user: User) -> QuerySet[Dispute]:
    """Return what the accounts of a login disputed, newest first."""
    own = Dispute.objects.filter(subscriber__users=user, partner__isnull=True)
    return own.select_related("charge", "correction").order_by("-opened_at", "-pk")


# --- What a partner may see ---------------------------------------------------------------------


def partner_requests(partner: Partner) -> QuerySet[PurchaseRequest]:
    """Return what a partner asked for, newest first, by its own references."""
    asked = PurchaseRequest.objects.filter(partner=partner)
    return (
        asked.annotate(subscriber_ref=reference_of(partner))
        .select_related("offering", "consent__purchase")
        .order_by("-requested_at", "-pk")
    )


def partner_disputes(partner: Partner) -> QuerySet[Dispute]:
    """Return what a partner disputed of its own shares, newest first."""
    own = Dispute.objects.filter(partner=partner)
    return own.select_related("charge", "correction").order_by("-opened_at", "-pk")


def partner_reservations(partner: Partner) -> QuerySet[Reservation]:
    """Return what is or was held for a partner, newest first, by its own references."""
    own = Reservation.objects.filter(partner=partner)
    return (
        own.annotate(subscriber_ref=reference_of(partner))
        .select_related("offering")
        .order_by("-held_at", "-pk")
    )
