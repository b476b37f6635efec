"""Stored accounting messages in parts of ten million ids, dropped as a whole when they are old.

A part is begun when the one before is full, or holds a month; so what a part holds came in its
order, and came after what the parts before it hold. A part goes when all of it was read, both by
who counts use and by who follows sessions, and its newest message is older than messages are kept.
What was made of them is kept on its own: use, sessions, and the history of addresses.
"""

from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.conf import settings
from django.db import connection

from ispops.quiet import at_a_quiet_moment

TABLE = "provisioning_accountingrecord"
IDS_A_PART = 10_000_000
# So many parts are there before they are needed: hours of the fastest inbox, weeks of most.
AHEAD = 3
A_PART_LASTS = timedelta(days=30)
# No part is begun early while the ids of the one before come near to it.
_FAR_FROM_IT = 1_000_000
_PARTS = """
SELECT part.relname, substring(part.relname from '_part_(\\d+)$')::bigint AS number
  FROM pg_inherits JOIN pg_class part ON part.oid = inhrelid
 WHERE inhparent = %s::regclass ORDER BY number
"""
_FIRST = f"SELECT received_at FROM {TABLE} WHERE id >= %s ORDER BY id LIMIT 1"  # noqa: S608
_LAST = f"SELECT received_at FROM {TABLE} WHERE id < %s ORDER BY id DESC LIMIT 1"  # noqa: S608
_GIVEN = "SELECT last_value FROM pg_sequences WHERE schemaname || '.' || sequencename = %s"


def tend_parts(*, at: datetime) -> list[str]:
    """Make the parts that come, begin one where the last has lasted a month, and drop what is old.

    Returns the names of what was dropped.

    Raises:
        TablesBusy: there was no moment for it.
    """
    at_a_quiet_moment(partial(_make_parts, at))
    dropped = []
    for name, number in _parts():
        if not at_a_quiet_moment(partial(_drop_if_old, name, number, at)):
            break
        dropped.append(name)
    return dropped


def _make_parts(at: datetime) -> None:
    with connection.cursor() as cursor:
        given = _given(cursor)
        current = given // IDS_A_PART
        cursor.execute(_FIRST, [current * IDS_A_PART])
        first = cursor.fetchone()
        if first is not None and first[0] < at - A_PART_LASTS:
            current += 1
        newest = max(number for _, number in _parts())
        for number in range(newest + 1, current + AHEAD + 1):
            name = f"{TABLE}_part_{number}"
            cursor.execute(f"CREATE TABLE {name} (LIKE {TABLE} INCLUDING ALL EXCLUDING IDENTITY)")
            cursor.execute(
                f"ALTER TABLE {TABLE} ATTACH PARTITION {name} "
                f"FOR VALUES FROM ({number * IDS_A_PART}) TO ({(number + 1) * IDS_A_PART})"
            )
        if current * IDS_A_PART - given > _FAR_FROM_IT:
            cursor.execute(
                "SELECT setval(pg_get_serial_sequence(%s, 'id'), %s)", [TABLE, current * IDS_A_PART]
            )


def _drop_if_old(name: str, number: int, at: datetime) -> bool:
    """Drop a part of which everything was read and is old; one that still gets ids never is."""
    end, before = (number + 1) * IDS_A_PART, at - settings.ACCOUNTING_KEPT
    with connection.cursor() as cursor:
        if _given(cursor) < end or not _is_over(cursor, end, before):
            return False
        # Whoever writes to it just now, or reads it, is waited for, and then seen.
        cursor.execute(f"LOCK TABLE {name} IN ACCESS EXCLUSIVE MODE")
        if not _is_over(cursor, end, before):
            return False
        cursor.execute(f"ALTER TABLE {TABLE} DETACH PARTITION {name}")
        cursor.execute(f"DROP TABLE {name}")
    return True


def _is_over(cursor: Any, end: int, before: datetime) -> bool:
    """Say whether all messages with ids below one were read, and the last came before a moment."""
    cursor.execute("SELECT FROM provisioning_waitingaccounting WHERE first < %s LIMIT 1", [end])
    if cursor.fetchone() is not None:
        return False
    cursor.execute(_LAST, [end])
    last = cursor.fetchone()
    return last is None or last[0] < before


def _given(cursor: Any) -> int:
    """Return the last id that was given."""
    cursor.execute("SELECT pg_get_serial_sequence(%s, 'id')", [TABLE])
    cursor.execute(_GIVEN, [cursor.fetchone()[0]])
    return int(cursor.fetchone()[0] or 0)


def _parts() -> list[tuple[str, int]]:
    """Return the parts that there are, and their numbers, the oldest first."""
    with connection.cursor() as cursor:
        cursor.execute(_PARTS, [TABLE])
        return list(cursor.fetchall())
