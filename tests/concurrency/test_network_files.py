"""Files that tell of the same octets, taken in at the same moment; and the same without guards."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import Sum

from provisioning.models import Service
from rating import network_files
from rating.models import MeteredInterval, Usage
from rating.network_records import Span, Totals
from tests import factories
from tests.rating.ground import NOON
from tests.small_isp import make_small_isp

pytestmark = pytest.mark.django_db(transaction=True)
MANY = 6
LATER = NOON + timedelta(hours=9)


def at_once(work: Callable[[int], Any]) -> list[Any]:
    """Do the work in threads with connections of their own, released together."""
    start = threading.Barrier(MANY)

    def one(number: int) -> Any:
        try:
            start.wait(timeout=20)
            return work(number)
        finally:
            connection.close()

    with ThreadPoolExecutor(MANY) as pool:
        return list(pool.map(one, range(MANY)))


@pytest.fixture
def line(transactional_db: None) -> Service:
    return factories.live_line(make_small_isp(), factories.subscriber(at=NOON), at=NOON)


def spans(line: Service) -> list[Span]:
    """Six hours, an hour each."""
    name, hour = line.credential.username, timedelta(hours=1)
    return [Span("bng-1", name, NOON + n * hour, NOON + (n + 1) * hour, 100, 10) for n in range(6)]


def totals(line: Service) -> list[Totals]:
    """A flow of which nobody tells when it began."""
    name = line.credential.username
    return [
        Totals("cmts-1", "f", name, NOON + timedelta(hours=n + 1), None, 110 * (n + 1), 0,
               is_last=n == 5)
        for n in range(6)
    ]  # fmt: skip


def octets() -> int:
    return int(Usage.objects.aggregate(all=Sum("quantity"))["all"])


@pytest.mark.parametrize("records", [spans, totals])
def test_each_octet_counts_once(line: Service, records: Callable[[Service], list[Any]]) -> None:
    rows = records(line)
    at_once(lambda n: network_files.take_in(rows=rows[n:] + rows[:n], at=LATER))
    assert octets() == 660


@pytest.fixture
def without_the_constraint(transactional_db: None) -> Iterator[None]:
    """Take the guard of the database away, and give it back."""
    migration = importlib.import_module("rating.migrations.0007_usage_files")
    with connection.cursor() as cursor:
        cursor.execute(
            "ALTER TABLE rating_meteredinterval DROP CONSTRAINT an_octet_is_counted_once"
        )
    yield
    MeteredInterval.objects.all().delete()
    with connection.cursor() as cursor:
        cursor.execute(migration.COUNTED_ONCE)


@pytest.mark.usefixtures("without_the_constraint")
def test_without_the_constraint_it_counts_as_often_as_it_comes(
    line: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network_files, "_hold", lambda: None)
    at_once(lambda _: network_files.take_in(rows=spans(line), at=LATER))
    assert octets() == MANY * 660


def test_the_constraint_alone_is_enough(line: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows of one order lock nobody out."""
    monkeypatch.setattr(network_files, "_hold", lambda: None)
    at_once(lambda _: network_files.take_in(rows=spans(line), at=LATER))
    assert octets() == 660
