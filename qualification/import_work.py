"""What a worker does of a list: check it, apply it, or take it back; see `imports`.

The row is the queue (`ispops.jobs`). Each step is one transaction, while a pulse on a connection of
its own renews the lease and tells people how far it is. A worker that dies has done nothing, and
the next one begins the step again; one that was only slow finds at the end that the lease is not
its own any more, and its transaction is undone.
"""

import csv
import io
import logging
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from tempfile import TemporaryFile
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.files.base import File
from django.db import IntegrityError, transaction
from django.utils import timezone

from ispops import jobs, uploads
from ispops.errors import InvalidInput
from ispops.models import Event
from qualification import coverage, coverage_lists, imports, lists, place_lists, previews
from qualification.coverage_lists import CoveragePlan, PlanOutdated
from qualification.imports import State
from qualification.models import CoverageImport
from qualification.place_lists import PlacePlan
from qualification.place_rows import PlaceRows

log = logging.getLogger(__name__)
MOST_ATTEMPTS = 5
FIRST_PAUSE = timedelta(seconds=5)
LONGEST_PAUSE = timedelta(minutes=2)
SAMPLES = 10
_OUTDATED = (
    "The coverage has changed since the list was checked, so it was checked again. Look at the "
    "numbers before you apply it."
)
# Where a step that cannot be done leaves the list.
_AFTER_FAULT = {
    State.QUEUED: State.FAILED,
    State.CHECKING: State.FAILED,
    State.APPLYING: State.PREVIEWED,
    State.ROLLING_BACK: State.APPLIED,
}


class _NotMine(Exception):
    """The list was discarded, or taken over by another worker."""


def work_on(*, import_id: UUID | None = None, at: datetime) -> bool:
    """Do the next step of a list that is due, the given one or the oldest; False if none is."""
    rows = CoverageImport.objects.select_related("provider").filter(state__in=imports.WORKING)
    if import_id is not None:
        rows = rows.filter(pk=import_id)
    claimed = jobs.claim(rows, at=at, lease=settings.TASK_LEASE)
    if not claimed:
        return False
    row = claimed[0]
    try:
        _work(row, at)
    except _NotMine:
        log.warning("list %s was taken from its worker", row.public_id)
    return True


def _work(row: CoverageImport, at: datetime) -> None:
    """Do the step, and say in the row how it stands then; a fault is tried again later."""
    if row.attempts > MOST_ATTEMPTS:
        _give_up(row, "every worker that took it was lost")
        return
    steps: dict[str, Callable[[CoverageImport, datetime], None]] = {
        State.QUEUED: _check,
        State.CHECKING: _check,
        State.APPLYING: _apply,
        State.ROLLING_BACK: _roll_back,
    }
    try:
        steps[row.state](row, at)
    except _NotMine:
        raise
    except InvalidInput as refusal:
        _leave(row, state=State.FAILED, error=refusal.detail[:300], finished_at=at)
    except FileNotFoundError:
        log.exception("list %s has no file", row.public_id)
        _give_up(row, "its file is gone")
    except Exception:
        log.exception("list %s stopped in a fault", row.public_id)
        if row.attempts >= MOST_ATTEMPTS:
            _give_up(row, "there is a fault on our side")
        else:
            pause = jobs.backoff(row.attempts, base=FIRST_PAUSE, most=LONGEST_PAUSE)
            _record(row, leased_until=None, next_attempt_at=timezone.now() + pause)


# --- Checking -------------------------------------------------------------------------------------


def _check(row: CoverageImport, at: datetime) -> None:
    """Stage the rows, work out what they come to, and write the file of those left out."""
    if row.state == State.QUEUED:
        _record(row, state=State.CHECKING)
    before, rejects = str(row.rejects), ""
    try:
        with transaction.atomic():
            with jobs.pulse(row, lease=settings.TASK_LEASE) as pulse:
                facts = _checked(row, pulse, at)
            rejects = facts["rejects"]
            _leave(row, state=State.PREVIEWED, rows_done=facts["rows_total"], **facts)
    except BaseException:
        if rejects:
            row.rejects.storage.delete(rejects)
        raise
    if before:
        row.rejects.storage.delete(before)


def _checked(row: CoverageImport, pulse: jobs.Pulse, at: datetime) -> dict[str, Any]:
    """Return what the row is to say of a list that was checked."""
    plan = imports.plan_of(row)
    with row.file.open("rb") as source:
        table = imports.table_of(row, source)
        reader = imports.reader_of(row, table.columns)
        lines = (reader.line(table.line, values) for _, values in table.rows())
        plan.stage(_told(coverage.pieces(lines), pulse, row.rows_total or 0))
        basis = 0
        if isinstance(plan, PlacePlan):
            plan.work_out(said=reader.said)
        elif not isinstance(reader, PlaceRows):
            lists.hold(coverage_lists.holding(plan.provider_id))
            basis = _last_change(row)
            plan.work_out(
                at=at,
                said=reader.said,
                places=reader.places,
                use_cells=row.use_cells,
                is_complete=row.is_complete,
            )
        plan.drop_rows()
        counts, summary = previews.preview(plan, reader)
        rejects = ""
        if counts["rejected"]:
            rejects, summary["samples"]["rejected"] = _write_rejects(row, plan, table)
    return {**counts, "summary": summary, "rejects": rejects, "basis": basis}


def _told(texts: Iterable[str], pulse: jobs.Pulse, most: int) -> Iterator[str]:
    """Tell how far the reading is, piece by piece."""
    for number, text in enumerate(texts):
        done = number * coverage.LINES_A_PIECE
        if done > imports.limits().rows:
            raise uploads.UnusableFile(
                "The file has too many rows. Send it in parts.", field="file"
            )
        pulse.facts = {"rows_done": min(done, most)}
        yield text


