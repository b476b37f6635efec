"""Turn the counters of access sessions into slices of use, each octet counted exactly once.

RADIUS accounting (RFC 2866) tells running totals, and tells them badly: messages come twice, late
and in the wrong order, some never; 32-bit counters wrap; devices restart and use a session's id
again. What is counted here is the difference to a *mark*, the highest total counted so far; a
message that does not go beyond the mark adds nothing, so repeating and reordering change nothing.

Pure: no database and no clock. The caller keeps the marks, one per incarnation of a session.
"""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import Enum

# Two messages of one session compute its start to within this, in spite of rounding and delay.
SAME_START = timedelta(seconds=30)
WRAP = 2**32
# 72 petabytes: no access session carries as much, so such a total is damaged.
IMPLAUSIBLE = 2**56
# What Acct-Session-Time can hold (RFC 2866, 5.7), and the times that this software can see.
LONGEST_SESSION = 2**32
# Sessions last for months. One that says that it is older than this, or than its line and the
# difference of clocks, is of a device that does not know; its octets are as true as any.
OLDEST_SESSION = timedelta(days=400)
CLOCKS_DIFFER = timedelta(hours=1)
EARLIEST, LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)


class Kind(Enum):
    """What a message says of its session."""

    START = "start"
    INTERIM = "interim"
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class Reading:
    """One accounting message: the session's counters as the device gave them.

    Octets are the 32-bit counters; gigawords are how often they wrapped, None when the device did
    not say. `session_seconds` is the session's age.
    """

    kind: Kind
    event_at: datetime
    session_seconds: int
    input_octets: int
    output_octets: int
    input_gigawords: int | None = None
    output_gigawords: int | None = None
    # The Class we gave when we let the session in, new for each time; "" when there is none.
    session_class: str = ""

    @property
    def started_at(self) -> datetime:
        """When the session began, by this message."""
        return self.event_at - timedelta(seconds=self.session_seconds)

    def is_since(self, line_began: datetime | None) -> bool:
        """Whether the session can be as old as the message says; None is a line nobody knows."""
        if self.session_seconds > OLDEST_SESSION.total_seconds():
            return False
        return line_began is None or self.started_at >= line_began - CLOCKS_DIFFER

    @property
    def is_plausible(self) -> bool:
        """Whether the totals and the times can be true at all."""
        return (
            self.session_seconds < LONGEST_SESSION
            and EARLIEST <= self.event_at < LATEST
            and max(_total(self.input_octets, self.input_gigawords),
                _total(self.output_octets, self.output_gigawords)) < IMPLAUSIBLE
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Mark:
    """How far one incarnation of a session is counted.

    `input_mark` and `output_mark` are the device's totals with every wrap added; `input_bytes`
    and `output_bytes` are what was emitted, which goes on when a reset starts the marks again.
    """

    started_at: datetime
    last_event_at: datetime
    ended_at: datetime | None = None
    session_seconds: int = 0
    input_mark: int = 0
    output_mark: int = 0
    input_bytes: int = 0
    output_bytes: int = 0
    sequence: int = 0
    was_reset: bool = False
    session_class: str = ""

    @property
    def is_plausible(self) -> bool:
        """Whether the session can have carried so much in all, however often it was reset."""
        return max(self.input_bytes, self.output_bytes) < IMPLAUSIBLE


@dataclass(frozen=True, slots=True)
class Slice:
    """Octets that passed in a span of time, in the device's own directions.

    `sequence` numbers the slices of an incarnation from 1; `part` those of a slice that was cut
    at the end of a billing period, whose octets are then an estimate.
    """

    sequence: int
    started_at: datetime
    ended_at: datetime
    input_bytes: int
    output_bytes: int
    part: int = 0
    is_estimated: bool = False


def open_mark(reading: Reading) -> Mark:
    """Return the mark of an incarnation of which nothing is counted yet."""
    return Mark(
        started_at=reading.started_at,
        last_event_at=reading.started_at,
        session_class=reading.session_class,
    )


def believed(
    marks: Sequence[Mark], reading: Reading, *, line_began: datetime | None = None
) -> Reading:
    """Return a message as it is, or with another age where its own cannot be true.

    Then it counts from the last moment that was believed: it is as much older than the last message
    of its incarnation as time has passed since. Where none is known the session begins with it.
    """
    if reading.is_since(line_began):
        return reading
    name = reading.session_class
    same = [mark for mark in marks if name and mark.session_class == name]
    own = same or [mark for mark in marks if not (name and mark.session_class)]
    age = 0
    if own:
        latest = max(own, key=lambda mark: mark.started_at)
        gone = (reading.event_at - latest.last_event_at) // timedelta(seconds=1)
        age = max(0, latest.session_seconds + gone)
    return replace(reading, session_seconds=age)


def incarnation_of(marks: Sequence[Mark], reading: Reading) -> int | None:
    """Say which of a session's incarnations a message belongs to; None when to a new one.

    1. The one with the same Class.
    2. Else the one with the same start, to within `SAME_START`, by its first or last message.
    3. Else the latest, if it is open, began before the message, and the session's age did not go
       backwards: the device's clock was set meanwhile. Not so when the Class is another and the
       times do not meet.
    4. Else one whose time the message falls into: a device does not run two sessions of one id at
       once, so it is a late message with a bad clock.
    5. Else it is a new one: the device restarted, or the old session has ended.
    """
    if not marks:
        return None
    numbers = range(len(marks))
    if reading.session_class:
        for number in numbers:
            if marks[number].session_class == reading.session_class:
                return number
    nearest = min(numbers, key=lambda n: _distance(marks[n], reading))
    if _distance(marks[nearest], reading) <= SAME_START:
        return nearest
    latest = max(numbers, key=lambda n: (marks[n].started_at, n))
    if _went_on(marks[latest], reading):
        return latest
    return next((number for number in numbers if _meets(marks[number], reading)), None)


def _distance(mark: Mark, reading: Reading) -> timedelta:
    latest = mark.last_event_at - timedelta(seconds=mark.session_seconds)
    return min(abs(mark.started_at - reading.started_at), abs(latest - reading.started_at))


def _meets(mark: Mark, reading: Reading) -> bool:
    return reading.started_at < mark.last_event_at and mark.started_at < reading.event_at


def _went_on(mark: Mark, reading: Reading) -> bool:
    if mark.ended_at is not None or reading.event_at <= mark.started_at:
        return False
    if reading.session_seconds < mark.session_seconds:
        return False
    is_other_class = bool(mark.session_class and reading.session_class)
    return _meets(mark, reading) or not is_other_class


def advance(mark: Mark, reading: Reading) -> tuple[Mark, Slice | None]:
    """Count what a message tells beyond the mark. Returns the new mark, and a slice if any.

    An older message, by the session's age and then by its counters, changes nothing. A stop ends
    the session; a newer message that is no stop reopens one that was taken for dead. The caller
    leaves the mark as it was, and counts nothing, when the new one is not plausible.
    """
    if reading.session_seconds < mark.session_seconds:
        return mark, None
    newer = reading.session_seconds > mark.session_seconds
    added_in, input_mark, reset_in = _count(
        mark.input_mark, reading.input_octets, reading.input_gigawords, reading, newer=newer
    )
    added_out, output_mark, reset_out = _count(
        mark.output_mark, reading.output_octets, reading.output_gigawords, reading, newer=newer
    )
    last_event_at = max(mark.last_event_at, reading.event_at)
    emitted = None
    if added_in or added_out:
        # What nobody spoke of for longer than any session lasts counts when it is told.
        is_long = last_event_at - mark.last_event_at > OLDEST_SESSION
        start = last_event_at if is_long else mark.last_event_at
        emitted = Slice(mark.sequence + 1, start, last_event_at, added_in, added_out)
    return (
        Mark(
            started_at=mark.started_at,
            last_event_at=last_event_at,
            ended_at=_ended_at(mark, reading, last_event_at, newer=newer),
            session_seconds=reading.session_seconds,
            session_class=reading.session_class or mark.session_class,
            input_mark=input_mark,
            output_mark=output_mark,
            input_bytes=mark.input_bytes + added_in,
            output_bytes=mark.output_bytes + added_out,
            sequence=mark.sequence + (emitted is not None),
            was_reset=mark.was_reset or reset_in or reset_out,
        ),
        emitted,
    )


def _ended_at(
    mark: Mark, reading: Reading, last_event_at: datetime, *, newer: bool
) -> datetime | None:
    if reading.kind is Kind.STOP:
        return last_event_at
    return None if newer else mark.ended_at


def _count(
    mark: int, octets: int, gigawords: int | None, reading: Reading, *, newer: bool
) -> tuple[int, int, bool]:
    """Compare one counter with its mark: (octets to add, new mark, whether it was reset)."""
    total = _total(octets, gigawords)
    if gigawords is None:
        total += mark // WRAP * WRAP
    if total >= mark:
        return total - mark, total, False
    if not newer or (reading.kind is Kind.STOP and not octets and not gigawords):
        return 0, mark, False
    if gigawords is None:
        return total + WRAP - mark, total + WRAP, False
    return total, total, True


def _total(octets: int, gigawords: int | None) -> int:
    return (gigawords or 0) * WRAP + octets


def close(mark: Mark) -> Mark:
    """End an incarnation at its mark: its device restarted, or has been silent for too long."""
    return mark if mark.ended_at else replace(mark, ended_at=mark.last_event_at)


def cut(whole: Slice, edges: Iterable[datetime]) -> list[Slice]:
    """Cut a slice at the ends of billing periods, by time, in whole octets that sum to it."""
    inside = sorted({edge for edge in edges if whole.started_at < edge < whole.ended_at})
    if not inside:
        return [whole]
    bounds = [whole.started_at, *inside, whole.ended_at]
    length = whole.ended_at - whole.started_at
    parts = []
    for number, (start, end) in enumerate(itertools.pairwise(bounds)):
        first, last = start - whole.started_at, end - whole.started_at
        parts.append(
            replace(
                whole,
                started_at=start,
                ended_at=end,
                input_bytes=_upto(whole.input_bytes, last, length)
                - _upto(whole.input_bytes, first, length),
                output_bytes=_upto(whole.output_bytes, last, length)
                - _upto(whole.output_bytes, first, length),
                part=number,
                is_estimated=True,
            )
        )
    return parts


def _upto(octets: int, gone: timedelta, length: timedelta) -> int:
    """Return the octets of the first part of a span, rounded down, exactly."""
    tick = timedelta(microseconds=1)
    return octets * (gone // tick) // (length // tick)
