"""Imports: what they add, change, leave alone and refuse; and the guards under them."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import h3
import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from ispops.errors import InvalidInput
from ispops.parties.models import Partner
from qualification import coverage
from qualification.models import AccessNode, AccessPort, CoverageArea, Premises
from tests.small_isp import LAUNCH, OAK, OAK_POINT, cell_of, make_partner

AT = LAUNCH
LATER = LAUNCH + timedelta(days=1)
CELL = cell_of(OAK_POINT)
HOUSE = {"street": "1 Oak Street", **OAK, "latitude": OAK_POINT[0], "longitude": OAK_POINT[1]}
FIBRE = {"technology": 50, "max_download_kbps": 1_000, "max_upload_kbps": 1_000}

pytestmark = pytest.mark.django_db


@pytest.fixture
def network() -> Partner:
    return make_partner("fast-fibre", "Fast Fibre", "network_provider", AT)


def places(*rows: dict[str, Any]) -> coverage.ImportReport:
    return coverage.import_premises(rows=rows, at=AT)


def areas(network: Partner, *rows: dict[str, Any], at: Any = AT) -> coverage.ImportReport:
    return coverage.import_coverage(rows=rows, provider=network, at=at)


def numbers(report: coverage.ImportReport) -> tuple[int, int, int, int]:
    return report.added, report.changed, report.unchanged, len(report.rejected)


# --- Places -------------------------------------------------------------------------------------


def test_place_gets_its_key_its_cell_and_its_unit() -> None:
    assert numbers(places(HOUSE | {"unit": "Apt 02", "location_id": 1037392925})) == (1, 0, 0, 0)
    place = Premises.objects.get()
    assert place.match_key == "1 OAK ST, BARRE, VT 05641"
    assert (place.unit, place.location_id, place.h3_res8) == ("#2", "1037392925", CELL)
    assert h3.latlng_to_cell(float(place.latitude), float(place.longitude), 8) == CELL
    assert str(place) == "1 Oak Street #2, Barre, VT 05641"


def test_same_list_again_changes_nothing() -> None:
    places(HOUSE)
    assert numbers(places(HOUSE)) == (0, 0, 1, 0)


def test_corrected_list_corrects_the_place_and_keeps_its_id() -> None:
    places(HOUSE)
    first = Premises.objects.get()
    moved = HOUSE | {"street": "1 Oak St.", "latitude": 44.0, "location_id": "7"}
    assert numbers(places(moved)) == (0, 1, 0, 0)
    again = Premises.objects.get()
    assert (again.pk, again.street, again.location_id) == (first.pk, "1 Oak St.", "7")
    assert again.h3_res8 != CELL


def test_place_that_had_been_asked_for_is_confirmed() -> None:
    places(HOUSE)
    Premises.objects.update(source=Premises.Source.ASKED)
    assert numbers(places(HOUSE)) == (0, 1, 0, 0)
    assert Premises.objects.get().source == Premises.Source.IMPORTED


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"street": ""}, "street"),
        ({"city": None}, "city"),
        ({"region": "XX"}, "region"),
        ({"postal_code": "1"}, "postal_code"),
        ({"latitude": 91}, "latitude"),
        ({"latitude": "north"}, "latitude"),
        ({"latitude": "NaN"}, "latitude"),
        ({"longitude": 180.1}, "longitude"),
        ({"longitude": None}, "latitude"),
        ({"location_id": "x" * 41}, "location_id"),
        ({"street": "1 Oak \x00"}, "address"),
    ],
)
def test_bad_row_is_left_out_and_reported(change: dict[str, Any], field: str) -> None:
    report = places(HOUSE | change, HOUSE | {"street": "2 Oak Street"})
    assert numbers(report) == (1, 0, 0, 1)
    assert (report.rejected[0].number, report.rejected[0].field) == (1, field)
    assert report.rejected[0].reason


def test_repeats_within_a_list_and_stolen_location_ids_are_reported() -> None:
    places(HOUSE | {"location_id": "1"})
    report = places(
        HOUSE | {"location_id": "1"},
        HOUSE | {"street": "1 oak st"},
        HOUSE | {"street": "2 Oak Street", "location_id": "1"},
        HOUSE | {"street": "3 Oak Street", "location_id": "3"},
        HOUSE | {"street": "4 Oak Street", "location_id": "3"},
    )
    assert numbers(report) == (1, 0, 1, 3)
    assert [(row.number, row.field) for row in report.rejected] == [
        (2, "street"), (3, "location_id"), (5, "location_id"),
    ]  # fmt: skip


def test_location_id_of_another_address_is_refused() -> None:
    places(HOUSE | {"location_id": "1"})
    report = places(HOUSE | {"street": "2 Oak Street", "location_id": "1"})
    assert [(row.field, row.reason) for row in report.rejected] == [
        ("location_id", "Another address has this location id.")
    ]


def test_database_refuses_one_address_twice_and_places_off_the_earth() -> None:
    places(HOUSE)
    twin = Premises.objects.get()
    with pytest.raises(IntegrityError, match="premises_address_once"), transaction.atomic():
        Premises.objects.create(match_key=twin.match_key, unit="", created_at=AT)
    for facts in ({"latitude": 91, "longitude": 0}, {"latitude": 1}):
        with pytest.raises(IntegrityError, match="premises_on_earth"), transaction.atomic():
            Premises.objects.create(match_key="x", created_at=AT, **facts)


# --- Nodes --------------------------------------------------------------------------------------


def test_node_gets_numbered_ports_once(network: Partner) -> None:
    for ports in (3, 5, 2):
        coverage.create_node(provider=network, name="n1", technology=50, ports=ports, at=AT)
    assert list(AccessPort.objects.values_list("number", flat=True)) == [1, 2, 3, 4, 5]
    assert AccessNode.objects.count() == 1


@pytest.mark.parametrize(
    ("change", "field"),
    [({"ports": -1}, "ports"), ({"ports": 10**9}, "ports"), ({"technology": 99}, "technology"),
     ({"name": ""}, "name"), ({"name": "x" * 81}, "name")],
)  # fmt: skip
def test_node_that_cannot_be(network: Partner, change: dict[str, Any], field: str) -> None:
    facts = {"name": "n1", "technology": 50, "ports": 1} | change
    with pytest.raises(InvalidInput) as refusal:
        coverage.create_node(provider=network, at=AT, **facts)
    assert refusal.value.field == field


def test_node_keeps_its_technology(network: Partner) -> None:
    coverage.create_node(provider=network, name="n1", technology=50, ports=1, at=AT)
    with pytest.raises(InvalidInput, match="another technology"):
        coverage.create_node(provider=network, name="n1", technology=40, ports=1, at=AT)


def test_database_refuses_half_taken_ports_and_repeats(network: Partner) -> None:
    node = coverage.create_node(provider=network, name="n1", technology=50, ports=2, at=AT)

    def attack(constraint: str, change: Callable[[], object]) -> None:
        with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
            change()

    ports = AccessPort.objects
    attack("taken_port_names_its_service", lambda: ports.update(taken_at=AT))
    attack("service_ref", lambda: ports.update(service_ref="svc_1", taken_at=AT))
    attack("port_number_once", lambda: ports.create(node=node, number=1))
    attack("node_name_once", lambda: AccessNode.objects.create(
        provider=network, name="n1", technology=50))  # fmt: skip


# --- Coverage -----------------------------------------------------------------------------------


def test_list_sets_what_is_delivered_where(network: Partner) -> None:
    places(HOUSE | {"location_id": "77"})
    place = Premises.objects.get()
    coverage.create_node(provider=network, name="n1", technology=50, ports=1, at=AT)
    report = areas(
        network,
        FIBRE | {"h3_res8": CELL, "node": "n1", "construction_fee": "12.50"},
        FIBRE | {"location_id": "77", "technology": 40},
        FIBRE | {"premises": place.public_id, "install_days": 3},
        FIBRE | {"premises": place, "technology": 10, "loop_length_m": "800"},
    )
    assert numbers(report) == (4, 0, 0, 0)
    cell = CoverageArea.objects.get(h3_res8=CELL)
    assert (cell.node.name, cell.construction_fee, cell.install_days) == ("n1", Decimal("12.5"), 7)
    assert place.coverage.filter(valid_from=AT, valid_to=None).count() == 3


def test_changed_fact_ends_the_old_row_and_the_rest_stays(network: Partner) -> None:
    other = cell_of((44.3, -72.4))
    areas(network, FIBRE | {"h3_res8": CELL}, FIBRE | {"h3_res8": other})
    report = areas(
        network, FIBRE | {"h3_res8": CELL, "max_download_kbps": 2_000},
        FIBRE | {"h3_res8": other}, at=LATER,
    )  # fmt: skip
    assert numbers(report) == (0, 1, 1, 0)
    rows = CoverageArea.objects.filter(h3_res8=CELL).order_by("pk")
    assert [(row.max_download_kbps, row.valid_from, row.valid_to) for row in rows] == [
        (1_000, AT, LATER),
        (2_000, LATER, None),
    ]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"technology": 99}, "technology"),
        ({"technology": "fibre"}, "technology"),
        ({"max_download_kbps": -1}, "max_download_kbps"),
        ({"max_upload_kbps": ""}, "max_upload_kbps"),
        ({"max_upload_kbps": "1.5"}, "max_upload_kbps"),
        ({"install_days": 10**6}, "install_days"),
        ({"construction_fee": "NaN"}, "construction_fee"),
        ({"construction_fee": "-1"}, "construction_fee"),
        ({"construction_fee": "free"}, "construction_fee"),
        ({"node": "nowhere"}, "node"),
        ({"h3_res8": "not a cell"}, "h3_res8"),
        ({"h3_res8": h3.cell_to_parent(CELL, 7)}, "h3_res8"),
        ({"h3_res8": None}, "place"),
        ({"location_id": "5"}, "place"),
        ({"h3_res8": None, "location_id": "5"}, "location_id"),
        ({"h3_res8": None, "premises": "prm_5"}, "premises"),
    ],
)
def test_bad_coverage_is_left_out_and_reported(
    network: Partner, change: dict[str, Any], field: str
) -> None:
    other = cell_of((44.3, -72.4))
    report = areas(network, FIBRE | {"h3_res8": CELL} | change, FIBRE | {"h3_res8": other})
    assert numbers(report) == (1, 0, 0, 1)
    assert (report.rejected[0].number, report.rejected[0].field) == (1, field)


def test_node_of_another_network_or_technology_is_refused(network: Partner) -> None:
    rival = make_partner("rival", "Rival", "network_provider", AT)
    theirs = coverage.create_node(provider=rival, name="r1", technology=50, ports=1, at=AT)
    coverage.create_node(provider=network, name="c1", technology=40, ports=1, at=AT)
    rows = [FIBRE | {"h3_res8": CELL, "node": theirs}, FIBRE | {"h3_res8": CELL, "node": "c1"}]
    assert [row.field for row in areas(network, *rows).rejected] == ["node", "node"]


def test_place_twice_in_a_list_and_a_list_from_the_past_are_refused(network: Partner) -> None:
    row = FIBRE | {"h3_res8": CELL}
    assert numbers(areas(network, row, row, at=LATER)) == (1, 0, 0, 1)
    report = areas(network, row | {"max_download_kbps": 5}, at=AT)
    assert [row.reason for row in report.rejected] == [
        "A later list has changed this place already."
    ]


def test_coverage_of_a_cell_can_be_ended_once(network: Partner) -> None:
    areas(network, FIBRE | {"h3_res8": CELL})
    end = {"provider": network, "technology": 50, "h3_res8": CELL}
    assert coverage.end_coverage(**end, at=LATER) is True
    assert coverage.end_coverage(**end, at=LATER + timedelta(days=1)) is False
    assert CoverageArea.objects.get().valid_to == LATER


def test_import_costs_the_same_queries_for_many_rows(network: Partner) -> None:
    def cost(count: int, at: Any) -> int:
        cells = sorted(h3.grid_disk(CELL, 12))[:count]
        with CaptureQueriesContext(connection) as queries:
            areas(network, *(FIBRE | {"h3_res8": cell} for cell in cells), at=at)
        return len(queries)

    assert cost(2, AT) == cost(400, LATER)
