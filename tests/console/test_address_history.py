"""The history page: searched, refused at the field, saved, and given out to whom it is allowed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import timedelta
from zoneinfo import ZoneInfo

from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from ipam.models import AllocationHistory
from ispops.parties import roles
from ispops.parties.models import AuditEntry
from tests.console.conftest import NOW, World

PAGE = "admin:console_history"


def test_the_holder_of_an_address_is_found_and_saved(
    world: World, as_role: Callable[[str], Client]
) -> None:
    client = as_role(roles.CSR)
    stays = AllocationHistory.objects.filter(subscriber=world.ada, address__within="0.0.0.0/0")
    stay = stays.order_by("pk").first()
    assert stay is not None
    asked = {"address": stay.address.removesuffix("/32"), "subscriber": world.ada.email}
    page = client.get(reverse(PAGE), asked).content.decode()
    assert "Ada Lovelace" in page
    assert "Still held" in page
    assert "For a lawful request" not in page
    saved = client.post(reverse("admin:console_history_file"), asked)
    assert stay.device in saved.content.decode()
    assert AuditEntry.objects.get(action="history.exported").detail["rows"] == 1


def test_one_entry_of_the_sidebar_is_lit(world: World, as_role: Callable[[str], Client]) -> None:
    shown = as_role(roles.CSR).get(reverse(PAGE)).context["sidebar_navigation"]
    lit = [item["title"] for group in shown for item in group["items"] if item["active"]]
    assert lit == ["Address history"]


def test_what_cannot_be_looked_for_is_said_at_its_field(
    world: World, as_role: Callable[[str], Client]
) -> None:
    client = as_role(roles.CSR)
    for name, value in [
        ("address", "somewhere"), ("vrf", "-1"), ("subscriber", "nobody@example.com"),
        ("start", "soon"), ("end", "0001-01-01T00:00"), ("start", "2026-02-30T00:00"),
    ]:  # fmt: skip
        page = client.get(reverse(PAGE), {name: value})
        assert page.status_code == 422, name
        assert f'href="#{name}"' in page.content.decode()
    assert client.get(reverse(PAGE), {"after": "x"}).status_code == 422


def test_a_lawful_request_needs_its_reference(
    world: World, as_role: Callable[[str], Client]
) -> None:
    client, address = as_role(roles.OPERATIONS), reverse("admin:console_disclose_history")
    now = NOW.isoformat()
    asked = {"subscriber": world.ada.public_id, "start": now, "end": now}
    refused = client.post(address, {**asked, "reason": "Order"})
    assert refused.status_code == 422
    assert "reference of the request" in refused.content.decode()
    given = client.post(address, {**asked, "reason": "Order", "reference": "AZ 7"})
    assert given["X-Content-SHA256"] == hashlib.sha256(given.content).hexdigest()
    entry = AuditEntry.objects.get(action="history.disclosed")
    assert (entry.subscriber, entry.detail["sha256"]) == (world.ada, given["X-Content-SHA256"])


def test_times_are_in_the_zone_that_was_chosen(
    world: World, as_role: Callable[[str], Client], settings: Settings
) -> None:
    """By the clock of New York it had the address an hour later, by that of UTC not yet."""
    settings.BILLING_TIME_ZONE = "America/New_York"
    stay = AllocationHistory.objects.filter(subscriber=world.ada).earliest("held_from")
    began = stay.held_from.astimezone(ZoneInfo("America/New_York"))
    asked = {"address": stay.address}
    later = f"{began + timedelta(hours=1):%Y-%m-%dT%H:%M:%S}"
    span, client = {**asked, "start": later, "end": later}, as_role(roles.OPERATIONS)
    assert f"{began:%Y-%m-%d %H:%M:%S} EST" in _page(client, span)
    assert "Nobody had it then" in _page(client, {**span, "zone": "utc"})
    assert f"{stay.held_from:%Y-%m-%d %H:%M:%S} UTC" in _page(client, {**asked, "zone": "utc"})
    refused = client.get(reverse(PAGE), {**span, "zone": "moon"})
    assert (refused.status_code, 'href="#zone"' in refused.content.decode()) == (422, True)
    told = {**span, "reference": "AZ 7", "reason": "Order"}
    address = reverse("admin:console_disclose_history")
    assert client.post(address, {**told, "zone": "utc"}).content.count(b"\n") == 1
    given = client.post(address, told).content.decode()
    assert stay.held_from.isoformat() in given
    assert f"{began.isoformat()},,America/New_York" in given


def test_the_form_of_a_request_has_times_of_its_own(
    world: World, as_role: Callable[[str], Client]
) -> None:
    client, address = as_role(roles.OPERATIONS), reverse("admin:console_disclose_history")
    asked = {"subscriber": world.ada.public_id, "start": "2026-01-15T12:00", "zone": "utc"}
    form = _page(client, asked).split('id="lawful"')[1]
    assert 'name="start" type="datetime-local" step="1" required value="2026-01-15T12:00"' in form
    assert '<option value="utc" selected>' in form
    refused = client.post(address, {**asked, "reason": "Order", "reference": "AZ 7"})
    assert refused.status_code == 422
    assert 'href="#lawful-end"' in refused.content.decode()


def _page(client: Client, asked: dict[str, str]) -> str:
    return client.get(reverse(PAGE), asked).content.decode()
