"""How fast stored usage becomes durable charges, beside COPY of as many rows into a bare table."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import StringIO
from typing import Any
from uuid import UUID

from django.db import connection

from ispops import bulk
from ispops.bench import Case, Size, bench
from ispops.catalog import publishing
from ispops.catalog.models import ProductOffering
from ispops.db import uuid7
from ispops.parties import partners
from ispops.parties.models import Partner
from qualification import coverage
from qualification.models import Premises
from rating import usage

OPENED = datetime(2025, 1, 1, tzinfo=UTC)
MAY = datetime(2026, 5, 2, tzinfo=UTC)
BATCH = 10_000
# Products with an allowance, three graduated tiers, tax, and shares for two partners.
PRODUCTS = 20
TIERS: list[dict[str, Any]] = [
    {"up_to": 100, "amount": "0.05"},
    {"up_to": 1_000, "amount": "0.03"},
    {"up_to": None, "amount": "0.01"},
]

Owner = tuple[UUID, UUID, int]


@bench
def rating(size: Size) -> Iterator[Case]:
    """Rating with one worker: events spread over accounts as a few heavy and many light users."""
    count = size.of(full=200_000, quick=40_000)
    owners = _owners(size.of(full=20_000, quick=4_000), _products())
    yield Case(
        name="stored events to charges",
        unit="per s",
        ours=lambda: _rate(count),
        reference=_copy,
        before_ours=lambda: _store(owners, count),
        before_reference=lambda: _bare(count),
    )


def _products() -> list[ProductOffering]:
    def partner(code: str, kind: str) -> Partner:
        return partners.create_partner(code=code, name=code, kind=kind, at=OPENED)

    bsp = partner("cinebox", Partner.Kind.BSP)
    network = partner("harbor-fiber", Partner.Kind.NETWORK_PROVIDER)
    publishing.set_tax_rate(category="telecom", percent=Decimal("8.875"), at=OPENED)
    made = []
    for number in range(PRODUCTS):
        product = publishing.create_offering(
            code=f"product-{number}", name=f"Product {number}", kind="bsp", provider=bsp,
            is_subscription=True, at=OPENED,
        )  # fmt: skip
        publishing.set_price(
            offering=product, charge="usage", amount=Decimal(0), unit="minute", allowance=50,
            tiers=TIERS, at=OPENED,
        )  # fmt: skip
        for role, to, percent in (("bsp", bsp, "60"), ("network_provider", network, "7.5")):
            publishing.set_settlement_term(
                offering=product, role=role, partner=to, basis="percent_of_net",
                percent=Decimal(percent), at=OPENED,
            )  # fmt: skip
        made.append(product)
    return made


def _owners(count: int, products: list[ProductOffering]) -> list[Owner]:
    """Make accounts with one service each, past the verbs: they are not what is measured."""
    coverage.import_premises(
        rows=[{"street": "1 Main St", "city": "Barre", "region": "VT", "postal_code": "05641"}],
        at=OPENED,
    )
    place = Premises.objects.get()
    owners = [(uuid7(), uuid7(), products[n % len(products)].pk) for n in range(count)]
    bulk.copy_rows(
        "parties_subscriber",
        ("id", "name", "kind", "email", "phone", "standing", "currency", "billing_anchor_day",
         "terms_version", "terms_accepted_at", "created_at"),
        ((key, "Somebody", "consumer", f"{key.hex}@example.com", "", "good", "USD",
          n % 28 + 1, "1", OPENED, OPENED) for n, (key, _, _) in enumerate(owners)),
    )  # fmt: skip
    bulk.copy_rows(
        "provisioning_service",
        ("id", "subscriber_id", "offering_id", "premises_id", "state", "created_at"),
        ((service, who, offering, place.pk, "active", OPENED)
         for who, service, offering in owners),
    )  # fmt: skip
    return owners


def _store(owners: list[Owner], count: int) -> None:
    """Store events that wait to be rated, of two months, after those of earlier runs."""
    chance = random.Random(1)
    run = uuid7().hex

    def events() -> Iterator[tuple[object, ...]]:
        for number in range(count):
            heavy = min(int(chance.lognormvariate(0, 2) * len(owners) / 50), len(owners) - 1)
            who, service, offering = owners[heavy]
            started_at = MAY + timedelta(seconds=chance.randrange(50 * 86_400))
            yield ("cinebox", f"{run}-{number}", run, f"psb_{heavy}", "product", who, service,
                   offering, started_at, chance.randint(1, 90), "minute", "{}", started_at,
                   "received", "", "")  # fmt: skip

    bulk.copy_rows(
        "rating_usage",
        ("source", "event_id", "fingerprint", "subscriber_ref", "product_ref", "subscriber_id",
         "service_id", "offering_id", "started_at", "quantity", "unit", "attributes",
         "received_at", "state", "error_code", "error"),
        events(),
    )  # fmt: skip


def _rate(count: int) -> int:
    done = 0
    while taken := usage.rate_usage(at=MAY + timedelta(days=60), limit=BATCH):
        done += taken
    if done != count:
        raise RuntimeError(f"{done:,} of {count:,} events were rated")
    return done


_lines: list[str] = []


def _bare(count: int) -> None:
    """Make a table without indexes and constraints, and as many charges as text to fill it."""
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS bare_charge")
        cursor.execute("CREATE TABLE bare_charge (LIKE rating_charge)")
        text = StringIO()
        cursor.copy_expert(f"COPY (SELECT * FROM rating_charge LIMIT {count}) TO STDOUT", text)
    _lines[:] = text.getvalue().splitlines()


def _copy() -> int:
    """Copy the charges of the run before, a batch a transaction, as rating writes its own."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM bare_charge LIMIT 0")
        columns = [column.name for column in cursor.description or ()]
    for start in range(0, len(_lines), BATCH):
        bulk.copy_lines("bare_charge", columns, _lines[start : start + BATCH])
    return len(_lines)
