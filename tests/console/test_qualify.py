"""Qualifying and ordering on behalf of a caller."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
import time_machine
from django.test import Client
from django.urls import reverse

from ispops.parties import roles
from ispops.parties.models import AuditEntry
from provisioning.models import ProductOrder, Service
from qualification import qualify
from qualification.models import Premises, ServiceQualification
from tests.console.conftest import NOW, World
from tests.small_isp import ELM_POINT


@pytest.fixture
def csr(as_role: Callable[[str], Client]) -> Client:
    return as_role(roles.CSR)


def ask(client: Client, **data: str) -> tuple[ServiceQualification, str]:
    page = client.post(reverse("admin:console_qualify"), data, follow=True)
    assert page.status_code == 200
    return ServiceQualification.objects.latest("pk"), page.content.decode()


def test_the_answer_is_the_portals_with_node_ports_and_provider(world: World, csr: Client) -> None:
    answer, page = ask(csr, address="1 Oak Street, Barre, VT 05641")
    same = qualify.qualify_address(text="1 Oak Street, Barre, VT 05641", channel="portal", at=NOW)

    facts = ("offering_id", "eligible", "reason_code", "recurring_amount")
    assert answer.channel == "csr"
    assert answer.asker.startswith("user_")
    assert list(answer.offers.order_by("offering").values(*facts)) == list(
        same.offers.order_by("offering").values(*facts)
    )
    for words in ("barre-1", "2 of 4", "Fast Fibre", "on-net", "Old Copper", "loop 900 m",
                  "USD 60.00"):  # fmt: skip
        assert words in page


def test_what_is_not_available_says_why(world: World, csr: Client) -> None:
    answer, page = ask(csr, address="1 Elm Street, Barre, VT 05641")

    refused = answer.offers.filter(eligible=False).first()
    assert refused is not None
    assert refused.reason_code in page


def test_several_places_are_offered_to_pick_from(world: World, csr: Client) -> None:
    answer, page = ask(csr, address="5 Oak Street, Barre, VT 05641")
    assert answer.state == "choose"
    assert "Which of these is it?" in page

    picked, _ = ask(csr, premises_id=answer.candidates[1]["id"])

    assert picked.premises is not None
    assert picked.premises.public_id == answer.candidates[1]["id"]


def test_one_box_takes_whatever_names_a_place(world: World, csr: Client) -> None:
    Premises.objects.filter(pk=world.isp.elm_1.pk).update(location_id="1037392925")
    north, east = ELM_POINT
    service = Service.objects.filter(subscriber=world.ada, line=None).first()
    assert service is not None
    elm = world.isp.elm_1
    for text, place in (
        ("1 Elm Street, Barre, VT 05641", elm),
        ("  1 elm st barre vt 05641 ", elm),
        (f"{north}, {east}", elm),
        (f"{north} {east}", elm),
        (f"{north}° N, {-east}° W", elm),
        ("1037392925", elm),
        (elm.public_id, elm),
        (service.public_id, service.premises),
    ):
        answer, _ = ask(csr, address=text)
        assert answer.premises == place, text


@pytest.mark.parametrize(
    "fields",
    [
        {"street": "1 Elm Street", "city": "Barre", "region": "VT", "postal_code": "05641"},
        {"street": "1 Elm Street", "postal_code": "05641"},
        {"street": "1 Elm Street", "city": "Barre", "region": "VT"},
        {"latitude": str(ELM_POINT[0]), "longitude": str(ELM_POINT[1])},
        {"location_id": "1037392925"},
    ],
)
def test_a_place_is_named_by_fields(world: World, csr: Client, fields: dict[str, str]) -> None:
    Premises.objects.filter(pk=world.isp.elm_1.pk).update(location_id="1037392925")
    answer, _ = ask(csr, **fields)
    assert answer.premises == world.isp.elm_1


@pytest.mark.parametrize(
    ("given", "field", "words"),
    [
        ({}, "address", "Enter an address"),
        ({"address": "05641"}, "address", "lacks the street"),
        ({"address": "91.5, 10.25"}, "address", "latitude in degrees from -90 to 90"),
        ({"address": "12345678901"}, "address", "no place with this location id"),
        ({"address": "prm_1"}, "address", "no place with this id"),
        ({"address": "svc_" + "0" * 32}, "address", "no service with this id"),
        ({"address": "x" * 10_000}, "address", "10,000 characters"),
        ({"latitude": "91", "longitude": "0"}, "latitude", "from -90 to 90"),
        ({"latitude": "north", "longitude": "0"}, "latitude", "from -90 to 90"),
        ({"latitude": "1"}, "longitude", "from -180 to 180"),
        ({"latitude": "nan", "longitude": "0"}, "latitude", "from -90 to 90"),
        ({"location_id": "x" * 50}, "location_id", "no place with this location id"),
        ({"premises_id": "1", "location_id": "1"}, "premises_id", "Name the place once"),
        ({"address": "1 Elm St", "city": "Barre"}, "address", "but not both"),
        ({"street": "Elm Street", "postal_code": "05641"}, "address", "lacks the street number"),
    ],
)
def test_what_names_no_place_is_said_at_the_field(
    world: World, csr: Client, given: dict[str, str], field: str, words: str
) -> None:
    before = ServiceQualification.objects.count()
    page = csr.post(reverse("admin:console_qualify"), given)
    assert page.status_code == 422
    text = page.content.decode()
    assert words in text
    assert f'href="#{field}"' in text
    assert ServiceQualification.objects.count() == before


def test_distances_and_guesses_are_shown(world: World, csr: Client) -> None:
    north, east = ELM_POINT
    _, page = ask(csr, address=f"{north + 0.001:.6f}, {east:.6f}")
    assert "111 m away" in page
    answer, page = ask(csr, address="1 Oka Street, Barre, VT 05641")
    assert "1 Oka Street, Barre, VT 05641” is right" in page
    insisted, _ = ask(csr, address=answer.asked_text, as_written="on")
    assert insisted.premises is not None
    assert insisted.premises.source == Premises.Source.ASKED


@pytest.mark.parametrize("text", ["", "nowhere", "\0", "🏠" * 200])
def test_what_is_no_address_is_said_beside_the_field(text: str, world: World, csr: Client) -> None:
    before = ServiceQualification.objects.count()

    page = csr.post(reverse("admin:console_qualify"), {"address": text})

    assert page.status_code == 422
    assert b'role="alert"' in page.content
    assert ServiceQualification.objects.count() == before


def order(client: Client, world: World, answer: ServiceQualification, **data: str) -> str:
    given = {"subscriber": world.ada.public_id, "plan": world.isp.slow_dsl.code,
             "order_key": "key-of-the-page"} | data  # fmt: skip
    address = reverse("admin:console_place_order", args=[answer.public_id])
    page = client.post(address, given, follow=True)
    assert page.status_code == 200
    return page.content.decode()


def test_an_order_is_placed_for_the_caller_and_audited(world: World, csr: Client) -> None:
    answer, _ = ask(csr, address="1 Elm Street, Barre, VT 05641")

    words = order(csr, world, answer)

    placed = ProductOrder.objects.get(channel="csr")
    entry = AuditEntry.objects.get(action="order.placed", subject=placed.public_id)
    assert "is placed" in words
    assert placed.subscriber == world.ada
    assert placed.placed_by is not None
    assert placed.placed_by.groups.get().name == roles.CSR
    assert entry.subscriber == world.ada


def test_sending_the_form_twice_places_one_order(world: World, csr: Client) -> None:
    answer, _ = ask(csr, address="1 Elm Street, Barre, VT 05641")

    order(csr, world, answer)
    order(csr, world, answer)

    assert ProductOrder.objects.filter(channel="csr").count() == 1


@pytest.mark.parametrize(
    "data", [{"subscriber": "Ada"}, {"subscriber": ""}, {"plan": ""}, {"plan": "gone"}]
)
def test_what_cannot_be_ordered_is_said(data: dict[str, str], world: World, csr: Client) -> None:
    answer, _ = ask(csr, address="1 Elm Street, Barre, VT 05641")

    words = order(csr, world, answer, **data)

    assert "is placed" not in words
    assert not ProductOrder.objects.filter(channel="csr").exists()


def test_an_old_answer_is_not_ordered_from(world: World, as_role: Callable[[str], Client]) -> None:
    answer, _ = ask(as_role(roles.CSR), address="1 Elm Street, Barre, VT 05641")

    with time_machine.travel(answer.expires_at + timedelta(days=1), tick=False):
        later = as_role(roles.CSR)
        page = later.get(reverse("admin:console_qualification", args=[answer.public_id]))
        words = order(later, world, answer)

    assert b"Place the order" not in page.content
    assert "Check the address again" in words
    assert not ProductOrder.objects.filter(channel="csr").exists()


def test_the_caller_stays_known_from_page_to_page(world: World, csr: Client) -> None:
    answer = csr.post(
        reverse("admin:console_qualify"),
        {"address": "1 Elm Street, Barre, VT 05641", "subscriber": world.ada.public_id},
        follow=True,
    )

    assert f'value="{world.ada.public_id}"' in answer.content.decode()
