"""Rows that nobody foresaw: one that breaks what it comes with is found, and costs only itself."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

from django.db import DataError, transaction

from rating.usage import RowResult

log = logging.getLogger(__name__)
# What a row can cause. A fault of ours or of the database's is of another kind, and ends the batch.
_OF_A_ROW = (ValueError, ArithmeticError, RecursionError, DataError)

Store = Callable[[Sequence[Any]], list[RowResult]]


def without(
    store: Store, rows: Sequence[Any], refuse: Callable[[Any], RowResult]
) -> list[RowResult]:
    """Store rows, and those that cannot be are refused; returns a result for each, in their order.

    Each row is checked before it comes here, so this is for what the checks do not know yet. The
    rows are halved until the culprit is alone.
    """
    if not rows:
        return []
    try:
        with transaction.atomic():
            return store(rows)
    except _OF_A_ROW:
        if len(rows) == 1:
            log.exception("a row was refused that passed every check")
            return [refuse(rows[0])]
    half = len(rows) // 2
    return [*without(store, rows[:half], refuse), *without(store, rows[half:], refuse)]
