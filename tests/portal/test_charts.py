"""The geometry of the charts."""

from datetime import date

from ispops.portal.charts import HEIGHT, SLOT, Day, daily_bars

FIRST, SECOND = date(2025, 11, 1), date(2025, 11, 2)


def test_the_highest_day_fills_the_height_and_others_are_in_proportion() -> None:
    chart = daily_bars([Day(FIRST, down=300, up=100), Day(SECOND, down=100, up=0)], slots=30)
    high, low = chart.bars
    assert high.up_y == 0
    assert high.down_height + high.up_height == HEIGHT
    assert high.up_y + high.up_height == high.down_y
    assert low.down_height == HEIGHT / 4
    assert low.up_height == 0
    assert chart.peak == Day(FIRST, 300, 100)
    assert chart.width == 30 * SLOT


def test_bars_stand_on_the_ground_side_by_side() -> None:
    chart = daily_bars([Day(FIRST, 3, 1), Day(SECOND, 2, 2)], slots=2)
    assert all(bar.down_y + bar.down_height == HEIGHT for bar in chart.bars)
    assert chart.bars[0].x + chart.bars[0].width < chart.bars[1].x


def test_days_without_use_have_no_bar_and_no_peak() -> None:
    chart = daily_bars([Day(FIRST, 0, 0)], slots=1)
    assert chart.peak is None
    assert chart.bars[0].down_height == 0


def test_no_days_make_an_empty_chart() -> None:
    assert daily_bars([], slots=30).bars == []
