"""Rating in the console: every table opens, nothing can be edited, errors are tried again."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.test import Client
from django.urls import reverse

from ispops.parties import roles
from ispops.parties.models import AuditEntry, Subscriber
from provisioning.models import Service
from rating import billing, settlement
from rating.models import Charge, Usage
from tests import factories
from tests.rating.ground import JUNE, MAY, NOON, Shop, buy, event, rate, report, subscribed

pytestmark = pytest.mark.django_db
TABLES = [
    "purchase", "usage", "meteredsession", "ratedusage", "charge", "customerbill",
    "ledgertransaction", "ledgeraccount", "settlementstatement",
]  # fmt: skip


@pytest.fixture
def desk(settings, db: None) -> Callable[[str], Client]:
    """A browser in which a member of staff with a role is logged in."""
    settings.STAFF_NEED_SECOND_FACTOR = False

    def browser(role: str) -> Client:
        client = Client()
        client.force_login(
            factories.staff(role, at=NOON), backend="django.contrib.auth.backends.ModelBackend"
        )
        return client

    return browser


@pytest.fixture
def everything(shop: Shop, line: Service, ada: Subscriber) -> None:
    buy(line, shop.film)
    subscribed(line, shop.minutes)
    report(shop.films, event(line, shop.minutes, 150))
    rate()
    billing.issue_bill(subscriber=ada, period=MAY, at=JUNE.start)
    settlement.settle_period(partner=shop.films, period=MAY, at=JUNE.end)


@pytest.mark.usefixtures("everything")
@pytest.mark.parametrize("table", TABLES)
def test_finance_sees_every_table_and_edits_none(desk: Callable[[str], Client], table: str) -> None:
    client = desk(roles.FINANCE)
    assert client.get(reverse(f"admin:rating_{table}_changelist")).status_code == 200
    assert client.get(reverse(f"admin:rating_{table}_changelist") + "?q=x").status_code == 200
    assert client.get(reverse(f"admin:rating_{table}_add")).status_code == 403
    from django.apps import apps

    row = apps.get_model("rating", table).objects.first()
    if row is not None:
        page = reverse(f"admin:rating_{table}_change", args=[row.pk])
        assert client.get(page).status_code == 200
        assert client.post(page, {}).status_code == 403


@pytest.mark.usefixtures("everything")
def test_a_charge_says_why_it_is_what_it_is(desk: Callable[[str], Client]) -> None:
    charge = Charge.objects.get(kind="usage")
    page = desk(roles.CSR).get(reverse("admin:rating_charge_change", args=[charge.pk]))
    assert b"100 included + 50 x 0.02; 1.00 - 0.00 = 1.00" in page.content
    assert b"Films: USD 0.70" in page.content


class TestTheErrorQueue:
    def recycle(self, client: Client) -> str:
        answer = client.post(
            reverse("admin:rating_usage_changelist"),
            {
                "action": "recycle",
                "_selected_action": list(Usage.objects.values_list("pk", flat=True)),
            },
            follow=True,
        )
        return answer.content.decode()

    def test_what_can_be_rated_now_is_sent_on_its_way(
        self, shop: Shop, line: Service, desk: Callable[[str], Client]
    ) -> None:
        report(shop.films, event(line, shop.minutes, 150))
        client = desk(roles.OPERATIONS)
        assert "1 still cannot be" in self.recycle(client)
        subscribed(line, shop.minutes)
        assert "1 will be rated" in self.recycle(client)
        assert Usage.objects.with_state().get().state == "received"
        entry = AuditEntry.objects.filter(action="usage.recycled").latest("pk")
        assert entry.actor.groups.get().name == roles.OPERATIONS
        assert "None of these is in error" in self.recycle(client)

    def test_a_csr_may_look_and_not_touch(
        self, shop: Shop, line: Service, desk: Callable[[str], Client]
    ) -> None:
        report(shop.films, event(line, shop.minutes, 150))
        subscribed(line, shop.minutes)
        self.recycle(desk(roles.CSR))
        assert Usage.objects.with_state().get().state == "error"

    def test_looking_changes_nothing(
        self, shop: Shop, line: Service, desk: Callable[[str], Client]
    ) -> None:
        report(shop.films, event(line, shop.minutes, 150))
        subscribed(line, shop.minutes)
        client = desk(roles.OPERATIONS)
        client.get(
            reverse("admin:rating_usage_changelist")
            + f"?action=recycle&_selected_action={Usage.objects.get().pk}"
        )
        assert Usage.objects.with_state().get().state == "error"
