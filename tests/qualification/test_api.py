"""Service qualifications over REST: the owner, a stranger, nobody, and bad requests."""

import json
from datetime import timedelta
from typing import Any

import pytest
from allauth.idp.oidc.models import Client as ApiClient
from allauth.idp.oidc.models import Token
from django.test import Client
from django.utils import timezone

from ispops.parties import accounts, partners
from ispops.parties.models import Partner, User
from provisioning.models import ServiceOrder
from qualification import qualify
from qualification.models import Premises, ServiceQualification
from tests import factories
from tests.small_isp import ELM_POINT, LAUNCH, OAK_POINT, SmallIsp, make_small_isp

pytestmark = pytest.mark.django_db
URL = "/api/v1/service_qualifications"
OAK = {"address": "1 Oak Street, Barre, VT 05641"}
HERE = {"latitude": OAK_POINT[0], "longitude": OAK_POINT[1]}
BOTH = ("qualification:read", "qualification:write")


@pytest.fixture
def isp() -> SmallIsp:
    return make_small_isp()


def bearer(partner: Partner, *scopes: str) -> dict[str, str]:
    client, _ = partners.create_api_client(
        partner=partner, name="Program", scopes=scopes or BOTH, at=timezone.now()
    )
    return token_of(client, None, *(scopes or BOTH))


def token_of(client: ApiClient, user: User | None, *scopes: str) -> dict[str, str]:
    value = f"token-{client.id}-{user}"
    token = Token(client=client, user=user, type=Token.Type.ACCESS_TOKEN)
    token.set_scopes(list(scopes))
    token.set_value(value)
    token.save()
    return {"Authorization": f"Bearer {value}"}


def ask(web: Client, who: dict[str, str], body: Any = OAK, key: str = "k1") -> Any:
    return web.post(
        URL, json.dumps(body), content_type="application/json",
        headers=who | {"Idempotency-Key": key},
    )  # fmt: skip


def test_partner_gets_the_whole_answer(client: Client, isp: SmallIsp) -> None:
    answer = ask(client, bearer(isp.films))
    assert answer.status_code == 201, answer.content
    body = answer.json()
    assert answer["Location"] == body["href"] == f"{URL}/{body['id']}"
    assert body["premises"] == {
        "id": isp.oak_1.public_id, "address": "1 Oak Street, Barre, VT 05641",
        "location_id": None,
    }  # fmt: skip
    assert (body["state"], body["channel"], body["confidence"]) == ("qualified", "partner", "green")
    offers = {offer["offering"]: offer for offer in body["offers"]}
    assert offers["fibre-500"] == {
        "offering": "fibre-500", "name": "Fibre 500", "kind": "access", "provider": "fast-fibre",
        "provider_name": "Fast Fibre", "eligible": True, "confidence": "yellow",
        "guaranteed_until": body["expires_at"], "reason_code": "", "reason": "",
        "alternative": None, "planned_date": None, "low_latency": True, "technology": 50,
        "technology_name": "Fiber", "download_kbps": 500_000, "upload_kbps": 500_000,
        "install_days": 5, "currency": "USD", "one_off_amount": "49.000000",
        "recurring_amount": "60.000000", "construction_fee": "0.000000",
        "usage_terms": "1 TB included, then USD 10.00 for each started 50 GB",
        "is_subscription": False,
        "includes": [],
    }  # fmt: skip
    office = offers["fibre-office"]
    assert office["reason"] == "It is for businesses only."
    assert (office["alternative"], office["guaranteed_until"]) == ("fibre-500", None)
    stored = ServiceQualification.objects.get()
    assert (stored.asker, stored.public_id) == ("partner_films", body["id"])


def test_owner_reads_its_answers_and_a_stranger_does_not(client: Client, isp: SmallIsp) -> None:
    own, other = bearer(isp.films), bearer(isp.fibre)
    made = ask(client, own).json()
    ask(client, own, {"address": "1 Alpine Road, Stowe, VT 05672"}, "k2")
    qualify.qualify_address(text=OAK["address"], channel="portal", at=timezone.now())
    assert client.get(made["href"], headers=own).json() == made
    assert client.get(made["href"], headers=other).status_code == 404
    listed = client.get(URL, headers=own).json()
    assert [entry["state"] for entry in listed["items"]] == ["not_qualified", "qualified"]
    assert "offers" not in listed["items"][0]
    filtered = client.get(f"{URL}?state=qualified", headers=own).json()
    assert [entry["id"] for entry in filtered["items"]] == [made["id"]]
    assert client.get(URL, headers=other).json() == {"items": [], "next": None}


def test_candidate_is_chosen_by_its_id(client: Client, isp: SmallIsp) -> None:
    own = bearer(isp.films)
    first = ask(client, own, {"address": "5 Oak Street, Barre, VT 05641"}).json()
    assert (first["state"], first["premises"], first["offers"]) == ("choose", None, [])
    chosen = ask(client, own, {"premises_id": first["candidates"][1]["id"]}, "k2").json()
    assert (chosen["state"], chosen["premises"]["address"]) == (
        "qualified", "5 Oak Street #2, Barre, VT 05641",
    )  # fmt: skip


