"""The real Kea (Debian's kea-dhcp4-server) with the configuration of deploy/kea."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from psycopg2.extensions import parse_dsn

from ispops import processes
from ispops.network import freeradius
from tests import databases
from tests.databases import REPOSITORY

PACKAGES = ("kea-dhcp4-server", "kea-admin")
PROGRAMS = ("kea-dhcp4", "ip")
TABLES = Path("/usr/share/kea/scripts/pgsql/dhcpdb_create.pgsql")
CONFIGURATION = REPOSITORY / "deploy" / "kea"
STARTED = "DHCP4_STARTED"
# The subnet of the tests: the server's side, the relay's, and the walled garden.
SERVER, RELAY, SUBNET = "100.127.9.1", "100.127.9.2", "100.127.9.0/24"
RESERVED, GARDEN = "100.127.9.64/26", "100.127.9.192-100.127.9.250"
NAMESPACE, CABLE = "isp-kea", "ispkea"


def is_there() -> bool:
    """Install Kea where we may; say whether it is here."""
    if not TABLES.exists():
        freeradius.install(*PACKAGES)
    return TABLES.exists() and all(map(freeradius.find, PROGRAMS))


def require_tables() -> str:
    """The SQL that makes Kea's database; the test is left out where Kea cannot be had."""
    if not is_there():
        reason = f"there is no Kea: install the packages {' '.join(PACKAGES)}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return TABLES.read_text()


@contextmanager
def database(kind: str) -> Iterator[str]:
    """Give the address of a database with Kea's own tables, for as long as the block lasts."""
    script = require_tables()
    name = databases.scratch_name(kind)
    databases.execute(f'CREATE DATABASE "{name}"')
    databases.execute(script, databases.url_of(name))
    try:
        yield databases.url_of(name)
    finally:
        databases.drop_database(name)


def run(*command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    program = freeradius.find(command[0])
    assert program is not None, command
    done = subprocess.run(
        [program, *command[1:]], capture_output=True, text=True, timeout=30, check=False
    )
    assert not check or done.returncode == 0, f"{command}: {done.stderr}"
    return done


@contextmanager
def cable() -> Iterator[str]:
    """A namespace for Kea, and a cable from it to this machine, where the relay is."""
    if run("ip", "netns", "add", f"probe-{os.getpid()}", check=False).returncode:
        pytest.skip("this machine makes no network namespace")
    run("ip", "netns", "del", f"probe-{os.getpid()}")
    _take_away()
    inside = ("ip", "netns", "exec", NAMESPACE, "ip")
    try:
        run("ip", "netns", "add", NAMESPACE)
        run("ip", "link", "add", f"{CABLE}0", "type", "veth", "peer", "name", f"{CABLE}1")
        run("ip", "link", "set", f"{CABLE}1", "netns", NAMESPACE)
        run("ip", "addr", "add", f"{RELAY}/24", "dev", f"{CABLE}0")
        run("ip", "link", "set", f"{CABLE}0", "up")
        run(*inside, "addr", "add", f"{SERVER}/24", "dev", f"{CABLE}1")
        run(*inside, "link", "set", f"{CABLE}1", "up")
        yield f"{CABLE}1"
    finally:
        _take_away()


def _take_away() -> None:
    run("ip", "netns", "del", NAMESPACE, check=False)
    run("ip", "link", "del", f"{CABLE}0", check=False)


@contextmanager
def server(
    folder: Path, interface: str, database_url: str, *, pools: bool = False
) -> Iterator[Path]:
    """A Kea in the namespace with its hosts and pools in this database; gives its log.

    With `pools`, a pool of reserved addresses and a walled garden are in its file instead.
    """
    if not parse_dsn(database_url)["host"].startswith("/"):
        pytest.skip("from a namespace, PostgreSQL is reached by the folder of its socket alone")
    for name in ("kea-dhcp4.conf", "hooks.json"):
        shutil.copy(CONFIGURATION / name, folder / name)
    _write_local(folder, interface, database_url, pools=pools)
    program, ip = freeradius.find("kea-dhcp4"), freeradius.find("ip")
    assert program is not None
    assert ip is not None
    log = folder / "kea.log"
    places = ("KEA_PIDFILE_DIR", "KEA_LOCKFILE_DIR", "KEA_DHCP_DATA_DIR")
    with log.open("wb") as output:
        child = processes.spawn(
            [ip, "netns", "exec", NAMESPACE, program, "-c", "kea-dhcp4.conf"],
            output=output,
            environment=os.environ | dict.fromkeys(places, str(folder)),
            folder=folder,
        )
    try:
        assert processes.wait_until(
            lambda: child.poll() is not None or STARTED in log.read_text(), seconds=20
        ), log.read_text()
        assert child.poll() is None, log.read_text()
        yield log
    finally:
        processes.stop(child, (signal.SIGTERM, 10), (signal.SIGKILL, 5))


def _write_local(folder: Path, interface: str, database_url: str, *, pools: bool) -> None:
    """Write the three files that differ from place to place; see the README of the product."""
    in_file = [
        {"pool": RESERVED, "client-class": "nobody"},
        {"pool": GARDEN, "client-class": "walled_garden"},
    ]
    parts = parse_dsn(database_url)
    database = {
        "type": "postgresql", "name": parts["dbname"], "user": parts["user"],
        "password": parts.get("password", ""), "host": parts["host"],
        "port": int(parts.get("port", 5432)), "connect-timeout": 5,
        "max-reconnect-tries": 100, "reconnect-wait-time": 500, "on-fail": "serve-retry-continue",
    }  # fmt: skip
    local = {
        "interfaces": [interface],
        "database": database,
        "subnets": [{"id": 1, "subnet": SUBNET, "pools": in_file}] if pools else [],
    }
    for name, value in local.items():
        (folder / f"{name}.json").write_text(json.dumps(value))
