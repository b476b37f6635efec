"""Where people want what they cannot have: counted by place, cell and ZIP code."""

from __future__ import annotations

from datetime import timedelta

import h3
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from qualification import demand, qualify, reach, waitlist
from qualification.demand import Area, Filters
from qualification.models import CoverageArea
from tests.qualification.waiting import AT, LATER, STOWE, UNLISTED, ask, cover, join, work
from tests.small_isp import STOWE_POINT, SmallIsp, cell_of, make_small_isp

pytestmark = pytest.mark.django_db
STOWE_CELL = cell_of(STOWE_POINT)
ALASKA = (61.2, -149.9)


@pytest.fixture
def isp() -> SmallIsp:
    return make_small_isp()


def areas(
    resolution: int = 8, *, region: str = "", area: str = "", kind: str = demand.ALL
) -> list[Area]:
    filters = Filters(region=region, area=area, kind=kind)
    return demand.by_area(filters, resolution=resolution, at=LATER).areas


def test_a_place_counts_once_however_often_it_is_asked_for(isp: SmallIsp) -> None:
    for _ in range(3):
        ask(at=AT)
    join("eve@example.com", at=AT)
    join("bob@example.com", at=LATER)
    (found,) = areas()
    assert found == Area(STOWE_CELL, "Stowe", "VT", "05672", 1, 2, 1, AT)


def test_who_got_service_asks_for_nothing(isp: SmallIsp) -> None:
    ask("1 Oak St, Barre, VT 05641")
    assert areas() == []
    # But somebody who wants more than there is does.
    join(text="1 Oak St, Barre, VT 05641")
    (found,) = areas()
    assert (found.places, found.waiting, found.asked) == (1, 1, 0)


def test_old_answers_do_not_count_and_old_entries_do(isp: SmallIsp) -> None:
    long_ago = LATER - demand.ASKED_WITHIN - timedelta(seconds=1)
    old = ask(at=long_ago)
    assert areas() == []
    join(answer=old, at=long_ago)
    (found,) = areas()
    assert (found.places, found.waiting, found.asked) == (1, 1, 0)
    assert found.first_asked_at == long_ago


def test_who_was_found_or_left_is_no_demand_and_neither_is_what_we_ask_ourselves(
    isp: SmallIsp,
) -> None:
    old = ask(at=LATER - demand.ASKED_WITHIN - timedelta(days=1))
    entry = join(answer=old, at=AT)
    join("gone@example.com", answer=old, at=AT)
    waitlist.leave_waitlist(email="gone@example.com", at=AT)
    cover(isp, max_download_kbps=1_000, max_upload_kbps=1_000)
    work(at=LATER)
    entry.refresh_from_db()
    assert entry.latest_answer is not None
    assert entry.latest_answer.state == "not_qualified"
    (found,) = areas()
    assert (found.waiting, found.asked) == (1, 0)


def test_larger_cells_hold_the_sum_and_the_name_of_most(isp: SmallIsp) -> None:
    for number in (1, 2):
        qualify.qualify_address(
            text=f"{number} Nowhere Rd, Stowe, VT 05672", channel="portal", at=AT
        )
    ask(STOWE)
    join(text="1 Elm St, Barre, VT 05641")
    by_cell = areas(8)
    assert sum(area.places for area in by_cell) == 4
    (whole,) = [area for area in areas(3) if area.cell]
    assert whole.cell == h3.cell_to_parent(STOWE_CELL, 3)
    assert (whole.places, whole.waiting, whole.asked) == (2, 1, 1)


def test_a_place_without_a_cell_counts_by_its_zip_code(isp: SmallIsp) -> None:
    ask(UNLISTED)
    ask("8 valley view rd, Stowe, VT 05672")
    (found,) = areas()
    assert found == Area("", "Stowe", "VT", "05672", 2, 0, 2, AT)
    assert areas(region="VT") == [found]
    assert areas(area=STOWE_CELL) == []


def test_a_point_without_a_place_counts_by_its_cell(isp: SmallIsp) -> None:
    answer = qualify.qualify_address(
        latitude=ALASKA[0], longitude=ALASKA[1], channel="portal", at=AT
    )
    assert answer.state == "out_of_footprint"
    join(answer=answer)
    (found,) = areas()
    assert (found.cell, found.places, found.waiting, found.asked) == (cell_of(ALASKA), 1, 1, 1)
    assert demand.cities([found.cell]) == {}
    assert demand.cities([STOWE_CELL]) == {STOWE_CELL: ("Stowe", "VT", "05672")}


def test_filters_keep_what_they_say(isp: SmallIsp) -> None:
    ask()
    join(text="1 Elm St, Barre, VT 05641")
    everything = Filters()
    found = demand.by_area(Filters(region="NY"), resolution=8, at=LATER)
    assert (found.areas, found.by_region) == ([], {"VT": 2})
    assert len(demand.by_area(everything, resolution=8, at=LATER).areas) == 2
    assert [area.city for area in areas(kind=demand.WAITING)] == ["Barre"]
    assert [area.city for area in areas(kind=demand.ASKED)] == ["Stowe"]
    assert [area.city for area in areas(area=h3.cell_to_parent(STOWE_CELL, 6))] == ["Stowe"]


def test_networks_near_are_those_of_the_cell_and_the_ones_beside_it(isp: SmallIsp) -> None:
    beside = h3.grid_ring(isp.oak_cell, 1)[0]
    far = h3.grid_ring(isp.oak_cell, 3)[0]
    CoverageArea.objects.create(
        provider=isp.copper, h3_res8=beside, technology=50, max_download_kbps=1_000,
        max_upload_kbps=1_000, valid_from=AT, planned_date=(AT + timedelta(days=60)).date(),
    )  # fmt: skip
    for provider in (isp.fibre, isp.copper):
        reach.refresh(provider_id=provider.pk, at=LATER)
    found = demand.near([isp.oak_cell, beside, far])
    assert found[isp.oak_cell] == demand.Near(("Fast Fibre", "Old Copper"))
    assert found[beside].providers == ("Fast Fibre", "Old Copper")
    assert found[beside].planned_date == (AT + timedelta(days=60)).date()
    assert found[far] == demand.Near()
    around = {h3.cell_to_parent(cell, 6) for cell in (isp.oak_cell, beside)}
    assert isp.oak_cell in demand.reached(around, resolution=8, limit=10)
    assert beside not in demand.reached(around, resolution=8, limit=10)
    assert len(demand.reached(around, resolution=8, limit=0)) == 1


def test_reads_cost_one_query_each_however_much_there_is(isp: SmallIsp) -> None:
    for number in range(1, 6):
        ask(f"{number} Nowhere Rd, Stowe, VT 05672")
    with CaptureQueriesContext(connection) as queries:
        areas()
    assert len(queries) == 1
    with CaptureQueriesContext(connection) as queries:
        demand.near([STOWE_CELL, isp.oak_cell])
    assert len(queries) == 2
