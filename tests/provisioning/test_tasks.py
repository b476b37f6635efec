"""Celery's way in, and that what is lost on the way is found by the sweep."""

from datetime import datetime
from typing import Any

import pytest
import time_machine
from django.conf import settings
from kombu.exceptions import OperationalError

from ispops import jobs
from ispops.parties.models import Subscriber
from provisioning import tasks
from provisioning.models import ProductOrder, ServiceOrder
from tests import factories
from tests.provisioning import ground
from tests.small_isp import SmallIsp


@pytest.fixture
def order(isp: SmallIsp, ada: Subscriber, at: datetime) -> ProductOrder:
    return factories.order(ada, isp.oak_1, "fibre-500", at=at)


def test_beat_knows_the_sweep() -> None:
    swept = {entry["task"] for entry in settings.CELERY_BEAT_SCHEDULE.values()}
    assert tasks.run_due_tasks.name in swept


def test_a_message_runs_its_step_and_what_follows(order: ProductOrder, at: datetime) -> None:
    task = ground.step(order, "create_credentials")
    with time_machine.travel(at, tick=False):
        tasks.run_task(task_id=task.pk)
        tasks.run_task(task_id=task.pk)
    order.refresh_from_db()
    assert order.state == "completed"
    assert ground.outcomes(task) == ["done"]


def test_the_sweep_runs_what_is_due(order: ProductOrder, at: datetime) -> None:
    with time_machine.travel(at, tick=False):
        tasks.run_due_tasks()
    order.refresh_from_db()
    assert order.state == "completed"


def test_the_sweep_closes_what_no_partner_answered(
    isp: SmallIsp, ada: Subscriber, at: datetime
) -> None:
    factories.order(ada, isp.oak_1, "fibre-and-films", at=at)
    with time_machine.travel(at, tick=False):
        tasks.run_due_tasks()
    asked = ServiceOrder.objects.get()
    assert asked.state == "acknowledged"
    with time_machine.travel(asked.answer_by, tick=False):
        tasks.run_due_tasks()
    asked.refresh_from_db()
    assert asked.state == "timed_out"


@pytest.mark.django_db
def test_messages_are_sent_once_the_order_is_committed(
    isp: SmallIsp,
    ada: Subscriber,
    at: datetime,
    monkeypatch: pytest.MonkeyPatch,
    django_capture_on_commit_callbacks: Any,
) -> None:
    sent: list[dict[str, Any]] = []
    monkeypatch.setattr(tasks.run_task, "apply_async", lambda **call: sent.append(call["kwargs"]))
    with django_capture_on_commit_callbacks(execute=False) as callbacks:
        order = factories.order(ada, isp.oak_1, "fibre-500", at=at)
        assert sent == []
    for callback in callbacks:
        callback()
    ready = order.tasks.filter(state="ready").order_by("pk")
    assert sent == [{"task_id": task.pk} for task in ready]


def test_an_order_is_placed_although_the_broker_is_away(
    isp: SmallIsp,
    ada: Subscriber,
    at: datetime,
    monkeypatch: pytest.MonkeyPatch,
    django_capture_on_commit_callbacks: Any,
) -> None:
    def away(**_: Any) -> None:
        raise OperationalError("connection refused")

    monkeypatch.setattr(tasks.run_task, "apply_async", away)
    with django_capture_on_commit_callbacks(execute=True):
        order = factories.order(ada, isp.oak_1, "fibre-500", at=at)
    assert jobs.due(order.tasks.all(), at=at).count() == 3
