"""Verbs for files of addresses: a file comes in, workers qualify its rows, a file goes out.

`ispops.filework` says how they do it.
"""

import csv
import io
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from itertools import islice
from typing import IO, Any

from django.conf import settings
from django.core.files.base import File
from django.db import transaction

from ispops import db, filework, jobs, uploads
from ispops.errors import InvalidInput, Refusal
from ispops.parties import audit
from ispops.parties.models import Subscriber, User
from qualification import estimates, sheets
from qualification.models import BulkQualification

State = BulkQualification.State
OPEN = filework.OPEN
MOST_ROWS_A_BATCH = 2_000
# What is read of a file at once; values take many times as much memory as in the file.
_BATCH_BYTES = 2_000_000


class TooManyOpenFiles(Refusal):
    code = "too_many_open_files"
    title = "Too many files are waiting"


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
            file_name=filework.plain_name(file_name, "addresses.csv"),
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
    if filework.cancel(row, at=at):
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
    _Turn(claimed[0], at).run()
    return True


class _Turn(filework.Turn):
    """What one worker answers of one file until it gives way."""

    beside = "result"
    advice = "What is done can be fetched; send the rest again."

    def __init__(self, row: BulkQualification, at: datetime) -> None:
        super().__init__(row, at)
        self._outcomes = Counter(row.outcomes)
        self._estimates = estimates.kept_for(row.subscriber_kind)

    def begin(self, source: IO[bytes]) -> bytes:
        self._table = uploads.Table(source, _limits())
        self._layout = _layout(self._table)
        return _as_csv([self._layout.header])

    def do_rows(self, beside: IO[bytes]) -> bool:
        self._estimates.begin(self.now)
        rows = self._table.rows(self.row.bytes_read or None)
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
            done, written = self._answers([values for _, values in waiting[:size]])
            end = waiting[done - 1][0]
            self.append(beside, written, rows=done, end=end, outcomes=dict(self._outcomes))
            # What was left over took too long: it is not looked at again with all that follows.
            size = min(MOST_ROWS_A_BATCH, 2 * done)
            waiting = waiting[done:]
            if self.is_over:
                return False

    def _answers(self, batch: Sequence[list[str]]) -> tuple[int, bytes]:
        """Answer the first rows of some; returns how many, and what is to be written for them."""
        questions = [self._layout.question(values) for values in batch]
        answers = self._estimates.answer(questions, self.now)
        self._outcomes.update(answer[0] for answer in answers)
        return len(answers), _as_csv(
            [
                uploads.harmless_row([*self._layout.carry(values), *answer])
                for values, answer in zip(batch, answers, strict=False)
            ]
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


def _as_csv(rows: Sequence[Sequence[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()
