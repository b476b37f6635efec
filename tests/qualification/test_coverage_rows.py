"""Rows of coverage lists, one by one: what they say, and what is wrong with them."""

import uuid
from typing import Any

import h3
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ispops.errors import InvalidInput
from qualification.countries import us
from qualification.coverage_rows import FILING, PUBLIC, STAGED, CoverageRows
from qualification.place_rows import STAGED as STAGED_PLACES
from qualification.place_rows import PlaceRows

TECHNOLOGIES = frozenset({10, 40, 50})
# A row as the FCC publishes it.
REAL = "0003768165,130317,Xfinity,1037392925,50,100,100,1,B,VT,500110102002027,882bab5303fffff"
CELL = "882bab5303fffff"
OWN = ("location_id", "h3_res8", "technology", "max_download_kbps", "max_upload_kbps")
FABRIC = (
    "location_id", "address_primary", "city", "state", "zip", "zip_suffix", "unit_count",
    "bsl_flag", "building_type_code", "land_use_code", "address_confidence_code", "county_geoid",
    "block_geoid", "h3_9", "latitude", "longitude",
)  # fmt: skip
HOUSE = (
    "1037392925,1 Oak Street,Barre,VT,05641,1234,1,True,R,1,1,50023,500230001,"
    "892bab5303bffff,44.197,-72.502"
)


def reader(columns: tuple[str, ...], **options: Any) -> CoverageRows:
    return CoverageRows(columns, technologies=TECHNOLOGIES, country=us, **options)


def staged(line: str, columns: tuple[str, ...] = STAGED) -> dict[str, str | None]:
    values = [None if value == "\\N" else value for value in line.split("\t")]
    return dict(zip(columns, values, strict=True))


def said(line: str) -> dict[str, str]:
    return {name: value for name, value in staged(line).items() if value is not None}


def own(**row: str) -> dict[str, str]:
    columns = tuple(row)
    return said(reader(columns).line(2, list(row.values())))


FAST = {"technology": "50", "max_download_kbps": "1000", "max_upload_kbps": "500"}


def test_the_real_row_is_read_as_it_is_published() -> None:
    rows = reader(PUBLIC, fcc=PUBLIC)
    assert said(rows.line(2, REAL.split(","))) == {
        "number": "2", "technology": "50", "max_download_kbps": "100000",
        "max_upload_kbps": "100000", "low_latency": "true", "install_days": "7",
        "construction_fee": "0", "construction_days": "0", "location_id": "1037392925",
    }  # fmt: skip
    assert rows.said == {"max_download_kbps", "max_upload_kbps", "low_latency"}
    assert (rows.unused, rows.places) == ([], {"location_id", "h3_res8"})


def test_the_real_row_names_its_cell_when_that_is_wanted() -> None:
    rows = reader(PUBLIC, fcc=PUBLIC, use_cells=True)
    assert said(rows.line(2, REAL.split(",")))["h3_res8"] == CELL
    elsewhere = REAL.replace(CELL, "892bab5303bffff").split(",")
    assert "h3_res8" not in said(rows.line(2, elsewhere))


def test_the_filing_is_the_published_form_without_the_rest() -> None:
    filed = REAL.split(",")[1:9]
    assert said(reader(FILING, fcc=FILING).line(1, filed))["max_upload_kbps"] == "100000"
    shuffled = tuple(reversed(FILING))
    again = reader(shuffled, fcc=FILING).line(1, filed[::-1])
    assert again == reader(FILING, fcc=FILING).line(1, filed)


@pytest.mark.parametrize(
    ("column", "value", "field"),
    [
        ("location_id", "", "location_id"),
        ("location_id", "9" * 41, "location_id"),
        ("location_id", "1\t2", "location_id"),
        ("technology", "99", "technology"),
        ("technology", "5O", "technology"),
        ("technology", "", "technology"),
        ("max_advertised_download_speed", "fast", "max_advertised_download_speed"),
        ("max_advertised_download_speed", "-1", "max_advertised_download_speed"),
        ("max_advertised_download_speed", "NaN", "max_advertised_download_speed"),
        ("max_advertised_download_speed", "1e9999999", "max_advertised_download_speed"),
        ("max_advertised_upload_speed", "0.0001", "max_advertised_upload_speed"),
        ("max_advertised_upload_speed", "", "max_advertised_upload_speed"),
        ("low_latency", "maybe", "low_latency"),
        ("business_residential_code", "Z", "business_residential_code"),
        ("provider_id", "x", "provider_id"),
    ],
)
def test_a_bad_value_is_named_by_the_column_of_the_file(
    column: str, value: str, field: str
) -> None:
    row = dict(zip(PUBLIC, REAL.split(","), strict=True)) | {column: value}
    line = staged(reader(PUBLIC, fcc=PUBLIC).line(7, list(row.values())))
    assert (line["number"], line["field"]) == ("7", field)
    assert line["reason"]
    assert line["max_download_kbps"] is None


