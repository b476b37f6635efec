"""The queue of devices that want an address beyond their plan, decided by a CSR."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse

from ipam import overallocation
from ipam.models import ExtraAddress
from ispops.models import Event
from ispops.parties import roles
from ispops.parties.models import AuditEntry
from tests.console.conftest import NOW, World


@pytest.fixture
def csr(as_role: Callable[[str], Client]) -> Client:
    return as_role(roles.CSR)


def press(client: Client, name: str, world: World, reason: str = "They called") -> str:
    """Press a button of the queue and return the words on the page that follows."""
    address = reverse(f"admin:console_{name}_request", args=[world.request.public_id])
    page = client.post(address, {"reason": reason}, follow=True)
    assert page.status_code == 200
    return page.content.decode()


def test_the_queue_shows_who_asks_for_what_at_which_price(world: World, csr: Client) -> None:
    page = csr.get(reverse("admin:console_overallocation")).content.decode()

    assert "Ada Lovelace" in page
    assert world.request.device in page
    assert "USD 5.00 a period" in page


def test_accepting_grants_the_address_and_is_audited(world: World, csr: Client) -> None:
    words = press(csr, "accept", world)

    extra = ExtraAddress.objects.get()
    entry = AuditEntry.objects.get(subject=world.request.public_id)
    world.request.refresh_from_db()
    assert "The device gets its address" in words
    assert (extra.device, extra.granted_at) == (world.request.device, NOW)
    assert (world.request.state, world.request.decided_by) == ("granted", "csr")
    assert (entry.subscriber, entry.reason) == (world.ada, "They called")
    assert entry.actor is not None
    assert entry.actor.groups.get().name == roles.CSR
    assert Event.objects.filter(kind="address.extra_granted", subject=extra.public_id).exists()


def test_declining_grants_nothing_and_is_audited(world: World, csr: Client) -> None:
    press(csr, "decline", world)

    world.request.refresh_from_db()
    assert (world.request.state, world.request.reason) == ("denied", "They called")
    assert not ExtraAddress.objects.exists()
    assert AuditEntry.objects.get(subject=world.request.public_id).reason == "They called"


@pytest.mark.parametrize("name", ["accept", "decline"])
def test_nothing_is_decided_without_a_reason(name: str, world: World, csr: Client) -> None:
    words = press(csr, name, world, reason="  ")

    world.request.refresh_from_db()
    assert "Say why" in words
    assert world.request.state == "pending"
    assert not AuditEntry.objects.filter(subject=world.request.public_id).exists()


def test_what_was_decided_otherwise_meanwhile_is_refused_in_words(
    world: World, csr: Client
) -> None:
    overallocation.decline(
        request_id=world.request.pk,
        actor=world.ada.users.get(),
        decided_by="subscriber",
        reason="",
        at=NOW,
    )

    words = press(csr, "accept", world)

    world.request.refresh_from_db()
    assert "The device gets its address" not in words
    assert world.request.state == "denied"
    assert not ExtraAddress.objects.exists()


def test_accepting_twice_grants_once(world: World, csr: Client) -> None:
    press(csr, "accept", world)
    press(csr, "accept", world)

    assert ExtraAddress.objects.count() == 1


def test_a_decision_leads_back_to_the_page_it_was_made_on(world: World, csr: Client) -> None:
    page = reverse("admin:console_subscriber", args=[world.ada.public_id])
    address = reverse("admin:console_accept_request", args=[world.request.public_id])

    assert csr.post(address, {"reason": "x", "next": page}).url == page
    assert csr.post(address, {"reason": "x", "next": "https://evil.example/"}).url == reverse(
        "admin:console_overallocation"
    )


def test_an_unknown_request_is_not_found(world: World, csr: Client) -> None:
    for ref in ("oar_nonsense", f"oar_{'0' * 32}", world.ada.public_id):
        address = reverse("admin:console_accept_request", args=[ref])

        assert csr.post(address, {"reason": "x"}).status_code == 404


def test_the_other_states_are_lists_of_their_own(world: World, csr: Client) -> None:
    overallocation.decline(
        request_id=world.request.pk,
        actor=world.ada.users.get(),
        decided_by="subscriber",
        reason="My neighbour's",
        at=NOW + timedelta(seconds=1),
    )

    page = csr.get(reverse("admin:console_overallocation"), {"state": "denied"}).content.decode()

    assert "My neighbour&#x27;s" in page
    assert (
        world.request.device
        not in csr.get(reverse("admin:console_overallocation")).content.decode()
    )


def test_what_was_needed_no_longer_is_not_called_denied(world: World, csr: Client) -> None:
    asked = world.request
    overallocation.withdraw(holder=asked.holder, device=asked.device, at=NOW + timedelta(seconds=1))

    queue = csr.get(reverse("admin:console_overallocation"), {"state": "denied"}).content.decode()
    ada = reverse("admin:console_subscriber", args=[world.ada.public_id])

    for page in (queue, csr.get(ada).content.decode()):
        assert "</span> No longer needed</span>" in page
        assert "</span> Denied</span>" not in page
        assert "by Nobody had to" not in page
        assert "The plan has a place for the device now." in page
