"""How many units of each period cost nothing: allowance, rollover, and packs that were bought.

No database, no clock. What is free in a period is a function of what was used in this period and
those before it, and of nothing else. So use that is reported late takes back what was carried to
later periods, and the sum of all periods does not depend on when anything was reported.

What was included in the period is drawn upon first the oldest, because that lapses first; then
packs, in the order in which they were bought. A pack is for what is used after it was bought: it
begins where the use beyond the allowance stood at that moment.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rollover:
    """Units that were not used are kept for `periods` more periods, `most` of them at a time.

    `most` None is all of them. When there are more, the oldest lapse.
    """

    periods: int
    most: int | None = None


@dataclass(frozen=True, slots=True)
class Pack:
    """Units that were bought on top, in the period with this number.

    They cover use beyond `after` units more than was included then, and what is left of them is
    good for `periods` periods in all, of which the first is the one in which they were bought.
    """

    period: int
    after: int
    units: int
    periods: int = 1


def free_units(
    used: Sequence[int],
    allowance: int,
    rollover: Rollover | None = None,
    packs: Sequence[Pack] = (),
) -> list[int]:
    """Return how many of the units used in each of several periods in a row cost nothing."""
    free = []
    lots: list[tuple[int, int]] = []  # what is left of an allowance, and how old it is
    left = [pack.units for pack in packs]
    for period, units in enumerate(used):
        lots = [*_carried(lots, rollover), (allowance, 0)]
        drawn, lots = _draw(units, lots)
        free.append(drawn + _cover(units - drawn, period, packs, left))
    return free


def _carried(lots: list[tuple[int, int]], rollover: Rollover | None) -> list[tuple[int, int]]:
    """Return what of the last period's lots is left in the next one, the oldest first."""
    if rollover is None:
        return []
    kept = [(units, age + 1) for units, age in lots if units and age < rollover.periods]
    if rollover.most is None:
        return kept
    room, newest_first = rollover.most, []
    for units, age in reversed(kept):
        newest_first.append((min(units, room), age))
        room -= min(units, room)
    return newest_first[::-1]


def _draw(units: int, lots: list[tuple[int, int]]) -> tuple[int, list[tuple[int, int]]]:
    drawn, rest = 0, []
    for lot, age in lots:
        taken = min(lot, units - drawn)
        drawn += taken
        rest.append((lot - taken, age))
    return drawn, rest


def _cover(beyond: int, period: int, packs: Sequence[Pack], left: list[int]) -> int:
    """Take use beyond the allowance from packs; lowers what is left of them."""
    covered = reached = 0
    for number, pack in enumerate(packs):
        if not pack.period <= period < pack.period + pack.periods:
            continue
        begins = max(reached, pack.after if pack.period == period else 0)
        taken = min(left[number], max(beyond - begins, 0))
        left[number] -= taken
        covered += taken
        reached = begins + taken
    return covered
