"""How much a login and a partner's program may write and ask, on pages and by the API."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from allauth.idp.oidc.adapter import get_adapter
from allauth.idp.oidc.models import Client as ApiClient
from allauth.idp.oidc.models import Token
from django.core.cache import cache
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from ispops.parties import partners, roles
from ispops.parties.models import Partner, User
from ispops.portal.views import errors
from tests import factories

pytestmark = pytest.mark.django_db
SCOPES = ["qualification:write", "orders:write", "usage:write", "service_orders:write"]
WRITES = "/api/v1/product_orders"
ASKS = "/api/v1/service_qualifications"
USAGE = "/api/v1/usage"


@pytest.fixture(autouse=True)
def few(settings: Settings) -> Any:
    cache.clear()
    settings.LOGIN_WRITES_A_MINUTE = 2
    settings.LOGIN_QUALIFICATIONS_A_DAY = 2
    settings.CLIENT_WRITES_A_MINUTE = 3
    settings.CLIENT_QUALIFICATIONS_A_MINUTE = 3
    # In the first second of a minute that is the first of no hour.
    with time_machine.travel(datetime(2026, 5, 4, 12, 1, tzinfo=UTC), tick=False):
        yield


@pytest.fixture
def login() -> User:
    return factories.subscriber(at=timezone.now()).users.get()


@pytest.fixture
def web(login: User) -> Client:
    client = Client()
    client.force_login(login, "django.contrib.auth.backends.ModelBackend")
    return client


def bearer(owner: User | Partner, number: int = 1) -> dict[str, str]:
    """A token of one of a login's programs, or of a partner's."""
    now, value = timezone.now(), f"token-{owner.pk}-{number}"
    if isinstance(owner, Partner):
        client, _ = partners.create_api_client(
            partner=owner, name=str(number), scopes=SCOPES, at=now
        )
    else:
        client = ApiClient.objects.create(name=str(number), created_at=now)
    token = Token(
        type=Token.Type.ACCESS_TOKEN, client=client,
        user=owner if isinstance(owner, User) else None,
        hash=get_adapter().hash_token(value), created_at=now,
    )  # fmt: skip
    token.set_scopes(SCOPES)
    token.save()
    return {"Authorization": f"Bearer {value}"}


def statuses(headers: dict[str, str], url: str, times: int) -> list[int]:
    return [post(headers, url, f"k{number}").status_code for number in range(times)]


def post(headers: dict[str, str], url: str, key: str = "k") -> Any:
    return Client().post(
        url, json.dumps({}), content_type="application/json",
        headers=headers | {"Idempotency-Key": key},
    )  # fmt: skip


class TestLogins:
    def test_writes_by_all_programs_and_pages_of_a_login_are_counted_together(
        self, login: User, web: Client
    ) -> None:
        assert statuses(bearer(login), WRITES, 1) == [422]
        assert web.post(f"/orders/ord_{'0' * 32}/cancel/").status_code == 404
        page = web.post(f"/orders/ord_{'0' * 32}/cancel/")
        assert page.status_code == 429
        assert page["Retry-After"] == "60"
        assert "Wait a minute, then go back and try again" in page.content.decode()
        refused = post(bearer(login, 2), WRITES)
        assert refused.status_code == 429
        assert refused.json()["type"] == "/problems/throttled"
        assert 60 <= int(refused["Retry-After"]) <= 61
        assert web.get("/account/").status_code == 200, "reading goes on"
        with time_machine.travel(timezone.now() + timedelta(minutes=1)):
            assert web.post(f"/orders/ord_{'0' * 32}/cancel/").status_code == 404

    def test_another_login_and_a_visitor_are_not_held_up(self, login: User, web: Client) -> None:
        other = factories.subscriber(at=timezone.now()).users.get()
        assert statuses(bearer(login), WRITES, 3) == [422, 422, 429]
        assert statuses(bearer(other), WRITES, 1) == [422]
        assert Client().post("/", {"address": ""}).status_code == 422

    def test_what_is_asked_of_networks_is_counted_by_the_day(
        self, login: User, web: Client, settings: Settings
    ) -> None:
        settings.LOGIN_WRITES_A_MINUTE = 100
        where = {"address": "1 Alpine Rd, Stowe, VT 05672"}
        assert [web.post("/", where).status_code for _ in range(2)] == [302, 302]
        page = web.post("/", where)
        assert page.status_code == 429
        assert page["Retry-After"] == str(12 * 3600 - 60)
        assert "Wait 12 hours" in page.content.decode()
        assert statuses(bearer(login), ASKS, 1) == [429]
        with time_machine.travel(timezone.now() + timedelta(hours=12)):
            assert statuses(bearer(login, 2), ASKS, 1) == [422]

    def test_whoever_works_here_is_let_through(self, settings: Settings) -> None:
        settings.STAFF_NEED_SECOND_FACTOR = False
        client = Client()
        csr = factories.staff(roles.CSR, at=timezone.now())
        client.force_login(csr, "django.contrib.auth.backends.ModelBackend")
        answers = {client.post("/console/qualify/", {}).status_code for _ in range(4)}
        assert 429 not in answers


class TestPartners:
    @pytest.fixture
    def partner(self) -> Partner:
        return partners.create_partner(code="films", name="Films", kind="bsp", at=timezone.now())

    @pytest.mark.parametrize("url", [ASKS, WRITES])
    def test_each_program_has_its_own_limit(self, partner: Partner, url: str) -> None:
        first = statuses(bearer(partner), url, 4)
        assert first[3] == 429
        assert 429 not in first[:3]
        assert 429 not in statuses(bearer(partner, 2), url, 1)

    def test_usage_comes_as_fast_as_it_is_made(self, partner: Partner) -> None:
        assert set(statuses(bearer(partner), USAGE, 8)) == {200}


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(1, "a minute"), (61, "2 minutes"), (3_600, "60 minutes"), (7_000, "2 hours")],
)
def test_a_wait_in_words(seconds: int, words: str) -> None:
    assert errors._in_words(seconds) == words
