"""Verbs for files of addresses: a file comes in, workers qualify its rows, a file goes out.

The row is the queue (`ispops.jobs`). A worker takes a lease, answers batch after batch, and after
each one records in one update how far it read, how far it wrote, and a new lease; so what was done
is kept when it dies, and the next worker goes on at that row. The end of the lease is also the
worker's token: one that was given up on, or whose file was cancelled, finds another end in the row
and stops. Each such successor writes into a copy of its own, because a worker that was only slow
may still write a last batch into the old one.
"""

import csv
import io
import logging
import os
import time
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import IO, Any

from django.conf import settings
from django.core.files.base import ContentFile, File
from django.db import transaction

from ispops import db, jobs, uploads
from ispops.errors import IllegalTransition, InvalidInput, Refusal
from ispops.parties import audit
from ispops.parties.models import Subscriber, User
from qualification import estimates, sheets
from qualification.models import BulkQualification

log = logging.getLogger(__name__)
State = BulkQualification.State
OPEN = (State.QUEUED, State.RUNNING)
MOST_ATTEMPTS = 5
FIRST_PAUSE = timedelta(seconds=5)
LONGEST_PAUSE = timedelta(minutes=2)
# A worker gives way to other work after so long.
TURN_SECONDS = 5.0
MOST_ROWS_A_BATCH = 2_000
# What is read of a file at once; values take many times as much memory as in the file.
_BATCH_BYTES = 2_000_000


class TooManyOpenFiles(Refusal):
    code = "too_many_open_files"
    title = "Too many files are waiting"


class _NotMine(Exception):
    """The file was cancelled, or taken over by another worker."""


@transaction.atomic
def submit_file(
    *,
    upload: IO[bytes],
    file_name: str,
    asker: str,
    created_by: User,
    subscriber_kind: str = Subscriber.Kind.CONSUMER,
    at: datetime,
) -> BulkQualification:
    """Take a file of addresses that is to be qualified in the background (figures 1 to 3, 7).

    It is CSV with a header, plain or packed as `ispops.uploads` reads it; `sheets` says which
    columns name a place. The answers are estimates at the moment of each row: nothing is promised,
    kept or asked of a provider. To order, one address is qualified by itself.

    Raises:
        UnusableFile: on the field `file`; says what is wrong and in which line.
        InvalidInput: `subscriber_kind` is unknown.
        TooManyOpenFiles: the caller must wait until one of its files is done.
    """
    from qualification.tasks import qualify_file

    if subscriber_kind not in Subscriber.Kind.values:
        raise InvalidInput("Choose consumer or business.", field="subscriber_kind")
    table, rows = uploads.receive(upload, _limits())
    try:
        if not _layout(table).names_places:
            raise uploads.UnusableFile(
                f"The header names no column to find a place by: {sheets.WANTED}.",
                field="file",
                line=1,
            )
        _refuse_when_busy(created_by, asker)
        bulk = BulkQualification(
            asker=asker,
            created_by=created_by,
            subscriber_kind=subscriber_kind,
            file_name=_plain(file_name),
            rows_total=rows,
            created_at=at,
            next_attempt_at=at,
        )
        table.file.seek(0)
        bulk.file.save(f"{bulk.public_id}.csv", File(table.file), save=False)
    finally:
        table.close()
    try:
        bulk.save(force_insert=True)
        _note(bulk, created_by, "bulk_qualification.submitted", at)
    except BaseException:
        bulk.file.delete(save=False)
        raise
    jobs.send_on_commit(qualify_file, bulk_id=str(bulk.pk))
    return bulk


@transaction.atomic
def cancel(*, bulk: BulkQualification, actor: User, at: datetime) -> BulkQualification:
    """Stop a file at once; what was answered until now stays and can be fetched.

    Repeating it changes nothing.

    Raises:
        IllegalTransition: it is over already.
    """
    row = db.lock(BulkQualification, bulk.pk)
    if row.state == State.CANCELLED:
        return row
    if row.state not in OPEN:
        raise IllegalTransition(f"The file is {row.get_state_display().lower()} already.")
    row.state = State.CANCELLED
    _close(row, at)
    _note(row, actor, "bulk_qualification.cancelled", at)
    return row


