"""Verbs for files of use: a file comes in, workers take its rows in, a file of rejects goes out.

`ispops.filework` says how workers read. What a batch of rows comes to and how far the file is read
are one transaction: whoever goes on after a crash begins at a row that was not taken in.
"""

import csv
import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from itertools import islice
from tempfile import TemporaryFile
from typing import IO, Any, NamedTuple

from django.conf import settings
from django.core.files.base import File
from django.db import transaction
from django.db.models import QuerySet

from ispops import db, filework, jobs, uploads
from ispops.errors import InvalidInput, Refusal
from ispops.parties import audit
from ispops.parties.models import Partner, User
from rating import intake, network_files, network_records, usage_lines
from rating.models import UsageFile
from rating.usage import RowResult
from rating.usage_events import UnusableEvent
from rating.usage_lines import Counts, outcome

Format, State = UsageFile.Format, UsageFile.State
OF_THE_NETWORK = (Format.IPDR, Format.NETWORK_CSV)
MOST_ROWS = 5_000_000
ROWS_A_BATCH = 10_000
_BATCH_BYTES = 2_000_000
REASON_COLUMNS = ("row", "outcome", "code", "field", "reason")
_TO_TELL = ("rejected", "conflict", "error")


class TooManyOpenFiles(Refusal):
    code = "too_many_open_files"
    title = "Too many files are waiting"


class _Row(NamedTuple):
    """A row of a file: where the next one begins, what it tells, and how it is written."""

    end: int
    told: Any
    values: Sequence[str]


@transaction.atomic
def submit_file(
    *,
    upload: IO[bytes],
    file_name: str,
    file_format: str,
    partner: Partner | None = None,
    actor: User | None,
    actor_name: str = "",
    at: datetime,
) -> UsageFile:
    """Take a file of use that is to be read in the background (figures 9A and 9B).

    It is plain or packed as `ispops.uploads` reads it. A file that came before is read again, and
    changes nothing but what could not be taken then; `same_as` says which one it was.

    Raises:
        UnusableFile: on the field `file`; says what is wrong and in which line.
        InvalidInput: the format is unknown, or does not fit whose use it is.
        TooManyOpenFiles: the partner must wait until one of its files is done.
    """
    _check_choices(file_format, partner)
    row = UsageFile(
        partner=partner,
        format=file_format,
        file_name=filework.plain_name(file_name, f"usage.{file_format}"),
        created_by=actor,
        created_at=at,
        next_attempt_at=at,
    )
    with TemporaryFile() as kept:
        uploads.unpack(upload, kept, _limits())
        if file_format == Format.IPDR:
            row.rows_total = network_files.unfold_ipdr(kept)
        else:
            row.rows_total = _count(row, kept)
        kept.seek(0)
        row.digest = hashlib.file_digest(kept, "sha256").hexdigest()
        row.same_as = _known(row)
        _refuse_when_busy(partner)
        kept.seek(0)
        row.file.save(f"{row.public_id}.csv", File(kept), save=False)
    try:
        row.save(force_insert=True)
        _note(row, actor, "usage_file.submitted", at, actor_name=actor_name)
    except BaseException:
        row.file.delete(save=False)
        raise
    _send(row)
    transaction.on_commit(lambda: make_room(partner=partner), robust=True)
    return row


@transaction.atomic
def cancel(*, file: UsageFile, actor: User, at: datetime) -> UsageFile:
    """Stop a file at once; what was taken in until now stays. Repeating it changes nothing.

    Raises:
        IllegalTransition: it is over already.
    """
    row = db.lock(UsageFile, file.pk)
    if filework.cancel(row, at=at):
        _note(row, actor, "usage_file.cancelled", at)
    return row


def read_next(*, file_id: Any = None, at: datetime) -> bool:
    """Take in rows of a file that is due, the given one or the oldest, for one turn.

    Returns False when there is none. A file that is not done by the end of the turn is due again
    at once, behind those that wait.
    """
    rows = UsageFile.objects.filter(state__in=filework.OPEN)
    if file_id is not None:
        rows = rows.filter(pk=file_id)
    claimed = jobs.claim(rows, at=at, lease=settings.TASK_LEASE)
    if not claimed:
        return False
    _Turn(claimed[0], at).run()
    return True


