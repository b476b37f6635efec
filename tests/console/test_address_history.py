"""The history page: searched, refused at the field, saved, and given out to whom it is allowed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from django.test import Client
from django.urls import reverse

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
