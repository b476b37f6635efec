"""The product as it runs: real processes on a database and a Redis of their own.

For the tests that a single process cannot make: journeys through the faces, and faults. The
processes are those of `make run`, from the same table, with the settings of `make run` but for
what only costs time (`tests.stack_settings`); the business's patience is shortened where a test
says so.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import redis
import requests

from ispops import embedded, processes, supervisor
from tests import databases
from tests.mould import Mould

START_SECONDS = 60


class Child(supervisor.Child):
    """A process of a stack: made from its mould where that fits, else started as ever."""

    def __init__(self, program: supervisor.Program, stack: Stack, logs: Path) -> None:
        super().__init__(program, stack.environment, logs)
        self.stack = stack

    def start(self) -> None:
        mould = self.stack.mould
        if mould is None or mould.environment != self.environment:
            super().start()
        else:
            self.log.parent.mkdir(parents=True, exist_ok=True)
            self._process = mould.start(self.program, self.log)


class Stack:
    """Processes of the product, started and ended by name: web, worker, beat and bsp.

    `url` is where the web server answers. `settings` are variables of the environment.
    """

    def __init__(self, folder: Path, database: str, **settings: str) -> None:
        self.unblock: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.database = database
        self.listener = supervisor.listen(0)
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.redis = embedded.Redis(folder)
        self.environment = environment(folder, database, self.url, self.redis.url) | settings
        self.mould: Mould | None = None
        self._make_children()

    def _make_children(self) -> None:
        table = supervisor.programs(listener=self.listener, data_dir=self.folder, demo=True)
        self.children = {
            program.name: Child(program, self, self.folder / "logs") for program in table
        }

    def take_port_away(self) -> None:
        """Kill the web server and stop listening: whoever calls is refused, not kept waiting."""
        self.kill("web")
        self.listener.close()

    def give_port_back(self) -> None:
        """Listen on the same port again and start the web server."""
        self.listener = supervisor.listen(int(self.url.rpartition(":")[2]))
        self._make_children()
        self.start("web")

    def start(self, *names: str) -> None:
        """Start these processes, or all of them. Redis starts with the first."""
        if self.redis.poll() is not None or self.redis.pid is None:
            self.redis.start()
        for name in names or tuple(self.children):
            self.children[name].start()

    def stop(self, name: str) -> None:
        """End a process as the supervisor does: politely, then not."""
        self.children[name].stop()

    def kill(self, name: str) -> None:
        """End a process and its children as a power cut does: at once, without a last word."""
        pid = self.children[name].pid
        assert pid is not None
        os.killpg(pid, signal.SIGKILL)
        self.until(lambda: self.children[name].poll() is not None, f"{name} is dead")

    def cast(self) -> None:
        """Have further processes made from a mould, as long as they want no other settings."""
        self.mould = Mould(self.environment, self.listener.fileno())

    def end(self) -> None:
        """End all processes without ceremony: nobody needs what they would still say or save."""
        for child in self.children.values():
            if child.pid is not None:
                processes.end_group(child.pid)
                child.stop()

    def clear(self) -> None:
        """Be as new, after `end`: Redis and the folder are empty."""
        if self.redis.poll() is None:
            with contextlib.closing(redis.Redis.from_url(self.redis.url)) as client:
                client.flushall()
        for path in self.folder.iterdir():
            if path.name not in ("run", "logs"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        for log in (self.folder / "logs").iterdir():
            log.write_bytes(b"")
        self._make_children()

    def close(self) -> None:
        """End everything, the servers too."""
        self.end()
        if self.mould is not None:
            self.mould.close()
        self.redis.stop()
        self.listener.close()

    def wait_until_ready(self) -> None:
        """Wait for a green `/readyz`: web, database, Redis, beat and worker work together."""

        def ready() -> bool:
            with contextlib.suppress(requests.RequestException):
                return all(self.readiness().values())
            return False

        self.until(ready, "the stack is ready", seconds=START_SECONDS)
        dead = [name for name, child in self.children.items() if child.poll() is not None]
        assert not dead, f"{dead} ended at once\n{self.logs()}"

    def readiness(self) -> dict[str, bool]:
        """What `/readyz` says of each part."""
        checks = requests.get(f"{self.url}/readyz", timeout=5).json()["checks"]
        return {name: check["ok"] for name, check in checks.items()}

    def until(self, answer: Callable[[], bool], what: str, *, seconds: float = 30) -> None:
        """Wait for something to become true, or fail with what was waited for."""
        if not processes.wait_until(answer, seconds=seconds, every=0.1):
            raise AssertionError(f"waited {seconds:.0f} s in vain until {what}")

    def run(self, *arguments: str) -> str:
        """Run Python in a process of its own with the settings of the stack; gives its output."""
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=databases.REPOSITORY,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def logs(self, *, lines: int = 60) -> str:
        """The last lines of every log, for the report of a test that failed."""
        parts = []
        for path in sorted((self.folder / "logs").glob("*.log")):
            tail = path.read_text(errors="replace").splitlines()[-lines:]
            parts.append("\n".join([f"--- {path.name}", *tail]))
        return "\n".join(parts)

    @contextlib.contextmanager
    def orm(self) -> Iterator[None]:
        """Let Django's models of the test process read and write the database of the stack, and
        its verbs call the workers of the stack."""
        from django.db import connection

        usual = connection.settings_dict["NAME"]
        with self.unblock(), _broker(self.redis.url):
            connection.close()
            connection.settings_dict["NAME"] = self.database
            try:
                yield
            finally:
                connection.close()
                connection.settings_dict["NAME"] = usual


@contextlib.contextmanager
def _broker(url: str) -> Iterator[None]:
    """Have Celery's messages of this process go to another broker."""
    from ispops.celery import app

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CELERY_BROKER_WRITE_URL", url)
        patch.setattr(app.amqp, "_producer_pool", None)
        yield


