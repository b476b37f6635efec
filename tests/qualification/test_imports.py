"""Lists that come as files: previewed, applied, thrown away, taken back, refused."""

from __future__ import annotations

import gzip
import io
import tracemalloc
import zipfile
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings
from django.db import connection

from ispops.errors import IllegalTransition, InvalidInput, Refusal
from ispops.models import Event
from ispops.parties.models import AuditEntry, Partner
from qualification import coverage, import_work, imports, queries
from qualification.models import CoverageArea, CoverageImport, Premises
from tests import factories
from tests.qualification.lists import (
    AT,
    PUBLIC_HEADER,
    REAL_ROW,
    apply,
    check,
    counts,
    csv_of,
    rejects,
    submit,
    work,
)
from tests.small_isp import LAUNCH, OAK, OAK_POINT, cell_of, make_partner

pytestmark = pytest.mark.django_db
LATER, LAST = AT + timedelta(days=1), AT + timedelta(days=2)
CELL, OTHER_CELL, THIRD_CELL = (cell_of((44.197 + step, -72.502)) for step in (0, 0.1, 0.2))
CELLS = "technology,h3_res8,max_download_kbps,max_upload_kbps"
REAL = f"{PUBLIC_HEADER}\n{REAL_ROW}\n"


LEFT_BY_OTHERS = set[str]()


@pytest.fixture(autouse=True)
def _own_folder_and_tables(db: None, settings: LazySettings, tmp_path: Path) -> None:
    """A test that kills workers leaves the table of a list behind, which no test here made."""
    settings.MEDIA_ROOT = tmp_path
    LEFT_BY_OTHERS.clear()
    LEFT_BY_OTHERS.update(tables())


@pytest.fixture
def network() -> Partner:
    return make_partner("fast-fibre", "Fast Fibre", "network_provider", LAUNCH)


def make_house(number: int = 1, **facts: Any) -> Premises:
    point = {"latitude": OAK_POINT[0], "longitude": OAK_POINT[1]}
    row = {"street": f"{number} Oak Street", **OAK, **point, **facts}
    assert not coverage.import_premises(rows=[row], at=LAUNCH).rejected
    return Premises.objects.get(match_key__startswith=f"{number} OAK ST,")


def cells(*rows: tuple[str, int]) -> str:
    return csv_of(CELLS, *([50, cell, speed, speed] for cell, speed in rows))


def in_force(at: Any = LAST) -> dict[str, int]:
    """What is delivered at `at`, by place or cell."""
    return {
        area.h3_res8 or str(area.premises): area.max_download_kbps
        for area in CoverageArea.objects.at(at).select_related("premises")
    }


def tables() -> set[str]:
    """The tables in which lists wait."""
    return {
        name for name in connection.introspection.table_names() if name.startswith("coverage_l")
    } - LEFT_BY_OTHERS


def changes() -> list[dict[str, Any]]:
    return [event.payload for event in Event.objects.filter(kind="coverage.changed").order_by("pk")]


# --- From the file to the line --------------------------------------------------------------------


def test_the_real_row_of_the_fcc_is_delivered_where_it_says(network: Partner) -> None:
    house = make_house(location_id="1037392925")
    row = apply(check(REAL, network, "fcc_public"))
    assert (row.state, counts(row)) == ("applied", (1, 0, 0, 0, 0))
    (area,) = queries.coverage_at(house, house.h3_res8, LATER)
    assert (area.technology, area.max_download_kbps, area.max_upload_kbps) == (50, 100_000, 100_000)
    assert (area.valid_from, area.added_by, area.low_latency) == (AT, row, True)


def test_a_filing_without_its_header(network: Partner) -> None:
    make_house(location_id="1037392925")
    filed = REAL_ROW.partition(",")[2].rsplit(",", 3)[0]
    row = check(f"{filed}\n{filed.replace('1037392925', '5')}\n", network, "fcc_filing")
    assert (row.rows_total, counts(row)) == (2, (1, 0, 0, 0, 1))
    assert rejects(row)[1][:2] == ["2", "location_id"]