def qualify_next(*, bulk_id: Any = None, at: datetime) -> bool:
    """Answer rows of a file that is due, the given one or the oldest, for one turn.

    Returns False when there is none. A file that is not done by the end of the turn is due again
    at once, behind those that wait.
    """
    rows = BulkQualification.objects.filter(state__in=OPEN)
    if bulk_id is not None:
        rows = rows.filter(pk=bulk_id)
    claimed = jobs.claim(rows, at=at, lease=settings.TASK_LEASE)
    if not claimed:
        return False
    turn = _Turn(claimed[0], at)
    try:
        turn.run()
    except _NotMine:
        log.warning("file %s was taken from its worker", turn.row.public_id)
    return True


class _Turn:
    """What one worker does of one file until it gives way."""

    def __init__(self, row: BulkQualification, at: datetime) -> None:
        self.row = row
        self._at = at
        self._started = time.monotonic()
        self._outcomes = Counter(row.outcomes)
        self._estimates = estimates.kept_for(row.subscriber_kind)

    @property
    def _now(self) -> datetime:
        return self._at + timedelta(seconds=time.monotonic() - self._started)

    def run(self) -> None:
        """Answer rows until the turn or the file is over, and say in the row how it stands then.

        Raises:
            _NotMine: another worker has the file, or nobody any more.
        """
        try:
            self._work()
        except _NotMine:
            raise
        except Exception as fault:
            log.exception("file %s stopped at row %d", self.row.public_id, self.row.rows_done)
            self._record_fault(fault)

    def _work(self) -> None:
        if self.row.attempts > MOST_ATTEMPTS:
            self._leave(state=State.FAILED, error=self._lost("every worker that took it was lost"))
            return
        with self.row.file.open("rb") as source:
            table = uploads.Table(source, _limits())
            layout = _layout(table)
            self._prepare_result(layout)
            with self.row.result.storage.open(str(self.row.result), "r+b") as result:
                is_done = self._answer(table, layout, result)
        if is_done:
            self._leave(state=State.COMPLETED)
        else:
            self._leave(next_attempt_at=self._now, attempts=0)

    def _prepare_result(self, layout: sheets.Layout) -> None:
        """Begin the file of answers, or copy what is done of one that a lost worker wrote."""
        row, old = self.row, str(self.row.result)
        if old and row.attempts == 1:
            return
        if old:
            with row.result.storage.open(old) as before:
                begun = before.read(row.bytes_written)
        else:
            begun = _as_csv([layout.header])
        if len(begun) < row.bytes_written:
            raise FileNotFoundError(old)
        row.result.save(f"{row.public_id}-result.csv", ContentFile(begun), save=False)
        try:
            self._record(state=State.RUNNING, result=row.result.name, bytes_written=len(begun))
        except _NotMine:
            row.result.delete(save=False)
            raise
        if old:
            row.result.storage.delete(old)

    def _answer(self, table: uploads.Table, layout: sheets.Layout, result: IO[bytes]) -> bool:
        """Answer batches until the turn is over; True when there are no more rows."""
        self._estimates.begin(self._now)
        rows = table.rows(self.row.bytes_read or None)
        waiting: list[tuple[int, list[str]]] = []
        size = MOST_ROWS_A_BATCH
        while True:
            begin = self.row.bytes_read
            for row in islice(rows, max(0, size - len(waiting))):
                waiting.append(row)
                if row[0] - begin > _BATCH_BYTES:
                    break
            if not waiting:
                return True
            done, written = self._answers(layout, [values for _, values in waiting[:size]])
            self._append(result, written, rows=done, end=waiting[done - 1][0])
            # What was left over took too long: it is not looked at again with all that follows.
            size = min(MOST_ROWS_A_BATCH, 2 * done)
            waiting = waiting[done:]
            if time.monotonic() - self._started > TURN_SECONDS:
                return False

    def _answers(self, layout: sheets.Layout, batch: Sequence[list[str]]) -> tuple[int, bytes]:
        """Answer the first rows of some; returns how many, and what is to be written for them."""
        questions = [layout.question(values) for values in batch]
        answers = self._estimates.answer(questions, self._now)
        self._outcomes.update(answer[0] for answer in answers)
        return len(answers), _as_csv(
            [
                uploads.harmless_row([*layout.carry(values), *answer])
                for values, answer in zip(batch, answers, strict=False)
            ]
        )

    def _append(self, result: IO[bytes], written: bytes, *, rows: int, end: int) -> None:
        """Write answers and make them durable; only then record that their rows are done."""
        result.seek(self.row.bytes_written)
        result.truncate()
        result.write(written)
        result.flush()
        os.fsync(result.fileno())
        self._record(
            rows_done=self.row.rows_done + rows,
            bytes_read=end,
            bytes_written=self.row.bytes_written + len(written),
            outcomes=dict(self._outcomes),
        )

    def _record(self, **facts: Any) -> None:
        """Write to the row and renew the lease, if it is still this worker's.

        Raises:
            _NotMine: it is not; nothing is written.
        """
        facts = {"leased_until": self._now + settings.TASK_LEASE} | facts
        mine = BulkQualification.objects.filter(
            pk=self.row.pk, state__in=OPEN, leased_until=self.row.leased_until
        )
        if not mine.update(**facts):
            raise _NotMine
        for name, value in facts.items():
            setattr(self.row, name, value)

    def _leave(self, **facts: Any) -> None:
        """Give the lease back, and with it the file or the fault."""
        if facts.get("state"):
            facts |= {"finished_at": self._now, "next_attempt_at": None}
        self._record(leased_until=None, **facts)

    def _record_fault(self, fault: Exception) -> None:
        """Try again later, or give up on the file and say where it stopped."""
        if isinstance(fault, FileNotFoundError):
            self._leave(state=State.FAILED, error=self._lost("its file is gone"))
        elif self.row.attempts >= MOST_ATTEMPTS:
            self._leave(state=State.FAILED, error=self._lost("there is a fault on our side"))
        else:
            pause = jobs.backoff(self.row.attempts, base=FIRST_PAUSE, most=LONGEST_PAUSE)
            self._leave(next_attempt_at=self._now + pause)

    def _lost(self, why: str) -> str:
        return (
            f"It stopped after {self.row.rows_done:,} of {self.row.rows_total:,} rows: {why}. "
            "What is done can be fetched; send the rest again."
        )


