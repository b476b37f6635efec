"""A provider that is asked by files, exchanged through a folder that both sides can reach.

    requests/   one CSV for each question, which the provider may take away
    answers/    CSVs that the provider puts there: rows of any number of questions
    done/       answers that were taken
    rejected/   rows and whole files that could not be, each with the reason

Both sides write under another name and rename: a file that ends in `.csv` is whole. A file that is
read twice, because a worker died, has no second effect.
"""

import contextlib
import csv
import io
import os
import re
import stat
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.utils.dateparse import parse_datetime

from ispops.errors import PermanentFault
from qualification.providers import base
from qualification.providers.base import Answer, Place, Question, Unusable, Waiting

REQUESTS, ANSWERS, DONE, REJECTED = "requests", "answers", "done", "rejected"
REQUEST_COLUMNS = (
    "inquiry", "location_id", "street", "unit", "city", "region", "postal_code", "latitude",
    "longitude", "subscriber_kind",
)  # fmt: skip
ANSWER_COLUMNS = (
    "inquiry", "street", "unit", "postal_code", "serviceable", "technology", "max_download_kbps",
    "max_upload_kbps", "low_latency", "install_days", "construction_fee", "construction_days",
    "reason", "reference", "valid_until",
)  # fmt: skip
LARGEST_FILE = 5_000_000
MOST_ROWS = 50_000
# A file that was written a moment ago may still be growing, if its writer did not rename it.
YOUNG_SECONDS = 1.0
_FOLDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")


class FolderRefused(PermanentFault):
    """The folder of a connection leads out of the place where folders may be."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of an answer: its number in the file, counted from 1 with the header, and values."""

    number: int
    values: Mapping[str, str]


@dataclass(slots=True)
class AnswerFile:
    """A file of answers: its rows by the inquiry that they name, and what is wrong with it.

    `fault` is why nothing of it can be read; `rejects` are rows that were left, with the reason;
    `taken` says whether any of it was of use.
    """

    path: Path
    by_inquiry: dict[str, list[Row]] = field(default_factory=dict)
    fault: str = ""
    rejects: list[tuple[Row, str]] = field(default_factory=list)
    taken: bool = False

    def reject(self, rows: Iterable[Row], reason: str) -> None:
        self.rejects += [(row, reason) for row in rows]


class FileProvider:
    """One provider's folder, below `settings.PROVIDER_FILES_DIR`."""

    def __init__(self, *, folder: str) -> None:
        self.folder = folder_of(folder)

    def ask(self, question: Question) -> Answer | Waiting:
        """Put the question into the folder, once; its answer comes by `answer_files`."""
        if not question.reference:
            _write(self._part(REQUESTS), f"{question.inquiry}.csv", _request(question))
        return Waiting(question.inquiry)

    def answer_files(self) -> Iterator[AnswerFile]:
        """Yield the files that the provider has put there, oldest first."""
        found = []
        for entry in os.scandir(self._part(ANSWERS)):
            if not entry.name.endswith(".csv") or entry.name.startswith("."):
                continue
            # Gone meanwhile: another worker was quicker.
            with contextlib.suppress(FileNotFoundError):
                told = entry.stat(follow_symlinks=False)
                if time.time() - told.st_mtime >= YOUNG_SECONDS:
                    found.append((told.st_mtime, entry.name))
        for _, name in sorted(found):
            with contextlib.suppress(FileNotFoundError):
                yield _read_file(self._part(ANSWERS) / name)

    def put_away(self, file: AnswerFile) -> None:
        """Move a file out of the way: to `done`, or to `rejected` when nothing of it was of use.

        Rows that were left are listed in `rejected` with their reasons. Repeating it does nothing.
        """
        if file.fault or file.rejects:
            name = f"{_short(file.path.stem)}.reasons.csv"
            _write(self._part(REJECTED), name, _reasons(file))
        folder = self._part(DONE if file.taken else REJECTED)
        target = folder / file.path.name
        if target.exists():
            stem = f"{_short(file.path.stem)}-{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
            target = folder / f"{stem}.csv"
        with contextlib.suppress(FileNotFoundError):
            file.path.replace(target)

    def _part(self, name: str) -> Path:
        part = self.folder / name
        part.mkdir(parents=True, exist_ok=True)
        if part.is_symlink():
            raise FolderRefused(f"{name} is a link to somewhere else.")
        return part


def folder_of(name: str) -> Path:
    """Return the folder of a connection.

    Raises:
        FolderRefused: the name is not one plain name, or leads elsewhere by a link.
    """
    if not _FOLDER.fullmatch(name):
        raise FolderRefused("A folder has a name of letters, digits, hyphens and underscores.")
    folder = Path(settings.PROVIDER_FILES_DIR) / name
    if folder.is_symlink():
        raise FolderRefused("The folder is a link to somewhere else.")
    return folder


