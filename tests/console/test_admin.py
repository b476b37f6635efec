"""Every table of the console opens, is read-only where it should be, and keeps secrets."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.contrib import admin
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from ispops.admin_base import ReadOnlyAdmin, secret_fields
from ispops.console import queues, sidebar_entries
from ispops.csp import CONSOLE_POLICY
from ispops.parties import roles
from ispops.parties.models import User
from provisioning.models import AaaCredential, ProductOrder, Service
from tests.console.conftest import World

PRODUCT = {
    "parties",
    "notices",
    "catalog",
    "qualification",
    "ipam",
    "provisioning",
    "rating",
    "ispops",
}
LIST_BUDGET = 16


def test_every_list_and_every_row_opens_within_its_budget(
    world: World, boss: User, as_user: Callable[[User], Client]
) -> None:
    """One world serves all lists: making it costs more than opening a page."""
    client = as_user(boss)
    wrong: dict[str, object] = {}
    for model in admin.site._registry:
        name = f"{model._meta.app_label}_{model._meta.model_name}"
        with CaptureQueriesContext(connection) as queries:
            opened = client.get(reverse(f"admin:{name}_changelist")).status_code
        searched = client.get(reverse(f"admin:{name}_changelist"), {"q": "ada"}).status_code
        rows = [
            client.get(reverse(f"admin:{name}_change", args=[row.pk]), follow=True).status_code
            for row in model._default_manager.all()[:2]
        ]
        if {opened, searched, *rows} != {200} or len(queries) > LIST_BUDGET:
            wrong[name] = (opened, searched, rows, len(queries))

    assert wrong == {}


def test_times_of_lists_and_rows_are_those_of_the_isp_s_clock_and_say_so(
    world: World, boss: User, as_user: Callable[[User], Client]
) -> None:
    client = as_user(boss)
    placed = ProductOrder.objects.earliest("placed_at")
    clock = placed.placed_at.astimezone(ZoneInfo("America/New_York"))
    listed = client.get(reverse("admin:provisioning_productorder_changelist")).content.decode()
    assert f'title="{clock:%d %b %Y %H:%M:%S %Z}">{clock:%d %b %Y %H:%M}</time>' in listed
    line = Service.objects.earliest("created_at")
    clock = line.created_at.astimezone(ZoneInfo("America/New_York"))
    row = reverse("admin:provisioning_service_change", args=[line.pk])
    assert f"{clock:%-d %b %Y %H:%M %Z}" in client.get(row).content.decode()


def test_every_table_of_the_product_has_a_list() -> None:
    from django.apps import apps

    inside_others = {
        "bundlecomponent", "billline", "ledgerentry", "productorderitem", "ordertask",
        "taskattempt", "inquiryattempt", "freeextent", "idempotentanswer", "billnumber",
        "usagekey", "usageposting", "waitingusage", "ratinglane", "usedprice", "chargekey",
        "chargedspan",
        "qualifiedoffer", "serviceperiod", "partnersubscriber", "cataloguerevision",
        "deliveryattempt", "profilerevision", "usagelook", "waitingaccounting",
    }  # fmt: skip
    with_own_pages = {"bulkqualification", "coverageimport", "outsidesystem"}
    missing = {
        model._meta.model_name
        for model in apps.get_models()
        if model._meta.app_label in PRODUCT and model not in admin.site._registry
    }

    assert missing <= inside_others | with_own_pages


def test_nothing_of_the_money_or_the_work_is_edited_in_a_form(
    world: World, boss: User, as_user: Callable[[User], Client]
) -> None:
    client = as_user(boss)
    # A form of these is a verb's; see `VerbForm`.
    settings = {
        "deliveryconnection",
        "dhcpserver",
        "equipmentmodel",
        "subscriberequipment",
        "installslot",
    }
    for model, table in admin.site._registry.items():
        if model._meta.model_name not in settings and model._meta.app_label in {
            "rating",
            "provisioning",
        }:
            assert isinstance(table, ReadOnlyAdmin), model
            name = f"{model._meta.app_label}_{model._meta.model_name}"
            assert client.get(reverse(f"admin:{name}_add")).status_code == 403


def test_secrets_are_on_no_page(
    world: World, boss: User, as_user: Callable[[User], Client]
) -> None:
    credential = AaaCredential.objects.get(service=world.line)

    page = as_user(boss).get(
        reverse("admin:provisioning_aaacredential_change", args=[credential.pk])
    )

    assert credential.username in page.content.decode()
    assert credential.secret not in page.content.decode()
    assert secret_fields(AaaCredential) == ["secret"]


def test_a_row_is_found_by_its_public_id(
    world: World, boss: User, as_user: Callable[[User], Client]
) -> None:
    page = as_user(boss).get(
        reverse("admin:provisioning_service_changelist"), {"q": world.line.public_id}
    )

    assert str(world.line.pk) in page.content.decode()


def test_every_entry_of_the_sidebar_and_every_queue_opens(
    world: World, boss: User, as_user: Callable[[User], Client]
) -> None:
    client = as_user(boss)
    entries = [entry for _, group in sidebar_entries.GROUPS for entry in group]
    links = {reverse(entry.address) + f"?{entry.query}" for entry in entries}
    links |= {queue.href for queue in queues.QUEUES}

    # A list that does not know a filter answers with a redirect.
    assert {link: client.get(link).status_code for link in links} == dict.fromkeys(links, 200)


@pytest.mark.parametrize("role", roles.STAFF_ROLES)
def test_the_sidebar_offers_nothing_that_is_closed(
    role: str, world: World, as_role: Callable[[str], Client]
) -> None:
    client = as_role(role)
    shown = client.get(reverse("admin:index")).context["sidebar_navigation"]

    links = [item["link"] for group in shown for item in group["items"]]
    assert len(links) > (2 if role == roles.TECHNICIAN else 5)
    assert {link: client.get(link).status_code for link in links} == dict.fromkeys(links, 200)


def test_pages_obey_the_content_security_policy(
    world: World, boss: User, as_user: Callable[[User], Client]
) -> None:
    client = as_user(boss)
    pages = (
        reverse("admin:index"),
        reverse("admin:console_qualify"),
        reverse("admin:console_subscriber", args=[world.ada.public_id]),
        reverse("admin:console_order", args=[world.stuck.public_id]),
        reverse("admin:provisioning_service_changelist"),
        reverse("admin:parties_partner_change", args=[world.isp.films.pk]),
    )

    for address in pages:
        answer = client.get(address)
        page = answer.content.decode()
        assert answer.headers["Content-Security-Policy"] == CONSOLE_POLICY
        assert not re.findall(r"<script(?![^>]*\bsrc=)[^>]*>", page), address
        assert not re.findall(r'\son[a-z]+="', page), address
        assert not re.findall(r'(?:src|href|action)="(?:https?:)?//', page), address


def test_unfolds_own_search_leads_to_ours(
    world: World, boss: User, as_user: Callable[[User], Client]
) -> None:
    answer = as_user(boss).get(reverse("admin:search"), {"s": "ada"})

    assert answer.url == f"{reverse('admin:console_search')}?q=ada"


def test_the_demonstration_is_labelled(
    world: World, boss: User, as_user: Callable[[User], Client], settings: Any
) -> None:
    client = as_user(boss)
    settings.DEMO = True
    assert "Demo" in client.get(reverse("admin:index")).content.decode()

    settings.DEMO = False
    assert "Demo" not in client.get(reverse("admin:index")).content.decode()
