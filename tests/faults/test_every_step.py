"""A worker is killed in the middle of each kind of step, and PostgreSQL breaks off in it.

The kinds are those of the registry: whoever adds one says here how it comes about, or a test
fails. The worker is a process that runs the sweep's own verb; it is held in the middle of the step
by a lock on what the step writes last. After it, another worker does the rest.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.conf import settings as product
from django.core.management import call_command
from django.db import connection
from django.db.models import F
from django.utils import timezone

from ipam.models import AddressHolder, AddressServer
from ispops import processes
from ispops.models import Event
from ispops.notices.models import Notice
from ispops.parties import checks
from ispops.parties.models import Subscriber, SubscriberCheck
from provisioning import dhcp_servers, equipment, steps, visits, worklist
from provisioning.models import (
    AaaCredential,
    Appointment,
    DhcpReservation,
    OrderTask,
    ProductOrder,
    Service,
    ServiceOrder,
    ServicePeriod,
    ServiceSuspension,
    SessionCommand,
    SubscriberEquipment,
    TaskAttempt,
)
from qualification import ports
from qualification.models import AccessPort, Premises
from tests import coa_agent, databases, factories
from tests.dhcp import kea
from tests.equipment import nbi
from tests.faults.conftest import KEA
from tests.faults.test_worker import nobody_writes
from tests.faults.workers import Workers
from tests.provisioning import later, online
from tests.small_isp import SmallIsp

if TYPE_CHECKING:
    from django.db.models import Model, QuerySet
    from pytest_django import Settings

pytestmark = [pytest.mark.faults, pytest.mark.xdist_group("processes")]
ACS_TOKEN = "let-us-in"
WAITS = (
    "SELECT {} FROM pg_stat_activity"
    " WHERE datname IN (current_database(), %s) AND wait_event_type = 'Lock'"
)


RUN_DUE = """
from django.conf import settings
from django.utils import timezone
from provisioning import execution
settings.ACS_URL, settings.ACS_TOKEN = "{acs}", "{token}"
while execution.run_due(at=timezone.now(), limit=20):
    pass
