"""How soon a balance is read, and how many holds a second are made and used by eight clients."""

import multiprocessing
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

from django.db import connection, connections, transaction
from django.utils import timezone

from ispops.bench import Case, Size, bench
from ispops.benches import bare_holds, spenders
from ispops.db import uuid7
from ispops.parties.models import Partner
from rating import balances, reservations

CLIENTS = 8
_fork = multiprocessing.get_context("fork")


@bench
def rating_balance(size: Size) -> Iterator[Case]:
    """Accounts with a spending limit, a standing consent, and a product with an allowance.

    Of the last of them nothing comes that is not charged yet; the others have a partner's
    subscription on a line, of which what is still to come is found out for each hold.
    """
    plain, subscribed = spenders.make(size.of(full=5_000, quick=500))
    reads, each = size.of(full=2_000, quick=300), size.of(full=100, quick=25)
    for name, accounts_ in (("", plain), (" with a subscription", subscribed)):
        yield Case(
            name=f"balance read{name}, slowest of a hundred",
            unit="us",
            ours=lambda those=accounts_: _p99(  # type: ignore[misc]
                lambda n: balances.balance_of(those[n % len(those)].account, _now()), reads
            ),
            reference=lambda: _p99(lambda _: _execute("SELECT 1"), reads),
        )
    bare_holds.make()
    _execute("CREATE TABLE bare_hold (id uuid PRIMARY KEY, amount bigint)")
    for name, accounts_ in (("", plain), (" with a subscription", subscribed)):
        yield Case(
            name=f"hold and use, 1 client{name}, beside the same rows bare",
            unit="per s",
            ours=lambda those=accounts_: _hold_and_use(those, 0, each),  # type: ignore[misc]
            reference=lambda: bare_holds.hold_and_use(each),
        )
    for name, accounts_ in (("one subscriber", plain[:1]), ("many subscribers", plain)):
        yield Case(
            name=f"hold and use, 8 clients, {name}",
            unit="per s",
            ours=lambda those=accounts_: _at_once(lambda c: _hold_and_use(those, c, each)) * each,  # type: ignore[misc]
            reference=lambda: _at_once(lambda c: _insert(each)) * each,
        )
    old, young = plain[1], plain[2]
    spenders.give_history(old, size.of(full=100_000, quick=20_000))
    yield Case(
        name="hold and use, 1 client, with years of charges, beside without",
        unit="per s",
        ours=lambda: _hold_and_use([old], 0, each),
        reference=lambda: _hold_and_use([young], 0, each),
    )
    yield Case(
        name="balance read with years of charges, beside without",
        unit="us",
        ours=lambda: _p99(lambda _: balances.balance_of(old.account, _now()), reads),
        reference=lambda: _p99(lambda _: balances.balance_of(young.account, _now()), reads),
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


def _at_once(work: Callable[[int], object]) -> int:
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


def _hold_and_use(among: list[spenders.Spender], client: int, count: int) -> int:
    films = Partner.objects.get(code=spenders.SELLER)
    for number in range(count):
        now, key = timezone.now(), uuid7().hex
        held = reservations.hold(
            partner=films, subscriber_ref=among[(client * count + number) % len(among)].reference,
            offering_code="film", net=Decimal("0.10"), held_until=now + timedelta(minutes=5),
            idempotency_key=key, at=now,
        )  # fmt: skip
        reservations.use(
            reservation_id=held.pk, partner=films, idempotency_key=key, at=timezone.now()
        )
    return count


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
