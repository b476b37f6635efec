"""Changing tables that others use all the time, without holding any of them up."""

import time
from collections.abc import Callable
from typing import TypeVar

from django.db import OperationalError, connection, transaction

from ispops.errors import Refusal

R = TypeVar("R")
# Shorter than PostgreSQL takes to look for a deadlock, so that it is never somebody else who fails.
_PATIENCE = "800ms"
_TRIES = 30
_PAUSE_SECONDS = 0.1
# PostgreSQL's codes for a lock that was not got in time, and for a deadlock.
_IN_THE_WAY = {"55P03", "40P01"}


class TablesBusy(Refusal):
    code = "tables_busy"
    title = "The tables are busy"


def at_a_quiet_moment(work: Callable[[], R]) -> R:
    """Change tables that others use, in a transaction that gives way to all of them.

    Who changes a table waits for the transactions that use it, and everybody after that waits for
    it in turn. So it waits for a moment only, lets the others pass, and tries again.

    Raises:
        TablesBusy: there was no such moment.
    """
    for _ in range(_TRIES):
        try:
            with transaction.atomic():
                with connection.cursor() as cursor:
                    cursor.execute(f"SET LOCAL lock_timeout = '{_PATIENCE}'")
                return work()
        except OperationalError as error:
            if getattr(error.__cause__, "pgcode", "") not in _IN_THE_WAY:
                raise
            time.sleep(_PAUSE_SECONDS)
    raise TablesBusy("Others use these tables all the time just now. Try again later.")
