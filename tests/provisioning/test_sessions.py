"""The list of sessions follows the accounting inbox: who is online, since when, as what."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from ipam.models import AddressServer
from ispops.parties.models import Subscriber
from provisioning import following, queries, sessions
from provisioning.models import AaaCredential, AccessSession, Service
from tests import factories
from tests.provisioning import online
from tests.small_isp import SmallIsp

MINUTE = timedelta(minutes=1)


@pytest.fixture
def line(isp: SmallIsp, ada: Subscriber, at: datetime) -> Service:
    return factories.live_line(isp, ada, at=at)


@pytest.fixture
def told(radius_server: AddressServer, line: Service) -> Any:
    def tell(kind: str = "Start", *, of: Service | None = line, **more: Any) -> None:
        online.told(radius_server, of, kind, **more)

    return tell


def follow(at: datetime, limit: int = 2_000) -> int:
    return sessions.follow_accounting(at=at, limit=limit)


def one() -> AccessSession:
    return AccessSession.objects.get()


class TestOneSession:
    def test_it_begins(self, told: Any, line: Service, at: datetime) -> None:
        name = online.class_of(line)
        told(at=at, Class=name)
        assert follow(at + MINUTE) == 1
        found = one()
        assert found.service == line
        assert (found.username, found.session_id) == (line.credential.username, "s-1")
        assert (found.nas_ip, found.framed_ip) == (online.NAS, "100.64.0.10")
        assert found.calling_station_id == "AA-BB-CC-00-11-22"
        assert (found.started_at, found.last_heard_at, found.ended_at) == (at, at, None)
        assert found.session_class == name
        assert found.applied_revision == AaaCredential.objects.get(service=line).revision

    def test_it_is_looked_at_although_it_was_let_in_with_what_is_in_force(
        self, told: Any, line: Service, at: datetime
    ) -> None:
        """A suspension may be committed in the same moment, and not know of it."""
        told(at=at, Class=online.class_of(line))
        follow(at)
        assert one().next_attempt_at == at

    def test_it_goes_on(self, told: Any, at: datetime) -> None:
        told(at=at)
        told("Interim-Update", at=at + 5 * MINUTE, age=300, Framed_IP_Address="100.64.0.99")
        follow(at)
        found = one()
        assert (found.started_at, found.last_heard_at) == (at, at + 5 * MINUTE)
        assert found.framed_ip == "100.64.0.99"

    def test_it_goes_on_among_many(
        self, told: Any, line: Service, at: datetime, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Many are written in another way than few."""
        monkeypatch.setattr(sessions, "FEW", 0)
        told(at=at)
        follow(at)
        told("Interim-Update", at=at + MINUTE, age=60, Calling_Station_Id="a\\b\tc", Class="")
        told("Stop", at=at + MINUTE, age=60, session="s-2", Framed_IP_Address="")
        follow(at)
        told("Stop", at=at + MINUTE, age=60, session="s-2")
        follow(at)
        going, ended = AccessSession.objects.order_by("pk")
        assert (going.last_heard_at, going.calling_station_id) == (at + MINUTE, "a\\b\tc")
        assert (going.ended_at, going.next_attempt_at) == (None, at)
        assert (ended.ended_at, ended.framed_ip) == (at + MINUTE, "100.64.0.10")

    def test_it_ends(self, told: Any, at: datetime) -> None:
        told(at=at)
        follow(at)
        told("Stop", at=at + MINUTE, age=60, Acct_Terminate_Cause="Admin-Reset")
        follow(at + MINUTE)
        found = one()
        assert (found.ended_at, found.end_cause) == (at + MINUTE, "Admin-Reset")
        assert found.next_attempt_at is None

    def test_without_its_start(self, told: Any, at: datetime) -> None:
        told("Interim-Update", at=at, age=3600)
        follow(at)
        assert one().started_at == at - timedelta(hours=1)

    def test_of_which_only_the_end_came(self, told: Any, at: datetime) -> None:
        told("Stop", at=at, age=3600)
        follow(at)
        assert (one().ended_at, one().next_attempt_at) == (at, None)

    def test_what_comes_again_changes_nothing(self, told: Any, at: datetime) -> None:
        for _ in range(2):
            told(at=at)
            told("Stop", at=at + MINUTE, age=60)
        follow(at)
        told(at=at)
        follow(at)
        assert one().ended_at == at + MINUTE

    def test_messages_are_taken_once(self, told: Any, at: datetime) -> None:
        told(at=at)
        told("Interim-Update", at=at, age=1)
        assert [follow(at, limit=1) for _ in range(3)] == [1, 1, 0]


