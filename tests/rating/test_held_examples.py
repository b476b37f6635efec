"""Worked examples that other systems publish in their documentation, priced by ours.

The name of a case says whose documentation it is from, and on which page it stands. Only facts are
taken: quantities, prices and results. Where a page gives a price with its limits and no sum, the
quantities stand next to those limits.
"""

from __future__ import annotations

from typing import Any

import pytest

from rating.allowances import Rollover, free_units
from rating.pricing import (
    Discount,
    EventPrice,
    Tier,
    UsagePrice,
    Use,
    close_period,
    price_usage,
    price_use,
)

MICROS = 1_000_000


def micros(amount: str) -> int:
    """Turn a decimal amount into micro-units, without a float in between."""
    whole, _, decimals = amount.partition(".")
    return int(whole) * MICROS + int(decimals.ljust(6, "0"))


def tiers(*steps: tuple[int | None, str] | tuple[int | None, str, str]) -> tuple[Tier, ...]:
    return tuple(Tier(step[0], *map(micros, step[1:])) for step in steps)  # type: ignore[arg-type]


def price(*steps: Any, **facts: Any) -> UsagePrice:
    return UsagePrice(version="p", unit="unit", tiers=tiers(*steps), **facts)


STRIPE_TIERS = ((5, "5"), (10, "4"), (15, "3"), (20, "2"), (None, "1"))
STRIPE_FONTS = ((5, "7"), (10, "6.5"), (None, "6"))
LAGO_VOLUME = (
    (10_000, "0.0010", "10"), (50_000, "0.0008", "10"), (100_000, "0.0006", "10"),
    (None, "0.0004", "10"),
)  # fmt: skip
LAGO_PERCENTAGES = ((1_000, "0.01", "200"), (10_000, "0.02", "300"), (None, "0.03", "400"))
ZUPLO = ((1_000, "0.10"), (10_000, "0.05"), (None, "0.01"))
AUTUMN = ((1_000, "0.01"), (10_000, "0.008"), (None, "0.005"))
ORACLE_SLABS = ((250, "1"), (500, "2"), (None, "3"))
ORACLE_FLAT = ((250, "0", "10"), (500, "0", "20"), (None, "0", "30"))
ORACLE_STEPS = ((250, "10"), (500, "20"), (None, "30"))
RECURLY = ((100, "1.00"), (None, "0.50"))
ZUORA_OVERAGE = ((100, "0"), (200, "2.00"), (None, "2.00"))
SOLVIMON = ((100, "0", "25"), (1_000, "0", "20"), (None, "0", "15"))


@pytest.mark.parametrize(
    ("rule", "quantity", "total"),
    [
        pytest.param(price(*STRIPE_TIERS, model="volume"), quantity, total,
                     id=f"Stripe, tiers: volume, {quantity}")
        for quantity, total in ((1, "5"), (5, "25"), (6, "24"), (20, "40"), (25, "25"))
    ]
    + [
        pytest.param(price(*STRIPE_TIERS), 6, "29", id="Stripe, tiers: graduated, 6"),
        pytest.param(price(*STRIPE_FONTS), 5, "35", id="Stripe, fonts: graduated, 5"),
    ]
    + [
        pytest.param(price(*STRIPE_FONTS, model="volume"), quantity, total,
                     id=f"Stripe, fonts: volume, {quantity}")
        for quantity, total in ((1, "7"), (5, "35"), (6, "39"), (20, "120"), (25, "150"))
    ]
    + [
        pytest.param(price(*LAGO_VOLUME, model="volume"), 65_000, "49", id="Lago, volume"),
        pytest.param(price((None, "5"), block_size=100, counts_started_blocks=True, allowance=100),
                     201, "10", id="Lago, package"),
        pytest.param(price(*ZUPLO), 15_000, "600", id="Zuplo, graduated"),
        pytest.param(price(*ZUPLO, model="volume"), 15_000, "150", id="Zuplo, volume"),
        pytest.param(price((None, "0.001")), 100_000, "100", id="Zuplo, per unit"),
        pytest.param(price(*AUTUMN), 15_000, "107", id="Autumn, graduated"),
        pytest.param(price((None, "1.25"), block_size=10**6, counts_started_blocks=True),
                     10**6, "1.25", id="Chargebee, packages: one whole"),
        pytest.param(price((None, "1.25"), block_size=10**6, counts_started_blocks=True),
                     10, "1.25", id="Chargebee, packages: one begun"),
        pytest.param(price((None, "1.25"), block_size=10**6, counts_started_blocks=True),
                     1_500_000, "2.50", id="Chargebee, packages: two"),
        pytest.param(price((None, "1"), block_size=1_000, counts_started_blocks=True,
                           model="volume"),
                     4_500, "5", id="Flexprice, volume by the package"),
        pytest.param(price(*ORACLE_SLABS), 1_000, "2250", id="Oracle, slab amount by the unit"),
        pytest.param(price(*ORACLE_SLABS, model="volume"), 1_000, "3000",
                     id="Oracle, variable amount by the unit"),
        pytest.param(price(*ORACLE_FLAT), 1_000, "60", id="Oracle, slab amount, no unit"),
        pytest.param(price(*ORACLE_STEPS, model="stairstep"), 1_000, "30",
                     id="Oracle, variable amount, no unit"),
        pytest.param(price(*SOLVIMON), 200, "45", id="Solvimon, stairs that add up"),
        pytest.param(price(*ZUORA_OVERAGE), 130, "60", id="Zuora, tiered with overage"),
        pytest.param(price((None, "0.50"), allowance=500), 500, "0", id="Zuora, overage: included"),
        pytest.param(price((None, "0.50"), allowance=500), 501, "0.50", id="Zuora, overage: one"),
        pytest.param(price(*RECURLY), 101, "100.50", id="Recurly, tiered: the first beyond"),
    ],
)  # fmt: skip
def test_total_of_a_period(rule: UsagePrice, quantity: int, total: str) -> None:
    assert rule.total(quantity) == micros(total)
    # And so does the sum of single steps, whatever they are.
    half = quantity // 3
    steps = [price_usage(price=rule, before=0, quantity=half),
             price_usage(price=rule, before=half, quantity=quantity - half)]  # fmt: skip
    assert sum(step.net for step in steps) == micros(total)


