"""Prices by the time of day and the day of the week, in the ISP's time zone.

No database, no clock. A use that spans bands is divided by its time, as it really went by: on the
day on which the clocks change, the hour that there is twice counts twice, and the hour that there
is not counts for nothing.
"""

import itertools
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from rating.amounts import portion

MINUTES_A_DAY = 24 * 60
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Band:
    """Hours of some days of the week (Monday is 0) in which a block of units costs `amount`.

    `start` and `end` are minutes of the day. A band that ends before it starts goes on past
    midnight, into the day after; one that ends when it starts is the whole day. Where `counts` is
    false, its units do not draw upon the allowance.
    """

    name: str
    days: frozenset[int]
    start: int
    end: int
    amount: int
    counts: bool = True

    def holds(self, local: datetime) -> bool:
        """Say whether a moment of the local clock is within the band."""
        minute = local.hour * 60 + local.minute
        today = local.weekday() in self.days
        if self.start < self.end:
            return today and self.start <= minute < self.end
        yesterday = (local.weekday() - 1) % 7 in self.days
        return (today and minute >= self.start) or (
            yesterday and minute < self.end and self.start != self.end
        )


def divide(
    quantity: int, start: datetime, end: datetime | None, bands: tuple[Band, ...], zone: str
) -> tuple[int, ...]:
    """Divide the units of a use: those outside all bands first, then those in each band.

    Of bands that overlap the first one counts. A use without an end falls into the band in which
    it began. The parts sum to the quantity.
    """
    parts = [0] * (len(bands) + 1)
    tz = ZoneInfo(zone)
    start = start.astimezone(UTC)
    if end is None or end <= start:
        parts[_band_at(start.astimezone(tz), bands)] = quantity
        return tuple(parts)
    end = end.astimezone(UTC)
    edges = [start, *sorted(_edges(start, end, bands, tz)), end]
    whole = _micros(end - start)
    given = 0
    for begin, finish in itertools.pairwise(edges):
        upto = portion(quantity, _micros(finish - start), whole)
        parts[_band_at(begin.astimezone(tz), bands)] += upto - given
        given = upto
    return tuple(parts)


def _band_at(local: datetime, bands: tuple[Band, ...]) -> int:
    for number, band in enumerate(bands, start=1):
        if band.holds(local):
            return number
    return 0


def _edges(start: datetime, end: datetime, bands: tuple[Band, ...], tz: ZoneInfo) -> set[datetime]:
    """Return the moments between two others at which another band may begin, in UTC."""
    minutes = {0} | {band.start for band in bands} | {band.end % MINUTES_A_DAY for band in bands}
    edges = set()
    day = start.astimezone(tz).date()
    last = end.astimezone(tz).date()
    while day <= last:
        # An hour that there is twice has each of its minutes twice.
        edges |= {_instant(day, minute, fold, tz) for minute in minutes for fold in (0, 1)}
        day += _DAY
    edges |= _clock_changes(start, end, tz)
    return {edge for edge in edges if start < edge < end}


def _instant(day: date, minute: int, fold: int, tz: ZoneInfo) -> datetime:
    at = time(minute // 60, minute % 60, fold=fold)
    return datetime.combine(day, at, tz).astimezone(UTC)


def _clock_changes(start: datetime, end: datetime, tz: ZoneInfo) -> set[datetime]:
    """Find the moments at which the local clock jumps, to the second."""
    changes = set()
    begin = start
    while begin < end:
        finish = min(begin + _DAY, end)
        if _offset(begin, tz) != _offset(finish, tz):
            low, high = 0, int((finish - begin).total_seconds()) + 1
            while high - low > 1:
                middle = (low + high) // 2
                same = _offset(begin + timedelta(seconds=middle), tz) == _offset(begin, tz)
                low, high = (middle, high) if same else (low, middle)
            changes.add((begin + timedelta(seconds=high)).replace(microsecond=0))
        begin = finish
    return changes


def _offset(at: datetime, tz: ZoneInfo) -> timedelta | None:
    return at.astimezone(tz).utcoffset()


def _micros(span: timedelta) -> int:
    return (span.days * 86_400 + span.seconds) * 1_000_000 + span.microseconds
