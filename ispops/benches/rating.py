"""How fast stored usage becomes rated use, beside COPY of as many events into a bare table."""

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
from ispops.benches.workers import Workers
from ispops.catalog import publishing
from ispops.catalog.models import ProductOffering
from ispops.db import uuid7
from ispops.parties import partners
from ispops.parties.models import Partner
from qualification import coverage
from qualification.models import Premises
from rating import storing, usage
from rating.guiding import Guided
from rating.models import WaitingUsage
from rating.storing import Reported

OPENED = datetime(2025, 1, 1, tzinfo=UTC)
MAY = datetime(2026, 5, 2, tzinfo=UTC)
BATCH = 100_000
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
    """Rating events of two months, spread over accounts as a few heavy and many light users."""
    count = size.of(full=1_000_000, quick=100_000)
    owners = _owners(size.of(full=100_000, quick=10_000), _products())
    for workers in (1, 2):
        run = _Run(owners, count, workers)
        yield Case(
            name=f"stored events to rated use, {words_of(workers)}",
            unit="per s",
            ours=run.ours,
            reference=run.reference,
            before_ours=run.before_ours,
            before_reference=run.before_reference,
        )


def words_of(workers: int) -> str:
    return "one worker" if workers == 1 else f"{workers} workers"


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


class _Run:
    """Rating stored events, beside COPY of as many events into a table with a unique key."""

    def __init__(self, owners: list[Owner], count: int, workers: int) -> None:
        self._owners, self._count, self._number = owners, count, workers
        self._workers: Workers | None = None
        self._text: list[str] = []

    def before_ours(self) -> None:
        _store(self._owners, self._count)
        self._workers = Workers(_drain, self._number)

    def ours(self) -> int:
        if self._workers is not None:
            self._workers.run()
        if WaitingUsage.objects.exists():
            raise RuntimeError("some events were not rated")
        return self._count

    def before_reference(self) -> None:
        """Write the newest events as text, and make a table for them."""
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE IF EXISTS bare_usage")
            cursor.execute("CREATE TABLE bare_usage (LIKE rating_usage)")
            cursor.execute("CREATE UNIQUE INDEX ON bare_usage (id)")
            text = StringIO()
            newest = f"SELECT * FROM rating_usage ORDER BY id DESC LIMIT {self._count}"
            cursor.copy_expert(f"COPY (SELECT * FROM ({newest}) u ORDER BY id) TO STDOUT", text)
        lines = text.getvalue().splitlines(keepends=True)
        self._text = ["".join(lines[at : at + BATCH]) for at in range(0, len(lines), BATCH)]

    def reference(self) -> int:
        with connection.cursor() as cursor:
            for text in self._text:
                cursor.copy_expert("COPY bare_usage FROM STDIN", StringIO(text))
        return self._count


def _drain(_: int) -> None:
    while usage.rate_usage(at=MAY + timedelta(days=60), limit=BATCH):
        pass


def _store(owners: list[Owner], count: int) -> None:
    """Store events that wait to be rated, of two months, as reports of 10,000."""
    chance = random.Random(1)
    run = uuid7().hex

    def event(number: int) -> Reported:
        heavy = min(int(chance.lognormvariate(0, 2) * len(owners) / 50), len(owners) - 1)
        subscriber, service, offering = owners[heavy]
        return Reported(
            source="cinebox", event_id=f"{run}-{number}", content=run,
            subscriber_ref=f"psb_{heavy}", product_ref="product",
            guided=Guided(subscriber, service, offering),
            started_at=MAY + timedelta(seconds=chance.randrange(50 * 86_400)), ended_at=None,
            quantity=chance.randint(1, 90), unit="minute", attributes={},
        )  # fmt: skip

    for start in range(0, count, 10_000):
        storing.store(
            uses=[event(number) for number in range(start, min(start + 10_000, count))],
            received_at=MAY + timedelta(days=51),
        )
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE rating_usage")
