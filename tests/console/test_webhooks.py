"""The console's pages of webhooks and of partners at work."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from ispops.parties import roles, webhooks
from ispops.parties.models import AuditEntry, Partner, User, WebhookDelivery
from provisioning.models import ServiceOrder
from tests import factories
from tests.console.conftest import World

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
AsUser = Callable[[User], Client]
pytestmark = pytest.mark.django_db


@pytest.fixture
def films(world: World) -> Partner:
    partner = Partner.objects.get(code="films")
    partner.webhook_url = "https://films.example/hooks"
    partner.save()
    for number in range(3):
        webhooks.queue_webhook(
            partner=partner, kind="service_order.created", subject=f"sor_{number}",
            data={"offering": "<b>films</b>"}, at=NOON + timedelta(minutes=number),
        )  # fmt: skip
    WebhookDelivery.objects.filter(subject="sor_0").update(
        state="parked", next_attempt_at=None, attempts=12, response_status=500,
        response_text="<h1>It is on fire</h1>", last_error="The partner answered 500.",
    )  # fmt: skip
    return partner


@pytest.fixture
def operations(world: World) -> User:
    return factories.staff(roles.OPERATIONS, at=NOON)


def listing(client: Client, **query: str) -> str:
    answer = client.get(reverse("admin:console_webhooks"), query)
    assert answer.status_code == 200
    return answer.content.decode()


def test_the_list_is_narrowed_down(films: Partner, operations: User, as_user: AsUser) -> None:
    client = as_user(operations)
    shown = {row: f'"?about=sor_{row}"' for row in range(3)}
    page = listing(client, partner="films")
    assert all(text in page for text in shown.values())
    page = listing(client, state="parked")
    assert shown[0] in page
    assert shown[1] not in page
    page = listing(client, about="sor_2", kind="service_order.created")
    assert shown[2] in page
    assert shown[1] not in page
    assert "No message here" in listing(client, kind="nothing.such")
    assert "No message here" in listing(client, about="x\0y")


def test_a_message_is_shown_with_its_body_and_the_last_answer(
    films: Partner, operations: User, as_user: AsUser
) -> None:
    row = WebhookDelivery.objects.get(subject="sor_0")
    client = as_user(operations)
    page = client.get(reverse("admin:console_webhook", args=[row.public_id])).content.decode()
    assert "&lt;h1&gt;It is on fire&lt;/h1&gt;" in page
    assert "&lt;b&gt;films&lt;/b&gt;" in page
    assert films.webhook_secret not in page
    answer = client.get(reverse("admin:console_webhook", args=["msg_x"]))
    assert answer.status_code == 404
    plain = reverse("admin:parties_webhookdelivery_change", args=[row.pk])
    assert client.get(plain).url.endswith(f"/webhooks/{row.public_id}/")


def test_one_and_a_span_are_sent_again(films: Partner, operations: User, as_user: AsUser) -> None:
    client = as_user(operations)
    row = WebhookDelivery.objects.get(subject="sor_0")
    client.post(reverse("admin:console_replay", args=[row.public_id]))
    row.refresh_from_db()
    assert (row.state, row.attempts) == ("pending", 0)
    WebhookDelivery.objects.update(state="parked", next_attempt_at=None)
    span = {
        "partner": "films", "since": "2026-05-04T08:00", "until": "2026-05-04T08:02", "state": "",
        "reason": "They lost an hour.",
    }  # fmt: skip
    path = reverse("admin:console_replay_span")
    answer = client.post(path, span, follow=True)
    assert "sent again: 2." in answer.content.decode()
    assert WebhookDelivery.objects.filter(state="parked").count() == 1
    assert AuditEntry.objects.get(action="webhooks.replayed").reason == "They lost an hour."
    for wrong, says in (
        ({"reason": ""}, "required"),
        ({"until": "2026-05-04T07:00"}, "after the beginning"),
        ({"since": "soon"}, "valid date"),
        ({"partner": "nobody"}, "valid choice"),
    ):
        answer = client.post(path, span | wrong)
        assert answer.status_code == 422
        assert says in answer.content.decode()


def test_who_may_only_look_has_no_buttons(films: Partner, as_user: AsUser) -> None:
    client = as_user(factories.staff(roles.CSR, at=NOON))
    page = listing(client)
    assert "Send again" not in page
    path = reverse("admin:console_replay_span")
    assert client.post(path, {"partner": "films"}).status_code == 403


def test_the_list_costs_the_same_for_any_number(
    films: Partner, operations: User, as_user: AsUser,
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:  # fmt: skip
    client = as_user(operations)
    with django_assert_max_num_queries(14) as first:
        listing(client)
    for number in range(10):
        webhooks.queue_webhook(
            partner=films, kind="service_order.created", subject=f"sor_x{number}", data={}, at=NOON
        )
    with django_assert_max_num_queries(len(first)):
        listing(client)


class TestPartnersAtWork:
    @pytest.fixture
    def asked(self, world: World) -> ServiceOrder:
        row = ServiceOrder.objects.filter(state="acknowledged").first()
        if row is None:
            factories.order(world.ada, world.isp.elm_1, "dsl-6", at=timezone.now())
            factories.work(at=timezone.now(), answer_partners=False)
            row = ServiceOrder.objects.get(state="acknowledged")
        return row

    def page(self, client: Client, **query: str) -> str:
        answer = client.get(reverse("admin:console_partner_orders"), query)
        assert answer.status_code == 200
        return answer.content.decode()

    def test_open_ones_and_those_that_are_overdue(
        self, asked: ServiceOrder, operations: User, as_user: AsUser
    ) -> None:
        client = as_user(operations)
        order = reverse("admin:console_order", args=[asked.task.order.public_id])
        assert order in self.page(client)
        assert order in self.page(client, partner=asked.partner.code)
        assert order not in self.page(client, partner="films-nobody")
        assert "No partner is late." in self.page(client, show="overdue")
        ServiceOrder.objects.update(
            expected_at=timezone.now() - timedelta(days=1), progress="held", message="No <key>."
        )
        late = self.page(client, show="overdue")
        assert order in late
        assert "! overdue" in late
        assert "“No &lt;key&gt;.”" in late
        assert "was taken back" in self.page(client, show="stuck")
