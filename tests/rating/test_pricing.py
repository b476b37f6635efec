"""Prices, shares and tax: by example, by properties, and against a slow and simple reference."""

import itertools
import random
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ispops.periods import Period, billing_period
from rating import pricing
from rating.pricing import (
    NO_TERMS,
    AmountTooLarge,
    BundlePart,
    Priced,
    Share,
    Terms,
    Tier,
    UsagePrice,
)

CENT = 10_000
UNIT = 1_000_000


def flat(amount: int, **fields: Any) -> UsagePrice:
    return UsagePrice(version="p1", unit="minute", tiers=(Tier(None, amount),), **fields)


def tiered(*tiers: tuple[int | None, int], **fields: Any) -> UsagePrice:
    steps = tuple(Tier(up_to, amount) for up_to, amount in tiers)
    return UsagePrice(version="p1", unit="minute", tiers=steps, **fields)


def charge(price: UsagePrice, before: int, quantity: int, terms: Terms = NO_TERMS) -> Priced:
    return pricing.price_usage(price=price, before=before, quantity=quantity, terms=terms)


# --- Examples -----------------------------------------------------------------------------------


def test_each_unit_has_its_price() -> None:
    assert charge(flat(2 * CENT), 0, 7).net == 14 * CENT


def test_a_unit_may_cost_less_than_a_micro_unit_and_the_sum_is_still_right() -> None:
    per_gigabyte = flat(10 * CENT, block_size=10**9)
    assert [per_gigabyte.total(octets) for octets in (1, 10**4, 10**9, 25 * 10**8)] == [
        0,
        1,
        10 * CENT,
        25 * CENT,
    ]


def test_a_started_block_is_charged_whole_and_once() -> None:
    price = flat(5 * UNIT, block_size=100, counts_started_blocks=True)
    assert [charge(price, before, 1).net for before in (0, 1, 99, 100, 101)] == [
        5 * UNIT,
        0,
        0,
        5 * UNIT,
        0,
    ]


def test_graduated_tiers_charge_each_unit_in_its_own_tier() -> None:
    price = tiered((100, 10 * CENT), (200, 5 * CENT), (None, 1 * CENT))
    assert price.total(250) == 100 * 10 * CENT + 100 * 5 * CENT + 50 * CENT
    step = charge(price, 90, 30)
    assert step.net == 10 * 10 * CENT + 20 * 5 * CENT
    assert step.explanation["tiers"] == [
        {"up_to": 100, "units": 10, "amount": "0.10"},
        {"up_to": 200, "units": 20, "amount": "0.05"},
    ]


def test_a_block_costs_what_the_tier_says_in_which_it_begins() -> None:
    price = tiered((150, 3 * UNIT), (None, UNIT), block_size=100, counts_started_blocks=True)
    # Blocks begin at 0, 100, 200: the first two in the first tier, the third in the second.
    assert [price.total(n) for n in (1, 100, 101, 200, 201, 300)] == [
        3 * UNIT,
        3 * UNIT,
        6 * UNIT,
        6 * UNIT,
        7 * UNIT,
        7 * UNIT,
    ]


def test_an_allowance_is_free_and_then_tiers_count_from_its_end() -> None:
    price = tiered((10, 2 * CENT), (None, 1 * CENT), allowance=100)
    assert charge(price, 0, 100).net == 0
    over = charge(price, 95, 20)
    assert over.net == 10 * 2 * CENT + 5 * CENT
    assert over.explanation["tiers"][0] == {"allowance": 100, "units": 5}
    assert over.explanation["arithmetic"] == (
        "20 minutes after 95 in the period: 5 included + 10 x 0.02 + 5 x 0.01; 0.25 - 0.00 = 0.25"
    )


def test_the_explanation_names_rule_version_and_arithmetic() -> None:
    step = charge(flat(2 * CENT), 3, 4, Terms(tax_milli=8_875))
    assert step.explanation == {
        "rule": "usage",
        "price_version": "p1",
        "arithmetic": "4 minutes after 3 in the period: 4 x 0.02; 0.14 - 0.06 = 0.08",
        "before": 3,
        "after": 7,
        "tiers": [{"up_to": None, "units": 4, "amount": "0.02"}],
        "tax": "8.875 % of 0.08 = 0.0071",
    }


def test_one_off_with_tax_and_shares() -> None:
    terms = Terms(tax_milli=19_000, bsp=Share(percent_milli=70_000))
    film = pricing.price_one_off(amount=4_990_000, version="p7", terms=terms)
    assert (film.net, film.tax, film.bsp, film.isp) == (4_990_000, 948_100, 3_493_000, 1_497_000)
    assert film.explanation["arithmetic"] == "one price of 4.99"


