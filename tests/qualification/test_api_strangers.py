"""Figure 2: a visitor's program asks without a token, and learns nothing of anybody."""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from ispops.models import IdempotentAnswer
from ispops.parties import limits
from qualification import qualify
from qualification.api import AddressSuggestions, OneServiceQualification, ServiceQualifications
from qualification.models import Premises, ServiceQualification
from tests import factories
from tests.qualification.test_api import HERE, OAK, URL, bearer
from tests.small_isp import LAUNCH, SmallIsp, make_small_isp

SUGGESTIONS = "/api/v1/address_suggestions"

pytestmark = pytest.mark.django_db


@pytest.fixture
def isp() -> SmallIsp:
    return make_small_isp()


@pytest.fixture(autouse=True)
def _no_calls_counted_yet() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


def ask(web: Client, body: Any = OAK, key: str = "k1", **environment: str) -> Any:
    return web.post(
        URL, json.dumps(body), content_type="application/json",
        headers={"Idempotency-Key": key}, **environment,
    )  # fmt: skip


def problem(answer: Any, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.content
    assert answer["Content-Type"] == "application/problem+json"
    return answer.json()


def without_times(found: Any) -> Any:
    """The same, without the moments that differ from one question to the next."""
    if isinstance(found, list):
        return [without_times(entry) for entry in found]
    if isinstance(found, dict):
        return {
            name: without_times(value)
            for name, value in found.items()
            if not name.endswith(("_at", "_until"))
        }
    return found


def test_answer_is_the_same_as_everybodys_and_is_read_by_its_id(
    client: Client, isp: SmallIsp
) -> None:
    made = ask(client)
    assert made.status_code == 201
    body = made.json()
    assert body["channel"] == "client"
    assert ServiceQualification.objects.get().asker == ""
    assert client.get(made["Location"]).json() == body
    partners = client.post(
        URL, json.dumps(OAK), content_type="application/json",
        headers=bearer(isp.films) | {"Idempotency-Key": "k1"},
    ).json()  # fmt: skip
    assert without_times(partners)["offers"] == without_times(body)["offers"]


@pytest.mark.parametrize("body", [OAK, {"coordinates": HERE}, {"location_id": "77"}])
def test_every_way_to_ask_is_open_but_a_service(
    client: Client, isp: SmallIsp, body: dict[str, Any]
) -> None:
    Premises.objects.filter(pk=isp.oak_1.pk).update(location_id="77")
    assert ask(client, body).status_code == 201
    refused = problem(ask(client, {"service_id": "svc_" + "0" * 32}, "k2"), 404)
    assert refused["errors"][0]["field"] == "service_id"


def test_answers_of_logins_and_lists_of_answers_stay_closed(client: Client, isp: SmallIsp) -> None:
    own = bearer(isp.films)
    theirs = client.post(
        URL, json.dumps(OAK), content_type="application/json",
        headers=own | {"Idempotency-Key": "k1"},
    ).json()["href"]  # fmt: skip
    problem(client.get(theirs), 404)
    problem(client.get(URL), 401)
    problem(client.get(f"{URL}/qlf_{'0' * 32}"), 404)
    for asker in ("user_1", "waitlist"):
        answer = qualify.qualify_address(
            text=OAK["address"], channel="portal", asker=asker, at=timezone.now()
        )
        problem(client.get(f"{URL}/{answer.public_id}"), 404)
    mine = ask(client, key="k2")["Location"]
    assert client.get(mine).status_code == 200
    problem(client.get(mine, headers=own), 404)
    wrong = {"Authorization": "Bearer nonsense"}
    problem(client.get(mine, headers=wrong), 401)
    for method in (client.put, client.patch, client.delete):
        assert method(mine).status_code in (401, 405)


def test_repeat_gives_the_first_answer(client: Client, isp: SmallIsp) -> None:
    first, again = ask(client), ask(client)
    assert (again.status_code, again.content) == (201, first.content)
    assert again["Idempotent-Replay"] == "true"
    assert ServiceQualification.objects.count() == 1
    no_key = client.post(URL, json.dumps(OAK), content_type="application/json")
    assert problem(no_key, 400)["type"] == "/problems/idempotency_key_missing"


def test_keys_of_two_strangers_never_meet(client: Client, isp: SmallIsp) -> None:
    """Behind one address live many, and a key as simple as `1` comes to many minds."""
    mine = ask(client, key="1", REMOTE_ADDR="192.0.2.1")
    elsewhere = ask(client, key="1", REMOTE_ADDR="192.0.2.2")
    neighbour = ask(client, OAK | {"subscriber_kind": "business"}, "1", REMOTE_ADDR="192.0.2.1")
    assert [answer.status_code for answer in (mine, elsewhere, neighbour)] == [201] * 3
    assert len({answer.json()["id"] for answer in (mine, elsewhere, neighbour)}) == 3
    assert all("Idempotent-Replay" not in answer for answer in (elsewhere, neighbour))
    # A login's number is no stranger's name, and what is kept does not tell the address.
    kept = IdempotentAnswer.objects.values_list("caller", flat=True)
    assert all(caller.startswith("stranger:") and "192" not in caller[:12] for caller in kept)


def test_strangers_are_slowed_down_by_their_address_and_tokens_are_not(
    client: Client, isp: SmallIsp, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = {"POST": limits.Limit("qualify", amount=2, seconds=3_600)}
    monkeypatch.setattr(ServiceQualifications, "open_to_strangers", few)
    for number in range(2):
        assert ask(client, key=f"k{number}").status_code == 201
    refused = ask(client, key="k2")
    assert problem(refused, 429)["type"] == "/problems/throttled"
    assert 0 < int(refused["Retry-After"]) <= 3_601
    assert ServiceQualification.objects.count() == 2
    assert not IdempotentAnswer.objects.filter(key="k2").exists()
    assert ask(client, key="k3", REMOTE_ADDR="192.0.2.7").status_code == 201
    assert client.post("/", {"address": OAK["address"]}).status_code == 302, "another limit's span"
    own = bearer(isp.films)
    for number in range(4):
        answer = client.post(
            URL, json.dumps(OAK), content_type="application/json",
            headers=own | {"Idempotency-Key": f"p{number}"},
        )  # fmt: skip
        assert answer.status_code == 201


def test_one_ipv6_network_is_one_visitor(
    client: Client, isp: SmallIsp, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = {"POST": limits.Limit("qualify", amount=1, seconds=3_600)}
    monkeypatch.setattr(ServiceQualifications, "open_to_strangers", few)
    assert ask(client, REMOTE_ADDR="2001:db8::1").status_code == 201
    assert ask(client, key="k2", REMOTE_ADDR="2001:db8::ffff").status_code == 429
    assert ask(client, key="k3", REMOTE_ADDR="2001:db8:0:1::1").status_code == 201
    assert ask(client, key="k4", REMOTE_ADDR="::ffff:192.0.2.1").status_code == 201
    assert ask(client, key="k5", REMOTE_ADDR="::ffff:192.0.2.2").status_code == 201


@pytest.mark.parametrize(
    ("view", "url"),
    [(AddressSuggestions, f"{SUGGESTIONS}?text=1+Oak"), (OneServiceQualification, "")],
)
def test_reading_is_limited_too(
    client: Client, isp: SmallIsp, monkeypatch: pytest.MonkeyPatch, view: Any, url: str
) -> None:
    url = url or ask(client)["Location"]
    few = {"GET": limits.Limit("few", amount=1, seconds=3_600)}
    monkeypatch.setattr(view, "open_to_strangers", few)
    assert client.get(url).status_code == 200
    problem(client.get(url), 429)


def test_suggestions(client: Client, isp: SmallIsp) -> None:
    found = client.get(SUGGESTIONS, {"text": "1 oak"}).json()
    assert found == {
        "items": [{"text": "1 Oak Street, Barre, VT 05641", "premises_id": isp.oak_1.public_id}]
    }
    street = client.get(SUGGESTIONS, {"text": "oak"}).json()["items"]
    assert street == [{"text": "Oak Street, Barre, VT 05641", "premises_id": None}]
    assert client.get(SUGGESTIONS, {"text": "1 "}).json() == {"items": []}
    own = bearer(isp.films, "qualification:read")
    assert client.get(SUGGESTIONS, {"text": "1 oak"}, headers=own).json() == found
    other = bearer(isp.fibre, "orders:read")
    problem(client.get(SUGGESTIONS, {"text": "1 oak"}, headers=other), 403)


@pytest.mark.parametrize("query", ["", "?text=", "?text=%20", "?text=a%00b", f"?text={'x' * 301}"])
def test_suggestions_say_what_is_wrong(client: Client, query: str) -> None:
    assert problem(client.get(SUGGESTIONS + query), 422)["errors"][0]["field"] == "text"


def test_who_lives_there_changes_nothing_in_an_answer(client: Client, isp: SmallIsp) -> None:
    """Two houses of one street: the one with a subscriber, and the one without."""
    at = LAUNCH + timedelta(days=1)
    factories.address_server(at=at)
    ada = factories.subscriber(at=at)
    factories.live_line(isp, ada, isp.streaming.code, at=at)
    neighbour = Premises.objects.get(match_key__startswith="3 OAK ST, ")

    def told(place: Premises, key: str) -> str:
        answer = without_times(ask(client, {"address": str(place)}, key).json())
        text = json.dumps(answer | {"id": "", "href": ""})
        return text.replace(place.public_id, "ID").replace(str(place), "ADDRESS")

    assert told(isp.oak_1, "k1") == told(neighbour, "k2")
    page = [
        client.get(client.post("/", {"address": str(place)})["Location"]).content.decode()
        for place in (isp.oak_1, neighbour)
    ]
    for text in page:
        assert ada.name not in text
        assert "svc_" not in text
    assert page[0].count("<li") == page[1].count("<li")


def test_who_asked_before_for_an_unlisted_address_changes_nothing(
    client: Client, isp: SmallIsp
) -> None:
    """Two unlisted houses as far from the next: one with a subscriber, one never asked for."""
    at = LAUNCH + timedelta(days=1)
    factories.address_server(at=at)
    made_up = qualify.qualify_address(text="7 Oak Street, Barre, VT 05641", channel="csr", at=at)
    assert made_up.premises.source == Premises.Source.ASKED
    factories.order(factories.subscriber(at=at), made_up.premises, isp.fast.code, at=at)
    factories.work(at=at)

    def told(number: int, key: str) -> tuple[str, str]:
        answer = without_times(
            ask(client, {"address": f"{number} Oak Street, Barre, VT 05641"}, key).json()
        )
        place = answer["premises"]["id"]
        text = json.dumps(answer | {"id": "", "href": ""})
        return place, text.replace(place, "ID").replace(f"{number} Oak", "N Oak")

    (first, one), (second, other) = told(7, "k1"), told(9, "k2")
    assert first == made_up.premises.public_id
    assert one == other
    # The ids of the places do not tell when they were made.
    assert {Premises.key_of(place).version for place in (first, second)} == {4}  # type: ignore[union-attr]


_words = some.sampled_from(
    ["1", "12", "1-5", "#2", "Apt", "Oak", "Oka", "Street", "St", "E", "Barre", "VT", "Vermont",
     "05641", "05641-1234", ",", "\n", "PO Box", "1/2", "%", "Elm", "USA", "'", "é"]
)  # fmt: skip
_places = some.one_of(
    some.lists(_words, max_size=12).map(" ".join),
    some.text(max_size=350),
    some.fixed_dictionaries({}, optional={
        "latitude": some.one_of(some.floats(), some.text(), some.none(), some.booleans()),
        "longitude": some.one_of(some.floats(), some.integers(), some.lists(some.integers())),
    }),
    some.integers(),
    some.none(),
    some.lists(some.text(), max_size=2),
)  # fmt: skip
_ways = ("address", "premises_id", "location_id", "coordinates", "service_id")
_options = dict.fromkeys(_ways, _places) | {
    "as_written": some.one_of(some.booleans(), some.text()),
    "subscriber_kind": some.text(),
}
_bodies = some.one_of(some.fixed_dictionaries({}, optional=_options), _places)


@pytest.mark.timeout(300)
def test_whatever_is_sent_is_answered_or_refused(
    client: Client, isp: SmallIsp, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = {"POST": limits.Limit("fuzz", amount=10**9, seconds=60)}
    monkeypatch.setattr(ServiceQualifications, "open_to_strangers", many)
    keys = iter(range(10**9))

    @given(_bodies)
    @settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
    def send(body: Any) -> None:
        before = ServiceQualification.objects.count()
        answer = ask(client, body, f"fuzz-{next(keys)}")
        assert answer.status_code in {201, 400, 404, 422}, answer.content
        if answer.status_code != 201:
            assert problem(answer, answer.status_code)["detail"]
            assert ServiceQualification.objects.count() == before

    send()


@pytest.mark.timeout(300)
def test_whatever_is_typed_is_completed_or_refused(
    client: Client, isp: SmallIsp, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = {"GET": limits.Limit("fuzz", amount=10**9, seconds=60)}
    monkeypatch.setattr(AddressSuggestions, "open_to_strangers", many)

    @given(some.text(max_size=310))
    @settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
    def send(text: str) -> None:
        answer = client.get(SUGGESTIONS, {"text": text.encode("utf-8", "replace").decode()})
        assert answer.status_code in {200, 422}, answer.content

    send()
