"""Sign-in, the second factor and OAuth for programs, tried through the addresses themselves."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import jwt
import pytest
from allauth.account.models import EmailAddress
from allauth.idp.oidc.models import Client as ApiClient
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import (
    format_hotp_value,
    generate_totp_secret,
    hotp_value,
    yield_hotp_counters_from_time,
)
from django.core.cache import cache
from django.core.exceptions import ImproperlyConfigured
from django.test import Client
from pytest_django import Settings

from ispops import db
from ispops.parties import adapter
from ispops.parties.models import User
from ispops.parties.scopes import API_SCOPES

pytestmark = pytest.mark.django_db
DEVICE = "urn:ietf:params:oauth:grant-type:device_code"


@pytest.fixture(autouse=True)
def _fresh_limits() -> None:
    """Rate limits count in the cache, which outlives a test."""
    cache.clear()


def sign_in(web: Client, email: str, password: str, **fields: str) -> Any:
    return web.post("/accounts/login/", {"login": email, "password": password, **fields})


class TestSignIn:
    def test_a_subscriber_goes_to_the_account(self, client: Client, ada: User) -> None:
        answer = sign_in(client, "ADA@example.com", "lovelace-1843")
        assert (answer.status_code, answer.headers["Location"]) == (302, "/account/")

    def test_staff_go_to_the_console(self, client: Client, cara: User, settings: Settings) -> None:
        settings.STAFF_NEED_SECOND_FACTOR = False
        answer = sign_in(client, "cara@isp.example", "hopper-1906")
        assert answer.headers["Location"] == "/console/"
        assert client.get("/console/").status_code == 200

    def test_the_console_sends_visitors_to_the_one_login(self, client: Client) -> None:
        for page in ("/console/", "/console/login/", "/console/parties/partner/"):
            answer = client.get(page, follow=True)
            assert answer.redirect_chain[-1][0].startswith("/accounts/login/?next=")

    def test_the_console_s_own_login_takes_no_password(self, client: Client, cara: User) -> None:
        client.post("/console/login/", {"username": cara.email, "password": "hopper-1906"})
        assert "_auth_user_id" not in client.session

    def test_a_subscriber_does_not_get_into_the_console(self, client: Client, ada: User) -> None:
        client.force_login(ada)
        assert client.get("/console/", follow=True).status_code == 403

    def test_guessing_is_slowed_down(self, client: Client, ada: User) -> None:
        for _ in range(12):
            answer = sign_in(client, "ada@example.com", "guess")
        assert answer.status_code == 429 or b"Too many" in answer.content
        assert sign_in(client, "ada@example.com", "lovelace-1843").status_code != 302

    def test_an_address_that_is_not_verified_does_not_open_the_account(
        self, client: Client, ada: User
    ) -> None:
        EmailAddress.objects.update(verified=False)
        answer = sign_in(client, "ada@example.com", "lovelace-1843")
        assert "confirm-email" in answer.headers["Location"]
        assert "_auth_user_id" not in client.session

    def test_nobody_takes_the_address_of_a_program(self, client: Client) -> None:
        answer = client.post(
            "/accounts/signup/",
            {"email": "cinebox@Partners.Invalid", "password1": "a long pass phrase 1"},
        )
        assert answer.status_code == 200
        assert not User.objects.exists()


class TestSecondFactor:
    @pytest.fixture(autouse=True)
    def demanded(self, settings: Settings) -> None:
        settings.STAFF_NEED_SECOND_FACTOR = True

    def test_staff_without_one_are_sent_to_set_it_up(self, client: Client, cara: User) -> None:
        sign_in(client, cara.email, "hopper-1906")
        for page in ("/console/", "/console/parties/subscriber/"):
            answer = client.get(page, follow=True)
            assert answer.redirect_chain[-1][0] == "/accounts/2fa/"
        assert client.get("/console/parties/subscriber/").status_code == 302

    def test_staff_with_one_are_asked_for_it_and_let_in(self, client: Client, cara: User) -> None:
        secret = generate_totp_secret()
        Authenticator.objects.create(
            user=cara, type=Authenticator.Type.TOTP, data={"secret": db.encrypt(secret)}
        )
        answer = sign_in(client, cara.email, "hopper-1906")
        assert answer.headers["Location"].startswith("/accounts/2fa/authenticate/")
        assert client.get("/console/", follow=True).redirect_chain
        code = format_hotp_value(hotp_value(secret, next(iter(yield_hotp_counters_from_time()))))
        answer = client.post("/accounts/2fa/authenticate/", {"code": code})
        assert answer.status_code == 302, answer.content
        assert client.get("/console/").status_code == 200

    def test_its_secret_is_encrypted_at_rest(self) -> None:
        stored = adapter.SecondFactorAdapter().encrypt("JBSWY3DPEHPK3PXP")
        assert "JBSWY3DPEHPK3PXP" not in stored
        assert adapter.SecondFactorAdapter().decrypt(stored) == "JBSWY3DPEHPK3PXP"

    def test_a_demonstration_may_waive_it(
        self, client: Client, cara: User, settings: Settings
    ) -> None:
        settings.STAFF_NEED_SECOND_FACTOR = False
        sign_in(client, cara.email, "hopper-1906")
        assert client.get("/console/").status_code == 200


@pytest.fixture
def program(db: None) -> ApiClient:
    made = ApiClient(
        id="client-software",
        name="Client software",
        type=ApiClient.Type.PUBLIC,
        grant_types=f"{DEVICE}\nrefresh_token",
    )
    made.set_scopes(["openid", "orders:read", "orders:write"])
    made.save()
    return made


class TestPrograms:
    def test_the_server_describes_itself(self, client: Client) -> None:
        told = client.get("/.well-known/openid-configuration").json()
        assert set(API_SCOPES) < set(told["scopes_supported"])
        assert told["device_authorization_endpoint"].endswith("/identity/o/api/device/code")
        assert "urn:ietf:params:oauth:grant-type:device_code" in told["grant_types_supported"]

    def test_a_device_is_let_in_by_its_owner(
        self, client: Client, program: ApiClient, ada: User
    ) -> None:
        """RFC 8628 from the first step to the last; broken with oauthlib 4.0.1."""
        given = client.post(
            "/identity/o/api/device/code",
            urlencode({"client_id": program.id, "scope": "openid orders:read"}),
            content_type="application/x-www-form-urlencoded",
        )
        assert given.status_code == 200, given.content
        device = given.json()

        def poll() -> Any:
            return Client().post(
                "/identity/o/api/token",
                {
                    "grant_type": DEVICE,
                    "client_id": program.id,
                    "device_code": device["device_code"],
                },
            )

        assert poll().json()["error"] == "authorization_pending"
        browser = Client()
        browser.force_login(ada)
        code = device["user_code"]
        asked = browser.get("/identity/o/device", {"code": code})
        assert asked.status_code == 200
        assert b"Client software" in asked.content
        browser.post("/identity/o/device?code=" + code, {"action": "confirm", "code": code})
        assert _may_poll_again(device["device_code"])
        token = poll().json()
        assert token["scope"].split() == ["openid", "orders:read"]
        assert "refresh_token" in token

    def test_id_tokens_are_signed_by_the_key_that_is_published(
        self, client: Client, settings: Settings, tmp_path: Path
    ) -> None:
        settings.DEMO, settings.DATA_DIR = True, tmp_path
        adapter._demo_key.cache_clear()
        [key] = client.get("/.well-known/jwks.json").json()["keys"]
        pem = adapter.ApiClientAdapter().get_signing_key().pem
        signed = jwt.encode({"sub": "1"}, pem, algorithm="RS256")
        public = jwt.PyJWK.from_json(json.dumps(key))
        assert jwt.decode(signed, public, algorithms=["RS256"]) == {"sub": "1"}
        assert "d" not in key


def _may_poll_again(device_code: str) -> bool:
    """Forget when the device asked last, and say whether its owner has let it in."""
    from allauth.idp.oidc.internal.oauthlib import device_codes

    key = device_codes.cache_device_code_key(device_code)
    data = cache.get(key)
    data["last_poll_at"] = 0
    cache.set(key, data, timeout=60)
    return data["granted"] is True


class TestSigningKey:
    @pytest.fixture(autouse=True)
    def forget(self) -> None:
        adapter._demo_key.cache_clear()

    def test_production_needs_its_own(self, settings: Settings) -> None:
        settings.DEMO = settings.DEBUG = False
        assert adapter.ApiClientAdapter().list_private_keys() == []
        with pytest.raises(ImproperlyConfigured):
            adapter.ApiClientAdapter().get_signing_key()

    def test_the_environment_s_key_comes_first(self, settings: Settings, tmp_path: Path) -> None:
        settings.DEMO, settings.DATA_DIR = True, tmp_path
        settings.IDP_OIDC_PRIVATE_KEY = "-----BEGIN PRIVATE KEY-----"
        [key] = adapter.ApiClientAdapter().list_private_keys()
        assert key.pem == "-----BEGIN PRIVATE KEY-----"
        assert list(tmp_path.iterdir()) == []

    def test_a_demonstration_makes_one_and_keeps_it(
        self, settings: Settings, tmp_path: Path
    ) -> None:
        settings.DEMO, settings.DATA_DIR = True, tmp_path
        first = adapter.ApiClientAdapter().get_signing_key().pem
        adapter._demo_key.cache_clear()
        assert adapter.ApiClientAdapter().get_signing_key().pem == first
        [file] = tmp_path.iterdir()
        assert file.stat().st_mode & 0o777 == 0o600

    def test_processes_that_come_first_together_get_the_same(self, tmp_path: Path) -> None:
        with multiprocessing.get_context("fork").Pool(4) as pool:
            keys = pool.map(adapter._demo_key, [tmp_path / "oidc_key.pem"] * 4)
        assert len(set(keys)) == 1
        assert [file.name for file in tmp_path.iterdir()] == ["oidc_key.pem"]


def test_scopes_have_words_for_people() -> None:
    words = adapter.ApiClientAdapter.scope_display
    assert {"qualification:read", "usage:write", "openid"} <= set(words)
    assert all(str(text)[0].isupper() for text in words.values())
