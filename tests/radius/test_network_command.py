"""`make network` in front of the whole running product, and a worker that reads what it leaves."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ispops import embedded, processes
from ispops.demo import network
from tests import databases
from tests.journeys.test_later_orders import make_line
from tests.radius import nas
from tests.radius.conftest import require_freeradius
from tests.stack import Stack

pytestmark = [pytest.mark.daemon, pytest.mark.xdist_group("processes")]


@dataclass
class Command:
    """The command as it runs, and what it has said so far."""

    process: subprocess.Popen[bytes]
    output: Path
    auth_port: int
    acct_port: int

    @property
    def said(self) -> str:
        return self.output.read_text()


def terminal(stack: Stack) -> dict[str, str]:
    """Another terminal than that of `make run`: it knows the folder, and what was left there."""
    (stack.folder / "secret_key").write_text(stack.environment["SECRET_KEY"])
    left = ("DATABASE_URL", "REDIS_URL", "ISPOPS_DEMO", "ISPOPS_BASE_URL")
    embedded.leave(stack.folder, {name: stack.environment[name] for name in left})
    kept = ("PATH", "HOME", "LANG", "PYTHONPATH", "ISPOPS_DATA_DIR")
    return {name: stack.environment[name] for name in kept if name in stack.environment}


def start(stack: Stack, output: Path, **settings: str) -> Command:
    require_freeradius()
    auth_port, acct_port = nas.free_ports()
    ports = {"RADIUS_AUTH_PORT": str(auth_port), "RADIUS_ACCT_PORT": str(acct_port)}
    with output.open("wb") as out:
        process = processes.spawn(
            [sys.executable, "-m", "ispops.network"],
            output=out,
            environment=terminal(stack) | ports | settings,
            folder=databases.REPOSITORY,
        )
    return Command(process, output, auth_port, acct_port)


@pytest.fixture
def line(stack: Stack) -> str:
    """The login of a line that was just ordered in the demonstration and set up by its worker."""
    return make_line(stack, "ida@example.com", "Ida Rhodes").username


@pytest.fixture
def command(stack: Stack, line: str, tmp_path: Path) -> Iterator[Command]:
    started = start(stack, tmp_path / "said")
    # What it says of Kea comes last: it makes Kea's tables before, in which no signal disturbs it.
    stack.until(
        lambda: "\nKea " in started.said or started.process.poll() is not None,
        "FreeRADIUS is there, and Kea where it may be",
        seconds=100,
    )
    assert "radclient" in started.said, started.said
    yield started
    processes.stop(started.process, (signal.SIGINT, 20), (signal.SIGKILL, 5))


def test_what_it_prints_works_and_what_it_takes_is_accounted(
    stack: Stack, line: str, command: Command
) -> None:
    found = re.search(r"echo '(.*)' \|\s+radclient -x 127.0.0.1:(\d+) auth (\S+)", command.said)
    assert found is not None
    assert int(found[2]) == command.auth_port
    heard = nas.send(command.auth_port, "auth", found[1], secret=found[3], seconds=10)
    assert line in found[1]
    assert heard.kind == "Access-Accept"
    assert heard.values["Framed-IP-Address"].startswith("198.18.")

    lines = ("Acct-Status-Type = Start", 'Acct-Session-Id = "by-hand"', 'User-Name = "x"')
    told = nas.send(command.acct_port, "acct", *lines, secret=network.ACCESS_SECRET, seconds=10)
    assert told == nas.Heard("Accounting-Response")

    def is_record() -> bool:
        from provisioning.models import AccountingRecord

        with stack.orm():
            return AccountingRecord.objects.filter(session_id="by-hand").exists()

    stack.until(is_record, "a worker has read the inbox")

    command.process.send_signal(signal.SIGINT)
    assert command.process.wait(20) == 0
    assert "is stopped" in command.said
    assert nas.send(command.auth_port, "auth", found[1], secret=found[3], seconds=1).kind == ""


def test_commands_of_another_terminal_work_on_what_runs(stack: Stack, tmp_path: Path) -> None:
    printed = subprocess.run(
        [sys.executable, "manage.py", "radius_clients", str(tmp_path)],
        cwd=databases.REPOSITORY,
        env=terminal(stack),
        capture_output=True,
        text=True,
        check=False,
    )
    assert printed.returncode == 0, printed.stderr
    (written,) = (tmp_path / "v4").iterdir()
    assert network.ACCESS_SECRET in written.read_text()


def test_without_the_application_it_says_what_to_do(stack: Stack, tmp_path: Path) -> None:
    lonely = start(stack, tmp_path / "said", ISPOPS_BASE_URL="http://127.0.0.1:1")
    assert lonely.process.wait(60) == 1
    assert "ISP Ops does not answer at http://127.0.0.1:1" in lonely.said
    assert "make run" in lonely.said
