"""A worker is killed in the middle of each kind of step, and PostgreSQL breaks off in it.

The worker is a process that runs the sweep's own verb; it is held in the middle of the step by a
lock on what the step writes last. After it, another worker does the rest.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from django.conf import settings as product
from django.db import connection
from django.utils import timezone

from ispops import processes
from ispops.models import Event
from ispops.notices.models import Notice
from ispops.parties.models import Subscriber
from provisioning import execution, worklist
from provisioning.models import (
    AaaCredential,
    OrderTask,
    ProductOrder,
    Service,
    ServiceOrder,
    ServicePeriod,
    TaskAttempt,
)
from qualification import ports
from tests import databases, factories
from tests.faults.test_worker import nobody_writes
from tests.small_isp import SmallIsp

if TYPE_CHECKING:
    from django.db.models import Model

pytestmark = pytest.mark.faults

# What each kind of step of the first group, and those after it, write in their transaction.
WRITES: dict[str, str] = {
    "reserve_port": "qualification_accessport",
    "open_address_holder": "ipam_addressholder",
    "create_credentials": AaaCredential._meta.db_table,
    "grant_entitlement": ServiceOrder._meta.db_table,
    "go_live": ServicePeriod._meta.db_table,
    "welcome": Notice._meta.db_table,
}
WORK = """
import django; django.setup()
from django.utils import timezone
from provisioning import execution
while execution.run_due(at=timezone.now(), limit=20): pass
"""
Start = Callable[[], "subprocess.Popen[bytes]"]


@pytest.fixture
def worker() -> Iterator[Start]:
    """Start a process that runs all that is due and ends."""
    started: list[subprocess.Popen[bytes]] = []
    environment = databases_environment()

    def start() -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-c", WORK], cwd=databases.REPOSITORY, env=environment,
            start_new_session=True,
        )  # fmt: skip
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def databases_environment() -> dict[str, str]:
    return os.environ | {
        "DATABASE_URL": databases.url_of(connection.settings_dict["NAME"]),
        "PYTHONPATH": str(databases.REPOSITORY),
    }


def a_worker_waits() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT 1 FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return cursor.fetchone() is not None


@pytest.mark.parametrize(
    ("kind", "fault"), [*((kind, "kill") for kind in sorted(WRITES)), ("go_live", "break off")]
)
def test_a_step_that_is_broken_off_has_its_effect_once(
    kind: str, fault: str, isp: SmallIsp, ada: Subscriber, worker: Start
) -> None:
    order = factories.order(ada, isp.oak_1, isp.bundle.code, at=timezone.now())
    if kind == "reserve_port":
        # As if placing the order had not taken it: then the step does.
        line = Service.objects.get(offering=isp.fast)
        ports.release_port(service_ref=line.public_id, at=timezone.now())
    if kind in ("go_live", "welcome"):
        _answer_partners_until_waiting_for(kind)
    with nobody_writes(WRITES[kind]):
        process = worker()
        assert processes.wait_until(a_worker_waits, seconds=40, every=0.05), "it never began"
        running = set(TaskAttempt.objects.filter(outcome="").values_list("task__kind", flat=True))
        assert kind in running, "the attempt is open: nobody knows its end"
        if fault == "kill":
            process.send_signal(signal.SIGKILL)
            process.wait()
            _break_off()
        else:
            _break_off()
            process.wait(timeout=40)
    later = timezone.now() + product.TASK_LEASE + timedelta(seconds=1)
    factories.work(at=later)
    order.refresh_from_db()
    assert order.state == "completed"
    _assert_once(order)
    assert worklist.stuck(later, grace=timedelta(0)) == []


def _answer_partners_until_waiting_for(kind: str) -> None:
    """Do what comes before going live or the welcome, and stop there."""
    now = timezone.now()
    execution.run_due(at=now, limit=4)
    factories.confirm_partner_orders(at=now)
    factories.deliver_events(at=now)
    if kind == "welcome":
        execution.run_due(at=now, limit=1)
    assert OrderTask.objects.get(kind=kind).state == "ready"


def _break_off() -> None:
    """End the connection in the middle of its statement, as a server that goes down does."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )


def _assert_once(order: ProductOrder) -> None:
    line = Service.objects.get(offering__code="fibre-500")
    once: list[tuple[type[Model], dict[str, object]]] = [
        (AaaCredential, {"service": line}),
        (ServicePeriod, {"service": line}),
        (ServiceOrder, {}),
        (Event, {"kind": "order.completed"}),
        (Event, {"kind": "service.activated", "subject": line.public_id}),
        (Notice, {"kind": "welcome"}),
    ]
    for model, which in once:
        assert model._default_manager.filter(**which).count() == 1, model
    assert set(order.tasks.values_list("state", flat=True)) == {"completed"}
    ends = TaskAttempt.objects.filter(task__order=order)
    assert not ends.filter(outcome="").exists()
    done = ends.filter(outcome__in=["done", "awaiting"]).exclude(task__kind="grant_entitlement")
    assert done.count() == order.tasks.count() - 1
