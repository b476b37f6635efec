"""Spans of time: half-open, in UTC, cut at midnight of the ISP's own time zone."""

from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo


@dataclass(frozen=True, slots=True)
class Period:
    """A half-open span `[start, end)` between two instants."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if self.end <= self.start:
            raise ValueError(f"a period must end after it starts: {self.start} to {self.end}")

    def __contains__(self, instant: datetime) -> bool:
        return self.start <= instant < self.end

    def overlap(self, start: datetime, end: datetime | None) -> "Period | None":
        """Return the part of this period inside `[start, end)`; an open end reaches to its end."""
        first = max(self.start, start)
        last = self.end if end is None else min(self.end, end)
        return Period(first, last) if first < last else None


def day_in_words(at: datetime, *, zone: str) -> str:
    """Write the day of an instant as a calendar of that zone shows it: `March 31, 2027`."""
    return f"{at.astimezone(ZoneInfo(zone)):%B %-d, %Y}"


def days_in_words(period: Period, *, zone: str) -> str:
    """Write the days of a period as a calendar of that zone shows them: `Oct 6 to Nov 5`."""
    tz = ZoneInfo(zone)
    last = (period.end - timedelta(microseconds=1)).astimezone(tz)
    return f"{period.start.astimezone(tz):%b %-d} to {last:%b %-d}"


def billing_period(at: datetime, *, anchor_day: int, zone: str) -> Period:
    """Return the billing period that holds `at`: from one anchor day to the next month's.

    An anchor day that a month does not have (31 in June) falls on that month's last day.
    """
    tz = ZoneInfo(zone)
    local = at.astimezone(tz).date()
    start = _anchor(local.year, local.month, anchor_day)
    if local < start:
        start = _anchor(*_month_before(start), anchor_day)
    end = _anchor(*_month_after(start), anchor_day)
    return Period(_midnight(start, tz), _midnight(end, tz))


def end_of_day(day: date, *, zone: str) -> datetime:
    """Return the last instant of a day of a time zone: what was true at its end is true then."""
    return _midnight(day + timedelta(days=1), ZoneInfo(zone)) - timedelta(microseconds=1)


def moment_on(day: date | None, *, now: datetime, zone: str) -> datetime:
    """Return the moment from which a day is looked back at: its end, or now while it lasts.

    No day means now.
    """
    if day is None or day == now.astimezone(ZoneInfo(zone)).date():
        return now
    return end_of_day(day, zone=zone)


def _anchor(year: int, month: int, day: int) -> date:
    return date(year, month, min(day, monthrange(year, month)[1]))


def _month_after(day: date) -> tuple[int, int]:
    return (day.year + 1, 1) if day.month == 12 else (day.year, day.month + 1)


def _month_before(day: date) -> tuple[int, int]:
    return (day.year - 1, 12) if day.month == 1 else (day.year, day.month - 1)


def _midnight(day: date, tz: ZoneInfo) -> datetime:
    return datetime.combine(day, time(), tz).astimezone(UTC)