def test_a_refused_row_still_names_its_place() -> None:
    row = REAL.replace(",100,100,", ",fast,100,").split(",")
    line = said(reader(PUBLIC, fcc=PUBLIC).line(2, row))
    assert (line["technology"], line["location_id"]) == ("50", "1037392925")


def test_rows_of_another_provider_are_refused() -> None:
    rows = reader(PUBLIC, fcc=PUBLIC)
    first, other = REAL.split(","), REAL.replace("130317", "130318").split(",")
    assert "reason" not in said(rows.line(2, first))
    assert "is provider 130317's" in said(rows.line(3, other))["reason"]
    assert "reason" not in said(rows.line(4, first))
    known = reader(PUBLIC, fcc=PUBLIC, fcc_provider="130318")
    assert said(known.line(2, first))["field"] == "provider_id"
    assert "reason" not in said(known.line(3, other))


@pytest.mark.parametrize(
    ("columns", "fcc", "words"),
    [
        (FILING[:3], FILING, "lacks technology, max_advertised_download_speed"),
        (FILING, PUBLIC, "lacks frn, state_usps, block_geoid, h3_res8_id"),
        (("a", "b"), (), "lacks technology, max_download_kbps, max_upload_kbps, location_id"),
        (("technology", "h3_res8", "max_download_kbps"), (), "lacks max_upload_kbps. It has: tech"),
        ((*OWN, "h3_res8_id"), (), "two columns for h3_res8: h3_res8 and h3_res8_id"),
        ((*OWN, "Location ID"), (), "two columns for location_id"),
    ],
)
def test_a_header_that_lacks_columns_is_refused(
    columns: tuple[str, ...], fcc: tuple[str, ...], words: str
) -> None:
    with pytest.raises(InvalidInput, match=words) as refusal:
        reader(columns, fcc=fcc)
    assert refusal.value.field == "file"


def test_own_list_says_everything() -> None:
    everything = FAST | {
        "h3_res8": CELL, "low_latency": "no", "install_days": " 12 ", "loop_length_m": "900",
        "construction_fee": "350.5", "construction_days": "0045", "planned_date": "2027-03-31",
        "node": "barre-1", "remark": "none",
    }  # fmt: skip
    assert own(**everything) == {
        "number": "2", "technology": "50", "max_download_kbps": "1000", "max_upload_kbps": "500",
        "h3_res8": CELL, "low_latency": "false", "install_days": "12", "loop_length_m": "900",
        "construction_fee": "350500000", "construction_days": "45", "planned_date": "2027-03-31",
        "node": "barre-1",
    }  # fmt: skip
    assert reader(tuple(everything)).unused == ["remark"]


def test_speeds_may_be_in_megabits_and_columns_have_capitals() -> None:
    row = {"Location ID": "7", "Technology": "40", "Max Download Mbps": "1200.5",
           "MAX_UPLOAD_MBPS": "0.768"}  # fmt: skip
    line = own(**row)
    assert (line["max_download_kbps"], line["max_upload_kbps"]) == ("1200500", "768")
    assert own(**row | {"MAX_UPLOAD_MBPS": "x"})["field"] == "MAX_UPLOAD_MBPS"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"install_days": "10000"}, "install_days"),
        ({"loop_length_m": "1.5"}, "loop_length_m"),
        ({"construction_fee": "-1"}, "construction_fee"),
        ({"construction_fee": "free"}, "construction_fee"),
        ({"planned_date": "31.3.2027"}, "planned_date"),
        ({"node": "x" * 81}, "node"),
        ({"h3_res8": "882bab5303"}, "h3_res8"),
        ({"h3_res8": "", "location_id": ""}, "place"),
        ({"location_id": "7"}, "place"),
        ({"h3_res8": "", "address": "Main Street"}, "address"),
        ({"h3_res8": "", "address": "1 Oak Street, Barre, VT"}, "address"),
        ({"h3_res8": "", "address": "PO Box 7, Barre, VT 05641"}, "address"),
        ({"h3_res8": "", "street": "1 Oak St", "city": "Barre"}, "region"),
        ({"h3_res8": "", "premises": "prm_7"}, "premises"),
    ],
)
def test_bad_values_of_own_lists(change: dict[str, str], field: str) -> None:
    assert own(**FAST | {"h3_res8": CELL} | change)["field"] == field


