"""Figure 7 to the end: ordered on the portal, and what the real FreeRADIUS and the live session
make of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests import coa_agent
from tests.radius.conftest import Isp
from tests.radius.test_accounting import GIB, counted
from tests.radius.visitor import Visitor

pytestmark = [pytest.mark.daemon, pytest.mark.xdist_group("processes")]
READS_PAGES = True  # the other tests of this folder need none
PASSWORD = "a-long-walk-by-the-sea"


@pytest.fixture
def agent(isp: Isp) -> Iterator[coa_agent.Agent]:
    """The access server takes changes on a port of this test."""
    from provisioning.models import AccessServer

    with coa_agent.running() as agent:
        with isp.stack.orm():
            AccessServer.objects.filter(name="bng-1").update(
                kind="mikrotik",
                coa_host="127.0.0.1",
                coa_port=agent.port,
                coa_secret=coa_agent.SECRET,
            )
        yield agent


@pytest.fixture
def people(isp: Isp) -> tuple[str, str]:
    """Sell a faster plan; returns the e-mail addresses of the subscriber and of a CSR."""
    from types import SimpleNamespace

    from django.utils import timezone

    from ispops.parties import roles
    from ispops.parties.models import Partner
    from provisioning.models import Service
    from tests import factories
    from tests.provisioning import later

    with isp.stack.orm():
        sold: Any = SimpleNamespace(fibre=Partner.objects.get(name="Fast Fibre"))
        later.faster(sold)
        line = Service.objects.get(credential__username=isp.username)
        owner = line.subscriber.users.get()
        clerk = factories.staff(roles.CSR, at=timezone.now())
        for user in (owner, clerk):
            user.set_password(PASSWORD)
            user.save()
        return owner.email, clerk.email


def work(isp: Isp) -> None:
    """Do what the sweeps of the workers do, now."""
    from django.utils import timezone

    from provisioning import steering
    from rating import usage, watching
    from tests import factories

    isp.work()
    with isp.stack.orm():
        usage.rate_usage(at=timezone.now(), limit=100)
        watching.look(at=timezone.now())
        factories.work(at=timezone.now())
        steering.steer_due(at=timezone.now(), limit=10)


def line_of(isp: Isp) -> tuple[str, str]:
    """The ids of the line and of its subscriber."""
    from provisioning.models import Service

    with isp.stack.orm():
        line = Service.objects.get(credential__username=isp.username)
        return line.public_id, line.subscriber.public_id


def test_fair_use_and_a_change_reach_the_live_session_and_an_end_locks_it_out(
    isp: Isp, agent: coa_agent.Agent, people: tuple[str, str]
) -> None:
    owner, desk = (Visitor(isp.stack, email, PASSWORD) for email in people)
    line, subscriber = line_of(isp)
    told = isp.ask()
    assert told.kind == "Access-Accept"
    isp.tell(
        "Start", "live-1", f'Class = {told.values["Class"]}',
        f'Framed-IP-Address = {told.values["Framed-IP-Address"]}',
        'Calling-Station-Id = "02:00:00:00:00:01"',
    )  # fmt: skip
    isp.until(lambda: is_online(isp), "the session is there")

    slow_down(isp)
    isp.tell("Interim-Update", "live-1", f"Class = {told.values['Class']}", *counted(1, 6 * GIB))
    isp.until(lambda: worked(isp, agent, "change"), "fair use was told")
    assert agent.packets.pop(0)["Mikrotik-Rate-Limit"] == ["2000k/8000k"]
    assert isp.ask().values["Mikrotik-Rate-Limit"] == "2000k/8000k"
    assert "Your line is slower until" in owner.read("/account/usage/").text

    choice = owner.send(f"/account/lines/{line}/plans/")
    order = owner.send(f"{choice}review/?plan=fibre-1000&when=now")
    assert order.startswith("/orders/")
    isp.until(lambda: worked(isp, agent, "change"), "the change was told")
    assert agent.packets[0]["Mikrotik-Rate-Limit"] == ["1000000k/1000000k"]
    assert agent.packets[0]["Acct-Session-Id"] == ["live-1"]
    assert "Your line has changed" in owner.read(order).text
    page = desk.read(f"/console/subscribers/{subscriber}/").text
    assert "Change" in page
    assert "Up to date" in page

    over = owner.send(f"/account/lines/{line}/end/")
    isp.until(lambda: worked(isp, agent, "disconnect"), "the session was ended")
    assert "Your line has ended" in owner.read(over).text
    isp.until(lambda: isp.ask().kind == "Access-Reject", "the login is refused")
    assert isp.ask().kind == "Access-Reject"


def slow_down(isp: Isp) -> None:
    """Have the plan of the line slow it from 5 GB on."""
    from django.utils import timezone

    from ispops.catalog import fair_use
    from provisioning.models import Service

    with isp.stack.orm():
        line = Service.objects.select_related("offering").get(credential__username=isp.username)
        fair_use.set_fair_use(
            offering=line.offering, threshold_bytes=5 * 10**9, download_kbps=8_000,
            upload_kbps=2_000, at=timezone.now(),
        )  # fmt: skip


def is_online(isp: Isp) -> bool:
    from provisioning.models import AccessSession

    isp.work()
    with isp.stack.orm():
        return AccessSession.objects.filter(session_id="live-1", ended_at__isnull=True).exists()


def worked(isp: Isp, agent: coa_agent.Agent, kind: str) -> bool:
    work(isp)
    return kind in [packet["kind"] for packet in agent.packets]
