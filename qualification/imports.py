"""Verbs for lists that come as files: sent, looked at, then applied or thrown away, or taken back.

A list is checked in the background (`import_work`) and changes nothing until somebody has seen
what it comes to and applies it. Applying is one transaction: all of it, or nothing.
"""

from collections.abc import Sequence
from datetime import datetime
from tempfile import TemporaryFile
from typing import IO, Any
from uuid import UUID

from django.conf import settings
from django.core.files.base import File
from django.db import transaction

from ispops import db, filework, jobs, uploads
from ispops.db import uuid7
from ispops.errors import IllegalTransition, InvalidInput
from ispops.parties import audit
from ispops.parties.models import Partner, User
from qualification import countries, coverage, coverage_rows
from qualification.coverage_lists import CoveragePlan
from qualification.coverage_rows import CoverageRows
from qualification.models import CoverageImport
from qualification.place_lists import PlacePlan
from qualification.place_rows import PlaceRows

State, Format = CoverageImport.State, CoverageImport.Format
# A worker has it, or is about to.
WORKING = (State.QUEUED, State.CHECKING, State.APPLYING, State.ROLLING_BACK)
_FCC: dict[str, Sequence[str]] = {
    Format.FCC_FILING: coverage_rows.FILING,
    Format.FCC_PUBLIC: coverage_rows.PUBLIC,
}
_MOST_ROWS = 20_000_000


@transaction.atomic
def submit_list(
    *,
    upload: IO[bytes],
    file_name: str,
    list_format: str,
    provider: Partner | None = None,
    is_complete: bool = False,
    use_cells: bool = False,
    actor: User | None,
    actor_name: str = "",
    at: datetime,
) -> CoverageImport:
    """Take a list that is to be checked in the background (figures 1 to 3, points 3 and 7).

    It is CSV, plain or packed as `ispops.uploads` reads it. `is_complete` says that the provider
    has nothing else with the technologies of the list. `use_cells` lets published rows whose
    location is not known here stand for their H3 cell.

    Raises:
        UnusableFile: on the field `file`; it cannot be read, and in which line.
        InvalidInput: a column is missing, or the choices do not fit the format.
    """
    row = CoverageImport(
        id=uuid7(),
        provider=provider,
        format=list_format,
        file_name=filework.plain_name(file_name, "list.csv"),
        is_complete=is_complete,
        use_cells=use_cells,
        created_by=actor,
        created_at=at,
        next_attempt_at=at,
    )
    _check_choices(row)
    with TemporaryFile() as kept:
        uploads.unpack(upload, kept, limits())
        table = table_of(row, kept)
        reader_of(row, table.columns)
        if next(table.rows(), None) is None:
            raise uploads.UnusableFile("The file has a header and no rows.", field="file")
        row.rows_total = _count_lines(kept, table.start)
        kept.seek(0)
        row.file.save(f"{row.public_id}.csv", File(kept), save=False)
    try:
        row.save(force_insert=True)
        _note(row, actor, "coverage_import.submitted", at, actor_name=actor_name)
    except BaseException:
        row.file.delete(save=False)
        raise
    _send(row)
    return row


@transaction.atomic
def apply_list(
    *, import_id: UUID, actor: User | None, actor_name: str = "", at: datetime
) -> CoverageImport:
    """Have a list applied as it was previewed; repeating it changes nothing.

    Where the coverage changes before a worker comes to it, the list is checked again instead, and
    has to be looked at again.

    Raises:
        IllegalTransition: there is no preview of it, or it was decided otherwise.
    """
    row = db.lock(CoverageImport, import_id)
    if row.state in (State.APPLYING, State.APPLIED):
        return row
    _require(row, State.PREVIEWED)
    _begin(row, State.APPLYING, at)
    _note(row, actor, "coverage_import.applied", at, actor_name=actor_name)
    return row


@transaction.atomic
def discard_list(*, import_id: UUID, actor: User | None, at: datetime) -> CoverageImport:
    """Throw away a list that was not applied; its file is kept. Repeating it changes nothing.

    Raises:
        IllegalTransition: it is applied, or being applied.
    """
    row = db.lock(CoverageImport, import_id)
    if row.state == State.DISCARDED:
        return row
    _require(row, State.QUEUED, State.CHECKING, State.PREVIEWED, State.FAILED)
    row.state, row.finished_at = State.DISCARDED, at
    row.next_attempt_at = row.leased_until = None
    row.save(update_fields=["state", "finished_at", "next_attempt_at", "leased_until"])
    plan_of(row).drop()
    _note(row, actor, "coverage_import.discarded", at)
    return row


