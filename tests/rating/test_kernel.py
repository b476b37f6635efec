"""Rating by columns gives what rating one by one gives, to the micro-unit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rating.amounts import LARGEST, AmountTooLarge
from rating.kernel import Kernel, Steps
from rating.pricing import Share, Terms, Tier, UsagePrice, price_usage

MILLI = st.integers(0, 100_000)


@st.composite
def rules(draw: st.DrawFn) -> tuple[UsagePrice, Terms]:
    limits = sorted(draw(st.sets(st.integers(1, 10**12), max_size=4)))
    amounts = draw(
        st.lists(st.integers(0, 10**9), min_size=len(limits) + 1, max_size=len(limits) + 1)
    )
    price = UsagePrice(
        version="",
        unit="byte",
        tiers=tuple(map(Tier, [*limits, None], amounts)),
        block_size=draw(st.integers(1, 10**9)),
        counts_started_blocks=draw(st.booleans()),
        allowance=draw(st.integers(0, 10**12)),
    )
    shares = [draw(st.none() | MILLI.map(Share)) for _ in range(2)]
    return price, Terms(draw(MILLI), *shares)


STEP = st.tuples(st.integers(0, 10**15), st.integers(0, 10**15))


@settings(max_examples=200, deadline=None)
@given(st.lists(rules(), min_size=1, max_size=3), st.lists(STEP, min_size=1, max_size=8))
def test_both_price_each_step_alike(
    prices: list[tuple[UsagePrice, Terms]], steps: list[tuple[int, int]]
) -> None:
    which = np.arange(len(steps)) % len(prices)
    before = np.array([start for start, _ in steps])
    after = before + np.array([quantity for _, quantity in steps])
    amounts = Kernel(prices).price(Steps(which, before, after))
    for place, (start, quantity) in enumerate(steps):
        price, terms = prices[which[place]]
        try:
            alone = price_usage(price=price, before=start, quantity=quantity, terms=terms)
        except AmountTooLarge:
            assert not amounts.is_safe[place]
            continue
        if amounts.is_safe[place]:
            for name in ("net", "tax", "bsp", "network_provider", "isp"):
                assert getattr(amounts, name)[place] == getattr(alone, name)


def test_what_could_wrap_is_not_taken_for_right() -> None:
    dear = UsagePrice(version="", unit="bar", tiers=(Tier(None, 10**12),))
    steps = Steps(np.array([0, 0]), np.array([0, 0]), np.array([1, 10**9]))
    assert Kernel([(dear, Terms())]).price(steps).is_safe.tolist() == [True, False]
    with pytest.raises(AmountTooLarge):
        price_usage(price=dear, before=0, quantity=LARGEST)
