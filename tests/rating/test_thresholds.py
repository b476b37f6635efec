"""Which thresholds are passed, from where on a line is slow, and what a period will come to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ispops.periods import Period
from rating.bands import Band
from rating.pricing import Tier, UsagePrice
from rating.thresholds import Bought, fair_limit, passed
from rating.usage_forecast import forecast

APRIL = Period(datetime(2026, 4, 1, tzinfo=UTC), datetime(2026, 5, 1, tzinfo=UTC))
DAY = timedelta(days=1)


class TestPassed:
    @pytest.mark.parametrize(
        ("used", "passes"),
        [(0, ()), (49, ()), (50, (50,)), (79, (50,)), (80, (50, 80)), (100, (50, 80, 100))],
    )
    def test_each_is_passed_when_it_is_reached(self, used: int, passes: tuple[int, ...]) -> None:
        assert passed(used, 100) == passes

    def test_nothing_is_passed_of_nothing(self) -> None:
        assert passed(10**15, 0) == ()

    @pytest.mark.parametrize(
        ("used", "passes"),
        [(100, ()), (119, ()), (120, (80,)), (150, (80, 100))],
    )
    def test_a_pack_is_no_reason_to_write(self, used: int, passes: tuple[int, ...]) -> None:
        """100 of 100 were used, and 50 were bought: two thirds of what there is then."""
        assert passed(used, 150, [Bought(counted=100, units=50)]) == passes

    def test_what_was_charged_before_a_pack_is_no_part_of_it(self) -> None:
        """130 of 100 were used, 30 of them charged: of 150 there are 50 left."""
        assert passed(100, 150, [Bought(counted=130, units=50)]) == ()
        assert passed(120, 150, [Bought(counted=130, units=50)]) == (80,)


class TestFairLimit:
    @pytest.mark.parametrize(
        ("bought", "limit"),
        [
            ([], 1_000),
            ([Bought(1_000, 100)], 1_100),
            ([Bought(400, 100)], 1_100),
            ([Bought(1_300, 100)], 1_400),
            ([Bought(1_300, 100), Bought(1_450, 50)], 1_500),
            ([Bought(200, 100), Bought(1_050, 50)], 1_150),
        ],
        ids=["none", "at it", "before it", "far beyond", "two beyond", "one before, one after"],
    )
    def test_a_pack_makes_room_from_where_it_was_bought(
        self, bought: list[Bought], limit: int
    ) -> None:
        assert fair_limit(1_000, 0, bought) == limit

    def test_what_is_left_of_earlier_packs_comes_on_top(self) -> None:
        assert fair_limit(1_000, 70) == 1_070

    @given(st.lists(st.tuples(st.integers(0, 3_000), st.integers(1, 500))))
    def test_each_pack_helps_at_once_and_by_all_of_it(self, packs: list[tuple[int, int]]) -> None:
        bought = [Bought(*pack) for pack in sorted(packs)]
        for number, pack in enumerate(bought):
            before = fair_limit(1_000, 0, bought[:number])
            after = fair_limit(1_000, 0, bought[: number + 1])
            assert after >= max(before, pack.counted) + pack.units


class TestForecast:
    rule = UsagePrice(version="1", unit="byte", tiers=(Tier(None, 2_000_000),), allowance=100,
                      block_size=10, counts_started_blocks=True)  # fmt: skip

    def test_the_pace_of_the_days_gone_goes_on(self) -> None:
        found = forecast(
            rule=self.rule, use=self.rule.use(50), included=100, period=APRIL,
            at=APRIL.start + 10 * DAY,
        )  # fmt: skip
        assert found is not None
        assert (found.a_day, found.used, found.beyond) == (5, 150, 50)
        # Five blocks of ten that are begun.
        assert found.net == 5 * 2_000_000

    def test_what_was_charged_before_a_pack_stays_charged(self) -> None:
        """120 are used of which 20 were charged, and a pack of 50 was bought then."""
        use = self.rule.use(120)._replace(free=100)
        found = forecast(
            rule=self.rule, use=use, included=150, period=APRIL, at=APRIL.start + 20 * DAY
        )
        assert found is not None
        assert (found.used, found.beyond, found.net) == (180, 30, 3 * 2_000_000)

    def test_within_what_is_included_it_costs_nothing(self) -> None:
        found = forecast(
            rule=self.rule, use=self.rule.use(20), included=100, period=APRIL,
            at=APRIL.start + 15 * DAY,
        )  # fmt: skip
        assert found is not None
        assert (found.used, found.beyond, found.net) == (40, 0, 0)

    def test_free_hours_are_not_counted_and_the_least_is_due(self) -> None:
        night = Band(name="Night", days=frozenset(range(7)), start=0, end=360, amount=0,
                     counts=False)  # fmt: skip
        rule = UsagePrice(version="1", unit="byte", tiers=(Tier(None, 1_000_000),), allowance=10,
                          bands=(night,), least=40_000_000)  # fmt: skip
        found = forecast(
            rule=rule, use=rule.use(10, 500), included=10, period=APRIL, at=APRIL.start + 15 * DAY
        )
        assert found is not None
        assert (found.used, found.beyond, found.net) == (20, 10, 40_000_000)

    @pytest.mark.parametrize("at", [APRIL.start + DAY, APRIL.end, APRIL.end + DAY])
    def test_too_early_and_too_late_it_says_nothing(self, at: datetime) -> None:
        use = self.rule.use(50)
        assert forecast(rule=self.rule, use=use, included=100, period=APRIL, at=at) is None
