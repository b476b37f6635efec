"""Whole micro-units: the one rounding of all prices, and how an amount is written in words.

No database, no clock, no floats. A micro-unit is a millionth of the currency's unit; a percentage
is counted in whole thousandths of a percent.
"""

from collections.abc import Sequence
from functools import lru_cache

# A percentage is counted in thousandths of a percent: 19 % is 19,000 of these 100,000.
WHOLE = 100_000
# What fits the database's bigint, with room for sums.
LARGEST = 2**60


class AmountTooLarge(ValueError):
    """A quantity at a price comes to more than can be stored."""


def portion(total: int, part: int, whole: int, *, half_up: bool = False) -> int:
    """Return `part` of `whole` of a total: the only place where anything is rounded.

    It is rounded down to a whole micro-unit, or to the nearest with half of one up. As a function
    of the total alone it never falls when the total or the part grows, so its steps add up.
    """
    if half_up:
        return (2 * total * part + whole) // (2 * whole)
    return total * part // whole


def spread(amount: int, parts: Sequence[int]) -> list[int]:
    """Return the same part of each of some parts, so that they come to `amount` exactly.

    Each is the step of two rounded running totals; the whole of it gives the parts themselves.

    Raises:
        ValueError: the parts come to less than the amount, or to nothing.
    """
    whole = sum(parts)
    if not 0 <= amount <= whole or whole == 0:
        raise ValueError("no more can be taken than there is")
    taken, upto, spreads = 0, 0, []
    for part in parts:
        upto += part
        now = portion(amount, upto, whole)
        spreads.append(now - taken)
        taken = now
    return spreads


def checked(amount: int) -> int:
    """Return a price that can be charged.

    Raises:
        ValueError: it is negative. AmountTooLarge: it cannot be stored.
    """
    if amount < 0:
        raise ValueError("a price is never negative")
    return storable(amount)


def storable(amount: int) -> int:
    """Return an amount that the database can keep.

    Raises:
        AmountTooLarge: it cannot.
    """
    if amount > LARGEST:
        raise AmountTooLarge(f"{words(amount)} is more than can be stored")
    return amount


@lru_cache(maxsize=65_536)
def words(micros: int) -> str:
    """Write micro-units as a decimal number with two to six decimals, exactly."""
    whole, rest = divmod(abs(micros), 1_000_000)
    decimals = f"{rest:06d}"
    while len(decimals) > 2 and decimals[-1] == "0":
        decimals = decimals[:-1]
    return f"{'-' if micros < 0 else ''}{whole}.{decimals}"


def percent_words(milli: int) -> str:
    """Write thousandths of a percent: `8.875 %`."""
    whole, rest = divmod(milli, 1000)
    return f"{whole}" + (f".{rest:03d}".rstrip("0") if rest else "") + " %"
