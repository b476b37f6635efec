"""The geometry of the charts. Pure: shapes in, numbers out; the template draws them.

The drawing is stretched to the width of its place, so it holds no text: labels are HTML beside it,
and stay readable on a phone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

HEIGHT: Final = 100
SLOT: Final = 10
GAP: Final = 2


@dataclass(frozen=True, slots=True)
class Day:
    """What was used on one day, in bytes or any other unit."""

    day: date
    down: int
    up: int

    @property
    def total(self) -> int:
        return self.down + self.up


@dataclass(frozen=True, slots=True)
class Bar:
    """One day's bar: the part that was loaded down, and the part that was sent up on top of it."""

    day: Day
    x: int
    width: int
    down_y: float
    down_height: float
    up_y: float
    up_height: float


@dataclass(frozen=True, slots=True)
class Chart:
    """The bars of a span of days, and the highest of them, which fills the height."""

    bars: Sequence[Bar]
    width: int
    height: int
    peak: Day | None


def daily_bars(days: Sequence[Day], *, slots: int) -> Chart:
    """Lay out one bar a day in room for `slots` days, so that a month is as wide on its first day.

    Days without use have a bar of no height; no days give no bars.
    """
    peak = max(days, key=lambda day: day.total, default=None)
    most = peak.total if peak else 0
    return Chart(
        bars=[_bar(index, day, most) for index, day in enumerate(days)],
        width=SLOT * max(slots, len(days)),
        height=HEIGHT,
        peak=peak if most else None,
    )


def _bar(index: int, day: Day, most: int) -> Bar:
    down = _part(day.down, most)
    up = _part(day.up, most)
    return Bar(
        day=day,
        x=index * SLOT + GAP // 2,
        width=SLOT - GAP,
        down_y=round(HEIGHT - down, 2),
        down_height=down,
        up_y=round(HEIGHT - down - up, 2),
        up_height=up,
    )


def _part(amount: int, most: int) -> float:
    return round(HEIGHT * amount / most, 2) if most else 0.0
