"""The history is given out while it is being written: each file is the truth of one moment."""

from __future__ import annotations

import csv
import hashlib
import io
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection

from ipam import disclosure, history
from ipam.models import AllocationHistory
from ispops.parties.models import AuditEntry
from tests.ipam.ground import Isp, after, an_isp, mac

pytestmark = pytest.mark.django_db(transaction=True)
DEVICES, FILES = 6, 12


def swap(isp: Isp, stop: threading.Event, limit: int = 10_000) -> None:
    """Move each device from one server's pools to the other's: one stay ends, the next begins."""
    try:
        for turn in range(1, limit):
            for number in range(DEVICES):
                if stop.is_set():
                    return
                server = SERVERS[turn % 2]
                isp.ask(mac(number), server=server, at=after(hours=13 * turn, seconds=number))
    finally:
        connection.close()


SERVERS: list[Any] = []


def ground() -> Isp:
    from tests.ipam.ground import a_pool, a_server

    isp = an_isp(ipv4_addresses=DEVICES, ipv6_prefixes=0)
    other = a_server("aaa-other")
    a_pool("203.0.113.0/24", server=other, name="other")
    SERVERS[:] = [isp.server, other]
    for number in range(DEVICES):
        isp.ask(mac(number))
    return isp


def given(isp: Isp) -> tuple[list[dict[str, str]], disclosure.Given]:
    file = disclosure.export_for_request(
        search=history.Search(subscriber=isp.subscriber, start=after(days=-1), end=after(days=9e4)),
        reference="2026-77", reason="A court asks", actor=isp.user, at=after(days=1),
    )  # fmt: skip
    return list(csv.DictReader(io.StringIO(file.content.decode()))), file


def is_whole(rows: list[dict[str, str]]) -> bool:
    """Every device has one stay that goes on, because none was ever without an address."""
    open_stays = Counter(row["device"] for row in rows if not row["held_to"])
    return open_stays == Counter(mac(number) for number in range(DEVICES))


def test_each_file_is_of_one_moment_and_the_trail_has_its_digest() -> None:
    isp, stop = ground(), threading.Event()
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(swap, isp, stop)
        try:
            files = [given(isp)]
            while len(files) < FILES or files[-1][1].rows == files[0][1].rows:
                assert not writing.done(), "nothing was written meanwhile"
                files.append(given(isp))
        finally:
            stop.set()
        writing.result(timeout=30)
    for rows, file in files:
        assert is_whole(rows)
        assert file.rows == len(rows)
        assert hashlib.sha256(file.content).hexdigest() == file.digest
    sizes = [file.rows for _, file in files]
    assert sizes == sorted(sizes)
    trail = AuditEntry.objects.filter(action="history.disclosed").order_by("pk")
    assert [(entry.detail["sha256"], entry.detail["rows"]) for entry in trail] == [
        (file.digest, file.rows) for _, file in files
    ]


def test_a_file_that_was_read_in_parts_would_tell_what_never_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The negative control: between two pages a device moves, and is seen nowhere, or twice."""
    isp, at_once = ground(), history.every

    def in_parts(search: history.Search) -> Iterator[AllocationHistory]:
        first = list(at_once(search))[: DEVICES // 2]
        yield from first
        with ThreadPoolExecutor(1) as pool:
            pool.submit(swap, isp, threading.Event(), limit=2).result(timeout=30)
        told = {row.pk for row in first}
        yield from (row for row in at_once(search) if row.pk not in told)

    assert is_whole(given(isp)[0])
    monkeypatch.setattr(history, "every", in_parts)
    assert not is_whole(given(isp)[0])