def test_a_wholesale_price_above_the_retail_price_is_the_isps_loss() -> None:
    line = pricing.price_one_off(
        amount=40 * UNIT, version="p", terms=Terms(network_provider=Share(fixed=45 * UNIT))
    )
    assert (line.net, line.network_provider, line.isp) == (40 * UNIT, 45 * UNIT, -5 * UNIT)


def test_half_a_month_costs_half() -> None:
    june = billing_period(datetime(2026, 6, 10, tzinfo=UTC), anchor_day=1, zone="UTC")
    terms = Terms(network_provider=Share(fixed=10 * UNIT))
    half = pricing.price_recurring(
        amount=30 * UNIT,
        version="p",
        span=Period(june.start + timedelta(days=15), june.end),
        period=june,
        terms=terms,
    )
    assert (half.net, half.network_provider, half.isp) == (15 * UNIT, 5 * UNIT, 10 * UNIT)
    assert half.explanation["arithmetic"] == ("30.00 x 1,296,000 / 2,592,000 seconds of the period")


def test_a_bundles_part_says_where_it_comes_from() -> None:
    june = billing_period(datetime(2026, 6, 10, tzinfo=UTC), anchor_day=1, zone="UTC")
    part = pricing.price_recurring(
        amount=20 * UNIT,
        version="p",
        span=june,
        period=june,
        part=BundlePart(price=50 * UNIT, weight=2, weights=5),
    )
    assert part.explanation["arithmetic"] == "the whole period at 20.00"
    assert part.explanation["bundle"] == "20.00 is the part 2 of 5 of the one price of 50.00"


def test_the_hour_that_daylight_saving_takes_is_part_of_the_period_and_not_of_the_price() -> None:
    march = billing_period(datetime(2026, 3, 10, tzinfo=UTC), anchor_day=1, zone="America/New_York")
    assert (march.end - march.start) == timedelta(days=31) - timedelta(hours=1)
    whole = pricing.price_recurring(amount=31 * UNIT, version="p", span=march, period=march)
    assert whole.net == 31 * UNIT


@pytest.mark.parametrize(
    ("micros", "text"),
    [(0, "0.00"), (1, "0.000001"), (1_500_000, "1.50"), (-25_000, "-0.025"), (10**9, "1000.00")],
)
def test_words_are_exact(micros: int, text: str) -> None:
    assert pricing.words(micros) == text


# --- Refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "tiers",
    [
        (),
        ((10, 1),),
        ((None, 1), (None, 1)),
        ((20, 1), (10, 1), (None, 1)),
        ((10, 1), (10, 1), (None, 1)),
        ((0, 1), (None, 1)),
        ((None, -1),),
    ],
)
def test_tiers_that_make_no_sense_are_refused(tiers: tuple[tuple[int | None, int], ...]) -> None:
    with pytest.raises(ValueError, match=r"tier|limit|below"):
        tiered(*tiers)


@pytest.mark.parametrize("field", [{"block_size": 0}, {"allowance": -1}])
def test_blocks_and_allowances_must_make_sense(field: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="block"):
        flat(1, **field)


def test_negative_use_and_prices_are_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        charge(flat(1), 0, -1)
    with pytest.raises(ValueError, match="negative"):
        pricing.price_one_off(amount=-1, version="p")


def test_what_cannot_be_stored_is_refused() -> None:
    with pytest.raises(AmountTooLarge):
        charge(flat(2**40), 0, 2**40)
    with pytest.raises(AmountTooLarge):
        pricing.price_one_off(amount=2**61, version="p")


def test_a_span_outside_its_period_is_refused() -> None:
    june = billing_period(datetime(2026, 6, 10, tzinfo=UTC), anchor_day=1, zone="UTC")
    outside = Period(june.start, june.end + timedelta(microseconds=1))
    with pytest.raises(ValueError, match="within"):
        pricing.price_recurring(amount=1, version="p", span=outside, period=june)


# --- Properties ---------------------------------------------------------------------------------


@st.composite
def usage_prices(draw: st.DrawFn) -> UsagePrice:
    limits = sorted(draw(st.sets(st.integers(1, 500), max_size=3)))
    amounts = st.integers(0, 5_000_000)
    return UsagePrice(
        version="p",
        unit="minute",
        tiers=(*(Tier(limit, draw(amounts)) for limit in limits), Tier(None, draw(amounts))),
        block_size=draw(st.sampled_from([1, 2, 7, 60, 1000])),
        counts_started_blocks=draw(st.booleans()),
        allowance=draw(st.sampled_from([0, 0, 1, 50, 300])),
    )