def _limits() -> uploads.Limits:
    return uploads.Limits(
        sent_bytes=settings.UPLOAD_MOST_BYTES,
        unpacked_bytes=settings.UNPACKED_MOST_BYTES,
        rows=settings.BULK_MOST_ROWS,
    )


def _layout(table: uploads.Table) -> sheets.Layout:
    return sheets.layout_of(table.columns, table.find)


def _refuse_when_busy(caller: User, asker: str) -> None:
    """Count what is open of an asker, one submission at a time."""
    db.lock(User, caller.pk)
    waiting = BulkQualification.objects.filter(asker=asker, state__in=OPEN).count()
    if waiting >= settings.BULK_MOST_OPEN:
        raise TooManyOpenFiles(
            f"{waiting} of your files are not done yet. Wait for one of them, or cancel it."
        )


def _close(row: BulkQualification, at: datetime) -> None:
    row.finished_at = at
    row.next_attempt_at = row.leased_until = None
    row.save(update_fields=["state", "finished_at", "next_attempt_at", "leased_until"])


def _note(bulk: BulkQualification, actor: User, action: str, at: datetime) -> None:
    audit.record(
        actor=actor,
        action=action,
        subject=bulk.public_id,
        at=at,
        file_name=bulk.file_name,
        rows_total=bulk.rows_total,
        rows_done=bulk.rows_done,
    )


def _plain(file_name: str) -> str:
    """Return the name of a file as people see it, without what only machines do."""
    name = "".join(letter for letter in file_name if letter.isprintable()).strip()
    return name[-200:] or "addresses.csv"


def _as_csv(rows: Sequence[Sequence[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()
