"""One box for everything a caller may say about themselves."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.urls import reverse

from ipam import allocation
from ipam.models import Allocation, AllocationHistory
from ispops.console import search
from ispops.parties import roles
from ispops.parties.models import Subscriber
from provisioning.models import AaaCredential, ServiceOrder
from rating.models import Purchase
from tests.console.conftest import NOW, World


def names(text: str) -> list[str]:
    found = search.find(text)
    assert isinstance(found, list)
    return [hit.subscriber.name for hit in found]


@pytest.mark.parametrize(
    "text",
    ["Ada Lovelace", "lovelace", "ada@example.com", "ADA@EXAMPLE", "1 Oak Street", " ada love "],
)
def test_words_find_the_subscriber(text: str, world: World) -> None:
    assert names(text) == ["Ada Lovelace"]


@pytest.mark.parametrize("text", ["802 555 0117", "(802) 555-0117", "8025550117", "+18025550117"])
def test_a_phone_number_is_found_however_it_is_written(text: str, world: World) -> None:
    assert names(text) == ["Ada Lovelace"]


def test_a_few_digits_are_no_phone_number(world: World) -> None:
    assert names("0117") == []


def test_a_city_and_a_postal_code_find_everybody_there(world: World) -> None:
    assert set(names("Barre")) == set(names("05641")) == {"Ada Lovelace", "Bob Noyce"}


def test_a_login_name_of_a_line_finds_its_subscriber(world: World) -> None:
    credential = AaaCredential.objects.get(service=world.line)

    assert names(credential.username.upper()) == ["Ada Lovelace"]


def test_every_kind_of_id_leads_to_its_subscriber(world: World) -> None:
    owned = [
        world.ada,
        world.line,
        world.request,
        Purchase.objects.get(),
        ServiceOrder.objects.filter(service__subscriber=world.ada).first(),
    ]

    assert [names(row.public_id) for row in owned if row] == [["Ada Lovelace"]] * 5


def test_an_order_and_a_qualification_open_their_own_pages(world: World) -> None:
    order = search.find(world.stuck.public_id)
    answer = search.find(world.stuck.qualification.public_id)

    assert isinstance(order, search.Page)
    assert isinstance(answer, search.Page)
    assert (order.address, answer.address) == (
        "admin:console_order",
        "admin:console_qualification",
    )


def test_an_id_of_nobody_finds_nobody(world: World) -> None:
    assert search.find(f"sub_{'0' * 32}") == []


def test_an_address_finds_who_has_it(world: World) -> None:
    held = Allocation.objects.get(holder__service_ref=world.line.public_id, counts=True, family=4)

    (hit,) = search.find(str(held.address).removesuffix("/32"))  # type: ignore[misc]

    assert hit.subscriber == world.ada
    assert "has it now" in hit.note


def test_an_address_inside_a_delegated_prefix_finds_the_prefix(world: World) -> None:
    held = Allocation.objects.get(holder__service_ref=world.line.public_id, family=6)
    inside = str(held.address).replace("::/56", "::42")

    assert names(inside) == ["Ada Lovelace"]


def test_an_address_finds_who_had_it_and_until_when(world: World) -> None:
    held = Allocation.objects.get(holder__service_ref=world.line.public_id, counts=True, family=4)
    allocation.release_address(
        service_ref=world.line.public_id,
        device=held.device,
        at=NOW + timedelta(minutes=10),
        because="session_ended",
    )
    assert not AllocationHistory.objects.filter(address=held.address, held_to=None)

    (hit,) = search.find(str(held.address).removesuffix("/32"))  # type: ignore[misc]

    assert "to 23 Nov 2026 07:10:00 EST" in hit.note


@pytest.mark.parametrize("text", ["", "   ", "\x00", "' OR 1=1 --", "%", "300.1.1.1", "x" * 500])
def test_nonsense_finds_nobody_and_breaks_nothing(
    text: str, world: World, as_role: Callable[[str], object]
) -> None:
    answer = as_role(roles.CSR).get(reverse("admin:console_search"), {"q": text})  # type: ignore[attr-defined]

    assert answer.status_code == 200
    assert b"Ada Lovelace" not in answer.content


def test_one_hit_is_opened_at_once(world: World, as_role: Callable[[str], object]) -> None:
    answer = as_role(roles.CSR).get(reverse("admin:console_search"), {"q": "ada@example.com"})  # type: ignore[attr-defined]

    assert answer.status_code == 302
    assert answer.url == reverse("admin:console_subscriber", args=[world.ada.public_id])


def test_several_hits_say_why_they_were_found(
    world: World, as_role: Callable[[str], object]
) -> None:
    page = as_role(roles.CSR).get(reverse("admin:console_search"), {"q": "Barre"})  # type: ignore[attr-defined]

    assert page.status_code == 200
    assert b"Lives at 1 Oak Street" in page.content
    assert Subscriber.objects.count() == 2
