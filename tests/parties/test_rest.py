"""What every call of the API shares: tokens, scopes, problems, paging, repeated writes."""

import json
from base64 import b64decode, b64encode
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from allauth.idp.oidc.models import Client as ApiClient
from allauth.idp.oidc.models import Token
from django.core.cache import cache
from django.test import Client
from django.utils import timezone

from ispops.models import Event, IdempotentAnswer
from ispops.parties import partners
from ispops.parties.limits import Limit
from ispops.parties.models import Partner
from tests.parties.api import Notes

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.parties.api")]
PROBLEM = "application/problem+json"


@pytest.fixture
def api_client(partner: Partner) -> ApiClient:
    made, _ = partners.create_api_client(
        partner=partner,
        name="Films",
        scopes=["usage:read", "usage:write", "orders:read"],
        client_id="cinebox",
        secret="open sesame",
        at=timezone.now(),
    )
    return made


def ask_for_token(web: Client, secret: str = "open sesame", **fields: str) -> Any:
    return web.post(
        "/identity/o/api/token",
        {"grant_type": "client_credentials", **fields},
        headers={"Authorization": _basic("cinebox", secret)},
    )


def _basic(name: str, secret: str) -> str:
    return (
        requests.Request(auth=(name, secret), url="http://a", method="GET")
        .prepare()
        .headers["Authorization"]
    )


@pytest.fixture
def bearer(client: Client, api_client: ApiClient) -> dict[str, str]:
    return {"Authorization": f"Bearer {ask_for_token(client).json()['access_token']}"}


def post(web: Client, bearer: dict[str, str], body: Any, key: str | None = "k1") -> Any:
    headers = bearer | ({"Idempotency-Key": key} if key is not None else {})
    return web.post("/api/v1/notes", body, content_type="application/json", headers=headers)


def problem(response: Any, status: int, code: str) -> dict[str, Any]:
    assert response.status_code == status, response.content
    assert response.headers["Content-Type"] == PROBLEM
    body = json.loads(response.content)
    assert (body["status"], body["type"]) == (status, f"/problems/{code}")
    assert body["title"]
    assert body["detail"]
    return body


