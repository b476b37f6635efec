"""H3 cells as texts: spans of smaller cells, and the larger cell by PostgreSQL's arithmetic."""

from decimal import Decimal

import h3
import pytest
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st

from qualification import cells

points = st.tuples(st.floats(-89, 89), st.floats(-180, 180))


@given(points, st.integers(0, 8))
def test_the_cells_inside_a_cell_are_one_span_of_texts(
    point: tuple[float, float], resolution: int
) -> None:
    inside = h3.latlng_to_cell(*point, 8)
    larger = h3.cell_to_parent(inside, resolution)
    first, last = cells.span(larger)
    assert first <= inside <= last
    if resolution >= 5:
        children = h3.cell_to_children(larger, 8)
        assert (first, last) == (min(children), max(children))
    for beside in h3.grid_ring(larger, 1):
        assert not first <= cells.span(beside)[0] <= last


@pytest.mark.django_db
@pytest.mark.parametrize("resolution", range(9))
def test_postgresql_finds_the_same_larger_cell(resolution: int) -> None:
    places = [(44.2, -72.5), (61.2, -149.9), (-33.9, 151.2), (0.1, 179.99), (89.9, 0.0)]
    inside = [h3.latlng_to_cell(*place, 8) for place in places]
    larger = cells.larger_cell_sql("cell", resolution)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {larger} FROM unnest(%s::text[]) AS list(cell)", [inside])
        found = [cell for (cell,) in cursor.fetchall()]
    assert found == [h3.cell_to_parent(cell, resolution) for cell in inside]


def test_what_surrounds_cells_contains_them() -> None:
    cell = cells.of_point(Decimal("44.2"), Decimal("-72.5"))
    around = cells.around([cell], resolution=6)
    assert h3.cell_to_parent(cell, 6) in around
    assert len(around) == 7


@pytest.mark.parametrize(
    "text", ["", "x", "8" * 200, "\x00", "882BAB5303FFFFF", "892bab53033ffff", "ffffffffffffffff"]
)
def test_what_is_no_cell_is_not_taken_for_one(text: str) -> None:
    assert not cells.is_cell(text)


def test_cells_of_resolution_8_and_larger_ones_are_taken() -> None:
    for resolution in range(9):
        assert cells.is_cell(h3.latlng_to_cell(44.2, -72.5, resolution))
