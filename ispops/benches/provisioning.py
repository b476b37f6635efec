"""How fast orders are carried out by two workers, beside the rows that it takes.

The reference writes as many rows, of the size of an attempt, in as many transactions, from two
processes with psycopg2 and nothing else. How many that are is what PostgreSQL counted for ours.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg2
from django.db import connection
from django.utils import timezone

from ispops.bench import Case, Size, bench
from ispops.benches.workers import Workers
from ispops.db import uuid7
from ispops.parties.models import Subscriber
from provisioning import execution, steps
from provisioning.models import OrderTask, ProductOrder
from qualification.models import ServiceQualification

PLACED = datetime(2026, 5, 1, tzinfo=UTC)
WORKERS = 2
# What an order of ten steps looks like: three begin at once, five follow, then one, then one.
LAYERS = ((0, 1, 2), (3, 4, 5, 6, 7), (8,), (9,))
KINDS = tuple(f"bench_{number}" for number in range(10))
DRAINED_AT_A_TIME = 20


@bench
def provisioning(size: Size) -> Iterator[Case]:
    """Orders of ten steps whose adapters answer in 0 ms; and new orders beside 10,000 due steps."""
    orders = size.of(full=200, quick=15)
    for table, words in (
        (steps.INSIDE, "orders of ten steps that write rows"),
        (steps.OUTSIDE, "orders of ten calls of the outside"),
    ):
        run = _Run(orders, table)
        yield Case(
            name=words,
            unit="per s",
            ours=run.ours,
            reference=run.reference,
            before_ours=run.before_ours,
            before_reference=run.before_reference,
        )
    drain = _Drain(size.of(full=10_000, quick=300), size.of(full=40, quick=5))
    yield Case(
        name="a new order while old steps drain",
        unit="ms",
        ours=drain.ours,
        reference=drain.reference,
        before_ours=drain.before_ours,
        before_reference=drain.before_reference,
    )


def _answer(task: OrderTask, at: datetime) -> steps.Outcome:
    """An adapter that answers in 0 ms."""
    return steps.Outcome("Done.")


def _use(table: dict[str, steps.Step]) -> None:
    for kind in KINDS:
        steps.INSIDE.pop(kind, None)
        steps.OUTSIDE.pop(kind, None)
        table[kind] = _answer


def _make_orders(count: int, at: datetime) -> list[ProductOrder]:
    """Write orders as placing leaves them: the first steps ready, the others waiting for them."""
    subscriber = Subscriber.objects.order_by("pk").first() or Subscriber.objects.create(
        name="Bench", email="bench@example.com", currency="USD", terms_version="1",
        terms_accepted_at=PLACED, created_at=PLACED,
    )  # fmt: skip
    promise = ServiceQualification.objects.order_by("pk").first()
    if promise is None:
        promise = ServiceQualification.objects.create(
            asked_text="1 Oak Street", channel="portal", state="qualified",
            asked_at=PLACED, expires_at=PLACED,
        )  # fmt: skip
    orders = ProductOrder.objects.bulk_create(
        ProductOrder(
            subscriber=subscriber, qualification=promise, channel="portal",
            idempotency_key=uuid7().hex, placed_at=at, expected_at=at,
        )
        for _ in range(count)
    )  # fmt: skip
    tasks = OrderTask.objects.bulk_create(
        OrderTask(
            order=order, kind=KINDS[position], position=position,
            state="pending" if layer else "ready", next_attempt_at=None if layer else at,
        )
        for order in orders
        for layer, positions in enumerate(LAYERS)
        for position in positions
    )  # fmt: skip
    links = OrderTask.depends_on.through
    links.objects.bulk_create(
        (
            links(from_ordertask=tasks[first + later], to_ordertask=tasks[first + earlier])
            for first in range(0, len(tasks), len(KINDS))
            for layer, positions in enumerate(LAYERS[1:])
            for later in positions
            for earlier in LAYERS[layer]
        ),
        batch_size=5_000,
    )
    return orders


def _drain(_: int) -> None:
    """Do what a sweep does, until there is nothing left."""
    while execution.run_due(at=timezone.now(), limit=DRAINED_AT_A_TIME):
        pass


def _written() -> tuple[int, int]:
    """Count the rows and transactions of this database so far."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_force_next_flush()")
        cursor.execute(
            "SELECT tup_inserted + tup_updated, xact_commit FROM pg_stat_database"
            " WHERE datname = current_database()"
        )
        rows, transactions = cursor.fetchone()
        return rows, transactions


