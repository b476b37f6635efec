"""What PostgreSQL itself refuses to store of coverage, whoever writes it."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction

from ispops.db import uuid7
from ispops.parties.models import Partner
from qualification import coverage
from qualification.models import AccessNode, CoverageArea, CoverageImport, Premises
from tests.small_isp import LAUNCH, OAK, cell_of, make_partner

LATER = LAUNCH + timedelta(days=1)
LAST = LAUNCH + timedelta(days=2)
CELL, OTHER_CELL = cell_of((44.197, -72.502)), cell_of((44.3, -72.4))
SPEEDS = {"technology": 50, "max_download_kbps": 1, "max_upload_kbps": 1}

pytestmark = pytest.mark.django_db
rows = CoverageArea.objects


@pytest.fixture
def network() -> Partner:
    return make_partner("fast-fibre", "Fast Fibre", "network_provider", LAUNCH)


@pytest.fixture
def house(network: Partner) -> Premises:
    coverage.import_premises(rows=[{"street": "1 Oak Street", **OAK}], at=LAUNCH)
    return Premises.objects.get()


@pytest.fixture
def file(network: Partner) -> CoverageImport:
    return CoverageImport.objects.create(
        provider=network, format="locations", state="applied", file="x", created_at=LAUNCH
    )


def refused(guard: str, change: Callable[[], object]) -> None:
    with pytest.raises(DatabaseError, match=guard), transaction.atomic():
        change()


def execute(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


@pytest.fixture(params=["place", "cell"])
def somewhere(request: pytest.FixtureRequest, network: Partner, house: Premises) -> dict[str, Any]:
    """What says where, of which network and how fast: at a place, and in a cell."""
    where = {"premises": house} if request.param == "place" else {"h3_res8": CELL}
    return {"provider": network, **SPEEDS, **where}


def test_a_place_has_one_open_row(somewhere: dict[str, Any]) -> None:
    rows.create(**somewhere, valid_from=LAUNCH)
    for start in (LAUNCH - timedelta(days=9), LAUNCH, LATER):
        again = {**somewhere, "valid_from": start}
        refused("one_coverage_of_a_(place|cell)_at_a_time", lambda row=again: rows.create(**row))
    rows.create(**somewhere | {"technology": 40}, valid_from=LAUNCH)


def test_a_row_begins_when_the_one_before_it_has_ended(somewhere: dict[str, Any]) -> None:
    first = rows.create(**somewhere, valid_from=LAUNCH)
    rows.filter(pk=first.pk).update(valid_to=LATER)
    for start in (LAUNCH - timedelta(days=9), LAUNCH, LATER - timedelta(microseconds=1)):
        again = {**somewhere, "valid_from": start}
        refused("coverage_follows_what_ended", lambda row=again: rows.create(**row))
    second = rows.create(**somewhere, valid_from=LATER)
    rows.filter(pk=second.pk).update(valid_to=LAST)
    refused("coverage_follows_what_ended", lambda: rows.create(**somewhere, valid_from=LATER))
    rows.create(**somewhere, valid_from=LAST)


def test_what_ended_elsewhere_is_in_nobodys_way(
    somewhere: dict[str, Any], network: Partner
) -> None:
    """The quick look finds something that ended late; the thorough one says where."""
    other = rows.create(provider=network, **SPEEDS, h3_res8=OTHER_CELL, valid_from=LAUNCH)
    rows.filter(pk=other.pk).update(valid_to=LAST)
    rows.create(**somewhere, valid_from=LATER)


def test_a_row_is_ended_after_it_was_written(
    somewhere: dict[str, Any], file: CoverageImport
) -> None:
    """Two rows that were written as ended could overlap, with nothing that waits for the other."""
    for end in ({"valid_to": LATER}, {"ended_by": file}):
        row = {**somewhere, "valid_from": LAUNCH, **end}
        refused("coverage_begins_open", lambda row=row: rows.create(**row))
    written = rows.create(**somewhere, valid_from=LATER)
    refused("coverage_ends_after", lambda: rows.filter(pk=written.pk).update(valid_to=LATER))


def test_a_row_is_of_a_place_or_a_cell(network: Partner, house: Premises) -> None:
    facts = {"provider": network, **SPEEDS, "valid_from": LAUNCH}
    refused("coverage_is_of_a_place_or_a_cell", lambda: rows.create(**facts))
    refused("coverage_is_of_a_place_or_a_cell", lambda: rows.create(
        **facts, premises=house, h3_res8=CELL))  # fmt: skip


def test_a_row_refers_to_what_there_is(
    network: Partner, house: Premises, file: CoverageImport
) -> None:
    row = {"provider_id": network.pk, **SPEEDS, "premises_id": house.pk, "valid_from": LAUNCH}
    for wrong in (
        {"provider_id": 0},
        {"premises_id": uuid7()},
        {"node_id": 0},
        {"added_by_id": uuid7()},
    ):
        bad = {**row, **wrong}
        refused("coverage_refers_to_rows", lambda row=bad: rows.create(**row))
    written = rows.create(**row, added_by_id=file.pk)
    change = {"valid_to": LATER, "ended_by_id": uuid7()}
    mine = rows.filter(pk=written.pk)
    refused("coverage_refers_to_rows", lambda: mine.update(**change))
    mine.update(valid_to=LATER, ended_by=file)


def test_one_bad_row_among_many_is_found(network: Partner, house: Premises) -> None:
    good = [
        CoverageArea(provider=network, **SPEEDS, h3_res8=cell, valid_from=LAUNCH)
        for cell in (CELL, OTHER_CELL)
    ]
    bad = CoverageArea(provider=network, **SPEEDS, premises_id=uuid7(), valid_from=LAUNCH)
    refused("coverage_refers_to_rows", lambda: rows.bulk_create([good[0], bad, good[1]]))
    assert not rows.exists()


def test_what_coverage_refers_to_stays(
    network: Partner, house: Premises, file: CoverageImport
) -> None:
    node = AccessNode.objects.create(provider=network, name="n1", technology=50)
    for kept in (network, house, file, node):
        one = type(kept)._default_manager.filter(pk=kept.pk)
        refused("keeps its rows", lambda one=one: one._raw_delete("default"))
    refused("keeps its rows", lambda: execute("UPDATE parties_partner SET id = id + 1"))
    Partner.objects.update(name="Another name")


def test_only_the_end_of_a_row_is_ever_written(network: Partner, file: CoverageImport) -> None:
    node = AccessNode.objects.create(provider=network, name="n1", technology=50)
    row = rows.create(provider=network, **SPEEDS, h3_res8=CELL, valid_from=LAUNCH)
    others = {
        "id": 7,
        "provider_id": network.pk + 1,
        "premises_id": uuid7(),
        "h3_res8": OTHER_CELL,
        "low_latency": False,
        "node_id": node.pk,
        "planned_date": LATER.date(),
        "valid_from": LATER,
        "added_by_id": file.pk,
    }
    columns = [field.attname for field in CoverageArea._meta.concrete_fields]
    for column in set(columns) - {"valid_to", "ended_by_id"}:
        change = {column: others.get(column, 9)}
        refused("append-only", lambda change=change: rows.update(**change))
    refused("append-only", lambda: rows.filter(pk=row.pk)._raw_delete("default"))
    rows.update(valid_to=LATER)
    rows.update(ended_by=file)
    for change in ({"valid_to": LAST}, {"valid_to": None}, {"ended_by": None}):
        refused("append-only", lambda change=change: rows.update(**change))