class TestTokens:
    def test_a_token_of_the_client_opens_its_scopes(
        self, client: Client, api_client: ApiClient, bearer: dict[str, str]
    ) -> None:
        made = post(client, bearer, {"words": "hello"})
        assert made.status_code == 201
        assert made.json()["by"] == "cinebox"
        listed = client.get("/api/v1/notes", headers=bearer)
        assert listed.json() == {"items": [{"words": "hello"}], "next": None}

    def test_the_answer_of_the_token_endpoint(self, client: Client, api_client: ApiClient) -> None:
        answer = ask_for_token(client, scope="usage:read").json()
        assert answer["token_type"] == "Bearer"
        assert answer["scope"] == "usage:read"
        assert answer["expires_in"] == 3600
        assert "refresh_token" not in answer
        assert answer["access_token"] not in Token.objects.get().hash

    def test_a_wrong_secret_gets_no_token(self, client: Client, api_client: ApiClient) -> None:
        refused = ask_for_token(client, secret="guess")
        assert refused.status_code == 401
        assert refused.json()["error"] == "invalid_client"
        assert not Token.objects.exists()

    def test_a_scope_beyond_the_client_s_gets_no_token(
        self, client: Client, api_client: ApiClient
    ) -> None:
        refused = ask_for_token(client, scope="usage:read settlement:read")
        assert refused.status_code == 400
        assert refused.json()["error"] == "invalid_scope"

    @pytest.mark.parametrize("method", ["get", "post", "put", "delete"])
    def test_no_token_is_401_with_a_challenge(self, client: Client, method: str) -> None:
        response = getattr(client, method)("/api/v1/notes")
        problem(response, 401, "not_authenticated")
        assert response.headers["WWW-Authenticate"] == 'Bearer realm="api"'

    @pytest.mark.parametrize("body", ["{broken", "a=b"])
    def test_a_stranger_s_body_is_not_even_read(self, client: Client, body: str) -> None:
        response = client.post("/api/v1/notes", body, content_type="application/json")
        problem(response, 401, "not_authenticated")
        response = client.post("/api/v1/notes", body, content_type="text/plain")
        problem(response, 401, "not_authenticated")

    @pytest.mark.parametrize("header", ["Bearer nonsense", "Bearer ", "bearer x.y.z"])
    def test_a_bad_token_is_401_with_the_reason(self, client: Client, header: str) -> None:
        response = client.get("/api/v1/notes", headers={"Authorization": header})
        problem(response, 401, "authentication_failed")
        assert 'error="invalid_token"' in response.headers["WWW-Authenticate"]

    def test_a_token_in_the_address_opens_nothing(
        self, client: Client, bearer: dict[str, str]
    ) -> None:
        token = bearer["Authorization"].split()[1]
        problem(client.get(f"/api/v1/notes?access_token={token}"), 401, "not_authenticated")

    def test_an_expired_token_is_401(self, client: Client, bearer: dict[str, str]) -> None:
        Token.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
        response = client.get("/api/v1/notes", headers=bearer)
        problem(response, 401, "authentication_failed")

    def test_a_revoked_token_is_401(self, client: Client, bearer: dict[str, str]) -> None:
        answer = client.post(
            "/identity/o/api/revoke",
            {"token": bearer["Authorization"].split()[1]},
            headers={"Authorization": _basic("cinebox", "open sesame")},
        )
        assert answer.status_code == 200
        problem(client.get("/api/v1/notes", headers=bearer), 401, "authentication_failed")

    def test_a_refresh_token_is_no_access_token(
        self, client: Client, bearer: dict[str, str]
    ) -> None:
        Token.objects.update(type=Token.Type.REFRESH_TOKEN)
        problem(client.get("/api/v1/notes", headers=bearer), 401, "authentication_failed")

    def test_a_locked_owner_opens_nothing(
        self, client: Client, bearer: dict[str, str], partner: Partner
    ) -> None:
        partner.service_user.is_active = False
        partner.service_user.save()
        problem(client.get("/api/v1/notes", headers=bearer), 401, "authentication_failed")

    def test_a_token_for_another_resource_opens_nothing(
        self, client: Client, bearer: dict[str, str]
    ) -> None:
        Token.objects.update(data={"resources": ["https://elsewhere.example/"]})
        problem(client.get("/api/v1/notes", headers=bearer), 403, "forbidden")

    def test_a_missing_scope_is_403_and_named(self, client: Client, api_client: ApiClient) -> None:
        token = ask_for_token(client, scope="usage:read").json()["access_token"]
        response = post(client, {"Authorization": f"Bearer {token}"}, {"words": "x"})
        assert "usage:write" in problem(response, 403, "forbidden")["detail"]
        assert response.headers["WWW-Authenticate"] == (
            'Bearer realm="api", error="insufficient_scope", scope="usage:write"'
        )
        assert not Event.objects.filter(kind="note").exists()

    def test_a_stopped_partner_is_403(
        self, client: Client, bearer: dict[str, str], partner: Partner
    ) -> None:
        Partner.objects.update(active=False)
        problem(post(client, bearer, {"words": "x"}), 403, "forbidden")
        assert not Event.objects.filter(kind="note").exists()

    def test_who_calls_costs_one_query(
        self, client: Client, bearer: dict[str, str], django_assert_num_queries: Any
    ) -> None:
        with django_assert_num_queries(2):  # the token with its owner, and the page
            client.get("/api/v1/notes", headers=bearer)