def test_published_rows_of_unknown_locations_stand_for_their_cell_if_wanted(
    network: Partner,
) -> None:
    other = REAL_ROW.replace("1037392925", "7")
    slow = REAL_ROW.replace("1037392925", "8").replace(",100,100,1,", ",50,20,0,")
    make_house(location_id="1037392925")
    published = f"{REAL}{other}\n{slow}\n"
    assert counts(check(published, network, "fcc_public")) == (1, 0, 0, 0, 2)
    row = apply(check(published, network, "fcc_public", use_cells=True))
    assert counts(row) == (2, 0, 0, 0, 0)
    assert (row.summary["merged"], row.rows_total) == (1, 3)
    area = CoverageArea.objects.get(h3_res8="882bab5303fffff")
    assert (area.max_download_kbps, area.max_upload_kbps, area.low_latency) == (
        50_000,
        20_000,
        False,
    )


def test_own_list_names_places_in_every_way(network: Partner) -> None:
    houses = [make_house(number, location_id=f"L{number}") for number in (1, 2, 3, 4)]
    coverage.create_node(provider=network, name="n1", technology=50, ports=1, at=LAUNCH)
    row = apply(check(csv_of(
        "location_id,street,city,state,zip,address,h3_res8,technology,max_download_mbps,"
        "max_upload_mbps,node,planned_date,construction_fee,remark",
        ["L1", *[""] * 6, 50, 100, 10, "n1", "2027-03-31", "99.5", "a"],
        ["", "2 OAK ST.", "Barre", "VT", "05641", "", "", 50, 200, 20, *[""] * 4],
        ["", *[""] * 4, "3 Oak St, Barre, VT 05641-1234", "", 50, 300, 30, *[""] * 4],
        ["", *[""] * 5, OTHER_CELL, 50, 400, 40, *[""] * 4],
        ["unknown", "4 Oak St", "Barre", "VT", "05641", "", "", 50, 500, 50, *[""] * 4],
    ), network))  # fmt: skip
    assert counts(row) == (5, 0, 0, 0, 0)
    assert row.summary["unused"] == ["remark"]
    assert in_force() == {
        str(houses[0]): 100_000, str(houses[1]): 200_000, str(houses[2]): 300_000,
        OTHER_CELL: 400_000, str(houses[3]): 500_000,
    }  # fmt: skip
    area = houses[0].coverage.get()
    assert (area.node.name, area.planned_date) == ("n1", date(2027, 3, 31))
    assert str(area.construction_fee) == "99.500000"


def test_what_a_list_does_not_say_stays_as_it_is(network: Partner) -> None:
    """The FCC's form knows no nodes and fees: it must not take them from the operator's list."""
    house = make_house(location_id="1037392925")
    coverage.create_node(provider=network, name="n1", technology=50, ports=1, at=LAUNCH)
    facts = {"technology": 50, "premises": house, "install_days": 3, "node": "n1"}
    speeds = {"max_download_kbps": 90_000, "max_upload_kbps": 90_000}
    coverage.import_coverage(rows=[facts | speeds], provider=network, at=LAUNCH)
    assert counts(apply(check(REAL, network, "fcc_public"))) == (0, 1, 0, 0, 0)
    now = house.coverage.get(valid_to=None)
    assert (now.max_download_kbps, now.install_days, now.node.name) == (100_000, 3, "n1")
    assert counts(check(REAL, network, "fcc_public", at=LATER)) == (0, 0, 0, 1, 0)


