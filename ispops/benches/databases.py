"""Two databases that differ in how much is in them: copied, used by turns, and dropped."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection


def copy(name: str, to: str) -> None:
    """Copy a database, to which nobody may be connected meanwhile."""
    with used("postgres"):
        _execute(f'CREATE DATABASE "{to}" TEMPLATE "{name}"')


def drop(name: str) -> None:
    """Drop a copy."""
    _execute(f'DROP DATABASE "{name}"')


@contextmanager
def used(database: str) -> Iterator[None]:
    """Use another database of the server."""
    usual = connection.settings_dict["NAME"]
    connection.close()
    connection.settings_dict["NAME"] = database
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict["NAME"] = usual


def _execute(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)
