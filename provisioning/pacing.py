"""When an outside system may be called next, so that it is not called too often. Pure.

The rule is the leaky bucket of ITU-T I.371 (GCRA): calls are `every` apart on the long run, and a
system that was left alone for a while may be called `BURST` times at once.
"""

from datetime import datetime, timedelta

BURST = 3


def every(per_minute: int | None) -> timedelta:
    """Return the distance between two calls; none where there is no limit."""
    return timedelta(minutes=1) / per_minute if per_minute else timedelta(0)


def is_free(next_free_at: datetime | None, at: datetime, apart: timedelta) -> bool:
    """Say whether a call may be made now."""
    return free_from(next_free_at, at, apart) <= at


def free_from(next_free_at: datetime | None, at: datetime, apart: timedelta) -> datetime:
    """Return from when on a call may be made."""
    return max(at, (next_free_at or at) - apart * (BURST - 1))


def after_call(next_free_at: datetime | None, at: datetime, apart: timedelta) -> datetime:
    """Return what `next_free_at` becomes by a call that is made now."""
    return max(next_free_at or at, at) + apart


def spread(count: int, at: datetime, per_second: float) -> list[datetime]:
    """Return the times at which so many pieces of work begin, evenly, the first at once."""
    return [at + timedelta(seconds=number / per_second) for number in range(count)]
