"""How tall the bars of a chart are, and which of them are labelled. Pure: numbers in and out."""

from collections.abc import Sequence
from dataclasses import dataclass

# More labels than this run into each other at the width of a phone.
MOST_LABELS = 8


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar, `height` percent of the highest, with the label and value that it stands for."""

    label: str
    value: int
    height: int
    show_label: bool
    show_value: bool


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
    every = -(-len(values) // MOST_LABELS)
    highest = next(index for index, (_, value) in enumerate(values) if value == most)
    return [
        Bar(
            label=label,
            value=value,
            height=max(percent(value, most), 2) if value else 0,
            show_label=index % every == 0,
            show_value=bool(value) and (every == 1 or index == highest),
        )
        for index, (label, value) in enumerate(values)
    ]


def ticks(most: int) -> list[int]:
    """Return the values at which a scale is marked: round ones, from 0 to the first above `most`.

    There are three to six of them, or two where there is only 0 and 1.
    """
    step = 1
    while step * 5 < most:
        step = step * 5 // 2 if str(step).startswith("2") else step * 2
    return list(range(0, max(-(-most // step), 1) * step + 1, step))


def lines(
    series: Sequence[Sequence[tuple[int, int]]], *, width: int, height: int, top: int = 0
) -> list[str]:
    """Return one SVG path a series of points, all on one scale that begins at nothing.

    The highest value touches the top, unless the scale's `top` is said, and the largest x the
    right; a series without points is an empty path.
    """
    points = [point for one in series for point in one]
    right = max((x for x, _ in points), default=0) or 1
    top = top or max((y for _, y in points), default=0) or 1

    def place(x: int, y: int) -> str:
        return f"{x * width / right:.1f} {height - y * height / top:.1f}"

    return ["M" + " L".join(place(*point) for point in one) if one else "" for one in series]


def percent(part: int, whole: int) -> int:
    """Return the part in whole percent: 0 only for nothing, 100 only for everything."""
    if part <= 0 or whole <= 0:
        return 0
    if part >= whole:
        return 100
    return min(max(round(part * 100 / whole), 1), 99)


def share(part: float) -> int:
    """Return a share from 0 to 1 in whole percent, with the ends of `percent`."""
    return percent(round(part * 1_000_000), 1_000_000)


def count_words(number: int) -> str:
    """Write a count short where it is long: 16.7 million, 2^40 for pools of IPv6 prefixes."""
    if number < 100_000:
        return f"{number:,}"
    if number < 1_000_000_000:
        return f"{number / 1_000_000:.1f} million" if number >= 950_000 else f"{number // 1000:,}k"
    return f"2^{number.bit_length() - 1}"
