"""`make run`: everything the product needs, started in order, kept alive, stopped in order.

Own code and not a library, because most of it is what the libraries leave out: the embedded
servers, waiting until the product really answers, and one clear line for each thing that can be
wrong with a machine.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, Protocol

import requests

from ispops import embedded, processes

REPOSITORY = Path(__file__).resolve().parent.parent
READY_SECONDS = 90
# Without what would open something for whoever reads it.
ACCESS_LOG = "ispops.access_log.AccessLog"
LONGEST_PAUSE = 30.0
STEADY_SECONDS = 60.0
LOG_BYTES_KEPT = 10 * 1024 * 1024
# As ispops.demo.people knows them, which cannot be imported before the settings can be read.
PARTNER_PORT, DEFAULT_PARTNER_PORT = "DEMO_PARTNER_PORT", 8099


@dataclass(frozen=True)
class Program:
    """One line of the table: what to run, and how long it may take to end politely."""

    name: str
    command: Sequence[str]
    stop_seconds: float = 10
    sockets: tuple[int, ...] = ()


def programs(
    *, listener: socket.socket, data_dir: Path, demo: bool, partners: socket.socket | None = None
) -> list[Program]:
    """The processes of the product, in the order in which they are stopped.

    The web server gets the listening socket from its parent: so the port stays ours while the web
    server is started again, and callers wait instead of being refused. So does the partners' server
    of a demonstration; without `partners` it takes the port of DEMO_PARTNER_PORT itself.
    """
    python = sys.executable
    web = "-m gunicorn ispops.wsgi:application --preload --worker-class gthread"
    web += " --workers 2 --threads 16"
    web += f" --bind fd://{listener.fileno()} --timeout 60 --graceful-timeout 3 --no-control-socket"
    beat = ["-m", "celery", "-A", "ispops", "beat", "--loglevel", "WARNING", "--pidfile="]
    beat += ["--schedule", str(data_dir / "beat")]
    worker = "-m celery -A ispops worker --concurrency 3 --loglevel WARNING"
    worker += " --without-gossip --without-mingle"
    table = [
        Program(
            "web",
            [python, *web.split(), "--access-logfile", "-", "--logger-class", ACCESS_LOG],
            sockets=(listener.fileno(),),
        ),
        Program("beat", [python, *beat]),
        Program("worker", [python, *worker.split()], stop_seconds=20),
    ]
    if demo:
        sockets = (partners.fileno(),) if partners else ()
        bsp = [python, "-m", "ispops.demo.bsp_server", *map(str, sockets)]
        table.append(Program("bsp", bsp, sockets=sockets))
    return table


class Keepable(Protocol):
    """Something that can be started again when it has died."""

    name: str

    @property
    def pid(self) -> int | None: ...
    def start(self) -> None: ...
    def stop(self) -> None: ...
    def poll(self) -> int | None: ...


class Child:
    """One running program, writing to a log file of its own."""

    def __init__(self, program: Program, environment: Mapping[str, str], logs: Path) -> None:
        self.name = program.name
        self.program = program
        self.environment = environment
        self.log = logs / f"{program.name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        grown = self.log.exists() and self.log.stat().st_size > LOG_BYTES_KEPT
        with self.log.open("wb" if grown else "ab") as log:
            self._process = processes.spawn(
                self.program.command,
                output=log,
                environment=self.environment,
                folder=REPOSITORY,
                sockets=self.program.sockets,
            )

    def poll(self) -> int | None:
        return None if self._process is None else self._process.poll()

    def stop(self) -> None:
        if self._process is not None:
            seconds = self.program.stop_seconds
            processes.stop(self._process, (signal.SIGTERM, seconds), (signal.SIGKILL, 5))


class Keeper:
    """Starts a process again when it dies, after a pause that doubles while it keeps dying."""

    def __init__(self, kept: Keepable, say: Callable[[str], None]) -> None:
        self.kept = kept
        self.say = say
        self.deaths = 0
        self._started_at = time.monotonic()
        self._again_at: float | None = None

    def look(self) -> None:
        """Notice a death, or end a pause; never waits."""
        now = time.monotonic()
        if self._again_at is not None:
            if now >= self._again_at:
                self._start_again()
            return
        status = self.kept.poll()
        if status is None:
            if now - self._started_at > STEADY_SECONDS:
                self.deaths = 0
            return
        self._plan_restart(f"{self.kept.name} ended ({_ending(status)})")

    def _start_again(self) -> None:
        self._again_at = None
        self._started_at = time.monotonic()
        try:
            self.kept.start()
        except (embedded.CannotStart, OSError) as error:
            self._plan_restart(str(error))

    def _plan_restart(self, reason: str) -> None:
        if self.kept.pid is not None:
            processes.end_group(self.kept.pid)
        pause = min(2.0**self.deaths, LONGEST_PAUSE)
        self.deaths += 1
        self._again_at = time.monotonic() + pause
        self.say(f"{reason.rstrip('.')}; starting it again in {pause:.0f} s.")


def main() -> int:
    """Run until a signal comes. The exit status is 0 then, and 1 when something cannot start."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    try:
        with contextlib.ExitStack() as running:
            _run(running)
    except embedded.CannotStart as error:
        print(error, file=sys.stderr, flush=True)
        return 1
    except SystemExit:
        _say("Stopped. The data is kept.")
        return 0


