"""The queue of people whom a member of staff has to look into."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.test import Client

from ispops.parties import checks, roles
from ispops.parties.models import SubscriberCheck
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
