"""Redis goes away in the middle of the work: nothing is lost, and nothing waits for a person."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ispops.models import Event, EventDelivery, WorkerHeartbeat
from ispops.parties.models import Subscriber
from provisioning.models import OrderTask, ProductOrder, TaskAttempt
from tests.small_isp import SmallIsp

if TYPE_CHECKING:
    from tests.stack import Stack

pytestmark = pytest.mark.faults

PLACE_AN_ORDER = """
import sys, time, django
django.setup()
from django.utils import timezone
from ispops.parties.models import Subscriber
from tests import factories, small_isp

house = small_isp.place("1 OAK ST")
started = time.monotonic()
factories.order(Subscriber.objects.get(), house, sys.argv[1], at=timezone.now())
print(time.monotonic() - started)
"""


def test_an_order_placed_while_redis_is_away_is_carried_out(
    live: Stack, isp: SmallIsp, ada: Subscriber
) -> None:
    live.start("worker", "beat")
    live.until(WorkerHeartbeat.objects.exists, "the worker reports")
    live.redis.stop()

    seconds = float(live.run("-c", PLACE_AN_ORDER, isp.fast.code))
    assert seconds < 3, "whoever places an order must not wait for a broker that is away"
    assert set(OrderTask.objects.values_list("attempts", flat=True)) == {0}

    live.redis.start()
    live.until(_is_completed, "the sweep has carried out the order", seconds=60)
    _assert_everything_happened_once()


def test_an_order_whose_messages_went_down_with_redis_is_carried_out(
    live: Stack, isp: SmallIsp, ada: Subscriber
) -> None:
    live.start("web", "worker", "beat")
    live.wait_until_ready()
    live.kill("worker")
    live.run("-c", PLACE_AN_ORDER, isp.fast.code)
    live.redis.stop()  # it holds the only copy of the messages
    live.redis.start()

    live.start("worker")
    live.until(_is_completed, "the sweep has carried out the order", seconds=60)
    _assert_everything_happened_once()


def test_web_and_worker_recover_by_themselves(live: Stack) -> None:
    live.start("web", "worker", "beat")
    live.wait_until_ready()
    WorkerHeartbeat.objects.all().delete()
    live.redis.stop()
    assert live.readiness() == {"database": True, "redis": False, "worker": False}

    live.redis.start()
    live.wait_until_ready()
    assert [live.children[name].poll() for name in ("web", "worker", "beat")] == [None] * 3


def _is_completed() -> bool:
    return ProductOrder.objects.filter(state="completed").exists()


def _assert_everything_happened_once() -> None:
    outcomes = TaskAttempt.objects.values_list("outcome", flat=True)
    assert list(outcomes) == ["done"] * OrderTask.objects.count()
    for kind in ("order.in_progress", "order.completed", "service.activated"):
        assert Event.objects.filter(kind=kind).count() == 1, kind
    assert not EventDelivery.objects.exclude(last_error="").exists()
