"""The tables of provisioning in the console: what they do is done by POST, and asked why."""

from datetime import datetime
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from ispops.parties import roles
from ispops.parties.models import AuditEntry, Subscriber, User
from provisioning import execution, partner_orders
from provisioning.models import AccessServer, OrderTask, ServiceOrder
from tests import factories
from tests.small_isp import SmallIsp

TASKS = "admin:provisioning_ordertask_changelist"


@pytest.fixture
def fallen(isp: SmallIsp, ada: Subscriber, at: datetime) -> OrderTask:
    factories.order(ada, isp.oak_1, "fibre-and-films", at=at)
    execution.run_due(at=at, limit=10)
    asked = ServiceOrder.objects.get()
    partner_orders.fail(service_order_id=asked.pk, partner=asked.partner, reason="No", at=at)
    factories.deliver_events(at=at)
    return OrderTask.objects.get(state="fallout")


@pytest.fixture
def console(client: Client, otto: User, settings: Settings) -> Client:
    settings.STAFF_NEED_SECOND_FACTOR = False
    client.force_login(otto, backend="django.contrib.auth.backends.ModelBackend")
    return client


def skip_url(task: OrderTask) -> str:
    return reverse("admin:provisioning_ordertask_skip", args=[task.pk])


def retry(console: Client, task: OrderTask) -> Any:
    ticked = {"action": "retry", "_selected_action": [task.pk]}
    return console.post(reverse(TASKS), ticked, follow=True)


def test_retrying_what_was_ticked(console: Client, fallen: OrderTask, otto: User) -> None:
    page = retry(console, fallen)
    assert "Steps that will be tried again: 1." in page.content.decode()
    fallen.refresh_from_db()
    assert fallen.state == "ready"
    assert AuditEntry.objects.get(action="order_task.retried").actor == otto


def test_a_refusal_is_shown_in_words(console: Client, fallen: OrderTask) -> None:
    waiting = fallen.order.tasks.get(kind="go_live")
    page = retry(console, waiting)
    assert "Only a step that needs a person can be tried again." in page.content.decode()
    waiting.refresh_from_db()
    assert waiting.state == "pending"


def test_looking_changes_nothing(console: Client, fallen: OrderTask) -> None:
    """The dialog is shown by GET, and only shown."""
    page = console.get(skip_url(fallen))
    assert page.status_code == 200
    assert "Why can it be skipped?" in page.content.decode()
    console.get(skip_url(fallen), {"reason": "Please", "_form_submitted": "True"})
    fallen.refresh_from_db()
    assert fallen.state == "fallout"


def test_skipping_with_a_reason(console: Client, fallen: OrderTask, otto: User) -> None:
    console.post(skip_url(fallen), {"_form_submitted": "True", "reason": ""})
    fallen.refresh_from_db()
    assert fallen.state == "fallout"
    console.post(skip_url(fallen), {"_form_submitted": "True", "reason": "Sold out"})
    fallen.refresh_from_db()
    assert fallen.state == "skipped"
    entry = AuditEntry.objects.get(action="order_task.skipped")
    assert (entry.actor, entry.reason) == (otto, "Sold out")


def test_who_may_look_may_not_work(
    client: Client, fallen: OrderTask, settings: Settings, at: datetime
) -> None:
    settings.STAFF_NEED_SECOND_FACTOR = False
    finance = factories.staff(roles.FINANCE, at=at)
    client.force_login(finance, backend="django.contrib.auth.backends.ModelBackend")
    retry(client, fallen)
    client.post(skip_url(fallen), {"_form_submitted": "True", "reason": "Please"})
    fallen.refresh_from_db()
    assert fallen.state == "fallout"
    assert not AuditEntry.objects.filter(action__startswith="order_task.").exists()


def test_registering_an_access_server(console: Client, otto: User) -> None:
    address = reverse("admin:provisioning_accessserver_register")
    assert "NAS-IP-Address" in console.get(address).content.decode()
    form = {"_form_submitted": "True", "name": "bng-1", "nas_ip": "10.0.0.1"}
    console.get(address, form)
    console.post(address, form | {"nas_ip": "10.0.0"})
    assert not AccessServer.objects.exists()
    console.post(address, form)
    server = AccessServer.objects.get()
    assert (server.name, server.nas_ip, server.counters_reversed) == ("bng-1", "10.0.0.1", False)
    page = console.post(address, form, follow=True)
    assert "is registered already" in page.content.decode()
    turn = reverse("admin:provisioning_accessserver_turn_round", args=[server.pk])
    console.post(turn, {"_form_submitted": "True", "reason": "Seen in a capture"})
    server.refresh_from_db()
    assert server.counters_reversed
    assert AuditEntry.objects.filter(action__startswith="access_server.", actor=otto).count() == 2
