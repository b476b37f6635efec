"""Wrong secrets of address servers: too many are told to wait, and nobody locks a server out."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import pytest
import time_machine
from django.core.cache import cache
from django.test import Client

from ipam.models import AddressServer, Allocation, BlockRequest
from ispops.parties import limits
from ispops.parties.models import Subscriber
from provisioning import aaa
from provisioning.models import AccountingRecord, Service
from tests import factories
from tests.provisioning.conftest import NOON
from tests.provisioning.test_radius import ACCOUNTING
from tests.small_isp import SmallIsp

FEW, MANY = limits.WRONG_SECRET.amount, limits.WRONG_SECRETS.amount
GUESS = "a-guess-of-somebody-outside"
HERE, ELSEWHERE = "192.0.2.66", "192.0.2.67"


@pytest.fixture(autouse=True)
def _at_noon() -> Any:
    cache.clear()
    with time_machine.travel(NOON, tick=False):
        yield


@pytest.fixture
def line(isp: SmallIsp, ada: Subscriber, radius_server: AddressServer, at: Any) -> Service:
    return factories.live_line(isp, ada, at=at)


def basic(name: str, secret: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{secret}".encode()).decode()


def body_of(line: Service) -> bytes:
    said = {"User-Name": line.credential.username, "Calling-Station-Id": "AA-BB-CC-00-11-22"}
    return json.dumps({k: {"type": "string", "value": [v]} for k, v in said.items()}).encode()


class Way:
    """One way in: who asks with which secret, and what comes back."""

    def __init__(self, line: Service) -> None:
        self.line = line

    def __call__(
        self, secret: str = factories.SECRET, name: str = "north", origin: str = HERE
    ) -> tuple[int, str, str]:
        """Return the status, the words and Retry-After."""
        raise NotImplementedError


class Authorize(Way):
    """The view, as in development."""

    path, wrong = "/aaa/authorize", 403

    def __call__(
        self, secret: str = factories.SECRET, name: str = "north", origin: str = HERE
    ) -> tuple[int, str, str]:
        answer = Client(REMOTE_ADDR=origin).post(
            self.path, self.body(), content_type="application/json",
            headers={"Authorization": basic(name, secret), "Idempotency-Key": f"{name}-{secret}"},
        )  # fmt: skip
        return answer.status_code, answer.content.decode(), answer.headers.get("Retry-After", "")

    def body(self) -> Any:
        return body_of(self.line)


class Accounting(Authorize):
    path = "/aaa/accounting"

    def body(self) -> Any:
        return ACCOUNTING


class Wsgi(Way):
    """The way in of a server in earnest, before Django's request is made."""

    wrong = 403

    def __call__(
        self, secret: str = factories.SECRET, name: str = "north", origin: str = HERE
    ) -> tuple[int, str, str]:
        body, heard = body_of(self.line), []
        environ = {
            "REQUEST_METHOD": "POST", "PATH_INFO": aaa.AUTHORIZE, "REMOTE_ADDR": origin,
            "CONTENT_LENGTH": str(len(body)), "HTTP_AUTHORIZATION": basic(name, secret),
            "wsgi.input": io.BytesIO(body),
        }  # fmt: skip
        said = aaa.authorize_wsgi(
            environ, lambda status, headers: heard.extend([status, dict(headers)])
        )
        status, headers = heard
        return int(status[:3]), b"".join(said).decode(), headers.get("Retry-After", "")


class Reservation(Authorize):
    """The API of address servers, where a wrong secret is 401 as everywhere in the API."""

    path, wrong = "/api/v1/resource_reservations", 401

    def body(self) -> Any:
        return json.dumps({"resource_pool": "north-dynamic", "reason": "It fills"})


WAYS = (Authorize, Accounting, Wsgi, Reservation)


@pytest.fixture(params=WAYS, ids=[way.__name__.lower() for way in WAYS])
def way(request: pytest.FixtureRequest, line: Service) -> Any:
    return request.param(line)


def rows() -> list[int]:
    counted = (Allocation, AccountingRecord, BlockRequest)
    return [model.objects.count() for model in counted]


def test_after_too_many_wrong_secrets_the_answer_is_to_wait(way: Any) -> None:
    before = rows()
    assert {way(GUESS)[0] for _ in range(FEW)} == {way.wrong}
    status, words, wait = way(GUESS)
    assert (status, wait in ("60", "61")) == (429, True)
    assert "Too many wrong names and secrets came from here" in words
    assert way("")[0] == 429
    assert rows() == before
    assert way()[0] < 300, "the right secret passes, from the very same address"
    assert way(GUESS)[0] == 429, "and forgives nothing"
    assert way(GUESS, origin=ELSEWHERE)[0] == way.wrong
    assert way(GUESS, name="south")[0] == way.wrong
    assert way(origin=ELSEWHERE)[0] < 300
    with time_machine.travel(NOON.replace(minute=1), tick=False):
        assert way(GUESS)[0] == way.wrong


def test_who_tries_many_names_is_told_to_wait_and_the_real_server_is_not(way: Any) -> None:
    for number in range(MANY):
        assert way(GUESS, name=f"guess-{number}")[0] == way.wrong
    assert way(GUESS, name="guess-x")[0] == 429
    assert way()[0] < 300
    assert way(GUESS, name="guess-x", origin=ELSEWHERE)[0] == way.wrong


def test_without_the_cache_wrong_secrets_are_wrong_and_no_more(
    line: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    from redis.exceptions import ConnectionError as Away

    def away(*_: Any, **__: Any) -> None:
        raise Away

    monkeypatch.setattr("redis.client.Redis.execute_command", away)
    asks = Wsgi(line)
    assert {asks(GUESS)[0] for _ in range(FEW + 2)} == {403}
    assert asks()[0] == 200


def test_a_socket_that_tells_no_address_is_not_limited(line: Service) -> None:
    asks = Wsgi(line)
    assert {asks(GUESS, origin="")[0] for _ in range(FEW + 2)} == {403}
