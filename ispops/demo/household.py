"""How the demonstration's households use their lines: a rhythm of the day and the week.

Nothing here knows of Django. The same day gives the same volumes everywhere: where a real house
would throw dice, a stable hash of the day does.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import pairwise

# A router asks for its address again with each session, well before its lease is over.
SESSION = timedelta(hours=12)
INTERIM = timedelta(hours=4)
# When a router begins anew: before breakfast, and before the evening.
FIRST_OF_DAY = timedelta(hours=4)
# How much of a day each four hours are, from the session that begins at four on.
_BY_HOUR = {4: 5, 8: 11, 12: 15, 16: 26, 20: 34, 0: 9}
_BY_WEEKDAY = (85, 80, 85, 90, 105, 150, 145)
UPLOADED_PERCENT = 9


@dataclass(frozen=True, slots=True)
class Reading:
    """What the counters of a session stood at: octets since its beginning."""

    at: datetime
    kind: str
    seconds: int
    downloaded: int
    uploaded: int


def beginnings(first: datetime, until: datetime) -> Iterator[datetime]:
    """Give the times at which a router begins a session, from the first morning or evening on.

    `first` is in the zone by whose clock it begins the first time; when clocks change, it does not.
    """
    at = first.replace(hour=0, minute=0, second=0, microsecond=0) + FIRST_OF_DAY
    at = at.astimezone(UTC)
    while at < until:
        if at >= first:
            yield at
        at += SESSION


def weight(at: datetime, zone: tzinfo) -> int:
    """Say how much the four hours from a moment count, by the clock of a zone."""
    at = at.astimezone(zone)
    hour = min(_BY_HOUR, key=lambda known: (at.hour - known) % 24)
    chance = zlib.crc32(f"{at:%Y-%m-%d}".encode()) % 51
    return _BY_HOUR[hour] * _BY_WEEKDAY[at.weekday()] * (75 + chance)


def total_weight(first: datetime, until: datetime) -> int:
    """Add up what all the hours between two moments count; `first` as for `beginnings`."""
    steps = (
        at + INTERIM * number
        for at in beginnings(first, until)
        for number in range(SESSION // INTERIM)
    )
    zone = first.tzinfo or UTC
    return sum(weight(at, zone) for at in steps if at < until)


def readings(began: datetime, until: datetime, pace: float, zone: tzinfo) -> Iterator[Reading]:
    """Give what an access server tells of a session; one that goes on at `until` has no stop.

    `pace` is in octets for each unit of `weight`.
    """
    ends = min(began + SESSION, until)
    yield Reading(began, "Start", 0, 0, 0)
    moments = [began + INTERIM * number for number in range(SESSION // INTERIM)]
    counted = 0
    for start, end in pairwise([*(one for one in moments if one < ends), ends]):
        part = min((end - start) / INTERIM, 1)
        counted += int(weight(start, zone) * pace * part)
        up = counted * UPLOADED_PERCENT // 100
        kind = "Stop" if end == began + SESSION else "Interim-Update"
        yield Reading(end, kind, int((end - began).total_seconds()), counted - up, up)
