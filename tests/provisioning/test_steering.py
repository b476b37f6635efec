"""Live sessions follow what their lines may do, over real UDP (RFC 5176)."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from pytest_django import Settings

from ispops import events
from ispops.errors import NotFound, TransientFault
from ispops.parties.models import AuditEntry, Subscriber, User
from provisioning import control, profiles, services, steering, suspending
from provisioning.in_force import Speed
from provisioning.models import (
    AaaCredential,
    AccessServer,
    AccessSession,
    ProductOrder,
    Service,
    SessionCommand,
)
from tests import coa_agent, factories
from tests.provisioning import online
from tests.small_isp import SmallIsp

LATER = timedelta(minutes=10)


@pytest.fixture
def line(isp: SmallIsp, ada: Subscriber, at: datetime) -> Service:
    return factories.live_line(isp, ada, at=at)


@pytest.fixture(autouse=True)
def _little_patience(settings: Settings) -> None:
    settings.COA_TIMEOUT_SECONDS, settings.COA_SENDINGS = 0.15, 2


def suspend(line: Service, at: datetime, treatment: str = "block") -> None:
    services.open_suspension(line=line, reason="abuse", treatment=treatment, note="", at=at)


def resume(line: Service, at: datetime) -> None:
    services.close_suspension(line=line, reason="abuse", at=at)


def speed_up(line: Service, otto: User, at: datetime, kbps: int = 900_000) -> None:
    profiles.set_profile(
        service=line, speed=Speed(kbps, kbps), sessions_at_once=None, actor=otto,
        reason="Test", at=at,
    )  # fmt: skip


def outcomes() -> list[tuple[str, str]]:
    return list(SessionCommand.objects.order_by("pk").values_list("kind", "outcome"))


def steer(at: datetime) -> int:
    return steering.steer_due(at=at, limit=10)


class TestSpeed:
    def test_it_changes_live(self, line: Service, otto: User, at: datetime) -> None:
        with coa_agent.running() as agent:
            online.access_server(agent)
            live = online.session(line, at=at)
            speed_up(line, otto, at)
            assert steer(at) == 1
        assert agent.packets == [
            {
                "kind": "change",
                "User-Name": [live.username],
                "Acct-Session-Id": ["s-1"],
                "NAS-IP-Address": [online.NAS],
                "Framed-IP-Address": ["100.64.0.10"],
                "Event-Timestamp": [int(at.timestamp())],
                "Mikrotik-Rate-Limit": ["900000k/900000k"],
            }
        ]
        live.refresh_from_db()
        assert live.applied_revision == AaaCredential.objects.get(service=line).revision
        assert (live.next_attempt_at, live.leased_until, live.ended_at) == (None, None, None)

    def test_one_whose_clock_is_an_hour_off_is_told_without_the_time(
        self, line: Service, otto: User, at: datetime
    ) -> None:
        with coa_agent.running(clock=lambda: at.timestamp() - 3600) as agent:
            server = online.access_server(agent)
            live = online.session(line, at=at)
            speed_up(line, otto, at)
            steer(at)
            assert outcomes() == [("change", "no_answer")]
            control.set_control(
                access_server_id=server.pk, kind=server.kind, coa_host=server.coa_host,
                coa_port=server.coa_port, coa_secret=None, coa_says_when=False, actor=otto,
                reason="Its clock is an hour behind", at=at,
            )  # fmt: skip
            steer(at + LATER)
        assert outcomes()[1:] == [("change", "acknowledged")]
        assert "Event-Timestamp" not in agent.packets[-1]
        live.refresh_from_db()
        assert live.applied_revision == AaaCredential.objects.get(service=line).revision

    def test_what_was_said_is_kept(self, line: Service, otto: User, at: datetime) -> None:
        with coa_agent.running() as agent:
            online.access_server(agent)
            live = online.session(line, at=at)
            speed_up(line, otto, at)
            steer(at)
        kept = SessionCommand.objects.get()
        assert (kept.session, kept.kind, kept.outcome) == (live, "change", "acknowledged")
        assert kept.request["Mikrotik-Rate-Limit"] == "900000k/900000k"
        assert coa_agent.SECRET not in str(kept.request) + str(kept.reply)
        assert kept.answered_at is not None
        assert at <= kept.sent_at <= kept.answered_at

    def test_a_refused_change_ends_the_session(
        self, line: Service, otto: User, at: datetime
    ) -> None:
        with coa_agent.running(change="nak401") as agent:
            online.access_server(agent)
            live = online.session(line, at=at)
            speed_up(line, otto, at)
            steer(at)
        assert outcomes() == [("change", "refused"), ("disconnect", "acknowledged")]
        assert "does not know an attribute" in SessionCommand.objects.earliest("pk").detail
        live.refresh_from_db()
        assert (live.end_cause, live.next_attempt_at) == ("disconnected", None)

    def test_a_session_that_has_it_hears_nothing(
        self, line: Service, otto: User, at: datetime
    ) -> None:
        """Faster, and back to the plan before anybody was told: nothing differs."""
        with coa_agent.running() as agent:
            online.access_server(agent)
            live = online.session(line, at=at)
            speed_up(line, otto, at)
            profiles.set_profile(
                service=line, speed=None, sessions_at_once=None, actor=otto, reason="x", at=at
            )
            assert steer(at) == 1
        assert agent.packets == []
        live.refresh_from_db()
        assert live.applied_revision == AaaCredential.objects.get(service=line).revision

    def test_after_a_lost_answer_it_is_told_although_nothing_differs(
        self, line: Service, otto: User, at: datetime
    ) -> None:
        """The access server may have done what it was asked, without our hearing of it."""
        with coa_agent.running(change="silent") as agent:
            online.access_server(agent)
            online.session(line, at=at)
            suspend(line, at, "walled_garden")
            steer(at)
            agent.ways["change"] = "ack"
            resume(line, at)
            steer(at + LATER)
        assert agent.packets[-1]["Mikrotik-Address-List"] == ["open-access"]
        assert AccessSession.objects.get().next_attempt_at is None


class TestSuspension:
    def test_a_blocked_line_is_cut(self, line: Service, at: datetime) -> None:
        with coa_agent.running() as agent:
            online.access_server(agent)
            live = online.session(line, at=at)
            suspend(line, at)
            steer(at)
        assert [heard["kind"] for heard in agent.packets] == ["disconnect"]
        live.refresh_from_db()
        assert live.ended_at is not None

    def test_into_the_walled_garden_and_out_of_it_live(self, line: Service, at: datetime) -> None:
        with coa_agent.running() as agent:
            online.access_server(agent)
            online.session(line, at=at)
            suspend(line, at, "walled_garden")
            steer(at)
            resume(line, at)
            steer(at + LATER)
        lists = [heard.get("Mikrotik-Address-List") for heard in agent.packets]
        assert lists == [["walled-garden"], ["open-access"]]
        assert AccessSession.objects.get().ended_at is None

    def test_a_line_that_has_ended_is_cut(self, line: Service, at: datetime) -> None:
        with coa_agent.running() as agent:
            online.access_server(agent)
            online.session(line, at=at)
            services.cease(service=line, at=at)
            steer(at)
        assert [heard["kind"] for heard in agent.packets] == ["disconnect"]

    def test_a_line_whose_address_was_taken_back_is_cut_and_comes_back(
        self, line: Service, at: datetime
    ) -> None:
        with coa_agent.running() as agent:
            online.access_server(agent)
            live = online.session(line, at=at, framed_ip="192.0.2.7")
            other = online.session(line, at=at, framed_ip="192.0.2.8", session_id="s-2")
            for _ in range(2):
                events.publish(
                    "address.renumbered", subject="rnb_1", at=at, service=line.public_id,
                    device="x", address="192.0.2.7/32", subscriber=line.subscriber.public_id,
                )  # fmt: skip
            factories.deliver_events(at=at)
            steer(at)
        assert [heard["kind"] for heard in agent.packets] == ["disconnect"]
        live.refresh_from_db()
        other.refresh_from_db()
        assert (live.end_cause, other.ended_at) == ("disconnected", None)

    def test_a_session_that_is_not_there_is_over(self, line: Service, at: datetime) -> None:
        with coa_agent.running(disconnect="nak503") as agent:
            online.access_server(agent)
            live = online.session(line, at=at)
            suspend(line, at)
            steer(at)
        live.refresh_from_db()
        assert (live.end_cause, live.trouble) == ("gone", "")
        assert outcomes() == [("disconnect", "gone")]

    def test_who_cannot_be_cut_is_for_a_person(self, line: Service, at: datetime) -> None:
        with coa_agent.running(disconnect="nak504") as agent:
            online.access_server(agent)
            live = online.session(line, at=at)
            suspend(line, at)
            steer(at)
        live.refresh_from_db()
        assert (live.trouble, live.next_attempt_at, live.ended_at) == ("refused", None, None)


class TestSilence:
    @pytest.mark.parametrize("way", ["silent", "forged"])
    def test_it_is_tried_again_later(self, line: Service, at: datetime, way: str) -> None:
        with coa_agent.running(disconnect=way) as agent:
            online.access_server(agent)
            live = online.session(line, at=at)
            suspend(line, at)
            steer(at)
        live.refresh_from_db()
        assert live.next_attempt_at > at
        assert (live.leased_until, live.trouble) == (None, "")
        kept = SessionCommand.objects.get()
        assert (kept.outcome, kept.answered_at, kept.reply) == ("no_answer", None, None)

    def test_a_wrong_secret_is_silence(self, line: Service, at: datetime) -> None:
        with coa_agent.running(secret="another-secret") as agent:
            online.access_server(agent)
            online.session(line, at=at)
            suspend(line, at)
            steer(at)
        assert agent.packets == []
        assert outcomes() == [("disconnect", "no_answer")]

    def test_after_so_many_tries_a_person_is_told_and_may_try_again(
        self, line: Service, otto: User, at: datetime, settings: Settings
    ) -> None:
        settings.COA_TIMEOUT_SECONDS = 0.03
        with coa_agent.running(disconnect="silent") as agent:
            online.access_server(agent)
            live = online.session(line, at=at)
            suspend(line, at)
            for number in range(steering.MOST_ATTEMPTS + 2):
                steer(at + number * LATER)
            live.refresh_from_db()
            assert (live.trouble, live.next_attempt_at) == ("no_answer", None)
            assert len(outcomes()) == steering.MOST_ATTEMPTS
            agent.ways["disconnect"] = "ack"
            later = at + 20 * LATER
            steering.retry(session_id=live.pk, actor=otto, at=later)
            steer(later)
        live.refresh_from_db()
        assert live.end_cause == "disconnected"
        assert AuditEntry.objects.get(action="session.retried").detail["trouble"] == "no_answer"

    def test_the_server_s_other_sessions_wait_a_moment(self, line: Service, at: datetime) -> None:
        with coa_agent.running(disconnect="silent") as agent:
            online.access_server(agent)
            for _ in range(3):
                online.session(line, at=at)
            suspend(line, at)
            assert steer(at) == 1

    def test_a_retransmission_is_one_command(
        self, line: Service, at: datetime, settings: Settings
    ) -> None:
        settings.COA_TIMEOUT_SECONDS = 0.3
        with coa_agent.running(disconnect="slow") as agent:
            online.access_server(agent)
            online.session(line, at=at)
            suspend(line, at)
            steer(at)
            assert len(agent.packets) == 1
        assert outcomes() == [("disconnect", "acknowledged")]

    def test_a_slow_answer_counts(self, line: Service, at: datetime, settings: Settings) -> None:
        settings.COA_TIMEOUT_SECONDS = 2
        with coa_agent.running(disconnect="slow") as agent:
            online.access_server(agent)
            online.session(line, at=at)
            suspend(line, at)
            steer(at)
        assert outcomes() == [("disconnect", "acknowledged")]

    def test_an_answer_that_comes_twice_is_one(
        self, line: Service, otto: User, at: datetime
    ) -> None:
        with coa_agent.running(change="twice", disconnect="twice") as agent:
            online.access_server(agent)
            online.session(line, at=at)
            speed_up(line, otto, at)
            steer(at)
            suspend(line, at)
            steer(at + LATER)
        assert outcomes() == [("change", "acknowledged"), ("disconnect", "acknowledged")]


class TestWithoutChanges:
    @pytest.mark.parametrize("is_known", [True, False])
    def test_the_session_runs_on_and_a_person_is_told(
        self, line: Service, at: datetime, is_known: bool
    ) -> None:
        if is_known:
            online.access_server(None)
        live = online.session(line, at=at)
        suspend(line, at)
        steer(at)
        live.refresh_from_db()
        assert (live.trouble, live.ended_at) == ("server_takes_no_changes", None)
        assert SessionCommand.objects.count() == 0

    def test_nobody_is_told_where_nothing_differs(
        self, line: Service, otto: User, at: datetime
    ) -> None:
        online.access_server(None)
        live = online.session(line, at=at)
        suspend(line, at)
        resume(line, at)
        steer(at)
        live.refresh_from_db()
        assert (live.trouble, live.next_attempt_at) == ("", None)


class TestWhileItIsAsked:
    """The profile changes between the question and its answer."""

    def test_a_newer_change_is_not_lost(self, line: Service, otto: User, at: datetime) -> None:
        with coa_agent.running() as agent:
            online.access_server(agent)
            live = online.session(line, at=at)
            speed_up(line, otto, at)
            taken = steering._claim(AccessSession.objects.all(), at=at)
            assert taken is not None
            work = steering._Work(taken, steering._Clock(at))
            speed_up(line, otto, at, 700_000)
            work.do()
            live.refresh_from_db()
            assert live.next_attempt_at is not None
            steer(at + LATER)
        assert [heard["Mikrotik-Rate-Limit"] for heard in agent.packets] == [
            ["900000k/900000k"], ["700000k/700000k"]
        ]  # fmt: skip

    def test_a_line_that_paid_is_not_cut_because_its_walled_garden_was_refused(
        self, line: Service, at: datetime
    ) -> None:
        with coa_agent.running(change="nak") as agent:
            online.access_server(agent)
            live = online.session(line, at=at)
            suspend(line, at, "walled_garden")
            taken = steering._claim(AccessSession.objects.all(), at=at)
            assert taken is not None
            work = steering._Work(taken, steering._Clock(at))
            resume(line, at)
            work.do()
            live.refresh_from_db()
            assert (live.ended_at, live.trouble) == (None, "")
        assert outcomes() == [("change", "refused")]

    def test_trouble_of_before_is_not_trouble_of_now(self, line: Service, at: datetime) -> None:
        live = online.session(line, at=at)
        suspend(line, at)
        taken = steering._claim(AccessSession.objects.all(), at=at)
        assert taken is not None
        work = steering._Work(taken, steering._Clock(at))
        resume(line, at)
        work.do()
        live.refresh_from_db()
        assert live.trouble == ""
        assert live.next_attempt_at is not None

    def test_a_worker_that_was_given_up_on_writes_nothing(
        self, line: Service, at: datetime
    ) -> None:
        with coa_agent.running() as agent:
            online.access_server(agent)
            live = online.session(line, at=at)
            suspend(line, at)
            first = steering._claim(AccessSession.objects.all(), at=at)
            second = steering._claim(AccessSession.objects.all(), at=at + LATER)
            assert first is not None
            assert second is not None
            steering._Work(first, steering._Clock(at)).do()
        live.refresh_from_db()
        assert live.ended_at is None
        assert agent.packets == [], "the session is in other hands"


class TestClaiming:
    def test_calls_to_one_server_are_limited(
        self, line: Service, at: datetime, settings: Settings
    ) -> None:
        settings.COA_CALLS_AT_ONCE = 2
        online.access_server(None, coa_secret=coa_agent.SECRET)
        for _ in range(3):
            online.session(line, at=at)
        elsewhere = online.session(line, at=at, nas_ip="192.0.2.8")
        suspend(line, at)
        taken = [steering._claim(AccessSession.objects.all(), at=at) for _ in range(4)]
        assert [row.nas_ip if row else None for row in taken] == [
            online.NAS, online.NAS, elsewhere.nas_ip, None
        ]  # fmt: skip

    def test_what_fails_in_itself_is_parked(
        self, line: Service, at: datetime, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        live = online.session(line, at=at)
        suspend(line, at)
        monkeypatch.setattr(steering.profiles, "served", None)
        steer(at)
        live.refresh_from_db()
        assert live.trouble == "internal_error"


class TestSessionsThatBegin:
    """After an access server has restarted, thousands do, and nearly all are as they should be."""

    def test_many_cost_what_one_costs(
        self, line: Service, at: datetime, django_assert_max_num_queries: Any
    ) -> None:
        online.session(line, at=at, next_attempt_at=at)
        with django_assert_max_num_queries(14) as first:
            assert steering.steer_due(at=at, limit=100) == 1
        for _ in range(30):
            online.session(line, at=at, next_attempt_at=at)
        with django_assert_max_num_queries(len(first)):
            assert steering.steer_due(at=at, limit=100) == 30
        assert not AccessSession.objects.exclude(next_attempt_at=None).exists()

    @pytest.mark.parametrize("odd", ["behind", "asked", "leased"])
    def test_the_others_are_looked_at_singly(self, line: Service, at: datetime, odd: str) -> None:
        facts: dict[str, Any] = {
            "behind": {"revision": 1},
            "asked": {"asked_revision": 9},
            "leased": {"leased_until": at + LATER},
        }[odd]
        online.session(line, at=at, next_attempt_at=at, **facts)
        assert steering._settle_up_to_date(at=at) == 0
        assert AccessSession.objects.get().next_attempt_at == at


class TestForOrders:
    """A step of an order brings the line's sessions up to date, and says what it did."""

    def test_at_once(self, line: Service, at: datetime) -> None:
        with coa_agent.running() as agent:
            online.access_server(agent)
            online.session(line, at=at)
            suspend(line, at)
            words = steering.bring_up(service=line, at=at)
        assert words == "Live sessions brought up to date: 1."
        assert AccessSession.objects.get().ended_at is not None

    def test_nobody_is_online(self, line: Service, at: datetime) -> None:
        suspend(line, at)
        assert "when it comes in" in steering.bring_up(service=line, at=at)

    def test_no_answer_passes(self, line: Service, at: datetime) -> None:
        with coa_agent.running(disconnect="silent") as agent:
            online.access_server(agent)
            online.session(line, at=at)
            suspend(line, at)
            with pytest.raises(TransientFault):
                steering.bring_up(service=line, at=at)
            agent.ways["disconnect"] = "ack"
            assert "1" in steering.bring_up(service=line, at=at + timedelta(seconds=1))

    def test_another_worker_is_at_it(self, line: Service, at: datetime) -> None:
        online.session(line, at=at)
        suspend(line, at)
        assert steering._claim(AccessSession.objects.all(), at=at)
        with pytest.raises(TransientFault):
            steering.bring_up(service=line, at=at)

    def test_a_server_that_takes_no_changes_is_the_cause(self, line: Service, at: datetime) -> None:
        online.session(line, at=at)
        suspend(line, at)
        with pytest.raises(steering.SessionStays) as stays:
            steering.bring_up(service=line, at=at)
        assert stays.value.cause == "server_takes_no_changes"
        assert "takes no changes" in str(stays.value)

    def test_a_retry_by_a_person_tries_what_gave_trouble(self, line: Service, at: datetime) -> None:
        online.session(line, at=at)
        suspend(line, at)
        with pytest.raises(steering.SessionStays):
            steering.bring_up(service=line, at=at)
        with coa_agent.running() as agent:
            online.access_server(agent)
            steering.bring_up(service=line, at=at)
        assert outcomes() == [("disconnect", "acknowledged")]


