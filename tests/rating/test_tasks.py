"""The tasks that beat calls: each finds its work in the rows, and twice is as good as once."""

from __future__ import annotations

from datetime import timedelta

import pytest
import time_machine
from django.conf import settings
from django.utils import timezone

from ispops.celery import app
from ispops.parties.models import Subscriber
from provisioning.models import Service
from rating import posting, tasks
from rating.models import MeteredSession, Usage
from tests import factories
from tests.rating.ground import (
    NOON,
    Shop,
    buy,
    charges,
    event,
    rated,
    report,
    subscribed,
    total,
)
from tests.rating.test_sessions import told

pytestmark = pytest.mark.django_db


def test_beat_calls_what_there_is() -> None:
    app.loader.import_default_modules()
    names = {entry["task"] for entry in settings.CELERY_BEAT_SCHEDULE.values()}
    ours = {name for name in names if name.startswith("rating.")}
    assert len(ours) == 9
    assert ours <= set(app.tasks)


def test_accounting_is_metered_rated_and_silent_sessions_closed(
    shop: Shop, line: Service, ada: Subscriber, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "MESSAGES_A_BATCH", 2)
    server = factories.address_server(at=NOON)
    for age in (300, 600, 900):
        told(server, line, age=age, down=age)
    with time_machine.travel(NOON + timedelta(hours=5)):
        for _ in range(2):
            tasks.meter_accounting()
    assert set(Usage.objects.with_state().values_list("state", flat=True)) == {"rated"}
    assert sum(Usage.objects.values_list("quantity", flat=True)) == 900
    assert MeteredSession.objects.get().ended_at == NOON + timedelta(seconds=900)
    assert len(rated(ada)) == 3


def test_reports_are_rated(shop: Shop, line: Service, ada: Subscriber) -> None:
    subscribed(line, shop.minutes)
    report(shop.films, event(line, shop.minutes, 150))
    for _ in range(2):
        tasks.rate_stored_usage()
    assert total(rated(ada)) == 1
    tasks.post_rated_usage()
    assert charges(ada, kind="usage") == []  # what is being rated now may still come
    with time_machine.travel(timezone.now() + 2 * posting.COMMITTED_WITHIN):
        tasks.post_rated_usage()
    assert total(charges(ada, kind="usage")) == 1


def test_purchases_that_nobody_confirms_are_taken_back(
    shop: Shop, line: Service, ada: Subscriber
) -> None:
    purchase = buy(line, shop.film)
    late = purchase.service_order.answer_by + timedelta(seconds=1)
    with time_machine.travel(late):
        for _ in range(2):
            tasks.expire_purchases()
            factories.deliver_events(at=late)
    purchase.refresh_from_db()
    assert (purchase.state, purchase.reason) == ("reversed", "No answer in time.")
    assert total(charges(ada)) == 0
