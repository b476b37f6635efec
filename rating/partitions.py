"""Months of usage: a partition each, made when the first use of a month comes.

The id of a use begins with the second of its receipt, so a month is a range of ids, a late use is
in the month in which it came, and a month that is over never gets another row. `close_month` has
the database see to that; then the month can be detached and kept elsewhere.
"""

from datetime import datetime

from django.db import connection, transaction

from ispops.quiet import at_a_quiet_moment
from rating import months
from rating.months import DETACHED_AFTER, MonthNotOver
from rating.usage_ids import first_id

__all__ = [
    "DETACHED_AFTER",
    "MonthNotOver",
    "attach_month",
    "close_month",
    "detach_month",
    "ensure",
    "first_open_id",
    "open_months",
    "tend_months",
]
TABLES = ("rating_usage", "rating_ratedusage")
_UNPOSTED = """
SELECT FROM rating_ratedusage WHERE usage_id >= %s AND usage_id < %s AND rated_at >=
    COALESCE((SELECT posted_until FROM rating_usageposting), '-infinity') LIMIT 1
"""


def open_months() -> list[datetime]:
    """Return the months that are not closed, the oldest first."""
    return months.open_months(TABLES[-1])


def first_open_id() -> int:
    """Return the smallest id of a month that is not closed; all before it is rated and charged."""
    return next((first_id(month) for month in open_months()), 0)


def ensure(moment: datetime) -> None:
    """See to it that use which comes at a moment has a place."""
    month = months.month_of(moment)
    with connection.cursor() as cursor:
        # The later table is the last to be made.
        cursor.execute("SELECT to_regclass(%s)", [months.name_of(TABLES[-1], month)])
        if cursor.fetchone()[0] is None:
            cursor.execute("SELECT rating_make_month(%s)", [month])


def close_month(*, month: datetime, at: datetime) -> None:
    """Have the database refuse every change to the usage of a month, and every new row in it.

    Closing it again changes nothing.

    Raises:
        MonthNotOver: it ended less than `CLOSED_AFTER` ago, or some of it waits to be rated or
            charged.
    """
    month = months.month_of(month)
    end = months.after(month)
    months.require_over(month, at)
    with transaction.atomic(), connection.cursor() as cursor:
        names = months.existing(cursor, TABLES, month)
        months.hold(cursor, names)
        cursor.execute(
            "SELECT FROM rating_waitingusage WHERE last >= %s AND first < %s LIMIT 1",
            [first_id(month), first_id(end)],
        )
        if cursor.fetchone() is not None:
            raise MonthNotOver("Some usage of this month waits to be rated.")
        cursor.execute(_UNPOSTED, [first_id(month), first_id(end)])
        if cursor.fetchone() is not None:
            raise MonthNotOver("Some usage of this month waits to be charged.")
        months.refuse_changes(cursor, names)


def tend_months(*, at: datetime) -> list[datetime]:
    """Make the coming month before its first use comes, and close those that are due to be.

    Returns the months that were closed; one in which something still waits is left for later.
    """
    ensure(months.after(months.month_of(at)))
    closed = []
    for month in open_months():
        if at < months.after(month) + months.CLOSED_AFTER:
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
        TablesBusy: there was no moment for it.
    """
    month = months.month_of(month)
    return at_a_quiet_moment(lambda: months.detach(TABLES, month, at))


def attach_month(*, month: datetime) -> list[str]:
    """Put a month that was detached back into the tables; returns the names of its tables.

    Raises:
        InvalidInput: no tables hold this month, or they are in place.
        TablesBusy: there was no moment for it.
    """
    month = months.month_of(month)
    bounds = str(first_id(month)), str(first_id(months.after(month)))
    return at_a_quiet_moment(lambda: [months.attach(table, month, *bounds) for table in TABLES])
