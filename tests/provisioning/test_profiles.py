"""What a line gets on the network follows its service, its plan and its suspensions."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import DatabaseError, transaction

from ispops.errors import InvalidInput
from ispops.parties.models import AuditEntry, Subscriber, User
from provisioning import profiles, services
from provisioning.in_force import Speed
from provisioning.models import AaaCredential, AccessSession, ProfileRevision, Service
from tests import factories
from tests.small_isp import SmallIsp


@pytest.fixture
def line(isp: SmallIsp, ada: Subscriber, at: datetime) -> Service:
    return factories.live_line(isp, ada, at=at)


def login(line: Service) -> AaaCredential:
    return AaaCredential.objects.get(service=line)


def session(line: Service, at: datetime, **facts: Any) -> AccessSession:
    kept = {"ended_at": None, "applied_revision": 2, "unique_session_id": "u-1"} | facts
    return AccessSession.objects.create(
        service=line, username="x", session_id="s-1", started_at=at, last_heard_at=at, **kept
    )


def suspended(line: Service, treatment: str, at: datetime, reason: str = "non_payment") -> None:
    services.open_suspension(line=line, reason=reason, treatment=treatment, note="", at=at)


def test_a_line_that_goes_live_gets_the_speed_of_its_plan(line: Service, at: datetime) -> None:
    served = login(line)
    assert (served.enabled, served.treatment) == (True, "")
    assert (served.download_kbps, served.upload_kbps) == (500_000, 500_000)
    kept = ProfileRevision.objects.get(credential=served)
    assert (kept.revision, kept.enabled, kept.download_kbps) == (served.revision, True, 500_000)
    assert kept.made_at == at


def test_what_does_not_change_is_not_written(line: Service, at: datetime) -> None:
    before = login(line).revision
    session(line, at)
    profiles.refresh(service=line, at=at)
    assert login(line).revision == before
    assert AccessSession.objects.get().next_attempt_at is None
    assert ProfileRevision.objects.count() == 1


def test_a_suspension_walls_the_line_in_and_makes_its_sessions_due(
    line: Service, at: datetime
) -> None:
    session(line, at, trouble="gave_up", attempts=5)
    session(line, at, unique_session_id="u-0", ended_at=at)
    later = at + timedelta(hours=1)
    suspended(line, "walled_garden", later)
    assert login(line).treatment == "walled_garden"
    due = AccessSession.objects.get(ended_at=None)
    assert (due.next_attempt_at, due.attempts, due.trouble) == (later, 0, "")
    assert AccessSession.objects.get(ended_at=at).next_attempt_at is None


def test_a_second_reason_that_blocks_is_stricter_and_its_end_is_not_the_end(
    line: Service, at: datetime
) -> None:
    suspended(line, "walled_garden", at)
    suspended(line, "block", at, "abuse")
    assert login(line).treatment == "block"
    services.close_suspension(line=line, reason="abuse", at=at)
    assert login(line).treatment == "walled_garden"


def test_activating_again_lets_the_line_in(line: Service, at: datetime) -> None:
    suspended(line, "block", at)
    services.close_suspension(line=line, reason="non_payment", at=at)
    assert login(line).treatment == ""
    assert [row.treatment for row in ProfileRevision.objects.order_by("revision")] == [
        "", "block", ""
    ]  # fmt: skip


def test_a_ceased_line_has_a_login_that_is_off(line: Service, at: datetime) -> None:
    session(line, at)
    services.cease(service=line, at=at)
    assert not login(line).enabled
    assert AccessSession.objects.get().next_attempt_at == at


def test_another_plan_is_another_speed(line: Service, isp: SmallIsp, at: datetime) -> None:
    line.offering = isp.office
    line.save()
    profiles.refresh(service=line, at=at)
    assert login(line).download_kbps == 900_000


def test_a_carried_product_has_no_profile(isp: SmallIsp, line: Service, at: datetime) -> None:
    films = services.create_carried_service(line=line, offering=isp.streaming, at=at)
    assert profiles.refresh(service=films, at=at) is None


def test_staff_give_another_speed_and_take_it_back(line: Service, otto: User, at: datetime) -> None:
    def give(speed: Speed | None, limit: int | None, reason: str = "They moved house") -> None:
        profiles.set_profile(
            service=line, speed=speed, sessions_at_once=limit, actor=otto, reason=reason, at=at
        )

    give(Speed(1_000_000, 900_000), 2)
    served = login(line)
    assert (served.download_kbps, served.upload_kbps) == (1_000_000, 900_000)
    assert served.sessions_at_once == 2
    entry = AuditEntry.objects.get(action="line.profile_set")
    assert (entry.actor, entry.reason) == (otto, "They moved house")
    give(None, None)
    served = login(line)
    assert (served.download_kbps, served.sessions_at_once) == (500_000, None)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"reason": "  "}, "reason"),
        ({"speed": Speed(0, 5)}, "download_kbps"),
        ({"sessions_at_once": 0}, "sessions_at_once"),
        ({"sessions_at_once": 65}, "sessions_at_once"),
    ],
)
def test_a_profile_that_cannot_be_is_refused(
    line: Service, otto: User, at: datetime, wrong: dict[str, Any], field: str
) -> None:
    good = {"speed": None, "sessions_at_once": None, "reason": "Test"}
    with pytest.raises(InvalidInput) as refused:
        profiles.set_profile(service=line, actor=otto, at=at, **good | wrong)
    assert refused.value.field == field


def test_a_service_without_a_login_has_no_profile_to_set(
    isp: SmallIsp, line: Service, otto: User, at: datetime
) -> None:
    films = services.create_carried_service(line=line, offering=isp.streaming, at=at)
    with pytest.raises(InvalidInput) as refused:
        profiles.set_profile(
            service=films, speed=None, sessions_at_once=1, actor=otto, reason="Test", at=at
        )
    assert refused.value.field == "service"


def test_history_of_profiles_is_never_changed(line: Service) -> None:
    with pytest.raises(DatabaseError), transaction.atomic():
        ProfileRevision.objects.update(enabled=False)
    with pytest.raises(DatabaseError), transaction.atomic():
        ProfileRevision.objects.all().delete()
