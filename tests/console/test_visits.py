"""The calendar of visits in the console: adding weeks of it, and the visit on the order's page."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse

from ispops.parties import roles
from ispops.parties.models import AuditEntry
from provisioning import visiting
from provisioning.models import InstallSlot, ProductOrder
from tests import factories
from tests.console.conftest import NOW, World

GIVEN = {
    "city": "Barre", "region": "VT", "first_day": "2026-11-25", "weeks": "1",
    "hours": "8:00-12:00, 13:00-17:00", "capacity": "2",
    "appointments-TOTAL_FORMS": "0", "appointments-INITIAL_FORMS": "0",
}  # fmt: skip


def add(client: Client, **other: str) -> tuple[int, str]:
    address = reverse("admin:provisioning_installslot_add")
    answer = client.post(address, GIVEN | other)
    return answer.status_code, answer.content.decode()


def test_operations_plan_a_week_and_others_do_not(
    world: World, as_role: Callable[[str], Client]
) -> None:
    assert add(as_role(roles.CSR))[0] == 403
    assert not InstallSlot.objects.exists()
    client = as_role(roles.OPERATIONS)
    assert client.get(reverse("admin:provisioning_installslot_add")).status_code == 200

    assert add(client)[0] == 302

    assert InstallSlot.objects.filter(area="BARRE, VT", capacity=2).count() == 10
    assert AuditEntry.objects.get(action="visit.slots_added").actor is not None
    listed = client.get(reverse("admin:provisioning_installslot_changelist")).content.decode()
    assert "Wednesday 25 November, 8:00 to 12:00" in listed
    slot = InstallSlot.objects.earliest("starts_at")
    shown = client.get(reverse("admin:provisioning_installslot_change", args=[slot.pk]))
    assert shown.status_code == 200


def test_what_makes_no_calendar_is_said_at_the_field(
    world: World, as_role: Callable[[str], Client]
) -> None:
    client = as_role(roles.OPERATIONS)
    for wrong, words in (
        ({"city": "Bare"}, "No place in this city is known"),
        ({"hours": "in the morning"}, "Write hours like"),
        ({"hours": "12:00-8:00"}, "Give hours that end after they begin"),
        ({"first_day": "2026-11-01"}, "Choose a day from today on"),
        ({"capacity": "0"}, "greater than or equal to 1"),
    ):
        status, page = add(client, **wrong)
        assert (status, words in page) == (200, True), wrong
    assert not InstallSlot.objects.exists()


@pytest.fixture
def order(world: World, as_role: Callable[[str], Client]) -> ProductOrder:
    add(as_role(roles.OPERATIONS))
    carl = factories.subscriber(at=NOW, name="Carl", email="carl@example.com")
    order = factories.order(carl, world.isp.oak_1, world.isp.fast.code, at=NOW)
    factories.work(at=NOW)
    return order


def test_the_order_says_when_the_technician_comes(
    order: ProductOrder, as_role: Callable[[str], Client]
) -> None:
    visit = visiting.visit_of(order)
    assert visit is not None
    assert visit.slot.starts_at > NOW + timedelta(days=1)

    page = as_role(roles.CSR).get(reverse("admin:console_order", args=[order.public_id]))

    assert visiting.in_words(visit.slot) in page.content.decode()


def test_a_csr_moves_and_cancels_a_visit(
    order: ProductOrder, as_role: Callable[[str], Client]
) -> None:
    client = as_role(roles.CSR)
    later = InstallSlot.objects.latest("starts_at")

    def post(name: str, **given: str) -> str:
        address = reverse(f"admin:{name}", args=[order.public_id])
        return client.post(address, given, follow=True).content.decode()

    assert "There is no such time" in post("console_book_visit", slot="x")
    assert "The visit is booked" in post("console_book_visit", slot=later.public_id)
    visit = visiting.visit_of(order)
    assert visit is not None
    assert visit.slot == later
    assert "Say why" in post("console_cancel_visit")
    assert "None is booked" in post("console_cancel_visit", reason="It was there already")
    assert visiting.visit_of(order) is None
    assert AuditEntry.objects.get(action="visit.cancelled").reason == "It was there already"
