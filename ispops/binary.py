"""Rows in PostgreSQL's binary COPY format as numpy columns, without a parser in between.

Every field of a row has a fixed length and none is NULL, so a whole table is one structured array:
a count, and before each value its length. That is many times faster than text. See the file format
in PostgreSQL's documentation of COPY.
"""

import struct
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
from django.db import connection

Column = npt.NDArray[Any]

# Types of PostgreSQL as they travel: whole numbers and times big-endian, a UUID as 16 bytes.
INT2, INT4, INT8, UUID = ">i2", ">i4", ">i8", "V16"
# A timestamptz is the microseconds since this.
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)

_HEADER = b"PGCOPY\n\xff\r\n\x00" + struct.pack(">ii", 0, 0)
_TRAILER = struct.pack(">h", -1)
# So many rows are laid out at once: the columns of a batch take much less than its rows.
_ROWS_AT_ONCE = 20_000
_MICROSECOND = timedelta(microseconds=1)


def instant(moment: datetime) -> int:
    """Return a time as PostgreSQL counts it, in microseconds since 2000."""
    return (moment - EPOCH) // _MICROSECOND


def moment(instant: int) -> datetime:
    """Return the time that PostgreSQL's count of microseconds since 2000 means."""
    return EPOCH + timedelta(microseconds=int(instant))


def _layout(types: Sequence[str]) -> np.dtype[Any]:
    fields = [("count", INT2)]
    for number, kind in enumerate(types):
        fields += [(f"length{number}", INT4), (f"value{number}", kind)]
    return np.dtype(fields)


def read(query: str, types: Sequence[str]) -> list[Column]:
    """Return what a query finds, a column for each of its types; numbers in native order.

    `query` is our own words. No value may be NULL.
    """
    raw = BytesIO()
    with connection.cursor() as cursor, connection.wrap_database_errors:
        cursor.copy_expert(f"COPY ({query}) TO STDOUT (FORMAT binary)", raw)
    layout = _layout(types)
    body = raw.getbuffer()[len(_HEADER) : -len(_TRAILER)]
    rows = np.frombuffer(body, dtype=layout)
    columns = [rows[f"value{number}"] for number in range(len(types))]
    return [
        column.copy() if kind == UUID else column.astype(column.dtype.newbyteorder("="))
        for column, kind in zip(columns, types, strict=True)
    ]


def write(table: str, columns: Mapping[str, tuple[Column, str]]) -> None:
    """Append rows: each column by its name, with its values and their type."""
    layout = _layout([kind for _, kind in columns.values()])
    statement = f"COPY {table} ({', '.join(columns)}) FROM STDIN (FORMAT binary)"
    with connection.cursor() as cursor, connection.wrap_database_errors:
        for start in range(0, len(next(iter(columns.values()))[0]), _ROWS_AT_ONCE):
            some = slice(start, start + _ROWS_AT_ONCE)
            rows = _laid_out(layout, [(values[some], kind) for values, kind in columns.values()])
            cursor.copy_expert(statement, BytesIO(_HEADER + rows.tobytes() + _TRAILER))


def _laid_out(layout: np.dtype[Any], columns: Sequence[tuple[Column, str]]) -> Column:
    rows = np.empty(len(columns[0][0]), dtype=layout)
    rows["count"] = len(columns)
    for number, (values, kind) in enumerate(columns):
        rows[f"length{number}"] = np.dtype(kind).itemsize
        rows[f"value{number}"] = values
    return rows