def test_coordinates_name_a_place_or_those_around(client: Client, isp: SmallIsp) -> None:
    own = bearer(isp.films)
    point = {"latitude": ELM_POINT[0], "longitude": ELM_POINT[1]}
    body = ask(client, own, {"coordinates": point}).json()
    assert (body["premises"]["id"], body["coordinates"]) == (isp.elm_1.public_id, point)
    assert body["address"] == f"{ELM_POINT[0]:.6f}, {ELM_POINT[1]:.6f}"
    several = ask(client, own, {"coordinates": HERE}, "k2").json()
    assert (several["state"], several["coordinates"]) == ("choose", HERE)
    assert [entry["distance_m"] for entry in several["candidates"]] == [0] * 4
    assert ask(client, own, OAK, "k3").json()["coordinates"] is None


def test_location_id_names_a_place(client: Client, isp: SmallIsp) -> None:
    Premises.objects.filter(pk=isp.oak_1.pk).update(location_id="1037392925")
    body = ask(client, bearer(isp.films), {"location_id": " 1037392925 "}).json()
    assert (body["premises"]["id"], body["premises"]["location_id"]) == (
        isp.oak_1.public_id, "1037392925",
    )  # fmt: skip
    assert (body["address"], body["state"]) == ("Location 1037392925", "qualified")


def test_misspelt_address_may_be_insisted_on(client: Client, isp: SmallIsp) -> None:
    own, wrong = bearer(isp.films), {"address": "1 Oat Street, Barre, VT 05641"}
    assert ask(client, own, wrong).json()["state"] == "choose"
    body = ask(client, own, wrong | {"as_written": True}, "k2").json()
    assert (body["state"], body["confidence"]) == ("qualified", "yellow")


def test_service_names_its_place_to_its_own_only(client: Client, isp: SmallIsp) -> None:
    at = LAUNCH + timedelta(days=1)
    factories.address_server(at=at)
    ada, eve = (factories.subscriber(at=at) for _ in range(2))
    line = factories.live_line(isp, ada, isp.streaming.code, at=at)
    carried = line.carried.get()
    program, _ = partners.create_api_client(
        partner=isp.films, name="Device", scopes=BOTH, at=timezone.now()
    )
    callers = {
        "ada": token_of(program, ada.users.get(), *BOTH),
        "eve": token_of(program, eve.users.get(), *BOTH),
        "fibre": bearer(isp.fibre),
        "copper": bearer(isp.copper),
        "films": bearer(isp.films),
        "nobody": {},
    }

    def who_may(service_id: str) -> set[str]:
        answers = {
            name: ask(client, who, {"service_id": service_id}, service_id + name)
            for name, who in callers.items()
        }
        assert {answer.status_code for answer in answers.values()} == {201, 404}
        for answer in answers.values():
            if answer.status_code == 201:
                assert answer.json()["premises"]["id"] == isp.oak_1.public_id
        return {name for name, answer in answers.items() if answer.status_code == 201}

    lines = ServiceOrder.objects.filter(kind="line", service=line)
    assert who_may(line.public_id) == {"ada"} | ({"fibre"} if lines.exists() else set())
    # Who delivers a product is not told where it is used.
    assert who_may(carried.public_id) == {"ada"}


def test_program_of_a_subscriber_has_answers_of_its_own(client: Client, isp: SmallIsp) -> None:
    ada = accounts.create_login(
        email="ada@example.com", password="lovelace-1843", name="Ada", email_is_verified=True,
        at=timezone.now(),
    )  # fmt: skip
    program, _ = partners.create_api_client(
        partner=isp.films, name="Device", scopes=BOTH, at=timezone.now()
    )
    body = ask(client, token_of(program, ada, *BOTH)).json()
    assert body["channel"] == "client"
    assert ServiceQualification.objects.get().asker == f"user_{ada.pk}"
    assert client.get(body["href"], headers=bearer(isp.films)).status_code == 404


def test_repeat_gives_the_first_answer_and_another_body_is_refused(
    client: Client, isp: SmallIsp
) -> None:
    own = bearer(isp.films)
    first, again = ask(client, own), ask(client, own)
    assert (again.status_code, again.json()) == (201, first.json())
    assert again["Idempotent-Replay"] == "true"
    assert ask(client, own, OAK | {"subscriber_kind": "business"}).status_code == 409
    assert ServiceQualification.objects.count() == 1
    assert client.post(
        URL, json.dumps(OAK), content_type="application/json", headers=own
    ).status_code == 400  # fmt: skip


def test_nobody_and_the_wrong_scope_get_nothing(client: Client, isp: SmallIsp) -> None:
    assert client.get(URL).status_code == 401
    assert ask(client, {"Authorization": "Bearer nonsense"}).status_code == 401
    reader = bearer(isp.films, "qualification:read")
    assert ask(client, reader).status_code == 403
    assert client.get(URL, headers=reader).status_code == 200
    other_area = bearer(isp.fibre, "orders:read", "orders:write")
    assert client.get(URL, headers=other_area).status_code == 403
    assert not ServiceQualification.objects.exists()