def _leave(number: int, frame: object) -> NoReturn:
    """Unwind once, and let nothing disturb the orderly stop that follows."""
    for other in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(other, signal.SIG_IGN)
    raise SystemExit(0)


def _run(running: contextlib.ExitStack) -> NoReturn:
    started_at = time.monotonic()
    port = _port()
    data_dir = Path(os.environ.get("ISPOPS_DATA_DIR") or REPOSITORY / ".data").absolute()
    demo = os.environ.get("ISPOPS_DEMO", "") in {"1", "true", "yes", "on"}
    running.enter_context(embedded.lock_folder(data_dir))
    listener = running.enter_context(listen(port))
    partners = running.enter_context(_listen_for_partners()) if demo else None

    if url := os.environ.get("REDIS_URL"):
        # Everything would start, and nobody be told for long what it waits for.
        embedded.require_answer(url)
    servers = embedded.missing_servers(data_dir)
    for server in servers:
        _say(f"Starting {server.name} ...")
        running.callback(server.stop)
        server.start()
    environment = _environment(port, data_dir, servers, demo=demo)
    _prepare(environment, data_dir)

    table = programs(listener=listener, data_dir=data_dir, demo=demo, partners=partners)
    children = [Child(program, environment, data_dir / "logs") for program in table]
    for child in reversed(children):
        running.callback(child.stop)
    running.push(_announce_stop)
    _say("Starting " + ", ".join(child.name for child in children) + " ...")
    for child in children:
        child.start()
    kept: list[Keepable] = [*servers, *children]
    keepers = [Keeper(one, _say) for one in kept]
    _wait_until_ready(port, keepers, data_dir / "logs")

    _say(f"\nReady after {time.monotonic() - started_at:.0f} s: http://127.0.0.1:{port}/")
    if demo:
        _say((data_dir / "logins.txt").read_text())
    _say(f"The logs are in {data_dir / 'logs'}. Ctrl-C stops everything.")
    while True:
        for keeper in keepers:
            keeper.look()
        time.sleep(0.5)


def _environment(
    port: int, data_dir: Path, servers: list[embedded.Server], *, demo: bool
) -> dict[str, str]:
    """The settings of what is started; those that commands in another terminal need are left."""
    url = os.environ.get("ISPOPS_BASE_URL") or f"http://127.0.0.1:{port}"
    found = embedded.addresses(data_dir, servers)
    embedded.leave(data_dir, {"ISPOPS_DEMO": str(int(demo)), "ISPOPS_BASE_URL": url})
    return (
        dict(os.environ)
        | found
        | {
            "DJANGO_SETTINGS_MODULE": "ispops.settings",
            "ISPOPS_DATA_DIR": str(data_dir),
            "ISPOPS_BASE_URL": url,
            "PYTHONUNBUFFERED": "1",
        }
    )


