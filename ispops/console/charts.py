"""Where the bars of a chart go. Pure: numbers in, numbers out."""

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH = 640
HEIGHT = 96
LABEL_HEIGHT = 16


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: its place, and the label and value that it stands for."""

    x: float
    y: float
    width: float
    height: float
    label: str
    value: int


def bars(values: Sequence[tuple[str, int]]) -> list[Bar]:
    """Return one bar a value, the highest filling the height; a value above zero is seen.

    Raises:
        ValueError: a value is negative.
    """
    if not values:
        return []
    if min(value for _, value in values) < 0:
        raise ValueError("a bar cannot be negative")
    most = max(value for _, value in values) or 1
    step = WIDTH / len(values)
    drawn = []
    for index, (label, value) in enumerate(values):
        height = max(value / most * HEIGHT, 2) if value else 0
        drawn.append(
            Bar(
                x=round(index * step + step * 0.1, 1),
                y=round(HEIGHT - height, 1),
                width=round(step * 0.8, 1),
                height=round(height, 1),
                label=label,
                value=value,
            )
        )
    return drawn


def percent(part: int, whole: int) -> int:
    """Return the part in whole percent: 0 only for nothing, 100 only for everything."""
    if part <= 0 or whole <= 0:
        return 0
    if part >= whole:
        return 100
    return min(max(round(part * 100 / whole), 1), 99)
