"""A worker dies in the middle of a list: nothing is half written, and the next one does it all."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import h3
import pytest
from django.conf import LazySettings
from django.db import connection
from django.utils import timezone

from ispops.models import Event
from qualification import imports
from qualification.models import CoverageArea, CoverageImport
from tests.faults.test_worker import nobody_writes
from tests.small_isp import STOWE_POINT, SmallIsp, cell_of

if TYPE_CHECKING:
    from tests.stack import Stack

pytestmark = pytest.mark.faults
CELLS = sorted(h3.grid_disk(cell_of(STOWE_POINT), 57))
ROWS = "".join(f"50,{cell},1000,1000\n" for cell in CELLS)
LIST = f"technology,h3_res8,max_download_kbps,max_upload_kbps\n{ROWS}"


@pytest.fixture
def sent(live: Stack, isp: SmallIsp, settings: LazySettings) -> CoverageImport:
    # Where the worker of the stack looks for files.
    settings.MEDIA_ROOT = live.folder / "files"
    return imports.submit_list(
        upload=io.BytesIO(LIST.encode()),
        file_name="list.csv",
        list_format="locations",
        provider=isp.fibre,
        actor=None,
        actor_name="a test",
        at=timezone.now(),
    )


def state_of(row: CoverageImport) -> str:
    return CoverageImport.objects.values_list("state", flat=True).get(pk=row.pk)


def somebody_waits_for(table: str) -> bool:
    """Whether a statement waits for a lock on a table, in the middle of its transaction."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = %s::regclass", [table]
        )
        return cursor.fetchone() is not None


def begun() -> int:
    return CoverageArea.objects.filter(added_by__isnull=False).count()


def test_a_worker_that_is_killed_while_it_applies_has_written_nothing(
    live: Stack, sent: CoverageImport
) -> None:
    live.start("worker", "beat")
    live.until(lambda: state_of(sent) == "previewed", "the list is checked", seconds=60)
    told = Event.objects.filter(kind="coverage.changed").count()

    # The event is the last thing that is written: by then all of the coverage is, in a transaction.
    with nobody_writes(Event._meta.db_table):
        imports.apply_list(import_id=sent.pk, actor=None, actor_name="a test", at=timezone.now())
        live.until(
            lambda: somebody_waits_for(Event._meta.db_table), "the worker is about to be done"
        )
        live.kill("worker")
        assert begun() == 0
    assert state_of(sent) == "applying"
    live.until(lambda: not somebody_waits_for(Event._meta.db_table), "its transaction is undone")
    assert begun() == 0
    assert Event.objects.filter(kind="coverage.changed").count() == told

    live.start("worker")
    live.until(lambda: state_of(sent) == "applied", "the next one applies it", seconds=60)

    assert begun() == len(CELLS)
    assert Event.objects.filter(kind="coverage.changed").count() == told + 1


def test_a_worker_that_is_killed_while_it_checks_begins_again(
    live: Stack, sent: CoverageImport
) -> None:
    live.start("worker", "beat")
    with nobody_writes(CoverageImport._meta.db_table):
        live.until(
            lambda: somebody_waits_for(CoverageImport._meta.db_table), "the worker has the list"
        )
        live.kill("worker")
    live.start("worker")
    live.until(lambda: state_of(sent) == "previewed", "the next one checks it", seconds=60)
    row = CoverageImport.objects.get()
    assert (row.added + row.changed, row.rows_total, begun()) == (len(CELLS), len(CELLS), 0)
    assert Path(row.file.path).read_text() == LIST
