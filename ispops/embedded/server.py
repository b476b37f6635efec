"""What both servers share: one folder, one process, one way to start and to stop."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import pwd
import signal
import stat
import subprocess
import tempfile
from pathlib import Path
from typing import IO

from ispops import processes
from ispops.embedded.host import CannotStart, account_for, explained, let_pass

START_SECONDS = 120
"""Crash recovery after a power cut may take this long; a server that exits is noticed at once."""

SOCKET_PATH_BYTES = 103
"""Longest path of a Unix socket: 107 on Linux (unix(7)), 103 on macOS."""

POSTGRES_SOCKET = ".s.PGSQL.5432"
"""The name that libpq looks for; the longest of what the runtime folder holds."""


class Server:
    """What both servers share: one folder, one process, one way to start and to stop."""

    name: str
    variable: str
    stop_steps: tuple[tuple[signal.Signals, float], ...]

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir.absolute()
        self.log = self.data_dir / "logs" / f"{self.name.lower()}.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The address under which Django, Celery and redis-py find this server."""
        raise NotImplementedError

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def poll(self) -> int | None:
        """The exit status of a server that ended, else nothing."""
        return None if self._process is None else self._process.poll()

    def start(self) -> None:
        """Start the server and wait until it answers.

        Raises `CannotStart` for a full or unwritable disk, files of another version, or a server
        that gives up, with the server's own last line.
        """
        with explained(self.data_dir):
            account = account_for(self.data_dir / "postgres")
            self._prepare(account)
            self.log.parent.mkdir(exist_ok=True)
            with self.log.open("ab") as log:
                log.seek(0, os.SEEK_END)
                started_at = log.tell()
                self._process = self._launch(log, account)
        try:
            self._wait(started_at)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        if self._process is not None:
            processes.stop(self._process, *self.stop_steps)
        with contextlib.suppress(OSError):  # the other server is still in it, or we never made it
            self._runtime.rmdir()

    def _prepare(self, account: pwd.struct_passwd | None) -> None:
        """Make the folder for sockets and process numbers, private to the server's user."""
        self._runtime.mkdir(mode=0o700, exist_ok=True)
        owner = os.geteuid()
        if account is not None:
            owner = account.pw_uid
            os.chown(self._runtime, account.pw_uid, account.pw_gid)
            let_pass(self.data_dir / "postgres")
            let_pass(self._runtime)
        found = self._runtime.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != owner:
            raise CannotStart(f"{self._runtime} belongs to somebody else: remove it and run again.")

    @functools.cached_property
    def _runtime(self) -> Path:
        """Beside the data while that path is short enough for a socket, else in the temp folder."""
        beside = self.data_dir / "run"
        if len(os.fsencode(beside / POSTGRES_SOCKET)) <= SOCKET_PATH_BYTES:
            return beside
        digest = hashlib.sha256(os.fsencode(beside)).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"ispops-{os.geteuid()}-{digest}"

    def _launch(self, log: IO[bytes], account: pwd.struct_passwd | None) -> subprocess.Popen[bytes]:
        raise NotImplementedError

    def _answers(self) -> bool:
        raise NotImplementedError

    def _wait(self, started_at: int) -> None:
        ready = processes.wait_until(
            lambda: self.poll() is not None or self._answers(), seconds=START_SECONDS, every=0.02
        )
        if self.poll() is not None:
            raise CannotStart(f"{self.name} did not start: {reason(self.log, started_at)}")
        if not ready:
            raise CannotStart(f"{self.name} did not answer in {START_SECONDS} s: see {self.log}")


def reason(log: Path, started_at: int) -> str:
    """The line of a server's log that tells why it gave up, and where to read on."""
    text = log.read_bytes()[started_at:].decode(errors="replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if "FATAL" in line or "PANIC" in line or "FAILED" in line]
    return f"{(telling or lines or ['no reason given'])[-1]} (see {log})"
