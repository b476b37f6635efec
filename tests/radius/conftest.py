"""A small ISP behind the real FreeRADIUS, made once for a file of tests."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg2.extensions
import pytest

from ispops.embedded import CannotStart
from ispops.network import freeradius
from tests import databases
from tests.radius import nas
from tests.stack import Stack, make_demo

if TYPE_CHECKING:
    from ispops.network.freeradius import FreeRadius

ROLE = "radius_of_the_tests"
PASSWORD = "inbox-only"
NAS = "10.0.0.1"


@dataclass
class Isp:
    """A web server, a FreeRADIUS in front of it, and one live line: its login and password.

    `suspended` is the login of a line that is suspended. No worker runs: `work` does what its
    sweeps do.
    """

    stack: Stack
    radius: FreeRadius
    username: str
    password: str
    suspended: tuple[str, str]

    def ask(self, *lines: str, password: str | None = None, **options: Any) -> nas.Heard:
        """Send an Access-Request of the line by PAP, with further attributes."""
        given = self.password if password is None else password
        usual = (f'User-Name = "{self.username}"', f'User-Password = "{given}"')
        named = {line.split(" ")[0] for line in lines}
        base = [line for line in usual if line.split(" ")[0] not in named]
        station = (
            [] if "Calling-Station-Id" in named else ['Calling-Station-Id = "02:00:00:00:00:01"']
        )
        return nas.send(self.radius.auth_port, "auth", *base, *station, *lines, **options)

    def tell(self, kind: str, session: str, *lines: str, **options: Any) -> nas.Heard:
        """Send an Accounting-Request of a session of the line."""
        named = {line.split(" ")[0] for line in lines}
        usual = (
            f"Acct-Status-Type = {kind}",
            f'Acct-Session-Id = "{session}"',
            f'User-Name = "{self.username}"',
            f"NAS-IP-Address = {NAS}",
        )
        base = [line for line in usual if line.split(" ")[0] not in named]
        return nas.send(self.radius.acct_port, "acct", *base, *lines, **options)

    def work(self) -> None:
        """Read the inbox, follow who is online, and meter and rate what was in it."""
        from django.utils import timezone

        from provisioning import inbox, sessions
        from rating import usage

        with self.stack.orm():
            while inbox.read_inbox(limit=500):
                pass
            while sessions.follow_accounting(at=timezone.now(), limit=500):
                pass
            while usage.meter_accounting(at=timezone.now(), limit=500):
                pass

    def query(self, statement: str, *parameters: Any) -> list[Any]:
        """Read rows of the stack's database."""
        from django.db import connection

        with self.stack.orm(), connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            return cursor.fetchall()

    def until(self, answer: Callable[[], bool], what: str, seconds: float = 20) -> None:
        self.stack.until(answer, what, seconds=seconds)


def require_freeradius() -> None:
    """Install FreeRADIUS where we may; else skip, or fail where everything must be tried."""
    try:
        freeradius.require()
    except CannotStart as cannot:
        if os.environ.get("CI") == "true":
            pytest.fail(str(cannot))
        pytest.skip(str(cannot))


@pytest.fixture(scope="module")
def isp(
    request: pytest.FixtureRequest,
    django_db_blocker: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Isp]:
    require_freeradius()
    with ExitStack() as running:
        with django_db_blocker.unblock():
            template = databases.make_template()
        name = databases.scratch_name("radius")
        databases.copy_database(template, name)
        running.callback(databases.drop_database, name)
        stack = Stack(tmp_path_factory.mktemp("radius") / "stack", name)
        running.callback(stack.close)
        stack.unblock = django_db_blocker.unblock
        if getattr(request.module, "READS_PAGES", False):
            with django_db_blocker.unblock():
                _, prepared = make_demo()
            (stack.folder / "static").symlink_to(prepared / "static")
        with stack.orm():
            username, password = make_line()
            suspended = make_suspended_line()
            clients = make_clients()
        stack.start("web")
        auth_port, acct_port = nas.free_ports()
        server = freeradius.FreeRadius(
            stack.folder / "freeradius",
            app_url=stack.url,
            server=("north", server_secret()),
            database=role_of(name),
            password=PASSWORD,
            clients=clients,
            auth_port=auth_port,
            acct_port=acct_port,
        )
        running.callback(server.stop)
        server.start()
        ready = Isp(stack, server, username, password, suspended)
        ready.until(lambda: ready.ask().kind == "Access-Accept", "the line is let in", seconds=60)
        yield ready


def server_secret() -> str:
    from tests import factories

    return factories.SECRET


def role_of(database: str) -> str:
    """libpq's words for the role that may only write the inbox of this database."""
    return psycopg2.extensions.make_dsn(databases.url_of(database), user=ROLE)


def make_line() -> tuple[str, str]:
    """Make the small ISP with a live line; gives its login and password."""
    from django.utils import timezone

    from tests import factories
    from tests.small_isp import make_small_isp

    at = timezone.now() - timedelta(days=1)
    small = make_small_isp(at=at)
    factories.address_server(at=at)
    login = factories.live_line(small, factories.subscriber(at=at), at=at).credential
    return login.username, login.secret


def make_suspended_line() -> tuple[str, str]:
    """Make a line next door that is suspended; gives its login and password."""
    from django.utils import timezone

    from provisioning import services
    from provisioning.models import Service
    from tests import factories
    from tests.small_isp import place

    at = timezone.now() - timedelta(hours=1)
    bob = factories.subscriber(at=at, name="Bob Noyce")
    factories.order(bob, place("3 OAK ST"), "fibre-500", at=at)
    factories.work(at=at)
    line = Service.objects.get(subscriber=bob)
    services.suspend(service=line, reason="unpaid", at=at)
    return line.credential.username, line.credential.secret


def make_clients() -> dict[str, str]:
    """Make the access server and the role of FreeRADIUS; gives its clients."""
    from django.utils import timezone

    from provisioning import accounting, radius_setup
    from tests import factories

    at = timezone.now()
    accounting.register_access_server(
        name="bng-1",
        nas_ip=NAS,
        radius_secret=nas.SECRET,
        radius_source="127.0.0.1",
        actor=factories.staff("Operations", at=at),
        at=at,
    )
    radius_setup.make_role(name=ROLE, password=PASSWORD)
    return radius_setup.clients()


@pytest.fixture
def folder(isp: Isp) -> Path:
    """Where FreeRADIUS keeps what it could not deliver."""
    return isp.radius.folder
