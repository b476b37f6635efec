"""Webhooks: signed, in order per object, tried again, parked, sent again by a person."""

import json
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from pytest_django import DjangoCaptureOnCommitCallbacks, Settings
from standardwebhooks import Webhook, WebhookVerificationError

from ispops.errors import IllegalTransition, InvalidInput
from ispops.parties import destinations, partners, tasks, webhooks
from ispops.parties.models import AuditEntry, Partner, User, WebhookDelivery
from tests.receiver import Receiver

NOW = datetime(2025, 3, 3, 12, 0, tzinfo=UTC)
LATER = NOW + timedelta(days=1)
pytestmark = pytest.mark.django_db
Commit = DjangoCaptureOnCommitCallbacks


def queue(partner: Partner, *, subject: str = "sor_1", at: datetime = NOW) -> WebhookDelivery:
    delivery = webhooks.queue_webhook(
        partner=partner, kind="service_order.created", subject=subject, data={"n": 1}, at=at
    )
    assert delivery is not None
    return delivery


def test_the_body_names_kind_object_and_sequence(partner: Partner) -> None:
    queue(partner)
    second = queue(partner)
    other = queue(partner, subject="sor_2")
    second.refresh_from_db()
    assert second.body == {
        "type": "service_order.created",
        "timestamp": "2025-03-03T12:00:00Z",
        "data": {"n": 1, "id": "sor_1", "sequence": 2},
    }
    assert other.sequence == 1