def zipped(content: bytes) -> bytes:
    kept = io.BytesIO()
    with zipfile.ZipFile(kept, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bdc_50_130317_fixed_broadband.csv", content)
    return kept.getvalue()


@pytest.mark.parametrize("pack", [gzip.compress, zipped])
def test_packed_lists_are_unpacked(network: Partner, pack: Callable[[bytes], bytes]) -> None:
    make_house(location_id="1037392925")
    row = check(pack(REAL.encode()), network, "fcc_public")
    assert counts(row) == (1, 0, 0, 0, 0)


# --- Preview, apply, discard ----------------------------------------------------------------------


def test_a_preview_changes_nothing_and_says_everything(network: Partner) -> None:
    coverage.import_coverage(
        rows=[{"technology": 50, "h3_res8": cell, "max_download_kbps": speed,
               "max_upload_kbps": speed} for cell, speed in ((CELL, 1), (OTHER_CELL, 2))],
        provider=network, at=LAUNCH,
    )  # fmt: skip
    told = len(changes())
    row = check(cells((CELL, 5), (THIRD_CELL, 7), ("nowhere", 1), (CELL, 9)), network,
                is_complete=True)  # fmt: skip
    assert (row.state, counts(row)) == ("previewed", (1, 1, 1, 0, 2))
    assert in_force() == {CELL: 1, OTHER_CELL: 2}
    assert len(changes()) == told
    assert row.summary["technologies"] == [
        {"technology": 50, "added": 1, "changed": 1, "removed": 1, "unchanged": 0}
    ]
    samples = row.summary["samples"]
    assert samples["changed"][0] | {"location_id": None} == {
        "place": f"H3 cell {CELL}", "technology": 50, "download": 5, "upload": 5,
        "old_download": 1, "old_upload": 1, "location_id": None,
    }  # fmt: skip
    assert samples["removed"][0]["place"] == f"H3 cell {OTHER_CELL}"
    assert {(reason["field"], reason["count"]) for reason in row.summary["reasons"]} == {
        ("h3_res8", 1), ("place", 1),
    }  # fmt: skip
    assert samples["rejected"][0]["line"] == 4


def test_rejected_rows_can_be_fetched_with_line_field_reason_and_row(network: Partner) -> None:
    text = csv_of(CELLS, [50, CELL, 1, 1], [99, OTHER_CELL, 1, 1], [50, THIRD_CELL, 1, "=1+1"],
                  [50, CELL, 1, 1], [50, CELL, 1])  # fmt: skip
    row = check(text.replace("99,", '"9\n9",'), network)
    assert rejects(row) == [
        ["line", "field", "reason", *CELLS.split(",")],
        ["3", "technology", "This is not a whole number.", "9\n9", OTHER_CELL, "1", "1"],
        ["5", "max_upload_kbps", "This is not a whole number.", "50", THIRD_CELL, "1", "'=1+1"],
        ["6", "place", "The list has this place twice.", "50", CELL, "1", "1"],
        ["7", "row", "The row has 3 columns, and the header 4.", "50", CELL, "1"],
    ]


def test_applying_does_what_was_previewed_and_tells_once(network: Partner) -> None:
    apply(check(cells((CELL, 1), (OTHER_CELL, 2)), network))
    row = apply(check(cells((CELL, 5), (OTHER_CELL, 2)), network, at=LATER), at=LATER)
    assert (row.state, row.applied_at, counts(row)) == ("applied", LATER, (0, 1, 0, 1, 0))
    assert (row.rows_done, row.rows_total) == (2, 2)
    assert in_force() == {CELL: 5, OTHER_CELL: 2}
    ended = CoverageArea.objects.get(h3_res8=CELL, max_download_kbps=1)
    assert (ended.valid_to, ended.ended_by) == (LATER, row)
    assert changes()[1:] == [{"provider_id": network.pk, "import_id": row.public_id}]
    assert Event.objects.filter(kind="coverage.changed").last().subject == "fast-fibre"
    assert tables() == set()
    assert apply_again(row) == "applied"
    assert len(changes()) == 2


def apply_again(row: CoverageImport) -> str:
    return imports.apply_list(import_id=row.pk, actor=None, actor_name="t", at=LAST).state


def test_the_same_list_again_changes_and_tells_nothing(network: Partner) -> None:
    apply(check(cells((CELL, 1)), network))
    row = apply(check(cells((CELL, 1)), network, at=LATER), at=LATER)
    assert (row.state, counts(row)) == ("applied", (0, 0, 0, 1, 0))
    assert len(changes()) == 1


def test_complete_list_ends_what_it_does_not_name(network: Partner) -> None:
    coverage.import_coverage(
        rows=[{"technology": technology, "h3_res8": cell, "max_download_kbps": 1,
               "max_upload_kbps": 1} for technology, cell in
              ((50, CELL), (50, OTHER_CELL), (50, THIRD_CELL), (40, CELL))],
        provider=network, at=LAUNCH,
    )  # fmt: skip
    listed = csv_of(CELLS, [50, CELL, 1, 1], [50, OTHER_CELL, "fast", 1])
    row = apply(check(listed, network, is_complete=True))
    assert counts(row) == (0, 0, 1, 1, 1)
    left = CoverageArea.objects.at(LAST).values_list("technology", "h3_res8")
    assert set(left) == {(50, CELL), (40, CELL), (50, OTHER_CELL)}, (
        "another technology stays, and so does a place whose row could not be read"
    )


def test_complete_list_without_a_usable_row_ends_nothing(network: Partner) -> None:
    apply(check(cells((CELL, 1)), network))
    row = check(csv_of(CELLS, [50, OTHER_CELL, "x", 1]), network, is_complete=True, at=LATER)
    assert counts(row) == (0, 0, 0, 0, 1)


def test_a_list_ends_nothing_of_other_networks(network: Partner) -> None:
    rival = make_partner("rival", "Rival", "network_provider", LAUNCH)
    apply(check(cells((CELL, 1)), rival))
    assert counts(apply(check(cells((OTHER_CELL, 2)), network, is_complete=True))) == (
        1,
        0,
        0,
        0,
        0,
    )
    assert in_force() == {CELL: 1, OTHER_CELL: 2}


def test_coverage_that_changes_after_the_preview_has_to_be_looked_at_again(
    network: Partner,
) -> None:
    row = check(cells((CELL, 5), (OTHER_CELL, 5)), network)
    other = {"technology": 50, "h3_res8": CELL, "max_download_kbps": 5, "max_upload_kbps": 5}
    coverage.import_coverage(rows=[other], provider=network, at=AT)
    row = apply(row, at=LATER)
    assert (row.state, counts(row)) == ("previewed", (1, 0, 0, 1, 0))
    assert "was checked again" in row.error
    assert in_force() == {CELL: 5}
    row = apply(row, at=LAST)
    assert (row.state, row.error, in_force(LAST)) == ("applied", "", {CELL: 5, OTHER_CELL: 5})


def test_a_crash_that_emptied_the_plan_has_the_list_checked_again(network: Partner) -> None:
    """Tables that are not logged are empty after the database has crashed."""
    row = check(cells((CELL, 5)), network)
    with connection.cursor() as cursor:
        cursor.execute(f"TRUNCATE {imports.plan_of(row).name}")
    row = apply(row)
    assert (row.state, counts(row)) == ("previewed", (1, 0, 0, 0, 0))
    assert apply(row, at=LATER).state == "applied"


def test_discarding_forgets_the_rows_and_keeps_the_file(network: Partner) -> None:
    row = check(cells((CELL, 5)), network)
    assert tables() == {imports.plan_of(row).name}
    for _ in range(2):
        row = imports.discard_list(import_id=row.pk, actor=factories.staff("CSR", at=AT), at=LATER)
        assert row.state == "discarded"
    assert (tables(), in_force()) == (set(), {})
    assert row.file.open().read().startswith(b"technology,")
    with pytest.raises(IllegalTransition, match="Discarded"):
        apply(row)


def test_a_list_that_waits_can_be_discarded(network: Partner) -> None:
    row = submit(cells((CELL, 5)), network)
    imports.discard_list(import_id=row.pk, actor=factories.staff("CSR", at=AT), at=AT)
    assert import_work.work_on(import_id=row.pk, at=LATER) is False


def test_every_decision_is_in_the_audit_trail(network: Partner) -> None:
    boss = factories.staff("Operations", at=AT)
    row = check(cells((CELL, 5)), network, actor=boss)
    imports.apply_list(import_id=row.pk, actor=boss, at=AT)
    work(row)
    imports.roll_back_list(import_id=row.pk, actor=boss, reason="The wrong file", at=LATER)
    entries = AuditEntry.objects.filter(subject=row.public_id).order_by("pk")
    assert [(entry.action, entry.actor, entry.reason) for entry in entries] == [
        ("coverage_import.submitted", boss, ""),
        ("coverage_import.applied", boss, ""),
        ("coverage_import.rolled_back", boss, "The wrong file"),
    ]
    assert entries[1].detail["added"] == 1


# --- Taking back ----------------------------------------------------------------------------------


def roll_back(row: CoverageImport, *, at: Any) -> CoverageImport:
    boss = factories.staff("Operations", at=AT)
    imports.roll_back_list(import_id=row.pk, actor=boss, reason="A mistake", at=at)
    return work(row, at=at)


def test_taking_back_restores_what_was(network: Partner) -> None:
    apply(check(cells((CELL, 1), (OTHER_CELL, 2)), network))
    second = apply(
        check(cells((CELL, 5), (THIRD_CELL, 7)), network, is_complete=True, at=LATER), at=LATER
    )
    assert in_force() == {CELL: 5, THIRD_CELL: 7}
    told = len(changes())
    second = roll_back(second, at=LAST)
    assert second.state == "rolled_back"
    assert second.summary["rolled_back"] == {"ended": 2, "back": 2, "left": 0}
    assert in_force(LAST) == {CELL: 1, OTHER_CELL: 2}
    assert in_force(LATER) == {CELL: 5, THIRD_CELL: 7}, "the past stays what it was"
    assert changes()[told:] == [{"provider_id": network.pk, "import_id": second.public_id}]
    again = imports.roll_back_list(import_id=second.pk, actor=second.created_by, reason="", at=LAST)
    assert again.state == "rolled_back"


def test_lists_are_taken_back_one_after_the_other(network: Partner) -> None:
    days = [AT + timedelta(days=number) for number in range(6)]
    first = apply(check(cells((CELL, 1), (OTHER_CELL, 1)), network, at=days[0]), at=days[0])
    second = apply(check(cells((CELL, 2)), network, at=days[1]), at=days[1])
    third = apply(check(cells((CELL, 3)), network, is_complete=True, at=days[2]), at=days[2])
    assert in_force(days[5]) == {CELL: 3}
    for row, at, expected in (
        (third, days[3], {CELL: 2, OTHER_CELL: 1}),
        (second, days[4], {CELL: 1, OTHER_CELL: 1}),
        (first, days[5], {}),
    ):
        assert roll_back(row, at=at).summary["rolled_back"]["left"] == 0
        assert in_force(at) == expected


def test_taking_back_knows_places_from_cells(network: Partner) -> None:
    houses = [str(make_house(number, location_id=f"L{number}")) for number in (1, 2)]
    listed = "location_id,h3_res8,technology,max_download_kbps,max_upload_kbps"
    apply(check(csv_of(listed, ["L1", "", 50, 1, 1], ["", CELL, 50, 2, 2]), network))
    second = apply(
        check(csv_of(listed, ["L1", "", 50, 5, 5], ["L2", "", 50, 6, 6]), network,
              is_complete=True, at=LATER),
        at=LATER,
    )  # fmt: skip
    assert in_force(LATER) == {houses[0]: 5, houses[1]: 6}
    came = roll_back(second, at=LAST).summary["rolled_back"]
    assert came == {"ended": 2, "back": 2, "left": 0}
    assert in_force(LAST) == {houses[0]: 1, CELL: 2}


def test_what_changed_since_is_left_and_counted(network: Partner) -> None:
    apply(check(cells((CELL, 1), (OTHER_CELL, 1), (THIRD_CELL, 1)), network))
    second = apply(
        check(cells((CELL, 2), (OTHER_CELL, 2)), network, is_complete=True, at=LATER), at=LATER
    )
    between = LATER + timedelta(hours=1)
    apply(check(cells((CELL, 3), (THIRD_CELL, 3)), network, at=between), at=between)
    second = roll_back(second, at=LAST)
    assert second.summary["rolled_back"] == {"ended": 1, "back": 1, "left": 2}
    assert in_force(LAST) == {CELL: 3, OTHER_CELL: 1, THIRD_CELL: 3}


def test_what_was_ended_since_does_not_come_back(network: Partner) -> None:
    apply(check(cells((CELL, 1)), network))
    second = apply(check(cells((CELL, 2)), network, at=LATER), at=LATER)
    end = LATER + timedelta(hours=1)
    coverage.end_coverage(provider=network, technology=50, h3_res8=CELL, at=end)
    second = roll_back(second, at=LAST)
    assert second.summary["rolled_back"] == {"ended": 0, "back": 0, "left": 1}
    assert in_force(LAST) == {}


@pytest.mark.parametrize("state", ["queued", "previewed", "discarded"])
def test_only_what_was_applied_is_taken_back(network: Partner, state: str) -> None:
    boss = factories.staff("Operations", at=AT)
    row = submit(cells((CELL, 1)), network)
    if state == "previewed":
        work(row)
    elif state == "discarded":
        imports.discard_list(import_id=row.pk, actor=boss, at=AT)
    with pytest.raises(IllegalTransition):
        imports.roll_back_list(import_id=row.pk, actor=boss, reason="x", at=LATER)


# --- Lists of places ------------------------------------------------------------------------------


FABRIC = "location_id,address_primary,city,state,zip,bsl_flag,latitude,longitude"


def test_the_fabric_is_imported_and_corrected(network: Partner) -> None:
    make_house(1)
    row = check(csv_of(
        FABRIC,
        ["1037392925", "1 OAK ST", "Barre", "VT", "05641", "True", 44.197, -72.502],
        ["2", "2 Oak St", "Barre", "VT", "05641", "True", 44.1971, -72.502],
        ["3", "3 Oak St", "Barre", "VT", "05641", "False", 44.1972, -72.502],
        ["4", "4 Oak St", "Barre", "VT", "05641", "True", 91, -72.502],
        ["2", "5 Oak St", "Barre", "VT", "05641", "True", 44.1972, -72.502],
    ), None, "premises")  # fmt: skip
    assert (row.state, counts(row)) == ("previewed", (1, 1, 0, 0, 3))
    assert Premises.objects.count() == 1
    assert [line[:2] for line in rejects(row)[1:]] == [
        ["4", "bsl_flag"], ["5", "latitude"], ["6", "location_id"],
    ]  # fmt: skip
    row = apply(row)
    assert (row.state, Premises.objects.count()) == ("applied", 2)
    assert Premises.objects.get(location_id="2").h3_res8 == CELL
    first = Premises.objects.get(location_id="1037392925")
    assert first.street == "1 OAK ST"
    apply(check(REAL, network, "fcc_public"))
    assert first.coverage.count() == 1
    assert changes()[-1]["provider_id"] == network.pk
    with pytest.raises(IllegalTransition, match="not taken away"):
        roll_back(row, at=LATER)


def test_a_list_of_addresses_alone_leaves_the_rest_as_it_is() -> None:
    make_house(1, location_id="7")
    listed = csv_of("street,city,state,zip", ["1 Oak St.", "Barre", "VT", "05641"])
    assert counts(apply(check(listed, None, "premises"))) == (0, 1, 0, 0, 0)
    house = Premises.objects.get()
    assert (house.street, house.location_id, house.h3_res8) == ("1 Oak St.", "7", CELL)


def test_a_place_that_somebody_asks_for_meanwhile_is_confirmed() -> None:
    listed = csv_of("street,city,state,zip", ["1 Oak St", "Barre", "VT", "05641"])
    row = check(listed, None, "premises")
    house = make_house(1)
    Premises.objects.update(source=Premises.Source.ASKED)
    assert apply(row).state == "applied"
    again = Premises.objects.get()
    assert (again.pk, again.source) == (house.pk, "imported")


# --- What is refused at once, and what the worker refuses -----------------------------------------


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "The file is empty"),
        (b"\x00\x01\x02", "NUL"),
        (CELLS.encode() + b"\n", "a header and no rows"),
        (b"a,b\n1,2\n", "lacks technology"),
        (CELLS.encode() + b"\n50,caf\xe9,1,1\n", "Line 2 is not in UTF-8"),
        (f"{CELLS}\n50,caf\u00e9,1,1\n".encode() + b"50,caf\xe9,1,1\n", "Line 3 is not in UTF-8"),
        (CELLS.encode() + b"\n50,\x00,1,1\n", "Line 2 has a NUL"),
        (b"," * 1_000_000 + b"\n1\n", "Line 1 is longer than"),
        (b"PK\x03\x04", "damaged"),
        (gzip.compress(b"0" * 50_000_000, mtime=0), "unpacks to more than"),
    ],
)
def test_what_is_no_list_is_refused_at_once_and_leaves_nothing(
    network: Partner, tmp_path: Path, content: bytes, words: str
) -> None:
    with pytest.raises(Refusal, match=words) as refusal:
        submit(content, network)
    assert refusal.value.field == "file"
    assert not CoverageImport.objects.exists()
    assert list(tmp_path.rglob("*.csv")) == []