def make_room(*, partner: Partner | None) -> int:
    """Delete what is kept of files that are over, the oldest first, when it is too much.

    It is counted of each partner, and of the network. Returns of how many files.
    """
    left, deleted = settings.USAGE_FILES_MOST_BYTES, 0
    for row in _kept().filter(partner=partner).order_by("-finished_at", "-pk"):
        left -= _size(row.file) + _size(row.rejects)
        if left < 0:
            _delete_content(row)
            deleted += 1
    return deleted


def delete_old(*, at: datetime) -> int:
    """Delete what is kept of files that are over for long; returns of how many files."""
    old = _kept().filter(finished_at__lt=at - settings.USAGE_FILES_KEPT_FOR)
    for row in old:
        _delete_content(row)
    return len(old)


def _kept() -> QuerySet[UsageFile]:
    over = UsageFile.objects.exclude(state__in=filework.OPEN)
    return over.exclude(file="", rejects="")


def _delete_content(row: UsageFile) -> None:
    """Delete the file and its rejects; what was counted of it stays.

    The row forgets them last: who is interrupted leaves nothing behind that nobody knows of.
    """
    for field in (row.file, row.rejects):
        if field:
            field.storage.delete(str(field))
    UsageFile.objects.filter(pk=row.pk).update(file="", rejects="")


def _size(field: Any) -> int:
    try:
        return field.size if field else 0
    except FileNotFoundError:
        return 0


class _Turn(filework.Turn):
    """What one worker takes in of one file until it gives way."""

    beside = "rejects"
    advice = "What was taken in stays. Send the file again: each row counts once."

    def begin(self, source: IO[bytes]) -> bytes:
        reader = _Reader(self.row, source)
        self._rows = reader.rows(self.row.bytes_read)
        self._begun = _as_csv([[*REASON_COLUMNS, *reader.columns]])
        return self._begun

    def do_rows(self, beside: IO[bytes]) -> bool:
        while batch := self._next_batch():
            with transaction.atomic():
                results = self._take_in([row.told for row in batch])
                counts = Counts(**{name: getattr(self.row, name) for name in _COUNTED})
                counts.add(results)
                rejects = _as_csv(self._rejects(batch, results))
                self.append(beside, rejects, rows=len(batch), end=batch[-1].end, **asdict(counts))
            if self.is_over:
                return False
        return True

    def _next_batch(self) -> list[_Row]:
        batch: list[_Row] = []
        for row in islice(self._rows, ROWS_A_BATCH):
            batch.append(row)
            if row.end - self.row.bytes_read > _BATCH_BYTES:
                break
        return batch

    def _take_in(self, told: list[Any]) -> list[RowResult]:
        if self.row.partner is None:
            return network_files.take_in(rows=told, at=self.now)
        return intake.take_in(partner=self.row.partner, rows=told, received_at=self.now)

    def _rejects(self, batch: Sequence[_Row], results: Sequence[RowResult]) -> Iterator[list[str]]:
        """Yield the rows that were not taken as they are, with the reason before their values."""
        for number, (row, result) in enumerate(
            zip(batch, results, strict=True), start=self.row.rows_done + 1
        ):
            if (came_to := outcome(result)) in _TO_TELL:
                told = [str(number), came_to, result.code, result.field, result.reason]
                yield uploads.harmless_row([*told, *row.values])


_COUNTED = tuple(Counts.__dataclass_fields__)


