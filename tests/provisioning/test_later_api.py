"""The API for lines that are there: every later order, the services, and who may what."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from ispops.parties.models import Subscriber
from provisioning.models import ProductOrder, Service
from tests import factories
from tests.provisioning import later
from tests.provisioning.test_api import API, post, problem
from tests.small_isp import SmallIsp, place

Token = Callable[..., dict[str, str]]


@pytest.fixture
def line(isp: SmallIsp, asker: Subscriber, now: datetime) -> Service:
    later.faster(isp)
    return factories.live_line(isp, asker, at=now - timedelta(days=9))


@pytest.fixture
def ada_s(token: Token, asker: Subscriber) -> dict[str, str]:
    return token(asker.users.get())


@pytest.fixture
def send(client: Client, ada_s: dict[str, str], line: Service) -> Callable[..., Any]:
    def sent(key: str = "k1", **body: Any) -> Any:
        return post(client, "/product_orders", {"line": line.public_id} | body, ada_s, key)

    return sent


def test_every_later_order(
    isp: SmallIsp,
    line: Service,
    send: Callable[..., Any],
    now: datetime,
) -> None:
    here = factories.qualified(isp.oak_1, at=now).public_id
    faster = [{"action": "modify", "offering": "fibre-1000"}]
    made = {}
    for key, body in {
        "change": {"qualification": here, "items": faster},
        "suspend": {"note": "Holiday"},
        "resume": {},
        "provider_change": {
            "qualification": here, "items": [{"action": "modify", "offering": "dsl-25"}]
        },
    }.items():  # fmt: skip
        answer = send(key, intent=key, **body)
        assert answer.status_code == 201, answer.content
        made[key] = answer.json()
        factories.work(at=timezone.now())
    assert made["change"]["items"][0] | {"service": ""} == {
        "action": "modify", "offering": "fibre-1000", "name": "Fibre 1000", "bundle": None,
        "service": "",
    }  # fmt: skip
    assert (made["suspend"]["qualification"], made["suspend"]["intent"]) == (None, "suspend")
    states = set(ProductOrder.objects.values_list("state", flat=True))
    assert states == {"completed"}


def test_a_move_and_an_end(
    isp: SmallIsp,
    line: Service,
    send: Callable[..., Any],
    now: datetime,
) -> None:
    there = factories.qualified(place("3 OAK ST"), at=now).public_id
    day = (now + timedelta(days=20)).isoformat()
    moved = send(intent="move", qualification=there, old_line_until=day).json()
    assert [(item["action"], item["offering"]) for item in moved["items"]] == [
        ("add", "fibre-500"), ("delete", "fibre-500")
    ]  # fmt: skip
    problem(send("k2", intent="cease"), 409, "change_under_way")


def test_it_can_be_cancelled_until_its_day(
    client: Client, line: Service, send: Callable[..., Any], ada_s: dict[str, str],
    now: datetime,
) -> None:  # fmt: skip
    order = send(intent="cease", wanted_from=(now + timedelta(days=2)).isoformat()).json()
    assert order["state"] == "pending"
    path = f"/product_orders/{order['id']}/cancellation"
    answer = post(client, path, {}, ada_s, "c1")
    assert (answer.status_code, answer.json()["state"]) == (200, "cancelled")
    done = send("k2", intent="suspend").json()
    factories.work(at=now + timedelta(minutes=1))
    problem(
        post(client, f"/product_orders/{done['id']}/cancellation", {}, ada_s, "c2"),
        409, "too_late_to_cancel",
    )  # fmt: skip


def test_what_is_refused_names_the_field(
    isp: SmallIsp,
    send: Callable[..., Any],
    line: Service,
    now: datetime,
) -> None:
    here = factories.qualified(isp.oak_1, at=now).public_id
    problem(send("1", intent="cease", line="svc_x"), 422, "invalid_input", "line")
    problem(send("2", intent="resume"), 409, "not_suspended", "reason")
    problem(send("3", intent="suspend", suspension="abuse"), 409, "only_for_staff")
    problem(send("4", intent="change", qualification=here), 422, "invalid_input", "plan")
    assert send("5", intent="move").status_code in {400, 422}
    assert send("6", intent="fly").status_code in {400, 422}
    two = [{"action": "modify", "offering": code} for code in ("fibre-1000", "fibre-500")]
    problem(
        send("7", intent="change", items=two, qualification=here), 422, "invalid_input", "items"
    )
    assert send("8", intent="new").status_code in {400, 422}


@pytest.mark.parametrize("field", ["intent", "suspension"])
def test_half_of_a_character_is_no_choice(send: Callable[..., Any], field: str) -> None:
    problem(send(**{"intent": "suspend", field: "\ud800"}), 422, "invalid_input", field)


def test_another_s_line_is_not_there(
    client: Client,
    token: Token,
    line: Service,
    now: datetime,
) -> None:
    eve = factories.subscriber(at=now, email="eve@example.com")
    hers = token(eve.users.get())
    answer = post(client, "/product_orders", {"intent": "cease", "line": line.public_id}, hers, "k")
    problem(answer, 422, "invalid_input", "line")
    assert client.get(f"{API}/services", headers=hers).json()["items"] == []
    order = later.cease(line, now)
    path = f"/product_orders/{order.public_id}/cancellation"
    assert post(client, path, {}, hers, "c").status_code == 404


def test_the_lines_of_an_account(
    client: Client, isp: SmallIsp, line: Service, ada_s: dict[str, str], now: datetime,
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:  # fmt: skip
    later.boost()
    later.change(line, now, add=["boost", "films-streaming"])
    factories.work(at=now)
    later.suspend(line, now, "non_payment", treatment="walled_garden", note="Pay bill 7.")
    factories.work(at=now)
    order = later.cease(line, now, wanted_from=now + timedelta(days=3))
    with django_assert_max_num_queries(12):
        answer = client.get(f"{API}/services", headers=ada_s)
    (told,) = answer.json()["items"]
    assert (told["id"], told["state"], told["open_order"]) == (
        line.public_id, "suspended", order.public_id
    )  # fmt: skip
    assert [(one["offering"], one["state"]) for one in told["carried"]] == [
        ("boost", "suspended"), ("films-streaming", "active")
    ]  # fmt: skip
    (why,) = told["suspensions"]
    assert (why["reason"], why["treatment"], why["note"]) == (
        "non_payment", "walled_garden", "Pay bill 7."
    )  # fmt: skip
    assert told["download_kbps"] == 500_000


def test_an_order_is_amended_until_it_takes_effect(
    client: Client, isp: SmallIsp, send: Callable[..., Any], ada_s: dict[str, str], now: datetime
) -> None:
    here = factories.qualified(isp.oak_1, at=now).public_id
    order = send(
        intent="change", qualification=here, wanted_from=(now + timedelta(days=5)).isoformat(),
        items=[{"action": "modify", "offering": "fibre-1000"}],
    ).json()  # fmt: skip

    def patch(**body: Any) -> Any:
        return client.patch(
            f"{API}/product_orders/{order['id']}", json.dumps(body),
            content_type="application/json", headers=ada_s,
        )  # fmt: skip

    told = patch(wanted_from=None, items=[{"action": "add", "offering": "films-streaming"}]).json()
    assert [(item["action"], item["offering"]) for item in told["items"]] == [
        ("no_change", "fibre-500"), ("add", "films-streaming")
    ]  # fmt: skip
    assert (told["wanted_from"], [step["kind"] for step in told["steps"]]) == (
        None, ["grant_entitlement", "change_service", "apply_to_session"]
    )  # fmt: skip
    problem(patch(), 422, "invalid_input", "items")
    factories.work(at=timezone.now())
    problem(patch(wanted_from=None), 409, "too_late_to_amend")


def test_a_boost_for_a_time(
    isp: SmallIsp, client: Client, ada_s: dict[str, str], line: Service, send: Callable[..., Any],
    now: datetime,
) -> None:  # fmt: skip
    later.boost()
    here = factories.qualified(isp.oak_1, at=now).public_id
    body: dict[str, Any] = {
        "intent": "change", "qualification": here,
        "items": [{"action": "add", "offering": "boost"}],
    }  # fmt: skip
    past = (now - timedelta(days=1)).isoformat()
    refused = send("b1", **body, boosts_until=past)
    problem(refused, 422, "invalid_input", "boosts_until")
    until = (now + timedelta(days=7)).isoformat()
    assert send("b2", **body, boosts_until=until).status_code == 201
    assert send("b2", **body).status_code == 409
    factories.work(at=timezone.now())
    [its_line] = client.get(f"{API}/services", headers=ada_s).json()["items"]
    [shown] = its_line["carried"]
    assert (shown["offering"], shown["state"]) == ("boost", "active")
    assert datetime.fromisoformat(shown["ends_at"]) == now + timedelta(days=7)