class TestProblems:
    def test_refusal_names_field_reason_and_facts(
        self, client: Client, bearer: dict[str, str]
    ) -> None:
        body = problem(post(client, bearer, {"words": "refuse"}), 409, "too_late")
        assert body["title"] == "It is too late"
        assert body["errors"] == [{"field": "words", "detail": "The shop is closed."}]
        assert body["opens_at"] == "2025-03-03T12:00Z"

    def test_bad_values_are_named_with_their_place(
        self, client: Client, bearer: dict[str, str]
    ) -> None:
        response = post(client, bearer, {"words": "x" * 21, "numbers": [1, "two"]})
        body = problem(response, 422, "invalid_input")
        assert {error["field"] for error in body["errors"]} == {"words", "numbers.1"}

    def test_a_body_that_is_no_object_is_422(self, client: Client, bearer: dict[str, str]) -> None:
        problem(post(client, bearer, [1, 2]), 422, "invalid_input")

    def test_malformed_json_is_400(self, client: Client, bearer: dict[str, str]) -> None:
        problem(post(client, bearer, "{broken"), 400, "parse_error")

    def test_another_media_type_is_415(self, client: Client, bearer: dict[str, str]) -> None:
        response = client.post(
            "/api/v1/notes", "a=b", content_type="text/plain",
            headers=bearer | {"Idempotency-Key": "k"},
        )  # fmt: skip
        problem(response, 415, "unsupported_media_type")

    def test_another_method_is_405_with_those_allowed(
        self, client: Client, bearer: dict[str, str]
    ) -> None:
        response = client.delete("/api/v1/notes", headers=bearer)
        problem(response, 405, "method_not_allowed")
        assert set(response.headers["Allow"].split(", ")) == {"GET", "POST", "HEAD", "OPTIONS"}

    def test_an_answer_that_we_do_not_make_is_406(
        self, client: Client, bearer: dict[str, str]
    ) -> None:
        response = client.get("/api/v1/notes", headers=bearer | {"Accept": "image/png"})
        problem(response, 406, "not_acceptable")

    @pytest.mark.parametrize("path", ["/api/v1/notes/7", "/api/v1/nowhere", "/api/", "/api/v2/x"])
    def test_what_is_not_there_is_404(
        self, client: Client, bearer: dict[str, str], path: str
    ) -> None:
        problem(client.get(path, headers=bearer), 404, "not_found")

    @pytest.mark.parametrize("method", ["get", "post", "put", "patch", "delete"])
    def test_an_unknown_address_is_404_for_every_method(self, client: Client, method: str) -> None:
        problem(getattr(client, method)("/api/v1/nowhere"), 404, "not_found")

    def test_our_own_fault_is_500_without_its_cause(
        self, client: Client, bearer: dict[str, str]
    ) -> None:
        client.raise_request_exception = False
        body = problem(post(client, bearer, {"words": "break"}), 500, "internal_error")
        assert "ZeroDivision" not in json.dumps(body)
        assert not Event.objects.filter(kind="note").exists()
        assert not IdempotentAnswer.objects.exists()


class TestRepeats:
    def test_the_same_request_gets_the_first_answer(
        self, client: Client, bearer: dict[str, str]
    ) -> None:
        first = post(client, bearer, {"words": "once", "numbers": [1]})
        again = post(client, bearer, {"numbers": [1], "words": "once"})
        assert (again.status_code, again.content) == (201, first.content)
        assert again.headers["Location"] == first.headers["Location"]
        assert again.headers["Idempotent-Replay"] == "true"
        assert "Idempotent-Replay" not in first.headers
        assert Event.objects.filter(kind="note").count() == 1

    @pytest.mark.parametrize("other", [{"words": "twice"}, {"words": "once", "numbers": []}])
    def test_another_body_is_409(
        self, client: Client, bearer: dict[str, str], other: dict[str, Any]
    ) -> None:
        first = post(client, bearer, {"words": "once"})
        problem(post(client, bearer, other), 409, "idempotency_key_reused")
        assert post(client, bearer, {"words": "once"}).content == first.content
        assert Event.objects.filter(kind="note").count() == 1

    @pytest.mark.parametrize("key", [None, "", "  ", "k" * 201])
    def test_a_key_is_needed(self, client: Client, bearer: dict[str, str], key: str | None) -> None:
        problem(post(client, bearer, {"words": "x"}, key), 400, "idempotency_key_missing")
        assert not Event.objects.filter(kind="note").exists()

    @pytest.mark.parametrize(("words", "status"), [("refuse", 409), ("answer 409", 409)])
    def test_a_refusal_changes_nothing_and_is_decided_anew(
        self, client: Client, bearer: dict[str, str], words: str, status: int
    ) -> None:
        for _ in range(2):
            assert post(client, bearer, {"words": words}).status_code == status
        assert not Event.objects.filter(kind="note").exists()
        assert not IdempotentAnswer.objects.exists()
        assert post(client, bearer, {"words": "fine"}).status_code == 201

    def test_keys_of_two_partners_are_apart(self, client: Client, bearer: dict[str, str]) -> None:
        post(client, bearer, {"words": "once"})
        other = partners.create_partner(code="other", name="Other", kind="bsp", at=timezone.now())
        partners.create_api_client(
            partner=other, name="o", scopes=["usage:write"], client_id="other", secret="s",
            at=timezone.now(),
        )  # fmt: skip
        token = client.post(
            "/identity/o/api/token",
            {"grant_type": "client_credentials"},
            headers={"Authorization": _basic("other", "s")},
        ).json()["access_token"]
        answer = post(client, {"Authorization": f"Bearer {token}"}, {"words": "twice"})
        assert (answer.status_code, answer.json()["by"]) == (201, "other")


