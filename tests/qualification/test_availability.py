"""What is filed with the FCC and how: steps of speed, reasons for what is left out, the form."""

import csv
import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qualification import availability
from qualification.availability import Reach, filed_mbits, kind_code, outcome
from qualification.eligibility import Line, usable_kbps

FIBRE, COPPER = 50, 10


def reach(**change: Any) -> Reach:
    facts: dict[str, Any] = {
        "location_id": "1037392925", "technology": FIBRE, "max_download_kbps": 1_000_000,
        "max_upload_kbps": 1_000_000, "install_days": 5,
    }  # fmt: skip
    return Reach(**(facts | change))


@pytest.mark.parametrize(
    ("download", "upload", "filed"),
    [
        (1_000_000, 35_000, (1_000, 35)),
        (100_999, 10_999, (100, 10)),
        (25_000, 3_000, (25, 3)),
        (24_999, 3_000, (10, 1)),
        (500_000, 2_999, (10, 1)),
        (10_000, 1_000, (10, 1)),
        (9_999, 1_000, (0, 0)),
        (10_000, 999, (0, 0)),
        (200, 0, (0, 0)),
        (0, 200, (0, 0)),
        (199, 199, None),
        (0, 0, None),
    ],
)
def test_speeds_are_whole_and_in_steps_below_25_and_3(
    download: int, upload: int, filed: tuple[int, int] | None
) -> None:
    assert filed_mbits(FIBRE, download, upload) == filed


@pytest.mark.parametrize(
    ("length", "filed"),
    [(None, (100, 40)), (300, (100, 40)), (301, (70, 20)), (1_000, (40, 8)), (1_500, (25, 3)),
     (1_501, (10, 1)), (2_501, (0, 0)), (5_500, (0, 0)), (5_501, None)],
)  # fmt: skip
def test_copper_has_what_its_length_leaves(
    length: int | None, filed: tuple[int, int] | None
) -> None:
    assert filed_mbits(COPPER, 100_000, 40_000, length) == filed
    assert filed_mbits(FIBRE, 100_000, 40_000, length) == (100, 40)


@given(
    st.sampled_from([COPPER, FIBRE]),
    st.integers(0, 10**9),
    st.integers(0, 10**9),
    st.none() | st.integers(0, 10_000),
)
def test_never_more_is_filed_than_a_line_can_do(
    technology: int, download: int, upload: int, length: int | None
) -> None:
    line = Line(0, 0, "", technology, "", download, upload, loop_length_m=length)
    filed = filed_mbits(technology, download, upload, length)
    down, up = usable_kbps(line)
    if filed is None:
        assert max(down, up) < 200
    else:
        assert filed[0] * 1_000 <= down
        assert filed[1] * 1_000 <= up


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, "filed"),
        ({"install_days": 14}, "filed"),
        ({"max_download_kbps": 0, "max_upload_kbps": 0}, "not_served"),
        ({"technology": COPPER, "loop_length_m": 6_000}, "not_served"),
        ({"is_planned": True}, "planned"),
        ({"needs_construction": True}, "needs_construction"),
        ({"install_days": 15}, "installed_late"),
        ({"location_id": ""}, "no_location_id"),
        ({"location_id": "house-7"}, "foreign_location_id"),
        ({"location_id": "103739292"}, "foreign_location_id"),
        ({"location_id": "9037392925"}, "foreign_location_id"),
        ({"location_id": "1037392925\n"}, "foreign_location_id"),
    ],
)
def test_what_is_not_filed_has_a_reason(change: dict[str, Any], reason: str) -> None:
    found = reach(**change)
    assert outcome(found) == reason
    assert (reason == "filed") != (reason in availability.REASONS)
    text = availability.as_lines([found], provider_id="1", brand_name="", kinds={})
    assert bool(text) == (reason == "filed")


@pytest.mark.parametrize(
    ("kinds", "code"),
    [((), "X"), ({""}, "X"), ({"consumer"}, "R"), ({"business"}, "B"),
     ({"consumer", "business"}, "X"), ({"", "business"}, "X")],
)  # fmt: skip
def test_whom_it_is_sold_to_is_one_letter(kinds: set[str], code: str) -> None:
    assert kind_code(kinds) == code


def test_a_line_has_the_fccs_columns() -> None:
    assert availability.header() == (
        "provider_id,brand_name,location_id,technology,max_advertised_download_speed,"
        "max_advertised_upload_speed,low_latency,business_residential_code\r\n"
    )
    xfinity = Reach("1037392925", 50, 100_000, 100_000)
    assert availability.as_lines(
        [xfinity], provider_id="130317", brand_name="Xfinity", kinds={50: "B"}
    ) == ("130317,Xfinity,1037392925,50,100,100,1,B\r\n")
    far = availability.as_lines(
        [reach(low_latency=False)], provider_id="", brand_name='Fast, "Net"', kinds={}
    )
    assert next(csv.reader(io.StringIO(far))) == [
        "", 'Fast, "Net"', "1037392925", "50", "1000", "1000", "0", "X",
    ]  # fmt: skip