def test_places_are_named_by_address_in_one_column_or_in_several() -> None:
    whole = own(**FAST, address="1 Oak Street Apt 02, Barre, VT 05641")
    parts = own(**FAST, address_primary="1 OAK ST", unit="2", city="Barre", state="VT", zip="05641")
    assert (whole["match_key"], whole["unit"]) == ("1 OAK ST, BARRE, VT 05641", "#2")
    assert (parts["match_key"], parts["unit"]) == (whole["match_key"], whole["unit"])


@given(st.lists(st.text(), max_size=len(PUBLIC) + 2))
def test_no_row_whatsoever_breaks_a_line(row: list[str]) -> None:
    """Each is one line with as many values as `STAGED`, or COPY would stop at it."""
    for rows in (reader(PUBLIC, fcc=PUBLIC, use_cells=True), reader((*OWN, "node", "address"))):
        for values in (row, [*row, *[""] * len(PUBLIC)][: len(rows._columns)]):
            line = rows.line(3, values)
            assert line.count("\t") == len(STAGED) - 1
            assert "\n" not in line
            assert "\r" not in line
            assert "\\" not in line.replace("\\N", "")


# --- Places -------------------------------------------------------------------------------------


def places(columns: tuple[str, ...] = FABRIC) -> PlaceRows:
    return PlaceRows(columns, country=us, new_id=lambda: uuid.UUID(int=7))


def place(line: str) -> dict[str, str | None]:
    return staged(line, STAGED_PLACES)


def test_the_fabric_is_read() -> None:
    rows = places()
    assert place(rows.line(2, HOUSE.split(","))) == {
        "number": "2", "id": str(uuid.UUID(int=7)), "location_id": "1037392925",
        "street": "1 Oak Street", "unit": "", "city": "Barre", "region": "VT",
        "postal_code": "05641", "match_key": "1 OAK ST, BARRE, VT 05641",
        "latitude": "44.197000", "longitude": "-72.502000",
        "h3_res8": h3.latlng_to_cell(44.197, -72.502, 8), "field": None, "reason": None,
    }  # fmt: skip
    assert rows.said == {"location_id", "latitude", "longitude"}
    assert "zip_suffix" in rows.unused


@pytest.mark.parametrize(
    ("column", "value", "field"),
    [
        ("address_primary", "", "address_primary"),
        ("state", "XX", "state"),
        ("zip", "1", "zip"),
        ("latitude", "91", "latitude"),
        ("latitude", "", "latitude"),
        ("longitude", "east", "longitude"),
        ("bsl_flag", "False", "bsl_flag"),
        ("location_id", "\\N", "location_id"),
        ("city", "x" * 101, "city"),
    ],
)
def test_a_place_that_cannot_be(column: str, value: str, field: str) -> None:
    row = dict(zip(FABRIC, HOUSE.split(","), strict=True)) | {column: value}
    line = place(places().line(9, list(row.values())))
    assert (line["number"], line["field"]) == ("9", field)


def test_a_list_of_places_needs_addresses() -> None:
    with pytest.raises(InvalidInput, match="lacks street, city, postal_code"):
        places(("location_id",))
    with pytest.raises(InvalidInput, match="lacks longitude"):
        places(("street", "city", "zip", "latitude"))


@given(st.lists(st.text(), min_size=len(FABRIC), max_size=len(FABRIC)))
def test_no_place_whatsoever_breaks_a_line(row: list[str]) -> None:
    line = places().line(3, row)
    assert line.count("\t") == len(STAGED_PLACES) - 1
    assert "\n" not in line
    assert "\r" not in line
