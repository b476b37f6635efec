"""Partners and their programs, and the addresses to which nothing may be sent."""

from datetime import UTC, datetime

import pytest
from allauth.idp.oidc.models import Client
from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from pytest_django import Settings

from ispops.errors import InvalidInput
from ispops.parties import partners, roles
from ispops.parties.destinations import DestinationRefused
from ispops.parties.models import AuditEntry, Partner, User
from ispops.parties.programs import CLIENT_SOFTWARE

NOW = datetime(2025, 3, 3, 12, 0, tzinfo=UTC)
pytestmark = pytest.mark.django_db


def partners_clients() -> QuerySet[Client]:
    """All programs but the ISP's own, which every installation knows."""
    return Client.objects.exclude(pk=CLIENT_SOFTWARE)


def make(**changes: object) -> Partner:
    given = {"code": "cinebox", "name": "Cinebox", "kind": "bsp", "at": NOW}
    return partners.create_partner(**{**given, **changes})


def test_partner_has_a_login_and_a_secret() -> None:
    partner = make()
    kept = Partner.objects.get()
    assert kept == partner
    assert kept.webhook_secret.startswith("whsec_")
    assert kept.service_user.email == "cinebox@partners.invalid"
    assert not kept.service_user.has_usable_password()
    assert [group.name for group in kept.service_user.groups.all()] == [roles.PARTNER]
    assert AuditEntry.objects.get().action == "partner.created"