def read_answer(rows: Iterable[Row], place: Place, *, at: datetime) -> Answer:
    """Read the rows that answer one question: a row for each line, or one that says no.

    Raises:
        Unusable: a value makes no sense, or the rows contradict each other.
        WrongAddress: a row is about another place.
    """
    told = [row.values for row in rows]
    if len(told) > base.MOST_LINES:
        raise Unusable(f"There are more than {base.MOST_LINES} rows for one question.")
    for values in told:
        base.check_address(
            place,
            street=values["street"],
            unit=values["unit"],
            city="",
            postal_code=values["postal_code"],
        )
    served = {base.flag(values, "serviceable") for values in told}
    if len(served) != 1:
        raise Unusable("One row says that the place can be served, another that it cannot.")
    ends = (_moment(values["valid_until"]) for values in told if values["valid_until"])
    return Answer(
        lines=tuple(base.deliverable(values) for values in told) if served == {True} else (),
        reference=base.words(told[0]["reference"], 100),
        reason=base.words(told[0]["reason"]),
        valid_until=base.earliest(ends, at),
    )


def _moment(text: str) -> datetime:
    try:
        moment = parse_datetime(text)
    except ValueError:
        moment = None
    if moment is None:
        raise Unusable("valid_until is no date and time like 2026-05-01T12:00:00Z.")
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _request(question: Question) -> str:
    place = question.place
    values: dict[str, Any] = {
        "inquiry": question.inquiry,
        "location_id": place.location_id,
        "street": place.street,
        "unit": place.unit,
        "city": place.city,
        "region": place.region,
        "postal_code": place.postal_code,
        "latitude": place.latitude if place.is_located else None,
        "longitude": place.longitude if place.is_located else None,
        "subscriber_kind": question.subscriber_kind,
    }
    written = io.StringIO()
    writer = csv.DictWriter(written, REQUEST_COLUMNS)
    writer.writeheader()
    writer.writerow(values)
    return written.getvalue()


def _reasons(file: AnswerFile) -> str:
    written = io.StringIO()
    writer = csv.writer(written)
    writer.writerow(["row", "inquiry", "reason"])
    if file.fault:
        writer.writerow(["", "", file.fault])
    for row, reason in file.rejects:
        writer.writerow([row.number, _plain(row.values.get("inquiry", "")), reason])
    return written.getvalue()


def _short(stem: str) -> str:
    """Cut a name so that an ending still fits into what a file system allows."""
    return os.fsdecode(os.fsencode(stem)[:180])


def _plain(text: str) -> str:
    """Keep a provider's text from being a formula where the reasons are read."""
    return f"'{text}" if text[:1] in "=+-@\t\r" and text else text


def _write(folder: Path, name: str, text: str) -> None:
    """Write a file so that it is there whole or not at all.

    The other side can guess the unfinished name and put a link there, which is not followed.
    """
    unfinished = folder / f".{name}.{os.getpid()}"
    unfinished.unlink(missing_ok=True)
    with unfinished.open("x", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(folder / name)


def _read_file(path: Path) -> AnswerFile:
    """Read a file of answers; what is wrong with it is noted in it and never raised."""
    file = AnswerFile(path)
    try:
        text = _read_text(path)
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        header = [name.strip().casefold() for name in next(reader, [])]
        if missing := [name for name in ("inquiry", "street", "postal_code", "serviceable")
                       if name not in header]:  # fmt: skip
            raise Unusable(f"The header lacks {', '.join(missing)}.")
        if len(set(header)) < len(header):
            raise Unusable("The header names a column twice.")
        _read_rows(file, header, reader)
    except (Unusable, csv.Error, UnicodeDecodeError) as error:
        reason = str(error) if isinstance(error, Unusable) else f"It is no CSV in UTF-8: {error}"
        file.fault, file.by_inquiry = reason[:300], {}
    return file


def _read_rows(file: AnswerFile, header: list[str], reader: Iterator[list[str]]) -> None:
    for number, cells in enumerate(reader, start=2):
        if number > MOST_ROWS + 1:
            raise Unusable(f"The file has more than {MOST_ROWS:,} rows.")
        if not any(cells):
            continue
        given = dict(zip(header, cells, strict=False))
        row = Row(number, {name: given.get(name, "").strip() for name in ANSWER_COLUMNS})
        if len(cells) == len(header):
            file.by_inquiry.setdefault(row.values["inquiry"], []).append(row)
        else:
            file.reject([row], f"The row has {len(cells)} cells, the header {len(header)}.")


def _read_text(path: Path) -> str:
    """Read a plain file of bounded size, and nothing that pretends to be one."""
    try:
        number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise Unusable("It is no plain file.") from error
    try:
        if not stat.S_ISREG(os.fstat(number).st_mode):
            raise Unusable("It is no plain file.")
        with os.fdopen(number, "rb", closefd=False) as file:
            content = file.read(LARGEST_FILE + 1)
    finally:
        os.close(number)
    if len(content) > LARGEST_FILE:
        raise Unusable(f"The file is larger than {LARGEST_FILE:,} bytes.")
    return content.decode("utf-8-sig")
