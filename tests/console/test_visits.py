"""The calendar of visits in the console: adding weeks of it, and the visit on the order's page."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
import time_machine
from django.test import Client
from django.urls import reverse

from ispops.parties import roles
from ispops.parties.models import AuditEntry
from provisioning import visiting
from provisioning.models import Appointment, InstallSlot, ProductOrder
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
    assert shown["Location"] == reverse("admin:console_slot", args=[slot.public_id])


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


def booked(order: ProductOrder) -> Appointment:
    visit = visiting.visit_of(order)
    assert visit is not None
    return visit


def at_the_end_of(visit: Appointment) -> time_machine.travel:
    return time_machine.travel(visit.slot.ends_at, tick=False)


def test_a_technician_goes_through_the_day_and_closes_a_visit_by_one_click(
    order: ProductOrder, as_role: Callable[[str], Client]
) -> None:
    visit = booked(order)
    client = as_role(roles.TECHNICIAN)
    address = reverse("admin:console_visits")

    empty = client.get(address).content.decode()
    assert "Nobody is visited on this day" in empty
    assert "?day=2026-11-25" in empty
    page = client.get(address, {"day": "2026-11-25", "area": "BARRE, VT"}).content.decode()
    for words in ("Carl", "tel:+1 802 555 0117", "1 Oak St", "Fibre 500", "8:00 to 12:00"):
        assert words in page, words
    # In vain is what has begun.
    assert "In vain" not in page
    # Nothing else of the order is open to a technician.
    assert reverse("admin:console_order", args=[order.public_id]) not in page
    for odd in ("2026-02-31", "9999-12-31", "x", "0001-01-01"):
        assert client.get(address, {"day": odd}).status_code == 200

    closing = reverse("admin:console_visit_done", args=[visit.public_id])
    said = client.post(closing, {"note": "Connected and tested"}, follow=True).content.decode()
    assert "The visit is done." in said
    factories.work(at=NOW)
    order.refresh_from_db()
    assert order.state == "completed"
    assert AuditEntry.objects.get(action="visit.done").reason == "Connected and tested"
    page = client.get(address, {"day": "2026-11-25"}).content.decode()
    assert "Connected and tested" in page
    assert closing not in page


def test_a_visit_in_vain_is_overdue_first_and_then_waits_for_the_subscriber(
    order: ProductOrder, as_role: Callable[[str], Client]
) -> None:
    visit = booked(order)
    with at_the_end_of(visit):
        client = as_role(roles.CSR)
        address = reverse("admin:console_visits")
        assert "Carl" in client.get(address, {"show": "overdue"}).content.decode()
        assert "Visits to close" in client.get(reverse("admin:index")).content.decode()
        failing = reverse("admin:console_visit_failed", args=[visit.public_id])
        given = {"failure": "nobody_home", "next": f"{address}?show=overdue"}
        said = client.post(failing, given, follow=True).content.decode()
        assert "Say what was in the way" in said
        said = client.post(failing, given | {"note": "Rang twice"}, follow=True).content.decode()
        assert "The visit was in vain." in said
        assert "Every visit that is over was closed." in said
        shown = client.get(reverse("admin:console_order", args=[order.public_id])).content.decode()
        assert "The last visit was in vain" in shown
        assert "Go on without a visit" in shown

        address = reverse("admin:console_waive_visit", args=[order.public_id])
        said = client.post(address, {"reason": "It works already"}, follow=True).content.decode()
        assert "The order goes on without a visit." in said
        factories.work(at=visit.slot.ends_at)
    order.refresh_from_db()
    assert order.state == "completed"


def test_operations_change_and_withdraw_a_time_and_see_who_is_booked(
    order: ProductOrder, as_role: Callable[[str], Client]
) -> None:
    client = as_role(roles.OPERATIONS)
    slot = booked(order).slot
    address = reverse("admin:console_slot", args=[slot.public_id])
    assert "Carl" in client.get(address).content.decode()

    def post(name: str, **given: str) -> tuple[int, str]:
        answer = client.post(reverse(f"admin:{name}", args=[slot.public_id]), given, follow=True)
        return answer.status_code, answer.content.decode()

    hours = {"day": "2026-11-26", "starts": "09:00", "ends": "11:00", "capacity": "2"}
    status, page = post("console_change_slot", **hours | {"capacity": "0"})
    assert (status, "greater than or equal to 1" in page) == (422, True)
    status, page = post("console_change_slot", **hours | {"ends": "08:00"})
    assert (status, "end after they begin" in page) == (422, True)
    status, page = post("console_change_slot", **hours)
    assert (status, "The time is changed." in page) == (200, True)
    assert visiting.in_words(booked(order).slot) == "Thursday 26 November, 9:00 to 11:00"

    move = reverse("admin:console_book_visit", args=[order.public_id])
    later = InstallSlot.objects.latest("starts_at")
    back = client.post(move, {"slot": later.public_id, "next": address})
    assert back["Location"] == address
    assert booked(order).slot == later
    client.post(move, {"slot": slot.public_id})

    assert "Say why nobody comes" in post("console_withdraw_slot")[1]
    page = post("console_withdraw_slot", reason="A technician is ill")[1]
    assert "Visits moved: 1." in page
    assert "Withdrawn" in page
    assert booked(order).slot != slot