def test_lago_graduated_percentage_charges_three_transactions_in_turn() -> None:
    rule, before, charged = price(*LAGO_PERCENTAGES), 0, []
    for value in (500, 550, 4_000):
        charged.append(price_usage(price=rule, before=before, quantity=value).net)
        before += value
    assert charged == [micros("205"), micros("306"), micros("80")]


@pytest.mark.parametrize(
    ("rule", "quantity", "due"),
    [
        pytest.param(price((None, "10"), least=micros("100"), most=micros("200")), 8, "100",
                     id="Zuora, minimum of a charge"),
        pytest.param(price((None, "12"), least=micros("120"), most=micros("240")), 25, "240",
                     id="Zuora, maximum of a charge"),
        pytest.param(price((None, "12"), least=micros("120"), most=micros("240")), 10, "120",
                     id="Zuora, within the range"),
        pytest.param(price((None, "0.010"), least=micros("100")), 5_000, "100",
                     id="Lago, spending minimum with a true-up of 50"),
        pytest.param(price((None, "1"), least=micros("1000")), 800, "1000",
                     id="Lago, contract below its minimum"),
        pytest.param(price((None, "1"), least=micros("1000")), 1_300, "1300",
                     id="Lago, contract above its minimum"),
    ],
)  # fmt: skip
def test_least_and_most_of_a_period(rule: UsagePrice, quantity: int, due: str) -> None:
    use = rule.use(quantity)
    step = price_usage(price=rule, before=0, quantity=quantity)
    closing = close_period(price=rule, use=use, part=1, whole=1)
    assert step.net + (closing.net if closing else 0) == micros(due)


@pytest.mark.parametrize(
    ("event", "value", "due"),
    [
        # Values in the currency's hundredths.
        pytest.param(EventPrice(1_000, 10_000, minimum=micros("0.20"), maximum=micros("2")),
                     100_00, "1", id="GoCardless, Bacs: 100 pounds"),
        pytest.param(EventPrice(1_000, 10_000, minimum=micros("0.20"), maximum=micros("2")),
                     10_00, "0.20", id="GoCardless, Bacs: not less than 20 pence"),
        pytest.param(EventPrice(1_000, 10_000, minimum=micros("0.20"), maximum=micros("2")),
                     1_000_00, "2", id="GoCardless, Bacs: not more than two pounds"),
        pytest.param(EventPrice(1_000, 10_000, minimum=micros("1"), maximum=micros("100")),
                     50_00, "1", id="Upvest, relative fee: not less than one euro"),
        pytest.param(EventPrice(1_000, 10_000, minimum=micros("1"), maximum=micros("100")),
                     20_000_00, "100", id="Upvest, relative fee: not more than a hundred"),
        pytest.param(EventPrice(2_900, 10_000, fee=micros("0.30")), 100_00, "3.20",
                     id="Lago, per transaction like Stripe: card payments online"),
    ],
)  # fmt: skip
def test_percentage_of_an_events_value(event: EventPrice, value: int, due: str) -> None:
    rule = price((None, "0"), event_price=event)
    step = price_use(
        price=rule,
        quantity=value,
        before=rule.standing(Use()),
        after=rule.standing(Use((value,), 0, event.cost(value))),
    )
    assert step.net == micros(due)


def test_openmeter_usage_discount_is_used_up_by_three_parts() -> None:
    """500 units off, used as 300, 250 and 100: 0, 50 and 100 are charged."""
    rule, before, charged = price((None, "1"), allowance=500), 0, []
    for quantity in (300, 250, 100):
        charged.append(price_usage(price=rule, before=before, quantity=quantity).net)
        before += quantity
    assert charged == [0, 50 * MICROS, 100 * MICROS]


def test_openmeter_takes_a_percentage_off_before_it_applies_minimum_and_maximum() -> None:
    rule = price((None, "1"), discount=Discount(50_000), most=micros("60"))
    assert price_usage(price=rule, before=0, quantity=100).net == micros("50")
    assert price_usage(price=rule, before=0, quantity=200).net == micros("60")


def test_autumn_rollover_gives_1400_in_february_after_600_in_january() -> None:
    assert free_units([600, 5_000], 1_000, Rollover(1))[1] == 1_400


def test_zuora_rollover_gives_1200_after_800_of_1000() -> None:
    assert free_units([800, 5_000], 1_000, Rollover(1)) == [800, 1_200]


def test_zuora_rollover_of_six_months_lapses_after_six() -> None:
    """500 minutes a month, kept for six more."""
    nothing_for_long = [0] * 9
    assert free_units([*nothing_for_long, 10_000], 500, Rollover(6))[-1] == 7 * 500
