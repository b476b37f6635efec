"""How a pool fills: its growth, when it is full, and how large a further block should be. Pure.

Growth is the Theil-Sen slope, the median of the slopes between all pairs of days: a day on which
half of a town was offline, or a count that was wrong, does not move it, where least squares would
follow. Its range is Kendall's, the slopes of the ranks between which the true one lies four times
in five. Days are whole numbers, such as ordinals of dates; amounts are units of the pool.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median

# Older days say little of what comes, and the pairs grow with the square of the days.
MOST_DAYS = 90
# With fewer days the weekend alone would look like growth.
LEAST_DAYS = 7
# Four times in five: the quantile of the normal distribution for a range of 80 %.
_Z = 1.2816
# What a further block adds at least: a part of what the pool has, and so many units.
LEAST_SHARE, LEAST_UNITS = 8, 8
MOST_DAYS_AHEAD = 3650
# How close to what the ratio allows, or to what the pool has, a warning comes.
WARN_AT = 0.9

Point = tuple[int, int]
"""A day, and the most units that were in use at one moment of it."""


@dataclass(frozen=True, slots=True)
class Growth:
    """Units a day: the likely rate, and the range in which it lies four times in five."""

    low: float
    likely: float
    high: float
    days: int


@dataclass(frozen=True, slots=True)
class Exhaustion:
    """In how many days the pool is full; None is not within ten years."""

    soonest: float | None
    likely: float | None
    latest: float | None


def growth(points: Sequence[Point]) -> Growth | None:
    """Return how fast use grows by its last ninety days; None when fewer than seven are known.

    The order of the points does not count, and neither does where the days begin.
    """
    by_day = dict(sorted(points)[-MOST_DAYS:])
    if len(by_day) < LEAST_DAYS:
        return None
    slopes = sorted(
        (later - earlier) / (to - since)
        for (since, earlier), (to, later) in combinations(by_day.items(), 2)
    )
    days, pairs = len(by_day), len(slopes)
    spread = _Z * math.sqrt(days * (days - 1) * (2 * days + 5) / 18)
    lower = max(0, math.floor((pairs - spread) / 2))
    upper = min(pairs - 1, math.ceil((pairs + spread) / 2))
    return Growth(low=slopes[lower], likely=median(slopes), high=slopes[upper], days=days)


def exhaustion(*, used: int, total: int, grows: Growth | None) -> Exhaustion:
    """Return in how many days a pool is full if it goes on as it did; 0 when it is.

    The latest is by the slowest growth of the range, and so never when that is none.
    """
    if used >= total:
        return Exhaustion(0.0, 0.0, 0.0)
    if grows is None:
        return Exhaustion(None, None, None)
    left = total - used
    return Exhaustion(
        soonest=_days(left, grows.high),
        likely=_days(left, grows.likely),
        latest=_days(left, grows.low),
    )


def _days(left: int, rate: float) -> float | None:
    # The product is compared, because the quotient of a very small rate is no number any more.
    return left / rate if rate > 0 and left <= rate * MOST_DAYS_AHEAD else None


def further_units(
    *, used: int, total: int, grows: Growth | None, horizon_days: int, threshold_percent: int
) -> int:
    """Return how many units to add, so that after the horizon use is under the threshold.

    By the likely growth; a pool that shrinks is taken to stay as it is. It is at least an eighth
    of what the pool has, so that nobody carves a block a week, and at least eight units.
    """
    ahead = max(grows.likely, 0.0) * horizon_days if grows else 0.0
    needed = math.ceil((used + ahead) * 100 / threshold_percent) - total
    return max(needed, total // LEAST_SHARE, LEAST_UNITS)


def further_length(*, units: int, unit_length: int, is_single: bool) -> int:
    """Return the length of the network that has so many units to hand out.

    `is_single` is for pools of single IPv4 addresses, which lose two to the network itself.
    """
    slots = units + 2 if is_single else units
    return max(unit_length - (slots - 1).bit_length(), 0)


def units_of(*, length: int, unit_length: int, is_single: bool) -> int:
    """Return how many units a network of a length has to hand out: `further_length` backwards."""
    slots: int = 1 << (unit_length - length)
    return slots - 2 if is_single and slots > 2 else slots


def is_due(
    *,
    used: int,
    total: int,
    ends: Exhaustion,
    threshold_percent: int,
    least_days: int | None,
) -> str:
    """Say why a pool needs a further block, in words; empty when it does not yet."""
    if used >= total:
        return "It has run dry."
    percent = 100 * used / total
    if percent >= threshold_percent:
        return f"{percent:.0f} % are in use, and {threshold_percent} % is its threshold."
    if least_days is not None and ends.likely is not None and ends.likely < least_days:
        return (
            f"It will be full in {ends.likely:.0f} days, sooner than the {least_days} days that "
            "its policy keeps."
        )
    return ""


def overbooking_warning(*, lines: int, total: int, peak: int, ratio: float) -> str:
    """Say, in words, what is wrong with how many lines share the addresses; empty when nothing is.

    `ratio` is how many lines may share one address, `peak` the most that were in use at once. It
    warns before it bites: near the ratio, or where so many are in use at once that the lines which
    the ratio still allows would not find a free one, which says little before half of them are
    there.
    """
    if not total or not lines:
        return ""
    allowed, together = ratio * total, min(peak / lines, 1.0)
    if lines > allowed:
        return f"{lines:,} lines share {total:,} addresses: more than the {allowed:,.0f} allowed."
    if peak >= WARN_AT * total:
        return f"{peak:,} of {total:,} addresses were in use at once, by {lines:,} lines."
    if lines >= allowed / 2 and allowed * together > total:
        return (
            f"At its busiest {100 * together:.0f} % of the lines that share these {total:,} "
            f"addresses were online at once. With all the {allowed:,.0f} lines that the policy "
            f"allows ({ratio:g} an address), some would find no free address."
        )
    if lines >= WARN_AT * allowed:
        return f"{lines:,} lines share {total:,} addresses, and {allowed:,.0f} are allowed."
    return ""
