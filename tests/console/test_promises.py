"""Keeping a port for an answer, and promising by hand what it refused (figure 3)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse

from ispops.catalog.models import ProductOffering
from ispops.parties import roles
from ispops.parties.models import AuditEntry, Partner
from provisioning.models import ProductOrder
from qualification.models import (
    AccessNode,
    AccessPort,
    CoverageArea,
    Premises,
    ServiceQualification,
)
from tests import factories
from tests.console.conftest import NOW, World

WHY = "Surveyed on site: a duct is free"


@pytest.fixture
def csr(as_role: Callable[[str], Client]) -> Client:
    return as_role(roles.CSR)


@pytest.fixture
def lead(as_role: Callable[[str], Client]) -> Client:
    return as_role(roles.CSR_LEAD)


@pytest.fixture
def oak(world: World) -> ServiceQualification:
    return factories.qualified(world.isp.oak_1, at=NOW)


@pytest.fixture
def elm(world: World) -> ServiceQualification:
    return factories.qualified(world.isp.elm_1, at=NOW)


def see(client: Client, answer: ServiceQualification) -> str:
    page = client.get(reverse("admin:console_qualification", args=[answer.public_id]))
    assert page.status_code == 200
    return page.content.decode()


def send(client: Client, name: str, answer: ServiceQualification, **data: Any) -> HttpResponse:
    address = reverse(f"admin:{name}", args=[answer.public_id])
    return client.post(address, data, follow=True)


def held() -> list[AccessPort]:
    return list(AccessPort.objects.held(NOW))


def test_a_port_is_kept_for_days_shown_and_given_up(
    world: World, csr: Client, oak: ServiceQualification
) -> None:
    page = send(csr, "console_hold_port", oak, network="fast-fibre:50", days="3",
                subscriber=world.ada.public_id)  # fmt: skip
    (port,) = held()
    assert (port.held_for, port.held_until) == (oak.public_id, NOW + timedelta(days=3))
    words = page.content.decode()
    assert f"Fast Fibre, {port} is kept for this answer until" in words
    assert "1 held" in words
    assert f'value="{world.ada.public_id}"' in words
    entry = AuditEntry.objects.get(action="port.held")
    assert (entry.subject, entry.actor.groups.get().name) == (oak.public_id, roles.CSR)
    send(csr, "console_release_hold", oak)
    assert not held()
    assert "is kept for this answer" not in see(csr, oak)


@pytest.mark.parametrize(
    "data",
    [
        {}, {"network": "fast-fibre:50"}, {"network": "fast-fibre:50", "days": "400"},
        {"network": "nobody:50", "days": "1"}, {"network": "fast-fibre", "days": "1"},
        {"network": "fast-fibre:\0", "days": "1"}, {"network": f"films:{'9' * 50}", "days": "1"},
        {"network": "films:50", "days": "1"}, {"network": "fast-fibre:40", "days": "1"},
    ],
)  # fmt: skip
def test_what_cannot_be_kept_is_said(
    data: dict[str, str], world: World, csr: Client, oak: ServiceQualification
) -> None:
    page = send(csr, "console_hold_port", oak, **data)
    assert page.status_code == 200
    assert not held()
    assert "is kept for this answer" not in page.content.decode()


def promise(client: Client, answer: ServiceQualification, **data: Any) -> HttpResponse:
    given = {
        "offering": ["fibre-500"], "install_days-fibre-500": "20", "download_kbps-fibre-500": "300",
        "upload_kbps-fibre-500": "100.5", "construction_fee-fibre-500": "350.50", "reason": WHY,
    }  # fmt: skip
    return send(client, "console_override", answer, **given | data)


def test_a_lead_promises_by_hand_and_the_order_is_placed(
    world: World, lead: Client, elm: ServiceQualification
) -> None:
    page = promise(lead, elm, subscriber=world.ada.public_id)
    made = ServiceQualification.objects.get(overrides=elm)
    offer = made.offers.get(offering=world.isp.fast)
    assert (offer.download_kbps, offer.upload_kbps, offer.install_days) == (300_000, 100_500, 20)
    words = page.content.decode()
    who = AuditEntry.objects.get(action="qualification.overridden").actor_name
    for said in ("Promised by hand", who, WHY, "USD 350.50 to build"):
        assert said in words, said
    assert "Overridden" in see(lead, elm)
    placed = send(lead, "console_place_order", made, subscriber=world.ada.public_id,
                  plan="fibre-500", order_key="k")  # fmt: skip
    assert placed.status_code == 200
    order = ProductOrder.objects.get(qualification=made)
    factories.work(at=NOW)
    assert WHY in order.tasks.get(kind="reserve_port").tries.get().detail
    page = lead.get(reverse("admin:console_order", args=[order.public_id]))
    assert "No port was taken" in page.content.decode()


def test_the_asker_sees_that_staff_looked_into_it_and_not_who_or_why(
    world: World, lead: Client, elm: ServiceQualification
) -> None:
    promise(lead, elm)
    made = ServiceQualification.objects.get(overrides=elm)
    words = Client().get(f"/check/{made.public_id}/").content.decode()
    assert "Our staff looked into this place" in words
    assert "Choose Fibre 500" in words
    assert WHY not in words
    assert AuditEntry.objects.get(subject=made.public_id).actor_name not in words


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ({"reason": ""}, "reason"),
        ({"reason": "x" * 5_000}, "reason"),
        ({"offering": []}, "offering"),
        ({"offering": ["dsl-6"]}, "offering"),
        ({"install_days-fibre-500": ""}, "install_days-fibre-500"),
        ({"install_days-fibre-500": "1.5"}, "install_days-fibre-500"),
        ({"install_days-fibre-500": "soon"}, "install_days-fibre-500"),
        ({"install_days-fibre-500": "9" * 400}, "install_days-fibre-500"),
        ({"download_kbps-fibre-500": "501"}, "download_kbps-fibre-500"),
        ({"download_kbps-fibre-500": "1e9999999"}, "download_kbps-fibre-500"),
        ({"upload_kbps-fibre-500": "0.00001"}, "upload_kbps-fibre-500"),
        ({"upload_kbps-fibre-500": "\0"}, None),  # Empty: what the plan is sold with.
        ({"construction_fee-fibre-500": "NaN"}, "construction_fee-fibre-500"),
        ({"construction_fee-fibre-500": "-1"}, "construction_fee-fibre-500"),
    ],
)
def test_what_is_wrong_is_said_at_its_field_and_what_was_typed_stays(
    world: World, lead: Client, elm: ServiceQualification, data: dict[str, Any], field: str | None
) -> None:
    page = promise(lead, elm, **data)
    words = page.content.decode()
    if field is None:
        assert page.status_code == 200
        return
    assert page.status_code == 422
    assert f'href="#{field}"' in words
    assert f'id="{field}"' in words
    assert 'value="350.50"' in words or "construction_fee" in field
    assert not ServiceQualification.objects.filter(overrides=elm).exists()


def test_a_csr_is_shown_no_form_that_they_may_not_use(
    world: World, csr: Client, lead: Client, elm: ServiceQualification
) -> None:
    assert "Promise by hand" not in see(csr, elm)
    assert "Promise by hand" in see(lead, elm)


def test_nothing_can_be_promised_on_an_old_answer(
    world: World, elm: ServiceQualification, as_role: Callable[[str], Client]
) -> None:
    with time_machine.travel(elm.expires_at + timedelta(days=1), tick=False):
        lead = as_role(roles.CSR_LEAD)
        assert "Promise by hand" not in see(lead, elm)
        page = promise(lead, elm)
    assert page.status_code == 422
    assert "This answer has expired" in page.content.decode()


def test_what_was_promised_then_stands_beside_what_is_there_today(
    world: World, csr: Client, oak: ServiceQualification
) -> None:
    assert "! today" not in see(csr, oak)
    for model in (ProductOffering, Partner, AccessNode):
        for row in model.objects.all():
            model.objects.filter(pk=row.pk).update(name=f"New {row.pk}")
    Premises.objects.update(city="Newtown")
    copper = CoverageArea.objects.get(provider=world.isp.copper, h3_res8=world.isp.oak_cell)
    CoverageArea.objects.filter(pk=copper.pk).update(valid_to=NOW - timedelta(hours=1))
    words = see(csr, oak)
    for said in (
        "Fibre 500", "Fast Fibre, Fiber", "Old Copper, DSL", "loop 900 m", "no longer there",
        "1 Oak Street, Barre, VT 05641", f"! today: New {world.isp.fibre_node.pk}", "barre-1",
    ):  # fmt: skip
        assert said in words, said


def test_the_queries_of_the_page_stay_few(
    world: World, lead: Client, oak: ServiceQualification, django_assert_max_num_queries: Any
) -> None:
    see(lead, oak)
    with django_assert_max_num_queries(16):
        see(lead, oak)