"""


@dataclass
class Ground:
    """What the orders of this module are made of."""

    isp: SmallIsp
    ada: Subscriber
    settings: Settings
    agent: coa_agent.Agent
    kea_url: Callable[[], str]
    acs: nbi.Nbi
    at: datetime = field(default_factory=timezone.now)

    @property
    def oak_3(self) -> Premises:
        return Premises.objects.get(street__startswith="3 Oak")

    def new(self, *codes: str) -> ProductOrder:
        codes = codes or (self.isp.bundle.code,)
        return factories.order(self.ada, self.isp.oak_1, *codes, at=self.at)

    def line(self) -> Service:
        return factories.live_line(self.isp, self.ada, at=self.at)


@pytest.fixture
def ground(
    request: pytest.FixtureRequest, isp: SmallIsp, ada: Subscriber, settings: Settings
) -> Iterator[Ground]:
    with coa_agent.running() as agent, nbi.running() as acs:
        kea_url = lambda: request.getfixturevalue("kea_url")  # noqa: E731
        yield Ground(isp, ada, settings, agent, kea_url, acs)


def new_line(order: ProductOrder) -> Service:
    item = order.items.get(action="add", service__line=None, offering__kind="access")
    assert item.service is not None
    return item.service


def line_of(order: ProductOrder) -> Service:
    return order.line or new_line(order)


def bundle(ground: Ground) -> ProductOrder:
    return ground.new()


def of_another_network(ground: Ground) -> ProductOrder:
    return ground.new(ground.isp.dsl.code)


def with_a_check(ground: Ground) -> ProductOrder:
    ground.settings.CHECKS = {"identity": "manual", "credit": "manual"}
    return ground.new()


def without_its_port(ground: Ground) -> ProductOrder:
    """As if placing the order had not taken a port: then the step does."""
    order = ground.new()
    ports.release_port(service_ref=new_line(order).public_id, at=ground.at)
    return order


def with_a_visit(ground: Ground) -> ProductOrder:
    visits.add_slots(
        city="Barre", region="VT", first_day=(ground.at + timedelta(days=4)).date(),
        hours=((time(7), time(11)),), capacity=1, actor=None, at=ground.at,
    )  # fmt: skip
    return ground.new()


def change_there(ground: Ground) -> ProductOrder:
    order = ground.new(ground.isp.slow_dsl.code)
    factories.work(at=ground.at)
    return later.change(new_line(order), ground.at, plan_code=ground.isp.dsl.code)


def change(ground: Ground) -> ProductOrder:
    plan = later.faster(ground.isp, at=ground.at)
    return later.change(ground.line(), ground.at, plan_code=plan.code)


def change_while_online(ground: Ground) -> ProductOrder:
    line = ground.line()
    online.access_server(ground.agent)
    online.session(line, at=ground.at)
    plan = later.faster(ground.isp, at=ground.at)
    return later.change(line, ground.at, plan_code=plan.code)


def by_dhcp(ground: Ground) -> ProductOrder:
    call_command("dhcp_server", "fibre-dhcp", kea.RESERVED, verbosity=0)
    dhcp_servers.connect_dhcp(
        address_server=AddressServer.objects.get(name="fibre-dhcp"), provider=ground.isp.fibre,
        technology=None, hosts_url=ground.kea_url(), at=ground.at,
    )  # fmt: skip
    return ground.new()


def cease_by_dhcp(ground: Ground) -> ProductOrder:
    by_dhcp(ground)
    factories.work(at=ground.at)
    return later.cease(Service.objects.get(offering=ground.isp.fast), ground.at)


def with_equipment(ground: Ground) -> ProductOrder:
    """A line with a router that an ACS configures."""
    ground.settings.ACS_URL, ground.settings.ACS_TOKEN = ground.acs.url + "/", ACS_TOKEN
    ground.acs.devices = {"202BC1-BM632w-000001": "000001"}
    model = equipment.set_model(name="BM632w", parameters="Device.Name = {username}\n",
                                at=ground.at)  # fmt: skip
    order = ground.new(ground.isp.fast.code)
    equipment.note_equipment(
        service=new_line(order), model=model, serial="000001", actor=None, at=ground.at
    )
    return order


def cease_with_equipment(ground: Ground) -> ProductOrder:
    with_equipment(ground)
    factories.work(at=ground.at)
    return later.cease(Service.objects.get(offering=ground.isp.fast), ground.at)


def in_acs(order: ProductOrder) -> QuerySet[Any]:
    return SubscriberEquipment.objects.filter(service=line_of(order))


def in_kea(order: ProductOrder) -> QuerySet[Any]:
    """The reservation, as soon as Kea has it as it is."""
    return DhcpReservation.objects.filter(service=line_of(order), written_revision=F("revision"))


def suspend(ground: Ground) -> ProductOrder:
    order: ProductOrder = later.suspend(ground.line(), ground.at)
    return order


def resume(ground: Ground) -> ProductOrder:
    line = ground.line()
    later.suspend(line, ground.at)
    factories.work(at=ground.at)
    order: ProductOrder = later.resume(line, ground.at)
    return order


def cease(ground: Ground) -> ProductOrder:
    return later.cease(ground.line(), ground.at)


def move(ground: Ground) -> ProductOrder:
    return later.move(ground.line(), ground.oak_3, ground.at)


def change_of_network(ground: Ground) -> ProductOrder:
    return later.change_provider(ground.line(), ground.isp.dsl.code, ground.at)


def asked(**what: str) -> One:
    return lambda order: ServiceOrder.objects.filter(service__subscriber=order.subscriber, **what)


def told(kind: str) -> One:
    return lambda order: Event.objects.filter(kind=kind, subject=line_of(order).public_id)


One = Callable[[ProductOrder], "QuerySet[Any]"]


@dataclass(frozen=True)
class Case:
    """How a step comes about, what it writes, and what there must be one of after it."""

    order: Callable[[Ground], ProductOrder]
    writes: type[Model]
    one: One
    # Its step writes a table of Kea's instead.
    kea_table: str = ""


def checks_of(kind: str) -> One:
    return lambda order: SubscriberCheck.objects.filter(kind=kind)


CASES: dict[str, Case] = {
    "identity_check": Case(with_a_check, SubscriberCheck, checks_of("identity")),
    "credit_check": Case(with_a_check, SubscriberCheck, checks_of("credit")),
    "reserve_port": Case(
        without_its_port,
        AccessPort,
        lambda order: AccessPort.objects.filter(service_ref=line_of(order).public_id),
    ),
    "open_address_holder": Case(
        bundle,
        AddressHolder,
        lambda order: AddressHolder.objects.filter(service_ref=line_of(order).public_id),
    ),
    "create_credentials": Case(bundle, AaaCredential, lambda order: AaaCredential.objects.all()),
    "book_visit": Case(with_a_visit, Appointment, lambda order: order.appointments.all()),
    # It waits for the technician, and writes no more than that; so it is held at its beginning.
    "install_visit": Case(with_a_visit, ProductOrder, lambda order: order.appointments.all()),
    "order_line": Case(of_another_network, ServiceOrder, asked(kind="line")),
    "modify_line": Case(change_there, ServiceOrder, asked(action="modify")),
    "grant_entitlement": Case(bundle, ServiceOrder, asked(kind="entitlement")),
    "go_live": Case(bundle, ServicePeriod, lambda order: line_of(order).periods.all()),
    "change_service": Case(change, ServicePeriod, told("service.changed")),
    "suspend_service": Case(
        suspend, ServiceSuspension, lambda order: line_of(order).suspensions.all()
    ),
    "resume_service": Case(
        resume,
        ServicePeriod,
        lambda order: line_of(order).periods.filter(state="active", ended_at=None),
    ),
    "cease_service": Case(cease, ServicePeriod, told("service.ceased")),
    "apply_to_session": Case(
        change_while_online, SessionCommand, lambda order: SessionCommand.objects.all()
    ),
    "reserve_in_dhcp": Case(by_dhcp, DhcpReservation, in_kea, kea_table="hosts"),
    "release_in_dhcp": Case(cease_by_dhcp, DhcpReservation, in_kea, kea_table="hosts"),
    "configure_equipment": Case(with_equipment, SubscriberEquipment, in_acs),
    "clear_equipment": Case(cease_with_equipment, SubscriberEquipment, in_acs),
    "welcome": Case(bundle, Notice, lambda order: Notice.objects.filter(kind="welcome")),
}
# The same steps, of orders that put several of them together.
ALSO: list[tuple[str, Case]] = [
    ("go_live", Case(move, ServicePeriod, lambda order: new_line(order).periods.all())),
    ("cease_service", Case(move, ServicePeriod, told("service.ceased"))),
    ("order_line", Case(change_of_network, ServiceOrder, asked(kind="line"))),
    ("cease_service", Case(change_of_network, ServicePeriod, told("service.ceased"))),
]


def test_each_kind_of_step_has_a_case() -> None:
    assert set(CASES) == steps.INSIDE.keys() | steps.OUTSIDE.keys()


@pytest.mark.parametrize(
    ("kind", "case", "fault"),
    [
        *(pytest.param(kind, case, "kill", id=kind) for kind, case in CASES.items()),
        *(pytest.param(kind, case, "kill", id=f"{kind} of a {case.order.__name__}")
          for kind, case in ALSO),
        *(pytest.param(kind, CASES[kind], "break off", id=f"{kind} breaks off")
          for kind in ("go_live", "apply_to_session")),
    ],
)  # fmt: skip
def test_a_step_that_is_broken_off_has_its_effect_once(
    kind: str, case: Case, fault: str, ground: Ground, workers: Workers
) -> None:
    order = case.order(ground)
    step = do_all_before(kind, order, ground.at)
    held = (case.kea_table, ground.kea_url()) if case.kea_table else (case.writes._meta.db_table,)
    with nobody_writes(*held):
        pid = workers.start(RUN_DUE.format(acs=product.ACS_URL, token=product.ACS_TOKEN))
        assert processes.wait_until(a_worker_waits, seconds=40, every=0.02), "it never began"
        assert step.tries.filter(outcome="").exists(), "the attempt is open: nobody knows its end"
        if fault == "kill":
            os.kill(pid, signal.SIGKILL)
        break_off()
        workers.wait()
    at = timezone.now() + product.TASK_LEASE + timedelta(seconds=1)
    finish(at)
    if kind in steps.OUTSIDE:  # what they work on has a lease of its own, which may be longer
        finish(at := at + timedelta(minutes=1))
    step.refresh_from_db()
    is_over = kind != "install_visit"
    assert step.state == ("completed" if is_over else "awaiting")
    assert case.one(order).count() == 1
    ends = TaskAttempt.objects.filter(task=step).values_list("outcome", flat=True)
    assert list(ends).count("done") == int(is_over)
    assert not TaskAttempt.objects.filter(outcome="").exists()
    assert worklist.stuck(at, grace=timedelta(0)) == []
    if kind not in ("book_visit", "install_visit"):  # the rest of that order waits for its day
        assert Event.objects.filter(kind="order.completed", subject=order.public_id).count() == 1
        assert set(order.tasks.values_list("state", flat=True)) == {"completed"}


def do_all_before(kind: str, order: ProductOrder, at: datetime) -> OrderTask:
    """Do what the order needs before its step of this kind, which is held back for so long."""
    rows = order.tasks.filter(kind=kind)
    step = rows.get()
    if step.state != "ready":
        rows.update(begins_at=at + timedelta(days=1))
        finish(at)
        rows.update(begins_at=step.begins_at, next_attempt_at=at)
        step.refresh_from_db()
    assert (step.state, step.attempts) == ("ready", 0)
    return step


def finish(at: datetime) -> None:
    """Do all that can be done: workers, partners, and whoever looks into people."""
    factories.work(at=at)
    for row in SubscriberCheck.objects.filter(state="pending"):
        checks.decide_check(check_id=row.pk, passed=True, actor=None, reason="Seen", at=at)
        factories.work(at=at)


def a_worker_waits() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(WAITS.format("1"), [databases.scratch_name(KEA)])
        return cursor.fetchone() is not None


def break_off() -> None:
    """End the connection in the middle of its statement, as a server that goes down does.

    For one that is dead PostgreSQL would carry out what it asked for last, when the lock is free.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            WAITS.format("pg_terminate_backend(pid, 5000)"), [databases.scratch_name(KEA)]
        )
