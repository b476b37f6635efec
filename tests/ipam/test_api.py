"""Address pools over the API: who sees which, and what an address server may say and ask."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client

from ipam import block_steps
from ipam.models import BlockRequest, BlockReturn, PoolReport
from ispops.parties import partners
from ispops.parties.models import Partner
from tests.ipam.ground import NOON, SECRET, a_server
from tests.ipam.growing import Town, a_town
from tests.rating.calls import token

pytestmark = pytest.mark.django_db
API = "/api/v1/"


@pytest.fixture
def town(db: None) -> Town:
    cache.clear()  # wrong secrets are counted
    return a_town()


def as_server(name: str = "town", secret: str = SECRET) -> dict[str, str]:
    coded = base64.b64encode(f"{name}:{secret}".encode()).decode()
    return {"Authorization": f"Basic {coded}"}


def post(path: str, body: Any, *, key: str = "k-1", **headers: str) -> Any:
    sent = {"Idempotency-Key": key} | headers
    return Client().post(API + path, body, content_type="application/json", headers=sent)


def ask(*, key: str = "k-1", who: dict[str, str] | None = None, **changes: Any) -> Any:
    body = {"resource_pool": "town", "reason": "It fills"} | changes
    return post("resource_reservations", body, key=key, **(who or as_server()))


# --- Address servers ----------------------------------------------------------------------------


def test_a_server_tells_its_use_and_asks_and_follows_what_comes_of_it(town: Town) -> None:
    told = post("resource_pool_reports", {"resource_pool": "town", "assigned": 13}, **as_server())
    assert (told.status_code, told.json()["assigned"]) == (200, 13)
    asked = ask(key="k-2")
    assert asked.status_code == 202
    assert asked.json()["state"] == "open"
    block_steps.go_on_due(at=BlockRequest.objects.get().asked_at)
    after = Client().get(asked["Location"], headers=as_server()).json()
    assert (after["state"], after["made"], after["network"]) == (
        "confirmed", "town-2", "10.9.0.16/28",
    )  # fmt: skip
    released = post(f"resource_reservations/{after['id']}/release", None, key="k-3", **as_server())
    assert (released.status_code, released.json()["state"]) == (202, "draining")


def test_a_replayed_request_gets_the_first_answer_and_changes_nothing(town: Town) -> None:
    first = ask()
    again = ask()
    assert again.content == first.content
    assert again["Idempotent-Replay"] == "true"
    assert ask(reason="Otherwise").status_code == 409
    assert BlockRequest.objects.count() == 1


@pytest.mark.parametrize(
    "who",
    [
        {},
        as_server("nobody"),
        as_server(secret="a-forged-secret-of-somebody"),
        {"Authorization": "Basic not-base64!"},
        {"Authorization": "Basic é"},
        {"Authorization": "Bearer forged"},
    ],
    ids=["nobody", "unknown", "forged", "unreadable", "no ASCII", "a bearer"],
)
def test_who_is_no_server_is_refused_and_leaves_nothing(town: Town, who: dict[str, str]) -> None:
    body = {"resource_pool": "town", "reason": "It fills", "assigned": 1}
    for path in ("resource_reservations", "resource_pool_reports"):
        answer = post(path, body, **who)
        assert answer.status_code == 401
        assert "Basic" in answer["WWW-Authenticate"]
    assert not BlockRequest.objects.exists()
    assert not PoolReport.objects.exists()


def test_another_server_neither_asks_reports_sees_nor_releases(town: Town) -> None:
    a_server("other")
    other, mine = as_server("other"), ask().json()["id"]
    answers = [
        ask(key="o-1", who=other),
        post("resource_pool_reports", {"resource_pool": "town", "assigned": 1}, **other),
        Client().get(f"{API}resource_reservations/{mine}", headers=other),
        post(f"resource_reservations/{mine}/release", None, key="o-3", **other),
    ]
    assert [answer.status_code for answer in answers] == [403] * 4
    assert {answer.json()["type"] for answer in answers} == {"/problems/not_your_pool"}
    assert not BlockReturn.objects.exists()


@pytest.mark.parametrize(
    ("changes", "status", "field"),
    [
        ({"resource_pool": "nowhere"}, 404, "resource_pool"),
        ({"resource_pool": None}, 422, "resource_pool"),
        ({"reason": ""}, 422, "reason"),
        ({"reason": "x\0y"}, 422, "reason"),
        ({"length": 33}, 422, "length"),
        ({"length": "/24"}, 422, "length"),
    ],
)
def test_bad_values_are_named(town: Town, changes: Any, status: int, field: str) -> None:
    answer = ask(**changes)
    assert answer.status_code == status
    assert answer.json()["errors"][0]["field"] == field
    assert not BlockRequest.objects.exists()


def test_what_was_never_cut_is_not_released(town: Town) -> None:
    answer = post(
        f"resource_reservations/{ask().json()['id']}/release", None, key="r", **as_server()
    )
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/not_a_further_block")


# --- Partners and staff -------------------------------------------------------------------------


def a_partner(code: str) -> Partner:
    return partners.create_partner(code=code, name=code.title(), kind="network_provider", at=NOON)


def see(who: Any, path: str, *scopes: str) -> Any:
    return Client().get(
        API + path,
        headers={"Authorization": f"Bearer {token(who, list(scopes or ('ipam:read',)))}"},
    )


def test_a_partner_sees_the_pools_of_its_own_network_alone(town: Town) -> None:
    from provisioning.models import DhcpServer

    mine, other = a_partner("coastal"), a_partner("inland")
    DhcpServer.objects.create(
        address_server=town.pool.server, provider=mine, hosts_url="postgresql://u:p@h/kea"
    )
    listed = see(mine, "resource_pools").json()["items"]
    assert [each["id"] for each in listed] == ["town"]
    assert listed[0]["capacity"] == {"total": 14, "taken": 0, "available": 14}
    assert see(mine, "resource_pools/town/forecast").json()["total"] == 14
    assert see(other, "resource_pools").json()["items"] == []
    assert see(other, "resource_pools/town").status_code == 404
    assert see(mine, "resource_pools", "orders:read").status_code == 403

    check = {"resource_pool": "town", "amount": 15}
    bearer = {"Authorization": f"Bearer {token(mine, ['ipam:write'])}"}
    answer = post("resource_availability_checks", check, **bearer).json()
    assert (answer["is_available"], answer["available"]) == (False, 14)