def environment(folder: Path, database: str, url: str, redis_url: str) -> dict[str, str]:
    """What the processes see: the settings of `make run`, and a network that is closed."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name not in {"DEBUG", databases.RUN_VARIABLE} and not name.startswith("PYTEST_")
    }
    closed = databases.REPOSITORY / "tests" / "closed_network"
    return inherited | {
        "DATABASE_URL": databases.url_of(database),
        "REDIS_URL": redis_url,
        "ISPOPS_DATA_DIR": str(folder),
        "ISPOPS_BASE_URL": url,
        "ISPOPS_DEMO": "1",
        "DJANGO_SETTINGS_MODULE": "tests.stack_settings",
        "PYTHONPATH": os.pathsep.join([str(closed), str(databases.REPOSITORY)]),
        "PYTHONUNBUFFERED": "1",
    }


@contextlib.contextmanager
def demo_stack() -> Iterator[Stack]:
    """The whole product with the demonstration's ISP, on a database of its own, ready to use."""
    template, prepared = make_demo()
    run = Path(os.environ[databases.RUN_VARIABLE])
    name = databases.scratch_name("stack")
    databases.copy_database(template, name)
    folder = run / f"{name}.files"
    shutil.copytree(prepared, folder, ignore=shutil.ignore_patterns("static", "logs"))
    (folder / "static").symlink_to(prepared / "static")
    stack = Stack(folder, name)
    try:
        stack.start()
        stack.wait_until_ready()
        yield stack
    finally:
        stack.close()
        databases.drop_database(name)


def make_demo() -> tuple[str, Path]:
    """The database and the data folder of a freshly prepared demonstration, once for a run."""
    run = Path(os.environ[databases.RUN_VARIABLE])
    folder = run / "demo"
    name = f"demo_{run.name.replace('-', '_')}"  # shared by the processes of the run
    with (run / "demo.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (run / "demo.done").exists():
            databases.copy_database(databases.make_template(), name)
            folder.mkdir(exist_ok=True)
            prepared = subprocess.run(
                [sys.executable, "manage.py", "prepare"],
                cwd=databases.REPOSITORY,
                env=environment(folder, name, "http://127.0.0.1", os.environ["REDIS_URL"]),
                capture_output=True,
                text=True,
                check=False,
            )
            assert prepared.returncode == 0, prepared.stdout + prepared.stderr
            (run / "demo.done").touch()
    return name, folder
