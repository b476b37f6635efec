"""Files of rows that people send: unpacked, decoded and checked before anybody relies on them.

What comes in may be plain, gzip or zip, in UTF-8 or UTF-16, with the line ends of any system; what
is kept is plain CSV in UTF-8 with `\\n`. So a place in it is a number of bytes, at which a worker
can go on that takes over from one that died. Everything is read in pieces: memory does not grow
with the file, nor with what it unpacks to.
"""

import codecs
import csv
import gzip
import io
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import IO, Any

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.core.files.uploadhandler import FileUploadHandler

from ispops.errors import InvalidInput

_CHUNK = 1 << 16
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_ZIP_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_DAMAGED = (gzip.BadGzipFile, zipfile.BadZipFile, zlib.error, EOFError)
# A made-up directory of a zip file leads to bytes before the file, to names in no encoding, or to
# ways of packing that are not known here.
_DAMAGED_DIRECTORY = (ValueError, NotImplementedError, OverflowError, zipfile.BadZipFile)
# Lists shrink to a tenth or a thirtieth; what unpacks to so many times its size was made to.
_MOST_RATIO = 200
_RATIO_COUNTS_FROM = 10_000_000
# Spreadsheets take a value that begins with one of these for a formula, and run it.
_FORMULA_STARTS = frozenset("=+-@\t\r")


