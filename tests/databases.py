"""The databases of one test run: migrated once, then copied for each test process.

A run has a PostgreSQL and a Redis of its own, so that any number of runs can go on at once on one
machine and one working tree. A cluster with the migrations applied is kept in `.data/test` for the
next run with the same migrations, because applying them takes longer than most tests.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg2

from ispops import embedded

REPOSITORY = Path(__file__).resolve().parent.parent
KEPT = REPOSITORY / ".data" / "test"
RUN_VARIABLE = "ISPOPS_TEST_RUN"
YOUNG_SECONDS = 120


@contextlib.contextmanager
def test_servers() -> Iterator[dict[str, str]]:
    """Servers for one run, in a folder that goes with them; gives the environment for all of it."""
    KEPT.mkdir(parents=True, exist_ok=True)
    _sweep()
    run = Path(tempfile.mkdtemp(prefix="run-", dir=KEPT))
    own = not os.environ.get("DATABASE_URL")
    kept = KEPT / f"cluster-{_fingerprint()}"
    try:
        if own and kept.exists():
            subprocess.run(["cp", "-a", kept, run / "postgres"], check=True)
        (run / "static").mkdir()
        with embedded.servers(run, durable=False) as found:
            yield found | {RUN_VARIABLE: str(run)}
            _drop_all_but_the_template(found["DATABASE_URL"], run)
        # A migration that was edited meanwhile must not be kept under another one's name.
        is_current = kept == KEPT / f"cluster-{_fingerprint()}"
        if own and is_current and not kept.exists() and (run / "template").exists():
            (run / "postgres").rename(kept)
    finally:
        shutil.rmtree(run, ignore_errors=True)


def template_name(run: Path) -> str:
    """The migrated database: a name of its own on a server that others use, too."""
    own = (run / "postgres").exists()
    return "migrated" if own else f"migrated_{run.name.replace('-', '_')}"


def make_template() -> str:
    """Make sure this run has a migrated database, whichever test process asks first.

    A kept one is migrated again: that costs a second and makes permissions and groups, which come
    from the code and not from the migrations, match the code of today.
    """
    from django.core.management import call_command
    from django.db import connection

    run = Path(os.environ[RUN_VARIABLE])
    name = template_name(run)
    with (run / "template.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (run / "template").exists():
            with contextlib.suppress(psycopg2.errors.DuplicateDatabase):
                execute(f'CREATE DATABASE "{name}"')
            usual = connection.settings_dict["NAME"]
            connection.settings_dict["NAME"] = name
            try:
                call_command("migrate", verbosity=0, interactive=False)
            finally:
                connection.close()
                connection.settings_dict["NAME"] = usual
            (run / "template").touch()
    return name


def copy_database(template: str, name: str) -> None:
    """Make a database like another one, to which nobody may be connected."""
    execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
    execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')


@contextlib.contextmanager
def own_server(folder: Path) -> Iterator[embedded.Postgres]:
    """A server of one test's own, with the tables of a migrated database; it may be restarted.

    It is as durable as a real one: what it acknowledged, it has after a crash.
    """
    template = url_of(make_template())
    with embedded.lock_folder(folder):
        server = embedded.Postgres(folder)
        server.start()
        try:
            tables = subprocess.run(
                [server.binaries / "pg_dump", "--no-owner", template], check=True,
                stdout=subprocess.PIPE,
            ).stdout  # fmt: skip
            read_in = [server.binaries / "psql", "-q", "-v", "ON_ERROR_STOP=1", server.url]
            subprocess.run(read_in, input=tables, check=True, stdout=subprocess.DEVNULL)
            yield server
        finally:
            server.stop()


class Wiping:
    """Empties the database after a test with transactions of its own, as Django's flush does.

    Flush truncates every table and writes permissions and groups anew, which takes longer than
    most of these tests. Here only what has rows is emptied, and what the migrations and the code
    wrote stays, as long as no test has changed it.
    """

    def __init__(self) -> None:
        from django.db import connection

        names = connection.introspection.django_table_names(only_existing=True, include_views=False)
        self.tables = [name for name in names if name != "django_migrations"]
        self.seeded = {name: self._digest(name) for name in self._with_rows()}

    def wipe(self) -> None:
        from django.core.management.sql import emit_post_migrate_signal
        from django.db import transaction

        kept = {name for name, digest in self.seeded.items() if self._digest(name) == digest}
        is_seeded = kept == self.seeded.keys()
        filled = [name for name in self._with_rows() if not (is_seeded and name in kept)]
        # Posted rows refuse to be deleted. A table with deletions whose foreign keys are not
        # looked at yet cannot be altered, so the triggers come back in a transaction of their own.
        for statement in (
            'ALTER TABLE "{}" DISABLE TRIGGER USER',
            'DELETE FROM "{}"',
            'ALTER TABLE "{}" ENABLE TRIGGER USER',
        ):
            with transaction.atomic():
                self._execute(";".join(statement.format(name) for name in filled))
        if not is_seeded:
            emit_post_migrate_signal(verbosity=0, interactive=False, db="default")
            self.seeded = {name: self._digest(name) for name in self.seeded}

    def _with_rows(self) -> list[str]:
        asked = (f"SELECT '{name}' WHERE EXISTS (SELECT FROM \"{name}\")" for name in self.tables)
        return self._execute(" UNION ALL ".join(asked))

    def _digest(self, name: str) -> str:
        statement = f'SELECT md5(string_agg(t::text, chr(10) ORDER BY t::text)) FROM "{name}" t'
        return self._execute(statement)[0]

    @staticmethod
    def _execute(statement: str) -> list[str]:
        from django.db import connection

        if not statement:
            return []
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return [first for (first,) in cursor.fetchall()] if cursor.description else []


def drop_database(name: str) -> None:
    """Remove a database, once PostgreSQL's own vacuum, which nobody may end, has left it."""
    until = time.monotonic() + 30
    while True:
        try:
            execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
            break
        except psycopg2.errors.InsufficientPrivilege:
            if time.monotonic() > until:
                raise
            time.sleep(1)


