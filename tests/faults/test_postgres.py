"""PostgreSQL is restarted under everything: what was promised before is kept, and all goes on.

Web server, worker and beat are processes of their own and are never started again by the test:
each of them drops its broken connections and makes new ones.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg2
import pytest
import requests
from django.db import connection
from django.db.utils import Error
from django.utils import timezone

from ispops import embedded, processes
from ispops.models import Event
from provisioning import worklist
from provisioning.models import (
    AaaCredential,
    AccountingRecord,
    OrderTask,
    ProductOrder,
    ServicePeriod,
    TaskAttempt,
)
from qualification.models import Premises
from tests import databases, factories, small_isp
from tests.faults.test_sessions import ask, call
from tests.faults.test_worker import nobody_writes

if TYPE_CHECKING:
    from tests.stack import Stack

pytestmark = pytest.mark.faults
LOGINS = AaaCredential._meta.db_table


@pytest.fixture
def postgres(transactional_db: None, tmp_path: Path) -> Iterator[embedded.Postgres]:
    """A server of this test's own, which it may restart, with all tables; the models use it."""
    usual = dict(connection.settings_dict)
    with databases.own_server(tmp_path / "own") as server:
        connection.close()
        connection.settings_dict |= {"HOST": server.host, "NAME": server.database}
        try:
            yield server
        finally:
            connection.close()
            connection.settings_dict |= {"HOST": usual["HOST"], "NAME": usual["NAME"]}


@pytest.fixture
def processes_of(
    request: pytest.FixtureRequest, postgres: embedded.Postgres, tmp_path: Path
) -> Iterator[Stack]:
    from tests.conftest import FAILED
    from tests.stack import Stack

    started = Stack(tmp_path / "stack", postgres.database, DATABASE_URL=postgres.url,
                    TASK_LEASE_SECONDS="2")  # fmt: skip
    yield started
    started.close()
    if request.node.stash.get(FAILED, False):
        print(started.logs())


@dataclass
class Callers:
    """An access server that goes on asking and telling through the outage, as real ones do."""

    stack: Stack
    username: str
    told: list[str] = field(default_factory=list)
    logins: list[int] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Callers:
        self._threads = [threading.Thread(target=self._go_on, args=(n,)) for n in range(4)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _go_on(self, caller: int) -> None:
        number = 0
        while not self._stop.wait(0.05):
            number += 1
            with contextlib.suppress(requests.RequestException):
                self.logins.append(ask(self.stack, self.username).status_code)
                session = f"s-{caller}-{number}"
                answer = call(
                    self.stack, "accounting", Acct_Status_Type="Start", Acct_Session_Id=session,
                    User_Name=self.username, NAS_IP_Address="192.0.2.7",
                )  # fmt: skip
                if answer.status_code == 204:
                    self.told.append(session)


def test_everything_goes_on_after_a_restart(
    postgres: embedded.Postgres, processes_of: Stack
) -> None:
    live = processes_of
    now = timezone.now()
    isp = small_isp.make_small_isp(at=now - timedelta(days=1))
    ada = factories.subscriber(at=now)
    line = factories.live_line(isp, ada, at=now)
    houses = Premises.objects.filter(street__contains="Oak").exclude(pk=isp.oak_1.pk)
    factories.address_server(at=now)
    live.start("web", "worker", "beat")
    live.wait_until_ready()
    pids = {name: live.children[name].pid for name in ("web", "worker", "beat")}

    is_open = TaskAttempt.objects.filter(task__kind="create_credentials", outcome="")

    with Callers(live, AaaCredential.objects.get(service=line).username) as callers:
        with contextlib.suppress(psycopg2.Error), nobody_writes(LOGINS, postgres.url, "SHARE"):
            placed = [
                factories.order(ada, house, isp.bundle.code, at=timezone.now()) for house in houses
            ]
            live.until(is_open.exists, "workers are in the middle of their tasks")
            before = len(callers.logins)
            live.until(lambda: len(callers.logins) > before + 20, "the web server is at work")
            _restart(postgres)
        live.until(
            lambda: _again(lambda: _are_completed(placed)), "all orders are carried out", seconds=90
        )
        before = len(callers.logins)
        live.until(lambda: len(callers.logins) > before + 40, "the web server is at work again")

    assert set(callers.logins[-20:]) == {200}
    assert set(callers.logins) <= {200, 500}, "an outage is no reject"
    stored = AccountingRecord.objects.filter(session_id__in=callers.told).values("session_id")
    assert len(callers.told) > 20
    assert stored.distinct().count() == len(callers.told), "what was acknowledged is kept"
    assert {name: live.children[name].pid for name in pids} == pids
    assert [live.children[name].poll() for name in pids] == [None] * 3
    assert all(live.readiness().values())
    _assert_once(placed)


def _restart(postgres: embedded.Postgres) -> None:
    """End the server as a crash does, be without one for some seconds, and start it again."""
    assert postgres.pid is not None
    os.kill(postgres.pid, signal.SIGQUIT)
    assert processes.wait_until(lambda: postgres.poll() is not None, seconds=60)
    connection.close()
    time.sleep(2)
    postgres.start()


def _again(answer: Callable[[], Any]) -> bool:
    """Ask; a connection that the restart broke is given up, as the product's processes do."""
    try:
        return bool(answer())
    except Error:
        connection.close()
        return False


def _are_completed(placed: list[ProductOrder]) -> bool:
    factories.confirm_partner_orders(at=timezone.now())
    done = ProductOrder.objects.filter(pk__in=[order.pk for order in placed], state="completed")
    return done.count() == len(placed)


def _assert_once(placed: list[ProductOrder]) -> None:
    for order in placed:
        assert Event.objects.filter(kind="order.completed", subject=order.public_id).count() == 1
        assert set(order.tasks.values_list("state", flat=True)) == {"completed"}
    lines = ServicePeriod.objects.filter(service__line__isnull=True, ended_at__isnull=True)
    assert lines.count() == len(placed) + 1
    assert AaaCredential.objects.count() == len(placed) + 1
    ends = TaskAttempt.objects.filter(task__order__in=placed)
    assert not ends.filter(outcome="").exists()
    assert ends.filter(outcome="lost").exists(), "some were in the middle when it went down"
    assert not ends.filter(outcome="fallout").exists()
    assert not OrderTask.objects.filter(leased_until__gt=timezone.now()).exists()
    assert worklist.stuck(timezone.now() + timedelta(hours=1)) == []