class _Reader:
    """What reads the rows of a kept file, from any row on."""

    def __init__(self, row: UsageFile, source: IO[bytes]) -> None:
        self._source = source
        self._read: Callable[[Sequence[str]], Any] | None = None
        if row.format == Format.NDJSON:
            self.columns = ["line"]
            return
        self._table = uploads.Table(source, _limits())
        self.columns = self._table.columns
        self.missing: list[str] = []
        if row.format == Format.CSV:
            events = usage_lines.EventColumns(self.columns)
            self._read, self.missing = events.event, events.missing
        else:
            records = network_records.RecordColumns(self.columns)
            self._read, self.missing = records.record, records.missing

    def rows(self, start: int) -> Iterator[_Row]:
        """Yield the rows that begin at a byte; what cannot be read is refused in its place."""
        if self._read is None:
            yield from self._lines(start)
            return
        for end, values in self._table.rows(start or None):
            yield _Row(end, _told(self._read, values), values)

    def _lines(self, start: int) -> Iterator[_Row]:
        self._source.seek(start)
        for end, line in usage_lines.lines(self._source.readline):
            shown = "" if line is None else line.decode().rstrip("\n")
            yield _Row(start + end, _told(usage_lines.read_line, line), [shown])


def _told(read: Callable[[Any], Any], row: Any) -> Any:
    try:
        return read(row)
    except UnusableEvent as error:
        return intake.unreadable(error)


def _count(row: UsageFile, kept: IO[bytes]) -> int:
    """Read a file once and return how many rows there are.

    Raises:
        UnusableFile: it has none, or too many, or columns are missing, or it is no table at all.
    """
    kept.seek(0)
    if row.format == Format.NDJSON:
        count = sum(1 for _ in usage_lines.lines(kept.readline))
        if not count:
            raise uploads.UnusableFile("The file is empty.", field="file")
        if count > MOST_ROWS:
            raise uploads.UnusableFile(
                f"The file has more than {MOST_ROWS:,} lines. Send it in parts.", field="file"
            )
        return count
    reader = _Reader(row, kept)
    if reader.missing:
        raise uploads.UnusableFile(
            f"The header lacks the columns {', '.join(reader.missing)}.", field="file", line=1
        )
    return reader._table.check()


def _check_choices(file_format: str, partner: Partner | None) -> None:
    if file_format not in Format.values:
        raise InvalidInput("Choose what the file is.", field="format")
    if file_format in OF_THE_NETWORK:
        if partner is not None:
            raise InvalidInput("Records of the network are no partner's.", field="partner")
    elif partner is None or partner.kind != Partner.Kind.BSP:
        raise InvalidInput("Choose the partner whose events these are.", field="partner")


def _known(row: UsageFile) -> UsageFile | None:
    """Return the first file with the same content, if one was read or is being read."""
    before = UsageFile.objects.filter(
        digest=row.digest, partner=row.partner, format=row.format, same_as=None
    )
    return before.exclude(state=State.FAILED).order_by("pk").first()


def _refuse_when_busy(partner: Partner | None) -> None:
    """Count what is open of a partner, one submission at a time; staff know what they do."""
    if partner is None:
        return
    db.lock(Partner, partner.pk)
    waiting = UsageFile.objects.filter(partner=partner, state__in=filework.OPEN).count()
    if waiting >= settings.USAGE_FILES_MOST_OPEN:
        raise TooManyOpenFiles(
            f"{waiting} of your files are not done yet. Wait for one of them, or cancel it."
        )


def _limits() -> uploads.Limits:
    return uploads.Limits(
        sent_bytes=settings.UPLOAD_MOST_BYTES,
        unpacked_bytes=settings.UNPACKED_MOST_BYTES,
        rows=MOST_ROWS,
    )


def _send(row: UsageFile) -> None:
    from rating.tasks import read_usage_file

    jobs.send_on_commit(read_usage_file, file_id=str(row.pk))


def _note(
    row: UsageFile, actor: User | None, action: str, at: datetime, *, actor_name: str = ""
) -> None:
    audit.record(
        actor=actor,
        actor_name=actor_name,
        action=action,
        subject=row.public_id,
        at=at,
        partner=row.partner.code if row.partner else "",
        file_name=row.file_name,
        format=row.format,
        rows_total=row.rows_total,
        rows_done=row.rows_done,
    )


def _as_csv(rows: Any) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()
