"""The availability filing in the console: what it would hold, the file, and who took it."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from playwright.sync_api import Browser, expect

from ispops.demo import people
from ispops.parties import partners, roles
from ispops.parties.models import AuditEntry, Partner
from qualification.models import Premises
from tests.console.conftest import EARLIER, NOW, World
from tests.stack import Stack

PAGE = "admin:console_filing"
DOWNLOAD = "admin:console_filing_download"


@pytest.fixture
def operations(as_role: Callable[[str], Client]) -> Client:
    return as_role(roles.OPERATIONS)


@pytest.fixture
def filed(world: World) -> World:
    Premises.objects.filter(pk=world.isp.oak_1.pk).update(location_id="1037392925")
    partners.set_fcc_identity(
        partner_id=world.isp.fibre.pk, fcc_provider_id="130317", brand_name="Fast", at=NOW
    )
    return world


def test_operations_see_what_would_be_filed_and_what_not(
    filed: World, operations: Client, django_assert_max_num_queries: Any
) -> None:
    first = operations.get(reverse(PAGE))
    assert first.status_code == 200
    assert first.context["made"] is None
    with django_assert_max_num_queries(16):
        answer = operations.get(reverse(PAGE), {"network": "fast-fibre"})
    page = answer.content.decode()
    assert answer.context["filed"] == [("Fiber", 1)]
    assert answer.context["left_out"] == [("They have no location id", 3)]
    assert "They have no location id" in page
    assert "Old Copper" not in page
    assert not AuditEntry.objects.filter(action="availability.exported").exists()


def test_operations_take_the_file_and_it_is_noted(filed: World, operations: Client) -> None:
    answer = operations.post(reverse(DOWNLOAD), {"network": "fast-fibre", "on": ""})
    assert answer.status_code == 200
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    assert answer["Content-Disposition"] == (
        'attachment; filename="availability-fast-fibre-2026-11-23.csv"'
    )
    lines = b"".join(answer.streaming_content).decode().split("\r\n")
    assert lines[1:] == ["130317,Fast,1037392925,50,1000,1000,1,X", ""]
    entry = AuditEntry.objects.get(action="availability.exported")
    assert entry.actor is not None
    assert entry.actor.groups.get().name == roles.OPERATIONS
    assert entry.subject == "partner_fast-fibre"


def test_an_earlier_day_is_counted_and_filed_as_it_was(filed: World, operations: Client) -> None:
    before = f"{EARLIER - timedelta(days=1):%Y-%m-%d}"
    assert (
        operations.get(reverse(PAGE), {"network": "fast-fibre", "on": before}).context["filed"]
        == []
    )
    answer = operations.post(reverse(DOWNLOAD), {"network": "fast-fibre", "on": before})
    assert b"".join(answer.streaming_content).count(b"\r\n") == 1


@pytest.mark.parametrize(
    "data",
    [
        {"on": "2999-01-01"},
        {"on": "9999-12-31"},
        {"on": "soon"},
        {"network": "old-copper"},
        {"network": "films"},
        {"network": "\0"},
    ],
)
def test_what_cannot_be_filed_is_said_and_nothing_is_sent(
    filed: World, operations: Client, data: dict[str, str]
) -> None:
    given = {"network": "fast-fibre", "on": ""} | data
    page = operations.get(reverse(PAGE), given)
    assert page.status_code in {400, 422}
    if page.status_code == 422:
        assert b'role="alert"' in page.content
    answer = operations.post(reverse(DOWNLOAD), given)
    assert answer.status_code in {302, 400}
    assert not AuditEntry.objects.filter(action="availability.exported").exists()


def test_without_a_network_of_our_own_there_is_nothing_to_file(
    filed: World, operations: Client
) -> None:
    Partner.objects.update(is_on_net=False)
    page = operations.get(reverse(PAGE))
    assert page.status_code == 200
    assert b"No network of ours" in page.content


@pytest.mark.parametrize("role", [roles.CSR, roles.FINANCE, roles.CATALOGUE_MANAGER])
def test_nobody_else_takes_the_file(
    filed: World, as_role: Callable[[str], Client], role: str
) -> None:
    client = as_role(role)
    assert client.get(reverse(PAGE)).status_code == 403
    answer = client.post(reverse(DOWNLOAD), {"network": "fast-fibre"})
    assert answer.status_code == 403
    assert not AuditEntry.objects.filter(action="availability.exported").exists()


@pytest.mark.browser
@pytest.mark.timeout(300)
def test_the_file_comes_through_a_real_browser_and_the_page_fits_a_phone(
    browser: Browser, stack: Stack
) -> None:
    otto = next(login for login in people.LOGINS if login.role == roles.OPERATIONS)
    page = browser.new_context(
        base_url=stack.url, viewport={"width": 390, "height": 800}
    ).new_page()
    page.goto("/console/filing/")
    page.get_by_role("textbox", name=re.compile("e-?mail", re.IGNORECASE)).fill(otto.email)
    page.get_by_label("Password").fill(otto.password)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name="Count the places").click()
    expect(page.get_by_text("A line would have to be built first")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    with page.expect_download() as taken:
        page.get_by_role("button", name="Download the filing").click()
    lines = taken.value.path().read_text().splitlines()
    assert taken.value.suggested_filename.startswith("availability-harbor-fiber-")
    assert lines[0].startswith("provider_id,brand_name,location_id,")
    assert len(lines) > 500
    assert {line.split(",")[0] for line in lines[1:]} == {"990001"}
