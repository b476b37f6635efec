"""Worked examples: at each limit and beside it, and never anything else than a bill would say."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from rating import examples
from rating.amounts import AmountTooLarge
from rating.bands import Band
from rating.pricing import EventPrice, Share, Terms, Tier, UsagePrice, price_usage

ZONE = "America/New_York"
MONDAY = datetime(2026, 5, 4, tzinfo=ZoneInfo(ZONE))


def price(*tiers: Tier, **other: object) -> UsagePrice:
    return UsagePrice(version="1", unit="minute", tiers=tiers, **other)  # type: ignore[arg-type]


def test_limits_are_the_allowance_the_tiers_the_first_block_and_the_cap() -> None:
    steps = price(Tier(100, 10), Tier(None, 5), allowance=50)
    assert examples.limits(steps) == [50, 150]
    packed = price(Tier(None, 100), block_size=60, counts_started_blocks=True, most=300)
    assert examples.limits(packed) == [60, 121]


def test_around_each_limit_there_is_a_case_below_at_and_above_and_a_typical_one() -> None:
    cases = examples.telling(price(Tier(100, 10), Tier(None, 5)))
    assert cases == [
        ("the first", 1),
        ("just below a limit", 99),
        ("at a limit", 100),
        ("just above a limit", 101),
        ("typical", 120),
    ]


def test_limits_of_a_percentage_are_where_its_minimum_ends_and_its_maximum_begins() -> None:
    event = EventPrice(2_500, worth=10_000, fee=100_000, minimum=500_000, maximum=3_000_000)
    percentage = price(Tier(None, 0), event_price=event)
    least, most = examples.limits(percentage)
    for limit, amount in ((least, event.minimum), (most, 3_000_000)):
        assert event.cost(limit) == amount
    assert event.cost(least + 1) > event.minimum
    assert event.cost(most - 1) < 3_000_000


def test_a_band_is_shown_from_within_and_across_its_beginning() -> None:
    weekend = Band("Weekend", frozenset({5, 6}), 0, 0, 10)
    night = Band("Night", frozenset(range(7)), 22 * 60, 6 * 60, 20)
    found = examples.in_bands(price(Tier(None, 100), bands=(night, weekend)), Terms(), ZONE, MONDAY)
    assert [(example.case, example.priced.net) for example in found] == [
        ("in Night", 120 * 20),
        ("half before Night", 60 * 100 + 60 * 20),
        # Until midnight of Friday it is night, and so it is after: the first band counts.
        ("in Weekend", 120 * 20),
        ("half before Weekend", 120 * 20),
    ]


def test_a_commitment_is_shown_for_nothing_used() -> None:
    shown = examples.of_nothing(price(Tier(None, 1), least=5_000_000), Terms())
    assert shown is not None
    assert shown.priced.net == 5_000_000
    assert examples.of_nothing(price(Tier(None, 1)), Terms()) is None


@given(
    limits=st.lists(st.integers(1, 10**6), min_size=1, max_size=5, unique=True),
    amounts=st.lists(st.integers(0, 10**7), min_size=6, max_size=6),
    allowance=st.integers(0, 10**6),
    model=st.sampled_from(["graduated", "volume", "stairstep"]),
)
def test_examples_and_curve_are_what_use_is_charged(
    limits: list[int], amounts: list[int], allowance: int, model: str
) -> None:
    ends = [*sorted(limits), None]
    tiers = [Tier(end, amount) for end, amount in zip(ends, amounts, strict=False)]
    rule = price(*tiers, allowance=allowance, model=model)
    terms = Terms(tax_milli=8_875, bsp=Share(percent_milli=70_000))
    for example in examples.of_use(rule, terms, examples.telling(rule)):
        assert example.quantity is not None
        charged = price_usage(price=rule, before=0, quantity=example.quantity, terms=terms)
        assert example.priced == charged
    points = dict(examples.curve(rule, allowance + max(limits) + 10))
    assert all(rule.total(quantity) == cost for quantity, cost in points.items())
    assert {allowance + limit + beside for limit in limits for beside in (0, 1)} <= set(points)


def test_what_cannot_be_stored_is_left_out() -> None:
    dear = price(Tier(None, 10**15))
    shown = examples.of_use(dear, Terms(), [("yours", 10), ("yours", 10**6)])
    assert [example.quantity for example in shown] == [10]
    assert examples.curve(dear, 10**6)[-1][0] < 10**6
    try:
        price_usage(price=dear, before=0, quantity=10**6)
    except AmountTooLarge:
        return
    raise AssertionError("a charge that cannot be stored")
