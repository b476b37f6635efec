"""Figure 5 over REST: a login registers and orders by a program; owners, teammates, outsiders."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from allauth.idp.oidc.adapter import get_adapter
from allauth.idp.oidc.models import Client as ApiClient
from allauth.idp.oidc.models import Token
from django.test import Client
from django.utils import timezone

from ispops.parties import accounts, terms
from ispops.parties.models import Partner, Subscriber, User
from ispops.parties.programs import CLIENT_SOFTWARE
from provisioning.models import ProductOrder, Registration, Service
from tests import factories
from tests.small_isp import SmallIsp

pytestmark = pytest.mark.django_db
API = "/api/v1"
SCOPES = ("registration:read", "registration:write", "orders:read")
MakeToken = Callable[..., dict[str, str]]


@pytest.fixture
def now() -> datetime:
    """The API takes the time from the clock."""
    return timezone.now()


@pytest.fixture
def token(db: None, now: datetime) -> MakeToken:
    """Make the header of a login's token, or of a partner's program."""

    def made(owner: User | Partner, *scopes: str) -> dict[str, str]:
        value = f"token-{Token.objects.count()}"
        row = Token(
            type=Token.Type.ACCESS_TOKEN,
            client=ApiClient.objects.get(pk=CLIENT_SOFTWARE),
            user=owner if isinstance(owner, User) else owner.service_user,
            hash=get_adapter().hash_token(value),
            created_at=now,
            expires_at=now + timedelta(hours=1),
        )
        row.set_scopes(list(scopes))
        row.save()
        return {"Authorization": f"Bearer {value}"}

    return made


@pytest.fixture
def nora(isp: SmallIsp, now: datetime) -> User:
    return factories.login(at=now, email="nora@example.com", name="Nora New")


@pytest.fixture
def body(isp: SmallIsp, now: datetime) -> dict[str, Any]:
    return {
        "qualification": factories.qualified(isp.oak_1, at=now).public_id,
        "offering_codes": ["films-streaming", "fibre-500"],
        "name": "Nora New",
        "payment_kind": "invoice",
        "terms_version": terms.FIRST_VERSION,
    }


def register(client: Client, who: dict[str, str], body: dict[str, Any], key: str = "k1") -> Any:
    return client.post(
        f"{API}/registrations",
        body,
        content_type="application/json",
        headers=who | {"Idempotency-Key": key},
    )


def test_an_account_and_an_order_come_of_one_call(
    client: Client,
    nora: User,
    token: MakeToken,
    body: dict[str, Any],
) -> None:
    who = token(nora, *SCOPES)
    assert client.get(f"{API}/accounts", headers=who).json() == []
    made = register(client, who, body)
    assert made.status_code == 201, made.content
    told = made.json()
    assert told["offering_codes"] == ["fibre-500", "films-streaming"]
    order = ProductOrder.objects.get()
    assert (order.channel, told["order"]) == ("client", order.public_id)
    assert client.get(told["order_href"], headers=who).json()["state"] == "acknowledged"
    assert client.get(made["Location"], headers=who).json() == told
    accepted = order.subscriber.terms_acceptances.get()
    assert (accepted.channel, accepted.user, accepted.ip) == ("client", nora, "127.0.0.1")
    (account,) = client.get(f"{API}/accounts", headers=who).json()
    assert (account["pays_by"], account["terms_to_accept"]) == ("Invoice by e-mail", None)

    again = register(client, who, body)
    assert (again.json(), again["Idempotent-Replay"]) == (told, "true")
    assert register(client, who, body | {"name": "Other"}).status_code == 409
    assert Registration.objects.count() == ProductOrder.objects.count() == 1


def test_a_teammate_sees_the_order_and_a_stranger_nothing(
    client: Client,
    nora: User,
    token: MakeToken,
    body: dict[str, Any],
    now: datetime,
) -> None:
    made = register(client, token(nora, *SCOPES), body).json()
    mate, stranger = factories.login(at=now), factories.login(at=now)
    accounts.link_login(subscriber=Subscriber.objects.get(), user=mate, at=now)
    for user, orders, registrations in ((mate, 200, 404), (stranger, 404, 404)):
        who = token(user, *SCOPES)
        assert client.get(made["order_href"], headers=who).status_code == orders
        found = client.get(f"{API}/registrations/{made['id']}", headers=who)
        assert found.status_code == registrations
    assert client.get(f"{API}/registrations/{made['id']}").status_code == 401


@pytest.mark.parametrize(
    ("wrong", "status", "field"),
    [
        ({"name": ""}, 422, "name"),
        ({"payment_kind": ""}, 422, "payment_kind"),
        ({"payment_kind": "gold"}, 422, "payment_kind"),
        ({"payment_kind": "card"}, 422, "payment_kind"),
        ({"qualification": "qlf_x"}, 422, "qualification"),
        ({"offering_codes": []}, 422, "offering_codes"),
        ({"offering_codes": ["films-streaming"]}, 422, "offering_codes"),
        ({"offering_codes": ["fibre-500", "dsl-25"]}, 422, "offering_codes"),
        ({"offering_codes": ["fibre-500", "nothing"]}, 422, "offering_codes"),
        ({"terms_version": "2019-01"}, 409, "terms_version"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_left(
    client: Client, nora: User, token: MakeToken, body: dict[str, Any], wrong: dict[str, Any],
    status: int, field: str,
) -> None:  # fmt: skip
    refused = register(client, token(nora, *SCOPES), body | wrong)
    assert refused.status_code == status, refused.content
    assert refused.json()["errors"][0]["field"].startswith(field)
    assert not Subscriber.objects.exists()
    assert not Registration.objects.exists()


def test_what_is_there_already_is_asked_about(
    client: Client, isp: SmallIsp, nora: User, token: MakeToken, body: dict[str, Any], now: datetime
) -> None:  # fmt: skip
    ada = factories.subscriber(at=now)
    factories.live_line(isp, ada, at=now)
    who = token(nora, *SCOPES)
    refused = register(client, who, body).json()
    assert refused["type"] == "/problems/premises_served"
    assert ada.name not in str(refused)
    known = body | {"name": ada.name, "premises_answer": "moving_in"}
    assert register(client, who, known).json()["type"] == "/problems/person_known"
    assert register(client, who, known | {"is_another_person": True}).status_code == 201
    assert Service.objects.filter(line=None).count() == 2


def test_who_may_call(client: Client, nora: User, token: MakeToken, isp: SmallIsp) -> None:
    partner: Partner = isp.films
    for who, status in (
        ({}, 401),
        (token(nora, "orders:write"), 403),
        (token(partner, "registration:write"), 403),
    ):
        assert register(client, who, {}).status_code == status
    for path in ("terms", "payment_kinds"):
        assert client.get(f"{API}/{path}").status_code == 200
    told = client.get(f"{API}/terms").json()
    assert told["version"] == terms.FIRST_VERSION
    assert "## Leaving" in told["text"]
    kinds = client.get(f"{API}/payment_kinds").json()
    assert [each["kind"] for each in kinds] == ["invoice", "bank_transfer"]
