"""Lines that are suspended or paid for while their sessions begin and are told; with controls.

*Expired stays online* and *paid is suspended* are the two faults that operators know best.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from pytest_django import Settings

from provisioning import admission, services, sessions, steering, waiting
from provisioning.models import AaaCredential, AccessSession, Service, SessionCommand
from tests import coa_agent, factories
from tests.coa_agent import Agent
from tests.concurrency.test_orders import at_once
from tests.provisioning import online
from tests.small_isp import LAUNCH, make_small_isp

pytestmark = pytest.mark.django_db(transaction=True)
AT = LAUNCH + timedelta(days=1)
SOON = AT + timedelta(minutes=10)


@pytest.fixture(autouse=True)
def _little_patience(settings: Settings) -> None:
    settings.COA_TIMEOUT_SECONDS, settings.COA_SENDINGS = 0.5, 1


@pytest.fixture
def line() -> Service:
    return factories.live_line(make_small_isp(), factories.subscriber(at=AT), at=AT)


@pytest.fixture
def agent(line: Service) -> Iterator[Agent]:
    with coa_agent.running() as started:
        online.access_server(started)
        yield started


def suspend(line: Service, treatment: str = "block") -> None:
    services.open_suspension(line=line, reason="non_payment", treatment=treatment, note="", at=AT)


def pay(line: Service) -> None:
    services.close_suspension(line=line, reason="non_payment", at=AT)


def elsewhere(work: Callable[[], Any]) -> Future[Any]:
    """Do the work in a thread with a connection of its own."""

    def run() -> Any:
        try:
            return work()
        finally:
            connection.close()

    return ThreadPoolExecutor(1).submit(run)


def kinds(agent: Agent) -> list[str]:
    return [heard["kind"] for heard in agent.packets]


class TestExpiredStaysOnline:
    """A session begins while its line is being suspended, and neither sees the other."""

    @pytest.fixture(autouse=True)
    def _begun(self, line: Service) -> None:
        server = factories.address_server(at=AT)
        online.told(server, line, at=AT, Class=online.class_of(line))

    def begin_while_it_is_suspended(self, line: Service) -> None:
        """The suspension is written, then the session is followed and steered, then it commits."""
        with transaction.atomic():
            suspend(line)
            followed = elsewhere(lambda: sessions.follow_accounting(at=AT))
            assert followed.result(timeout=20) == 1
            steered = elsewhere(lambda: steering.steer_due(at=AT, limit=10))
            with pytest.raises(TimeoutError):
                steered.result(timeout=0.5)
        steered.result(timeout=20)

    def test_the_session_is_cut(self, line: Service, agent: Agent) -> None:
        self.begin_while_it_is_suspended(line)
        steering.steer_due(at=SOON, limit=10)
        assert AccessSession.objects.get().end_cause == "disconnected"
        assert kinds(agent) == ["disconnect"]

    def test_without_waiting_for_the_suspension_it_stays_online(
        self, line: Service, agent: Agent, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The negative control: what is committed is not all that is known."""

        def look(login_id: int) -> int:
            return AaaCredential.objects.values_list("revision", flat=True).get(pk=login_id)

        monkeypatch.setattr(steering, "_lock_revision", look)
        with transaction.atomic():
            suspend(line)
            elsewhere(lambda: sessions.follow_accounting(at=AT)).result(timeout=20)
            elsewhere(lambda: steering.steer_due(at=AT, limit=10)).result(timeout=20)
        steering.steer_due(at=SOON, limit=10)
        assert AccessSession.objects.get().ended_at is None
        assert Service.objects.get(pk=line.pk).state == "suspended"
        assert agent.packets == []

    def test_a_session_that_is_written_while_the_suspension_commits(
        self, line: Service, agent: Agent
    ) -> None:
        with transaction.atomic():
            sessions.follow_accounting(at=AT)
            elsewhere(lambda: suspend(line)).result(timeout=20)
        steering.steer_due(at=SOON, limit=10)
        assert AccessSession.objects.get().end_cause == "disconnected"

    def test_sessions_that_were_let_in_as_they_are_would_not_be_looked_at(
        self, line: Service, agent: Agent, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The negative control: the follower judges by what it can see."""
        save = sessions._Batch._save

        def judged(batch: Any, rows: Any) -> None:
            revision = AaaCredential.objects.get(service=line).revision
            for row in rows:
                if row.applied_revision >= revision:
                    row.next_attempt_at = None
            save(batch, rows)

        monkeypatch.setattr(sessions._Batch, "_save", judged)
        with transaction.atomic():
            sessions.follow_accounting(at=AT)
            elsewhere(lambda: suspend(line)).result(timeout=20)
        steering.steer_due(at=SOON, limit=10)
        assert AccessSession.objects.get().ended_at is None


class TestPaidIsSuspended:
    """A line pays while its access server is being asked to cut it or to wall it in."""

    def pay_when_asked(self, line: Service, agent: Agent) -> None:
        def paid(_: dict[str, Any]) -> None:
            if len(agent.packets) == 1:
                elsewhere(lambda: pay(line)).result(timeout=20)

        agent.heard = paid

    @pytest.mark.parametrize("way", ["nak504", "silent"])
    def test_a_disconnect_that_failed_is_not_tried_again(
        self, line: Service, agent: Agent, way: str
    ) -> None:
        live = online.session(line, at=AT)
        suspend(line)
        agent.ways["disconnect"] = way
        self.pay_when_asked(line, agent)
        steering.steer_due(at=AT, limit=10)
        steering.steer_due(at=SOON, limit=10)
        live.refresh_from_db()
        assert kinds(agent) == ["disconnect", "change"]
        assert (live.ended_at, live.trouble, live.next_attempt_at) == (None, "", None)

    def test_a_line_that_was_cut_comes_back_as_it_may_be_now(
        self, line: Service, agent: Agent
    ) -> None:
        online.session(line, at=AT)
        suspend(line)
        self.pay_when_asked(line, agent)
        steering.steer_due(at=AT, limit=10)
        server = factories.address_server(at=AT)
        login = AaaCredential.objects.get(service=line)
        found = admission.find(
            server=server.name, secret=factories.SECRET, username=login.username, nas_ip=None,
            device="d", at=AT,
        )  # fmt: skip
        assert found is not None
        let_in = admission.admit(
            found=found, username=login.username, proven=None, device="d", at=AT
        )
        assert let_in.admitted
        assert let_in.reply is not None
        online.told(server, line, at=SOON, session="s-2", Class=let_in.reply["Class"])
        sessions.follow_accounting(at=SOON)
        steering.steer_due(at=SOON, limit=10)
        assert kinds(agent) == ["disconnect"]
        assert AccessSession.objects.get(session_id="s-2").ended_at is None

    def test_a_refused_walled_garden_does_not_cut_it(self, line: Service, agent: Agent) -> None:
        live = online.session(line, at=AT)
        suspend(line, "walled_garden")
        agent.ways["change"] = "nak"
        self.pay_when_asked(line, agent)
        agent.heard, paid = (
            (lambda heard: (paid(heard), agent.ways.update(change="ack"))),
            agent.heard,
        )
        steering.steer_due(at=AT, limit=10)
        steering.steer_due(at=SOON, limit=10)
        live.refresh_from_db()
        assert live.ended_at is None
        assert "disconnect" not in kinds(agent)

    def test_without_a_second_look_it_is_cut_after_it_has_paid(
        self, line: Service, agent: Agent, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The negative control: what was wanted when the worker began is done to the end."""
        monkeypatch.setattr(steering._Work, "_has_moved", lambda _: False)
        live = online.session(line, at=AT)
        suspend(line, "walled_garden")
        agent.ways["change"] = "nak"
        self.pay_when_asked(line, agent)
        steering.steer_due(at=AT, limit=10)
        live.refresh_from_db()
        assert Service.objects.get(pk=line.pk).state == "active"
        assert live.end_cause == "disconnected"


class TestManyWorkers:
    def test_one_session_is_told_once(self, line: Service, agent: Agent) -> None:
        online.session(line, at=AT)
        suspend(line)
        done = at_once(lambda _: steering.steer_due(at=AT, limit=10))
        assert sum(done) == 1
        assert kinds(agent) == ["disconnect"]
        assert SessionCommand.objects.count() == 1

    def test_one_follows_at_a_time(self, line: Service) -> None:
        server = factories.address_server(at=AT)
        for number in range(20):
            online.told(server, line, at=AT, session=f"s-{number % 4}", age=number)
        while any(at_once(lambda _: sessions.follow_accounting(at=AT, limit=3))):
            pass
        assert AccessSession.objects.filter(ended_at=None).count() == 4

    def test_two_followers_would_begin_a_session_twice(
        self, line: Service, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The negative control. Each holds one range, where usually one would hold both."""
        monkeypatch.setattr(waiting, "_FIRST_LOOK", 1)
        server = factories.address_server(at=AT)
        online.told(server, line, at=AT)
        online.told(server, line, "Interim-Update", at=AT, age=0)
        both = threading.Barrier(2)
        lock_known = sessions._Batch._lock_known

        def together(batch: Any) -> Any:
            found = lock_known(batch)
            both.wait(timeout=20)
            return found

        def follow(_: int) -> bool:
            try:
                return bool(sessions.follow_accounting(at=AT, limit=1))
            except IntegrityError:
                return False

        monkeypatch.setattr(sessions, "_is_the_follower", lambda: True)
        monkeypatch.setattr(sessions._Batch, "_lock_known", together)
        assert sorted(at_once(follow, many=2)) == [False, True]