def test_partner_that_was_stopped_gets_nothing(client: Client, isp: SmallIsp) -> None:
    own = bearer(isp.films)
    Partner.objects.filter(pk=isp.films.pk).update(active=False)
    assert ask(client, own).status_code == 403
    assert client.get(URL, headers=own).status_code == 403


@pytest.mark.parametrize("method", ["put", "patch", "delete"])
def test_answers_are_not_changed_over_rest(client: Client, isp: SmallIsp, method: str) -> None:
    own = bearer(isp.films)
    href = ask(client, own).json()["href"]
    for url in (URL, href):
        answer = getattr(client, method)(url, headers=own | {"Idempotency-Key": "k9"})
        assert answer.status_code == 405


@pytest.mark.parametrize(
    ("body", "field", "words"),
    [
        ({"address": ""}, "address", "Enter an address"),
        ({"address": "1 Oak Street"}, "address", "lacks the city"),
        ({"address": "x" * 10_000}, "address", "10,000 characters"),
        ({"address": "9" * 200 + " Oak Street, Barre, VT 05641"}, "address", "longer than any"),
        ({"address": f"77 Oak Street Apt {'9' * 60}, Barre, VT 05641"}, "address", "longer than"),
        ({"address": "PO Box 1, Barre, VT 05641"}, "address", "PO box"),
        ({"address": "улица Ленина 1"}, "address", "Latin letters"),
        ({"address": " \t\n"}, "address", "Enter an address"),
        ({"address": "Oak Street, Barre, VT 05641"}, "address", "lacks the street number"),
        ({"address": "1 Oak Street\x07, Barre, VT 05641"}, "address", "control characters"),
        ({"address": None}, "address", "may not be null"),
        ({"address": ["1 Oak Street"]}, "address", "Not a valid string"),
        ({}, "address", "exactly one of address, premises_id"),
        (OAK | {"premises_id": "prm_1"}, "premises_id", "exactly one"),
        (OAK | {"coordinates": HERE}, "coordinates", "exactly one"),
        ({"location_id": "1", "service_id": "svc_1"}, "service_id", "exactly one"),
        ({"coordinates": HERE | {"latitude": 91}}, "coordinates.latitude", "from -90 to 90"),
        ({"coordinates": HERE | {"latitude": "44.2"}}, "coordinates.latitude", "in degrees"),
        ({"coordinates": HERE | {"latitude": True}}, "coordinates.latitude", "in degrees"),
        ({"coordinates": HERE | {"longitude": -180.1}}, "coordinates.longitude", "-180 to 180"),
        ({"coordinates": HERE | {"longitude": 10**400}}, "coordinates.longitude", "in degrees"),
        ({"coordinates": HERE | {"longitude": None}}, "coordinates.longitude", "null"),
        ({"coordinates": {"latitude": 44.2}}, "coordinates.longitude", "required"),
        ({"coordinates": [44.2, -72.5]}, "coordinates", "Expected a dictionary"),
        ({"premises_id": "x" * 41}, "premises_id", "40 characters"),
        ({"location_id": "1\x00"}, "location_id", "Null characters"),
        (OAK | {"as_written": "perhaps"}, "as_written", "valid boolean"),
        (OAK | {"subscriber_kind": "robot"}, "subscriber_kind", "not a valid choice"),
        ({"address": {"street": 1}}, "address", "Not a valid string"),
        ([1, 2], "", "Invalid data"),
    ],
)
def test_bad_input_names_the_field(
    client: Client, isp: SmallIsp, body: Any, field: str, words: str
) -> None:
    answer = ask(client, bearer(isp.films), body)
    assert answer.status_code == 422, answer.content
    assert answer["Content-Type"] == "application/problem+json"
    errors = answer.json()["errors"]
    assert any(words in error["detail"] for error in errors), errors
    assert not field or errors[0]["field"] == field
    assert not ServiceQualification.objects.exists()


def test_control_characters_are_refused_and_not_stored(client: Client, isp: SmallIsp) -> None:
    answer = ask(client, bearer(isp.films), {"address": "1 Oak \x00 Street, Barre, VT 05641"})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "address"


def test_unknown_things_are_not_found(client: Client, isp: SmallIsp) -> None:
    own = bearer(isp.films)
    for unknown in (
        {"premises_id": "prm_" + "0" * 32},
        {"premises_id": "1 Oak Street"},
        {"location_id": "1037392925"},
        {"location_id": "улица"},
        {"service_id": "svc_" + "0" * 32},
    ):
        answer = ask(client, own, unknown)
        assert answer.status_code == 404
        assert answer.json()["errors"][0]["field"] == next(iter(unknown))
    assert not ServiceQualification.objects.exists()
    for name in ("qlf_" + "0" * 32, "ord_" + "0" * 32, "x", "%00"):
        assert client.get(f"{URL}/{name}", headers=own).status_code == 404
    assert client.get(f"{URL}?state=happy", headers=own).status_code == 422
