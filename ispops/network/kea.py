"""Kea with the configuration of `deploy/kea`, as a child process in a network namespace.

An operator starts the same configuration by systemd, with files of the same names beside it. Here
one cable leads from the namespace to this machine, where whoever asks stands for a relay agent.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2.extensions import parse_dsn

from ispops import processes
from ispops.embedded import CannotStart
from ispops.network import freeradius

CONFIGURATION = freeradius.CONFIGURATION.parent / "kea"
PACKAGES = ("kea-dhcp4-server", "kea-dhcp6-server", "kea-admin")
PROGRAMS = ("kea-dhcp4", "kea-dhcp6", "perfdhcp", "ip")
TABLES = Path("/usr/share/kea/scripts/pgsql/dhcpdb_create.pgsql")
START_SECONDS = 20.0
# The ends of the cable: the server's, and that of the relay agent.
SERVER = {4: "100.127.9.1", 6: "2001:db8:ffff:9::1"}
RELAY = {4: "100.127.9.2", 6: "2001:db8:ffff:9::2"}
SUBNET = {4: "100.127.9.0/24", 6: "2001:db8:ffff:9::/64"}


def require() -> None:
    """Make sure that Kea is there. Raises `CannotStart` with what to do."""
    if not _is_there():
        freeradius.install(*PACKAGES)
    if not _is_there():
        raise CannotStart(f"There is no Kea: install the packages {' '.join(PACKAGES)}.")


def _is_there() -> bool:
    return TABLES.exists() and all(map(freeradius.find, PROGRAMS))


def run(*command: str, check: bool = True, seconds: float = 30) -> subprocess.CompletedProcess[str]:
    """Run one of the programs to its end; its failure is a `CannotStart` if it is checked."""
    program = freeradius.find(command[0])
    if program is None:
        raise CannotStart(f"{command[0]} cannot be found.")
    done = subprocess.run(
        [program, *command[1:]], capture_output=True, text=True, timeout=seconds, check=False
    )
    if check and done.returncode:
        raise CannotStart(f"{' '.join(command)}: {done.stderr.strip()}")
    return done


@contextmanager
def cable(name: str) -> Iterator[str]:
    """A namespace of this name, and a cable from it to this machine; gives the inner end.

    The outer end is called like the namespace. Raises `CannotStart` where none may be made.
    """
    inner = f"{name}-in"
    inside = ("ip", "netns", "exec", name, "ip")
    _take_away(name)
    try:
        if run("ip", "netns", "add", name, check=False).returncode:
            raise CannotStart(
                "Kea needs a network namespace, which this user may not make: be root."
            )
        run("ip", "link", "add", name, "type", "veth", "peer", "name", inner)
        run("ip", "link", "set", inner, "netns", name)
        for end, side, link in ((inside, inner, "fe80::1"), (("ip",), name, "fe80::2")):
            mine = SERVER if side == inner else RELAY
            # An IPv6 address may be used only after a second, in which it is looked for elsewhere,
            # unless one says that nobody has it.
            run(*end, "link", "set", side, "addrgenmode", "none")
            run(*end, "addr", "add", f"{link}/64", "dev", side, "nodad")
            run(*end, "addr", "add", f"{mine[4]}/24", "dev", side)
            run(*end, "addr", "add", f"{mine[6]}/64", "dev", side, "nodad")
        run("ip", "link", "set", name, "up")
        run(*inside, "link", "set", inner, "up")
        yield inner
    finally:
        _take_away(name)


def _take_away(name: str) -> None:
    run("ip", "netns", "del", name, check=False)
    run("ip", "link", "del", name, check=False)


def make_tables(url: str) -> None:
    """Make Kea's own tables in a database, if they are not there."""
    with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('hosts')")
        if cursor.fetchone()[0] is None:
            cursor.execute(TABLES.read_text())


