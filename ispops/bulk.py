"""Many rows at once: COPY and UPDATE from a list, in the current transaction.

Errors of the database come out as Django's, as from any other query.
"""

from collections.abc import Iterable, Iterator, Sequence
from io import StringIO
from itertools import islice
from typing import Any

from django.db import DatabaseError, connection, models
from psycopg2.extras import execute_values

_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})
ROWS_A_STATEMENT = 10_000


def escape(text: str) -> str:
    """Write text so that COPY reads it back as it is."""
    if text.isprintable() and "\\" not in text:  # nearly all is, and this is told much sooner
        return text
    return text.translate(_ESCAPES)


def copy_rows(table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Append rows to a table, past all its constraints; the fastest way in.

    Values are None, or what PostgreSQL reads from their `str`: whole numbers, UUIDs, times, text
    that was passed through `escape`. Amounts must be whole micro-units.
    """
    copy_lines(
        table,
        columns,
        ("\t".join(["\\N" if value is None else str(value) for value in row]) for row in rows),
    )


def copy_lines(table: str, columns: Sequence[str], lines: Iterable[str]) -> None:
    """Append rows that are written as COPY reads them: values between tabs, NULL as `\\N`.

    So many are written at once that memory does not grow with their number.
    """
    statement, left = f"COPY {table} ({', '.join(columns)}) FROM STDIN", iter(lines)
    with connection.cursor() as cursor, connection.wrap_database_errors:
        while some := list(islice(left, ROWS_A_STATEMENT)):
            cursor.copy_expert(statement, StringIO("\n".join(some)))


def copy_stream(table: str, columns: Sequence[str], texts: Iterable[str]) -> None:
    """Append rows that come as pieces of text, each some whole lines as COPY reads them.

    The database takes the rows in while the next piece is made, and only one piece is kept.
    """
    source = _Pieces(iter(texts))
    try:
        with connection.cursor() as cursor, connection.wrap_database_errors:
            cursor.copy_expert(f"COPY {table} ({', '.join(columns)}) FROM STDIN", source)
    except DatabaseError as error:
        if source.fault is None:
            raise
        raise source.fault from error


class _Pieces:
    """What `copy_expert` reads from: it takes as much as it is given.

    It tells its own words of whatever goes wrong while it reads, so `fault` keeps the real ones.
    """

    def __init__(self, texts: Iterator[str]) -> None:
        self.fault: Exception | None = None
        self._texts = texts

    def read(self, _size: int) -> bytes:
        try:
            return next(self._texts, "").encode()
        except Exception as fault:
            self.fault = fault
            raise


def update_rows(table: str, key: str, types: dict[str, str], rows: Sequence[Sequence[Any]]) -> None:
    """Set columns of many rows, found by `key`.

    `types` names the key and the columns in the order of the values in `rows`, each with its type
    in PostgreSQL. Table, key and columns are our own words, never an input.
    """
    names = list(types)
    assignments = ", ".join(f"{name} = v.{name}" for name in names if name != key)
    statement = (
        f"UPDATE {table} SET {assignments} FROM (VALUES %s) v ({', '.join(names)}) "  # noqa: S608
        f"WHERE {table}.{key} = v.{key}"
    )
    casts = ", ".join(f"%s::{kind}" for kind in types.values())
    with connection.cursor() as cursor, connection.wrap_database_errors:
        execute_values(
            cursor.cursor, statement, rows, template=f"({casts})", page_size=ROWS_A_STATEMENT
        )


def update_by_copy(
    table: str, key: str, types: dict[str, str], rows: Sequence[Sequence[Any]]
) -> None:
    """Set columns of thousands of rows, as `update_rows` does, with values as `copy_rows` takes.

    They come by COPY into a table of this connection, which takes a fraction of the time; for a
    few rows it takes longer.
    """
    staged, names = f"new_{table}", ", ".join(types)
    columns = ", ".join(f"{name} {kind}" for name, kind in types.items())
    assignments = ", ".join(f"{name} = v.{name}" for name in types if name != key)
    with connection.cursor() as cursor, connection.wrap_database_errors:
        cursor.execute(
            f"CREATE TEMP TABLE IF NOT EXISTS {staged} ({columns}) ON COMMIT DELETE ROWS;"
            f"TRUNCATE {staged}"
        )
        copy_rows(staged, list(types), rows)
        cursor.execute(
            f"UPDATE {table} SET {assignments} "  # noqa: S608
            f"FROM (SELECT {names} FROM {staged}) v WHERE {table}.{key} = v.{key}"
        )


def insert_models(rows: Sequence[models.Model]) -> None:
    """Insert new objects of one model, in one statement and without what Django adds to it.

    They get no keys that the database gives, and no signals are sent. The statement is not
    composed of expressions as by `bulk_create`, which takes longer than to run it.
    """
    if not rows:
        return
    fields = [field for field in rows[0]._meta.concrete_fields if not field.db_returning]
    table, names = rows[0]._meta.db_table, ", ".join(str(field.column) for field in fields)
    one = f"({', '.join(['%s'] * len(fields))})"
    values = [
        field.get_db_prep_save(getattr(row, field.attname), connection)
        for row in rows
        for field in fields
    ]
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} ({names}) VALUES {', '.join([one] * len(rows))}",  # noqa: S608
            values,
        )
    for row in rows:
        row._state.adding, row._state.db = False, connection.alias


def insert_returning(
    statement: str, rows: Sequence[Sequence[Any]], *, template: str | None = None
) -> list[tuple[Any, ...]]:
    """Run `INSERT ... VALUES %s ... RETURNING ...` for many rows; returns what it returns.

    `template` writes one row where its values need casts, such as `(%s::uuid, %s)`.
    """
    with connection.cursor() as cursor, connection.wrap_database_errors:
        return list(
            execute_values(
                cursor.cursor,
                statement,
                rows,
                template=template,
                page_size=ROWS_A_STATEMENT,
                fetch=True,
            )
        )
