"""Figure 7 on a subscriber's behalf: a suspension, its end, the end of a line; what is refused."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from ispops.parties import roles
from ispops.parties.models import AuditEntry
from provisioning.models import ProductOrder
from tests import factories
from tests.console.conftest import World

pytestmark = pytest.mark.django_db


@pytest.fixture
def desk(as_role: Callable[[str], Client]) -> Client:
    return as_role(roles.CSR)


def send(desk: Client, world: World, **sent: str) -> str:
    """Send the form of a line; returns the page that comes back."""
    usual = {"idempotency_key": "k", "reason": "She called", "treatment": "block", "day": ""}
    address = reverse("admin:console_change_line", args=[world.line.public_id])
    answer: Any = desk.post(address, usual | sent, follow=True)
    assert answer.status_code == 200
    return str(answer.content.decode())


def test_the_form_is_on_the_page(desk: Client, world: World) -> None:
    page = desk.get(reverse("admin:console_subscriber", args=[world.ada.public_id]))
    told = page.content.decode()
    assert "Suspend, resume or end…" in told
    assert reverse("admin:console_move_line", args=[world.line.public_id]) in told


def test_suspended_and_lifted(desk: Client, world: World) -> None:
    assert "The order is placed" in send(desk, world, what="suspend:abuse", treatment="block")
    order = ProductOrder.objects.get(intent="suspend")
    assert (order.channel, order.suspension, order.reason) == ("csr", "abuse", "She called")
    assert order.placed_by is not None
    assert AuditEntry.objects.get(subject=order.public_id).actor == order.placed_by
    factories.work(at=timezone.now())
    world.line.refresh_from_db()
    assert world.line.state == "suspended"
    page = send(desk, world, what="resume:abuse", idempotency_key="l")
    assert "The order is placed" in page
    factories.work(at=timezone.now())
    world.line.refresh_from_db()
    assert world.line.state == "active"


def test_the_end_on_a_day(desk: Client, world: World) -> None:
    day = (timezone.now() + timedelta(days=9)).date().isoformat()
    for _ in range(2):
        send(desk, world, what="cease:", day=day)
    assert ProductOrder.objects.get(intent="cease").state == "pending"


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        ({"what": "fly"}, "Choose what shall become of the line"),
        ({"what": "cease:", "day": "tomorrow"}, "Enter a day like"),
        ({"what": "cease:", "day": "2020-01-01"}, "from today on"),
        ({"what": "cease:", "reason": " "}, "Say why"),
        ({"what": "suspend:noise"}, "Use one of"),
        ({"what": "plan:dsl-25"}, "Choose what shall become of the line"),
        ({"what": "resume:abuse"}, "not suspended for this"),
        ({"what": "cease:", "idempotency_key": ""}, "Give a key"),
    ],
)
def test_what_is_refused_says_why(
    desk: Client, world: World, sent: dict[str, str], words: str
) -> None:
    assert words in send(desk, world, **sent)
    assert not ProductOrder.objects.exclude(intent="new").exists()
