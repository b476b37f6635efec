"""Lines that are held to a lower speed until a moment: sessions, logins, and the end of it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.test import Client
from pytest_django import Settings

from ipam.models import AddressServer
from ispops.errors import InvalidInput, NotFound
from ispops.models import Event
from ispops.parties.models import AuditEntry, Subscriber, User
from provisioning import profiles, services, slowing, steering
from provisioning.in_force import Speed
from provisioning.models import AccessSession, Service, SessionCommand, Slowdown
from tests import coa_agent, factories
from tests.provisioning import later, online
from tests.provisioning.test_aaa import ask, said
from tests.rating.ground import refused
from tests.small_isp import SmallIsp

pytestmark = pytest.mark.django_db
PLAN, SLOW = (500_000, 500_000), Speed(8_000, 2_000)
MONTH, MINUTE = timedelta(days=30), timedelta(minutes=1)


@pytest.fixture
def line(isp: SmallIsp, ada: Subscriber, at: datetime) -> Service:
    return factories.live_line(isp, ada, at=at)


@pytest.fixture(autouse=True)
def _little_patience(settings: Settings) -> None:
    settings.COA_TIMEOUT_SECONDS, settings.COA_SENDINGS = 0.15, 1


def slow(line: Service, at: datetime, to: Speed = SLOW, until: datetime | None = None) -> Any:
    return slowing.slow(line=line, to=to, until=until or at + MONTH, at=at)


def end_all(at: datetime) -> int:
    ended = 0
    while slowing.end_next(at=at):
        ended += 1
    return ended


def news() -> list[str]:
    return list(
        Event.objects.filter(kind__startswith="line.").order_by("pk").values_list("kind", flat=True)
    )


class TestTheLiveSession:
    def told(self, line: Service, at: datetime, **ways: Any) -> tuple[list[Any], AccessSession]:
        """Slow the line, and give it back its speed, with an access server that behaves so."""
        with coa_agent.running(**ways) as agent:
            online.access_server(agent)
            live = online.session(line, at=at)
            slow(line, at)
            steering.steer_due(at=at, limit=10)
            slowing.restore(line=line, because="room", at=at + MINUTE)
            steering.steer_due(at=at + MINUTE, limit=10)
        live.refresh_from_db()
        return agent.packets, live

    def test_it_is_slowed_and_sped_up_without_being_cut(self, line: Service, at: datetime) -> None:
        packets, live = self.told(line, at)
        assert [packet.get("Mikrotik-Rate-Limit") for packet in packets] == [
            ["2000k/8000k"],
            ["500000k/500000k"],
        ]
        line.credential.refresh_from_db()
        assert (live.ended_at, live.applied_revision) == (None, line.credential.revision)

    def test_one_that_cannot_be_changed_is_ended_and_comes_back_slow(
        self, line: Service, at: datetime
    ) -> None:
        _packets, live = self.told(line, at, change="nak401")
        tried = SessionCommand.objects.order_by("pk").values_list("kind", "outcome")
        assert list(tried) == [("change", "refused"), ("disconnect", "acknowledged")]
        assert live.end_cause == "disconnected"

    def test_one_that_cannot_be_ended_either_is_for_a_person(
        self, line: Service, at: datetime
    ) -> None:
        _packets, live = self.told(line, at, change="nak401", disconnect="nak404")
        assert (live.ended_at, live.trouble) == (None, "refused")


@pytest.mark.usefixtures("isp")
def test_a_new_login_gets_the_lower_speed(
    client: Client, line: Service, radius_server: AddressServer, at: datetime
) -> None:
    online.access_server(None, kind="mikrotik")
    slow(line, at)
    with time_machine.travel(at, tick=False):
        answer = said(ask(client, line, NAS_IP_Address=online.NAS))
    assert answer["reply:Mikrotik-Rate-Limit"] == "2000k/8000k"


class TestWhatItIs:
    def test_it_is_done_once(self, line: Service, at: datetime) -> None:
        assert slow(line, at) == slow(line, at + MINUTE, until=at + MONTH)
        assert (later.speed(line), news()) == (SLOW, ["line.slowed"])
        assert slowing.restore(line=line, because="room", at=at + MINUTE)
        assert not slowing.restore(line=line, because="room", at=at + MINUTE)
        assert (later.speed(line), news()) == (PLAN, ["line.slowed", "line.restored"])

    def test_another_speed_takes_the_place_of_the_first(self, line: Service, at: datetime) -> None:
        slow(line, at)
        slow(line, at + MINUTE, Speed(4_000, 1_000), until=at + MONTH)
        assert later.speed(line) == (4_000, 1_000)
        assert list(Slowdown.objects.order_by("pk").values_list("ended_for", flat=True)) == [
            "plan",
            "",
        ]

    def test_nothing_gets_faster_by_it(self, line: Service, at: datetime) -> None:
        slow(line, at, Speed(900_000, 1_000))
        assert later.speed(line) == (500_000, 1_000)

    def test_a_boost_does_not_help_and_a_speed_set_by_hand_does(
        self, line: Service, otto: User, at: datetime
    ) -> None:
        later.boost()
        later.change(line, at, add=["boost"])
        factories.work(at=at)
        slow(line, at)
        assert later.speed(line) == SLOW
        profiles.set_profile(
            service=line, speed=Speed(70_000, 70_000), sessions_at_once=None, actor=otto,
            reason="Test", at=at,
        )  # fmt: skip
        assert later.speed(line) == (70_000, 70_000)

    def test_a_plan_that_changes_meanwhile_stays_slow(
        self, isp: SmallIsp, line: Service, at: datetime
    ) -> None:
        slow(line, at)
        services.change(service=line, offering=later.faster(isp), bundle=None, at=at + MINUTE)
        assert later.speed(line) == SLOW
        end_all(at + MONTH)
        assert later.speed(line) == (1_000_000, 1_000_000)

    def test_a_paused_line_works_slowly_again_until_its_time_is_over(
        self, line: Service, at: datetime
    ) -> None:
        slow(line, at)
        services.open_suspension(line=line, reason="abuse", treatment="block", note="", at=at)
        services.close_suspension(line=line, reason="abuse", at=at + MINUTE)
        assert later.speed(line) == SLOW
        services.open_suspension(line=line, reason="abuse", treatment="block", note="", at=at)
        assert end_all(at + MONTH) == 1
        services.close_suspension(line=line, reason="abuse", at=at + MONTH)
        assert later.speed(line) == PLAN

    def test_a_line_that_ends_ends_it(self, line: Service, at: datetime) -> None:
        slow(line, at)
        services.cease(service=line, at=at - MINUTE)
        row = Slowdown.objects.get()
        assert (row.ended_at, row.ended_for) == (at, "line")
        assert slow(line, at + MINUTE) is None
        assert end_all(at + MONTH) == 0

    def test_what_is_over_or_not_live_is_not_slowed(self, line: Service, at: datetime) -> None:
        assert slow(line, at, until=at) is None
        assert later.speed(line) == PLAN


class TestItsEnd:
    def test_it_ends_at_its_moment_and_not_before(self, line: Service, at: datetime) -> None:
        slow(line, at)
        assert end_all(at + MONTH - timedelta(microseconds=1)) == 0
        assert end_all(at + MONTH) == 1
        assert later.speed(line) == PLAN
        assert Slowdown.objects.get().ended_for == "period"
        assert end_all(at + MONTH) == 0

    def test_whoever_comes_first_after_its_moment_says_that_it_was_over(
        self, line: Service, at: datetime
    ) -> None:
        slow(line, at)
        slowing.restore(line=line, because="room", at=at + MONTH)
        assert Slowdown.objects.get().ended_for == "period"

    def test_by_hand_it_stays_so_until_then(self, line: Service, otto: User, at: datetime) -> None:
        slow(line, at)
        slowing.lift(line=line, actor=otto, reason="A doctor works there", at=at + MINUTE)
        assert later.speed(line) == PLAN
        assert slow(line, at + 2 * MINUTE, until=at + MONTH) is None
        said_of_it = AuditEntry.objects.get(action="line.slowdown_lifted")
        assert (said_of_it.reason, said_of_it.subject) == ("A doctor works there", line.public_id)
        assert slow(line, at + MONTH, until=at + 2 * MONTH) is not None

    def test_by_hand_it_needs_a_reason_and_a_slow_line(
        self, line: Service, otto: User, at: datetime
    ) -> None:
        with pytest.raises(NotFound):
            slowing.lift(line=line, actor=otto, reason="So", at=at)
        slow(line, at)
        with pytest.raises(InvalidInput) as caught:
            slowing.lift(line=line, actor=otto, reason=" ", at=at)
        assert caught.value.field == "reason"


@pytest.mark.parametrize(
    ("values", "guard"),
    [
        ({}, "one_open_slowdown_a_line"),
        ({"ended_for": "room"}, "ended_slowdown_says_what_for"),
        ({"download_kbps": 0}, "slow_is_not_blocked"),
        ({"holds_until": timedelta(0)}, "slowdown_ends_after_it_starts"),
    ],
    ids=["two", "says nothing", "blocked", "no time"],
)
def test_the_database_refuses(
    line: Service, at: datetime, values: dict[str, Any], guard: str
) -> None:
    slow(line, at)
    facts = {"download_kbps": 1, "upload_kbps": 1, "holds_until": MONTH} | values
    facts["holds_until"] = at + facts["holds_until"]
    with refused(guard):
        Slowdown.objects.create(service=line, started_at=at, **facts)
