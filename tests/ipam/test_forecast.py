"""How a pool fills, by properties: what must hold whatever the numbers are."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ipam import forecast
from ipam.forecast import Growth

DAYS = st.lists(
    st.tuples(st.integers(0, 200), st.integers(0, 1 << 40)),
    min_size=forecast.LEAST_DAYS,
    max_size=30,
    unique_by=lambda point: point[0],
)
RATES = st.floats(-1e6, 1e6).filter(lambda rate: rate == 0 or abs(rate) > 1e-9)
UNITS = st.integers(1, 1 << 40)


@st.composite
def growths(draw: st.DrawFn) -> Growth:
    low, likely, high = sorted(draw(st.tuples(RATES, RATES, RATES)))
    return Growth(low, likely, high, 30)


# --- Growth -------------------------------------------------------------------------------------


@given(start=st.integers(0, 10**6), rate=st.integers(-500, 500), first=st.integers(0, 10**6))
def test_a_steady_growth_is_found_exactly(start: int, rate: int, first: int) -> None:
    points = [(first + day, start + 10**6 + rate * day) for day in range(20)]
    assert forecast.growth(points) == Growth(rate, rate, rate, 20)


@given(DAYS, st.randoms(use_true_random=False))
def test_the_range_holds_the_likely_rate_in_whatever_order_days_come(
    points: list[tuple[int, int]], random: object
) -> None:
    grows = forecast.growth(points)
    shuffled = list(points)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert grows is not None
    assert grows.low <= grows.likely <= grows.high
    assert forecast.growth(shuffled) == grows


@given(st.integers(1, 100), st.lists(st.integers(0, 10**6), min_size=4, max_size=4))
def test_a_few_wrong_days_hardly_move_it(rate: int, wrong: list[int]) -> None:
    """Four of thirty days are anything at all: the median of all pairs is still the true rate."""
    points = {day: 1000 + rate * day for day in range(30)}
    points |= dict(zip((3, 11, 19, 27), wrong, strict=True))
    grows = forecast.growth(list(points.items()))
    assert grows is not None
    assert grows.likely == rate


def test_noise_has_a_range_and_a_week_is_the_least() -> None:
    points = [(day, 1000 + 10 * day + day * 37 % 51 - 25) for day in range(30)]
    grows = forecast.growth(points)
    assert grows is not None
    assert 9 < grows.low < 10 < grows.high < 11.5
    assert forecast.growth(points[: forecast.LEAST_DAYS - 1]) is None


# --- Days to exhaustion -------------------------------------------------------------------------


@given(UNITS, UNITS, growths())
def test_the_soonest_comes_first_and_never_is_last(used: int, total: int, grows: Growth) -> None:
    ends = forecast.exhaustion(used=used, total=total, grows=grows)
    spans = [
        float("inf") if days is None else days for days in (ends.soonest, ends.likely, ends.latest)
    ]
    assert spans == sorted(spans)
    assert all(span >= 0 for span in spans)
    assert (used < total) or spans == [0, 0, 0]


def test_a_pool_that_does_not_grow_is_never_full() -> None:
    still = Growth(-1.0, 0.0, 2.0, 30)
    ends = forecast.exhaustion(used=90, total=100, grows=still)
    assert (ends.soonest, ends.likely, ends.latest) == (5.0, None, None)


# --- The size of a further block ----------------------------------------------------------------


@given(UNITS, UNITS, growths(), st.integers(1, 400), st.integers(1, 100))
def test_after_the_horizon_use_is_under_the_threshold(
    used: int, total: int, grows: Growth, horizon: int, threshold: int
) -> None:
    units = forecast.further_units(
        used=used, total=total, grows=grows, horizon_days=horizon, threshold_percent=threshold
    )
    then = used + max(grows.likely, 0) * horizon
    # Floats count to fifteen digits only, and so does the comparison.
    assert then <= (total + units) * threshold / 100 * (1 + 1e-12) + 1e-6
    assert units >= max(forecast.LEAST_UNITS, total // forecast.LEAST_SHARE)


@given(UNITS, UNITS, RATES, RATES)
def test_faster_growth_never_asks_for_less(used: int, total: int, one: float, two: float) -> None:
    slow, fast = (
        forecast.further_units(
            used=used,
            total=total,
            grows=Growth(rate, rate, rate, 30),
            horizon_days=90,
            threshold_percent=80,
        )
        for rate in sorted((one, two))
    )
    assert slow <= fast


@given(st.integers(1, 1 << 24), st.booleans())
def test_the_network_is_the_smallest_that_has_the_units(units: int, is_single: bool) -> None:
    length = forecast.further_length(units=units, unit_length=32, is_single=is_single)
    assert forecast.units_of(length=length, unit_length=32, is_single=is_single) >= units
    if length < 30:
        assert forecast.units_of(length=length + 1, unit_length=32, is_single=is_single) < units


# --- When it is due, and overbooking ------------------------------------------------------------


def due(used: int, likely: float | None, least_days: int | None = 14) -> str:
    ends = forecast.Exhaustion(likely, likely, likely)
    return forecast.is_due(
        used=used, total=100, ends=ends, threshold_percent=80, least_days=least_days
    )


def test_a_block_is_due_by_the_threshold_by_the_days_or_when_dry() -> None:
    assert due(79, 14) == ""
    assert due(80, None) == "80 % are in use, and 80 % is its threshold."
    assert due(50, 13) == (
        "It will be full in 13 days, sooner than the 14 days that its policy keeps."
    )
    assert due(50, 13, least_days=None) == ""
    assert due(100, None) == "It has run dry."


def test_overbooking_is_warned_of_before_it_bites() -> None:
    def warning(lines: int, peak: int, ratio: float = 2.0) -> str:
        return forecast.overbooking_warning(lines=lines, total=100, peak=peak, ratio=ratio)

    assert warning(lines=100, peak=40) == ""
    assert "more than the 200 allowed" in warning(lines=201, peak=60)
    assert "90 of 100 addresses were in use at once" in warning(lines=150, peak=90)
    assert warning(lines=100, peak=60) == (
        "At its busiest 60 % of the lines that share these 100 addresses were online at once. "
        "With all the 200 lines that the policy allows (2 an address), some would find no free "
        "address."
    )
    assert "and 200 are allowed" in warning(lines=180, peak=80)
    assert warning(lines=0, peak=0) == ""
