"""Joining the waitlist over REST: the owner, a stranger, nobody, and bad requests."""

import json
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from ispops.parties import limits
from ispops.parties.models import Partner
from qualification import qualify
from qualification.models import ServiceQualification, WaitlistEntry
from tests.qualification.test_api import bearer
from tests.qualification.waiting import STOWE
from tests.small_isp import SmallIsp, make_small_isp

pytestmark = pytest.mark.django_db
URL = "/api/v1/waitlist_entries"


@pytest.fixture
def isp() -> SmallIsp:
    return make_small_isp()


@pytest.fixture(autouse=True)
def _empty_cache() -> None:
    from django.core.cache import cache

    cache.clear()


def answer_of(asker: str = "", text: str = STOWE) -> ServiceQualification:
    return qualify.qualify_address(text=text, channel="client", asker=asker, at=timezone.now())


def join(web: Client, answer: str, who: dict[str, str] | None = None, **body: Any) -> Any:
    key = str(body.pop("key", f"key-{len(body)}-{body}-{answer}"))[:200].replace("\n", " ")
    asked = {"qualification": answer, "email": "eve@example.com", "consent": True} | body
    return web.post(
        URL, json.dumps(asked), content_type="application/json",
        headers=(who or {}) | {"Idempotency-Key": "".join(filter(str.isascii, key))},
    )  # fmt: skip


def test_a_visitors_program_joins_without_a_token(client: Client, isp: SmallIsp) -> None:
    answer = answer_of()
    joined = join(client, answer.public_id, name="Eve")
    assert joined.status_code == 201, joined.content
    assert joined.json() == {
        "qualification": answer.public_id,
        "place": "1 Alpine Road, Stowe, VT 05672",
        "email": "eve@example.com",
    }
    entry = WaitlistEntry.objects.get()
    assert (entry.name, entry.channel, entry.qualification) == ("Eve", "client", answer)
    assert entry.consent_version


def test_the_answer_does_not_tell_who_is_on_the_list(client: Client, isp: SmallIsp) -> None:
    answer = answer_of().public_id
    first = join(client, answer, key="k1")
    again = join(client, answer, key="k2")
    assert (first.status_code, first.content) == (again.status_code, again.content)
    assert WaitlistEntry.objects.count() == 1


def test_a_partner_joins_for_its_own_answers_alone(client: Client, isp: SmallIsp) -> None:
    own, other = bearer(isp.films), bearer(isp.fibre)
    answer = answer_of("partner_films").public_id
    assert join(client, answer, own).status_code == 201
    assert WaitlistEntry.objects.get().channel == "partner"
    for who in (other, {}):
        refused = join(client, answer, who, email="mallory@example.com")
        assert refused.status_code == 404
        assert refused.json()["errors"][0]["field"] == "qualification"
    assert join(client, answer_of().public_id, own).status_code == 404
    assert WaitlistEntry.objects.count() == 1


def test_the_token_needs_the_scope_and_an_active_partner(client: Client, isp: SmallIsp) -> None:
    answer = answer_of("partner_films").public_id
    reader = bearer(isp.films, "qualification:read")
    assert join(client, answer, reader).status_code == 403
    own = bearer(isp.films)
    Partner.objects.filter(pk=isp.films.pk).update(active=False)
    assert join(client, answer, own).status_code == 403
    assert join(client, answer, {"Authorization": "Bearer nonsense"}).status_code == 401
    assert not WaitlistEntry.objects.exists()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"email": "nobody"}, "email"),
        ({"email": "a@example.com\r\nBcc: all@example.com"}, "email"),
        ({"email": "x" * 300}, "email"),
        ({"email": "a\x00@example.com"}, "email"),
        ({"email": ["a@example.com"]}, "email"),
        ({"name": "x" * 201}, "name"),
        ({"name": "Eve\nBcc: all@example.com"}, "name"),
        ({"name": "E\x00ve"}, "name"),
        ({"consent": False}, "consent"),
        ({"consent": None}, "consent"),
        ({"qualification": "x" * 41}, "qualification"),
    ],
)
def test_bad_input_names_the_field_and_stores_nothing(
    client: Client, isp: SmallIsp, body: dict[str, Any], field: str
) -> None:
    refused = join(client, answer_of().public_id, key="k", **body)
    assert refused.status_code == 422, refused.content
    assert refused.json()["errors"][0]["field"] == field
    assert not WaitlistEntry.objects.exists()


@pytest.mark.parametrize("name", ["qlf_" + "0" * 32, "ord_" + "0" * 32, "x", ""])
def test_unknown_answers_are_not_found(client: Client, isp: SmallIsp, name: str) -> None:
    assert join(client, name, key="k").status_code in {404, 422}
    assert not WaitlistEntry.objects.exists()


def test_a_place_must_be_chosen_first(client: Client, isp: SmallIsp) -> None:
    refused = join(client, answer_of(text="5 Oak Street, Barre, VT 05641").public_id)
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["field"] == "qualification"


def test_nobody_fills_the_list_by_the_thousand(
    client: Client, isp: SmallIsp, monkeypatch: pytest.MonkeyPatch
) -> None:
    from qualification import waitlist_api

    few = limits.Limit("waitlist", amount=2, seconds=3600)
    monkeypatch.setattr(waitlist_api.WaitlistEntries, "open_to_strangers", {"POST": few})
    answer = answer_of().public_id
    codes = [join(client, answer, key=str(n), email=f"p{n}@example.com").status_code
             for n in range(3)]  # fmt: skip
    assert codes == [201, 201, 429]
    assert WaitlistEntry.objects.count() == 2


@pytest.mark.parametrize("method", ["get", "put", "patch", "delete"])
def test_the_list_is_not_read_or_changed_over_rest(
    client: Client, isp: SmallIsp, method: str
) -> None:
    own = bearer(isp.films)
    assert getattr(client, method)(URL, headers=own).status_code == 405
    assert getattr(client, method)(URL).status_code in {401, 405}
