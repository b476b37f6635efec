"""Where the boxes and arrows of a task graph go. Pure: numbers in, numbers out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

BOX_WIDTH = 136
BOX_HEIGHT = 44
GAP_X = 20
GAP_Y = 20
MARGIN = 4


@dataclass(frozen=True, slots=True)
class Box:
    """The top left corner of one task's box, in the units of the drawing."""

    key: int
    x: int
    y: int
    width: int = BOX_WIDTH
    height: int = BOX_HEIGHT

    @property
    def middle_y(self) -> int:
        return self.y + BOX_HEIGHT // 2


@dataclass(frozen=True, slots=True)
class Drawing:
    """A drawing `width` by `height`: boxes, and arrows as SVG paths from a task to the next."""

    width: int
    height: int
    boxes: tuple[Box, ...]
    arrows: tuple[str, ...]


def layers(depends_on: Mapping[int, Sequence[int]]) -> dict[int, int]:
    """Return for each task how many steps must be over before it: its column.

    Tasks that are named as a dependency only are left out.

    Raises:
        ValueError: tasks wait for each other in a circle.
    """
    column: dict[int, int] = {}
    walking: set[int] = set()

    def place(key: int) -> int:
        if key in walking:
            raise ValueError(f"task {key} waits for itself")
        if key not in column:
            walking.add(key)
            before = [place(other) for other in depends_on[key] if other in depends_on]
            walking.discard(key)
            column[key] = max(before, default=-1) + 1
        return column[key]

    for key in depends_on:
        place(key)
    return column


def draw(depends_on: Mapping[int, Sequence[int]]) -> Drawing:
    """Lay tasks out from left to right, each in the column after the last it waits for.

    An arrow that the others imply (a to c, where a to b to c exists) is left out.
    """
    column = layers(depends_on)
    filled: dict[int, int] = {}
    boxes: dict[int, Box] = {}
    for key in depends_on:
        row = filled.get(column[key], 0)
        filled[column[key]] = row + 1
        boxes[key] = Box(
            key,
            MARGIN + column[key] * (BOX_WIDTH + GAP_X),
            MARGIN + row * (BOX_HEIGHT + GAP_Y),
        )
    arrows = [
        _arrow(boxes[before], boxes[key])
        for key in depends_on
        for before in _direct(key, depends_on)
    ]
    columns, rows = max(filled, default=-1) + 1, max(filled.values(), default=0)
    return Drawing(
        width=2 * MARGIN + max(columns * (BOX_WIDTH + GAP_X) - GAP_X, 0),
        height=2 * MARGIN + rows * (BOX_HEIGHT + GAP_Y),
        boxes=tuple(boxes.values()),
        arrows=tuple(arrows),
    )


def _direct(key: int, depends_on: Mapping[int, Sequence[int]]) -> list[int]:
    """The tasks that this one waits for and that no other one it waits for waits for."""
    waits_for = [other for other in depends_on[key] if other in depends_on]
    implied: set[int] = set()
    todo = [below for other in waits_for for below in depends_on[other] if below in depends_on]
    while todo:
        below = todo.pop()
        if below not in implied:
            implied.add(below)
            todo.extend(other for other in depends_on[below] if other in depends_on)
    return [other for other in waits_for if other not in implied]


def _arrow(start: Box, end: Box) -> str:
    """Return the path from a box to one further right; a long way goes between the rows."""
    x1, y1, x2, y2 = start.x + BOX_WIDTH, start.middle_y, end.x, end.middle_y
    if x2 - x1 == GAP_X:
        middle = x1 + GAP_X // 2
        return f"M{x1} {y1} C{middle} {y1} {middle} {y2} {x2} {y2}"
    lane = start.y + BOX_HEIGHT + GAP_Y // 2
    leave, arrive = x1 + GAP_X // 2, x2 - GAP_X // 2
    return (
        f"M{x1} {y1} C{leave} {y1} {leave} {lane} {x1 + GAP_X} {lane} "
        f"H{x2 - GAP_X} C{arrive} {lane} {arrive} {y2} {x2} {y2}"
    )
