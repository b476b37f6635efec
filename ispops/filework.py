"""A file that workers read row by row, turn after turn, while they write another one beside it.

The row of the file is the queue (`ispops.jobs`). A worker takes a lease, does batch after batch,
and after each one records in one update how far it read, how far it wrote, and a new lease; so what
was done is kept when it dies, and the next worker goes on at that row. The end of the lease is also
the worker's token: one that was given up on, or whose file was cancelled, finds another end in the
row and stops. Each such successor writes into a copy of its own, because a worker that was only
slow may still write a last batch into the old one.

The model is a `LeasedRow` with the states `queued`, `running`, `completed`, `failed` and
`cancelled`, and the fields `file`, `rows_total`, `rows_done`, `bytes_read`, `bytes_written`,
`error` and `finished_at`.
"""

import logging
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import IO, Any

from django.conf import settings
from django.core.files.base import ContentFile

from ispops import jobs
from ispops.errors import IllegalTransition, NotFound

log = logging.getLogger(__name__)
OPEN = ("queued", "running")
CANCELLED = "cancelled"
MOST_ATTEMPTS = 5
FIRST_PAUSE = timedelta(seconds=5)
LONGEST_PAUSE = timedelta(minutes=2)
# A worker gives way to other work after so long.
TURN_SECONDS = 5.0


class NotMine(Exception):
    """The file was cancelled, or taken over by another worker."""


class Turn(ABC):
    """What one worker does of one claimed file until it gives way.

    `beside` names the field of the file that is written, and `advice` ends the words for whoever
    sent a file that cannot be gone on with.
    """

    beside: str
    advice: str

    def __init__(self, row: Any, at: datetime) -> None:
        self.row = row
        self._at = at
        self._started = time.monotonic()

    @property
    def now(self) -> datetime:
        return self._at + timedelta(seconds=time.monotonic() - self._started)

    @property
    def is_over(self) -> bool:
        return time.monotonic() - self._started > TURN_SECONDS

    @abstractmethod
    def begin(self, source: IO[bytes]) -> bytes:
        """Get ready to read; returns what the file that is written begins with."""

    @abstractmethod
    def do_rows(self, beside: IO[bytes]) -> bool:
        """Do batches until the turn is over; True when there are no more rows."""

    def run(self) -> None:
        """Do rows until the turn or the file is over, and say in the row how it stands then."""
        try:
            self._work_or_record_fault()
        except NotMine:
            log.warning("file %s was taken from its worker", self.row.public_id)

    def append(
        self, beside: IO[bytes], written: bytes, *, rows: int, end: int, **facts: Any
    ) -> None:
        """Write and make it durable; only then record that these rows are done.

        Raises:
            NotMine: another worker has the file, or nobody any more; nothing is recorded.
        """
        if written:
            beside.seek(self.row.bytes_written)
            beside.truncate()
            beside.write(written)
            beside.flush()
            os.fsync(beside.fileno())
        self._record(
            rows_done=self.row.rows_done + rows,
            bytes_read=end,
            bytes_written=self.row.bytes_written + len(written),
            **facts,
        )

    def _work_or_record_fault(self) -> None:
        try:
            self._work()
        except NotMine:
            raise
        except Exception as fault:
            log.exception("file %s stopped at row %d", self.row.public_id, self.row.rows_done)
            self._record_fault(fault)

    def _work(self) -> None:
        if self.row.attempts > MOST_ATTEMPTS:
            self._leave(state="failed", error=self._lost("every worker that took it was lost"))
            return
        with self.row.file.open("rb") as source:
            self._prepare(self.begin(source))
            written = getattr(self.row, self.beside)
            with written.storage.open(str(written), "r+b") as beside:
                is_done = self.do_rows(beside)
        if is_done:
            self._leave(state="completed")
        else:
            self._leave(next_attempt_at=self.now, attempts=0)

    def _prepare(self, header: bytes) -> None:
        """Begin the file that is written, or copy what is done of one that a lost worker wrote."""
        row, field = self.row, getattr(self.row, self.beside)
        old = str(field)
        if old and row.attempts == 1:
            return
        begun = header
        if old:
            with field.storage.open(old) as before:
                begun = before.read(row.bytes_written)
        if len(begun) < row.bytes_written:
            raise FileNotFoundError(old)
        field.save(f"{row.public_id}-{self.beside}.csv", ContentFile(begun), save=False)
        try:
            self._record(state="running", bytes_written=len(begun), **{self.beside: field.name})
        except NotMine:
            field.delete(save=False)
            raise
        if old:
            field.storage.delete(old)

    def _record(self, **facts: Any) -> None:
        """Write to the row and renew the lease, if it is still this worker's.

        Raises:
            NotMine: it is not; nothing is written.
        """
        facts = {"leased_until": self.now + settings.TASK_LEASE} | facts
        mine = type(self.row)._default_manager.filter(
            pk=self.row.pk, state__in=OPEN, leased_until=self.row.leased_until
        )
        if not mine.update(**facts):
            raise NotMine
        for name, value in facts.items():
            setattr(self.row, name, value)

    def _leave(self, **facts: Any) -> None:
        """Give the lease back, and with it the file or the fault."""
        if facts.get("state"):
            facts |= {"finished_at": self.now, "next_attempt_at": None}
        self._record(leased_until=None, **facts)

    def _record_fault(self, fault: Exception) -> None:
        """Try again later, or give up on the file and say where it stopped."""
        if isinstance(fault, FileNotFoundError):
            self._leave(state="failed", error=self._lost("its file is gone"))
        elif self.row.attempts >= MOST_ATTEMPTS:
            self._leave(state="failed", error=self._lost("there is a fault on our side"))
        else:
            pause = jobs.backoff(self.row.attempts, base=FIRST_PAUSE, most=LONGEST_PAUSE)
            self._leave(next_attempt_at=self.now + pause)

    def _lost(self, why: str) -> str:
        return (
            f"It stopped after {self.row.rows_done:,} of {self.row.rows_total:,} rows: {why}. "
            f"{self.advice}"
        )


def cancel(row: Any, *, at: datetime) -> bool:
    """Stop a locked row of a file, which no worker goes on with; False when it was before.

    Raises:
        IllegalTransition: it is over already.
    """
    if row.state == CANCELLED:
        return False
    if row.state not in OPEN:
        raise IllegalTransition(f"The file is {row.get_state_display().lower()} already.")
    row.state, row.finished_at = CANCELLED, at
    row.next_attempt_at = row.leased_until = None
    row.save(update_fields=["state", "finished_at", "next_attempt_at", "leased_until"])
    return True


def plain_name(file_name: str, otherwise: str) -> str:
    """Return the name of a file as people see it, without what only machines do."""
    name = "".join(letter for letter in file_name if letter.isprintable()).strip()
    return name[-200:] or otherwise


def written(row: Any, field: Any) -> Iterator[bytes]:
    """Yield what is done of the file that is written, whole rows only, also while it grows.

    Raises:
        NotFound: nothing is done yet, or it was deleted since.
    """
    if not row.bytes_written:
        raise NotFound("Nothing is done yet. Look again in a moment.")
    if not field:
        raise NotFound("This was kept for a while and is deleted now. Send the file again.")
    return _first_bytes(field.storage.open(str(field)), row.bytes_written)


def _first_bytes(file: IO[bytes], count: int) -> Iterator[bytes]:
    with file:
        while count and (piece := file.read(min(count, 1 << 16))):
            count -= len(piece)
            yield piece
