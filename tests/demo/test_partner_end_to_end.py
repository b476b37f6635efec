"""A demo partner and the product, each in its own threads, with nothing but HTTP between them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import requests
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer

from ispops.demo import bsp_server
from ispops.demo.bsp_partner import Isp
from ispops.demo.bsp_partner import Partner as DemoPartner
from ispops.parties import partners, webhooks
from ispops.parties.models import Partner, WebhookDelivery
from provisioning import partner_orders
from provisioning.models import Service, ServiceOrder
from rating.models import Usage
from tests import factories
from tests.small_isp import SmallIsp, make_small_isp

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def isp(settings: Settings, live_server: LiveServer) -> SmallIsp:
    settings.WEBHOOKS_MAY_STAY_LOCAL = True
    settings.BASE_URL = live_server.url
    return make_small_isp()


@pytest.fixture
def films(isp: SmallIsp, live_server: LiveServer) -> Iterator[DemoPartner]:
    now = datetime.now(UTC)
    _, secret = partners.create_api_client(
        partner=isp.films,
        name="Films",
        client_id="films",
        scopes=["service_orders:read", "service_orders:write", "usage:write"],
        at=now,
    )
    program = DemoPartner(
        code="films",
        name="Films",
        kind="bsp",
        webhook_secret=isp.films.webhook_secret,
        isp=Isp(live_server.url, "films", secret),
    )
    server = bsp_server.make_server({"films": program}, 0)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    partners.set_webhook_url(
        partner_id=isp.films.pk, webhook_url=f"{address}/webhooks/films", at=now
    )
    yield program
    server.shutdown()
    server.server_close()


def until(answer: Callable[[], Any], *, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not answer():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def send_webhooks() -> None:
    """Do what the worker does: send what is due, one after the other."""
    now = datetime.now(UTC)
    for key in webhooks.due_deliveries(at=now, limit=100):
        webhooks.deliver(delivery_id=key, at=now)


def ask_films(isp: SmallIsp) -> ServiceOrder:
    """A subscriber's line orders Films, which waits for the partner's word."""
    now = datetime.now(UTC)
    factories.order(
        factories.subscriber(at=now), isp.oak_1, isp.fast.code, isp.streaming.code, at=now
    )
    for _ in range(5):
        factories.work(at=datetime.now(UTC), answer_partners=False)
    return ServiceOrder.objects.get()


def test_an_order_is_told_and_confirmed_and_used(isp: SmallIsp, films: DemoPartner) -> None:
    asked = ask_films(isp)
    assert asked.state == "acknowledged"
    send_webhooks()
    assert WebhookDelivery.objects.get().state == "delivered"
    until(lambda: ServiceOrder.objects.get().state == "completed")
    assert ServiceOrder.objects.get().partner_reference.startswith("films-")

    factories.work(at=datetime.now(UTC))
    assert Service.objects.get(offering=isp.streaming).state == "active"
    until(films.granted)
    answer = films.report_use({"quantity": "7", "unit": "minute", "event_id": "e1"})
    assert answer.ok, answer.text
    usage = Usage.objects.get()
    assert (usage.event_id, usage.quantity, usage.unit) == ("e1", 7, "minute")
    assert usage.source == "films"


def test_a_refusal_reaches_the_order(isp: SmallIsp, films: DemoPartner) -> None:
    films.fault = "refuse"
    ask_films(isp)
    send_webhooks()
    until(lambda: ServiceOrder.objects.get().state == "failed")
    assert "cannot deliver" in ServiceOrder.objects.get().reason


def test_a_partner_that_was_away_finds_its_orders(isp: SmallIsp, films: DemoPartner) -> None:
    """Its server was down when the webhook came; after its start it asks the API."""
    ask_films(isp)
    films.catch_up()
    until(lambda: ServiceOrder.objects.get().state == "completed")
    assert WebhookDelivery.objects.get().state == "pending"


def test_a_withdrawn_order_reaches_the_partner_in_order(isp: SmallIsp, films: DemoPartner) -> None:
    films.fault = "silent"
    asked = ask_films(isp)
    partner_orders.withdraw(
        service_order_id=asked.pk, reason="No longer wanted.", at=datetime.now(UTC)
    )
    for _ in range(2):
        send_webhooks()
    kinds = [message["type"] for message in films.messages]
    assert kinds == ["service_order.created", "service_order.cancelled"]
    assert films.orders[asked.public_id]["state"] == "cancelled"


def test_a_partner_cannot_see_or_answer_another_s_order(
    isp: SmallIsp, films: DemoPartner, live_server: LiveServer
) -> None:
    asked = ask_films(isp)
    _, secret = partners.create_api_client(
        partner=Partner.objects.get(code="old-copper"),
        name="Copper",
        client_id="copper",
        scopes=["service_orders:read", "service_orders:write"],
        at=datetime.now(UTC),
    )
    stranger = Isp(live_server.url, "copper", secret)
    path = f"/api/v1/service_orders/{asked.public_id}"
    assert stranger.call("GET", "/api/v1/service_orders").json()["items"] == []
    for response in (
        stranger.call("GET", path),
        stranger.call("POST", f"{path}/completion", body={}, key="k1"),
        stranger.call("POST", f"{path}/refusal", body={"reason": "mine"}, key="k2"),
    ):
        assert response.status_code == 404
        assert response.headers["Content-Type"] == "application/problem+json"
    assert ServiceOrder.objects.get().state == "acknowledged"


def test_the_curl_line_of_the_demonstration_works(films: DemoPartner) -> None:
    token = requests.post(
        f"{films.isp.base_url}/identity/o/api/token",
        data={"grant_type": "client_credentials"},
        auth=films.isp.credentials,
        timeout=10,
    ).json()
    answer = requests.get(
        f"{films.isp.base_url}/api/v1/service_orders",
        headers={"Authorization": f"Bearer {token['access_token']}"},
        timeout=10,
    )
    assert answer.json() == {"items": [], "next": None}