class _Run:
    """Orders carried out, and what it costs to write as many rows in as many transactions."""

    def __init__(self, orders: int, table: dict[str, steps.Step]) -> None:
        self.orders = orders
        self.table = table
        # Rows and transactions; a guess until ours was counted.
        self.cost = (60 * orders, 10 * orders)

    def before_ours(self) -> None:
        _use(self.table)
        self.made = _make_orders(self.orders, timezone.now())
        self.before = _written()
        self.workers = Workers(_drain)

    def ours(self) -> int:
        self.workers.run()
        return self.orders

    def count(self) -> None:
        if not hasattr(self, "made"):
            return
        after = _written()
        keys = [order.pk for order in self.made]
        done = ProductOrder.objects.filter(pk__in=keys, state="completed").count()
        if done != self.orders:
            raise RuntimeError(f"only {done} of {self.orders} orders were carried out")
        self.cost = (after[0] - self.before[0], after[1] - self.before[1])
        del self.made

    def before_reference(self) -> None:
        self.count()
        rows, transactions = self.cost
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE IF EXISTS bench_rows")
            cursor.execute(
                "CREATE TABLE bench_rows (id bigserial PRIMARY KEY, task bigint, number int,"
                " started_at timestamptz, ended_at timestamptz, outcome text, detail text)"
            )
            cursor.execute("CREATE INDEX ON bench_rows (task, number)")
        each = max(rows // transactions, 1)
        share = transactions // WORKERS
        self.bare = Workers(lambda _: _write_bare(share, each))

    def reference(self) -> int:
        self.bare.run()
        return self.orders


def _write_bare(transactions: int, rows: int) -> None:
    bare = psycopg2.connect(**_address())
    now = timezone.now()
    with bare.cursor() as cursor:
        for number in range(transactions):
            for row in range(rows):
                cursor.execute(
                    "INSERT INTO bench_rows (task, number, started_at, ended_at, outcome, detail)"
                    " VALUES (%s, %s, %s, %s, %s, %s)",
                    (number, row, now, now, "done", "Done."),
                )
            bare.commit()
    bare.close()


def _address() -> dict[str, Any]:
    held = connection.get_connection_params()
    return {name: held[name] for name in ("dbname", "user", "password", "host", "port")
            if name in held}  # fmt: skip


class _Drain:
    """How long a new order takes from its placing to its end, with and without an old backlog."""

    def __init__(self, backlog: int, orders: int) -> None:
        self.backlog = backlog
        self.orders = orders

    def before_ours(self) -> None:
        _use(steps.INSIDE)
        old = timezone.now() - timedelta(hours=1)
        # Each order has three due steps; their followers come on top while it drains.
        _make_orders(self.backlog // len(LAYERS[0]), old)
        self.workers = Workers(_drain_until_told)

    def before_reference(self) -> None:
        OrderTask.objects.exclude(state__in=["completed"]).delete()
        _use(steps.INSIDE)
        self.workers = Workers(_drain_until_told)

    def ours(self) -> int:
        return self._place_and_wait()

    def reference(self) -> int:
        return self._place_and_wait()

    def _place_and_wait(self) -> int:
        """One order after the other, each waited for; the time of one is the figure."""
        self.workers.begin()
        for _ in range(self.orders):
            [order] = _make_orders(1, timezone.now())
            while not ProductOrder.objects.filter(pk=order.pk, state="completed").exists():
                time.sleep(0.002)
        _STOP.set()
        self.workers.wait()
        _STOP.clear()
        return self.orders


_STOP = multiprocessing.get_context("fork").Event()


def _drain_until_told(_: int) -> None:
    while not _STOP.is_set():
        if not execution.run_due(at=timezone.now(), limit=DRAINED_AT_A_TIME):
            time.sleep(0.002)