def test_the_partner_can_verify_the_signature_with_the_library(
    partner: Partner, receiver: Receiver
) -> None:
    at = datetime.now(UTC)
    delivery = queue(partner, at=at)
    assert webhooks.deliver(delivery_id=delivery.pk, at=at)
    [request] = receiver.requests
    body = Webhook(partner.webhook_secret).verify(request.body, request.headers)
    assert body == json.loads(request.body)
    assert request.headers["webhook-id"] == delivery.public_id
    assert request.headers["content-type"] == "application/json"
    with pytest.raises(WebhookVerificationError):
        Webhook(partner.webhook_secret).verify(request.body + b" ", request.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(partners.new_webhook_secret()).verify(request.body, request.headers)


def test_letters_of_any_script_are_signed_as_they_are_sent(
    partner: Partner, receiver: Receiver
) -> None:
    at = datetime.now(UTC)
    delivery = webhooks.queue_webhook(
        partner=partner, kind="k", subject="s", data={"name": "Żółć ☂"}, at=at
    )
    webhooks.deliver(delivery_id=delivery.pk, at=at)
    [request] = receiver.requests
    assert Webhook(partner.webhook_secret).verify(request.body, request.headers)
    assert json.loads(request.body)["data"]["name"] == "Żółć ☂"


def test_delivery_is_recorded_and_made_once(partner: Partner, receiver: Receiver) -> None:
    delivery = queue(partner)
    assert webhooks.deliver(delivery_id=delivery.pk, at=NOW)
    assert not webhooks.deliver(delivery_id=delivery.pk, at=LATER)
    delivery.refresh_from_db()
    assert (delivery.state, delivery.delivered_at) == ("delivered", NOW)
    assert (delivery.response_status, delivery.attempts) == (204, 1)
    assert delivery.next_attempt_at is delivery.leased_until is None
    assert len(receiver.requests) == 1


def test_a_later_message_waits_for_the_earlier_one(partner: Partner, receiver: Receiver) -> None:
    first, second, other = queue(partner), queue(partner), queue(partner, subject="sor_2")
    receiver.statuses = [500]
    assert not webhooks.deliver(delivery_id=first.pk, at=NOW)
    assert not webhooks.deliver(delivery_id=second.pk, at=NOW)
    assert webhooks.deliver(delivery_id=other.pk, at=NOW)
    assert webhooks.due_deliveries(at=LATER, limit=9) == [first.pk]
    assert webhooks.deliver(delivery_id=first.pk, at=LATER)
    assert webhooks.deliver(delivery_id=second.pk, at=LATER)
    sent = [json.loads(request.body)["data"] for request in receiver.requests]
    assert [(data["id"], data["sequence"]) for data in sent] == [
        ("sor_1", 1), ("sor_2", 1), ("sor_1", 1), ("sor_1", 2),
    ]  # fmt: skip


def test_the_waiting_message_is_woken_when_its_turn_comes(
    partner: Partner, django_capture_on_commit_callbacks: Commit, sent_tasks: list
) -> None:
    first, second = queue(partner), queue(partner)
    with django_capture_on_commit_callbacks(execute=True):
        webhooks.deliver(delivery_id=first.pk, at=NOW)
    assert sent_tasks == [(tasks.deliver_webhook, {"delivery_id": str(second.pk)})]


@pytest.mark.parametrize("status", [301, 302, 307, 400, 404, 500, 503])
def test_anything_but_a_2xx_is_tried_again(
    partner: Partner, receiver: Receiver, status: int
) -> None:
    delivery = queue(partner)
    receiver.statuses = [status]
    receiver.headers = {"Location": receiver.url + "/elsewhere"}
    assert not webhooks.deliver(delivery_id=delivery.pk, at=NOW)
    delivery.refresh_from_db()
    assert (delivery.state, delivery.response_status) == ("pending", status)
    assert NOW < delivery.next_attempt_at <= NOW + timedelta(seconds=6)
    assert str(status) in delivery.last_error
    assert [request.path for request in receiver.requests] == ["/hooks"]


def test_a_partner_that_is_away_is_tried_again(partner: Partner, settings: Settings) -> None:
    partners.set_webhook_url(partner_id=partner.pk, webhook_url="http://127.0.0.1:9/", at=NOW)
    partner.refresh_from_db()
    delivery = queue(partner)
    assert not webhooks.deliver(delivery_id=delivery.pk, at=NOW)
    delivery.refresh_from_db()
    assert (delivery.state, delivery.response_status) == ("pending", None)
    assert delivery.last_error.startswith("ConnectionError")


def test_pauses_grow_until_the_message_is_parked(partner: Partner, receiver: Receiver) -> None:
    delivery = queue(partner)
    receiver.statuses = [500] * webhooks.MOST_ATTEMPTS
    at, pauses = NOW, []
    while delivery.state == "pending":
        assert not webhooks.deliver(delivery_id=delivery.pk, at=at)
        delivery.refresh_from_db()
        if delivery.next_attempt_at:
            pauses.append(delivery.next_attempt_at - at)
            at = delivery.next_attempt_at
    assert (delivery.state, delivery.attempts) == ("parked", webhooks.MOST_ATTEMPTS)
    assert len(receiver.requests) == webhooks.MOST_ATTEMPTS
    assert pauses[-1] > pauses[4] > pauses[1]
    assert max(pauses) <= webhooks.LONGEST_PAUSE
    assert not webhooks.deliver(delivery_id=delivery.pk, at=at + timedelta(days=30))


def test_gone_is_parked_at_once(partner: Partner, receiver: Receiver) -> None:
    delivery = queue(partner)
    receiver.statuses = [410]
    webhooks.deliver(delivery_id=delivery.pk, at=NOW)
    delivery.refresh_from_db()
    assert (delivery.state, delivery.response_status) == ("parked", 410)


def test_a_stopped_partner_is_not_called(partner: Partner, receiver: Receiver, cara: User) -> None:
    delivery = queue(partner)
    partners.set_partner_active(partner_id=partner.pk, active=False, actor=cara, at=NOW)
    assert not webhooks.deliver(delivery_id=delivery.pk, at=NOW)
    delivery.refresh_from_db()
    assert delivery.state == "parked"
    assert not receiver.requests
    partner.refresh_from_db()
    none = webhooks.queue_webhook(partner=partner, kind="k", subject="s", data={}, at=NOW)
    assert none is None


def test_a_partner_without_an_address_gets_no_row(db: None) -> None:
    silent = partners.create_partner(code="silent", name="Silent", kind="bsp", at=NOW)
    none = webhooks.queue_webhook(partner=silent, kind="k", subject="s", data={}, at=NOW)
    assert none is None
    assert not WebhookDelivery.objects.exists()


def test_a_name_that_leads_into_our_network_is_not_called(
    partner: Partner, settings: Settings, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    delivery = queue(partner)
    settings.WEBHOOKS_MAY_STAY_LOCAL = False
    Partner.objects.update(webhook_url="https://rebound.example/hooks")
    found = [(2, 1, 6, "", ("93.184.215.14", 443)), (2, 1, 6, "", ("10.0.0.7", 443))]
    monkeypatch.setattr(destinations.socket, "getaddrinfo", lambda *_, **__: found)
    assert not webhooks.deliver(delivery_id=delivery.pk, at=NOW)
    delivery.refresh_from_db()
    assert "10.0.0.7" in delivery.last_error
    assert not receiver.requests


def test_a_worker_that_lost_its_lease_does_not_overwrite_the_outcome(
    partner: Partner, receiver: Receiver
) -> None:
    """A slow worker's failure must not undo the delivery that its successor made."""
    delivery = queue(partner)
    receiver.statuses = [500]
    after_lease = NOW + webhooks.LEASE

    def successor() -> None:
        WebhookDelivery.objects.filter(pk=delivery.pk).update(
            leased_until=after_lease + webhooks.LEASE, attempts=2
        )

    original = webhooks._send

    def slow(row: WebhookDelivery, at: datetime) -> webhooks.Answer:
        answer = original(row, at)
        successor()
        return answer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(webhooks, "_send", slow)
        assert not webhooks.deliver(delivery_id=delivery.pk, at=NOW)
    delivery.refresh_from_db()
    assert (delivery.attempts, delivery.leased_until) == (2, after_lease + webhooks.LEASE)
    assert delivery.last_error == ""


def test_a_message_under_lease_is_not_sent_twice(partner: Partner, receiver: Receiver) -> None:
    delivery = queue(partner)
    WebhookDelivery.objects.update(leased_until=NOW + timedelta(seconds=1))
    assert not webhooks.deliver(delivery_id=delivery.pk, at=NOW)
    assert not receiver.requests
    assert webhooks.deliver(delivery_id=delivery.pk, at=NOW + timedelta(seconds=1))


def test_replay_sends_the_same_message_again(
    partner: Partner, receiver: Receiver, cara: User, sent_tasks: list,
    django_capture_on_commit_callbacks: Commit,
) -> None:  # fmt: skip
    delivery = queue(partner)
    webhooks.deliver(delivery_id=delivery.pk, at=NOW)
    with django_capture_on_commit_callbacks(execute=True):
        webhooks.replay(delivery_id=delivery.pk, actor=cara, reason="They lost it.", at=LATER)
    assert sent_tasks == [(tasks.deliver_webhook, {"delivery_id": str(delivery.pk)})]
    assert webhooks.deliver(delivery_id=delivery.pk, at=LATER)
    first, again = receiver.requests
    assert first.body == again.body
    assert first.headers["webhook-id"] == again.headers["webhook-id"]
    assert first.headers["webhook-timestamp"] != again.headers["webhook-timestamp"]
    entry = AuditEntry.objects.get(action="webhook.replayed")
    assert (entry.actor, entry.subject, entry.reason) == (cara, delivery.public_id, "They lost it.")
    assert entry.detail == {"was": "delivered", "about": "sor_1", "partner": "cinebox"}


def test_a_parked_message_and_those_behind_it_go_on_after_a_replay(
    partner: Partner, receiver: Receiver, cara: User
) -> None:
    first, second = queue(partner), queue(partner)
    receiver.statuses = [410]
    webhooks.deliver(delivery_id=first.pk, at=NOW)
    assert webhooks.due_deliveries(at=LATER, limit=9) == []
    webhooks.replay(delivery_id=first.pk, actor=cara, at=LATER)
    assert webhooks.due_deliveries(at=LATER, limit=9) == [first.pk]
    tasks.deliver_due_webhooks()
    tasks.deliver_due_webhooks()
    assert WebhookDelivery.objects.filter(state="delivered").count() == 2
    second.refresh_from_db()
    assert second.state == "delivered"


def test_replay_is_refused_while_it_is_being_sent(partner: Partner, cara: User) -> None:
    delivery = queue(partner)
    WebhookDelivery.objects.update(leased_until=NOW + timedelta(seconds=30))
    with pytest.raises(IllegalTransition):
        webhooks.replay(delivery_id=delivery.pk, actor=cara, at=NOW)
    assert not AuditEntry.objects.filter(action="webhook.replayed").exists()


def test_replay_to_a_stopped_partner_is_refused(partner: Partner, cara: User) -> None:
    delivery = queue(partner)
    Partner.objects.update(active=False)
    with pytest.raises(webhooks.PartnerTakesNoWebhooks):
        webhooks.replay(delivery_id=delivery.pk, actor=cara, at=NOW)


@pytest.mark.parametrize(
    "columns",
    [
        {"state": "delivered"},
        {"state": "parked"},
        {"next_attempt_at": None},
        {"state": "delivered", "delivered_at": NOW},
    ],
)
def test_the_database_refuses_a_state_that_contradicts_itself(
    partner: Partner, columns: dict
) -> None:
    delivery = queue(partner)
    refused = pytest.raises(IntegrityError, match="only_a_waiting_webhook_is_due")
    with refused, transaction.atomic():
        WebhookDelivery.objects.filter(pk=delivery.pk).update(**columns)


def test_the_database_refuses_a_second_first_message(partner: Partner) -> None:
    queue(partner)
    second = queue(partner)
    with pytest.raises(IntegrityError, match="webhook_sequence_once"), transaction.atomic():
        WebhookDelivery.objects.filter(pk=second.pk).update(sequence=1)


@pytest.mark.django_db(transaction=True)
def test_nothing_is_sent_or_queued_in_the_wrong_transaction(
    partner: Partner, receiver: Receiver
) -> None:
    with pytest.raises(RuntimeError, match="inside the transaction"):
        queue(partner)
    with transaction.atomic():
        delivery = queue(partner)
    with pytest.raises(RuntimeError), transaction.atomic():
        webhooks.deliver(delivery_id=delivery.pk, at=NOW)
    assert not receiver.requests
    held_open: list[bool] = []
    receiver.before_answer = lambda: held_open.append(connection.in_atomic_block)
    assert webhooks.deliver(delivery_id=delivery.pk, at=NOW)
    assert held_open == [False]


@pytest.mark.django_db(transaction=True)
def test_a_message_of_a_change_that_failed_is_never_sent(
    partner: Partner, sent_tasks: list
) -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        queue(partner)
        raise ZeroDivisionError
    assert not WebhookDelivery.objects.exists()
    assert sent_tasks == []


def test_both_secrets_sign_while_one_is_changed(
    partner: Partner, receiver: Receiver, cara: User
) -> None:
    at = datetime.now(UTC)
    old = partner.webhook_secret
    partner, new = partners.rotate_webhook_secret(partner_id=partner.pk, actor=cara, at=at)
    assert new == partner.webhook_secret != old
    delivery = queue(partner, at=at)
    webhooks.deliver(delivery_id=delivery.pk, at=at)
    [request] = receiver.requests
    for secret in (old, new):
        Webhook(secret).verify(request.body, request.headers)
    assert len(request.headers["webhook-signature"].split()) == 2
    later = queue(partner, at=at + partners.OLD_SECRET_LASTS)
    webhooks.deliver(delivery_id=later.pk, at=at + partners.OLD_SECRET_LASTS)
    assert len(receiver.requests[1].headers["webhook-signature"].split()) == 1
    told = AuditEntry.objects.get(action="partner.webhook_secret_rotated")
    assert old not in str(told.detail)
    assert new not in str(told.detail)


def test_how_the_last_answer_began_is_kept(partner: Partner, settings: Settings) -> None:
    class Teapot(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            body = b"\x00no \xff coffee" + b"x" * 5_000
            self.send_response(418)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            """Be quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Teapot)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    settings.WEBHOOKS_MAY_STAY_LOCAL = True
    partner.webhook_url = f"http://127.0.0.1:{server.server_address[1]}/"
    partner.save()
    delivery = queue(partner)
    webhooks.deliver(delivery_id=delivery.pk, at=NOW)
    server.shutdown()
    server.server_close()
    delivery.refresh_from_db()
    assert delivery.response_status == 418
    assert delivery.response_text.startswith("no \ufffd coffee")
    assert len(delivery.response_text) <= webhooks.MOST_KEPT_BYTES


def test_a_span_is_sent_again_in_order_and_once_for_a_receiver_that_looks(
    partner: Partner, receiver: Receiver, cara: User
) -> None:
    rows = [queue(partner, at=NOW + timedelta(minutes=n)) for n in range(4)]
    rows.append(queue(partner, subject="sor_2", at=NOW + timedelta(minutes=1)))
    for row in rows:
        webhooks.deliver(delivery_id=row.pk, at=NOW + timedelta(minutes=5))
    first = [request.headers["webhook-id"] for request in receiver.requests]
    since, until = NOW + timedelta(minutes=1), NOW + timedelta(minutes=3)
    count = webhooks.replay_span(
        partner=partner, since=since, until=until, actor=cara, at=LATER, reason="They lost them."
    )
    assert count == 3
    while due := webhooks.due_deliveries(at=LATER, limit=10):
        for key in due:
            webhooks.deliver(delivery_id=key, at=LATER)
    again = [request.headers["webhook-id"] for request in receiver.requests[5:]]
    assert set(again) == {rows[1].public_id, rows[2].public_id, rows[4].public_id}
    assert again.index(rows[1].public_id) < again.index(rows[2].public_id)
    assert set(again) < set(first)
    assert AuditEntry.objects.get(action="webhooks.replayed").detail["count"] == 3


def test_a_span_is_narrowed_down_and_bounded(
    partner: Partner, cara: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [queue(partner, at=NOW) for _ in range(3)]
    WebhookDelivery.objects.filter(pk=rows[0].pk).update(state="parked", next_attempt_at=None)
    WebhookDelivery.objects.filter(pk=rows[1].pk).update(leased_until=LATER + timedelta(hours=1))

    def again(**more: Any) -> int:
        span = {"since": NOW, "until": LATER} | more
        return webhooks.replay_span(partner=partner, actor=cara, at=LATER, **span)

    assert again(state="parked") == 1
    assert again() == 2, "what is being sent is left to that"
    with pytest.raises(InvalidInput, match="after the beginning"):
        again(until=NOW)
    monkeypatch.setattr(webhooks, "MOST_REPLAYED", 1)
    with pytest.raises(InvalidInput, match="shorter"):
        again()
    Partner.objects.filter(pk=partner.pk).update(active=False)
    partner.refresh_from_db()
    with pytest.raises(webhooks.PartnerTakesNoWebhooks):
        again()
