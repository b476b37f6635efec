"""A block of addresses as squares, each as dark as it is full: where they go and in which shade.

Pure. The shade is one of five, or none for a square in which nothing is taken.
"""

from collections.abc import Sequence
from dataclasses import dataclass

COLUMNS = 32
SIDE = 30
GAP = 2
SHADES = 5


@dataclass(frozen=True, slots=True)
class Square:
    """One part of the block; `shade` is 0 for empty and `SHADES` for full."""

    x: int
    y: int
    shade: int
    percent: int


def squares(shares: Sequence[float]) -> list[Square]:
    """Return one square a share, which is from 0 to 1, row after row."""
    columns = columns_for(len(shares))
    return [
        Square(
            x=(place % columns) * SIDE,
            y=(place // columns) * SIDE,
            shade=shade(share),
            percent=_percent(share),
        )
        for place, share in enumerate(shares)
    ]


def columns_for(count: int) -> int:
    """Return how many squares stand in a row."""
    return min(COLUMNS, max(count, 1))


def size(count: int) -> tuple[int, int]:
    """Return the width and height of a drawing of so many squares."""
    columns = columns_for(count)
    return columns * SIDE - GAP, -(-count // columns) * SIDE - GAP


def shade(share: float) -> int:
    """Return the shade of a share: 0 only for nothing, the darkest only from 95 % on."""
    if share <= 0:
        return 0
    return next((step for step, most in enumerate((0.25, 0.5, 0.75, 0.95), 1) if share < most), 5)


def legend() -> list[tuple[int, str]]:
    """Return each shade with what it stands for."""
    return [
        (0, "free"),
        (1, "under 25 %"),
        (2, "25 to 49 %"),
        (3, "50 to 74 %"),
        (4, "75 to 94 %"),
        (5, "95 % and more"),
    ]


def _percent(share: float) -> int:
    """Whole percent, 0 only for nothing and 100 only for everything."""
    if share <= 0:
        return 0
    return 100 if share >= 1 else min(max(round(share * 100), 1), 99)