@transaction.atomic
def roll_back_list(*, import_id: UUID, actor: User, reason: str, at: datetime) -> CoverageImport:
    """Have an applied list taken back: what it added ends, and what it ended begins again.

    Places that something else has changed since are left as they are, and counted. Repeating it
    changes nothing.

    Raises:
        IllegalTransition: it is not applied, or it is a list of places, which are never taken away.
    """
    row = db.lock(CoverageImport, import_id)
    if row.state in (State.ROLLING_BACK, State.ROLLED_BACK):
        return row
    _require(row, State.APPLIED)
    if row.format == Format.PREMISES:
        raise IllegalTransition(
            "Places are not taken away, because answers and coverage rest on them. Send a "
            "corrected list."
        )
    _begin(row, State.ROLLING_BACK, at)
    _note(row, actor, "coverage_import.rolled_back", at, reason=reason)
    return row


def work_of(row: CoverageImport) -> int:
    """Return how many rows the step has that a worker is at: all of them, or those that change."""
    if row.state in (State.APPLYING, State.ROLLING_BACK):
        return row.added + row.changed + row.removed
    return row.rows_total or 0


def limits() -> uploads.Limits:
    return uploads.Limits(
        sent_bytes=settings.UPLOAD_MOST_BYTES,
        unpacked_bytes=settings.UNPACKED_MOST_BYTES,
        rows=_MOST_ROWS,
    )


def table_of(row: CoverageImport, file: IO[bytes]) -> uploads.Table:
    """Return the table of an unpacked file; a filing may come without its header.

    Raises:
        UnusableFile: it has no first line, or one that cannot be a header.
    """
    unnamed = coverage_rows.FILING if row.format == Format.FCC_FILING else ()
    return uploads.Table(file, limits(), unnamed)


def reader_of(row: CoverageImport, columns: Sequence[str]) -> CoverageRows | PlaceRows:
    """Return what reads the rows of a list with these columns.

    Raises:
        InvalidInput: on the field `file`; a column is missing.
    """
    if row.format == Format.PREMISES:
        return PlaceRows(columns, country=countries.here(), new_id=uuid7)
    return coverage.coverage_reader(
        columns,
        fcc=_FCC.get(row.format, ()),
        fcc_provider=row.provider.fcc_provider_id if row.provider else "",
        use_cells=row.use_cells,
    )


def plan_of(row: CoverageImport) -> CoveragePlan | PlacePlan:
    """Return the tables in which a list waits to be decided on."""
    name = f"coverage_list_{row.pk.hex}"
    if row.provider_id is None:
        return PlacePlan(name)
    return CoveragePlan(name, provider_id=row.provider_id)


def _check_choices(row: CoverageImport) -> None:
    if row.format not in Format.values:
        raise InvalidInput("Choose what the list is.", field="format")
    if row.format == Format.PREMISES:
        if row.provider is not None or row.is_complete:
            raise InvalidInput("A list of places has no provider, and ends none.", field="format")
    elif row.provider is None or row.provider.kind != Partner.Kind.NETWORK_PROVIDER:
        raise InvalidInput("Choose the network whose coverage this is.", field="provider")
    if row.use_cells and row.format != Format.FCC_PUBLIC:
        raise InvalidInput("Only the published form names H3 cells.", field="use_cells")


def _count_lines(file: IO[bytes], start: int) -> int:
    """Count the lines from a byte on, which is about how many rows there are."""
    file.seek(start)
    count, last = 0, b"\n"
    while chunk := file.read(1 << 20):
        count, last = count + chunk.count(b"\n"), chunk[-1:]
    return count + (last != b"\n")


def _require(row: CoverageImport, *states: str) -> None:
    if row.state not in states:
        words = row.get_state_display()
        raise IllegalTransition(f"This is not possible any more: the list is “{words}”.")


def _begin(row: CoverageImport, state: str, at: datetime) -> None:
    """Give a list to the workers, for the next step."""
    row.state, row.rows_done = state, 0
    row.error, row.attempts, row.next_attempt_at, row.leased_until = "", 0, at, None
    row.save()
    _send(row)


def _send(row: CoverageImport) -> None:
    from qualification.tasks import import_list

    jobs.send_on_commit(import_list, import_id=str(row.pk))


def _note(
    row: CoverageImport,
    actor: User | None,
    action: str,
    at: datetime,
    *,
    actor_name: str = "",
    reason: str = "",
) -> None:
    facts: dict[str, Any] = {name: getattr(row, name) for name in ("file_name", "format")}
    if action != "coverage_import.submitted":
        facts |= {name: getattr(row, name) for name in ("added", "changed", "removed", "rejected")}
    audit.record(
        actor=actor,
        actor_name=actor_name,
        action=action,
        subject=row.public_id,
        reason=reason,
        at=at,
        provider=row.provider.code if row.provider else "",
        **facts,
    )
