"""The queue of people whom a member of staff has to look into."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.test import Client

from ispops.parties import check_asking, checks, roles
from ispops.parties.models import CheckProvider, SubscriberCheck
from tests import checker
from tests.console.conftest import NOW, World

pytestmark = pytest.mark.django_db


def test_a_check_is_decided_with_a_reason(
    world: World, as_role: Callable[[str], Client], settings: object
) -> None:
    settings.CHECKS = {"identity": "manual", "credit": "none"}  # type: ignore[attr-defined]
    row = checks.request_check(subscriber=world.bob, kind="identity", at=NOW)
    desk = as_role(roles.CSR)
    page = desk.get("/console/checks/").content.decode()
    assert world.bob.email in page
    address = f"/console/checks/{row.public_id}/decide/"
    assert address in page
    desk.post(address, {"verdict": "pass"})
    row.refresh_from_db()
    assert row.state == "pending"
    desk.post(address, {"verdict": "refuse", "reason": "Not them"})
    row.refresh_from_db()
    assert (row.state, row.reason, row.decided_by.is_staff) == ("refused", "Not them", True)  # type: ignore[union-attr]
    assert "Nobody waits" in desk.get("/console/checks/").content.decode()
    assert "Not them" in desk.get("/console/checks/?state=refused").content.decode()
    assert SubscriberCheck.objects.count() == 1


def test_what_a_checker_said_is_shown_to_who_decides(
    world: World, as_role: Callable[[str], Client], settings: object
) -> None:
    with checker.answering() as far:
        far.answers = [(500, {}), (200, {"verdict": "refer", "reason": "Two of that name"})]
        asked = {"url": far.url, "secret": "x", "timeout_seconds": 5}
        settings.CHECKS = {"identity": "http", "credit": "none"}  # type: ignore[attr-defined]
        settings.CHECKERS = {"identity": asked}  # type: ignore[attr-defined]
        row = checks.request_check(subscriber=world.bob, kind="identity", at=NOW)
        desk = as_role(roles.CSR)
        page = desk.get("/console/checks/?state=asking").content.decode()
        # Nobody has to wait for the checker.
        assert f"/console/checks/{row.public_id}/decide/" in page
        check_asking.ask_next(kind="identity", at=NOW)
        check_asking.ask_next(kind="identity", at=NOW + timedelta(minutes=1))
    page = desk.get("/console/checks/").content.decode()
    assert "The checker is not sure: Two of that name" in page
    assert "It answered 500." in page
    assert "•••" in page
    assert world.bob.name not in page.split("What was asked and answered")[1].split("</details>")[0]


def test_a_checker_that_is_left_alone_is_said_so(
    world: World, as_role: Callable[[str], Client]
) -> None:
    CheckProvider.objects.create(
        kind="credit", failures=5, open_until=NOW + timedelta(minutes=1), last_error="It is away."
    )
    page = as_role(roles.CSR).get("/console/checks/").content.decode()
    assert "The checker of credit does not answer" in page
    assert "It is away." in page
