"""Accounts, products and use of them by the hundred thousand, for the benches of rating."""

import csv
import gc
import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import StringIO
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection

from ispops import bulk
from ispops.catalog import publishing
from ispops.catalog.models import ProductOffering
from ispops.db import uuid7
from ispops.parties import partners
from ispops.parties.models import Partner
from qualification import coverage
from qualification.models import Premises
from rating import storing
from rating.guiding import Guided
from rating.storing import Reported

OPENED = datetime(2025, 1, 1, tzinfo=UTC)
MAY = datetime(2026, 5, 2, tzinfo=UTC)
# When use of the fifty days before is reported.
REPORTED = MAY + timedelta(days=51)
BATCH = 100_000
BSP, NETWORK = "cinebox", "harbor-fiber"
COLUMNS = ("event_id", "subscriber_ref", "offering", "started_at", "quantity", "unit")
TIERS: list[dict[str, Any]] = [
    {"up_to": 100, "amount": "0.05"},
    {"up_to": 1_000, "amount": "0.03"},
    {"up_to": None, "amount": "0.01"},
]


class Owner(NamedTuple):
    """An account with a service, by our keys and by those of the partner."""

    subscriber: UUID
    service: UUID
    offering: int
    reference: str
    code: str


def products(count: int, prefix: str = "product", **other: Any) -> list[ProductOffering]:
    """Sell products with an allowance, three graduated tiers, tax, and shares for two partners."""
    bsp, network = sellers()
    made = []
    for number in range(count):
        product = publishing.create_offering(
            code=f"{prefix}-{number}", name=f"Product {number}", kind="bsp", provider=bsp,
            is_subscription=True, at=OPENED,
        )  # fmt: skip
        publishing.set_price(
            offering=product, charge="usage", amount=Decimal(0), unit="minute", allowance=50,
            tiers=TIERS, at=OPENED, **other,
        )  # fmt: skip
        for role, to, percent in (("bsp", bsp, "60"), ("network_provider", network, "7.5")):
            publishing.set_settlement_term(
                offering=product, role=role, partner=to, basis="percent_of_net",
                percent=Decimal(percent), at=OPENED,
            )  # fmt: skip
        made.append(product)
    return made


def sellers() -> tuple[Partner, Partner]:
    """Return the partners that get shares; the first call makes them."""
    known = {partner.code: partner for partner in Partner.objects.all()}
    if BSP not in known:
        publishing.set_tax_rate(category="telecom", percent=Decimal("8.875"), at=OPENED)
        for code, kind in ((BSP, Partner.Kind.BSP), (NETWORK, Partner.Kind.NETWORK_PROVIDER)):
            known[code] = partners.create_partner(code=code, name=code, kind=kind, at=OPENED)
    return known[BSP], known[NETWORK]


def place() -> Premises:
    coverage.import_premises(
        rows=[{"street": "1 Main St", "city": "Barre", "region": "VT", "postal_code": "05641"}],
        at=OPENED,
    )
    return Premises.objects.get()


def owners(count: int, of: list[ProductOffering]) -> list[Owner]:
    """Make accounts with one service each, past the verbs: they are not what is measured."""
    made = [
        Owner(key := uuid7(), uuid7(), of[n % len(of)].pk, f"psb_{key.hex}", of[n % len(of)].code)
        for n in range(count)
    ]
    bulk.copy_rows(
        "parties_subscriber",
        ("id", "name", "kind", "email", "phone", "standing", "currency", "billing_anchor_day",
         "terms_version", "terms_accepted_at", "created_at", "is_prepaid"),
        ((owner.subscriber, "Somebody", "consumer", f"{owner.subscriber.hex}@example.com", "",
          "good", "USD", n % 28 + 1, "1", OPENED, OPENED, False) for n, owner in enumerate(made)),
    )  # fmt: skip
    there = place()
    bulk.copy_rows(
        "provisioning_service",
        ("id", "subscriber_id", "offering_id", "premises_id", "state", "created_at"),
        ((owner.service, owner.subscriber, owner.offering, there.pk, "active", OPENED)
         for owner in made),
    )  # fmt: skip
    bulk.copy_rows(
        "provisioning_serviceperiod",
        ("service_id", "offering_id", "state", "started_at"),
        ((owner.service, owner.offering, "active", OPENED) for owner in made),
    )
    if (bsp := Partner.objects.filter(code=BSP).first()) is not None:
        bulk.copy_rows(
            "provisioning_partnersubscriber",
            ("partner_id", "subscriber_id", "reference"),
            ((bsp.pk, owner.subscriber, owner.reference) for owner in made),
        )
    # No worker has these in memory, so none looks through them for garbage.
    gc.freeze()
    return made


def events(among: list[Owner], count: int) -> Iterator[tuple[Owner, dict[str, Any]]]:
    """Yield use that nobody reported yet, of a few heavy and many light users."""
    chance, run = random.Random(1), uuid7().hex
    for number in range(count):
        heavy = int(chance.lognormvariate(0, 2) * len(among) / 50)
        owner = among[min(heavy, len(among) - 1)]
        started = MAY + timedelta(seconds=chance.randrange(50 * 86_400))
        told = (
            f"{run}-{number}", owner.reference, owner.code, f"{started:%Y-%m-%dT%H:%M:%SZ}",
            chance.randint(1, 90), "minute",
        )  # fmt: skip
        yield owner, dict(zip(COLUMNS, told, strict=True))


def bodies(among: list[Owner], count: int, each: int) -> list[bytes]:
    """Write use as a partner sends it: so many in each call of the API."""
    told = [event for _, event in events(among, count)]
    return [json.dumps({"events": told[at : at + each]}).encode() for at in range(0, count, each)]


def table(among: list[Owner], count: int) -> bytes:
    """Write use as a partner's file."""
    text = StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(event for _, event in events(among, count))
    return text.getvalue().encode()


def store(among: list[Owner], count: int) -> None:
    """Store use that waits to be rated, as reports of 10,000."""
    some: list[Reported] = []
    for number, (owner, told) in enumerate(events(among, count), start=1):
        some.append(
            Reported(
                source=BSP, event_id=told["event_id"], content=told["event_id"],
                subscriber_ref=owner.reference, product_ref=owner.code,
                guided=Guided(owner.subscriber, owner.service, owner.offering),
                started_at=datetime.fromisoformat(told["started_at"]), ended_at=None,
                quantity=told["quantity"], unit="minute", attributes={},
            )
        )  # fmt: skip
        if len(some) == 10_000 or number == count:
            storing.store(uses=some, received_at=REPORTED)
            some = []
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE rating_usage")


class Copied:
    """COPY of the newest use into a bare table with a unique key: what bounds all of this."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._text: list[str] = []

    def before(self) -> None:
        """Write the use as text, and make a table for it."""
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE IF EXISTS bare_usage")
            cursor.execute("CREATE TABLE bare_usage (LIKE rating_usage)")
            cursor.execute("CREATE UNIQUE INDEX ON bare_usage (id)")
            text = StringIO()
            newest = f"SELECT * FROM rating_usage ORDER BY id DESC LIMIT {self._count}"
            cursor.copy_expert(f"COPY (SELECT * FROM ({newest}) u ORDER BY id) TO STDOUT", text)
        lines = text.getvalue().splitlines(keepends=True)
        self._text = ["".join(lines[at : at + BATCH]) for at in range(0, len(lines), BATCH)]

    def run(self) -> int:
        with connection.cursor() as cursor:
            for text in self._text:
                cursor.copy_expert("COPY bare_usage FROM STDIN", StringIO(text))
        return sum(text.count("\n") for text in self._text)
