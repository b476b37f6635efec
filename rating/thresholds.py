"""What of an allowance is passed, and from where on a line is slow. No database, no clock."""

from collections.abc import Sequence
from typing import NamedTuple

# What happens at these percentages of an allowance is worth a word to the subscriber.
THRESHOLDS = (50, 80, 100)
# And these, of what may be spent on partners' products.
SPENDING_THRESHOLDS = (80, 100)


class Bought(NamedTuple):
    """A pack that was bought in the period: what was used by then, and the units it gave."""

    counted: int
    units: int


def reached(used: int, included: int) -> tuple[int, ...]:
    """Return the thresholds that are reached, none where nothing is included."""
    return tuple(t for t in THRESHOLDS if included and used * 100 >= t * included)


def passed(used: int, included: int, bought: Sequence[Bought] = ()) -> tuple[int, ...]:
    """Return the thresholds of a period that were passed by use.

    A pack raises what is included. What was reached right after the last one was bought was
    reached by the use before it, and is nothing to write about: somebody who has just bought more
    must not read that most of it is used. What use passes afterwards counts again.
    """
    known: tuple[int, ...] = ()
    if bought:
        last = bought[-1]
        # What was used beyond all there was then, was charged, and is no part of what there is now.
        known = reached(min(last.counted, included - last.units), included)
    return tuple(t for t in reached(used, included) if t not in known)


def fair_limit(threshold: int, kept: int = 0, bought: Sequence[Bought] = ()) -> int:
    """Return from how many units of a period on its line is slow.

    `kept` units of packs of earlier periods come on top. A pack makes room for what is used after
    it was bought, however far the use was beyond the limit: it helps at once.
    """
    limit = threshold + kept
    for pack in bought:
        limit = max(limit, pack.counted) + pack.units
    return limit
