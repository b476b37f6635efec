"""Bars, percentages and counts: never negative, never hidden, never quite full by rounding."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ispops.console import charts


def test_the_highest_bar_fills_the_chart() -> None:
    low, high = charts.bars([("Mon", 5), ("Tue", 10)])

    assert (low.height, high.height) == (50, 100)


def test_a_small_value_beside_a_large_one_is_still_seen() -> None:
    small, _ = charts.bars([("Mon", 1), ("Tue", 1_000_000)])

    assert small.height == 2


def test_nothing_has_no_bar() -> None:
    (empty,) = charts.bars([("Mon", 0)])

    assert empty.height == 0


def test_no_values_make_no_bars() -> None:
    assert charts.bars([]) == []


def test_a_negative_value_is_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        charts.bars([("Mon", -1)])


def test_a_month_of_days_labels_some_of_them_and_the_highest_value() -> None:
    days = charts.bars([(str(day), day % 7) for day in range(31)])

    assert sum(bar.show_label for bar in days) == charts.MOST_LABELS
    assert [bar.label for bar in days if bar.show_value] == ["6"]


@given(st.lists(st.integers(0, 2**60), min_size=1, max_size=40))
def test_bars_stay_inside_the_chart(values: list[int]) -> None:
    drawn = charts.bars([(str(index), value) for index, value in enumerate(values)])

    assert all(0 <= bar.height <= 100 for bar in drawn)
    assert max(bar.height for bar in drawn) == (100 if any(values) else 0)


@pytest.mark.parametrize(
    ("part", "whole", "shown"),
    [(0, 10, 0), (10, 10, 100), (1, 100_000, 1), (99_999, 100_000, 99), (1, 3, 33), (5, 0, 0)],
)
def test_percent(part: int, whole: int, shown: int) -> None:
    assert charts.percent(part, whole) == shown


@pytest.mark.parametrize(
    ("number", "words"),
    [(0, "0"), (1022, "1,022"), (65_536, "65,536"), (262_144, "262k"), (999_999, "1.0 million"),
     (4_194_304, "4.2 million"), (2**40, "2^40")],
)  # fmt: skip
def test_count_words(number: int, words: str) -> None:
    assert charts.count_words(number) == words


def test_lines_share_one_scale_and_touch_the_top_and_the_right() -> None:
    new, present, none = charts.lines(
        [[(0, 0), (10, 50)], [(0, 0), (20, 25)], []], width=320, height=150
    )
    assert new == "M0.0 150.0 L160.0 0.0"
    assert present == "M0.0 150.0 L320.0 75.0"
    assert none == ""


@pytest.mark.parametrize(
    ("most", "marked"),
    [
        (0, [0, 1]), (1, [0, 1]), (5, [0, 1, 2, 3, 4, 5]), (37, [0, 10, 20, 30, 40]),
        (1022, [0, 500, 1000, 1500]), (262_144, [0, 100_000, 200_000, 300_000]),
    ],
)  # fmt: skip
def test_a_scale_is_marked_at_round_values_from_nothing_to_above_the_most(
    most: int, marked: list[int]
) -> None:
    assert charts.ticks(most) == marked


def test_a_scale_may_end_above_the_highest_value() -> None:
    assert charts.lines([[(0, 5)]], width=10, height=10, top=10) == ["M0.0 5.0"]


def test_lines_of_nothing_lie_on_the_ground() -> None:
    assert charts.lines([[(0, 0), (5, 0)]], width=10, height=10) == ["M0.0 10.0 L10.0 10.0"]
