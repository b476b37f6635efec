"""Verbs for files of blocks: sent, tried out by workers, and then made as they were tried.

`ispops.filework` says how workers read. A trial changes nothing and says of every row what making
it comes to. Making it writes the good rows in batches, each with how far it is in one transaction:
who goes on after a crash begins at a row that was not made.
"""

import csv
import io
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice
from tempfile import TemporaryFile
from typing import IO, Any

from django.conf import settings
from django.core.files.base import File
from django.db import transaction

from ipam import importing
from ipam.grounds import Database, Ground, Trial
from ipam.models import BlockImport
from ispops import db, filework, jobs
from ispops.errors import Refusal
from ispops.parties import audit
from ispops.parties.models import User

State = BlockImport.State
# Those that are made hold the blocks that they are cut from until their batch is over.
ROWS_A_BATCH = {True: 5_000, False: 100}
KEPT_FOR = timedelta(days=30)
_COUNTED = ("made", "already", "refused")


class NothingToMake(Refusal):
    """The trial is not over, was not completed, or found no row that can be made."""

    code = "nothing_to_make"
    title = "There is nothing to make"


@transaction.atomic
def submit(*, upload: IO[bytes], file_name: str, actor: User, at: datetime) -> BlockImport:
    """Take a file of blocks, which workers try out: CSV, or what NetBox's API gives out.

    Raises:
        UnusableFile: it is too large, damaged or no text.
        InvalidInput: it is neither, or has too many rows.
    """
    row = BlockImport(
        file_name=filework.plain_name(file_name, "blocks.csv"), created_by=actor, created_at=at,
        next_attempt_at=at,
    )  # fmt: skip
    with TemporaryFile() as kept:
        row.rows_total = importing.keep(upload, kept)
        kept.seek(0)
        _save(row, kept)
    _note("tried", row, actor, at)
    return row


@transaction.atomic
def make(*, trial: BlockImport, actor: User, at: datetime) -> BlockImport:
    """Have workers make what a trial found good. Asking twice makes it once.

    Raises:
        NothingToMake: the trial is not completed, or no row of it can be made, or its file was
            deleted meanwhile.
    """
    tried = db.lock(BlockImport, trial.pk)
    if making := BlockImport.objects.filter(trial=tried).first():
        return making
    if not tried.is_trial or tried.state != State.COMPLETED or not tried.made:
        raise NothingToMake("Only a completed trial with rows that can be made is made.")
    row = BlockImport(
        trial=tried, file_name=tried.file_name, rows_total=tried.rows_total, created_by=actor,
        created_at=at, next_attempt_at=at,
    )  # fmt: skip
    try:
        with tried.file.open("rb") as kept:
            _save(row, kept)
    except (FileNotFoundError, ValueError) as error:
        raise NothingToMake("The file was deleted meanwhile. Send it again.") from error
    _note("imported", row, actor, at, made=tried.made, already=tried.already, refused=tried.refused)
    return row


@transaction.atomic
def cancel(*, row: BlockImport, actor: User, at: datetime) -> BlockImport:
    """Stop a file at once; what was made until now stays. Repeating it changes nothing.

    Raises:
        IllegalTransition: it is over already.
    """
    held = db.lock(BlockImport, row.pk)
    if filework.cancel(held, at=at):
        _note("import_cancelled", held, actor, at, rows_done=held.rows_done)
    return held


def read_next(*, import_id: Any = None, at: datetime) -> bool:
    """Do rows of a file that is due, the given one or the oldest, for one turn.

    Returns False when there is none. A file that is not done by the end of the turn is due again.
    """
    rows = BlockImport.objects.filter(state__in=filework.OPEN)
    if import_id is not None:
        rows = rows.filter(pk=import_id)
    claimed = jobs.claim(rows, at=at, lease=settings.TASK_LEASE)
    if not claimed:
        return False
    _Turn(claimed[0], at).run()
    return True


def delete_old(*, at: datetime) -> int:
    """Delete the files of what is over for long; the rows stay. Returns of how many."""
    over = BlockImport.objects.exclude(state__in=filework.OPEN).exclude(file="", results="")
    old = list(over.filter(finished_at__lt=at - KEPT_FOR))
    for row in old:
        for field in (row.file, row.results):
            if field:
                field.storage.delete(str(field))
        BlockImport.objects.filter(pk=row.pk).update(file="", results="")
    return len(old)


def results_of(row: BlockImport, *, outcome: str = "") -> Iterator[list[str]]:
    """Yield what became of the rows so far, those of one outcome or all; the columns first.

    Raises:
        NotFound: nothing is done yet, or it was deleted since.
    """
    pieces = filework.written(row, row.results)
    yield list(importing.RESULT_COLUMNS)
    lines = csv.reader(_lines(pieces))
    next(lines, None)
    for values in lines:
        if not outcome or values[2] == outcome:
            yield values


def _lines(pieces: Iterator[bytes]) -> Iterator[str]:
    left = b""
    for piece in pieces:
        *whole, left = (left + piece).split(b"\n")
        for line in whole:
            yield line.decode()
    if left:
        yield left.decode()


class _Turn(filework.Turn):
    """What one worker does of one file until it gives way."""

    beside = "results"
    advice = "What was made stays. Send the file again: what is there already stays as it is."

    @property
    def is_over(self) -> bool:
        """A trial goes through: who took it over would have to fill the memory again."""
        return not self.row.is_trial and super().is_over

    def begin(self, source: IO[bytes]) -> bytes:
        self._ground: Ground = (
            Trial(self.now) if self.row.is_trial else Database(self.row.created_by, self.now)
        )
        if self.row.is_trial:
            self._try_again_what_was_tried(source)
        self._rows = importing.kept_rows(source, self.row.bytes_read)
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerow(importing.RESULT_COLUMNS)
        return text.getvalue().encode()

    def do_rows(self, beside: IO[bytes]) -> bool:
        while batch := list(islice(self._rows, ROWS_A_BATCH[self.row.is_trial])):
            with transaction.atomic():
                results = [importing.take(row, self._ground) for _, row in batch]
                counts = Counter(result.outcome for result in results)
                self.append(
                    beside,
                    importing.as_csv(results),
                    rows=len(batch),
                    end=batch[-1][0],
                    **{name: getattr(self.row, name) + counts[name] for name in _COUNTED},
                )
            if self.is_over:
                return False
        return True

    def _try_again_what_was_tried(self, source: IO[bytes]) -> None:
        """Bring the memory to where the turn before left it."""
        for end, row in importing.kept_rows(source, 0):
            if end > self.row.bytes_read:
                return
            importing.take(row, self._ground)


def _save(row: BlockImport, kept: IO[bytes]) -> None:
    """Write the file and its row, and send it to the workers; without the row, no file stays."""
    row.file.save(f"{row.public_id}.csv", File(kept), save=False)
    try:
        with transaction.atomic():
            row.save(force_insert=True)
    except BaseException:
        row.file.delete(save=False)
        raise
    from ipam.tasks import read_block_import

    jobs.send_on_commit(read_block_import, import_id=str(row.pk))


def _note(what: str, row: BlockImport, actor: User, at: datetime, **told: Any) -> None:
    audit.record(
        actor=actor, action=f"blocks.{what}", subject=row.public_id, at=at,
        file_name=row.file_name, rows_total=row.rows_total, **told,
    )  # fmt: skip
