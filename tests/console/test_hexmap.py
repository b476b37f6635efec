"""The map of cells: it fits, keeps hexagons hexagons, and cuts nothing at the date line."""

import re

import h3
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ispops.console import hexmap

VERMONT = h3.latlng_to_cell(44.4, -72.6, 6)


def points(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"(-?[\d.]+) (-?[\d.]+)", path)]


@given(
    st.lists(st.tuples(st.floats(-80, 80), st.floats(-180, 180)), min_size=1, max_size=12),
    st.integers(3, 8),
)
def test_everything_that_is_asked_for_is_inside_the_drawing(
    places: list[tuple[float, float]], resolution: int
) -> None:
    cells = list(dict.fromkeys(h3.latlng_to_cell(*place, resolution) for place in places))
    drawing = hexmap.draw(cells)
    assert [shape.cell for shape in drawing.shapes] == cells
    for shape in drawing.shapes:
        for x, y in points(shape.path):
            assert -0.1 <= x <= hexmap.WIDTH + 0.1
            assert -0.1 <= y <= hexmap.HEIGHT + 0.1


def test_a_hexagon_stays_one_in_the_north() -> None:
    (shape,) = hexmap.draw([h3.latlng_to_cell(64.8, -147.7, 6)]).shapes
    xs, ys = zip(*points(shape.path), strict=True)
    assert 0.7 < (max(xs) - min(xs)) / (max(ys) - min(ys)) < 1.4


def test_north_is_up_and_east_is_right() -> None:
    south, north, east = (
        h3.latlng_to_cell(*place, 5) for place in [(40, -75), (42, -75), (40, -70)]
    )
    shapes = {shape.cell: shape for shape in hexmap.draw([south, north, east]).shapes}
    assert shapes[north].y < shapes[south].y
    assert shapes[east].x > shapes[south].x


def test_the_date_line_cuts_nothing() -> None:
    west, east = h3.latlng_to_cell(51.9, 179.9, 6), h3.latlng_to_cell(51.9, -179.9, 6)
    shapes = hexmap.draw([west, east]).shapes
    assert 0 < shapes[1].x - shapes[0].x < hexmap.WIDTH
    for shape in shapes:
        xs = [x for x, _ in points(shape.path)]
        assert max(xs) - min(xs) < hexmap.WIDTH / 2


def test_nothing_is_drawn_of_nothing() -> None:
    assert hexmap.draw([]) == hexmap.Drawing((), "", ())


def test_what_is_behind_is_one_outline_without_what_is_far_away() -> None:
    disk = h3.grid_disk(VERMONT, 2)
    drawing = hexmap.draw([VERMONT], background=[*disk, h3.latlng_to_cell(-33, 151, 6)])
    assert drawing.background.count("M") == 1
    ring = h3.grid_ring(VERMONT, 1)
    with_hole = hexmap.draw([VERMONT], background=ring).background
    assert with_hole.count("M") == 2
    assert hexmap.draw([VERMONT], background=[h3.latlng_to_cell(-33, 151, 6)]).background == ""


def test_words_stand_beside_their_cell_once_and_never_over_each_other() -> None:
    disk = h3.grid_disk(VERMONT, 1)
    words = dict.fromkeys(disk, "Montpelier") | {disk[1]: "Barre"}
    drawing = hexmap.draw(disk, words=words)
    assert [label.text for label in drawing.labels].count("Montpelier") == 1
    placed = drawing.labels
    for one in placed:
        for other in placed:
            assert one is other or not hexmap._clash(one, other)


@pytest.mark.parametrize(
    ("most", "expected"), [(0, []), (1, [1]), (2, [1, 2]), (5, [1, 2, 3, 4, 5])]
)
def test_few_counts_have_a_shade_each(most: int, expected: list[int]) -> None:
    assert hexmap.shades(most) == expected


@given(st.integers(1, 1_000_000))
def test_shades_rise_to_the_highest_count(most: int) -> None:
    highest = hexmap.shades(most)
    assert highest == sorted(set(highest))
    assert 1 <= len(highest) <= hexmap.SHADES
    assert highest[-1] == most
    assert hexmap.shade_of(1, highest) == 1
    assert hexmap.shade_of(most, highest) == len(highest)
