"""Customer 360: everything of one subscriber on one page, and nothing of another."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries

from ipam.models import Allocation
from ispops.db import PublicIdModel
from ispops.parties import roles, webhooks
from ispops.parties.models import AuditEntry, Subscriber, User, WebhookDelivery
from provisioning import accounting, sessions
from provisioning.models import AaaCredential, AccessServer, PartnerSubscriber
from rating import balances, ledger, usage
from tests import factories
from tests.console.conftest import EARLIER, NOW, World

# What the page may cost; it grows by three reads with each line and by nothing else.
BUDGET = 56


@pytest.fixture
def csr(as_role: Callable[[str], Client]) -> Client:
    return as_role(roles.CSR)


def page_of(client: Client, row: PublicIdModel) -> str:
    answer = client.get(reverse("admin:console_subscriber", args=[row.public_id]))
    assert answer.status_code == 200
    return answer.content.decode()


def account_traffic(world: World, *, download: int, upload: int) -> None:
    """The line's access server tells of a session, and a worker meters it."""
    AccessServer.objects.create(name="bng-1", nas_ip="192.0.2.1")
    common: dict[str, Any] = {
        "User-Name": AaaCredential.objects.get(service=world.line).username,
        "Acct-Session-Id": "s-1",
        "Acct-Unique-Session-Id": "u-1",
        "NAS-IP-Address": "192.0.2.1",
        "Calling-Station-Id": "02-00-00-00-00-01",
        "Framed-IP-Address": "100.64.0.9",
    }
    for status, seconds, octets in (
        ("Start", 0, (0, 0)),
        ("Interim-Update", 300, (upload, download)),
    ):
        record = common | {
            "Acct-Status-Type": status,
            "Acct-Session-Time": seconds,
            "Acct-Input-Octets": octets[0],
            "Acct-Output-Octets": octets[1],
            "Event-Timestamp": int((NOW - timedelta(seconds=300 - seconds)).timestamp()),
        }
        accounting.record_accounting(
            server=world.server,
            attributes={
                key: {"type": "string", "value": [str(value)]} for key, value in record.items()
            },
            received_at=NOW - timedelta(seconds=300 - seconds),
        )
    sessions.follow_accounting(at=NOW)
    usage.meter_accounting(at=NOW, limit=100)
    usage.rate_usage(at=NOW, limit=100)


def test_who_they_are_and_what_they_have(world: World, csr: Client) -> None:
    page = page_of(csr, world.ada)

    for words in (
        "ada@example.com", "+1 802 555 0117", "In good standing", "1 Oak Street, Barre, VT 05641",
        "500 Mbit/s down", "barre-1 port 1", "A film tonight", "Never seen online",
        AaaCredential.objects.get(service=world.line).username,
    ):  # fmt: skip
        assert words in page


def test_money_is_shown_with_why(world: World, csr: Client) -> None:
    page = page_of(csr, world.ada)

    assert "USD 4.99" in page
    assert "Films: USD" in page or "Harbor Broadband: USD" in page
    assert "A price that is paid once" in page
    assert "No bill has been issued yet." in page


def test_devices_and_requests_are_shown_with_the_buttons_to_decide(
    world: World, csr: Client
) -> None:
    page = page_of(csr, world.ada)

    held = Allocation.objects.get(holder__service_ref=world.line.public_id, counts=True, family=4)
    assert str(held.address).removesuffix("/32") in page
    assert f'The device <code class="c-code">{world.request.device}</code> asks' in page
    assert reverse("admin:console_accept_request", args=[world.request.public_id]) in page


def test_traffic_and_the_session_are_shown(world: World, csr: Client) -> None:
    account_traffic(world, download=7_400_000_000 % 2**32, upload=1_000_000)

    page = page_of(csr, world.ada)

    assert "Online" in page
    assert "100.64.0.9" in page
    assert "3.1 GB metered" in page
    assert "Usage, 3.1 GB" in page, "the running bill says of how much"


def test_what_partners_were_asked_and_how_they_know_the_subscriber(
    world: World, csr: Client
) -> None:
    page = page_of(csr, world.ada)

    known = PartnerSubscriber.objects.get(subscriber=world.ada)
    assert known.reference in page
    assert "OK-1" in page


def test_the_timeline_has_events_and_peoples_actions_newest_first(
    world: World, csr: Client
) -> None:
    page = page_of(csr, world.ada)

    timeline = page[page.index('id="timeline"') :]
    newest, oldest = timeline.index("Address requested"), timeline.index("Subscriber registered")
    assert newest < oldest
    assert "by ada@example.com" in timeline
    assert timeline.count("Order placed") == 1


def test_nothing_of_another_subscriber_is_on_the_page(world: World, csr: Client) -> None:
    page = page_of(csr, world.bob)

    assert "Bob Noyce" in page
    for foreign in ("Ada Lovelace", "ada@example.com", "1 Oak Street", "A film tonight",
                    world.request.device, world.line.public_id):  # fmt: skip
        assert foreign not in page