def exchanges(
    family: int,
    namespace: str,
    *,
    devices: int,
    a_second: int,
    first_mac: str,
    what: str = "prefix-only",
    seconds: float = 30,
) -> int:
    """Let so many devices ask a Kea in this namespace, each once; returns how many it gave one.

    perfdhcp is the relay agent, or on the link itself for IPv6, where `what` is what it asks for.
    """
    where = ("-l", namespace) if family == 6 else ("-l", RELAY[4])
    whom = ("-e", what, "all") if family == 6 else (SERVER[4],)
    done = run(
        "perfdhcp", f"-{family}", *where, "-b", f"mac={first_mac}", "-R", str(devices), "-n",
        str(devices), "-r", str(a_second), "-W", "300000", *whom, check=False, seconds=seconds,
    )  # fmt: skip
    found = re.findall(r"received packets: (\d+)", done.stdout)
    if not found:
        raise CannotStart(f"perfdhcp: {(done.stderr or done.stdout).strip()[-300:]}")
    # The last figures are those of the second exchange; in IPv6 a refusal is an answer, too.
    rejected = re.findall(r"rejected leases: (\d+)", done.stdout)
    return int(found[-1]) - int(rejected[-1])


class Kea:
    """One Kea server of one family, with a folder of its own for all that it reads and writes.

    It is inside the namespace, from where PostgreSQL is reached by the folder of its socket alone.
    """

    name = "Kea"

    def __init__(
        self,
        folder: Path,
        *,
        namespace: str,
        interface: str,
        database_url: str,
        family: int = 4,
        subnets: Sequence[Any] = (),
    ) -> None:
        self.folder, self.family = folder, family
        self.control_socket = folder / f"kea{family}.socket"
        self.lease_file = folder / f"kea-leases{family}.csv"
        self.log = folder / f"kea{family}.log"
        self._namespace = namespace
        self._process: subprocess.Popen[bytes] | None = None
        self._local = {
            "interfaces": [interface],
            "database": _database(database_url),
            "subnets": list(subnets),
            "options": [],
        }

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start it and wait until it serves. Raises `CannotStart` with its own complaint."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        configuration = f"kea-dhcp{self.family}.conf"
        for name in (configuration, "hooks.json"):
            shutil.copy(CONFIGURATION / name, self.folder / name)
        for name, value in self._local.items():
            path = self.folder / f"{name}.json"
            path.touch(mode=0o600)
            path.write_text(json.dumps(value))
        places = ("KEA_PIDFILE_DIR", "KEA_LOCKFILE_DIR", "KEA_DHCP_DATA_DIR")
        with self.log.open("wb") as log:
            self._process = processes.spawn(
                [
                    freeradius.find("ip") or "ip", "netns", "exec", self._namespace,
                    freeradius.find(f"kea-dhcp{self.family}") or "kea", "-c", configuration,
                ],
                output=log,
                environment=os.environ | dict.fromkeys(places, str(self.folder)) | {"TZ": "UTC"},
                folder=self.folder,
            )  # fmt: skip
        started = f"DHCP{self.family}_STARTED"
        serves = processes.wait_until(
            lambda: self.poll() is not None or started in self.said(), seconds=START_SECONDS
        )
        if not serves or self.poll() is not None:
            self.stop()
            raise CannotStart(f"Kea: {self._complaint()} (see {self.log})")

    def poll(self) -> int | None:
        return None if self._process is None else self._process.poll()

    def stop(self) -> None:
        if self._process is not None:
            processes.stop(self._process, (signal.SIGTERM, 10), (signal.SIGKILL, 5))

    def kill(self) -> None:
        """End it as a power cut does."""
        if self._process is not None:
            processes.stop(self._process, (signal.SIGKILL, 5))

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def _complaint(self) -> str:
        lines = [line for line in self.said().splitlines() if "ERROR" in line or "FATAL" in line]
        return (lines or ["it did not start"])[-1].strip()


def _database(url: str) -> dict[str, Any]:
    """A database in Kea's words. Raises `CannotStart` where it is not reached by a socket."""
    parts = parse_dsn(url)
    if not parts["host"].startswith("/"):
        raise CannotStart("From a namespace, PostgreSQL is reached by the folder of its socket.")
    return {
        "type": "postgresql", "name": parts["dbname"], "user": parts["user"],
        "password": parts.get("password", ""), "host": parts["host"],
        "port": int(parts.get("port", 5432)), "connect-timeout": 5,
        "max-reconnect-tries": 100, "reconnect-wait-time": 500, "on-fail": "serve-retry-continue",
    }  # fmt: skip
