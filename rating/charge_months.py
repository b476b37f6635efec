"""Months of charges: a partition each, made ahead; one that is over and billed is read-only.

The id of a charge begins with the millisecond in which it was written (UUID version 7), so a month
is a range of ids. What may be charged once only is kept beside the months, for ever: see
`rating.charged`. The first month holds all that was charged before charges were kept by month.
"""

from datetime import datetime
from uuid import UUID

from django.db import connection

from ispops.quiet import at_a_quiet_moment
from rating import months
from rating.months import MonthNotOver

TABLE = "rating_charge"
# So many months are there before they come: nobody charges anything while the sweeps rest longer.
AHEAD = 3
# What a detached month can no longer tell: which prices were used.
_USED_PRICES = """
INSERT INTO rating_usedprice (price_id)
SELECT DISTINCT price_id FROM {name} WHERE price_id IS NOT NULL ON CONFLICT DO NOTHING
"""


def first_id(moment: datetime) -> UUID:
    """Return the smallest id that a charge can have that was written at a moment or later."""
    return UUID(int=int(moment.timestamp() * 1000) << 80)


def open_months() -> list[datetime]:
    """Return the months that are not closed, the oldest first."""
    return months.open_months(TABLE)


def ensure(moment: datetime) -> None:
    """See to it that what is charged until the end of a moment's month has a place."""
    month = months.month_of(moment)
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass(%s)", [months.name_of(TABLE, month)])
        if cursor.fetchone()[0] is None:
            cursor.execute("SELECT rating_make_charge_months(%s)", [month])


def close_month(*, month: datetime, at: datetime) -> None:
    """Have the database refuse every change to the charges of a month, and every new one in it.

    What is given back of them later is a charge of its own month. Closing it again changes nothing.

    Raises:
        MonthNotOver: it ended less than `CLOSED_AFTER` ago, or some of it is on no bill yet.
        TablesBusy: there was no moment for it.
    """
    month = months.month_of(month)
    months.require_over(month, at)
    at_a_quiet_moment(lambda: _close(month))


def _close(month: datetime) -> None:
    with connection.cursor() as cursor:
        for name in months.existing(cursor, [TABLE], month):
            months.hold(cursor, [name])
            cursor.execute(f"SELECT FROM {name} WHERE bill_line_id IS NULL LIMIT 1")
            if cursor.fetchone() is not None:
                raise MonthNotOver("Some charges of this month are on no bill yet.")
            months.refuse_changes(cursor, [name])


def tend_months(*, at: datetime) -> list[datetime]:
    """Make the coming months, and close those that are due to be.

    Returns the months that were closed. One of which something is on no bill yet is left for later,
    and keeps no other from being closed.
    """
    coming = months.month_of(at)
    for _ in range(AHEAD):
        coming = months.after(coming)
    at_a_quiet_moment(lambda: ensure(coming))
    closed = []
    for month in open_months():
        try:
            close_month(month=month, at=at)
        except MonthNotOver:
            continue
        closed.append(month)
    return closed


def detach_month(*, month: datetime, at: datetime) -> list[str]:
    """Take a closed month out of the table; returns the name of the table that now holds it.

    What was charged stays charged once, and prices that were used stay as they are. The lines of
    its bills no longer say what they are made of, and nothing of it can be given back or disputed,
    until it is attached again.

    Raises:
        InvalidInput: there is no such month, or it is not closed.
        MonthNotOver: it ended less than `DETACHED_AFTER` ago.
        TablesBusy: there was no moment for it.
    """
    month = months.month_of(month)

    def taken_out() -> list[str]:
        names = months.detach([TABLE], month, at)
        with connection.cursor() as cursor:
            cursor.execute(_USED_PRICES.format(name=names[0]))
        return names

    return at_a_quiet_moment(taken_out)


def attach_month(*, month: datetime) -> list[str]:
    """Put a month that was detached back into the table; returns the name of its table.

    Raises:
        InvalidInput: no table holds this month, or it is in place.
        TablesBusy: there was no moment for it.
    """
    month = months.month_of(month)
    return at_a_quiet_moment(lambda: [_attach(month)])


def _attach(month: datetime) -> str:
    name, start = months.name_of(TABLE, month), f"'{first_id(month)}'"
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass(%s) IS NOT NULL", [name])
        if cursor.fetchone()[0]:
            cursor.execute(f"SELECT FROM {name} WHERE id < {start} LIMIT 1")
            if cursor.fetchone() is not None:
                start = "MINVALUE"
    return months.attach(TABLE, month, start, f"'{first_id(months.after(month))}'")
