"""The same message three times at once, and once more, by each way in from outside; and one of
ours that goes out twice."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
import requests
from django.db import transaction
from django.urls import URLPattern, get_resolver
from django.utils import timezone
from standardwebhooks import Webhook

from ispops import processes
from ispops.models import Event
from ispops.notices.models import Notice
from ispops.parties import partners, payments, webhooks
from ispops.parties.gateways import stripe
from ispops.parties.models import AuditEntry, PaymentMethod, Subscriber, WebhookDelivery
from provisioning import delivery_connections
from provisioning.models import DeliveryNotice, OrderTask, ServiceOrder
from qualification import waitlist
from qualification.models import WaitlistEntry
from tests import factories, receiver
from tests.faults.workers import Workers
from tests.offnet import CALLBACK_TOKEN, connect
from tests.small_isp import SmallIsp

if TYPE_CHECKING:
    from pytest_django import Settings
    from pytest_django.live_server_helper import LiveServer


pytestmark = pytest.mark.faults
DELIVER = """
from django.utils import timezone
from ispops.parties import webhooks
for key in webhooks.due_deliveries(at=timezone.now(), limit=9):
    webhooks.deliver(delivery_id=key, at=timezone.now())
"""
SECRET, SMS_TOKEN = "whsec_of_the_tests", "only-the-gateway-knows-this"
# The calls that are made without a session of ours, other than those of the API and of FreeRADIUS:
# by name of their address.
HOOKS = {"delivery-listener", "stripe_events", "sms_reports", "leave_waitlist"}


def test_each_way_in_has_a_test() -> None:
    def walk(patterns: list[Any], path: str = "") -> list[tuple[str, URLPattern]]:
        return [
            found
            for each in patterns
            for found in (
                [(path + str(each.pattern), each)]
                if isinstance(each, URLPattern)
                else walk(each.url_patterns, path + str(each.pattern))
            )
        ]

    open_to_all = {
        pattern.name
        for path, pattern in walk(get_resolver().url_patterns)
        if getattr(pattern.callback, "csrf_exempt", False)
        and not path.startswith(("api/", "aaa/", "identity/"))
    }
    assert open_to_all == HOOKS


def three_times_and_once_more(send: Callable[[], requests.Response]) -> list[int]:
    """Send the same message from three sides at once, and again when they are answered."""
    with ThreadPoolExecutor(3) as senders:
        answers = [sending.result() for sending in [senders.submit(send) for _ in range(3)]]
    return [answer.status_code for answer in [*answers, send()]]


def test_a_network_that_tells_of_the_same_end_again(
    live_server: LiveServer, isp: SmallIsp, ada: Subscriber
) -> None:
    now = timezone.now()
    off = connect(isp, "", at=now, adapter="files", folder="tidewater")
    off.connection.active = False  # what its list says is taken for true
    off.connection.save()
    delivery_connections.connect_delivery(
        partner=off.tidewater, base_url="http://127.0.0.1:9", token="x" * 20,
        callback_token=CALLBACK_TOKEN, timeout_seconds=2, look_every_seconds=600, at=now,
    )  # fmt: skip
    factories.order(ada, off.knox, "cable-200", at=now)
    factories.work(at=now, answer_partners=False)
    asked = ServiceOrder.objects.get()
    told = {
        "eventId": "evt-1", "eventTime": now.isoformat(),
        "eventType": "ServiceOrderStateChangeEvent",
        "event": {"serviceOrder": {
            "id": "TW-1", "externalId": asked.public_id, "state": "completed",
            "serviceOrderItem": [{"id": "1", "service": {"id": "LINE-1"}}],
        }},
    }  # fmt: skip
    answers = three_times_and_once_more(
        lambda: requests.post(
            f"{live_server.url}/tmf-api/serviceOrdering/v4/listener/serviceOrderStateChangeEvent",
            json=told, headers={"Authorization": f"Bearer {CALLBACK_TOKEN}"}, timeout=60,
        )
    )  # fmt: skip
    assert answers == [201] * 4
    asked.refresh_from_db()
    assert asked.state == "completed"
    assert Event.objects.filter(kind="service_order.completed").count() == 1
    assert DeliveryNotice.objects.count() == 1
    factories.work(at=timezone.now())
    assert set(OrderTask.objects.values_list("state", flat=True)) == {"completed"}


def test_stripe_that_tells_of_the_same_card_again(
    live_server: LiveServer, ada: Subscriber, settings: Settings
) -> None:
    settings.STRIPE_SECRET_KEY, settings.STRIPE_WEBHOOK_SECRET = "sk_test_tests", SECRET
    card = payments.choose_payment(subscriber=ada, kind="card", actor=None, at=timezone.now())
    event = {"type": "checkout.session.completed", "data": {"object": {
        "mode": "setup", "setup_intent": "seti_1", "customer": "cus_1",
        "client_reference_id": card.public_id,
    }}}  # fmt: skip
    body = json.dumps(event).encode()
    with stripe_answering() as settings.STRIPE_API_URL:
        signature = stripe.sign(body, secret=SECRET, at=int(time.time()))
        answers = three_times_and_once_more(
            lambda: requests.post(
                f"{live_server.url}/payments/stripe/events", data=body, timeout=60,
                headers={"Stripe-Signature": signature, "Content-Type": "application/json"},
            )
        )  # fmt: skip
    assert answers == [200] * 4
    assert list(PaymentMethod.objects.filter(state="active").values_list("pk", flat=True)) == [
        card.pk
    ]
    assert AuditEntry.objects.filter(action="payment_method.confirmed").count() == 1


@contextlib.contextmanager
def stripe_answering() -> Iterator[str]:
    """Stripe's answer to what card it is (https://docs.stripe.com/api/setup_intents)."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            card = {"id": "pm_1", "card": {"brand": "visa", "last4": "4242"}}
            content = json.dumps({"status": "succeeded", "payment_method": card}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args: object) -> None:
            """Be quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_a_gateway_that_reports_the_same_sms_again(
    live_server: LiveServer, ada: Subscriber, settings: Settings
) -> None:
    now = timezone.now()
    sms = Notice.objects.create(
        kind="line_live", cause="event:1", channel="sms", recipient=ada.public_id, subscriber=ada,
        address="+18025550117", body="Your line is live.", state="sent", created_at=now,
        sent_at=now, gateway_id="gw-1",
    )  # fmt: skip
    settings.SMS_REPORT_TOKEN = SMS_TOKEN
    answers = three_times_and_once_more(
        lambda: requests.post(
            f"{live_server.url}/sms/reports", json={"id": "gw-1", "status": "delivered"},
            headers={"Authorization": f"Bearer {SMS_TOKEN}"}, timeout=60,
        )
    )  # fmt: skip
    assert answers == [204] * 4
    sms.refresh_from_db()
    first = sms.reported_at
    assert (sms.report, first is not None) == ("delivered", True)
    late = requests.post(
        f"{live_server.url}/sms/reports", json={"id": "gw-1", "status": "failed"},
        headers={"Authorization": f"Bearer {SMS_TOKEN}"}, timeout=60,
    )  # fmt: skip
    sms.refresh_from_db()
    assert (late.status_code, sms.report, sms.reported_at) == (204, "delivered", first)


def test_a_mail_program_that_takes_a_reader_off_the_waitlist_again(
    live_server: LiveServer, isp: SmallIsp
) -> None:
    now = timezone.now()
    answer = factories.qualified(isp.stowe, at=now)
    entry = waitlist.join_waitlist(
        qualification=answer, email="eve@example.com", channel="portal", at=now
    )
    url = f"{live_server.url}/waitlist/{waitlist.leave_token(entry)}/leave/"
    answers = three_times_and_once_more(
        lambda: requests.post(url, data={"List-Unsubscribe": "One-Click"}, timeout=60)
    )
    assert answers == [200] * 4
    assert WaitlistEntry.objects.get().withdrawn_at is not None


def test_a_webhook_of_ours_that_goes_out_twice_has_one_id(
    isp: SmallIsp, workers: Workers, settings: Settings
) -> None:
    """The worker dies when the partner has the message and has not answered yet."""
    settings.WEBHOOKS_MAY_STAY_LOCAL = True
    now, answer = timezone.now(), threading.Event()
    with receiver.listening() as partner:
        partner.before_answer = lambda: answer.wait(30) and None
        partners.set_webhook_url(partner_id=isp.films.pk, webhook_url=partner.url, at=now)
        isp.films.refresh_from_db()
        with transaction.atomic():
            sent = webhooks.queue_webhook(
                partner=isp.films, kind="service_order.created", subject="sor_1", data={}, at=now
            )
        pid = workers.start(DELIVER)
        assert processes.wait_until(lambda: bool(partner.requests), seconds=30), "nothing came"
        os.kill(pid, signal.SIGKILL)
        workers.wait()
        answer.set()
        later = timezone.now() + webhooks.LEASE
        assert sent is not None
        assert webhooks.due_deliveries(at=later, limit=9) == [sent.pk]
        assert webhooks.deliver(delivery_id=sent.pk, at=later)
        first, again = partner.requests
    assert first.headers["webhook-id"] == again.headers["webhook-id"] == sent.public_id
    assert first.body == again.body
    assert WebhookDelivery.objects.get().state == "delivered"
    for request in (first, again):
        Webhook(isp.films.webhook_secret).verify(request.body, request.headers)
