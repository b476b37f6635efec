"""A line is ordered by its network's API, between real processes, while something goes wrong.

Web server, worker, beat and the network are processes of their own. After each fault no order is
lost, none is placed twice, and no step is stuck without an owner. The other faults of a network
have their tests with `provisioning.delivery`, over real HTTP as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.utils import timezone

from ispops.models import Event, WorkerHeartbeat
from ispops.parties.models import Subscriber
from provisioning import delivery_connections
from provisioning.models import (
    AaaCredential,
    Delivery,
    DeliveryAttempt,
    DeliveryNotice,
    OrderTask,
    ProductOrder,
    ServiceOrder,
)
from tests import factories
from tests.offnet import CALLBACK_TOKEN, TOKEN, DemoNetwork, connect, demo_network
from tests.small_isp import SmallIsp

if TYPE_CHECKING:
    from tests.stack import Stack

pytestmark = pytest.mark.faults


@pytest.fixture
def network(live: Stack, tmp_path: Path) -> Iterator[DemoNetwork]:
    with demo_network(tmp_path / "network", live.url) as running:
        yield running


def order_a_line(
    live: Stack, isp: SmallIsp, ada: Subscriber, network: DemoNetwork, **settings: Any
) -> ProductOrder:
    """Ada orders a line of the cable network, which is ordered from by its API."""
    now = timezone.now()
    off = connect(isp, "", at=now, adapter="files", folder="tidewater")
    # What its list says is taken for true: this is about ordering.
    off.connection.active = False
    off.connection.save()
    delivery_connections.connect_delivery(
        partner=off.tidewater,
        base_url=network.order_url,
        at=now,
        **(
            {"token": TOKEN, "callback_token": CALLBACK_TOKEN, "timeout_seconds": 2}
            | {"look_every_seconds": 600}
            | settings
        ),
    )
    return factories.order(ada, off.knox, "cable-200", at=now)


def is_live(order: ProductOrder) -> bool:
    return ProductOrder.objects.get(pk=order.pk).state == "completed"


def assert_one_line(network: DemoNetwork, order: ProductOrder) -> None:
    """It was placed once, ended once, and the line may be used."""
    [placed] = network.placed()
    asked = ServiceOrder.objects.get()
    assert placed["externalId"] == asked.public_id
    assert (asked.state, Delivery.objects.get().state) == ("completed", "closed")
    assert Event.objects.filter(kind="service_order.completed").count() == 1
    assert Event.objects.filter(kind="order.completed").count() == 1
    assert AaaCredential.objects.get().enabled
    assert not OrderTask.objects.exclude(state="completed").exists()


def test_the_callback_takes_the_order_on_though_it_comes_twice(
    live: Stack, isp: SmallIsp, ada: Subscriber, network: DemoNetwork
) -> None:
    network.misbehave("twice")
    live.start("web", "worker", "beat")
    order = order_a_line(live, isp, ada, network)
    live.until(lambda: is_live(order), "the line is live", seconds=60)
    assert_one_line(network, order)
    live.until(lambda: len(network.told()) == 6, "all repeats were answered")
    assert {status for _, status in network.told()} == {201}
    assert DeliveryNotice.objects.count() == len({event for event, _ in network.told()}) == 2


def test_a_worker_that_is_killed_while_it_places_an_order_is_replaced(
    live: Stack, isp: SmallIsp, ada: Subscriber, network: DemoNetwork
) -> None:
    network.misbehave("slow", seconds=8)
    live.start("web", "worker", "beat")
    live.until(WorkerHeartbeat.objects.exists, "the worker reports")
    order = order_a_line(live, isp, ada, network, timeout_seconds=10)
    live.until(lambda: len(network.placed()) == 1, "the worker calls, and the order arrives")
    live.kill("worker")
    assert DeliveryAttempt.objects.get().outcome == "", "nobody has written down the answer"
    network.misbehave("")
    # So that the test need not wait for the lease: as if that time had passed.
    Delivery.objects.filter(leased_until__isnull=False).update(leased_until=timezone.now())
    live.start("worker")
    live.until(lambda: is_live(order), "the line is live", seconds=60)
    assert_one_line(network, order)


def test_one_that_answers_too_late_ends_what_it_delivered(
    live: Stack, isp: SmallIsp, ada: Subscriber, network: DemoNetwork
) -> None:
    network.misbehave("late", seconds=8)
    live.start("web", "worker", "beat")
    order = order_a_line(live, isp, ada, network)
    is_at_work = ServiceOrder.objects.filter(progress="in_progress")
    live.until(is_at_work.exists, "the order is being worked on")
    # So that the test need not wait: as if its time had passed.
    ServiceOrder.objects.update(answer_by=timezone.now() - timedelta(seconds=1))
    live.until(
        lambda: OrderTask.objects.filter(state="fallout", cause="partner_timed_out").exists(),
        "a person is asked",
    )
    assert ProductOrder.objects.get(pk=order.pk).state == "held"
    live.until(lambda: "completed" in [o["state"] for o in network.placed()], "it delivers")
    live.until(lambda: DeliveryNotice.objects.filter(outcome="refused").exists(), "it is refused")
    network.misbehave("")
    live.until(
        lambda: ServiceOrder.objects.filter(action="delete", state="completed").exists(),
        "what it delivered is ended",
        seconds=60,
    )
    assert [o["serviceOrderItem"][0]["action"] for o in network.placed()] == ["add", "delete"]
    assert ServiceOrder.objects.get(action="add").state == "timed_out"
    assert not Delivery.objects.exclude(state="closed").exists()
