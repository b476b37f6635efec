"""Events of use as lines: JSON objects, and rows of a table. Pure.

What a line cannot tell is not looked at here: each event is checked by `rating.usage_events`.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from rating.usage_events import UnusableEvent

# What an event with as many attributes as it may have needs, and more.
LONGEST_LINE = 1 << 16
# Columns of a table; every other one is an attribute of the event.
COLUMNS = (
    "event_id", "subscriber_ref", "offering", "started_at", "ended_at", "quantity", "unit",
)  # fmt: skip
NEEDED = tuple(name for name in COLUMNS if name != "ended_at")


class Result(Protocol):
    """What became of a row; see `rating.usage.RowResult`."""

    @property
    def status(self) -> str: ...
    @property
    def code(self) -> str: ...
    @property
    def field(self) -> str: ...


@dataclass(slots=True)
class Counts:
    """How many rows came to what.

    `in_error` are stored and wait for what is missing; `rejected` are not stored, so they can be
    corrected and sent again.
    """

    accepted: int = 0
    duplicates: int = 0
    conflicts: int = 0
    in_error: int = 0
    rejected: int = 0

    def add(self, results: Iterable[Result]) -> None:
        counted = Counter(outcome(result) for result in results)
        self.accepted += counted["accepted"]
        self.duplicates += counted["duplicate"]
        self.conflicts += counted["conflict"]
        self.in_error += counted["error"]
        self.rejected += counted["rejected"]


def outcome(result: Result) -> str:
    """Return the status of a row, with `rejected` for an error that was not stored."""
    is_unusable = bool(result.field) or result.code == "invalid_event"
    return "rejected" if result.status == "error" and is_unusable else result.status


def lines(readline: Callable[[int], bytes]) -> Iterator[tuple[int, bytes | None]]:
    """Yield each line that is not empty, with how many bytes were read by its end.

    A line that is longer than `LONGEST_LINE` comes as None; it is passed over in pieces, so memory
    does not grow with it.
    """
    end = 0
    while line := readline(LONGEST_LINE + 1):
        end += len(line)
        if len(line) <= LONGEST_LINE:
            if line.strip():
                yield end, line
            continue
        while line and not line.endswith(b"\n"):
            line = readline(LONGEST_LINE)
            end += len(line)
        yield end, None


def read_line(line: bytes | None) -> Any:
    """Return what a line of JSON says.

    Raises:
        UnusableEvent: it is no JSON; says what is wrong and where.
    """
    if line is None:
        raise UnusableEvent("line", f"This is longer than {LONGEST_LINE:,} bytes.")
    try:
        return json.loads(line.rstrip())
    except UnicodeDecodeError as error:
        raise UnusableEvent("line", "This is not in UTF-8.") from error
    except json.JSONDecodeError as error:
        raise UnusableEvent(
            "line", f"This is no JSON: {error.msg.lower()}: character {error.pos + 1}."
        ) from error
    except RecursionError as error:
        raise UnusableEvent("line", "This is nested too deeply.") from error
    except ValueError as error:  # a number of thousands of digits
        raise UnusableEvent("line", "This has a number that is too long.") from error


class EventColumns:
    """Which column of a table is what, whatever its capitals; the others are attributes."""

    def __init__(self, columns: Sequence[str]) -> None:
        self._count = len(columns)
        names = [column.strip().lower().replace(" ", "_") for column in columns]
        self._known = [(name, names.index(name)) for name in COLUMNS if name in names]
        self._others = [
            (column, place)
            for place, column in enumerate(columns)
            if column and names[place] not in COLUMNS
        ]
        self.missing = [name for name in NEEDED if name not in names]

    def event(self, values: Sequence[str]) -> dict[str, Any]:
        """Return the event that a row tells; what is empty is left out.

        Raises:
            UnusableEvent: there are more values than columns.
        """
        if len(values) > self._count:
            raise UnusableEvent(
                "row", f"The row has {len(values):,} values for {self._count:,} columns."
            )
        count = len(values)
        event: dict[str, Any] = {
            name: value
            for name, place in self._known
            if place < count and (value := values[place].strip())
        }
        if attributes := {
            name: values[place] for name, place in self._others if place < count and values[place]
        }:
            event["attributes"] = attributes
        return event
