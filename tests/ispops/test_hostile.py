"""What nobody sends in earnest is answered as the caller's fault, through every face."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from allauth.idp.oidc.models import Token
from django.test import Client

from ispops import hostile
from ispops.parties import accounts, partners, terms

AT = datetime(2026, 5, 4, 12, tzinfo=UTC)
pytestmark = pytest.mark.django_db


@pytest.fixture
def web() -> Client:
    """A browser that is told of our own faults, as a person would be."""
    return Client(raise_request_exception=False)


def test_only_what_the_caller_did_is_the_callers_fault() -> None:
    assert hostile.what_is_wrong(RecursionError())
    assert hostile.what_is_wrong(ValueError("A string literal cannot contain NUL (0x00)"))
    assert not hostile.what_is_wrong(ValueError("too large"))


def test_a_nul_in_the_name_of_a_program(web: Client) -> None:
    body = {"grant_type": "client_credentials", "client_id": "a\x00", "client_secret": "x"}
    assert web.post("/identity/o/api/token", body).status_code == 400


def test_a_nul_in_the_address_of_a_page(web: Client) -> None:
    user = accounts.create_login(
        email="ada@example.com", password="lovelace-1843", name="Ada", email_is_verified=True, at=AT
    )
    accounts.register_subscriber(user=user, name="Ada", terms_version=terms.FIRST_VERSION, at=AT)
    web.force_login(user)
    for page in ("/account/devices/svc_\x00/%00/free/", "/orders/%00/", "/check/%00/"):
        assert web.get(page).status_code in {400, 404}, page


def test_a_body_without_an_end(web: Client) -> None:
    bsp = partners.create_partner(code="films", name="Films", kind="bsp", at=AT)
    scopes = ["usage:write"]
    program, _ = partners.create_api_client(partner=bsp, name="Films", scopes=scopes, at=AT)
    token = Token(type=Token.Type.ACCESS_TOKEN, client=program)
    token.set_value("token")
    token.set_scopes(scopes)
    token.save()
    for depth in (1_900, 100_000):
        answer = web.post(
            "/api/v1/usage",
            '{"events":' + "[" * depth + "]" * depth + "}",
            content_type="application/json",
            headers={"Authorization": "Bearer token", "Idempotency-Key": f"deep-{depth}"},
        )
        assert answer.status_code in {200, 400}, depth
        assert answer.status_code == 400 or answer.json()["errors"] == 1
