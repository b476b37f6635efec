"""The price of running totals by the hundred thousand: `rating.pricing` on columns of numbers.

Whole 64-bit numbers wrap silently, so what could come near their end is left to `rating.pricing`,
which has no such end. Both give the same amounts to the micro-unit; a test compares them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rating.amounts import WHOLE
from rating.sharing import NO_TERMS, Terms
from rating.usage_prices import Tier, UsagePrice

Numbers = npt.NDArray[np.int64]
# A rule that costs nothing, in the place of one that is not for columns of numbers.
NOTHING = (UsagePrice(version="", unit="", tiers=(Tier(None, 0),)), NO_TERMS)
# Products and sums of what is below this stay within 63 bits.
_SAFE = float(2**61)


@dataclass(frozen=True, slots=True)
class Steps:
    """Steps of running totals: which rule and terms each follows, from where to where it goes."""

    rule: Numbers
    before: Numbers
    after: Numbers


@dataclass(frozen=True, slots=True)
class Amounts:
    """The parts of each step in micro-units; `is_safe` is false where they may not be right."""

    net: Numbers
    tax: Numbers
    bsp: Numbers
    network_provider: Numbers
    isp: Numbers
    is_safe: npt.NDArray[np.bool_]


def takes(price: UsagePrice, terms: Terms) -> bool:
    """Say whether a rule and its terms are plain enough for columns of numbers."""
    shares = (terms.bsp, terms.network_provider)
    return price.is_plain and all(share is None or share.is_plain for share in shares)


class Kernel:
    """Rules side by side as arrays; a rule is known by its place among them."""

    def __init__(self, rules: Sequence[tuple[UsagePrice, Terms]]) -> None:
        prices = [price for price, _ in rules]
        most = max((len(price.tiers) for price in prices), default=1)
        self._allowance = _numbers(price.allowance for price in prices)
        self._block = _numbers(price.block_size for price in prices)
        self._started = np.array([price.counts_started_blocks for price in prices], dtype=bool)
        self._limits = np.full((most, len(prices)), np.iinfo(np.int64).max)
        self._amounts = np.zeros((most, len(prices)), dtype=np.int64)
        for place, price in enumerate(prices):
            for tier, (limit, amount) in enumerate(price.counted_tiers()):
                self._limits[tier, place] = min(limit, np.iinfo(np.int64).max)
                self._amounts[tier, place] = amount
        terms = [terms for _, terms in rules]
        self._tax = _numbers(term.tax_milli for term in terms)
        self._bsp = _numbers(term.bsp.percent_milli if term.bsp else 0 for term in terms)
        self._network = _numbers(
            term.network_provider.percent_milli if term.network_provider else 0 for term in terms
        )
        self._dearest = self._amounts.max(axis=0, initial=0).astype(np.float64)

    def price(self, steps: Steps) -> Amounts:
        """Price each step as `pricing.price_usage` does."""
        rule = steps.rule
        old, new = self._total(rule, steps.before), self._total(rule, steps.after)
        net = new - old
        bsp = _percent(old, new, self._bsp[rule])
        network = _percent(old, new, self._network[rule])
        tax = _tax(new, self._tax[rule]) - _tax(old, self._tax[rule])
        at_most = steps.after.astype(np.float64) * self._dearest[rule]
        is_safe = (at_most < _SAFE) & (new.astype(np.float64) * 2 * WHOLE < _SAFE)
        return Amounts(net, tax, bsp, network, net - bsp - network, is_safe)

    def _total(self, rule: Numbers, units: Numbers) -> Numbers:
        started, block = self._started[rule], self._block[rule]
        counted = np.maximum(units - self._allowance[rule], 0)
        counted = np.where(started, -(-counted // block), counted)
        total = np.zeros_like(counted)
        below = np.zeros_like(counted)
        for limits, amounts in zip(self._limits, self._amounts, strict=True):
            here = np.minimum(counted, limits[rule])
            total += (here - below) * amounts[rule]
            below = here
        whole: Numbers = np.where(started, total, total // block)
        return whole


def _numbers(values: Any) -> Numbers:
    return np.fromiter(values, dtype=np.int64)


def _percent(old: Numbers, new: Numbers, milli: Numbers) -> Numbers:
    return new * milli // WHOLE - old * milli // WHOLE


def _tax(total: Numbers, milli: Numbers) -> Numbers:
    return (2 * total * milli + WHOLE) // (2 * WHOLE)
