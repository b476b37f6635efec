"""The demonstration's connection to its cable network: made once, found again at another port."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from pytest_django import Settings

from ispops.demo import people, providers
from qualification.models import ProviderConnection

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def demonstration(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.DEMO = True
    settings.WEBHOOKS_MAY_STAY_LOCAL = True
    settings.DATA_DIR = tmp_path
    monkeypatch.delenv("DEMO_PARTNER_PORT", raising=False)
    people.load(at=NOW)


def test_it_is_made_once_and_keeps_what_was_changed() -> None:
    providers.load(at=NOW)
    made = ProviderConnection.objects.get()
    assert made.partner.code == "tidewater-cable"
    assert made.base_url == (
        "http://127.0.0.1:8099/tidewater-cable/tmf-api/serviceQualificationManagement/v4"
    )
    ProviderConnection.objects.update(at_once=7)
    providers.load(at=NOW)
    assert ProviderConnection.objects.get().at_once == 7


def test_another_port_moves_it_and_another_address_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    providers.load(at=NOW)
    monkeypatch.setenv("DEMO_PARTNER_PORT", "9100")
    providers.load(at=NOW)
    moved = ProviderConnection.objects.get()
    assert moved.base_url.startswith("http://127.0.0.1:9100/")
    ProviderConnection.objects.update(base_url="https://elsewhere.example/v4")
    providers.load(at=NOW)
    moved.refresh_from_db()
    assert moved.base_url == "https://elsewhere.example/v4"