@pytest.mark.parametrize(
    ("tail", "words"),
    [
        ('50,"never closed,1,1\n', "row that begins in line 3 cannot be read: a quote"),
        ('50,"a" b,1,1\n', "row that begins in line 3 cannot be read: a quote"),
        ("," * 1_000_000 + "\n", "Line 3 is longer than 65,536 bytes"),
    ],
)
def test_what_cannot_be_read_further_down_fails_with_the_line(
    network: Partner, tail: str, words: str
) -> None:
    row = check(cells((CELL, 1)) + tail, network)
    assert (row.state, in_force(), tables()) == ("failed", {}, set())
    assert words in row.error
    assert row.finished_at == AT
    imports.discard_list(import_id=row.pk, actor=factories.staff("CSR", at=AT), at=LATER)


def test_line_ends_and_encodings_of_every_system(network: Partner) -> None:
    text = cells((CELL, 1), (OTHER_CELL, 2))
    for number, content in enumerate((
        text.replace("\n", "\r\n").encode(), text.replace("\n", "\r").encode(),
        b"\xef\xbb\xbf" + text.encode(), text.encode("utf-16"),
    )):  # fmt: skip
        row = check(content, network, at=AT + timedelta(hours=number))
        assert counts(row) == (2, 0, 0, 0, 0)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"list_format": "xml"}, "format"),
        ({"provider": None}, "provider"),
        ({"use_cells": True}, "use_cells"),
        ({"list_format": "premises"}, "format"),
        ({"list_format": "premises", "provider": None, "is_complete": True}, "format"),
    ],
)
def test_choices_that_do_not_fit(network: Partner, options: dict[str, Any], field: str) -> None:
    given: dict[str, Any] = {"provider": network, **options}
    with pytest.raises(InvalidInput) as refusal:
        submit(cells((CELL, 1)), given.pop("provider"), **given)
    assert refusal.value.field == field


