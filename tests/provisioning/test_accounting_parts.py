"""Accounting messages in parts: begun in time, dropped when read and old, and never before."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from django.conf import settings
from django.db import connection

from ipam.models import AddressServer
from provisioning import accounting_parts, waiting
from provisioning.models import AccountingRecord, WaitingAccounting
from tests import factories

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
MONTH, OLD = timedelta(days=31), settings.ACCOUNTING_KEPT + timedelta(days=1)
FIRST = "provisioning_accountingrecord_part_0"


@pytest.fixture
def server() -> Iterator[AddressServer]:
    """Ids that were given are not taken back with the test, so others would begin far behind."""
    yield factories.address_server(at=NOON)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT setval(pg_get_serial_sequence('provisioning_accountingrecord', 'id'), 1000)"
        )


def store(server: AddressServer, at: datetime) -> AccountingRecord:
    return AccountingRecord.objects.create(
        server=server, status_type="Start", session_id="s", unique_session_id="u",
        event_at=at, received_at=at,
    )  # fmt: skip


def read(*readers: str) -> None:
    for reader in readers or WaitingAccounting.Reader.values:
        assert waiting.take(reader=WaitingAccounting.Reader(reader), limit=1000)


def part_of(message: AccountingRecord) -> str:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT tableoid::regclass::text FROM provisioning_accountingrecord WHERE id = %s",
            [message.pk],
        )
        return str(cursor.fetchone()[0])


def test_a_part_is_begun_after_a_month_and_others_are_made_ahead(server: AddressServer) -> None:
    assert part_of(store(server, NOON)) == FIRST
    accounting_parts.tend_parts(at=NOON + timedelta(days=29))
    assert part_of(store(server, NOON + timedelta(days=29))) == FIRST
    for _ in range(2):
        accounting_parts.tend_parts(at=NOON + MONTH)
        assert part_of(store(server, NOON + MONTH)) == FIRST.replace("0", "1")
    numbers = [number for _, number in accounting_parts._parts()]
    assert numbers == list(range(1 + accounting_parts.AHEAD + 1))
    assert WaitingAccounting.objects.filter(reader="metering").count() == 4


def test_what_is_read_and_old_goes_as_a_whole(server: AddressServer) -> None:
    store(server, NOON)
    accounting_parts.tend_parts(at=NOON + MONTH)
    kept = store(server, NOON + MONTH)
    read()
    with connection.cursor() as cursor:
        # A table of which foreign keys are still to be looked at cannot be dropped.
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    assert accounting_parts.tend_parts(at=NOON + OLD - timedelta(days=2)) == []
    assert accounting_parts.tend_parts(at=NOON + OLD) == [FIRST]
    assert list(AccountingRecord.objects.all()) == [kept]
    assert accounting_parts.tend_parts(at=NOON + OLD) == []


@pytest.mark.parametrize("reader", WaitingAccounting.Reader.values)
def test_what_somebody_has_not_read_stays_however_old(server: AddressServer, reader: str) -> None:
    message = store(server, NOON)
    accounting_parts.tend_parts(at=NOON + MONTH)
    store(server, NOON + MONTH)
    read(reader)
    assert accounting_parts.tend_parts(at=NOON + 9 * OLD) == []
    assert AccountingRecord.objects.filter(pk=message.pk).exists()


def test_the_part_that_gets_ids_stays_however_old_its_last_message(
    server: AddressServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounting_parts, "A_PART_LASTS", 9 * OLD)
    message = store(server, NOON)
    read()
    assert accounting_parts.tend_parts(at=NOON + OLD) == []
    assert list(AccountingRecord.objects.all()) == [message]