class TestWhoseItIs:
    def test_a_stranger_s_is_passed_over(self, told: Any, at: datetime) -> None:
        told(at=at, of=None)
        assert follow(at) == 1
        assert not AccessSession.objects.exists()

    def test_the_class_comes_before_the_name(
        self, told: Any, isp: SmallIsp, line: Service, at: datetime
    ) -> None:
        """An access server may rewrite the name, or give the device's address for it."""
        told(at=at, User_Name="aa:bb:cc:00:11:22", Class=online.class_of(line))
        follow(at)
        assert one().service == line

    @pytest.mark.parametrize("name", ["", "svc_00.x", "svc_" + "0" * 32 + ".ff.r1", "x\x00.r9"])
    def test_a_class_that_is_none_of_ours(
        self, told: Any, line: Service, at: datetime, name: str
    ) -> None:
        told(at=at, Class=name)
        follow(at)
        assert one().service == line

    @pytest.mark.parametrize(
        ("name", "revision"),
        [("svc_a.ff.r7", 7), ("svc_a.ff", 0), ("", 0), ("svc_a.ff.rx", 0), ("a.r-1", 0),
         ("a.r" + "9" * 10, 0), ("a.r²", 0)],
    )  # fmt: skip
    def test_the_revision_is_in_the_class(self, name: str, revision: int) -> None:
        assert sessions.revision_of(name) == revision


class TestIdsThatAreUsedAgain:
    def test_another_class_is_another_session(self, told: Any, line: Service, at: datetime) -> None:
        told(at=at, Class=online.class_of(line, number=1))
        follow(at)
        told(at=at + 60 * MINUTE, Class=online.class_of(line, number=2))
        follow(at)
        old, new = AccessSession.objects.order_by("started_at")
        assert (old.ended_at, old.end_cause) == (at, "replaced")
        assert new.ended_at is None

    def test_without_a_class_the_start_tells(self, told: Any, at: datetime) -> None:
        told("Interim-Update", at=at, age=600)
        told("Interim-Update", at=at + 60 * MINUTE, age=60)
        follow(at)
        assert AccessSession.objects.filter(ended_at=None).count() == 1
        assert AccessSession.objects.count() == 2

    def test_a_stop_of_the_old_one_leaves_the_new_one(
        self, told: Any, line: Service, at: datetime
    ) -> None:
        first = online.class_of(line, number=1)
        told(at=at, Class=first)
        told(at=at + 60 * MINUTE, Class=online.class_of(line, number=2))
        follow(at)
        told("Stop", at=at + 30 * MINUTE, age=1800, Class=first)
        follow(at)
        assert AccessSession.objects.get(ended_at=None).started_at == at + 60 * MINUTE


