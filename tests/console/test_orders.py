"""The queues of orders and fallout, the page of one order, and the buttons on it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
import time_machine
from django.test import Client
from django.urls import reverse

from ispops.parties import roles
from ispops.parties.models import AuditEntry
from provisioning.models import OrderTask
from qualification.models import AccessPort
from tests import factories
from tests.console.conftest import NOW, World


@pytest.fixture
def csr(as_role: Callable[[str], Client]) -> Client:
    return as_role(roles.CSR)


@pytest.fixture
def stuck_task(world: World) -> OrderTask:
    return world.stuck_task


def press(client: Client, name: str, order: object, *args: object, **data: str) -> str:
    address = reverse(f"admin:console_{name}", args=[order.public_id, *args])  # type: ignore[attr-defined]
    page = client.post(address, data, follow=True)
    assert page.status_code == 200
    return page.content.decode()


def test_the_page_shows_every_task_with_what_was_said(world: World, csr: Client) -> None:
    page = csr.get(reverse("admin:console_order", args=[world.stuck.public_id])).content.decode()

    assert page.count('class="c-node') == world.stuck.tasks.count()
    assert "Not in Barre" in page
    assert "barre-1 port 2 is taken." in page
    assert "Bob Noyce" in page


def test_retry_makes_the_task_due_again_and_is_audited(
    world: World, csr: Client, stuck_task: OrderTask
) -> None:
    press(csr, "retry_task", world.stuck, stuck_task.position)
    stuck_task.refresh_from_db()
    assert stuck_task.state == "ready"
    assert AuditEntry.objects.filter(action="order_task.retried", subscriber=world.bob).exists()

    factories.work(at=NOW)

    world.stuck.refresh_from_db()
    assert world.stuck.state == "completed"


def test_skip_goes_on_without_the_task_and_keeps_the_reason(
    world: World, csr: Client, stuck_task: OrderTask
) -> None:
    press(csr, "skip_task", world.stuck, stuck_task.position, reason="They do without films")

    stuck_task.refresh_from_db()
    entry = AuditEntry.objects.get(action="order_task.skipped")
    assert stuck_task.state == "skipped"
    assert (entry.reason, entry.subscriber) == ("They do without films", world.bob)


def test_nothing_is_skipped_or_cancelled_without_a_reason(
    world: World, csr: Client, stuck_task: OrderTask
) -> None:
    words = press(csr, "skip_task", world.stuck, stuck_task.position)
    words += press(csr, "cancel_order", world.stuck)

    stuck_task.refresh_from_db()
    world.stuck.refresh_from_db()
    assert words.count("Say why, for whoever reads this later.") == 2
    assert (stuck_task.state, world.stuck.state) == ("fallout", "held")


def test_cancel_gives_back_the_port_and_is_audited(world: World, csr: Client) -> None:
    press(csr, "cancel_order", world.stuck, reason="They moved away")

    world.stuck.refresh_from_db()
    assert world.stuck.state == "cancelled"
    assert AccessPort.objects.filter(service_ref__isnull=False).count() == 1
    assert AuditEntry.objects.get(action="order.cancelled").reason == "They moved away"


def test_what_is_refused_is_said_and_changes_nothing(world: World, csr: Client) -> None:
    done = world.ada.orders.get()
    first = done.tasks.order_by("position").first()

    retried = press(csr, "retry_task", done, first.position)
    cancelled = press(csr, "cancel_order", done, reason="Too late")

    done.refresh_from_db()
    assert done.state == "completed"
    assert "The task will be tried again now." not in retried
    assert "The order is cancelled." not in cancelled


def test_a_task_or_order_that_is_not_there_is_not_found(world: World, csr: Client) -> None:
    missing = [
        reverse("admin:console_retry_task", args=[world.stuck.public_id, 99]),
        reverse("admin:console_skip_task", args=[f"ord_{'0' * 32}", 1]),
        reverse("admin:console_cancel_order", args=["nonsense"]),
    ]

    assert {csr.post(address, {"reason": "x"}).status_code for address in missing} == {404}


def test_the_list_of_orders_is_filtered_by_its_address(world: World, csr: Client) -> None:
    def shown(**query: str) -> set[str]:
        page = csr.get(reverse("admin:console_orders"), query).content.decode()
        return {name for name in ("Ada Lovelace", "Bob Noyce") if name in page}

    assert shown() == {"Ada Lovelace", "Bob Noyce"}
    assert shown(state="open") == shown(state="held") == {"Bob Noyce"}
    assert shown(state="completed") == {"Ada Lovelace"}
    assert shown(state="nonsense") == {"Ada Lovelace", "Bob Noyce"}


def test_an_order_past_its_date_is_late(world: World, csr: Client) -> None:
    address = reverse("admin:console_orders")
    assert b"Bob Noyce" not in csr.get(address, {"late": "1"}).content

    with time_machine.travel(world.stuck.expected_at + timedelta(hours=1), tick=False):
        page = csr.get(address, {"late": "1"}).content.decode()

    assert "Bob Noyce" in page
    assert "! late" in page


def test_fallout_shows_the_cause_and_offers_the_way_on(
    world: World, csr: Client, as_role: Callable[[str], Client]
) -> None:
    address = reverse("admin:console_fallout")
    page = csr.get(address).content.decode()

    assert "Bob Noyce" in page
    assert "Not in Barre" in page
    assert ">Retry</button>" in page
    assert ">Retry</button>" not in as_role(roles.FINANCE).get(address).content.decode()


def test_a_row_of_the_plain_list_leads_to_the_page(world: World, csr: Client) -> None:
    answer = csr.get(reverse("admin:provisioning_productorder_change", args=[world.stuck.pk]))

    assert answer.url == reverse("admin:console_order", args=[world.stuck.public_id])
