"""PostgreSQL and Redis for a machine that has neither.

`make run`, `make test` and `make bench` start both servers from Python wheels, keep their files in
one folder and take them down again. A server whose address is given in `DATABASE_URL` or
`REDIS_URL` is used as it is and never started or stopped.

This package imports nothing of Django, because it runs before the settings can be read. The servers
are started as direct children rather than through `pg_ctl`, so that whoever started them sees at
once when one dies.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, MutableMapping
from pathlib import Path

from ispops.embedded.host import CannotStart, explained, free_port
from ispops.embedded.postgres import Postgres
from ispops.embedded.redis import Redis, require_answer
from ispops.embedded.server import Server

__all__ = [
    "CannotStart",
    "Postgres",
    "Redis",
    "Server",
    "free_port",
    "require_answer",
    "servers",
]


@contextlib.contextmanager
def servers(data_dir: Path, *, durable: bool = True) -> Iterator[dict[str, str]]:
    """Run the servers that the environment does not name, for as long as the block lasts.

    Gives a mapping with `DATABASE_URL` and `REDIS_URL`. `durable=False` turns off everything that
    protects data from a power cut, which is right for tests and for nothing else.

    Raises `CannotStart`.
    """
    with lock_folder(data_dir), contextlib.ExitStack() as running:
        started = []
        for server in missing_servers(data_dir, durable=durable):
            server.start()
            running.callback(server.stop)
            started.append(server)
        yield addresses(data_dir, started)


def missing_servers(data_dir: Path, *, durable: bool = True) -> list[Server]:
    """The servers, not started yet, whose address the environment does not give."""
    missing: list[Server] = []
    if not os.environ.get("DATABASE_URL"):
        missing.append(Postgres(data_dir, durable=durable))
    if not os.environ.get("REDIS_URL"):
        missing.append(Redis(data_dir))
    return missing


def addresses(data_dir: Path, started: list[Server]) -> dict[str, str]:
    """Where the servers answer; also left in the folder, for commands in another terminal."""
    own = {server.variable: server.url for server in started}
    with explained(data_dir):
        file = data_dir / "addresses.json"
        file.touch(mode=0o600)
        file.write_text(json.dumps(own, indent=2))
    given = {name: os.environ.get(name, "") for name in ("DATABASE_URL", "REDIS_URL")}
    return given | own


def leave(data_dir: Path, settings: dict[str, str]) -> None:
    """Leave settings beside the addresses, for commands in another terminal."""
    with explained(data_dir):
        (data_dir / "addresses.json").write_text(
            json.dumps(last_settings(data_dir) | settings, indent=2)
        )


def last_settings(data_dir: Path) -> dict[str, str]:
    """The addresses that the servers of this folder were last started with, and what was left."""
    try:
        found: dict[str, str] = json.loads((data_dir / "addresses.json").read_text())
    except (OSError, ValueError):
        return {}
    return found


def follow(data_dir: Path, environment: MutableMapping[str, str]) -> None:
    """Work on what `make run` was last started as in this folder, unless the environment says what.

    Who names a database or a key means an installation of their own, and gets nothing of ours.
    """
    if environment.get("DATABASE_URL") or environment.get("SECRET_KEY"):
        return
    for name, value in last_settings(data_dir).items():
        environment.setdefault(name, value)


@contextlib.contextmanager
def lock_folder(data_dir: Path) -> Iterator[None]:
    """Hold the folder for this process alone; the kernel lets go when the process ends.

    Raises `CannotStart` when another process holds it, or when it cannot be written.
    """
    with explained(data_dir):
        data_dir.mkdir(parents=True, exist_ok=True)
        handle = (data_dir / "lock").open("a+")
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            handle.seek(0)
            holder = handle.read().strip() or "unknown"
            raise CannotStart(
                f"Process {holder} is already using {data_dir}: stop it first (Ctrl-C in its "
                "terminal), or set ISPOPS_DATA_DIR to another folder."
            ) from error
        with explained(data_dir):
            handle.truncate(0)
            handle.write(str(os.getpid()))
            handle.flush()
        yield
