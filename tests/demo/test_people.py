"""The demo ISP's people: made once by the verbs, found again, and never on a real system."""

from __future__ import annotations

import json
import stat
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path

import pytest
from allauth.account.models import EmailAddress
from allauth.idp.oidc.models import Client as ApiClient
from django.core.management import call_command
from django.test import Client
from pytest_django import Settings

from ispops.demo import people
from ispops.parties.models import AuditEntry, Partner, Subscriber, User

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def demonstration(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.DEMO = True
    settings.WEBHOOKS_MAY_STAY_LOCAL = True
    settings.DATA_DIR = tmp_path
    monkeypatch.delenv("DEMO_PARTNER_PORT", raising=False)


def test_partners_logins_and_clients_are_made() -> None:
    people.load(at=NOW)
    assert Partner.objects.count() == 6
    assert Partner.objects.get(is_on_net=True).code == "harbor-fiber"
    cinebox = Partner.objects.get(code="cinebox")
    assert cinebox.webhook_url == "http://127.0.0.1:8099/webhooks/cinebox"
    assert ApiClient.objects.get(pk="cinebox").owner == cinebox.service_user
    assert not ApiClient.objects.filter(pk="harbor-fiber").exists()
    assert Subscriber.objects.get().email == "ada@example.com"
    assert EmailAddress.objects.filter(verified=True).count() == len(people.LOGINS)
    assert User.objects.get(email="cara@harbor.example").has_perm("parties.register_on_behalf")
    assert User.objects.get(email="otto@harbor.example").has_perm("provisioning.work_fallout")
    assert not User.objects.filter(is_superuser=True).exists()


def test_loading_again_changes_nothing() -> None:
    def everything() -> list[object]:
        return [
            list(model.objects.order_by("pk").values())
            for model in (Partner, User, Subscriber, ApiClient, AuditEntry, EmailAddress)
        ]

    people.load(at=NOW)
    before = everything()
    people.load(at=datetime(2026, 4, 1, tzinfo=UTC))
    assert everything() == before


def test_another_port_moves_the_webhooks(monkeypatch: pytest.MonkeyPatch) -> None:
    people.load(at=NOW)
    before = Partner.objects.get(code="cinebox").webhook_secret
    monkeypatch.setenv("DEMO_PARTNER_PORT", "9100")
    people.load(at=NOW)
    urls = set(Partner.objects.exclude(webhook_url="").values_list("webhook_url", flat=True))
    assert {url.split("/")[2] for url in urls} == {"127.0.0.1:9100"}
    assert Partner.objects.get(code="cinebox").webhook_secret == before, "their server knows it"


def test_the_partner_server_s_credentials_are_for_the_owner_alone(tmp_path: Path) -> None:
    people.load(at=NOW)
    path = tmp_path / "demo_partners.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    known = json.loads(path.read_text())
    assert set(known) == {
        "tidewater-cable", "copperline", "shieldwall", "cinebox", "cloudvault"
    }  # fmt: skip
    assert known["cinebox"]["webhook_secret"] == Partner.objects.get(code="cinebox").webhook_secret
    assert ApiClient.objects.get(pk="cinebox").check_secret(known["cinebox"]["client_secret"])


def test_a_real_system_gets_no_known_passwords(settings: Settings, tmp_path: Path) -> None:
    settings.DEMO = False
    with pytest.raises(people.NoDemonstration):
        people.load(at=NOW)
    assert not User.objects.exists()
    assert list(tmp_path.iterdir()) == []


def test_what_is_printed_opens_the_doors(client: Client, settings: Settings) -> None:
    people.load(at=NOW)
    printed = StringIO()
    call_command("demo_logins", stdout=printed)
    text = printed.getvalue()
    for login in people.LOGINS:
        assert login.email in text
        assert login.password in text
        assert client.login(email=login.email, password=login.password)
    curl = next(line for line in text.splitlines() if "curl" in line).split()
    name, secret = curl[curl.index("-u") + 1].split(":")
    assert ApiClient.objects.get(pk=name).check_secret(secret)
    assert settings.BASE_URL in text
    assert all(len(line) <= 110 for line in text.splitlines())
