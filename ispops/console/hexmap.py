"""A map of H3 cells, drawn from nothing but the cells: where they go, and in which shade. Pure.

The projection is Mercator's, which keeps a hexagon one wherever it is. Longitudes are counted from
the middle of what is drawn, so that the date line cuts nothing in two.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import h3

WIDTH = 1000
HEIGHT = 560
# Around what is drawn: so much of its extent, and at least so many widths of a cell.
MARGIN = 0.06
LEAST_CELLS_ACROSS = 6
SHADES = 5
# The size of a letter of a label, in units of the drawing.
_LETTER_WIDTH, _LETTER_HEIGHT = 9.5, 20
_FARTHEST_NORTH = 85.0

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Shape:
    """A cell as an SVG path, with the place beside it where a word can begin."""

    cell: str
    path: str
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Label:
    """A word beside a cell."""

    text: str
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Drawing:
    """A drawing of `WIDTH` by `HEIGHT`: the cells asked for, and one path around the others."""

    shapes: tuple[Shape, ...]
    background: str
    labels: tuple[Label, ...]


class _Projection:
    """Degrees to units of the drawing, so that some cells fill it."""

    def __init__(self, cells: Sequence[str]) -> None:
        middles = [h3.cell_to_latlng(cell) for cell in cells]
        self._middle = _mean_longitude([longitude for _, longitude in middles])
        corners = [self._flat(point) for cell in cells for point in h3.cell_to_boundary(cell)]
        west, east = min(x for x, _ in corners), max(x for x, _ in corners)
        north, south = min(y for _, y in corners), max(y for _, y in corners)
        edge = h3.average_hexagon_edge_length(h3.get_resolution(cells[0]), unit="km") / 6_371
        least = LEAST_CELLS_ACROSS * 2 * edge / math.cos(math.radians(middles[0][0]))
        extent = max((east - west) / WIDTH, (south - north) / HEIGHT, least / WIDTH)
        self._scale = (1 - 2 * MARGIN) / extent
        self._x = WIDTH / 2 - (west + east) / 2 * self._scale
        self._y = HEIGHT / 2 - (north + south) / 2 * self._scale

    def __call__(self, point: Point) -> Point:
        x, y = self._flat(point)
        return x * self._scale + self._x, y * self._scale + self._y

    def _flat(self, point: Point) -> Point:
        """Return radians east of the middle and, growing to the south, Mercator's northing."""
        latitude = max(-_FARTHEST_NORTH, min(_FARTHEST_NORTH, point[0]))
        east = (point[1] - self._middle + 540) % 360 - 180
        return math.radians(east), -math.log(math.tan(math.pi / 4 + math.radians(latitude) / 2))


def draw(
    cells: Sequence[str], *, background: Iterable[str] = (), words: Mapping[str, str] | None = None
) -> Drawing:
    """Draw cells of one resolution, so that they fill the drawing; nothing for no cells.

    `background` are cells, all of another resolution if need be, that are drawn as far as they
    fall into it. `words` are written beside the cells that have some, the first ones first, where
    no other word is in the way.
    """
    if not cells:
        return Drawing((), "", ())
    project = _Projection(cells)
    shapes = []
    for cell in cells:
        boundary = [project(point) for point in h3.cell_to_boundary(cell)]
        _, y = project(h3.cell_to_latlng(cell))
        shapes.append(Shape(cell, _path(boundary), max(x for x, _ in boundary) + 4, y + 6))
    return Drawing(tuple(shapes), _outline(background, project), _labels(shapes, words or {}))


def shades(most: int) -> list[int]:
    """Return the highest count of each shade, lightest first; each is about as many times the one
    before, because a few areas have most of the demand."""
    steps = [round(most ** (number / SHADES)) for number in range(1, SHADES + 1)]
    return sorted({max(step, 1) for step in steps if step >= 1}) if most > 0 else []


def shade_of(count: int, highest: Sequence[int]) -> int:
    """Return the shade of a count, from 1."""
    return next((n for n, limit in enumerate(highest, start=1) if count <= limit), len(highest))


def _mean_longitude(longitudes: Sequence[float]) -> float:
    east = sum(math.cos(math.radians(longitude)) for longitude in longitudes)
    north = sum(math.sin(math.radians(longitude)) for longitude in longitudes)
    return math.degrees(math.atan2(north, east))


def _path(points: Iterable[Point]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points) + "Z"


def _outline(cells: Iterable[str], project: _Projection) -> str:
    """Return one path around cells of one resolution, without those outside the drawing."""
    seen = [cell for cell in cells if _is_near(project(h3.cell_to_latlng(cell)))]
    if not seen:
        return ""
    shape = h3.cells_to_h3shape(seen)
    polygons = [shape] if isinstance(shape, h3.LatLngPoly) else list(shape)
    rings = [ring for polygon in polygons for ring in (polygon.outer, *polygon.holes)]
    return "".join(_path(map(project, ring)) for ring in rings)


def _is_near(point: Point) -> bool:
    return -WIDTH / 4 < point[0] < 1.25 * WIDTH and -HEIGHT / 4 < point[1] < 1.25 * HEIGHT


def _labels(shapes: Iterable[Shape], words: Mapping[str, str]) -> tuple[Label, ...]:
    """Place each word right of its cell, unless it would run out or into an earlier one."""
    placed: list[Label] = []
    said: set[str] = set()
    for shape in shapes:
        text = words.get(shape.cell, "")
        label = Label(text, shape.x, shape.y)
        fits = label.x + len(text) * _LETTER_WIDTH < WIDTH
        if text and text not in said and fits and not any(_clash(label, o) for o in placed):
            placed.append(label)
            said.add(text)
    return tuple(placed)


def _clash(one: Label, other: Label) -> bool:
    left, right = sorted((one, other), key=lambda label: label.x)
    overlaps = left.x + len(left.text) * _LETTER_WIDTH > right.x
    return overlaps and abs(one.y - other.y) < _LETTER_HEIGHT