def _write_rejects(
    row: CoverageImport, plan: CoveragePlan | PlacePlan, table: uploads.Table
) -> tuple[str, list[dict[str, Any]]]:
    """Write the rows that are left out, each with its line, the field and the reason.

    Returns the name of the file, and the first few of them.
    """
    samples: list[dict[str, Any]] = []
    with TemporaryFile() as kept:
        text = io.TextIOWrapper(kept, encoding="utf-8", newline="", write_through=True)
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(uploads.harmless_row(["line", "field", "reason", *table.columns]))
        for line, field, reason, values in _refused_rows(plan, table):
            writer.writerow(uploads.harmless_row([str(line), field, reason, *values]))
            if len(samples) < SAMPLES:
                shown = ",".join(values)[:200]
                samples.append({"line": line, "field": field, "reason": reason, "row": shown})
        text.flush()
        kept.seek(0)
        name = row.rejects.storage.save(
            row.rejects.field.generate_filename(row, f"{row.public_id}-rejected.csv"), File(kept)
        )
        text.detach()
    return name, samples


def _refused_rows(
    plan: CoveragePlan | PlacePlan, table: uploads.Table
) -> Iterator[tuple[int, str, str, list[str]]]:
    """Yield the refused rows beside what the file has of them; both come in the order of lines."""
    rows = table.rows()
    for line, field, reason in plan.refused():
        for _, values in rows:
            if table.line == line:
                yield line, field, reason, values
                break


def _last_change(row: CoverageImport) -> int:
    """Return the number of the last event that told of a change of the provider's coverage."""
    code = row.provider.code if row.provider else ""
    told = Event.objects.filter(subject=code, kind=coverage.CHANGED).order_by("-pk")
    return told.values_list("pk", flat=True).first() or 0


# --- Applying, and taking back --------------------------------------------------------------------


def _apply(row: CoverageImport, at: datetime) -> None:
    """Write what the list comes to; or check it again where that is not so any more."""
    plan = imports.plan_of(row)
    try:
        with transaction.atomic():
            with jobs.pulse(row, lease=settings.TASK_LEASE) as pulse:
                _apply_plan(row, plan, pulse, at)
            changes = imports.work_of(row)
            facts = {"applied_at": at, "finished_at": at, "rows_done": row.rows_total}
            _leave(row, state=State.APPLIED, **facts)
            if row.provider and changes:
                coverage.publish_change(row.provider, at=at, import_id=row.public_id)
    except (PlanOutdated, IntegrityError):
        log.warning("list %s is outdated and is checked again", row.public_id, exc_info=True)
        now = timezone.now()
        _record(
            row, state=State.QUEUED, leased_until=None, next_attempt_at=now, attempts=0,
            rows_done=0, error=_OUTDATED,
        )  # fmt: skip
        work_on(import_id=row.pk, at=now)


def _apply_plan(
    row: CoverageImport, plan: CoveragePlan | PlacePlan, pulse: jobs.Pulse, at: datetime
) -> None:
    """Apply a plan, if it is still true.

    Raises:
        PlanOutdated: it is not, or a crash of the database has emptied it.
    """
    done, changes = 0, imports.work_of(row)

    def progress(more: int) -> None:
        nonlocal done
        done += more
        pulse.facts = {"rows_done": min(done, changes)}

    if not plan.is_whole(changes):
        raise PlanOutdated(_OUTDATED)
    if isinstance(plan, PlacePlan):
        # Nothing is taken away, so what people asked for meanwhile needs no second look.
        lists.hold(place_lists.HOLDING)
        plan.apply(at=at, progress=progress)
    else:
        lists.hold(coverage_lists.holding(plan.provider_id))
        if row.basis != _last_change(row):
            raise PlanOutdated(_OUTDATED)
        plan.apply(at=at, import_id=row.pk, progress=progress)
    plan.drop()


def _roll_back(row: CoverageImport, at: datetime) -> None:
    """Take an applied list back, and keep what came of it."""
    if row.provider is None:
        raise InvalidInput("A list of places is not taken back.", field="format")
    with transaction.atomic():
        with jobs.pulse(row, lease=settings.TASK_LEASE):
            lists.hold(coverage_lists.holding(row.provider.pk))
            came = coverage_lists.take_back(import_id=row.pk, at=at)
        summary = {**row.summary, "rolled_back": came}
        _leave(row, state=State.ROLLED_BACK, finished_at=at, summary=summary)
        if came["ended"] or came["back"]:
            coverage.publish_change(row.provider, at=at, import_id=row.public_id)


# --- How a list stands ----------------------------------------------------------------------------


def _record(row: CoverageImport, **facts: Any) -> None:
    """Write to the row, if it is still this worker's.

    Raises:
        _NotMine: it is not; nothing is written.
    """
    mine = CoverageImport.objects.filter(pk=row.pk, state=row.state, leased_until=row.leased_until)
    if not mine.update(**facts):
        raise _NotMine
    for name, value in facts.items():
        setattr(row, name, value)


def _leave(row: CoverageImport, **facts: Any) -> None:
    """Give the lease back with the outcome: there is nothing more to do for a worker."""
    _record(row, leased_until=None, next_attempt_at=None, **facts)


def _give_up(row: CoverageImport, why: str) -> None:
    state = _AFTER_FAULT[State(row.state)]
    words = f"{row.get_state_display()}: this did not succeed, because {why}. Nothing was changed."
    finished = timezone.now() if state == State.FAILED else row.finished_at
    _leave(row, state=state, error=words, finished_at=finished)
