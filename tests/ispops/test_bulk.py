"""Objects that go in by one plain statement are the same as those that Django saves."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from django.db import IntegrityError, connection, transaction

from ispops import binary, bulk
from qualification.models import Premises

NOW = datetime(2026, 5, 1, tzinfo=UTC)
pytestmark = pytest.mark.django_db


def place(number: int, **facts: Any) -> Premises:
    return Premises(
        street=f"{number} O'Neil St", city="Barre", region="VT", postal_code="05641",
        match_key=f"{number} ONEIL ST, BARRE, VT 05641", created_at=NOW, **facts,
    )  # fmt: skip


def test_they_are_stored_as_they_are(django_assert_num_queries: Any) -> None:
    rows = [place(1), place(2, latitude=Decimal("44.2"), longitude=Decimal("-72.5"))]
    with django_assert_num_queries(1):
        bulk.insert_models(rows)
    for row in rows:
        stored = Premises.objects.get(pk=row.pk)
        for field in Premises._meta.concrete_fields:
            if not field.generated:
                assert getattr(stored, field.attname) == getattr(row, field.attname)
        assert not row._state.adding
    row = rows[0]
    row.unit = "#2"
    row.save(force_update=True)


def test_none_is_no_statement(django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        bulk.insert_models([])


def test_a_constraint_is_told_as_from_any_query() -> None:
    with pytest.raises(IntegrityError, match="premises_address_once"), transaction.atomic():
        bulk.insert_models([place(1), place(1)])
    assert not Premises.objects.exists()


def test_rows_that_are_written_in_pieces_are_all_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "ROWS_A_STATEMENT", 2)
    monkeypatch.setattr(binary, "_ROWS_AT_ONCE", 2)
    with connection.cursor() as cursor:
        cursor.execute("CREATE TEMP TABLE pieces (number int) ON COMMIT DROP")
    bulk.copy_rows("pieces", ["number"], ([number] for number in range(5)))
    binary.write("pieces", {"number": (np.arange(5, 10), binary.INT4)})
    [column] = binary.read("SELECT number FROM pieces ORDER BY number", (binary.INT4,))
    assert column.tolist() == list(range(10))
