"""A coverage list, from the file to the last row in force, beside COPY of the same rows into a bare
table; and how much memory the process had at most."""

import resource
import tempfile
from collections.abc import Iterator
from datetime import datetime
from itertools import count as counting
from pathlib import Path
from typing import IO

from django.db import connection
from django.utils import timezone

from ispops.bench import Case
from ispops.benches import million
from ispops.parties import partners
from ispops.parties.models import Partner
from qualification import import_work, imports
from qualification.coverage_rows import PUBLIC
from qualification.models import CoverageImport, Premises

SPEEDS = ((1_000, 1_000), (500, 500), (300, 30), (100, 20))
MEMORY_MB = 300
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def cases(count: int, *, at: datetime) -> Iterator[Case]:
    """Import the FCC's published form for as many locations, for a new network in every run.

    All of it is timed: taking the file in, checking it, and applying what it comes to.
    """
    with tempfile.TemporaryFile() as file, tempfile.TemporaryFile() as rows:
        written = _write(file, count)
        peaks: list[int] = []
        numbers = counting(1)
        yield Case(
            name="coverage import",
            unit="per s",
            ours=lambda: _import(file, written, peaks),
            reference=lambda: _copy(rows),
            before_ours=lambda: _new_network(next(numbers), at),
            before_reference=lambda: _bare(rows),
        )
        yield Case(
            name="coverage import, memory",
            unit="MB",
            ours=lambda: max(peaks),
            reference=lambda: MEMORY_MB,
        )


def _write(file: IO[bytes], count: int) -> int:
    """Write one row for each of so many places that have a location id; returns how many."""
    file.write(",".join(PUBLIC).encode() + b"\n")
    made = Premises.objects.filter(location_id__gte=str(million.FIRST_LOCATION))
    places = made.order_by("location_id").values_list("location_id", "region", "h3_res8")[:count]
    number = 0
    for number, (location, region, cell) in enumerate(places.iterator(), start=1):
        down, up = SPEEDS[number % len(SPEEDS)]
        row = (
            f"0003768165,130317,Bench,{location},50,{down},{up},1,X,{region},500110102002027,{cell}"
        )
        file.write(row.encode() + b"\n")
    return number


def _new_network(number: int, at: datetime) -> None:
    partners.create_partner(
        code=f"bench-{number}", name=f"Bench {number}", kind=Partner.Kind.NETWORK_PROVIDER, at=at
    )


def _import(file: IO[bytes], written: int, peaks: list[int]) -> int:
    _forget_peak()
    row = imports.submit_list(
        upload=file, file_name="bench.csv", list_format=CoverageImport.Format.FCC_PUBLIC,
        provider=Partner.objects.filter(code__startswith="bench-").latest("pk"),
        actor=None, actor_name="bench", at=timezone.now(),
    )  # fmt: skip
    import_work.work_on(import_id=row.pk, at=timezone.now())
    imports.apply_list(import_id=row.pk, actor=None, actor_name="bench", at=timezone.now())
    import_work.work_on(import_id=row.pk, at=timezone.now())
    peaks.append(_peak_mb())
    row.refresh_from_db()
    if (row.state, row.added) != (CoverageImport.State.APPLIED, written):
        raise RuntimeError(f"{row.added:,} of {written:,} rows: {row.state}, {row.error}")
    return written


def _bare(rows: IO[bytes]) -> None:
    """Make an empty table, and the rows of the last import as text to fill it."""
    latest = CoverageImport.objects.latest("pk")
    rows.seek(0)
    rows.truncate()
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS bare_coverage")
        cursor.execute("CREATE TABLE bare_coverage (LIKE qualification_coveragearea)")
        mine = f"SELECT * FROM qualification_coveragearea WHERE added_by_id = '{latest.pk}'"
        cursor.copy_expert(f"COPY ({mine}) TO STDOUT", rows)


def _copy(rows: IO[bytes]) -> int:
    rows.seek(0)
    with connection.cursor() as cursor:
        cursor.copy_expert("COPY bare_coverage FROM STDIN", rows, size=1 << 16)
        return int(cursor.rowcount)


def _forget_peak() -> None:
    """Have the kernel count the most memory anew, where it can; others know that of all times."""
    if _CLEAR.exists():
        _CLEAR.write_text("5")


def _peak_mb() -> int:
    if not _STATUS.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1_000
    lines = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines() if ":" in line)
    return int(lines["VmHWM"].split()[0]) * 1_024 // 1_000_000
