"""Months as partitions: how a table's months are named, closed, detached and attached again.

What is the same for use and for charges; see `rating.partitions` and `rating.charge_months`.
"""

from calendar import monthrange
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection

from ispops.errors import InvalidInput, Refusal

# By then use in error was mended, or is written off with its month.
CLOSED_AFTER = timedelta(days=62)
# Late use counts into a period of up to 431 days ago, and units are carried into that one from up
# to 12 periods before: what a counter stood at, and what was charged for it, is younger than this.
DETACHED_AFTER = timedelta(days=800)
_OPEN = """
SELECT part.relname FROM pg_inherits JOIN pg_class part ON part.oid = inhrelid
 WHERE inhparent = %s::regclass
   AND NOT EXISTS (SELECT FROM pg_trigger
                    WHERE tgrelid = part.oid AND tgname = 'month_is_closed')
 ORDER BY part.relname
"""


class MonthNotOver(Refusal):
    code = "month_not_over"
    title = "The month cannot be closed yet"


def month_of(moment: datetime) -> datetime:
    """Return the beginning of the month, in UTC, that a moment is in."""
    utc = moment.astimezone(UTC)
    return datetime(utc.year, utc.month, 1, tzinfo=UTC)


def after(month: datetime) -> datetime:
    """Return the beginning of the next month."""
    return month + timedelta(days=monthrange(month.year, month.month)[1])


def name_of(table: str, month: datetime) -> str:
    """Return the name of the table that holds a month of another."""
    return f"{table}_{month:%Y_%m}"


def named(name: str) -> datetime:
    """Return the month that a partition is named after."""
    year, month = name.split("_")[-2:]
    return datetime(int(year), int(month), 1, tzinfo=UTC)


def open_months(table: str) -> list[datetime]:
    """Return the months of a table that are not closed, the oldest first."""
    with connection.cursor() as cursor:
        cursor.execute(_OPEN, [table])
        return [named(name) for (name,) in cursor.fetchall()]


def existing(cursor: Any, tables: Iterable[str], month: datetime) -> list[str]:
    """Return the partitions of a month that are in their tables."""
    names = []
    for table in tables:
        name = name_of(table, month)
        cursor.execute("SELECT FROM pg_inherits WHERE inhrelid = to_regclass(%s)", [name])
        if cursor.fetchone() is not None:
            names.append(name)
    return names


def require_over(month: datetime, at: datetime) -> None:
    """Raises MonthNotOver: the month ended less than `CLOSED_AFTER` ago."""
    since = after(month) + CLOSED_AFTER
    if at < since:
        raise MonthNotOver(f"Close this month after {since:%Y-%m-%d %H:%M} UTC.")


def hold(cursor: Any, names: Iterable[str]) -> None:
    """Wait for whoever writes to these tables just now, and keep everybody else from it."""
    for name in names:
        cursor.execute(f"LOCK TABLE {name} IN SHARE ROW EXCLUSIVE MODE")


def refuse_changes(cursor: Any, names: Iterable[str]) -> None:
    """Have the database refuse every new row of these tables, and every change."""
    for name in names:
        cursor.execute(
            f"CREATE OR REPLACE TRIGGER month_is_closed BEFORE INSERT OR UPDATE OR DELETE "
            f"ON {name} FOR EACH ROW EXECUTE FUNCTION rating_month_is_closed()"
        )


def detach(tables: Iterable[str], month: datetime, at: datetime) -> list[str]:
    """Take a closed month out of its tables; returns the names of what now holds it.

    Raises:
        InvalidInput: there is no such month, or it is not closed.
        MonthNotOver: it ended less than `DETACHED_AFTER` ago.
    """
    since = after(month) + DETACHED_AFTER
    if at < since:
        raise MonthNotOver(f"Detach this month after {since:%Y-%m-%d}.")
    with connection.cursor() as cursor:
        names = existing(cursor, tables, month)
        if not names or not _are_closed(cursor, names):
            raise InvalidInput("Name a month that is closed, such as 2026-01.", field="month")
        for table, name in zip(tables, names, strict=True):
            cursor.execute(f"ALTER TABLE {table} DETACH PARTITION {name}")
    return names


def attach(table: str, month: datetime, start: str, end: str) -> str:
    """Put a month that was taken out back into its table; returns its name.

    Raises:
        InvalidInput: no table holds this month, it is in place, or it is not closed.
    """
    name = name_of(table, month)
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass(%s) IS NOT NULL", [name])
        [is_there] = cursor.fetchone()
        if not is_there or existing(cursor, [table], month) or not _are_closed(cursor, [name]):
            raise InvalidInput("Name a month that was detached, such as 2026-01.", field="month")
        cursor.execute(
            f"ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM ({start}) TO ({end})"
        )
    return name


def _are_closed(cursor: Any, names: list[str]) -> bool:
    cursor.execute(
        "SELECT count(*) FROM pg_trigger WHERE tgname = 'month_is_closed' "
        "AND tgrelid = ANY(%s::regclass[])",
        [names],
    )
    return bool(cursor.fetchone()[0] == len(names))