def test_secret_is_encrypted_in_the_database() -> None:
    partner = make()
    stored = Partner.objects.extra(select={"raw": "webhook_secret || ''"}).get().raw
    assert partner.webhook_secret not in stored


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"code": "not a slug"}, "code"),
        ({"name": ""}, "name"),
        ({"kind": "pirate"}, "kind"),
        ({"is_on_net": True}, "is_on_net"),
        ({"contact_email": "nobody"}, "contact_email"),
        ({"webhook_url": "https://"}, "webhook_url"),
        ({"webhook_url": "https://[bad"}, "webhook_url"),
    ],
)
def test_bad_values_are_refused_by_field(changes: dict, field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        make(**changes)
    assert refused.value.field == field
    assert not Partner.objects.exists()
    assert not User.objects.exists()


def test_a_code_is_given_once() -> None:
    make()
    with pytest.raises(partners.PartnerCodeTaken):
        make(name="Another")
    assert Partner.objects.count() == 1


@pytest.mark.parametrize(
    "url",
    [
        "http://partner.example/hooks",
        "ftp://partner.example/hooks",
        "https://user@partner.example/",
        "https://user:secret@partner.example/",
        "https://localhost/",
        "https://127.0.0.1/",
        "https://10.1.2.3/",
        "https://192.168.0.1:8443/",
        "https://169.254.169.254/latest/meta-data/",
        "https://100.64.0.1/",
        "https://224.0.0.1/",
        "https://[::1]/",
        "https://[fd00::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://[::127.0.0.1]/",
        "https://[64:ff9b::a9fe:a9fe]/",
        "https://[2002:7f00:1::]/",
        "https://[fec0::1]/",
    ],
)
def test_webhooks_do_not_go_into_our_own_network(settings: Settings, url: str) -> None:
    settings.WEBHOOKS_MAY_STAY_LOCAL = False
    with pytest.raises(DestinationRefused) as refused:
        make(webhook_url=url)
    assert refused.value.field == "webhook_url"


@pytest.mark.parametrize("url", ["https://partner.example/hooks", "https://192.0.43.10:8443/a?b=c"])
def test_webhooks_go_to_the_public_internet(settings: Settings, url: str) -> None:
    settings.WEBHOOKS_MAY_STAY_LOCAL = False
    assert make(webhook_url=url).webhook_url == url


def test_a_demonstration_may_stay_on_this_machine_but_not_log_in() -> None:
    assert make(webhook_url="http://127.0.0.1:8099/hooks").webhook_url
    with pytest.raises(DestinationRefused):
        make(code="other", webhook_url="http://me:you@127.0.0.1:8099/")


def test_the_database_refuses_webhooks_without_a_secret() -> None:
    partner = make(webhook_url="https://partner.example/")
    with pytest.raises(IntegrityError, match="webhooks_are_signed"), transaction.atomic():
        Partner.objects.filter(pk=partner.pk).update(webhook_secret="")


def test_the_database_refuses_an_on_net_bsp() -> None:
    make()
    with pytest.raises(IntegrityError, match="only_a_network_is_on_net"), transaction.atomic():
        Partner.objects.update(is_on_net=True)


def test_moving_the_webhooks_is_noted_once(cara: User) -> None:
    partner = make()
    for _ in range(2):
        partners.set_webhook_url(
            partner_id=partner.pk, webhook_url="https://new.example/", actor=cara, at=NOW
        )
    partner.refresh_from_db()
    assert partner.webhook_url == "https://new.example/"
    entry = AuditEntry.objects.get(action="partner.webhook_moved")
    assert entry.detail == {"before": "", "after": "https://new.example/"}
    assert entry.actor == cara


def test_another_host_gets_messages_with_another_secret() -> None:
    """Or it could show the host before messages that we signed."""
    partner = make()
    first = partner.webhook_secret

    def move(url: str, secret: str = "") -> Partner:
        return partners.set_webhook_url(
            partner_id=partner.pk, webhook_url=url, webhook_secret=secret, at=NOW
        )

    assert move("https://one.example/").webhook_secret == first, "nobody else had it"
    partners.rotate_webhook_secret(partner_id=partner.pk, actor=None, at=NOW)  # type: ignore[arg-type]
    second = move("https://one.example/hooks").webhook_secret
    moved = move("https://two.example/hooks")
    assert moved.webhook_secret not in {first, second}
    assert (moved.old_webhook_secret, moved.old_webhook_secret_until) == ("", None)
    assert move("").webhook_secret != moved.webhook_secret, "the way round by no address at all"
    move("https://one.example/")
    assert move("https://three.example/", "whsec_eA==").webhook_secret == "whsec_eA=="


def test_stopping_a_partner_is_noted_once(cara: User) -> None:
    partner = make()
    for _ in range(2):
        partners.set_partner_active(partner_id=partner.pk, active=False, actor=cara, at=NOW)
    partner.refresh_from_db()
    assert not partner.active
    assert AuditEntry.objects.filter(action="partner.stopped").count() == 1


def test_api_client_belongs_to_the_partner_and_hides_its_secret() -> None:
    partner = make()
    client, secret = partners.create_api_client(
        partner=partner, name="Films", scopes=["usage:write", "usage:read"], at=NOW
    )
    kept = partners_clients().get()
    assert kept == client
    assert kept.owner == partner.service_user
    assert kept.check_secret(secret)
    assert secret not in kept.secret
    assert kept.get_scopes() == kept.get_default_scopes() == ["usage:read", "usage:write"]
    assert kept.get_grant_types() == ["client_credentials"]
    assert AuditEntry.objects.filter(action="api_client.created").count() == 1


@pytest.mark.parametrize("scopes", [[], ["usage:everything"], ["usage:read", "openid"]])
def test_unknown_scopes_are_refused(scopes: list[str]) -> None:
    partner = make()
    with pytest.raises(InvalidInput) as refused:
        partners.create_api_client(partner=partner, name="Films", scopes=scopes, at=NOW)
    assert refused.value.field == "scopes"
    assert not partners_clients().exists()


def test_a_client_id_is_given_once() -> None:
    partner = make()
    given = {"partner": partner, "name": "Films", "scopes": ["usage:read"], "at": NOW}
    partners.create_api_client(**given, client_id="cinebox")
    with pytest.raises(partners.ApiClientTaken):
        partners.create_api_client(**given, client_id="cinebox")
    assert partners_clients().count() == 1


def test_the_fcc_knows_a_network_by_a_number_and_a_name() -> None:
    network = make(code="net", kind="network_provider")
    partners.set_fcc_identity(
        partner_id=network.pk, fcc_provider_id="030317", brand_name=" Fast ", at=NOW
    )
    network.refresh_from_db()
    assert (network.fcc_provider_id, network.brand_name) == ("030317", "Fast")
    partners.set_fcc_identity(
        partner_id=network.pk, fcc_provider_id="030317", brand_name="Fast", at=NOW
    )
    assert AuditEntry.objects.filter(action="partner.fcc_identity_set").count() == 1


@pytest.mark.parametrize(
    ("kind", "number", "name", "field"),
    [
        ("network_provider", "30317", "", "fcc_provider_id"),
        ("network_provider", "1303170", "", "fcc_provider_id"),
        ("network_provider", "13031x", "", "fcc_provider_id"),
        ("network_provider", "130317", "x" * 101, "brand_name"),
        ("network_provider", "130317", "a\0b", "brand_name"),
        ("bsp", "130317", "", "fcc_provider_id"),
    ],
)
def test_what_the_fcc_cannot_know_is_refused(kind: str, number: str, name: str, field: str) -> None:
    partner = make(kind=kind)
    with pytest.raises(InvalidInput) as refused:
        partners.set_fcc_identity(
            partner_id=partner.pk, fcc_provider_id=number, brand_name=name, at=NOW
        )
    assert refused.value.field == field
    partner.refresh_from_db()
    assert (partner.fcc_provider_id, partner.brand_name) == ("", "")


@pytest.mark.parametrize(
    "change", [{"fcc_provider_id": "1"}, {"kind": "bsp", "fcc_provider_id": "130317"}]
)
def test_the_database_refuses_a_false_provider_id(change: dict) -> None:
    network = make(kind="network_provider")
    with pytest.raises(IntegrityError, match="fcc_provider_id"), transaction.atomic():
        Partner.objects.filter(pk=network.pk).update(**change)
