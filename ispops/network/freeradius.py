"""FreeRADIUS with the configuration of `deploy/freeradius`, as a child process.

An operator starts the same configuration by systemd, with the same variables of the environment.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

from ispops import processes
from ispops.embedded import CannotStart

CONFIGURATION = Path(__file__).resolve().parent.parent.parent / "deploy" / "freeradius"
PACKAGES = ("freeradius", "freeradius-rest", "freeradius-postgresql", "freeradius-utils")
PROGRAMS = ("freeradius", "radclient")
SYSTEM_FOLDERS = "/usr/local/sbin:/usr/sbin:/sbin"
READY = "Ready to process requests"
READY_SECONDS = 20.0


def find(program: str = "freeradius") -> str | None:
    """The program, also where a user's PATH leaves out what is for the system."""
    return shutil.which(program) or shutil.which(program, path=SYSTEM_FOLDERS)


def install(*packages: str) -> None:
    """Install Debian packages, these or FreeRADIUS's, where we may; quietly and without a daemon.

    Nothing happens where we may not: whoever asks looks for the program afterwards.
    """
    if os.geteuid() or not shutil.which("apt-get"):
        return
    # Debian starts a daemon as soon as it is installed, unless this says that it must not.
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    for command in (["update", "-q"], ["install", "-qy", *(packages or PACKAGES)]):
        subprocess.run(
            ["apt-get", *command],  # noqa: S607 - wherever the system has it
            check=False,
            stdout=subprocess.DEVNULL,
            env=environment,
        )


def require() -> None:
    """Make sure that FreeRADIUS is there. Raises `CannotStart` with what to do."""
    if all(map(find, PROGRAMS)):
        return
    install()
    missing = [program for program in PROGRAMS if not find(program)]
    if missing:
        raise CannotStart(
            f"{' and '.join(missing)} cannot be found: install the packages {' '.join(PACKAGES)} "
            "(for example, as root: apt install ...) and run again."
        )


def write_clients(folder: Path, clients: Mapping[str, str]) -> list[str]:
    """Make the folders of access servers what they should be; returns the addresses that changed.

    FreeRADIUS may look at any moment: it finds a whole file or none.
    """
    wanted = {folder / ("v6" if ":" in name else "v4") / name: name for name in clients}
    known: set[Path] = set()
    for family in ("v4", "v6"):
        (folder / family).mkdir(parents=True, exist_ok=True, mode=0o700)
        known |= {path for path in (folder / family).iterdir() if path.name[0] != "."}
    gone = known - wanted.keys()
    for path in gone:
        path.unlink()
    changed = [
        path
        for path, name in wanted.items()
        if path not in known or path.read_text() != clients[name]
    ]
    for path in changed:
        beside = path.with_name(f".{path.name}")  # FreeRADIUS passes over such a name
        beside.touch(mode=0o600)
        beside.write_text(clients[path.name])
        beside.replace(path)
    return sorted(path.name for path in {*changed, *gone})


class FreeRadius:
    """One server, with a folder of its own for its pid, its log and its spool.

    `database` is libpq's words for the role that writes the inbox, without its password, because
    FreeRADIUS writes them into its log; `clients` are those of `provisioning.radius_setup`.
    """

    name = "FreeRADIUS"

    def __init__(
        self,
        folder: Path,
        *,
        app_url: str,
        server: tuple[str, str],
        database: str,
        password: str,
        clients: Mapping[str, str],
        auth_port: int = 1812,
        acct_port: int = 1813,
    ) -> None:
        self.folder = folder
        self.auth_port, self.acct_port = auth_port, acct_port
        self.log = folder / "freeradius.log"
        self.clients = clients
        self.clients_folder = folder / "clients"
        self._process: subprocess.Popen[bytes] | None = None
        self.environment = {
            "PATH": f"{os.environ.get('PATH', '')}:{SYSTEM_FOLDERS}",
            # Dates would be written in local time otherwise, whose name can mean several zones.
            "TZ": "UTC",
            "RADIUS_CONFIG_DIR": str(CONFIGURATION),
            "RADIUS_RUN_DIR": str(folder),
            "RADIUS_LISTEN": "127.0.0.1",
            "RADIUS_AUTH_PORT": str(auth_port),
            "RADIUS_ACCT_PORT": str(acct_port),
            "RADIUS_CLIENTS": str(self.clients_folder),
            "RADIUS_APP_URL": app_url.rstrip("/"),
            "RADIUS_SERVER_NAME": server[0],
            # FreeRADIUS expands this one, in which a percent sign is written twice.
            "RADIUS_SERVER_SECRET": server[1].replace("%", "%%"),
            "RADIUS_DATABASE": database,
            "PGPASSWORD": password,
        }

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start it and wait until it listens. Raises `CannotStart` with its own complaint."""
        program = find()
        if program is None:
            raise CannotStart("There is no FreeRADIUS: install the package freeradius.")
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        (self.folder / "spool").mkdir(exist_ok=True)
        write_clients(self.clients_folder, self.clients)
        with self.log.open("wb") as log:
            self._process = processes.spawn(
                [program, "-f", "-l", "stdout", "-d", str(CONFIGURATION)],
                output=log,
                environment=self.environment,
                folder=self.folder,
            )
        listens = processes.wait_until(
            lambda: self.poll() is not None or READY in self.said(), seconds=READY_SECONDS
        )
        if not listens or self.poll() is not None:
            self.stop()
            raise CannotStart(f"FreeRADIUS: {self._complaint()} (see {self.log})")

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
        lines = [line for line in self.said().splitlines() if "rror" in line or "ailed" in line]
        return (lines or ["it did not start"])[-1].strip()
