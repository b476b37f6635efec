"""`make run`: one command that starts everything, and one key that ends all of it."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import requests

from ispops import embedded, processes
from tests import databases

pytestmark = [pytest.mark.faults, pytest.mark.xdist_group("processes")]


class Supervisor:
    """A `python -m ispops.supervisor` in a folder of its own, as a person would start it."""

    command: tuple[str, ...] = (sys.executable, "-m", "ispops.supervisor")

    def __init__(self, folder: Path, port: int, **variables: str) -> None:
        self.url = f"http://127.0.0.1:{port}"
        environment = {
            name: value
            for name, value in os.environ.items()
            if name not in {"DATABASE_URL", "REDIS_URL", databases.RUN_VARIABLE}
        }
        self.process = subprocess.Popen(
            self.command,
            cwd=databases.REPOSITORY,
            env=environment
            | {"ISPOPS_DATA_DIR": str(folder), "PORT": str(port), "ISPOPS_DEMO": "0"}
            | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.said = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said += line

    def wait_for(self, text: str, *, seconds: float = 90) -> None:
        ended = processes.wait_until(
            lambda: text in self.said or self.process.poll() is not None, seconds=seconds
        )
        assert ended, self.said
        assert text in self.said, self.said

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.status()

    def status(self) -> int:
        status = self.process.wait(60)
        self._reader.join(5)
        return status

    def family(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def seconds_to_ready(self) -> float:
        found = re.search(r"Ready after (\d+) s", self.said)
        assert found is not None
        return float(found[1])


class Make(Supervisor):
    command = ("make", "run")


@pytest.fixture
def port() -> int:
    return embedded.free_port()


@pytest.fixture
def started(tmp_path: Path, port: int) -> Iterator[Supervisor]:
    supervisor = Supervisor(tmp_path, port)
    yield supervisor
    if supervisor.process.poll() is None:
        supervisor.end(signal.SIGTERM)


def test_what_dies_is_started_again_and_ctrl_c_ends_everything(
    started: Supervisor, tmp_path: Path, port: int
) -> None:
    started.wait_for("Ready after")
    assert f"{started.url}/" in started.said
    assert requests.get(f"{started.url}/readyz").status_code == 200
    left = embedded.last_settings(tmp_path)
    assert (left["ISPOPS_BASE_URL"], left["ISPOPS_DEMO"]) == (started.url, "0")
    family = started.family()
    names = " ".join(" ".join(process.cmdline()) for process in family)
    for part in ("gunicorn", "celery -A ispops worker", "celery -A ispops beat", "postgres"):
        assert part in names

    _find(started, "celery -A ispops worker").kill()
    started.wait_for("worker ended (SIGKILL); starting it again")
    _find(started, "bin/postgres").kill()
    started.wait_for("PostgreSQL ended (SIGKILL); starting it again")

    def ready() -> bool:
        return requests.get(f"{started.url}/readyz", timeout=10).status_code == 200

    assert processes.wait_until(ready, seconds=60)
    family = started.family()
    assert _find(started, "celery -A ispops worker").is_running()

    assert started.end(signal.SIGINT) == 0
    assert [process for process in family if process.is_running()] == []
    assert "Stopped" in started.said.splitlines()[-1]
    socket.create_server(("127.0.0.1", port)).close()  # the port is free again

    # The second start is quick.
    again = Supervisor(tmp_path, port)
    again.wait_for("Ready after")
    assert "Collecting" not in again.said
    assert again.seconds_to_ready() < started.seconds_to_ready()
    family = again.family()
    assert again.end(signal.SIGTERM) == 0
    assert [process for process in family if process.is_running()] == []


def _find(supervisor: Supervisor, part: str) -> psutil.Process:
    """The process that has this in its command line, and not one of its own children."""
    return next(p for p in supervisor.family() if part in " ".join(p.cmdline()))


def test_a_busy_port_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        supervisor = Supervisor(tmp_path, port)
        assert supervisor.status() == 1
    assert supervisor.said.count("\n") == 1
    assert supervisor.said.startswith(f"Port {port} cannot be used (Address already in use)")


def test_a_busy_port_of_the_partners_is_one_line(tmp_path: Path, port: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        busy = other.getsockname()[1]
        supervisor = Supervisor(tmp_path, port, ISPOPS_DEMO="1", DEMO_PARTNER_PORT=str(busy))
        assert supervisor.status() == 1
    assert supervisor.said.count("\n") == 1
    assert supervisor.said.startswith(f"Port {busy} cannot be used (Address already in use)")
    assert f"make run DEMO_PARTNER_PORT={busy + 1}" in supervisor.said


def test_ending_make_ends_everything(tmp_path: Path, port: int) -> None:
    make = Make(tmp_path, port)
    make.wait_for("Starting Redis")
    family = make.family()
    assert "postgres" in " ".join(" ".join(process.cmdline()) for process in family)
    make.end(signal.SIGTERM)
    assert psutil.wait_procs(family, timeout=10)[1] == []
    assert "Stopped" in make.said


def test_a_setting_that_is_missing_is_named(tmp_path: Path, port: int) -> None:
    supervisor = Supervisor(tmp_path, port, SECRET_KEY="", DEBUG="0")
    assert supervisor.status() == 1
    assert "SECRET_KEY is not set" in supervisor.said.splitlines()[-1]
    assert "Traceback" not in supervisor.said


def test_a_redis_that_does_not_answer_is_named_at_once(tmp_path: Path, port: int) -> None:
    dead = f"127.0.0.1:{embedded.free_port()}"
    began = time.monotonic()
    supervisor = Supervisor(tmp_path, port, REDIS_URL=f"redis://:s3cr3t@{dead}/0")
    assert supervisor.status() == 1
    # Most of it is the start of Python on a busy machine; what it waits for by itself is 2 s.
    assert time.monotonic() - began < 15
    assert f"REDIS_URL names {dead}/0, which does not answer" in supervisor.said
    assert "s3cr3t" not in supervisor.said
    assert "Traceback" not in supervisor.said


def test_a_second_one_on_the_same_folder_is_one_line(tmp_path: Path, port: int) -> None:
    with embedded.lock_folder(tmp_path):
        supervisor = Supervisor(tmp_path, port)
        assert supervisor.status() == 1
    assert supervisor.said.count("\n") == 1
    assert f"Process {os.getpid()} is already using {tmp_path}" in supervisor.said


def test_a_folder_of_another_postgresql_is_one_clear_line(tmp_path: Path, port: int) -> None:
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "PG_VERSION").write_text("17\n")
    supervisor = Supervisor(tmp_path, port)
    assert supervisor.status() == 1
    assert "made by PostgreSQL 17 and this is PostgreSQL 18" in supervisor.said
    assert "Traceback" not in supervisor.said


def test_a_port_that_is_none_is_one_line(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path, 99999)
    assert supervisor.status() == 1
    assert supervisor.said == "PORT=99999 is no port: give a number from 1 to 65535.\n"