def test_a_bsp_has_no_coverage() -> None:
    films = make_partner("films", "Films", Partner.Kind.BSP, LAUNCH)
    with pytest.raises(InvalidInput, match="Choose the network"):
        submit(cells((CELL, 1)), films)


def test_memory_does_not_grow_with_the_list(network: Partner) -> None:
    rows = 30_000
    text = f"{CELLS}\n" + f"50,{CELL},1000000,1000000\n" * rows
    content = gzip.compress(text.encode())
    tracemalloc.start()
    row = check(content, network)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (row.added, row.rejected, row.rows_total) == (1, rows - 1, rows)
    assert len(text) > 1_000_000
    assert peak < 4_000_000, "the pieces in which it is read, and no more"


# --- Faults ---------------------------------------------------------------------------------------


def test_a_fault_is_tried_again_and_then_told(
    network: Partner, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = submit(cells((CELL, 1)), network)
    monkeypatch.setattr(import_work.previews, "preview", lambda *_: 1 / 0)
    for attempt in range(1, import_work.MOST_ATTEMPTS):
        row = work(row, at=AT + timedelta(days=400 * attempt))
        assert (row.state, row.attempts, row.leased_until) == ("checking", attempt, None)
        assert row.next_attempt_at is not None
    row = work(row, at=AT + timedelta(days=4_000))
    assert (row.state, row.next_attempt_at) == ("failed", None)
    assert "a fault on our side" in row.error
    assert tables() == set()


def test_a_list_whose_file_is_gone_says_so(network: Partner) -> None:
    row = submit(cells((CELL, 1)), network)
    Path(row.file.path).unlink()
    assert "its file is gone" in work(row, at=AT).error


def test_a_fault_while_applying_leaves_the_preview(
    network: Partner, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = check(cells((CELL, 1)), network)
    imports.apply_list(import_id=row.pk, actor=None, actor_name="t", at=AT)
    CoverageImport.objects.filter(pk=row.pk).update(attempts=import_work.MOST_ATTEMPTS)
    row = work(row, at=LATER)
    assert (row.state, row.error) == (
        "previewed",
        "Being applied: this did not succeed, because every worker that took it was lost. "
        "Nothing was changed.",
    )
    assert apply(row, at=LAST).state == "applied"


def test_a_worker_that_was_given_up_on_writes_nothing(
    network: Partner, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = check(cells((CELL, 1)), network)
    real = import_work._apply_plan

    def slow(*arguments: Any) -> None:
        real(*arguments)
        CoverageImport.objects.filter(pk=row.pk).update(leased_until=LAST)

    monkeypatch.setattr(import_work, "_apply_plan", slow)
    row = apply(row)
    assert (row.state, in_force()) == ("applying", {})
    assert tables() == {imports.plan_of(row).name}
    monkeypatch.setattr(import_work, "_apply_plan", real)
    row = work(row, at=LATER)
    assert (row.state, in_force()) == ("applied", {CELL: 1})


def test_nobody_works_when_nothing_is_due() -> None:
    assert import_work.work_on(at=AT) is False
