"""Ground for all tests: servers of the run's own, a closed network, a database per process."""

from __future__ import annotations

import contextlib
import gc
import os
import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests import databases, network

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from tests.stack import Stack

FAILED = pytest.StashKey[bool]()


def pytest_configure(config: pytest.Config) -> None:
    """Start the servers before Django reads its settings; processes of xdist inherit them."""
    if config.option.help or config.option.version:
        return
    if databases.RUN_VARIABLE not in os.environ:
        running = contextlib.ExitStack()
        config.add_cleanup(running.close)
        try:
            found = running.enter_context(databases.test_servers())
        except databases.embedded.CannotStart as error:
            pytest.exit(str(error), returncode=1)
        running.callback(os.environ.pop, databases.RUN_VARIABLE, None)
        partners = running.enter_context(_held_port())
        os.environ |= found | {
            "DJANGO_SETTINGS_MODULE": "ispops.settings",
            "ISPOPS_DATA_DIR": found[databases.RUN_VARIABLE],
            "SECRET_KEY": "tests-only",
            "DEMO_PARTNER_PORT": str(partners),
            # Without it, every answer is a redirect to https and static files need a manifest.
            "DEBUG": "1",
        }
    import django
    from django.conf import settings

    if worker := os.environ.get("PYTEST_XDIST_WORKER"):
        # A Redis database for each process, because a test may empty the cache. The settings are
        # read already, so the address is changed there.
        server = os.environ["REDIS_URL"].rpartition("/")[0]
        number = 1 + int(worker.removeprefix("gw")) % 15
        settings.CACHES["default"]["LOCATION"] = f"{server}/{number}"
    # The real one takes a second of work for each login, on purpose.
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    django.setup()


@contextlib.contextmanager
def _held_port() -> Iterator[int]:
    """A loopback port that stays ours until a server of the run listens on it.

    A port that is only known to be free is soon the near end of somebody's connection. A bound
    socket that does not listen keeps it from that, and lets a server with SO_REUSEADDR have it.
    """
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


@pytest.fixture(scope="session", autouse=True)
def _closed_network() -> Iterator[None]:
    """Nothing may leave this machine: a test that needs the outside world is no test."""
    with network.closed():
        yield


@pytest.fixture(scope="session")
def django_db_setup(
    request: pytest.FixtureRequest, django_test_environment: None, django_db_blocker: object
) -> Iterator[None]:
    """Give this test process a copy of the migrated database (replaces pytest-django's own)."""
    from django.db import connection
    from django.test import TransactionTestCase

    name = databases.scratch_name("test")
    with django_db_blocker.unblock():  # type: ignore[attr-defined]
        databases.copy_database(databases.make_template(), name)
        usual = connection.settings_dict["NAME"]
        connection.close()
        connection.settings_dict["NAME"] = name
        wiping = databases.Wiping()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(TransactionTestCase, "_fixture_teardown", lambda _: wiping.wipe())
            yield
        connection.close()
        connection.settings_dict["NAME"] = usual
        databases.drop_database(name)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name a case of bytes by its argument: a packed file holds the time at which it was made, and
    the processes of a run must give a test the same name."""
    return argname if isinstance(val, bytes) else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests with processes of their own in one test process: two would starve."""
    # They share one port of the demonstration's partners, whatever fixture starts them.
    starts = {
        path: any(word in path.read_text() for word in ("Stack", "bsp_server", "demo_stack"))
        for path in {item.path for item in items}
    }
    for item in items:
        if starts[item.path] or {"live", "stack", "browser"} & set(
            getattr(item, "fixturenames", ())
        ):
            item.add_marker(pytest.mark.xdist_group("processes"))


def pytest_collection_finish() -> None:
    """Leave what was imported and collected out of all later looks for garbage.

    It stays to the end anyway, and is so much that going through it again and again takes longer
    than many a test.
    """
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Let fixtures know at their end whether the test failed."""
    report: Any = yield
    item.stash[FAILED] = item.stash.get(FAILED, False) or report.failed
    return report


@pytest.fixture(scope="session")
def _demo_stack(django_db_blocker: Any) -> Iterator[Stack]:
    from tests import stack

    with django_db_blocker.unblock():
        stack.make_demo()
    with stack.demo_stack() as started:
        started.unblock = django_db_blocker.unblock
        yield started


@pytest.fixture
def stack(request: pytest.FixtureRequest, _demo_stack: Stack) -> Iterator[Stack]:
    """The whole product with the demonstration's ISP, running; shared by all tests of a run.

    A test must leave all processes running, and make the subscribers that it needs.
    """
    yield _demo_stack
    if request.node.stash.get(FAILED, False):
        print(_demo_stack.logs())


@pytest.fixture(scope="session")
def _live(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    from django.db import connection

    from tests.stack import Stack

    own = Stack(
        tmp_path_factory.mktemp("live") / "stack", connection.settings_dict["NAME"],
        TASK_LEASE_SECONDS="2", QUICK_SWEEPS="1",
    )  # fmt: skip
    own.cast()
    yield own
    own.close()


@pytest.fixture
def live(request: pytest.FixtureRequest, transactional_db: None, _live: Stack) -> Iterator[Stack]:
    """Processes, none of them started yet, that work on the database of this test.

    The test makes its rows as any other test does; a task that died is given up after 2 s.
    """
    usual = dict(_live.environment)
    yield _live
    _live.end()
    if request.node.stash.get(FAILED, False):
        print(_live.logs())
    _live.environment.clear()
    _live.environment.update(usual)
    _live.clear()


@pytest.fixture(scope="session")
def _browser() -> Iterator[Browser]:
    """A headless Chromium, started once: that takes longer than most of what it is to show.

    Playwright's loop, which stays, makes Django think that this is asynchronous code.
    """
    from tests import browser

    program = browser.program()
    if program is None:
        reason = "there is no Chromium: install the package chromium"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    with pytest.MonkeyPatch.context() as patch, browser.launched(program) as started:
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        yield started


@pytest.fixture
def browser(_browser: Browser) -> Iterator[Browser]:
    """A browser in which nobody is signed in and nothing was visited yet."""
    yield _browser
    for context in _browser.contexts:
        context.close()
