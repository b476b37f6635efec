"""How soon a balance is read, and how many holds a second are made and used by eight clients."""

import multiprocessing
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

from django.db import connection, connections, transaction
from django.utils import timezone

from ispops import bulk
from ispops.bench import Case, Size, bench
from ispops.catalog import publishing
from ispops.catalog.models import ProductOffering
from ispops.db import uuid7
from ispops.parties import accounts, partners
from ispops.parties.models import Partner, Subscriber, User
from qualification import coverage
from qualification.models import Premises
from rating import balances, reservations

# A limit that is never reached, in micro-units.
MOST = 10**12
OPENED = datetime(2025, 1, 1, tzinfo=UTC)
CLIENTS = 8
_fork = multiprocessing.get_context("fork")


@bench
def rating_balance(size: Size) -> Iterator[Case]:
    """Accounts with a spending limit, a standing consent, and a product with an allowance."""
    accounts_ = _accounts(size.of(full=5_000, quick=500))
    many = [f"ref-{number}" for number in range(len(accounts_))]
    reads, each = size.of(full=2_000, quick=300), size.of(full=100, quick=25)
    yield Case(
        name="balance read, slowest of a hundred",
        unit="us",
        ours=lambda: _p99(
            lambda n: balances.balance_of(accounts_[n % len(accounts_)], _now()), reads
        ),
        reference=lambda: _p99(lambda _: _execute("SELECT 1"), reads),
    )
    for name, refs in (("one subscriber", many[:1]), ("many subscribers", many)):
        yield Case(
            name=f"hold and use, 8 clients, {name}",
            unit="per s",
            ours=lambda refs=refs: _at_once(lambda c: _hold_and_use(refs, c, each)) * each,  # type: ignore[misc]
            reference=lambda: _at_once(lambda c: _insert(each)) * each,
        )


def _accounts(count: int) -> list[Subscriber]:
    films = partners.create_partner(code="films", name="Films", kind=Partner.Kind.BSP, at=OPENED)
    publishing.set_tax_rate(category="telecom", percent=Decimal("8.875"), at=OPENED)
    film, minutes = (_product(films, code) for code in ("film", "minutes"))
    publishing.set_price(offering=film, charge="one_off", amount=Decimal("4.99"), at=OPENED)
    publishing.set_price(
        offering=minutes, charge="usage", amount=Decimal("0.02"), unit="minute", allowance=100,
        at=OPENED,
    )  # fmt: skip
    owner = accounts.create_login(
        email="owner@example.com", password=uuid7().hex, name="Owner", at=OPENED
    )
    made = [uuid7() for _ in range(count)]
    bulk.copy_rows(
        "parties_subscriber",
        ("id", "name", "kind", "email", "phone", "standing", "currency", "billing_anchor_day",
         "terms_version", "terms_accepted_at", "created_at", "spending_limit", "is_prepaid"),
        ((key, "Somebody", "consumer", f"{key.hex}@example.com", "", "good", "USD", 1, "1",
          OPENED, OPENED, MOST, False) for key in made),
    )  # fmt: skip
    _agree(made, films, owner)
    _lines(made, minutes)
    _execute("CREATE TABLE bare_hold (id uuid PRIMARY KEY, amount bigint)")
    return list(Subscriber.objects.order_by("pk"))


def _product(partner: Partner, code: str) -> ProductOffering:
    return publishing.create_offering(
        code=code, name=code, kind="bsp", provider=partner, is_subscription=code == "minutes",
        at=OPENED,
    )  # fmt: skip


def _agree(made: list[UUID], films: Partner, owner: User) -> None:
    bulk.copy_rows(
        "provisioning_partnersubscriber",
        ("partner_id", "subscriber_id", "reference"),
        ((films.pk, key, f"ref-{number}") for number, key in enumerate(made)),
    )
    bulk.copy_rows(
        "rating_standingconsent",
        ("id", "subscriber_id", "partner_id", "monthly_limit", "currency", "shown", "given_at",
         "given_by_id"),
        ((uuid7(), key, films.pk, MOST, "USD", "for a measurement", OPENED, owner.pk)
         for key in made),
    )  # fmt: skip


def _lines(made: list[UUID], minutes: ProductOffering) -> None:
    coverage.import_premises(
        rows=[{"street": "1 Main St", "city": "Barre", "region": "VT", "postal_code": "05641"}],
        at=OPENED,
    )
    place = Premises.objects.get()
    bulk.copy_rows(
        "provisioning_service",
        ("id", "subscriber_id", "offering_id", "premises_id", "state", "created_at"),
        ((uuid7(), key, minutes.pk, place.pk, "active", OPENED) for key in made),
    )


def _now() -> datetime:
    return timezone.now()


def _p99(read: Callable[[int], object], count: int) -> int:
    """Read so often, and return how many microseconds one in a hundred took or more."""
    taken = []
    for number in range(count):
        started = time.perf_counter()
        read(number)
        taken.append(time.perf_counter() - started)
    return round(sorted(taken)[count * 99 // 100] * 1_000_000)


def _at_once(work: Callable[[int], None]) -> int:
    """Do the work in eight processes with connections of their own; returns how many did it."""
    connections.close_all()
    clients = [_fork.Process(target=work, args=(number,), daemon=True) for number in range(CLIENTS)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    failed = [client.exitcode for client in clients if client.exitcode]
    if failed:
        raise RuntimeError(f"{len(failed)} clients failed")
    return CLIENTS


def _hold_and_use(refs: list[str], client: int, count: int) -> None:
    films = Partner.objects.get(code="films")
    for number in range(count):
        now, key = timezone.now(), uuid7().hex
        held = reservations.hold(
            partner=films, subscriber_ref=refs[(client * count + number) % len(refs)],
            offering_code="film", net=Decimal("0.10"), held_until=now + timedelta(minutes=5),
            idempotency_key=key, at=now,
        )  # fmt: skip
        reservations.use(
            reservation_id=held.pk, partner=films, idempotency_key=key, at=timezone.now()
        )


def _insert(count: int) -> None:
    """Insert a row and change it, each in a transaction of its own, and no more than that."""
    for _ in range(count):
        key = uuid7()
        with transaction.atomic():
            _execute("INSERT INTO bare_hold VALUES (%s, 1)", key)
        with transaction.atomic():
            _execute("UPDATE bare_hold SET amount = 0 WHERE id = %s", key)


def _execute(statement: str, *parameters: UUID) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters or None)
