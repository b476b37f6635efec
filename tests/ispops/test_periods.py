"""Billing periods: anchor days, ends of months, leap years and daylight-saving changes."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ispops.periods import Period, billing_period, day_in_words, end_of_day, moment_on

NEW_YORK = "America/New_York"


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type, misc]


def test_a_day_is_that_of_the_zone() -> None:
    assert day_in_words(utc(2027, 4, 1, 3, 59), zone=NEW_YORK) == "March 31, 2027"
    assert day_in_words(utc(2027, 4, 1, 4), zone=NEW_YORK) == "April 1, 2027"


def test_a_period_holds_its_start_and_not_its_end() -> None:
    period = Period(utc(2026, 1, 1), utc(2026, 2, 1))
    assert utc(2026, 1, 1) in period
    assert utc(2026, 2, 1) not in period
    assert utc(2026, 2, 1) - timedelta(microseconds=1) in period


def test_an_empty_period_is_refused() -> None:
    with pytest.raises(ValueError, match="after it starts"):
        Period(utc(2026, 1, 1), utc(2026, 1, 1))


def test_overlaps_are_half_open_and_an_open_end_reaches_to_the_end() -> None:
    june = Period(utc(2026, 6, 1), utc(2026, 7, 1))
    assert june.overlap(utc(2026, 6, 10), None) == Period(utc(2026, 6, 10), june.end)
    assert june.overlap(utc(2026, 5, 10), utc(2026, 6, 2)) == Period(june.start, utc(2026, 6, 2))
    assert june.overlap(utc(2026, 5, 1), utc(2026, 6, 1)) is None
    assert june.overlap(utc(2026, 7, 1), None) is None


@pytest.mark.parametrize(
    ("at", "anchor", "start", "end"),
    [
        # Midnight in New York is five hours after that of UTC, four in summer.
        (utc(2026, 1, 15), 1, utc(2026, 1, 1, 5), utc(2026, 2, 1, 5)),
        (utc(2026, 2, 1, 4, 59, 59), 1, utc(2026, 1, 1, 5), utc(2026, 2, 1, 5)),
        (utc(2026, 2, 1, 5), 1, utc(2026, 2, 1, 5), utc(2026, 3, 1, 5)),
        # Over the turn of the year.
        (utc(2026, 1, 3), 15, utc(2025, 12, 15, 5), utc(2026, 1, 15, 5)),
        (utc(2025, 12, 20), 15, utc(2025, 12, 15, 5), utc(2026, 1, 15, 5)),
        # A day that the month does not have is its last.
        (utc(2026, 2, 10), 31, utc(2026, 1, 31, 5), utc(2026, 2, 28, 5)),
        (utc(2028, 2, 10), 30, utc(2028, 1, 30, 5), utc(2028, 2, 29, 5)),
        (utc(2026, 3, 1), 31, utc(2026, 2, 28, 5), utc(2026, 3, 31, 4)),
        (utc(2026, 6, 30, 12), 31, utc(2026, 6, 30, 4), utc(2026, 7, 31, 4)),
    ],
)
def test_billing_periods(at: datetime, anchor: int, start: datetime, end: datetime) -> None:
    assert billing_period(at, anchor_day=anchor, zone=NEW_YORK) == Period(start, end)


def test_the_month_of_the_clock_change_is_an_hour_shorter_or_longer() -> None:
    march = billing_period(utc(2026, 3, 20), anchor_day=1, zone=NEW_YORK)
    november = billing_period(utc(2026, 11, 20), anchor_day=1, zone=NEW_YORK)
    assert march.end - march.start == timedelta(days=31, hours=-1)
    assert november.end - november.start == timedelta(days=30, hours=1)


def test_an_anchor_on_the_day_of_the_clock_change_begins_at_its_midnight() -> None:
    # 8 March 2026: New York skips from 2:00 to 3:00, three hours after the period begins.
    before = billing_period(utc(2026, 3, 1), anchor_day=8, zone=NEW_YORK)
    after = billing_period(utc(2026, 3, 9), anchor_day=8, zone=NEW_YORK)
    assert before.end == after.start == utc(2026, 3, 8, 5)
    assert after.end == utc(2026, 4, 8, 4)


def test_a_midnight_that_the_clock_change_skips_still_starts_a_period() -> None:
    # 31 March 2024 in Beirut went from 23:59:59 to 1:00: there was no midnight.
    at = utc(2024, 4, 10)
    period = billing_period(at, anchor_day=31, zone="Asia/Beirut")
    assert period == Period(utc(2024, 3, 30, 22), utc(2024, 4, 29, 21))


@given(
    st.datetimes(datetime(1990, 1, 1), datetime(2080, 1, 1)),  # noqa: DTZ001
    st.integers(1, 31),
    st.sampled_from([NEW_YORK, "Europe/Berlin", "Australia/Lord_Howe", "Asia/Kolkata", "UTC"]),
)
def test_every_moment_is_in_exactly_one_period(naive: datetime, anchor: int, zone: str) -> None:
    at = naive.replace(tzinfo=UTC)
    period = billing_period(at, anchor_day=anchor, zone=zone)
    assert at in period
    assert billing_period(period.start, anchor_day=anchor, zone=zone) == period
    following = billing_period(period.end, anchor_day=anchor, zone=zone)
    assert following.start == period.end
    assert timedelta(days=27, hours=22) < period.end - period.start < timedelta(days=31, hours=2)
    local = period.start.astimezone(ZoneInfo(zone)).date()
    assert local.day == anchor or (local + timedelta(days=1)).day == 1
    assert isinstance(local, date)


def test_a_day_ends_at_midnight_of_its_own_zone() -> None:
    moment = timedelta(microseconds=1)
    assert end_of_day(date(2026, 6, 30), zone=NEW_YORK) == utc(2026, 7, 1, 4) - moment
    # The clocks go back on this day: it has 25 hours.
    assert end_of_day(date(2026, 11, 1), zone=NEW_YORK) == utc(2026, 11, 2, 5) - moment
    assert end_of_day(date(2026, 12, 31), zone="UTC") == utc(2027, 1, 1) - moment


def test_a_day_is_looked_back_at_from_its_end_or_from_now() -> None:
    now = utc(2026, 6, 30, 2)  # the 29th in New York
    assert moment_on(None, now=now, zone=NEW_YORK) == now
    assert moment_on(date(2026, 6, 29), now=now, zone=NEW_YORK) == now
    earlier = moment_on(date(2026, 6, 28), now=now, zone=NEW_YORK)
    assert earlier == end_of_day(date(2026, 6, 28), zone=NEW_YORK)
