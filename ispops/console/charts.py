"""Where the bars of a chart go. Pure: numbers in, numbers out."""

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH = 640
HEIGHT = 96
# More labels than this run into each other at the width of a phone.
MOST_LABELS = 8


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: its place, the label and value that it stands for, and which of them are written."""

    x: float
    y: float
    width: float
    height: float
    label: str
    value: int
    show_label: bool
    show_value: bool

    @property
    def middle(self) -> float:
        return round(self.x + self.width / 2, 1)

    @property
    def above(self) -> float:
        return round(self.y - 4, 1)


def bars(values: Sequence[tuple[str, int]]) -> list[Bar]:
    """Return one bar a value, the highest filling the height; a value above zero is seen.

    With many bars every n-th label is written, and only the highest value.

    Raises:
        ValueError: a value is negative.
    """
    if not values:
        return []
    if min(value for _, value in values) < 0:
        raise ValueError("a bar cannot be negative")
    most = max(value for _, value in values)
    step = WIDTH / len(values)
    every = -(-len(values) // MOST_LABELS)
    highest = next(index for index, (_, value) in enumerate(values) if value == most)
    return [
        _bar(index, step, label, value, most, every, highest)
        for index, (label, value) in enumerate(values)
    ]


def _bar(
    index: int, step: float, label: str, value: int, most: int, every: int, highest: int
) -> Bar:
    height = max(value / most * HEIGHT, 2) if value else 0
    return Bar(
        x=round(index * step + step * 0.1, 1),
        y=round(HEIGHT - height, 1),
        width=round(step * 0.8, 1),
        height=round(height, 1),
        label=label,
        value=value,
        show_label=index % every == 0,
        show_value=every == 1 or index == highest,
    )


def percent(part: int, whole: int) -> int:
    """Return the part in whole percent: 0 only for nothing, 100 only for everything."""
    if part <= 0 or whole <= 0:
        return 0
    if part >= whole:
        return 100
    return min(max(round(part * 100 / whole), 1), 99)


def count_words(number: int) -> str:
    """Write a count short where it is long: 16.7 million, 2^40 for pools of IPv6 prefixes."""
    if number < 100_000:
        return f"{number:,}"
    if number < 1_000_000_000:
        return f"{number / 1_000_000:.1f} million" if number >= 950_000 else f"{number // 1000:,}k"
    return f"2^{number.bit_length() - 1}"