def url_of(name: str) -> str:
    """The address of another database on the server of this run."""
    return urlunsplit(urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{name}"))


def execute(statement: str, url: str | None = None) -> None:
    with contextlib.closing(psycopg2.connect(url or os.environ["DATABASE_URL"])) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)


def scratch_name(kind: str) -> str:
    """A name for a database of this test process; unique on the server, gone after the run."""
    run = Path(os.environ[RUN_VARIABLE])
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    return f"{kind}_{run.name.replace('-', '_')}_{worker}"


def _drop_all_but_the_template(url: str, run: Path) -> None:
    """Leave nothing on a server that lives on, and nothing but the template to be kept."""
    own = (run / "postgres").exists()
    mine = f"%{run.name.replace('-', '_')}%"
    with contextlib.closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT datname FROM pg_database WHERE datname LIKE %s", [mine])
        names = [name for (name,) in cursor.fetchall()]
    for name in names:
        if not (own and name == template_name(run)):
            execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)', url)


def _fingerprint() -> str:
    """What a migrated cluster depends on: our migrations and the versions of all packages."""
    digest = hashlib.sha256()
    files = sorted(REPOSITORY.glob("*/migrations/*.py")) + sorted(
        REPOSITORY.glob("ispops/*/migrations/*.py")
    )
    for path in [REPOSITORY / "requirements.txt", *files]:
        digest.update(f"{path.relative_to(REPOSITORY)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _sweep() -> None:
    """Remove what killed runs left, and kept clusters beyond the three made last."""
    for run in KEPT.glob("run-*"):
        if time.time() - run.stat().st_mtime < YOUNG_SECONDS:
            continue  # it may not hold its lock yet
        with contextlib.suppress(embedded.CannotStart), embedded.lock_folder(run):
            shutil.rmtree(run, ignore_errors=True)
    clusters = sorted(KEPT.glob("cluster-*"), key=lambda path: path.stat().st_mtime, reverse=True)
    for cluster in clusters[3:]:
        shutil.rmtree(cluster, ignore_errors=True)
