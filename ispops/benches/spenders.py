"""Accounts that let a partner charge them unasked, for the benches of reservations."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

from django.utils import timezone

from ispops import bulk
from ispops.benches import use
from ispops.catalog import publishing
from ispops.catalog.models import ProductOffering
from ispops.db import uuid7
from ispops.parties import accounts, partners
from ispops.parties.models import Partner, Subscriber, User

OPENED = datetime(2025, 1, 1, tzinfo=UTC)
# A limit that is never reached, in micro-units.
MOST = 10**12
SELLER = "films"
YEARS = 4


@dataclass(frozen=True, slots=True)
class Spender:
    """An account, and by what its partner knows it."""

    account: Subscriber
    reference: str


def make(count: int) -> tuple[list[Spender], list[Spender]]:
    """Make so many accounts with a service that is used, and as many where a line carries it."""
    films = partners.create_partner(code=SELLER, name="Films", kind=Partner.Kind.BSP, at=OPENED)
    publishing.set_tax_rate(category="telecom", percent=Decimal("8.875"), at=OPENED)
    film, minutes = (_product(films, code) for code in ("film", "minutes"))
    publishing.set_price(offering=film, charge="one_off", amount=Decimal("4.99"), at=OPENED)
    publishing.set_price(
        offering=minutes, charge="usage", amount=Decimal("0.02"), unit="minute", allowance=100,
        at=OPENED,
    )  # fmt: skip
    publishing.set_price(offering=minutes, charge="recurring", amount=Decimal("7"), at=OPENED)
    harbor = partners.create_partner(
        code="harbor", name="Harbor", kind=Partner.Kind.NETWORK_PROVIDER, at=OPENED
    )
    line = publishing.create_offering(
        code="fiber", name="Fiber", kind="access", provider=harbor, technology=50,
        download_kbps=500_000, upload_kbps=500_000, at=OPENED,
    )  # fmt: skip
    publishing.set_price(offering=line, charge="recurring", amount=Decimal("50"), at=OPENED)
    owner = accounts.create_login(
        email="owner@example.com", password=uuid7().hex, name="Owner", at=OPENED
    )
    there = use.place()
    plain, subscribed = ([uuid7() for _ in range(count)] for _ in range(2))
    made = [*plain, *subscribed]
    bulk.copy_rows(
        "parties_subscriber",
        ("id", "name", "kind", "email", "phone", "standing", "currency", "billing_anchor_day",
         "terms_version", "terms_accepted_at", "created_at", "spending_limit", "is_prepaid"),
        ((key, "Somebody", "consumer", f"{key.hex}@example.com", "", "good", "USD", 1, "1",
          OPENED, OPENED, MOST, False) for key in made),
    )  # fmt: skip
    _agree(made, films, owner)
    _services([(key, minutes, None) for key in plain], there.pk)
    lines = _services([(key, line, None) for key in subscribed], there.pk)
    _services([(key, minutes, on) for key, on in zip(subscribed, lines, strict=True)], there.pk)
    found = Subscriber.objects.in_bulk(made)
    return tuple(
        [Spender(found[key], _reference(key)) for key in keys] for keys in (plain, subscribed)
    )  # type: ignore[return-value]


def give_history(to: Spender, count: int) -> None:
    """Give an account so many charges, and half as many reservations, of the years before."""
    films, film = Partner.objects.get(code=SELLER), ProductOffering.objects.get(code="film")
    until = timezone.now() - timedelta(days=70)
    each = timedelta(days=365 * YEARS) / count
    moments = [until - number * each for number in range(count)]
    bulk.copy_rows(
        "rating_charge",
        ("id", "subscriber_id", "offering_id", "kind", "cause", "period_start", "quantity", "unit",
         "currency", "amount_net", "isp_share", "bsp_share", "network_provider_share",
         "amount_tax", "bsp_id", "explanation", "charged_at"),
        ((key := uuid7(), to.account.pk, film.pk, "one_off", f"old:{key.hex}", at, 1, "", "USD",
          4_990_000, 990_000, 4_000_000, 0, 442_863, films.pk, "{}", at) for at in moments),
    )  # fmt: skip
    consent = to.account.standing_consents.get()
    bulk.copy_rows(
        "rating_reservation",
        ("id", "subscriber_id", "partner_id", "offering_id", "standing_id", "idempotency_key",
         "currency", "net", "amount", "used_net", "used_amount", "period_start", "period_end",
         "month_start", "held_at", "held_until", "released_at"),
        ((key := uuid7(), to.account.pk, films.pk, film.pk, consent.pk, key.hex, "USD", 4_990_000,
          5_432_863, 4_990_000, 5_432_863, at, at + each, at.replace(day=1, hour=0), at,
          at + timedelta(hours=1), at) for at in moments[::20]),
    )  # fmt: skip


def _product(partner: Partner, code: str) -> ProductOffering:
    return publishing.create_offering(
        code=code, name=code, kind="bsp", provider=partner, is_subscription=code == "minutes",
        at=OPENED,
    )  # fmt: skip


def _reference(key: UUID) -> str:
    return f"psb_{key.hex}"


def _agree(made: list[UUID], films: Partner, owner: User) -> None:
    bulk.copy_rows(
        "provisioning_partnersubscriber",
        ("partner_id", "subscriber_id", "reference"),
        ((films.pk, key, _reference(key)) for key in made),
    )
    bulk.copy_rows(
        "rating_standingconsent",
        ("id", "subscriber_id", "partner_id", "monthly_limit", "currency", "shown", "given_at",
         "given_by_id"),
        ((uuid7(), key, films.pk, MOST, "USD", "for a measurement", OPENED, owner.pk)
         for key in made),
    )  # fmt: skip


def _services(
    wanted: Sequence[tuple[UUID, ProductOffering, UUID | None]], place: UUID
) -> list[UUID]:
    """Make a service for each account, of an offering, on a line or as one; returns their keys."""
    keys = [uuid7() for _ in wanted]
    bulk.copy_rows(
        "provisioning_service",
        ("id", "subscriber_id", "offering_id", "line_id", "premises_id", "state", "created_at"),
        ((key, owner, offering.pk, line, place, "active", OPENED)
         for key, (owner, offering, line) in zip(keys, wanted, strict=True)),
    )  # fmt: skip
    bulk.copy_rows(
        "provisioning_serviceperiod",
        ("service_id", "offering_id", "state", "started_at"),
        ((key, offering.pk, "active", OPENED)
         for key, (_, offering, _) in zip(keys, wanted, strict=True)),
    )  # fmt: skip
    return keys
