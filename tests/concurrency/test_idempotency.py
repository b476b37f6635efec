"""Eight connections send one request with one key at the same moment: one of them makes it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from allauth.idp.oidc.models import Token
from django.db import connection
from django.test import Client

from ispops.models import Event, IdempotentAnswer
from ispops.parties import partners
from tests.parties.api import Notes

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.urls("tests.parties.api")]
ASKERS = 8


@pytest.fixture
def token(transactional_db: None) -> str:
    now = datetime.now(UTC)
    partner = partners.create_partner(code="cinebox", name="Cinebox", kind="bsp", at=now)
    made, _ = partners.create_api_client(
        partner=partner, name="Films", scopes=["usage:write"], at=now
    )
    found = Token(type=Token.Type.ACCESS_TOKEN, client=made)
    found.set_value("open sesame")
    found.set_scopes(["usage:write"])
    found.save()
    return "open sesame"


def send_at_once(token: str, bodies: list[dict[str, Any]], *, key: str | None) -> list[Any]:
    """Send all bodies from threads of their own, released together, and give the answers."""
    start = threading.Barrier(len(bodies))

    def send(number: int) -> Any:
        headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": key or f"k{number}"}
        try:
            start.wait(timeout=10)
            return Client().post(
                "/api/v1/notes", bodies[number], content_type="application/json", headers=headers
            )
        finally:
            connection.close()

    with ThreadPoolExecutor(len(bodies)) as pool:
        return list(pool.map(send, range(len(bodies))))


def test_one_key_makes_one_change_and_one_answer(token: str) -> None:
    answers = send_at_once(token, [{"words": "slow"}] * ASKERS, key="same")
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert sum("Idempotent-Replay" in answer.headers for answer in answers) == ASKERS - 1
    assert Event.objects.filter(kind="note").count() == 1
    assert IdempotentAnswer.objects.count() == 1


def test_without_the_guard_each_makes_a_change(token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative control: the requests really meet, and only the guard keeps them apart."""
    monkeypatch.setattr(Notes, "post", Notes.post.__wrapped__)
    answers = send_at_once(token, [{"words": "slow"}] * ASKERS, key="same")
    assert {answer.status_code for answer in answers} == {201}
    assert Event.objects.filter(kind="note").count() == ASKERS


def test_one_key_with_two_bodies_makes_one_of_them(token: str) -> None:
    bodies = [{"words": "slow"}, {"words": "fast"}] * (ASKERS // 2)
    answers = send_at_once(token, bodies, key="same")
    made = [body for body, answer in zip(bodies, answers, strict=True) if answer.status_code == 201]
    refused = [answer for answer in answers if answer.status_code == 409]
    assert len(made) == len(refused) == ASKERS // 2
    assert len({body["words"] for body in made}) == 1
    assert [event.subject for event in Event.objects.filter(kind="note")] == [made[0]["words"]]


def test_when_the_first_is_refused_another_is_heard(token: str) -> None:
    answers = send_at_once(token, [{"words": "refuse"}] * ASKERS, key="same")
    assert {answer.status_code for answer in answers} == {409}
    assert {answer.json()["type"] for answer in answers} == {"/problems/too_late"}
    assert not Event.objects.filter(kind="note").exists()
    assert not IdempotentAnswer.objects.exists()


def test_other_keys_do_not_wait(token: str) -> None:
    answers = send_at_once(token, [{"words": "slow"}] * ASKERS, key=None)
    assert {answer.status_code for answer in answers} == {201}
    assert Event.objects.filter(kind="note").count() == ASKERS
