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
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg2

from ispops import embedded

REPOSITORY = Path(__file__).resolve().parent.parent
KEPT = REPOSITORY / ".data" / "test"
TEMPLATE = "migrated"
RUN_VARIABLE = "ISPOPS_TEST_RUN"


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
        with embedded.servers(run, durable=False) as found:
            yield found | {RUN_VARIABLE: str(run)}
        if own and not kept.exists() and (run / "template").exists():
            (run / "postgres").rename(kept)
    finally:
        shutil.rmtree(run, ignore_errors=True)


def make_template() -> str:
    """Make sure this run has a migrated database, whichever test process asks first.

    A kept one is migrated again: that costs a second and makes permissions and groups, which come
    from the code and not from the migrations, match the code of today.
    """
    from django.core.management import call_command
    from django.db import connection

    run = Path(os.environ[RUN_VARIABLE])
    name = TEMPLATE if (run / "postgres").exists() else f"{TEMPLATE}_{run.name.replace('-', '_')}"
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


def drop_database(name: str) -> None:
    execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def url_of(name: str) -> str:
    """The address of another database on the server of this run."""
    return urlunsplit(urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{name}"))


def execute(statement: str, url: str | None = None) -> None:
    with contextlib.closing(psycopg2.connect(url or os.environ["DATABASE_URL"])) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)


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
    """Remove what killed runs left, and kept clusters beyond the three used last."""
    for run in KEPT.glob("run-*"):
        with contextlib.suppress(embedded.CannotStart), embedded.lock_folder(run):
            shutil.rmtree(run, ignore_errors=True)
    clusters = sorted(KEPT.glob("cluster-*"), key=lambda path: path.stat().st_mtime, reverse=True)
    for cluster in clusters[3:]:
        shutil.rmtree(cluster, ignore_errors=True)
