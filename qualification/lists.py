"""A list on its way in: its rows in a table of their own, and what each of them comes to.

All of it is a few statements for the whole list, however long. The lines of the list are copied
into one table, and a second one, the plan, says of each row what kind it is: added, changed,
unchanged, or why it is refused. What people preview is read from the plan and what is applied is
the plan, so the two cannot differ.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from django.db import connection

from ispops import bulk

# Of the server, for joins and sorts; what does not fit goes to its disk.
MEMORY = "64MB"
# Kinds that a row of any list can have, beside the refusals.
ADDED, CHANGED, UNCHANGED, UNREADABLE = "added", "changed", "unchanged", "unreadable"
# What complete coverage lists do to places that they do not name.
REMOVED = "removed"
CHANGES = (ADDED, CHANGED, REMOVED)
_PAGES_A_STEP = 4_000
_STEP = "planned.ctid >= '({first},0)'::tid AND planned.ctid < '({last},0)'::tid"


@dataclass(frozen=True, slots=True)
class ListPlan:
    """The tables of one list, by the name that they share: the plan, and the rows behind it.

    They are not logged, so after a crash of the database they are empty; see `is_whole`. Temporary
    ones go with the transaction.
    """

    name: str
    is_temporary: bool = False

    # Columns of the rows, in the order of their lines, with types other than text.
    columns: ClassVar[Sequence[str]] = ()
    types: ClassVar[Mapping[str, str]] = {}
    # Kinds of refused rows: the field and the reason. Unreadable ones carry their own.
    refusals: ClassVar[Mapping[str, tuple[str, str]]] = {}

    @property
    def rows(self) -> str:
        return f"{self.name}_rows"

    def stage(self, texts: Iterable[str]) -> None:
        """Make the table of the list's lines, which come in pieces of text."""
        self.drop()
        columns = ", ".join(f"{name} {self.types.get(name, 'text')}" for name in self.columns)
        self.make_table(self.rows, f"({columns})")
        bulk.copy_stream(self.rows, self.columns, texts)

    def make_table(self, name: str, what: str, values: Any = None) -> None:
        kind, end = ("TEMPORARY", " ON COMMIT DROP") if self.is_temporary else ("UNLOGGED", "")
        run(f"SET LOCAL work_mem = '{MEMORY}'")
        if what.startswith("("):
            run(f"CREATE {kind} TABLE {name} {what}{end}", values)
        else:
            run(f"CREATE {kind} TABLE {name}{end} AS {what}", values)

    @property
    def refused_kinds(self) -> list[str]:
        return [UNREADABLE, *self.refusals]

    def is_whole(self, changes: int) -> bool:
        """Say whether the plan is there with so many changes; a crash leaves it empty."""
        if read("SELECT to_regclass(%s) IS NULL", [self.name])[0][0]:
            return False
        statement = f"SELECT count(*) FROM {self.name} WHERE kind = ANY(%s)"  # noqa: S608
        return bool(read(statement, [list(CHANGES)])[0][0] == changes)

    def refused(self) -> Iterator[tuple[int, str, str]]:
        """Yield number, field and reason of the rows that are left out, in their order."""
        with connection.chunked_cursor() as cursor:
            cursor.execute(
                f"SELECT number, kind, field, reason FROM {self.name}"  # noqa: S608
                " WHERE kind = ANY(%s) ORDER BY number",
                [self.refused_kinds],
            )
            for number, kind, field, reason in cursor:
                yield number, *self.refusals.get(kind, (field, reason))

    def steps(self) -> Iterator[str]:
        """Yield conditions on `planned` that divide the plan into parts of some 250,000 rows."""
        pages = read("SELECT pg_relation_size(%s::regclass) / 8192", [self.name])[0][0]
        for first in range(0, pages, _PAGES_A_STEP):
            yield _STEP.format(first=first, last=first + _PAGES_A_STEP)

    def drop_rows(self) -> None:
        """Forget the rows behind the plan, when it needs to be worked out no more."""
        run(f"DROP TABLE {self.rows}")

    def drop(self) -> None:
        """Forget the list."""
        run(f"DROP TABLE IF EXISTS {self.rows}, {self.name}")


def hold(what: str) -> None:
    """Wait until nobody else writes this, and keep others waiting, until the transaction ends.

    It is what keeps a plan true while it is applied. What must never be false is guarded by the
    database itself.
    """
    run("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [what])


def run(statement: str, values: Any = None) -> int:
    """Run a statement of our own words and return how many rows it touched."""
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return int(cursor.rowcount)


def read(statement: str, values: Any = None) -> list[Any]:
    """Run a query of our own words and return its few rows."""
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return list(cursor.fetchall())