class TestServersThatRestart:
    @pytest.mark.parametrize("kind", ["Accounting-On", "Accounting-Off"])
    def test_all_its_sessions_end(self, told: Any, at: datetime, kind: str) -> None:
        told(at=at, session="s-1")
        told(at=at, session="s-2")
        told(at=at, session="s-3", NAS_IP_Address="192.0.2.8")
        follow(at)
        told(kind, at=at + MINUTE)
        follow(at)
        lost = AccessSession.objects.exclude(ended_at=None)
        assert {row.session_id for row in lost} == {"s-1", "s-2"}
        assert {(row.ended_at, row.end_cause) for row in lost} == {
            (at + MINUTE, "server_restarted")
        }

    def test_what_began_since_goes_on(self, told: Any, at: datetime) -> None:
        told(at=at + 2 * MINUTE)
        told("Accounting-On", at=at + MINUTE)
        follow(at)
        assert one().ended_at is None

    def test_a_start_that_comes_after_the_news_of_the_restart(
        self, told: Any, at: datetime
    ) -> None:
        told("Accounting-On", at=at + MINUTE)
        follow(at)
        told(at=at)
        follow(at)
        assert one().end_cause == "server_restarted"

    def test_one_that_lives_after_all(self, told: Any, at: datetime) -> None:
        told(at=at)
        told("Accounting-On", at=at + MINUTE)
        follow(at)
        told("Interim-Update", at=at + 5 * MINUTE, age=300)
        follow(at + 5 * MINUTE)
        assert (one().ended_at, one().end_cause) == (None, "")
        assert one().next_attempt_at == at + 5 * MINUTE, "it may have missed a change"


class TestSilence:
    def test_a_session_is_closed_when_it_was_last_heard_of(self, told: Any, at: datetime) -> None:
        told(at=at)
        follow(at)
        late = at + following.SILENT_AFTER
        assert sessions.close_stale(at=late - timedelta(seconds=1)) == 0
        assert sessions.close_stale(at=late) == 1
        assert (one().ended_at, one().end_cause, one().next_attempt_at) == (at, "stale", None)

    def test_a_later_message_opens_it_again(self, told: Any, at: datetime) -> None:
        told(at=at)
        follow(at)
        sessions.close_stale(at=at + timedelta(hours=1))
        told("Interim-Update", at=at + timedelta(hours=1), age=3600)
        follow(at + timedelta(hours=1))
        assert one().ended_at is None

    def test_a_clock_that_is_an_hour_off_closes_nothing(self, told: Any, at: datetime) -> None:
        """Its own time is not believed; see `radius.event_time`."""
        wrong = int((at - timedelta(hours=1)).timestamp())
        told(at=at, Event_Timestamp=wrong)
        follow(at)
        assert sessions.close_stale(at=at + MINUTE) == 0
        assert one().last_heard_at == at


class TestWhoIsOnline:
    def test_the_list(self, told: Any, line: Service, at: datetime) -> None:
        told(at=at, session="s-1")
        told(at=at + MINUTE, session="s-2", NAS_IP_Address="192.0.2.8")
        told("Stop", at=at, session="s-3")
        follow(at)
        assert [row.session_id for row in queries.online_now()] == ["s-2", "s-1"]
        assert [row.session_id for row in queries.online_now(nas_ip=online.NAS)] == ["s-1"]
        online.access_server(None)
        assert queries.online_by_server() == [(online.NAS, "bng-1", 1), ("192.0.2.8", "", 1)]

    @pytest.mark.parametrize(
        ("search", "found"),
        [("lovelace", 1), ("line-", 1), ("cc-00-11", 1), ("100.64.0.10", 1), ("100.64.0.1", 0),
         ("nobody", 0)],
    )  # fmt: skip
    def test_the_search(self, told: Any, at: datetime, search: str, found: int) -> None:
        told(at=at)
        follow(at)
        assert queries.online_now(search=search).count() == found

    def test_the_older_of_two_sessions_keeps_the_line_online(
        self, told: Any, line: Service, at: datetime
    ) -> None:
        told(at=at, session="s-1")
        told(at=at + MINUTE, session="s-2")
        told("Stop", at=at + 2 * MINUTE, age=60, session="s-2")
        follow(at)
        assert queries.online(line, at + 2 * MINUTE).is_online


def test_a_batch_costs_the_same_for_one_and_for_many(
    radius_server: AddressServer, line: Service, at: datetime, django_assert_num_queries: Any
) -> None:
    for number in range(40):
        online.told(radius_server, line, at=at, session=f"s-{number}", Class=online.class_of(line))
    with django_assert_num_queries(17):
        follow(at)
