"""What a simulation adds up to: who would pay more or less, by how much, and who would get it.

No database, no clock. Accounts are counted in as they are simulated; what is kept is small and does
not grow with them, so it can be written down after each batch and taken up again.
"""

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

# The limits of the bars, in whole units of the currency; what is exactly the same is apart.
LIMITS = (1, 5, 10, 20, 50)
_MICROS = 1_000_000


class Parts(NamedTuple):
    """An amount before tax with its parts, and the tax on top, in micro-units."""

    net: int = 0
    isp: int = 0
    bsp: int = 0
    network_provider: int = 0
    tax: int = 0

    def plus(self, other: "Parts") -> "Parts":
        return Parts(*(one + more for one, more in zip(self, other, strict=True)))

    def less(self, other: "Parts") -> "Parts":
        return Parts(*(one - more for one, more in zip(self, other, strict=True)))


NOTHING = Parts()


def total(many: Iterable[Parts]) -> Parts:
    """Add amounts up, part by part."""
    summed = NOTHING
    for parts in many:
        summed = summed.plus(parts)
    return summed


def put_right(paid: Parts, given_back: Parts, would: Parts) -> Parts:
    """Return what is to be charged or given back, so that what was paid becomes what is right.

    What went back by hand is not taken again; but where so much went back already, or a part of it,
    only the rest is given back. `given_back` is below zero.
    """
    left = paid.plus(given_back)
    if would.net >= paid.net:
        return would.less(paid)
    return would.less(left) if would.net < left.net else NOTHING


def bar_of(difference: int) -> int:
    """Return the number of the bar that a difference belongs to: the middle one is none at all."""
    if difference == 0:
        return len(LIMITS) + 1
    place = bisect_left([limit * _MICROS for limit in LIMITS], abs(difference)) + 1
    return len(LIMITS) + 1 + (place if difference > 0 else -place)


def bar_names() -> list[str]:
    """Return up to how much more or less each bar stands for, short enough for a phone."""
    more = [f"+{limit}" for limit in LIMITS]
    less = [f"-{limit}" for limit in LIMITS]
    return [f"{less[-1]}+", *reversed(less), "0", *more, f"{more[-1]}+"]


@dataclass(slots=True)
class Tally:
    """The sums of the accounts that were simulated so far."""

    paid: Parts = NOTHING
    would: Parts = NOTHING
    more: int = 0
    less: int = 0
    same: int = 0
    bars: list[int] = field(default_factory=lambda: [0] * (2 * len(LIMITS) + 3))

    def add(self, paid: Parts, would: Parts) -> None:
        """Count one account in."""
        self.paid, self.would = self.paid.plus(paid), self.would.plus(would)
        difference = would.net - paid.net
        self.bars[bar_of(difference)] += 1
        if difference > 0:
            self.more += 1
        elif difference < 0:
            self.less += 1
        else:
            self.same += 1

    @property
    def accounts(self) -> int:
        return self.more + self.less + self.same

    def written(self) -> dict[str, Any]:
        """Return the tally as JSON can hold it; `read` takes it up again."""
        return {
            "paid": list(self.paid),
            "would": list(self.would),
            "more": self.more,
            "less": self.less,
            "same": self.same,
            "bars": list(self.bars),
        }

    @classmethod
    def read(cls, kept: dict[str, Any]) -> Self:
        if not kept:
            return cls()
        amounts = {name: Parts(*kept[name]) for name in ("paid", "would")}
        return cls(**(kept | amounts | {"bars": list(kept["bars"])}))
