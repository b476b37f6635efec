"""Processes of the product that are there at once: forks of one that has imported everything.

Each of them would import the product anew, which takes longer than most tests of a fault. What is
forked does what its command line does from there on, and ends as any other process.
"""

from __future__ import annotations

import importlib
import json
import os
import runpy
import select
import signal
import subprocess
import sys
from pathlib import Path

from ispops import processes, supervisor
from tests import databases

IMPORTED = (
    "celery.apps.beat", "celery.apps.worker", "celery.bin.celery", "celery.concurrency.prefork",
    "gunicorn.app.wsgiapp", "gunicorn.workers.gthread", "ispops.wsgi",
)  # fmt: skip


class Mould:
    """Makes processes of the product with one environment and one listening socket."""

    def __init__(self, environment: dict[str, str], socket: int) -> None:
        self.environment = dict(environment)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.mould"],
            cwd=databases.REPOSITORY,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[socket],
            text=True,
        )

    def start(self, program: supervisor.Program, log: Path) -> Fork:
        """Start what the program's command would start: a module, with its arguments."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        _, _, module, *arguments = program.command
        told = {"module": module, "arguments": arguments, "log": str(log)}
        self._process.stdin.write(json.dumps(told) + "\n")
        self._process.stdin.flush()
        return Fork(int(self._process.stdout.readline()))

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


class Fork:
    """As much of `subprocess.Popen` as the supervisor needs, for a process that is no child."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._handle = os.pidfd_open(pid)

    def __del__(self) -> None:
        os.close(self._handle)

    def poll(self) -> int | None:
        """0 once it has ended: nobody is told how."""
        return 0 if select.select([self._handle], [], [], 0)[0] else None

    def wait(self, seconds: float) -> int:
        if not select.select([self._handle], [], [], seconds)[0]:
            raise subprocess.TimeoutExpired(str(self.pid), seconds)
        return 0

    def send_signal(self, number: signal.Signals) -> None:
        signal.pidfd_send_signal(self._handle, number)


def main() -> None:
    import django

    django.setup()
    # All that they will import, so that it is there already.
    for name in IMPORTED:
        importlib.import_module(name)
    from django.urls import get_resolver

    from ispops.celery import app

    app.loader.import_default_modules()
    assert get_resolver().url_patterns
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel need keep no status of theirs
    for line in sys.stdin:
        if (child := os.fork()) == 0:
            _become(**json.loads(line))
        print(child, flush=True)


def _become(module: str, arguments: list[str], log: str) -> None:
    """Go on as this module; what `processes.spawn` does for a child, and then its command."""
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    processes.end_with_parent(signal.SIGTERM)
    for number, path in ((0, os.devnull), (1, log), (2, log)):
        opened = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        os.dup2(opened, number)
        os.close(opened)
    sys.argv = [module, *arguments]
    status = 1
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    main()
