"""From accounting messages to who is online: which session a message is of, and what it says of it.

Pure: no Django, no clock, no I/O. Messages may come twice, late and in any order; the sessions that
are open in the end are the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

# A device that counts its session's seconds and a clock that was set differ by a little.
SAME_START = timedelta(seconds=30)
# Without a message for three intervals, a session is taken for dead (RFC 2869, 2.1).
SILENT_AFTER = timedelta(minutes=15)

STOP = "Stop"
RESTARTED = "server_restarted"
REPLACED = "replaced"
STALE = "stale"
GONE = "gone"
DISCONNECTED = "disconnected"
# What we concluded, and what a later message of the session proves wrong. A stop it does not.
CONCLUDED = frozenset({RESTARTED, STALE, GONE, DISCONNECTED})


class Session(Protocol):
    """A session as it is known; `ended_at` is None while it is open."""

    session_class: str
    started_at: datetime
    last_heard_at: datetime
    ended_at: datetime | None
    end_cause: str


S = TypeVar("S", bound=Session)


@dataclass(frozen=True, slots=True)
class Message:
    """One start, interim or stop; `started_at` is when its session began, by its own count."""

    kind: str
    event_at: datetime
    started_at: datetime
    session_class: str = ""
    end_cause: str = ""


def find(sessions: Sequence[S], message: Message) -> S | None:
    """Return the session that a message is of, of those that had its session id.

    Devices begin to count their sessions anew when they restart. So the Class that we gave decides
    or, where one of them has none, the time at which the session began.
    """
    for session in sessions:
        if session.session_class and message.session_class:
            if session.session_class == message.session_class:
                return session
        elif abs(session.started_at - message.started_at) <= SAME_START:
            return session
    return None


def hear(session: Session, message: Message, restarts: Sequence[datetime]) -> bool:
    """Take in one message of a session; says whether that has opened it again.

    `restarts` are the times at which its access server said that all its sessions are gone.
    """
    is_news = message.event_at > session.last_heard_at
    session.session_class = session.session_class or message.session_class
    session.last_heard_at = max(session.last_heard_at, message.event_at)
    if message.kind == STOP:
        if session.ended_at is None or session.end_cause in CONCLUDED | {REPLACED}:
            session.ended_at, session.end_cause = message.event_at, message.end_cause
        return False
    lives = (
        is_news
        and session.ended_at is not None
        and session.end_cause in CONCLUDED
        and message.event_at > session.ended_at
    )
    if lives:
        session.ended_at, session.end_cause = None, ""
        end_by_restart(session, restarts)
    return lives and session.ended_at is None


def end_by_restart(session: Session, restarts: Sequence[datetime]) -> None:
    """End an open session at the first restart since it was last heard of."""
    since = [moment for moment in restarts if moment >= session.last_heard_at]
    if since and session.ended_at is None:
        session.ended_at, session.end_cause = min(since), RESTARTED


def end_replaced(sessions: Sequence[Session]) -> None:
    """End all but the one that began last: an access server has one session of an id at a time."""
    latest = max(sessions, key=lambda one: (one.started_at, one.last_heard_at, one.session_class))
    for session in sessions:
        if session.ended_at is None and session is not latest:
            session.ended_at, session.end_cause = session.last_heard_at, REPLACED