class UnusableFile(InvalidInput):
    """The file as a whole cannot be read; `facts["line"]` is the line, where there is one."""

    code = "unusable_file"
    title = "The file cannot be used"


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of a file is taken.

    A line of a million columns is longer than `line_bytes`, and so is a row of them whose values
    are quoted and break the line.
    """

    sent_bytes: int
    unpacked_bytes: int
    rows: int
    columns: int = 100
    line_bytes: int = _CHUNK


class Table:
    """An unpacked file with a header: `columns` as they were written, and the rows after them.

    `start` is where the first row begins, and `line` is where the row begins that came last. Names
    of columns are compared by `find`. `unnamed` are the columns of a form that may come without a
    header: it has none when its first row has as many values and none of the names.
    """

    def __init__(self, file: IO[bytes], limits: Limits, unnamed: Sequence[str] = ()) -> None:
        self.file = file
        self.limits = limits
        self.line = 0
        self._lines_of_header = 0
        header = next(self.rows(0), None)
        if header is None:
            raise UnusableFile("The file is empty. The first line names the columns.", field="file")
        self.start, written = header
        if len(written) == len(unnamed) and not {_plain_name(name) for name in written} & {
            *unnamed
        }:
            self.start, self.columns = 0, [*unnamed]
            return
        self.file.seek(0)
        self._lines_of_header = self.file.read(self.start).count(b"\n")
        self.columns = [name.strip() for name in written]
        self._check_columns()

    def find(self, *names: str) -> int | None:
        """Return the place of the column that has one of these names, whatever its capitals."""
        for place, column in enumerate(self.columns):
            if _plain_name(column) in names:
                return place
        return None

    def rows(self, start: int | None = None) -> Iterator[tuple[int, list[str]]]:
        """Yield each row with the byte at which the next one begins; empty lines are passed over.

        `start` is such a byte, to go on from; without it, all rows come.

        Raises:
            UnusableFile: a quote is not closed, or a line or a row is too long; names the line.
        """
        self.file.seek(self.start if start is None else start)
        lines = _Lines(self.file, self.limits.line_bytes, self._lines_of_header)
        texts = iter(lines)
        try:
            for text in texts:
                self.line = lines.count
                if '"' in text:
                    row = next(csv.reader(self._of_one_row(text, lines, texts), strict=True))
                    yield lines.end, row
                elif text != "\n":
                    # Most lists are plain like this, and it takes half the time.
                    yield lines.end, text.removesuffix("\n").split(",")
        except csv.Error as error:
            raise UnusableFile(
                f"The row that begins in line {self.line:,} cannot be read: a quote is opened and "
                "not closed, or stands inside a value without being doubled.",
                field="file",
                line=self.line,
            ) from error

    def check(self) -> int:
        """Read everything once and return how many rows there are.

        Raises:
            UnusableFile: as for `rows`, or there are no rows, or too many.
        """
        count = 0
        for count, _ in enumerate(self.rows(), start=1):
            if count > self.limits.rows:
                raise UnusableFile(
                    f"The file has more than {self.limits.rows:,} rows. Send it in parts.",
                    field="file",
                )
        if not count:
            raise UnusableFile("The file has a header and no rows.", field="file")
        return count

    def close(self) -> None:
        self.file.close()

    def _of_one_row(self, first: str, lines: "_Lines", texts: Iterator[str]) -> Iterator[str]:
        """Yield the lines of a row, which may be many where its values are quoted, up to a limit.

        Raises:
            UnusableFile: they are too long together.
        """
        most = lines.end + self.limits.line_bytes
        for text in chain((first,), texts):
            if lines.end > most:
                raise UnusableFile(
                    f"The row that begins in line {self.line:,} is longer than "
                    f"{self.limits.line_bytes:,} bytes: a quote may be opened and not closed.",
                    field="file",
                    line=self.line,
                )
            yield text

    def _check_columns(self) -> None:
        if len(self.columns) > self.limits.columns:
            raise UnusableFile(
                f"The header has {len(self.columns):,} columns; up to {self.limits.columns} "
                "are possible.",
                field="file",
                line=1,
            )
        named = [_plain_name(column) for column in self.columns if column]
        for place, name in enumerate(named):
            if name in named[:place]:
                raise UnusableFile(
                    f"The header has the column “{name[:60]}” twice.", field="file", line=1
                )


class SizeLimit(FileUploadHandler):
    """Refuses a form with files that are too large before any of it is kept."""

    def handle_raw_input(
        self,
        input_data: IO[bytes],
        META: dict[str, Any],  # noqa: N803
        content_length: int,
        boundary: str,
        encoding: str | None = None,
    ) -> None:
        if content_length > settings.UPLOAD_MOST_BYTES:
            raise RequestDataTooBig(too_big_words())

    def receive_data_chunk(self, raw_data: bytes, start: int) -> bytes:
        return raw_data

    def file_complete(self, file_size: int) -> None:
        return None


def receive(upload: IO[bytes], limits: Limits) -> tuple[Table, int]:
    """Unpack what was sent into a temporary file and check it; returns its table and rows.

    The file is gone when the table is closed, so nothing is left of one that is refused.

    Raises:
        UnusableFile: on the field `file`; says what is wrong and in which line.
    """
    kept = tempfile.TemporaryFile()  # noqa: SIM115  # the caller closes it with the table
    try:
        unpack(upload, kept, limits)
        table = Table(kept, limits)
        return table, table.check()
    except BaseException:
        kept.close()
        raise


def unpack(upload: IO[bytes], into: IO[bytes], limits: Limits) -> None:
    """Write what was sent as plain UTF-8 with `\\n` at the end of lines.

    Raises:
        UnusableFile: it is too large, damaged, in another encoding, or no text at all.
    """
    sent = upload.seek(0, io.SEEK_END)
    if sent > limits.sent_bytes:
        raise UnusableFile(
            f"The file is larger than {in_megabytes(limits.sent_bytes)}. Send it in parts.",
            field="file",
        )
    upload.seek(0)
    most = min(limits.unpacked_bytes, max(_RATIO_COUNTS_FROM, sent * _MOST_RATIO))
    written = 0
    with _opened(upload) as read:
        for text in _texts(read):
            written += into.write(text.encode())
            if written > most:
                raise UnusableFile(
                    f"The file unpacks to more than {in_megabytes(most)}. Send it in parts.",
                    field="file",
                )
    into.flush()


def harmless(value: str) -> str:
    """Return a value that no spreadsheet takes for a formula: one that could be gets a `'` first.

    A number is left as it is, since nobody's -12.5 is a formula; so is what is there already, so
    that a file that goes in and out twice does not grow.
    """
    if value[:1] not in _FORMULA_STARTS or _is_number(value):
        return value
    return f"'{value}"


def harmless_row(values: Sequence[str]) -> list[str]:
    """Return the values of a row, none of which a spreadsheet takes for a formula."""
    return [harmless(value) for value in values]


def too_big_words() -> str:
    """Say how much may be sent at once."""
    return f"Up to {in_megabytes(settings.UPLOAD_MOST_BYTES)} can be sent at once."


def in_megabytes(size: int) -> str:
    """Write a size for people: `200 MB`, `1.5 MB`, `12 kB`."""
    if size < 1_000_000:
        return f"{-(-size // 1_000):,} kB"
    return f"{size / 1_000_000:,.1f}".removesuffix(".0") + " MB"


class _Lines:
    """The lines of a file as text; `end` is the byte after the last of the `count` lines."""

    def __init__(self, file: IO[bytes], longest: int, count: int) -> None:
        self.end = file.tell()
        self.count = count
        self._read = file.readline
        self._longest = longest

    def __iter__(self) -> Iterator[str]:
        read, longest = self._read, self._longest
        while line := read(longest + 1):
            self.count += 1
            if len(line) > longest:
                raise UnusableFile(
                    f"Line {self.count:,} is longer than {longest:,} bytes. A row has one line, "
                    "and columns are separated by commas.",
                    field="file",
                    line=self.count,
                )
            self.end += len(line)
            yield line.decode()


@contextmanager
def _opened(upload: IO[bytes]) -> Iterator[Callable[[int], bytes]]:
    """Give the function that reads what is inside, by what the first bytes say it is."""
    begin = upload.read(4)
    upload.seek(0)
    try:
        if begin[:2] == b"\x1f\x8b":
            with gzip.GzipFile(fileobj=upload) as packed:
                yield packed.read
        elif begin[:2] == b"PK":
            with ExitStack() as stack:
                yield _open_archive(upload, stack).read
        else:
            yield upload.read
    except _DAMAGED as error:
        raise UnusableFile(
            "The packed file is damaged or cut off. Send it again.", field="file"
        ) from error


def _open_archive(upload: IO[bytes], stack: ExitStack) -> IO[bytes]:
    """Open the one file of a zip file, until the stack is closed."""
    try:
        archive = stack.enter_context(zipfile.ZipFile(upload))
        return stack.enter_context(archive.open(_only_file(archive)))
    except UnusableFile:
        raise
    except _DAMAGED_DIRECTORY as error:
        raise zipfile.BadZipFile from error


def _only_file(archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    names = archive.namelist()
    if "[Content_Types].xml" in names:
        raise UnusableFile(
            "This is a workbook. Save the sheet as “CSV UTF-8” and send that.", field="file"
        )
    files = [
        entry
        for entry in archive.infolist()
        if not entry.is_dir() and not entry.filename.startswith("__MACOSX/")
    ]
    if len(files) != 1:
        raise UnusableFile(
            f"The zip file holds {len(files):,} files. Send one CSV file.", field="file"
        )
    if files[0].flag_bits & 1:
        raise UnusableFile("The zip file has a password. Send it without.", field="file")
    if files[0].compress_type not in _ZIP_METHODS:
        raise UnusableFile("The zip file is packed in an unusual way. Use gzip.", field="file")
    return files[0]


def _texts(read: Callable[[int], bytes]) -> Iterator[str]:
    """Yield the text in pieces, decoded, with `\\n` for every end of a line."""
    chunk = read(_CHUNK)
    mark, encoding = next(
        (known for known in _BYTE_ORDER_MARKS if chunk.startswith(known[0])), (b"", "utf-8")
    )
    chunk = chunk[len(mark) :]
    decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder(encoding)(), translate=True)
    line = 1
    while True:
        try:
            text = decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            line += error.object[: error.start].decode(encoding, "ignore").count("\n")
            raise UnusableFile(
                f"Line {line:,} is not in UTF-8. Save the file as “CSV UTF-8” and send that.",
                field="file",
                line=line,
            ) from error
        if "\0" in text:
            line += text[: text.index("\0")].count("\n")
            raise UnusableFile(
                f"Line {line:,} has a NUL character; this is no text.", field="file", line=line
            )
        line += text.count("\n")
        yield text
        if not chunk:
            return
        chunk = read(_CHUNK)


def _plain_name(column: str) -> str:
    return column.strip().lower().replace(" ", "_")


def _is_number(value: str) -> bool:
    digits = value[1:].replace(".", "", 1)
    return value[0] in "+-" and digits.isdecimal() and digits.isascii()
