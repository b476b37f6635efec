"""Usage by the real web server's socket, and a reader of a file that is killed."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import psutil
import pytest
from django.conf import LazySettings
from django.utils import timezone

from rating import usage_files
from rating.models import Usage, UsageFile
from tests.faults.test_worker import (
    _a_task_waits_for_a_lock,
    _end_who_waits_for_a_lock,
    nobody_writes,
)
from tests.rating.calls import token
from tests.small_isp import SmallIsp

if TYPE_CHECKING:
    from tests.faults.workers import Workers
    from tests.stack import Stack

pytestmark = pytest.mark.faults
# More answers than a socket holds; what follows them is more than two of them hold.
LINES = 20_000
MOST_GROWTH = 80_000_000


def event(number: int) -> bytes:
    return json.dumps(
        {
            "event_id": f"e{number}",
            "subscriber_ref": "psb_nobody",
            "offering": "nothing",
            "started_at": timezone.now().isoformat(),
            "quantity": 1,
            "unit": "minute",
        }
    ).encode()


def test_a_stream_of_any_size_is_taken_in_by_a_small_web_server(live: Stack, isp: SmallIsp) -> None:
    """The caller sends all before it reads, which must not make both sides wait for the other."""
    access = token(isp.films, ["usage:write"])
    live.start("web")
    live.until(lambda: _answers(live), "the web server answers")
    family = psutil.Process(live.children["web"].pid).children(recursive=True)
    before = _memory(family)
    with _most_memory(family) as most, _connected(live) as caller:
        _begin(caller, access, "Transfer-Encoding: chunked")
        _chunk(caller, event(1) + b"\n")
        for _ in range(LINES // 1_000):
            _chunk(caller, b'{"event_id": "%s"}\n' % (b"x" * 120) * 1_000)
        for _ in range(40):
            _chunk(caller, b"x" * 500_000)
        _chunk(caller, b"\n")
        _chunk(caller, event(2))
        caller.sendall(b"0\r\n\r\n")
        told = _answer_of(caller)
    assert told[-1]["summary"] | {"problem": ""} == {
        "lines": LINES + 3, "accepted": 0, "duplicates": 0, "conflicts": 0, "in_error": 2,
        "rejected": LINES + 1, "is_complete": True, "problem": "",
    }  # fmt: skip
    assert [row["line"] for row in told[:-1]] == list(range(1, LINES + 4))
    assert "longer than" in told[-3]["reason"]
    assert sorted(Usage.objects.values_list("event_id", flat=True)) == ["e1", "e2"]
    assert most[0] - before < MOST_GROWTH

    with _connected(live) as caller:
        _begin(caller, access, "Content-Length: 3000000000")
        assert b" 413 " in caller.recv(4_096)
    with _connected(live) as caller:
        _begin(caller, access, "Content-Length: 5000")
        caller.sendall(event(3) + b"\n")
        caller.shutdown(socket.SHUT_WR)
        told = _answer_of(caller)
    assert told[0]["event_id"] == "e3"
    assert "broke off" in told[-1]["summary"]["problem"]


def _answers(live: Stack) -> bool:
    with contextlib.suppress(OSError), _connected(live) as caller:
        caller.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        return bool(caller.recv(1))
    return False


def _connected(live: Stack) -> socket.socket:
    """Connect with little room for answers that nobody reads yet."""
    address = urlsplit(live.url)
    caller = socket.socket()
    caller.settimeout(30)
    caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
    caller.connect((address.hostname, address.port))
    return caller


def _begin(caller: socket.socket, access: str, size: str) -> None:
    caller.sendall(
        f"POST /api/v1/usage HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {access}\r\n"
        f"Content-Type: application/x-ndjson\r\nConnection: close\r\n{size}\r\n\r\n".encode()
    )


def _chunk(caller: socket.socket, body: bytes) -> None:
    caller.sendall(f"{len(body):x}\r\n".encode() + body + b"\r\n")


def _answer_of(caller: socket.socket) -> list[dict[str, object]]:
    """Read an answer in chunks to its end; gives its lines."""
    whole = b"".join(iter(lambda: caller.recv(1 << 16), b""))
    head, _, rest = whole.partition(b"\r\n\r\n")
    assert b" 200 " in head.splitlines()[0], head
    body = b""
    parts = []
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        parts.append(rest[: int(size, 16)])
        rest = rest[int(size, 16) + 2 :] if int(size, 16) else b""
    body = b"".join(parts)
    return [json.loads(line) for line in body.splitlines()]


def _memory(family: list[psutil.Process]) -> int:
    """The memory of the largest process of the web server."""
    return max(process.memory_info().rss for process in family)


@contextlib.contextmanager
def _most_memory(family: list[psutil.Process]) -> Iterator[list[int]]:
    """Look at the memory of the web server all the while; gives the most that was seen."""
    most, stop = [0], threading.Event()

    def look() -> None:
        while not stop.wait(0.05):
            most[0] = max(most[0], _memory(family))

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield most
    finally:
        stop.set()
        watcher.join()


def test_a_file_whose_reader_is_killed_has_every_row_once(
    isp: SmallIsp, workers: Workers, settings: LazySettings, tmp_path: Path
) -> None:
    """It dies when rows are stored and rejects are written, and nothing of it is recorded."""
    settings.MEDIA_ROOT = tmp_path
    rows, now = 3_000, timezone.now()
    file = usage_files.submit_file(
        upload=io.BytesIO(b"\n".join(event(number) for number in range(rows))),
        file_name="may.ndjson", file_format="ndjson", partner=isp.films, actor=None,
        actor_name="tests", at=now,
    )  # fmt: skip
    work = (
        "from django.conf import settings; from django.utils import timezone\n"
        f"settings.MEDIA_ROOT = {str(tmp_path)!r}\n"
        "from rating import usage_files\n"
        "usage_files.ROWS_A_BATCH = 1_000\n"
        "usage_files.read_next(at=timezone.now())"
    )
    with nobody_writes(Usage._meta.db_table):
        reader = workers.start(work)
        _until(_a_task_waits_for_a_lock)
    _until(lambda: _read(file) > 0)
    with nobody_writes(UsageFile._meta.db_table):
        _until(_a_task_waits_for_a_lock)
        os.kill(reader, signal.SIGKILL)
        workers.wait()
        _end_who_waits_for_a_lock()
    done = _read(file)
    assert 0 < done < rows
    assert Usage.objects.count() == done
    assert Path(file.rejects.path).stat().st_size > file.bytes_written

    while usage_files.read_next(at=now + 2 * settings.TASK_LEASE):
        pass

    file.refresh_from_db()
    assert (file.state, file.in_error, file.duplicates) == ("completed", rows, 0)
    assert Usage.objects.count() == rows
    rejects = file.rejects.read().decode().splitlines()
    assert [row.partition(",")[0] for row in rejects] == ["row", *map(str, range(1, rows + 1))]


def _read(file: UsageFile) -> int:
    file.refresh_from_db()
    return file.rows_done


def _until(answer: object, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not answer():  # type: ignore[operator]
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)
