"""The tables of provisioning in the console: what they do is done by POST, and asked why."""

from datetime import datetime
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from ipam.models import AddressServer
from ispops.parties import roles
from ispops.parties.models import AuditEntry, Subscriber, User
from provisioning import execution, partner_orders
from provisioning.models import (
    AccessServer,
    AccountingInbox,
    AccountingRecord,
    OrderTask,
    ServiceOrder,
)
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


def test_an_access_server_becomes_a_client_of_freeradius(console: Client, otto: User) -> None:
    form = {
        "_form_submitted": "True", "name": "bng-1", "nas_ip": "10.0.0.1",
        "radius_secret": "short", "radius_source": "10.0.0.9",
    }  # fmt: skip
    address = reverse("admin:provisioning_accessserver_register")
    page = console.post(address, form, follow=True)
    assert "16 or more ASCII characters" in page.content.decode()
    console.post(address, form | {"radius_secret": "long-enough-secret"})
    server = AccessServer.objects.get()
    assert (server.radius_secret, server.radius_source) == ("long-enough-secret", "10.0.0.9")
    row = reverse("admin:provisioning_accessserver_change", args=[server.pk])
    assert "long-enough-secret" not in console.get(row).content.decode()
    again = reverse("admin:provisioning_accessserver_set_client", args=[server.pk])
    answers = {"_form_submitted": "True", "radius_secret": "", "reason": "Taken down"}
    console.post(again, answers)
    server.refresh_from_db()
    assert (server.radius_secret, server.radius_source) == ("", None)
    assert AuditEntry.objects.get(action="access_server.client_set").reason == "Taken down"


class TestUnreadableAccounting:
    LIST = "admin:provisioning_accountinginbox_changelist"

    @pytest.fixture
    def row(self, db: None) -> AccountingInbox:
        return AccountingInbox.objects.create(
            server="north", status_type="Start", session_id="s1", fault="No address server north."
        )

    def test_it_is_shown_with_its_reason(self, console: Client, row: AccountingInbox) -> None:
        page = console.get(reverse(self.LIST), {"fault__isempty": "0"}).content.decode()
        assert "No address server north." in page

    def test_reading_again(self, console: Client, row: AccountingInbox) -> None:
        ticked = {"action": "read_again", "_selected_action": [row.pk]}
        page = console.post(reverse(self.LIST), ticked, follow=True).content.decode()
        assert "There is no address server north" in page
        AddressServer.objects.create(name="north", kind="radius", secret_digest="0" * 64)
        page = console.post(reverse(self.LIST), ticked, follow=True).content.decode()
        assert "Messages that can be read now: 1." in page
        assert AccountingRecord.objects.get().session_id == "s1"
        assert AuditEntry.objects.filter(action="accounting_message.read_again").count() == 1

    def test_forgetting(self, console: Client, row: AccountingInbox, otto: User) -> None:
        address = reverse("admin:provisioning_accountinginbox_forget", args=[row.pk])
        console.post(address, {"_form_submitted": "True", "reason": ""})
        assert AccountingInbox.objects.exists()
        console.post(address, {"_form_submitted": "True", "reason": "A test device"})
        assert not AccountingInbox.objects.exists()
        assert AuditEntry.objects.get(action="accounting_message.forgotten").actor == otto

    @pytest.mark.parametrize("role", [roles.CSR, roles.FINANCE])
    def test_others_may_not(
        self, client: Client, row: AccountingInbox, role: str, at: datetime, settings: Settings
    ) -> None:
        settings.STAFF_NEED_SECOND_FACTOR = False
        client.force_login(
            factories.staff(role, at=at), backend="django.contrib.auth.backends.ModelBackend"
        )
        address = reverse("admin:provisioning_accountinginbox_forget", args=[row.pk])
        answer = client.post(address, {"_form_submitted": "True", "reason": "x"})
        assert answer.status_code == 403
        assert AccountingInbox.objects.exists()
