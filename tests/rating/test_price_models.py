"""Every model of a price: what it comes to, what its explanation says, and what never changes."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ispops.periods import Period, billing_period
from rating import pricing
from rating.allowances import Pack, Rollover, free_units
from rating.amounts import LARGEST, WHOLE, portion
from rating.bands import Band, divide
from rating.pricing import (
    NO_DISCOUNT,
    NO_TERMS,
    AmountTooLarge,
    Discount,
    EventPrice,
    Later,
    Priced,
    Share,
    ShareTier,
    Terms,
    Tier,
    UsagePrice,
    Use,
    price_usage,
    price_use,
)

UNIT = 1_000_000
CENT = 10_000
NEW_YORK = "America/New_York"
NIGHT = Band("Night", frozenset(range(7)), 22 * 60, 6 * 60, 1 * CENT)
FREE_NIGHT = replace(NIGHT, amount=0, counts=False)
WEEKEND = Band("Weekend", frozenset({5, 6}), 0, 0, 2 * CENT)


def rule(*steps: tuple[int | None, int], **facts: Any) -> UsagePrice:
    tiers = tuple(Tier(*step) for step in steps or ((None, 10 * CENT),))
    return UsagePrice(version="p1", unit="minute", tiers=tiers, **facts)


def step_of(
    price: UsagePrice, quantity: int, before: Use, after: Use, terms: Terms = NO_TERMS
) -> Priced:
    return price_use(
        price=price,
        quantity=quantity,
        before=price.standing(before),
        after=price.standing(after),
        terms=terms,
    )


def said(step: Priced) -> str:
    return str(step.explanation["arithmetic"])


# --- Models -------------------------------------------------------------------------------------


def test_a_volume_price_gives_back_what_the_cheaper_tier_makes_of_all_before() -> None:
    price = rule((100, 10 * CENT), (None, 5 * CENT), model="volume")
    before = price_usage(price=price, before=0, quantity=100)
    step = price_usage(price=price, before=100, quantity=10)
    assert (before.net, step.net) == (10 * UNIT, -4_500_000)
    assert said(step) == (
        "10 minutes after 100 in the period: all so far, 110 x 0.05; 5.50 - 10.00 = -4.50, "
        "so 4.50 is given back"
    )


def test_a_stairstep_charges_the_difference_to_the_next_step() -> None:
    price = rule((10, 5 * UNIT), (20, 8 * UNIT), (None, 9 * UNIT), model="stairstep")
    steps = [price_usage(price=price, before=n, quantity=5).net for n in (0, 5, 10, 15, 20)]
    assert steps == [5 * UNIT, 0, 3 * UNIT, 0, UNIT]
    assert said(price_usage(price=price, before=5, quantity=10)) == (
        "10 minutes after 5 in the period: all 15 so far are in the step up to 20, which costs "
        "8.00; 8.00 - 5.00 = 3.00"
    )


def test_a_tier_may_cost_something_once_when_it_is_reached() -> None:
    price = rule((10, CENT, UNIT), (None, CENT, 2 * UNIT))
    assert [price.total(n) for n in (0, 1, 10, 11)] == [0, 1_010_000, 1_100_000, 3_110_000]
    assert said(price_usage(price=price, before=9, quantity=2)) == (
        "2 minutes after 9 in the period: 1 x 0.01 + 1 x 0.01 + 2.00 for reaching the tier; "
        "3.11 - 1.09 = 2.02"
    )


def test_an_event_may_cost_the_same_whatever_its_quantity() -> None:
    price = rule((None, 25 * CENT), counts_events=True)
    step = step_of(price, 900, Use((3,)), Use((4,)))
    assert step.net == 25 * CENT
    assert said(step) == "1 event after 3 in the period: 1 x 0.25; 1.00 - 0.75 = 0.25"


@pytest.mark.parametrize(
    ("cents", "due", "words"),
    [
        (2_000, 800_000, "2.5 % of 20.00 + 0.30 = 0.80"),
        (100, 500_000, "2.5 % of 1.00 + 0.30, at least 0.50 = 0.50"),
        (100_000, 5_000_000, "2.5 % of 1000.00 + 0.30, at most 5.00 = 5.00"),
    ],
)
def test_a_percentage_of_the_events_value(cents: int, due: int, words: str) -> None:
    event = EventPrice(2_500, CENT, fee=30 * CENT, minimum=50 * CENT, maximum=5 * UNIT)
    price = rule(event_price=event)
    after = Use((cents + 7,), 0, 9 * UNIT + event.cost(cents))
    step = step_of(price, cents, Use((7,), 0, 9 * UNIT), after)
    assert (step.net, said(step)) == (due, words)


def test_discounts_come_off_in_order_and_never_below_nothing() -> None:
    discount = Discount(10_000, 2 * UNIT)
    assert discount.of(30 * UNIT) == 25 * UNIT
    assert discount.of(1 * UNIT) == 0
    price = rule(discount=discount)
    assert said(price_usage(price=price, before=0, quantity=300)) == (
        "300 minutes after 0 in the period: 300 x 0.10; 30.00 - 0.00 = 30.00; "
        "10 % and 2.00 off: 25.00 - 0.00 = 25.00"
    )


def test_use_never_costs_more_than_the_most_of_the_period_and_shares_follow() -> None:
    price = rule(most=5 * UNIT)
    terms = Terms(bsp=Share(percent_milli=70_000))
    steps = [price_usage(price=price, before=n, quantity=20, terms=terms) for n in (0, 20, 40, 60)]
    assert [step.net for step in steps] == [2 * UNIT, 2 * UNIT, UNIT, 0]
    assert [step.bsp for step in steps] == [1_400_000, 1_400_000, 700_000, 0]
    assert said(steps[2]) == (
        "20 minutes after 40 in the period: 20 x 0.10; 6.00 - 4.00 = 2.00; "
        "at most 5.00 in the period: 5.00 - 4.00 = 1.00"
    )


def test_what_a_period_costs_at_least_is_due_when_it_is_closed() -> None:
    price = rule(least=30 * UNIT)
    use = price.use(100)
    closing = pricing.close_period(price=price, use=use, part=15, whole=30)
    assert closing is not None
    assert closing.net == 5 * UNIT
    assert said(closing) == (
        "at least 15.00 is due for the period (30.00 x 15 / 30 of it), and 10.00 was charged: 5.00"
    )
    assert closing.explanation["rule"] == "minimum"
    # Late use is paid for already, until it passes that.
    closed = use._replace(part=15, whole=30)
    late = [step_of(price, n, closed, closed._replace(units=(100 + n,))) for n in (50, 60)]
    assert [step.net for step in late] == [0, UNIT]


def test_nothing_is_due_when_use_passed_the_least() -> None:
    price = rule(least=UNIT)
    assert pricing.close_period(price=price, use=price.use(100), part=1, whole=1) is None


def test_a_partners_guarantee_is_made_up_for_by_the_isp() -> None:
    price, terms = rule(), Terms(bsp=Share(percent_milli=50_000, minimum=8 * UNIT))
    closing = pricing.close_period(price=price, use=price.use(100), part=1, whole=1, terms=terms)
    assert closing is not None
    assert (closing.net, closing.bsp, closing.isp) == (0, 3 * UNIT, -3 * UNIT)
    assert "guaranteed" in said(closing)


def test_a_discounted_period_is_prorated_to_the_micro_unit() -> None:
    june = billing_period(datetime(2026, 6, 10, tzinfo=UTC), anchor_day=1, zone="UTC")
    half = pricing.price_recurring(
        amount=30 * UNIT,
        version="p",
        span=Period(june.start + timedelta(days=15), june.end),
        period=june,
        discount=Discount(50_000, UNIT),
    )
    assert half.net == 7 * UNIT
    assert said(half) == (
        "(30.00 less 50 % and 1.00 = 14.00) x 1,296,000 / 2,592,000 seconds of the period"
    )
    film = pricing.price_one_off(amount=5 * UNIT, version="p", discount=Discount(10_000))
    assert (film.net, said(film)) == (4_500_000, "one price of 5.00 less 10 % = 4.50")


def test_by_the_day_the_first_day_is_charged_and_the_last_is_not() -> None:
    march = billing_period(datetime(2026, 3, 10, tzinfo=UTC), anchor_day=1, zone=NEW_YORK)
    noon = datetime(2026, 3, 11, 12, tzinfo=ZoneInfo(NEW_YORK))

    def part(start: datetime, end: datetime) -> Priced:
        return pricing.price_recurring(
            amount=31 * UNIT,
            version="p",
            span=Period(start, end),
            period=march,
            proration="day",
            zone=NEW_YORK,
        )

    assert part(march.start, noon).net == 10 * UNIT
    assert part(noon, march.end).net == 21 * UNIT
    assert said(part(noon, march.end)) == "31.00 x 21 / 31 days of the period"
    assert part(noon, noon + timedelta(hours=3)).net == 0


# --- Hours --------------------------------------------------------------------------------------


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(NEW_YORK)).astimezone(UTC)


@pytest.mark.parametrize(
    ("start", "end", "parts"),
    [
        ("2026-05-04T21:00", "2026-05-04T23:00", (60, 60)),
        ("2026-05-04T05:00", "2026-05-04T07:00", (60, 60)),
        ("2026-05-04T22:00", None, (0, 120)),
        ("2026-05-04T21:59", None, (120, 0)),
        # Two whole days have two nights of eight hours.
        ("2026-05-04T12:00", "2026-05-06T12:00", (80, 40)),
        # The clocks go from 2 to 3: that night has seven hours of a day of 23.
        ("2026-03-07T12:00", "2026-03-08T12:00", (84, 36)),
        # The clocks go from 2 back to 1: that night has nine hours of a day of 25.
        ("2026-10-31T12:00", "2026-11-01T12:00", (77, 43)),
    ],
)
def test_a_use_is_divided_by_its_time_as_it_really_went_by(
    start: str, end: str | None, parts: tuple[int, int]
) -> None:
    found = divide(120, at(start), at(end) if end else None, (NIGHT,), NEW_YORK)
    assert found == parts


def test_an_hour_that_the_clocks_skip_begins_and_ends_nothing() -> None:
    """A band that would begin at half past two begins at three, when the clocks jump there."""
    band = replace(NIGHT, start=2 * 60 + 30, end=4 * 60)
    night = divide(180, at("2026-03-08T01:00"), at("2026-03-08T05:00"), (band,), NEW_YORK)
    # From one to five there are three hours, and from three to four one of the band.
    assert night == (120, 60)


def test_an_hour_that_there_is_twice_counts_twice() -> None:
    band = replace(NIGHT, start=1 * 60, end=2 * 60)
    night = divide(180, at("2026-11-01T00:00"), at("2026-11-01T02:00"), (band,), NEW_YORK)
    assert night == (60, 120)


def test_the_first_band_that_fits_counts_and_a_night_belongs_to_the_day_it_begins_on() -> None:
    friday = Band("Friday night", frozenset({4}), 22 * 60, 6 * 60, 0)
    saturday = at("2026-05-09T05:00")
    assert divide(10, saturday, None, (friday, WEEKEND), NEW_YORK) == (0, 10, 0)
    assert divide(10, saturday, None, (WEEKEND, friday), NEW_YORK) == (0, 10, 0)
    assert divide(10, at("2026-05-09T07:00"), None, (friday, WEEKEND), NEW_YORK) == (0, 0, 10)
    assert divide(10, at("2026-05-10T23:00"), None, (friday,), NEW_YORK) == (10, 0)


def test_what_is_included_is_taken_from_the_dearest_hours_first() -> None:
    price = rule(bands=(NIGHT,), allowance=100)
    before, after = price.use(0, 100), price.use(60, 100)
    assert (price.listed(before), price.listed(after)) == (0, 60 * CENT)
    assert said(step_of(price, 60, before, after)) == (
        "60 minutes after 100 in the period: 60 x 0.01 in Night; 0.60 - 0.00 = 0.60"
    )


def test_zero_rated_hours_leave_the_allowance_alone() -> None:
    price = rule(bands=(FREE_NIGHT,), allowance=100)
    assert price.listed(price.use(100, 5_000)) == 0
    assert price.listed(price.use(101, 5_000)) == 10 * CENT
    step = step_of(price, 50, price.use(10, 0), price.use(10, 50))
    assert said(step) == (
        "50 minutes after 10 in the period: 50 x 0.00 in Night; 0.00 - 0.00 = 0.00"
    )


# --- Allowance, rollover, packs -----------------------------------------------------------------


def test_the_oldest_units_are_used_first_and_lapse() -> None:
    assert free_units([50, 100, 300], 100, Rollover(1)) == [50, 100, 150]
    assert free_units([50, 300], 100, Rollover(1, most=20)) == [50, 120]
    assert free_units([0, 0, 500], 100, Rollover(1)) == [0, 0, 200]
    assert free_units([0, 0, 500], 100, Rollover(2)) == [0, 0, 300]
    assert free_units([0, 500], 100) == [0, 100]


def test_a_pack_is_for_what_is_used_after_it_was_bought() -> None:
    assert free_units([180], 100, None, [Pack(0, 0, 50)]) == [150]
    # It was bought when 30 units beyond the allowance had been used and charged.
    bought_late = [Pack(0, 30, 50)]
    assert [free_units([n], 100, None, bought_late)[0] for n in (130, 150, 180, 300)] == [
        100,
        120,
        150,
        150,
    ]


def test_packs_are_used_in_turn_and_what_is_left_is_good_as_long_as_was_bought() -> None:
    two = [Pack(0, 0, 50, periods=2), Pack(0, 0, 20)]
    assert free_units([160, 200], 100, None, two) == [160, 100]
    assert free_units([130, 200], 100, None, two) == [130, 120]
    assert free_units([100, 200, 200], 100, None, two) == [100, 150, 100]


def test_late_use_takes_back_what_was_carried_and_says_so() -> None:
    price = rule(allowance=100, rollover=Rollover(1))
    june = datetime(2026, 6, 1, tzinfo=UTC)
    step = price_use(
        price=price,
        quantity=30,
        before=price.standing(Use((20,), 20)),
        after=price.standing(Use((50,), 50)),
        later=[
            Later(june, price, price.standing(Use((180,), 180)), price.standing(Use((180,), 150)))
        ],
        terms=Terms(tax_milli=10_000, bsp=Share(percent_milli=50_000)),
    )
    assert (step.net, step.tax, step.bsp) == (3 * UNIT, 300_000, 1_500_000)
    assert said(step) == (
        "30 minutes after 20 in the period: 30 included; 0.00 - 0.00 = 0.00; 30 fewer carried into "
        "the period from 2026-06-01: 3.00 - 0.00 = 3.00"
    )
    assert step.explanation["tax"] == "10 % of 3.00 = 0.30"


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(1, 150)), max_size=12),
    st.integers(0, 200),
    st.one_of(
        st.none(),
        st.builds(Rollover, st.integers(1, 3), st.one_of(st.none(), st.integers(0, 150))),
    ),
    st.lists(
        st.builds(
            Pack, st.integers(0, 4), st.integers(0, 100), st.integers(1, 200), st.integers(1, 3)
        ),
        max_size=3,
    ),
)
def test_more_use_never_makes_the_sum_of_all_periods_smaller(
    uses: list[tuple[int, int]], allowance: int, rollover: Rollover | None, packs: list[Pack]
) -> None:
    used, last = [0] * 5, 0
    for period, units in uses:
        used[period] += units
        free = free_units(used, allowance, rollover, packs)
        assert all(0 <= got <= of for got, of in zip(free, used, strict=True))
        charged = sum(used) - sum(free)
        assert last <= charged <= last + units
        last = charged
    assert sum(free_units(used, allowance, rollover, packs)) <= 5 * allowance + sum(
        pack.units for pack in packs
    )


# --- Shares -------------------------------------------------------------------------------------


def test_shares_by_every_kind_of_terms() -> None:
    price = rule(discount=Discount(50_000))

    def bsp(**share: Any) -> int:
        terms = Terms(bsp=Share(**share))
        return price_usage(price=price, before=0, quantity=100, terms=terms).bsp

    assert bsp(percent_milli=40_000) == 2 * UNIT
    assert bsp(retail_percent_milli=40_000) == 4 * UNIT
    assert bsp(wholesale=3 * UNIT, wholesale_block=50) == 6 * UNIT
    assert bsp(fixed=9 * UNIT) == 0
    tiers = (ShareTier(2 * UNIT, 10_000), ShareTier(None, 50_000))
    assert bsp(tiers=tiers) == 200_000 + 1_500_000


def test_a_guaranteed_minimum_of_a_whole_charge_is_prorated() -> None:
    terms = Terms(bsp=Share(percent_milli=10_000, minimum=4 * UNIT))
    film = pricing.price_one_off(amount=5 * UNIT, version="p", terms=terms)
    assert (film.bsp, film.isp) == (4 * UNIT, UNIT)
    june = billing_period(datetime(2026, 6, 10, tzinfo=UTC), anchor_day=1, zone="UTC")
    half = pricing.price_recurring(
        amount=10 * UNIT,
        version="p",
        span=Period(june.start, june.start + timedelta(days=15)),
        period=june,
        terms=terms,
    )
    assert (half.net, half.bsp, half.isp) == (5 * UNIT, 2 * UNIT, 3 * UNIT)


# --- Refusals and bounds ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "facts",
    [
        {"model": "auction"},
        {"least": 2, "most": 1},
        {"least": -1},
        {"discount": Discount(-1)},
        {"bands": (NIGHT,), "model": "volume"},
        {"bands": (NIGHT,), "counts_events": True},
        {"event_price": EventPrice(1, 1), "allowance": 5},
    ],
    ids=str,
)
def test_rules_that_make_no_sense_are_refused(facts: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"model|least|below|bands"):
        rule(**facts)


@pytest.mark.parametrize(
    "price",
    [
        rule((None, UNIT)),
        rule((10, UNIT), (None, UNIT), model="volume"),
        rule((None, UNIT), bands=(NIGHT,)),
        rule((10, 1), (None, LARGEST + 1), model="stairstep"),
    ],
    ids=["graduated", "volume", "bands", "stairstep"],
)
def test_more_than_a_bigint_holds_is_refused(price: UsagePrice) -> None:
    huge = 10**30
    after = Use((huge,) + (0,) * len(price.bands))
    with pytest.raises(AmountTooLarge, match="stored"):
        step_of(price, huge, Use((0,) * len(after.units)), after)


# --- Properties ---------------------------------------------------------------------------------

percents = st.integers(0, WHOLE)
amounts = st.integers(0, 5 * UNIT)


@st.composite
def prices(draw: st.DrawFn) -> UsagePrice:
    limits = sorted(draw(st.sets(st.integers(1, 300), max_size=3)))
    flats = st.sampled_from([0, 0, 1, UNIT])
    model = draw(st.sampled_from(["graduated", "volume", "stairstep"]))
    bands = (NIGHT, FREE_NIGHT)[: draw(st.integers(0, 2))] if model == "graduated" else ()
    tiers = [Tier(limit, draw(amounts), draw(flats)) for limit in ([] if bands else limits)]
    most = draw(st.one_of(st.none(), st.integers(0, 100 * UNIT)))
    return UsagePrice(
        version="p",
        unit="minute",
        tiers=(*tiers, Tier(None, draw(amounts), draw(flats))),
        block_size=draw(st.sampled_from([1, 7, 60])),
        counts_started_blocks=draw(st.booleans()),
        allowance=draw(st.sampled_from([0, 1, 50, 300])),
        model=model,
        bands=bands,
        discount=draw(st.sampled_from([NO_DISCOUNT, Discount(12_345), Discount(0, UNIT + 1)])),
        most=most,
    )


shares = st.one_of(
    st.none(),
    st.builds(Share, percent_milli=percents),
    st.builds(Share, retail_percent_milli=percents),
    st.builds(Share, wholesale=amounts, wholesale_block=st.integers(1, 100)),
    st.builds(
        lambda one, other: Share(tiers=(ShareTier(7_654_321, one), ShareTier(None, other))),
        percents,
        percents,
    ),
)
all_terms = st.builds(Terms, percents, shares, shares)
uses = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 300)), min_size=1, max_size=10)
PARTS = ("net", "tax", "bsp", "network_provider", "isp")


def steps_of(price: UsagePrice, terms: Terms, taken: Sequence[tuple[int, int]]) -> list[Priced]:
    units, steps = [0] * (len(price.bands) + 1), []
    for band, quantity in taken:
        before = price.use(*units)
        units[band % len(units)] += quantity
        after = price.use(*units)
        steps.append(step_of(price, quantity, before, after, terms=terms))
    return steps


def sums(steps: Sequence[Priced]) -> list[int]:
    return [sum(getattr(step, part) for step in steps) for part in PARTS]


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(prices(), all_terms, uses, st.randoms(use_true_random=False))
def test_whatever_the_model_sums_do_not_depend_on_the_order(
    price: UsagePrice, terms: Terms, taken: list[tuple[int, int]], chance: random.Random
) -> None:
    steps = steps_of(price, terms, taken)
    assert sums(steps) == sums(steps_of(price, terms, chance.sample(taken, len(taken))))
    for step in steps:
        assert step.isp + step.bsp + step.network_provider == step.net
        assert all(type(getattr(step, part)) is int for part in PARTS)
        assert "0." in said(step) or "." in said(step)
    total = sums(steps)
    assert total[0] >= 0
    assert price.most is None or total[0] <= price.most
    if price.model == "graduated":
        assert min(step.net for step in steps) >= 0


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(prices(), all_terms, uses)
def test_whatever_the_model_rating_again_without_a_change_yields_nothing(
    price: UsagePrice, terms: Terms, taken: list[tuple[int, int]]
) -> None:
    steps = steps_of(price, terms, taken)
    again = steps_of(price, terms, taken)
    assert [sums([step]) for step in steps] == [sums([step]) for step in again]
    use = price.use(*([9] * (len(price.bands) + 1)))
    assert sums([step_of(price, 0, use, use, terms=terms)]) == [0] * 5


@given(st.integers(0, 10**25), st.integers(0, 10**6), st.integers(1, 10**6))
def test_the_one_rounding_is_down_or_to_the_nearest(total: int, part: int, whole: int) -> None:
    down, near = portion(total, part, whole), portion(total, part, whole, half_up=True)
    assert down * whole <= total * part < (down + 1) * whole
    assert abs(2 * (near * whole - total * part)) <= whole
    assert near in (down, down + 1)


@given(
    st.integers(0, 10**12),
    st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31), timezones=st.just(UTC)),  # noqa: DTZ001
    st.integers(1, 5 * 86_400),
)
def test_a_use_that_is_divided_keeps_every_unit(
    quantity: int, start: datetime, seconds: int
) -> None:
    end = start + timedelta(seconds=seconds)
    parts = divide(quantity, start, end, (NIGHT, WEEKEND), NEW_YORK)
    assert sum(parts) == quantity
    assert min(parts) >= 0


def test_no_terms_leave_all_to_the_isp() -> None:
    step = price_usage(price=rule(), before=0, quantity=7, terms=NO_TERMS)
    assert (step.isp, step.bsp, step.network_provider, step.tax) == (70 * CENT, 0, 0, 0)