percents = st.integers(0, pricing.WHOLE)


@st.composite
def all_terms(draw: st.DrawFn) -> Terms:
    bsp = draw(percents)
    network = draw(st.integers(0, pricing.WHOLE - bsp))
    return Terms(
        tax_milli=draw(percents),
        bsp=draw(st.sampled_from([None, Share(percent_milli=bsp)])),
        network_provider=draw(st.sampled_from([None, Share(percent_milli=network)])),
    )


def slow_total(price: UsagePrice, quantity: int) -> int:
    """Price unit by unit with fractions, as the docstring of `UsagePrice` says it."""

    def tier_of(unit: int) -> int:
        return next(t.amount for t in price.tiers if t.up_to is None or unit < t.up_to)

    cost = Fraction(0)
    for unit in range(max(0, quantity - price.allowance)):
        if not price.counts_started_blocks:
            cost += Fraction(tier_of(unit), price.block_size)
        elif unit % price.block_size == 0:
            cost += tier_of(unit)
    return int(cost)


@given(usage_prices(), st.integers(0, 1500))
def test_the_running_total_is_what_the_rule_says_unit_by_unit(
    price: UsagePrice, quantity: int
) -> None:
    assert price.total(quantity) == slow_total(price, quantity)


@given(usage_prices(), all_terms(), st.integers(0, 2000), st.integers(0, 2000))
def test_parts_sum_to_the_whole_and_nothing_is_negative(
    price: UsagePrice, terms: Terms, before: int, quantity: int
) -> None:
    step = charge(price, before, quantity, terms)
    assert step.isp + step.bsp + step.network_provider == step.net
    assert min(step.net, step.tax, step.bsp, step.network_provider) >= 0
    assert step.isp >= (-1 if terms.bsp and terms.network_provider else 0)
    assert all(type(part) is int for part in (step.net, step.tax, step.bsp, step.isp))


def sums(price: UsagePrice, terms: Terms, quantities: list[int]) -> tuple[int, ...]:
    before = 0
    steps = []
    for quantity in quantities:
        steps.append(charge(price, before, quantity, terms))
        before += quantity
    return tuple(
        sum(getattr(step, part) for step in steps)
        for part in ("net", "tax", "bsp", "network_provider", "isp")
    )


@given(
    usage_prices(),
    all_terms(),
    st.lists(st.integers(0, 400), min_size=1, max_size=12),
    st.randoms(use_true_random=False),
)
def test_totals_do_not_depend_on_order_or_batches(
    price: UsagePrice, terms: Terms, quantities: list[int], chance: random.Random
) -> None:
    expected = sums(price, terms, quantities)
    shuffled = chance.sample(quantities, len(quantities))
    assert sums(price, terms, shuffled) == expected
    assert sums(price, terms, [sum(quantities)]) == expected
    assert expected[-1] >= 0


@given(
    st.integers(0, 10**12),
    all_terms(),
    st.integers(0, 10**10),
    st.lists(st.integers(1, 31 * 86_400 * 10**6 - 1), max_size=8, unique=True),
)
def test_a_period_that_is_cut_anywhere_costs_the_same(
    amount: int, terms: Terms, fixed: int, cuts: list[int]
) -> None:
    period = Period(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC))
    terms = Terms(terms.tax_milli, terms.bsp, Share(fixed=fixed))
    edges = [period.start + timedelta(microseconds=cut) for cut in sorted(cuts)]
    edges = [period.start, *edges, period.end]
    steps = [
        pricing.price_recurring(
            amount=amount, version="p", span=Period(start, end), period=period, terms=terms
        )
        for start, end in itertools.pairwise(edges)
    ]
    whole = pricing.price_recurring(
        amount=amount, version="p", span=period, period=period, terms=terms
    )
    for part in ("net", "tax", "bsp", "network_provider", "isp"):
        assert sum(getattr(step, part) for step in steps) == getattr(whole, part)
    assert whole.net == amount
    assert whole.network_provider == fixed
    assert min(step.net for step in steps) >= 0


@given(usage_prices(), st.integers(0, 1500), st.integers(0, 1500))
def test_the_tiers_of_the_explanation_account_for_every_unit(
    price: UsagePrice, before: int, quantity: int
) -> None:
    touched = charge(price, before, quantity).explanation["tiers"]
    counted = sum(tier["units"] for tier in touched)
    if price.counts_started_blocks:
        free = sum(tier["units"] for tier in touched if "allowance" in tier)
        first, last = (max(0, n - price.allowance) for n in (before, before + quantity))
        assert counted - free == price.counted(last) - price.counted(first)
    else:
        assert counted == quantity
