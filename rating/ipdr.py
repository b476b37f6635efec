"""Reading IPDR documents in XML, however large they are and whatever else is in them. Pure.

No tree is built: of what was read only the record that is open is kept, and of that only what is
asked for. The parser itself keeps every name it met, and each tag until it ends: both are bounded.
"""

from collections.abc import Callable, Sequence
from typing import IO, Any
from xml.etree.ElementTree import XMLParser

DEEPEST = 50
MOST_NAMES = 1_000
LONGEST_VALUE = 200
# A document that says nothing for so long is one endless tag, or an endless comment.
LONGEST_SILENCE = 1_000_000
_PIECE = 1 << 16


class UnusableDocument(ValueError):
    """A document that is not read on; the text says why."""


def read_records(
    document: IO[bytes], columns: Sequence[str], write: Callable[[list[str]], Any]
) -> int:
    """Write the values of each element IPDR; returns how many there are.

    Elements are told by their names, whatever their namespace and whatever they are in. That there
    is no document type is seen to before.

    Raises:
        UnusableDocument: it has what no document of records has, and what memory would grow with.
        ParseError: it is no XML.
    """
    records = _Records(columns, write)
    parser = XMLParser(target=records)  # noqa: S314  # without a document type
    silent = 0
    while piece := document.read(_PIECE):
        said = records.said
        parser.feed(piece)
        silent = silent + len(piece) if records.said == said else 0
        if silent > LONGEST_SILENCE:
            raise UnusableDocument(f"A tag is longer than {LONGEST_SILENCE:,} bytes.")
    parser.close()
    return records.count


class _Records:
    """What the parser tells what it reads to. `said` counts whatever it told."""

    def __init__(self, columns: Sequence[str], write: Callable[[list[str]], Any]) -> None:
        self.said = self.count = 0
        self._write = write
        self._columns = columns
        self._names: set[str] = set()
        self._depth = 0
        # How deep the record is that is open, if one is, and what it told.
        self._record = 0
        self._values: dict[str, list[str]] = {}
        self._open: list[str] | None = None

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self.said += 1
        self._depth += 1
        if self._depth > DEEPEST:
            raise UnusableDocument(f"Its elements are more than {DEEPEST} deep in one another.")
        self._note((tag, *attributes))
        name = tag.rpartition("}")[2]
        if name == "IPDR":
            self._record, self._values = self._depth, {}
        self._open = None
        if self._depth == self._record + 1 and name in self._columns:
            self._open = self._values[name] = []

    def data(self, text: str) -> None:
        self.said += 1
        if self._open is not None and sum(map(len, self._open)) <= LONGEST_VALUE:
            text = text if self._open else text.lstrip()
            if text:
                self._open.append(text[: LONGEST_VALUE + 1])

    def end(self, tag: str) -> None:
        self.said += 1
        self._open = None
        if self._depth == self._record:
            values = (
                " ".join("".join(self._values.get(name, ())).split()) for name in self._columns
            )
            self._write([value[:LONGEST_VALUE] for value in values])
            self.count += 1
            self._record = 0
        self._depth -= 1

    def start_ns(self, prefix: str, address: str) -> None:
        self._note((prefix or "", address or ""))

    def comment(self, text: str) -> None:
        self.said += 1

    def _note(self, names: Sequence[str]) -> None:
        self._names.update(names)
        if len(self._names) > MOST_NAMES:
            raise UnusableDocument(f"It has more than {MOST_NAMES:,} names of elements.")
