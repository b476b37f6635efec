"""A line is slowed by many at once, and while it is sped up, paused or ended; with a control."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError

from ispops import db
from ispops.catalog import publishing
from ispops.models import Event
from provisioning import services, slowing
from provisioning.in_force import Speed
from provisioning.models import AaaCredential, Service, Slowdown
from tests import factories
from tests.concurrency.test_orders import MANY, at_once
from tests.small_isp import LAUNCH, make_small_isp

pytestmark = pytest.mark.django_db(transaction=True)
AT = LAUNCH + timedelta(days=1)
UNTIL = AT + timedelta(days=30)
SLOW, PLAN = Speed(8_000, 2_000), Speed(500_000, 500_000)


@pytest.fixture
def line() -> Service:
    return factories.live_line(make_small_isp(), factories.subscriber(at=AT), at=AT)


def slow(line: Service) -> Slowdown | None:
    return slowing.slow(line=line, to=SLOW, until=UNTIL, at=AT)


def in_force(line: Service) -> tuple[int | None, int | None]:
    login = AaaCredential.objects.get(service=line)
    return login.download_kbps, login.upload_kbps


def agrees(line: Service) -> None:
    """What the network was told is what the rows say."""
    is_slow = Slowdown.objects.filter(service=line, ended_at__isnull=True).exists()
    assert in_force(line) == (SLOW if is_slow else PLAN)


def test_many_slow_it_once(line: Service) -> None:
    rows = at_once(lambda _: slow(line))
    assert len({row.pk for row in rows if row}) == 1
    assert Event.objects.filter(kind="line.slowed").count() == 1
    assert in_force(line) == SLOW


def test_without_the_lock_the_database_refuses_the_second(
    line: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control: whoever only looks sees a line that nobody slows yet."""
    looking = threading.Barrier(MANY)

    def look(model: Any, pk: Any) -> Any:
        looking.wait(timeout=20)
        return model.objects.get(pk=pk)

    monkeypatch.setattr(db, "lock", look)

    def attempt(_: int) -> Any:
        try:
            return slow(line)
        except IntegrityError as guarded:
            return str(guarded)

    tried = at_once(attempt)
    assert Slowdown.objects.count() == 1
    assert any("one_open_slowdown_a_line" in str(answer) for answer in tried)


def test_many_give_it_back_once(line: Service) -> None:
    slow(line)
    ways = [
        lambda: slowing.end_next(at=UNTIL),
        lambda: slowing.restore(line=line, because="room", at=UNTIL),
    ]
    at_once(lambda number: ways[number % 2]())
    assert Event.objects.filter(kind="line.restored").count() == 1
    assert in_force(line) == PLAN


def test_it_is_slowed_restored_paused_and_let_on_at_once(line: Service) -> None:
    ways = [
        lambda: slow(line),
        lambda: slowing.restore(line=line, because="room", at=AT),
        lambda: services.open_suspension(
            line=line, reason="abuse", treatment="block", note="", at=AT
        ),
        lambda: services.close_suspension(line=line, reason="abuse", at=AT),
    ]
    at_once(lambda number: ways[number % 4](), many=8)
    agrees(line)
    login = AaaCredential.objects.get(service=line)
    is_paused = Service.objects.get(pk=line.pk).state == "suspended"
    assert login.treatment == ("block" if is_paused else "")


def test_a_plan_that_changes_meanwhile_is_slow_or_fast_as_the_rows_say(line: Service) -> None:
    plan = Service.objects.select_related("offering__provider").get(pk=line.pk).offering
    faster = publishing.create_offering(
        code="fibre-800", name="Fibre 800", kind="access", provider=plan.provider,
        technology=plan.technology, download_kbps=800_000, upload_kbps=800_000, at=LAUNCH,
    )  # fmt: skip
    ways = [
        lambda: slow(line),
        lambda: services.change(service=line, offering=faster, bundle=None, at=AT),
        lambda: slowing.restore(line=line, because="plan", at=AT),
    ]
    at_once(lambda number: ways[number % 3](), many=6)
    is_slow = Slowdown.objects.filter(service=line, ended_at__isnull=True).exists()
    assert in_force(line) == (SLOW if is_slow else (800_000, 800_000))


def test_a_line_that_ends_meanwhile_is_not_left_slow(line: Service) -> None:
    at_once(
        lambda number: services.cease(service=line, at=AT) if number == 0 else slow(line), many=4
    )
    assert not Slowdown.objects.filter(ended_at__isnull=True).exists()
