"""Use, thresholds and fair use on the page about a subscriber, and giving a line its speed back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse

from ispops.parties import roles
from ispops.parties.models import AuditEntry
from provisioning import slowing
from provisioning.in_force import Speed
from provisioning.models import Slowdown
from rating import watching
from tests.console.conftest import NOW, World
from tests.provisioning import later
from tests.rating.plenty import TB, moderate, use

pytestmark = pytest.mark.django_db


@pytest.fixture
def desk(as_role: Callable[[str], Client]) -> Client:
    return as_role(roles.CSR)


def page(desk: Client, world: World) -> str:
    answer = desk.get(reverse("admin:console_subscriber", args=[world.ada.public_id]))
    return " ".join(answer.content.decode().split())


def test_it_shows_what_was_passed_and_that_it_is_slow(desk: Client, world: World) -> None:
    moderate(world.line.offering, TB // 2, at=NOW)
    use(world.line, TB * 6 // 10, at=NOW)
    watching.look(at=NOW)
    told = page(desk, world)
    assert "Passed 50 %" in told
    assert "600.0 GB rated of 1.0 TB included (60 %)" in told
    assert "slowed</span> to 8 Mbit/s down, 2 Mbit/s up" in told
    assert "Fair use: from 500.0 GB on" in told


def test_it_is_lifted_with_a_reason(desk: Client, world: World) -> None:
    slowing.slow(line=world.line, to=Speed(8_000, 2_000), until=NOW + timedelta(days=20), at=NOW)
    address = reverse("admin:console_lift_slowdown", args=[world.line.public_id])
    assert address in page(desk, world)
    desk.post(address, {"reason": " "})
    assert Slowdown.objects.get().ended_at is None
    answer = desk.post(address, {"reason": "Our fault"}, follow=True)
    assert "The line has its speed back" in answer.content.decode()
    assert Slowdown.objects.get().ended_for == "staff"
    assert later.speed(world.line)[0] == world.line.offering.download_kbps
    entry = AuditEntry.objects.get(action="line.slowdown_lifted")
    assert (entry.reason, entry.subscriber) == ("Our fault", world.ada)
    again = desk.post(address, {"reason": "Twice"}, follow=True)
    assert "The line is not slowed." in again.content.decode()
    assert address not in page(desk, world)
