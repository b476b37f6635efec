"""A worker dies in the middle of a task: the task is run again, without a second effect."""

from __future__ import annotations

import contextlib
import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg2
import pytest
from django.conf import LazySettings
from django.db import connection
from django.utils import timezone

from ispops.models import Event, WorkerHeartbeat
from ispops.parties.models import Subscriber
from provisioning.models import AaaCredential, Service, TaskAttempt
from qualification import bulk_qualify, queries
from qualification.models import BulkQualification
from tests import databases, factories
from tests.small_isp import SmallIsp

if TYPE_CHECKING:
    from tests.stack import Stack

pytestmark = pytest.mark.faults


def test_a_task_whose_worker_is_killed_has_its_effect_once(
    live: Stack, isp: SmallIsp, ada: Subscriber
) -> None:
    live.start("worker", "beat")
    live.until(WorkerHeartbeat.objects.exists, "the worker reports")
    with nobody_writes(AaaCredential._meta.db_table):
        order = factories.order(ada, isp.oak_1, isp.fast.code, at=timezone.now())
        live.until(_a_task_waits_for_a_lock, "the worker is in the middle of the task")
        live.kill("worker")
    assert _outcomes("create_credentials") == [""], "the attempt is open: nobody knows its end"
    assert not AaaCredential.objects.exists()

    live.start("worker")
    live.until(lambda: _state(order) == "completed", "the order is carried out", seconds=60)

    assert _outcomes("create_credentials") == ["lost", "done"]
    assert AaaCredential.objects.count() == 1
    assert Service.objects.filter(state="active").count() == 1
    for kind in ("order.in_progress", "order.completed", "service.activated"):
        assert Event.objects.filter(kind=kind).count() == 1, kind


def test_a_file_whose_worker_is_killed_has_every_row_once(
    live: Stack, isp: SmallIsp, settings: LazySettings
) -> None:
    """The worker dies when it has written answers to the file that are not recorded yet."""
    settings.MEDIA_ROOT = live.folder / "files"
    # Addresses that nobody has listed take long, so that there is a middle to die in.
    rows = [f'{number},"{number} Oak Street, Barre, VT 05641"' for number in range(100, 2_500)]
    live.start("worker", "beat")
    live.until(WorkerHeartbeat.objects.exists, "the worker reports")
    bulk = bulk_qualify.submit_file(
        upload=io.BytesIO("\n".join(["id,address", *rows]).encode()),
        file_name="list.csv",
        asker="user_1",
        created_by=factories.staff("CSR", at=timezone.now()),
        at=timezone.now(),
    )
    live.until(lambda: _done(bulk) > 0, "some rows are done")
    with nobody_writes(BulkQualification._meta.db_table):
        # Somebody who only renews the lease, or looks for work, may wait as well.
        live.until(
            lambda: _a_task_waits_for_a_lock() and _has_written_more(bulk),
            "the worker is about to record what it wrote",
        )
        live.kill("worker")
        _end_who_waits_for_a_lock()
    before = _done(bulk)
    assert 0 < before < len(rows)
    assert _has_written_more(bulk)

    live.start("worker")
    live.until(lambda: _state(bulk) == "completed", "the file is done", seconds=90)

    answers = list(csv.DictReader(io.StringIO(b"".join(queries.answers_of(bulk)).decode())))
    assert [row["id"] for row in answers] == [str(number) for number in range(100, 2_500)]
    assert {row["result_state"] for row in answers} == {"qualified"}
    assert bulk.outcomes == {"qualified": len(rows)}


def _done(bulk: BulkQualification) -> int:
    bulk.refresh_from_db()
    return bulk.rows_done


def _has_written_more(bulk: BulkQualification) -> bool:
    """Whether there are answers in the file that are not recorded."""
    bulk.refresh_from_db()
    return Path(bulk.result.path).stat().st_size > bulk.bytes_written


@contextlib.contextmanager
def nobody_writes(table: str, url: str = "", mode: str = "EXCLUSIVE") -> Iterator[None]:
    """Hold a table so that whoever writes to it waits in the middle of a transaction.

    In mode SHARE its rows may still be locked, as sweeps do.
    """
    url = url or databases.url_of(connection.settings_dict["NAME"])
    with contextlib.closing(psycopg2.connect(url)) as holder, holder.cursor() as cursor:
        cursor.execute(f'LOCK TABLE "{table}" IN {mode} MODE')
        yield
        holder.rollback()


def _a_task_waits_for_a_lock() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT 1 FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return cursor.fetchone() is not None


def _end_who_waits_for_a_lock() -> None:
    """Else PostgreSQL carries out what the dead one asked for last, when the lock is free."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )


def _outcomes(kind: str) -> list[str]:
    attempts = TaskAttempt.objects.filter(task__kind=kind).order_by("number")
    return list(attempts.values_list("outcome", flat=True))


def _state(order: object) -> str:
    order.refresh_from_db()  # type: ignore[attr-defined]
    return order.state  # type: ignore[attr-defined]