def test_stuck_work_is_said_first(world: World, csr: Client) -> None:
    page = page_of(csr, world.bob)

    notice = page.index("Grant entitlement stopped")
    assert notice < page.index('id="lines"')


def test_the_cost_does_not_grow_with_what_the_subscriber_has(
    world: World, boss: User, as_user: Callable[[User], Client],
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:  # fmt: skip
    client = as_user(boss)
    with django_assert_max_num_queries(BUDGET) as first:
        page_of(client, world.ada)

    for _ in range(3):
        factories.order(world.ada, world.isp.elm_1, world.isp.slow_dsl.code, at=NOW)
    for number in range(5):
        AuditEntry.objects.create(
            at=NOW, actor_name="worker", action="x.y", subject=f"n{number}", subscriber=world.ada
        )
    with django_assert_max_num_queries(len(first) + 3 * 4):
        page_of(client, world.ada)


def test_a_parked_webhook_can_be_sent_again(
    world: World, as_user: Callable[[User], Client], boss: User, settings: Any
) -> None:
    from django.db import transaction

    settings.WEBHOOKS_MAY_STAY_LOCAL = True
    world.isp.films.webhook_url = "http://127.0.0.1:9/hook"
    world.isp.films.save()
    with transaction.atomic():
        message = webhooks.queue_webhook(
            partner=world.isp.films, kind="test.ping", subject=world.line.public_id, data={},
            at=EARLIER,
        )  # fmt: skip
    assert message is not None
    WebhookDelivery.objects.filter(pk=message.pk).update(state="parked", next_attempt_at=None)
    client = as_user(boss)
    assert "did not take the message" in page_of(client, world.ada)

    client.post(reverse("admin:console_replay", args=[message.public_id]))

    message.refresh_from_db()
    assert message.state == "pending"
    assert AuditEntry.objects.filter(subject=message.public_id, actor=boss).exists()


def test_an_account_is_restricted_and_released_with_a_reason(world: World, csr: Client) -> None:
    address = reverse("admin:console_set_standing", args=[world.ada.public_id])

    csr.post(address, {"standing": "restricted", "reason": " "})
    world.ada.refresh_from_db()
    assert world.ada.standing == "good"

    for standing in ("restricted", "good"):
        csr.post(address, {"standing": standing, "reason": f"Now {standing}"})
        world.ada.refresh_from_db()
        entry = AuditEntry.objects.filter(action="subscriber.standing_set").latest("pk")
        assert world.ada.standing == standing
        assert (entry.subscriber, entry.reason) == (world.ada, f"Now {standing}")

    csr.post(address, {"standing": "closed", "reason": "x"})
    world.ada.refresh_from_db()
    assert world.ada.standing == "good"


def test_an_account_is_set_to_prepaid_and_paid_in(world: World, csr: Client) -> None:
    switch = reverse("admin:console_set_prepaid", args=[world.ada.public_id])
    pay_in = reverse("admin:console_top_up", args=[world.ada.public_id])
    csr.post(switch, {"prepaid": "yes", "reason": " "})
    csr.post(pay_in, {"amount": "20.00", "reference": "Receipt 1"})
    assert "Enter a prepayment" not in page_of(csr, world.ada)

    csr.post(switch, {"prepaid": "yes", "reason": "Asked"})
    for amount in ("x", "20.00", "20,00", "21"):
        csr.post(pay_in, {"amount": amount, "reference": "Receipt 1"})

    [bucket] = balances.prepaid(Subscriber.objects.get(pk=world.ada.pk), NOW)
    assert bucket.allowed == 20
    assert "Paid ahead" in page_of(csr, world.ada)
    csr.post(switch, {"prepaid": "no", "reason": "Asked"})
    assert ledger.balance(world.ada) == -20


def test_a_row_of_the_plain_list_leads_to_the_page(world: World, csr: Client) -> None:
    answer = csr.get(reverse("admin:parties_subscriber_change", args=[world.ada.pk]))

    assert answer.url == reverse("admin:console_subscriber", args=[world.ada.public_id])


def test_the_list_is_filtered_by_its_address(world: World, csr: Client) -> None:
    address = reverse("admin:console_subscribers")

    assert b"Ada Lovelace" in csr.get(address).content
    assert b"Ada Lovelace" in csr.get(address, {"standing": "good"}).content
    assert b"Ada Lovelace" not in csr.get(address, {"standing": "restricted"}).content


@pytest.mark.parametrize("ref", ["nonsense", f"sub_{'0' * 32}", f"ord_{'0' * 32}"])
def test_nobody_is_not_found(ref: str, world: World, csr: Client) -> None:
    assert csr.get(reverse("admin:console_subscriber", args=[ref])).status_code == 404
