"""Many workers and one order at a provider, many callbacks of one event; and without the lease."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from ispops.models import Event
from provisioning import delivering, hearing
from provisioning.delivery.base import Calls, Told, Wanted
from provisioning.models import (
    Delivery,
    DeliveryAttempt,
    DeliveryConnection,
    DeliveryNotice,
    ServiceOrder,
)
from tests import factories
from tests.concurrency.test_inquiries import MANY, at_once
from tests.desk import CALLBACK_TOKEN, TOKEN
from tests.offnet import now
from tests.small_isp import SmallIsp, make_small_isp

pytestmark = pytest.mark.django_db(transaction=True)


class Provider:
    """Takes every order that comes, and counts them."""

    def __init__(self) -> None:
        self.calls = Calls()
        self.placed = 0
        self.lock = threading.Lock()

    def find(self, order: str) -> Told | None:
        return None

    def place(self, wanted: Wanted) -> Told:
        with self.lock:
            self.placed += 1
        return Told(state="acknowledged", reference="so-1")


@pytest.fixture
def isp() -> SmallIsp:
    return make_small_isp()


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Provider:
    found = Provider()
    monkeypatch.setattr(delivering, "adapter_of", lambda _: found)
    return found


@pytest.fixture
def delivery(isp: SmallIsp, provider: Provider) -> Delivery:
    """An order that is to be placed; its provider may be called by all workers at once."""
    DeliveryConnection.objects.create(
        partner=isp.copper, base_url="https://api.copper.example", token=TOKEN, at_once=MANY,
        callback_digest=DeliveryConnection.digest_of(CALLBACK_TOKEN),
    )  # fmt: skip
    factories.order(factories.subscriber(at=now()), isp.elm_1, isp.slow_dsl.code, at=now())
    factories.work(at=now(), answer_partners=False)
    return Delivery.objects.get()


def test_many_workers_place_one_order_once(delivery: Delivery, provider: Provider) -> None:
    done = at_once(lambda _: delivering.deliver(delivery_id=delivery.pk, at=now()))
    assert sum(done) == 1
    assert provider.placed == DeliveryAttempt.objects.count() == 1
    delivery.refresh_from_db()
    assert delivery.state == "placed"


def test_without_the_lease_one_order_is_placed_by_all(
    delivery: Delivery, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: it is the claim that keeps the others away."""

    def unguarded(rows: Any, **_: Any) -> list[Delivery]:
        return list(rows)

    monkeypatch.setattr(delivering.jobs, "claim", unguarded)
    meeting = threading.Barrier(MANY)
    place = provider.place

    def together(wanted: Wanted) -> Told:
        meeting.wait(timeout=20)
        return place(wanted)

    monkeypatch.setattr(provider, "place", together)
    at_once(lambda _: delivering.deliver(delivery_id=delivery.pk, at=now()))
    assert provider.placed == MANY


@pytest.mark.parametrize("is_one_event", [True, False])
def test_many_callbacks_complete_an_order_once(delivery: Delivery, is_one_event: bool) -> None:
    """The same event again and again, or several that say the same."""
    order = ServiceOrder.objects.get()

    def call_back(number: int) -> str:
        notice = hearing.Notice(
            event_id="ev-1" if is_one_event else f"ev-{number}",
            kind="ServiceOrderStateChangeEvent",
            happened_at=None,
            order=order.public_id,
            told=Told(state="completed", reference="so-1"),
            body={"number": number},
        )
        connection = DeliveryConnection.objects.get()
        return hearing.take_notice(connection=connection, notice=notice, at=now()).outcome

    assert set(at_once(call_back)) == {"taken"}
    assert DeliveryNotice.objects.count() == (1 if is_one_event else MANY)
    assert Event.objects.filter(kind="service_order.completed").count() == 1
    order.refresh_from_db()
    assert (order.state, order.partner_reference) == ("completed", "so-1")
