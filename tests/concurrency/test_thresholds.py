"""Thresholds and fair use while many look, use and buy at once; with a control."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import pytest
from django.db import IntegrityError

from ispops import db
from ispops.models import Event
from ispops.notices.models import Notice
from provisioning.models import AaaCredential, Service, Slowdown
from rating import watching
from rating.models import PassedThreshold, UsagePack
from rating.standings import Standing
from tests import factories
from tests.concurrency.test_orders import MANY, at_once
from tests.provisioning import later
from tests.rating.ground import NOON, Shop, make_shop
from tests.rating.plenty import GB, SLOW, TB, data_pack, line_server, look, moderate, top_up, use
from tests.small_isp import make_small_isp

pytestmark = pytest.mark.django_db(transaction=True)
PLAN = (500_000, 500_000)


@pytest.fixture
def shop() -> Shop:
    return make_shop(make_small_isp())


@pytest.fixture
def line(shop: Shop) -> Service:
    made = factories.live_line(shop.isp, factories.subscriber(at=NOON), at=NOON)
    moderate(shop.isp.fast)
    return made


def test_many_looks_tell_and_slow_once(line: Service) -> None:
    use(line, TB)
    at_once(lambda _: look())
    assert sorted(PassedThreshold.objects.values_list("percent", flat=True)) == [50, 80, 100]
    assert Notice.objects.filter(kind="usage_threshold").count() == 1
    assert Event.objects.filter(kind="line.slowed").count() == 1
    assert later.speed(line) == SLOW


def test_without_the_unique_row_it_would_be_told_twice(
    line: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control: all look before anybody writes, and the database refuses the rest."""
    use(line, 600 * GB)
    looking = threading.Barrier(MANY)

    def record(now: Iterable[tuple[Standing, int]], at: datetime) -> Any:
        told = []
        for standing, percent in now:
            assert not PassedThreshold.objects.exists()
            looking.wait(timeout=20)
            PassedThreshold.objects.create(
                service=standing.service, price=standing.price, percent=percent, used=1,
                period_start=standing.period.start, included=1, passed_at=at,
            )  # fmt: skip
            told.append((standing, percent))
        return told

    monkeypatch.setattr(watching, "_record", record)
    monkeypatch.setattr(db, "lock", lambda model, pk: model.objects.get(pk=pk))

    def attempt(_: int) -> str:
        try:
            watching.settle(line_id=line.pk, at=NOON)
        except IntegrityError as guarded:
            return str(guarded)
        return ""

    answers = at_once(attempt)
    assert sum("threshold_passed_once" in answer for answer in answers) == MANY - 1


def test_a_pack_that_is_bought_while_others_look_is_not_overlooked(
    shop: Shop, line: Service
) -> None:
    pack = data_pack(shop.isp.fast)
    use(line, 2 * TB)
    look()
    at_once(lambda number: top_up(line, pack, key="one") if number % 2 else look())
    factories.deliver_events(at=NOON)
    assert UsagePack.objects.count() == 1
    assert not Slowdown.objects.filter(ended_at__isnull=True).exists()
    assert AaaCredential.objects.get(service=line).download_kbps == PLAN[0]
    assert Event.objects.filter(kind="line.slowed").count() == 1


def test_use_that_is_rated_while_others_look_is_settled_by_the_next_look(line: Service) -> None:
    line_server()
    at_once(lambda number: use(line, 400 * GB) if number < 3 else look(), many=5)
    look()
    assert PassedThreshold.objects.filter(percent=100).count() == 1
    assert later.speed(line) == SLOW