class TestPages:
    @pytest.fixture
    def notes(self, db: None) -> None:
        for number in range(7):
            Event.objects.create(kind="note", subject=str(number), occurred_at=timezone.now())

    def test_pages_follow_each_other_newest_first(
        self, client: Client, bearer: dict[str, str], notes: None
    ) -> None:
        seen, address = [], "/api/v1/notes?limit=3"
        sizes = []
        while address:
            page = client.get(address, headers=bearer).json()
            sizes.append(len(page["items"]))
            seen += [note["words"] for note in page["items"]]
            address = page["next"]
        assert seen == ["6", "5", "4", "3", "2", "1", "0"]
        assert sizes == [3, 3, 1]

    def test_where_a_page_ends_does_not_tell_the_numbers_of_rows(
        self, client: Client, bearer: dict[str, str], notes: None
    ) -> None:
        following = client.get("/api/v1/notes?limit=3", headers=bearer).json()["next"]
        (cursor,) = parse_qs(urlsplit(following).query)["cursor"]
        last = Event.objects.order_by("-pk")[2].pk
        inside = b64decode(cursor, altchars=b"-_")
        assert str(last).encode() not in inside
        assert b64encode(f"p={last}".encode()).decode() not in cursor

    def test_what_is_written_meanwhile_shifts_no_page(
        self, client: Client, bearer: dict[str, str], notes: None
    ) -> None:
        page = client.get("/api/v1/notes?limit=3", headers=bearer).json()
        Event.objects.create(kind="note", subject="new", occurred_at=timezone.now())
        following = client.get(page["next"], headers=bearer).json()
        assert [note["words"] for note in following["items"]] == ["3", "2", "1"]

    def test_a_page_has_an_end(self, client: Client, bearer: dict[str, str], notes: None) -> None:
        page = client.get("/api/v1/notes?limit=100000", headers=bearer).json()
        assert len(page["items"]) == 7

    @pytest.mark.parametrize("path", ["/api/v1/notes", "/api/v1/accounts"])
    @pytest.mark.parametrize(
        "cursor",
        ["garbage", "cD1ub251bWJlcg==", "cD0nOyBEUk9QIFRBQkxFIHg7LS0=", "bz0xMDAwMDAwMDAwMDA=",
         "cD0xMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAw", "cj0xJnA9eA==", "cD0lMDA="],
    )  # fmt: skip
    def test_a_cursor_of_another_s_making_never_breaks(
        self, client: Client, bearer: dict[str, str], notes: None, path: str, cursor: str
    ) -> None:
        response = client.get(path, {"cursor": cursor}, headers=bearer)
        assert response.status_code in {200, 422}
        if response.status_code == 422:
            assert problem(response, 422, "invalid_input")["errors"][0]["field"] == "cursor"


class TestStrangers:
    def test_a_view_is_open_only_where_it_says_so_and_within_its_limit(
        self, client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cache.clear()
        assert client.get("/api/v1/notes").status_code == 401
        monkeypatch.setattr(
            Notes, "open_to_strangers", {"GET": Limit("notes", 1, 3_600)}, raising=False
        )
        assert client.get("/api/v1/notes").status_code == 200
        refused = client.get("/api/v1/notes")
        problem(refused, 429, "throttled")
        assert 0 < int(refused.headers["Retry-After"]) <= 3_601
        assert post(client, {}, {"words": "hello"}).status_code == 401
        wrong = client.get("/api/v1/notes", headers={"Authorization": "Bearer nonsense"})
        problem(wrong, 401, "authentication_failed")