class TestByAnOrder:
    """The step of an order that changes a line goes through to its session, and waits for it."""

    def pause(self, line: Service, at: datetime) -> ProductOrder:
        order = suspending.suspend_line(
            line=line, reason="abuse", channel="csr", placed_by=None, idempotency_key="k-1", at=at
        )
        factories.work(at=at)
        order.refresh_from_db()
        return order

    def test_pausing_a_line_ends_its_session(self, line: Service, at: datetime) -> None:
        with coa_agent.running() as agent:
            online.access_server(agent)
            online.session(line, at=at)
            assert self.pause(line, at).state == "completed"
        assert outcomes() == [("disconnect", "acknowledged")]

    def test_a_session_that_stays_is_for_a_person_with_its_cause(
        self, line: Service, at: datetime
    ) -> None:
        online.session(line, at=at)
        order = self.pause(line, at)
        assert order.state == "held"
        task = order.tasks.get(state="fallout")
        assert (task.kind, task.cause) == ("apply_to_session", "server_takes_no_changes")
        assert Service.objects.get(pk=line.pk).state == "suspended"


def test_there_is_no_such_session_to_retry(otto: User, at: datetime) -> None:
    with pytest.raises(NotFound):
        steering.retry(session_id=0, actor=otto, at=at)


@pytest.mark.parametrize("kind", AccessServer.Kind.values)
def test_each_kind_of_server_is_told_in_its_own_words(
    line: Service, otto: User, at: datetime, kind: str
) -> None:
    """What the dictionary does not know could not be sent at all."""
    with coa_agent.running() as agent:
        online.access_server(agent, kind=kind)
        online.session(line, at=at)
        speed_up(line, otto, at)
        steer(at)
        suspend(line, at, "walled_garden")
        steer(at + LATER)
        resume(line, at)
        steer(at + 2 * LATER)
    assert outcomes() == [("change", "acknowledged")] * 3
