"""Months of usage: a partition each, made when the first use of a month comes.

The id of a use begins with the second of its receipt, so a month is a range of ids, a late use is
in the month in which it came, and a month that is over never gets another row. `close_month` has
the database see to that; then the month can be detached and kept elsewhere.
"""

from calendar import monthrange
from datetime import UTC, datetime, timedelta

from django.db import connection, transaction

from ispops.errors import InvalidInput, Refusal
from rating.usage_ids import first_id

TABLES = ("rating_usage", "rating_ratedusage")
# By then use in error was mended, or is written off with its month.
CLOSED_AFTER = timedelta(days=62)
# What units are carried over from, and what is renamed or disputed, is younger than this.
DETACHED_AFTER = timedelta(days=400)
_OPEN = """
SELECT part.relname FROM pg_inherits JOIN pg_class part ON part.oid = inhrelid
 WHERE inhparent = %s::regclass
   AND NOT EXISTS (SELECT FROM pg_trigger
                    WHERE tgrelid = part.oid AND tgname = 'month_is_closed')
 ORDER BY part.relname
"""
_UNPOSTED = """
SELECT FROM rating_ratedusage WHERE usage_id >= %s AND usage_id < %s AND rated_at >=
    COALESCE((SELECT posted_until FROM rating_usageposting), '-infinity') LIMIT 1
"""


class MonthNotOver(Refusal):
    code = "month_not_over"
    title = "The month cannot be closed yet"


def open_months() -> list[datetime]:
    """Return the months that are not closed, the oldest first."""
    with connection.cursor() as cursor:
        cursor.execute(_OPEN, [TABLES[-1]])
        return [_month_of(name) for (name,) in cursor.fetchall()]


def first_open_id() -> int:
    """Return the smallest id of a month that is not closed; all before it is rated and charged."""
    return next((first_id(month) for month in open_months()), 0)


def ensure(moment: datetime) -> None:
    """See to it that use which comes at a moment has a place."""
    month = _month(moment)
    with connection.cursor() as cursor:
        # The later table is the last to be made.
        cursor.execute("SELECT to_regclass(%s)", [_name(TABLES[-1], month)])
        if cursor.fetchone()[0] is None:
            cursor.execute("SELECT rating_make_month(%s)", [month])


def close_month(*, month: datetime, at: datetime) -> None:
    """Have the database refuse every change to the usage of a month, and every new row in it.

    Closing it again changes nothing.

    Raises:
        MonthNotOver: it ended less than `CLOSED_AFTER` ago, or some of it waits to be rated or
            charged.
    """
    month = _month(month)
    end = _next(month)
    if at < end + CLOSED_AFTER:
        raise MonthNotOver(f"Close this month after {end + CLOSED_AFTER:%Y-%m-%d %H:%M} UTC.")
    with transaction.atomic(), connection.cursor() as cursor:
        for name in _existing(cursor, month):
            # Whoever writes to the month just now is waited for, and then seen.
            cursor.execute(f"LOCK TABLE {name} IN SHARE ROW EXCLUSIVE MODE")
        cursor.execute(
            "SELECT FROM rating_waitingusage WHERE last >= %s AND first < %s LIMIT 1",
            [first_id(month), first_id(end)],
        )
        if cursor.fetchone() is not None:
            raise MonthNotOver("Some usage of this month waits to be rated.")
        cursor.execute(_UNPOSTED, [first_id(month), first_id(end)])
        if cursor.fetchone() is not None:
            raise MonthNotOver("Some usage of this month waits to be charged.")
        for name in _existing(cursor, month):
            cursor.execute(
                f"CREATE OR REPLACE TRIGGER month_is_closed BEFORE INSERT OR UPDATE OR DELETE "
                f"ON {name} FOR EACH ROW EXECUTE FUNCTION rating_month_is_closed()"
            )


def tend_months(*, at: datetime) -> list[datetime]:
    """Make the coming month before its first use comes, and close those that are due to be.

    Returns the months that were closed; one in which something still waits is left for later.
    """
    ensure(_next(_month(at)))
    closed = []
    for month in open_months():
        if at < _next(month) + CLOSED_AFTER:
            break
        try:
            close_month(month=month, at=at)
        except MonthNotOver:
            break
        closed.append(month)
    return closed


def detach_month(*, month: datetime, at: datetime) -> list[str]:
    """Take a closed month out of the tables; returns the names of the tables that now hold it.

    What was counted stays counted once: the keys of its uses remain.

    Raises:
        InvalidInput: there is no such month, or it is not closed.
        MonthNotOver: it ended less than `DETACHED_AFTER` ago.
    """
    month = _month(month)
    since = _next(month) + DETACHED_AFTER
    if at < since:
        raise MonthNotOver(f"Detach this month after {since:%Y-%m-%d}.")
    with transaction.atomic(), connection.cursor() as cursor:
        names = _existing(cursor, month)
        cursor.execute(
            "SELECT count(*) FROM pg_trigger WHERE tgname = 'month_is_closed' "
            "AND tgrelid = ANY(%s::regclass[])",
            [names],
        )
        if not names or cursor.fetchone()[0] < len(names):
            raise InvalidInput("Name a month that is closed, such as 2026-01.", field="month")
        for table, name in zip(TABLES, names, strict=True):
            cursor.execute(f"ALTER TABLE {table} DETACH PARTITION {name}")
    return names


def _existing(cursor: object, month: datetime) -> list[str]:
    names = []
    for table in TABLES:
        name = _name(table, month)
        cursor.execute(  # type: ignore[attr-defined]
            "SELECT FROM pg_inherits WHERE inhrelid = to_regclass(%s)", [name]
        )
        if cursor.fetchone() is not None:  # type: ignore[attr-defined]
            names.append(name)
    return names


def _name(table: str, month: datetime) -> str:
    return f"{table}_{month:%Y_%m}"


def _month_of(name: str) -> datetime:
    year, month = name.split("_")[-2:]
    return datetime(int(year), int(month), 1, tzinfo=UTC)


def _month(moment: datetime) -> datetime:
    utc = moment.astimezone(UTC)
    return datetime(utc.year, utc.month, 1, tzinfo=UTC)


def _next(month: datetime) -> datetime:
    return month + timedelta(days=monthrange(month.year, month.month)[1])
