"""A pending answer over REST: accepted, followed, settled, and told by a signed webhook."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings

from ispops.parties import partners, webhooks
from ispops.parties.models import WebhookDelivery
from qualification import asking
from qualification.models import ProviderInquiry
from tests.offnet import DemoNetwork, OffNet, connect, now
from tests.qualification.test_api import URL, ask, bearer
from tests.receiver import listening
from tests.small_isp import LAUNCH, make_small_isp

pytestmark = pytest.mark.django_db
KNOX = {"address": "12 Knox Street, Manchester, CT 06040"}


@pytest.fixture
def off(network: DemoNetwork) -> OffNet:
    return connect(make_small_isp(), network.base_url, at=LAUNCH)


def offered(body: dict[str, Any]) -> set[str]:
    return {offer["offering"] for offer in body["offers"] if offer["eligible"]}


def test_a_program_follows_a_pending_answer_until_it_is_settled(
    client: Client, off: OffNet
) -> None:
    who = bearer(off.isp.films)
    accepted = ask(client, who, KNOX)
    assert accepted.status_code == 202
    body = accepted.json()
    assert accepted["Location"] == f"{URL}/{body['id']}"
    assert accepted["Retry-After"] == "2"
    assert (body["state"], body["settled_at"]) == ("pending", None)
    assert body["inquiries"] == [
        {"provider": "tidewater-cable", "provider_name": "Tidewater Cable", "state": "pending"}
    ]
    assert "fibre-500" in offered(body)
    assert "cable-1000" not in offered(body)

    still = client.get(accepted["Location"], headers=who)
    assert (still.status_code, still["Retry-After"]) == (200, "2")
    assert still.json() == body

    assert asking.ask_next(at=now())
    done = client.get(accepted["Location"], headers=who)
    assert "Retry-After" not in done
    settled = done.json()
    assert (settled["state"], settled["inquiries"][0]["state"]) == ("qualified", "answered")
    assert settled["settled_at"] is not None
    assert offered(settled) >= offered(body) | {"cable-1000"}


def test_the_same_question_again_gives_the_answer_that_was_accepted(
    client: Client, off: OffNet
) -> None:
    who = bearer(off.isp.films)
    first, again = ask(client, who, KNOX), ask(client, who, KNOX)
    assert (again.status_code, again.json()) == (202, first.json())
    assert ProviderInquiry.objects.count() == 1


def test_a_visitor_s_program_sees_who_is_asked_and_nothing_more(
    client: Client, off: OffNet, network: DemoNetwork
) -> None:
    accepted = ask(client, {}, KNOX)
    assert accepted.status_code == 202
    network.misbehave("error")
    asking.ask_next(at=now())
    text = client.get(accepted["Location"]).content.decode()
    for secret in ("it is in trouble", "token", network.base_url, "inq_"):
        assert secret not in text


def test_a_partner_hears_of_it_by_a_signed_webhook(
    client: Client, off: OffNet, settings: Settings
) -> None:
    settings.WEBHOOKS_MAY_STAY_LOCAL = True
    with listening() as receiver:
        partners.set_webhook_url(partner_id=off.isp.films.pk, webhook_url=receiver.url, at=LAUNCH)
        accepted = ask(client, bearer(off.isp.films), KNOX)
        assert asking.ask_next(at=now())
        delivery = WebhookDelivery.objects.get()
        assert webhooks.deliver(delivery_id=delivery.pk, at=now())
    [received] = receiver.requests
    told = json.loads(received.body)
    assert told["type"] == "qualification.settled"
    assert told["data"]["id"] == accepted.json()["id"]
    assert told["data"]["state"] == "qualified"
    names = {name.lower() for name in received.headers}
    assert {"webhook-id", "webhook-signature", "webhook-timestamp"} <= names


def test_an_answer_that_waits_for_nobody_is_created_at_once(client: Client, off: OffNet) -> None:
    made = ask(client, {}, {"address": "1 Oak Street, Barre, VT 05641"})
    assert made.status_code == 201
    assert made.json()["inquiries"] == []
    assert "Retry-After" not in made