def _announce_stop(kind: type[BaseException] | None, *_: object) -> None:
    if kind is SystemExit:
        _say("\nStopping ...")


def _port(variable: str = "PORT", usual: int = 8000) -> int:
    text = os.environ.get(variable) or str(usual)
    if not text.isdigit() or not 0 < int(text) < 65536:
        raise embedded.CannotStart(f"{variable}={text} is no port: give a number from 1 to 65535.")
    return int(text)


def listen(port: int, variable: str = "PORT") -> socket.socket:
    """Take a loopback port, or any free one for 0. Raises `CannotStart`."""
    try:
        return socket.create_server(("127.0.0.1", port), backlog=256)
    except OSError as error:
        raise embedded.CannotStart(
            f"Port {port} cannot be used ({os.strerror(error.errno or 0)}): stop the program that "
            f"uses it, or choose another, for example: make run {variable}={port % 65535 + 1}"
        ) from error


def _listen_for_partners() -> socket.socket:
    """Without its port the partners' server could confirm no order; worse, the partners of another
    demonstration would get our webhooks."""
    return listen(_port(PARTNER_PORT, DEFAULT_PARTNER_PORT), PARTNER_PORT)


def _prepare(environment: Mapping[str, str], data_dir: Path) -> None:
    """Run `manage.py prepare`, which says what it does.

    Raises `CannotStart` with the line that tells why it failed.
    """
    with contextlib.ExitStack() as running:
        child = subprocess.Popen(
            [sys.executable, "manage.py", "prepare"],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd=REPOSITORY,
            env=dict(environment),
            start_new_session=True,
        )
        running.callback(processes.stop, child, (signal.SIGINT, 10), (signal.SIGKILL, 5))
        complaint = child.communicate()[1].decode(errors="replace")
        if child.returncode:
            log = data_dir / "logs" / "prepare.log"
            with contextlib.suppress(OSError):  # a full disk is just what it may tell of
                log.parent.mkdir(exist_ok=True)
                log.write_text(complaint)
            raise embedded.CannotStart(f"manage.py prepare: {_reason(complaint)} (see {log})")


def _reason(text: str) -> str:
    """The line of a traceback, or of a command's own complaint, that says what happened."""
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    # Not every exception's name ends in Error; none is indented, or shouts as PostgreSQL's DETAIL.
    telling = [line for line in lines if re.match(r"(\w+\.)*[A-Z]\w*[a-z]\w*(:|$)", line)]
    return (telling or lines or ["no reason given"])[-1].strip()


def _wait_until_ready(port: int, keepers: list[Keeper], logs: Path) -> None:
    """Raises `CannotStart` when a process keeps dying, or when the time is over."""
    lacking = "it does not answer"
    here = requests.Session()
    here.trust_env = False  # a proxy does not know this machine's loopback address
    for _ in _ticks(READY_SECONDS):
        for keeper in keepers:
            keeper.look()
            if keeper.deaths > 2 and isinstance(keeper.kept, Child):
                log = keeper.kept.log
                reason = _reason(log.read_text(errors="replace"))
                raise embedded.CannotStart(f"{keeper.kept.name}: {reason} (see {log})")
        with contextlib.suppress(requests.RequestException):
            answer = here.get(f"http://127.0.0.1:{port}/readyz", timeout=5)
            if answer.status_code == 200:
                return
            lacking = _lacking(answer)
    raise embedded.CannotStart(
        f"The product is not ready after {READY_SECONDS} s ({lacking}): see the logs in {logs}."
    )


def _lacking(answer: requests.Response) -> str:
    """What `/readyz` says is not well, as `redis: does not answer`."""
    try:
        checks = answer.json()["checks"]
        return "; ".join(f"{name}: {c['detail']}" for name, c in checks.items() if not c["ok"])
    except (ValueError, KeyError, TypeError):
        return f"status {answer.status_code}"


def _ticks(seconds: float) -> Iterator[None]:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        yield
        time.sleep(0.2)


def _ending(status: int) -> str:
    return f"exit status {status}" if status >= 0 else signal.Signals(-status).name


def _say(text: str) -> None:
    with contextlib.suppress(BrokenPipeError):
        print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
