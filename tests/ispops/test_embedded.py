"""The embedded servers: they start anywhere, keep the data, and say in one line what is wrong."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg2
import pytest
import redis

from ispops import embedded, processes


@pytest.fixture(autouse=True)
def _without_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The servers of the test run itself are named in the environment; here we want our own."""
    monkeypatch.delenv("DATABASE_URL")
    monkeypatch.delenv("REDIS_URL")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder whose cluster has been made, and stopped again."""
    folder = tmp_path_factory.mktemp("cluster")
    server = embedded.Postgres(folder, durable=False)
    server.start()
    server.stop()
    return folder


def query(url: str, statement: str) -> Any:
    with contextlib.closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        answer = cursor.fetchone() if cursor.description else None
        connection.commit()
    return answer


def our_processes(folder: Path) -> list[psutil.Process]:
    """The servers that work in this folder; a process that just ended is none."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        with contextlib.suppress(psutil.Error):
            if folder.resolve() in (where := Path(process.cwd())).parents or where == folder:
                found.append(process)
    return found


def test_data_are_kept_from_one_start_to_the_next(tmp_path: Path) -> None:
    with embedded.servers(tmp_path) as found:
        query(found["DATABASE_URL"], "CREATE TABLE kept AS SELECT 42 AS number")
        redis.Redis.from_url(found["REDIS_URL"]).set("name", "value")
        assert embedded.last_settings(tmp_path) == found
    assert our_processes(tmp_path) == []

    with embedded.servers(tmp_path) as found:
        assert query(found["DATABASE_URL"], "SELECT number FROM kept") == (42,)


def test_what_is_left_in_the_folder_is_followed_unless_an_installation_is_named(
    tmp_path: Path,
) -> None:
    with embedded.servers(tmp_path) as found:
        embedded.leave(tmp_path, {"ISPOPS_DEMO": "1"})
    left = found | {"ISPOPS_DEMO": "1"}
    assert embedded.last_settings(tmp_path) == left

    for own in ({}, {"ISPOPS_DEMO": "0"}):
        environment = dict(own)
        embedded.follow(tmp_path, environment)
        assert environment == left | own
    for own in ({"DATABASE_URL": "postgresql://db/isp"}, {"SECRET_KEY": "ours"}):
        environment = dict(own)
        embedded.follow(tmp_path, environment)
        assert environment == own


def test_the_role_owns_its_database_and_is_no_superuser(cluster: Path) -> None:
    with embedded.servers(cluster, durable=False) as found:
        url = found["DATABASE_URL"]
        assert query(url, "SHOW is_superuser") == ("off",)
        assert query(url, "SHOW server_encoding") == ("UTF8",)
        assert query(url, "SHOW listen_addresses") == ("",)
        assert query(url, "SELECT lower('ÄÖ')") == ("äö",)
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            query(url, "CREATE ROLE another SUPERUSER")


def test_redis_needs_its_password(cluster: Path) -> None:
    with embedded.servers(cluster, durable=False) as found:
        address = found["REDIS_URL"]
        assert redis.Redis.from_url(address).ping()
        stranger = "redis://" + address.split("@")[1]
        with pytest.raises(redis.AuthenticationError):
            redis.Redis.from_url(stranger).ping()


def test_a_folder_with_a_long_path_works(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 25) / "Name with a space"
    with embedded.servers(folder, durable=False) as found:
        assert query(found["DATABASE_URL"], "SELECT 1") == (1,)


def test_servers_named_in_the_environment_are_not_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://db.example/isp")
    monkeypatch.setenv("REDIS_URL", "redis://redis.example/0")
    with embedded.servers(tmp_path) as found:
        assert found == {
            "DATABASE_URL": "postgresql://db.example/isp",
            "REDIS_URL": "redis://redis.example/0",
        }
        assert our_processes(tmp_path) == []


HOLDER = """
import sys, time
from pathlib import Path
from ispops import embedded
with embedded.servers(Path(sys.argv[1]), durable=False):
    print("up", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(cluster: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that runs the servers of the folder."""
    child = subprocess.Popen([sys.executable, "-c", HOLDER, str(cluster)], stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"up\n"
    yield child
    processes.stop(child, (signal.SIGTERM, 10), (signal.SIGKILL, 5))
    child.stdout.close()


def test_two_cannot_use_one_folder(cluster: Path, holder: subprocess.Popen[bytes]) -> None:
    with pytest.raises(embedded.CannotStart) as error, embedded.servers(cluster):
        pass
    assert f"Process {holder.pid} is already using" in one_line(error)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells the children")
def test_a_killed_owner_leaves_no_server(cluster: Path, holder: subprocess.Popen[bytes]) -> None:
    assert our_processes(cluster)
    holder.kill()
    assert processes.wait_until(lambda: not our_processes(cluster), seconds=20)


def test_a_leftover_server_is_replaced(cluster: Path) -> None:
    """As after the death of an owner on a system that does not tell the children."""
    leftover = embedded.Postgres(cluster, durable=False)
    leftover.start()
    query(leftover.url, "CREATE TABLE IF NOT EXISTS survived ()")
    with embedded.servers(cluster, durable=False) as found:
        assert leftover.poll() is not None
        query(found["DATABASE_URL"], "SELECT FROM survived")


def test_a_killed_server_recovers(cluster: Path) -> None:
    server = embedded.Postgres(cluster)
    server.start()
    query(server.url, "CREATE TABLE IF NOT EXISTS recovered ()")
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    assert processes.wait_until(lambda: server.poll() is not None, seconds=5)
    server.start()
    query(server.url, "SELECT FROM recovered")
    server.stop()


def one_line(error: pytest.ExceptionInfo[embedded.CannotStart]) -> str:
    text = str(error.value)
    assert "\n" not in text
    assert "Traceback" not in text
    return text


def test_data_of_another_version_are_refused(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "PG_VERSION").write_text("16\n")
    with pytest.raises(embedded.CannotStart) as error, embedded.servers(tmp_path):
        pass
    assert "made by PostgreSQL 16 and this is PostgreSQL 18" in one_line(error)


def test_a_foreign_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "diary.txt").write_text("mine")
    with pytest.raises(embedded.CannotStart) as error, embedded.servers(tmp_path):
        pass
    assert "is not a PostgreSQL data folder" in one_line(error)
    assert (tmp_path / "postgres" / "diary.txt").read_text() == "mine"


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded.host, "MINIMUM_FREE_BYTES", 2**62)
    with pytest.raises(embedded.CannotStart) as error, embedded.servers(tmp_path):
        pass
    assert "is full" in one_line(error)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(embedded.CannotStart) as error, embedded.servers(tmp_path / "file"):
        pass
    assert f"Cannot use {tmp_path / 'file'}" in one_line(error)


def test_a_server_that_gives_up_is_quoted(cluster: Path) -> None:
    server = embedded.Postgres(cluster, durable=False)
    broken = cluster / "postgres" / "postgresql.auto.conf"
    text = broken.read_text()
    broken.write_text("shared_buffers = 'plenty'\n")
    try:
        with pytest.raises(embedded.CannotStart) as error:
            server.start()
    finally:
        broken.write_text(text)
    assert one_line(error).startswith("PostgreSQL did not start: ")
    assert "shared_buffers" in (cluster / "logs" / "postgresql.log").read_text()


def test_a_machine_without_redis_hears_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(embedded.CannotStart) as error:
        embedded.Redis(tmp_path)
    assert "redis-server or valkey-server" in one_line(error)
