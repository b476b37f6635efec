"""Several connections write the coverage of one place at once: no two rows are ever in force."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from datetime import datetime, timedelta
from typing import Any

import psycopg2
import pytest
from django.db import connection

from ispops import processes
from ispops.parties.models import Partner
from qualification import coverage
from qualification.models import CoverageArea
from tests import databases
from tests.small_isp import LAUNCH, cell_of, make_partner

pytestmark = pytest.mark.django_db(transaction=True)
CELL = cell_of((44.197, -72.502))
WRITERS = 6
INSERT = """
INSERT INTO qualification_coveragearea (provider_id, technology, h3_res8, max_download_kbps,
    max_upload_kbps, low_latency, install_days, construction_fee, construction_days, valid_from)
VALUES (%s, 50, %s, 1, 1, true, 7, 0, 0, %s)
"""
END = "UPDATE qualification_coveragearea SET valid_to = %s WHERE valid_to IS NULL AND h3_res8 = %s"
OVERLAPS = """
SELECT count(*) FROM qualification_coveragearea one JOIN qualification_coveragearea other
    ON one.id < other.id AND one.provider_id = other.provider_id
   AND one.technology = other.technology AND one.h3_res8 = other.h3_res8
   AND tstzrange(one.valid_from, one.valid_to) && tstzrange(other.valid_from, other.valid_to)
"""


def day(number: int) -> datetime:
    return LAUNCH + timedelta(days=number)


@pytest.fixture
def network() -> Partner:
    return make_partner("fast-fibre", "Fast Fibre", "network_provider", LAUNCH)


class Writer:
    """A connection of its own, in a transaction that a test begins and ends by hand."""

    def __init__(self, network: Partner, level: str = "READ COMMITTED") -> None:
        self.network = network
        self.connection = psycopg2.connect(databases.url_of(connection.settings_dict["NAME"]))
        self.connection.set_session(isolation_level=level)

    def begin(self, start: datetime, cell: str = CELL) -> None:
        self._run(INSERT, [self.network.pk, cell, start])

    def end(self, at: datetime, cell: str = CELL) -> None:
        self._run(END, [at, cell])

    def look(self) -> None:
        self._run("SELECT 1", [])

    def close(self) -> None:
        self.connection.close()

    def _run(self, statement: str, values: list[Any]) -> None:
        with self.connection.cursor() as cursor:
            cursor.execute(statement, values)


def overlaps() -> int:
    with connection.cursor() as cursor:
        cursor.execute(OVERLAPS)
        return int(cursor.fetchone()[0])


def waits(pid: int) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND wait_event_type = 'Lock'", [pid]
        )
        return cursor.fetchone() is not None


def begin_while_another_ends(network: Partner, *, end: int, start: int) -> Future[None]:
    """End the open row in one transaction, begin one in another, and then commit the first."""
    with closing(Writer(network)) as ender, closing(Writer(network)) as beginner:
        ender.begin(day(0))
        ender.connection.commit()
        ender.end(day(end))
        with ThreadPoolExecutor(1) as pool:
            begun = pool.submit(beginner.begin, day(start))
            pid = beginner.connection.info.backend_pid
            assert processes.wait_until(lambda: waits(pid), seconds=10)
            ender.connection.commit()
            begun.exception(timeout=10)
        if not begun.exception():
            beginner.connection.commit()
    return begun


def test_who_begins_waits_for_who_ends_and_then_sees_the_end(network: Partner) -> None:
    begun = begin_while_another_ends(network, end=10, start=5)
    assert isinstance(begun.exception(), psycopg2.errors.ExclusionViolation)
    assert (overlaps(), CoverageArea.objects.count()) == (0, 1)


def test_who_begins_after_the_end_is_let_through(network: Partner) -> None:
    begun = begin_while_another_ends(network, end=10, start=10)
    assert begun.exception() is None
    assert (overlaps(), CoverageArea.objects.count()) == (0, 2)


def test_without_the_trigger_both_are_in_force(network: Partner) -> None:
    """The negative control: the unique index alone lets a row begin before another one ends."""
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE qualification_coveragearea DISABLE TRIGGER begins")
    try:
        begun = begin_while_another_ends(network, end=10, start=5)
        assert begun.exception() is None
        assert overlaps() == 1
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE qualification_coveragearea ENABLE TRIGGER begins")


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_who_looks_at_the_past_may_not_write(network: Partner, level: str) -> None:
    """Its guard would not see a row that began and ended after its transaction did."""
    with closing(Writer(network, level)) as late, closing(Writer(network)) as quick:
        late.look()
        quick.begin(day(0))
        quick.end(day(10))
        quick.connection.commit()
        with pytest.raises(psycopg2.errors.RestrictViolation, match="READ COMMITTED"):
            late.begin(day(5))
    assert overlaps() == 0


def test_storm_of_writers_leaves_no_overlap(network: Partner) -> None:
    """Begin and end at random, in long and short transactions, committed and not."""
    cells = [CELL, cell_of((44.3, -72.4))]
    refusals: list[str] = []

    def write(seed: int) -> int:
        chance = random.Random(seed)
        done = 0
        with closing(Writer(network)) as writer:
            for _ in range(120):
                try:
                    for _ in range(chance.randint(1, 3)):
                        cell, when = chance.choice(cells), day(chance.randint(0, 400))
                        (writer.begin if chance.random() < 0.6 else writer.end)(when, cell)
                    if chance.random() < 0.8:
                        writer.connection.commit()
                        done += 1
                    else:
                        writer.connection.rollback()
                except psycopg2.Error as error:
                    refusals.append(type(error).__name__)
                    writer.connection.rollback()
        return done

    with ThreadPoolExecutor(WRITERS) as pool:
        done = sum(pool.map(write, range(WRITERS)))
    assert overlaps() == 0
    assert done > 20
    assert {"UniqueViolation", "ExclusionViolation"} <= set(refusals)
    assert CoverageArea.objects.filter(valid_to__isnull=True).count() <= len(cells)


def together(work: Callable[[int], Any]) -> list[Any]:
    """Do the work in threads with connections of their own, released together."""
    start = threading.Barrier(WRITERS)

    def one(number: int) -> Any:
        try:
            start.wait(timeout=10)
            return work(number)
        finally:
            connection.close()

    with ThreadPoolExecutor(WRITERS) as pool:
        return list(pool.map(one, range(WRITERS)))


def test_lists_of_one_network_follow_each_other(network: Partner) -> None:
    """Every list has its say, and none fails because another was quicker."""
    clock = iter(range(1, 100))

    def send(number: int) -> coverage.ImportReport:
        row = {"technology": 50, "h3_res8": CELL, "max_upload_kbps": 1}
        return coverage.import_coverage(
            rows=[row | {"max_download_kbps": 100 + number}], provider=network, at=day(next(clock))
        )

    reports = together(send)
    assert sum(report.added for report in reports) == 1
    late = sum(len(report.rejected) for report in reports)
    assert sum(report.changed for report in reports) == WRITERS - 1 - late
    assert (overlaps(), CoverageArea.objects.count()) == (0, WRITERS - late)
