"""Ground for all tests: servers of the run's own, a closed network, a database per process."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import pytest

from tests import databases, network


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
        os.environ |= found | {
            "DJANGO_SETTINGS_MODULE": "ispops.settings",
            "ISPOPS_DATA_DIR": found[databases.RUN_VARIABLE],
            "SECRET_KEY": "tests-only",
            # Without it, every answer is a redirect to https and static files need a manifest.
            "DEBUG": "1",
        }
    import django

    django.setup()


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

    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    name = f"test_{worker}_{os.getpid()}"
    with django_db_blocker.unblock():  # type: ignore[attr-defined]
        databases.copy_database(databases.make_template(), name)
        usual = connection.settings_dict["NAME"]
        connection.close()
        connection.settings_dict["NAME"] = name
        yield
        connection.close()
        connection.settings_dict["NAME"] = usual
        databases.drop_database(name)
