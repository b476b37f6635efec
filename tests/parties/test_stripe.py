"""Cards by Stripe, against a server that answers as Stripe's documentation says."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.test import Client
from pytest_django import Settings

from ispops.errors import PermanentFault, TransientFault
from ispops.parties import accounts, payments, terms
from ispops.parties.gateways import registry, stripe
from ispops.parties.gateways.stripe import StripeGateway
from ispops.parties.models import AuditEntry, PaymentMethod, Subscriber, User
from tests.parties.conftest import NOW
from tests.portal.pages import page

pytestmark = pytest.mark.django_db
SECRET = "whsec_of_the_tests"
CHECKOUT = "https://checkout.stripe.com/c/pay/cs_test_a1b2"
# The shapes of https://docs.stripe.com/api, cut to what matters here and something beside it.
SESSION = {
    "id": "cs_test_a1b2", "object": "checkout.session", "mode": "setup", "status": "open",
    "setup_intent": "seti_1Mm2cB", "customer": None, "livemode": False, "url": CHECKOUT,
}  # fmt: skip
INTENT = {
    "id": "seti_1Mm2cB", "object": "setup_intent", "status": "succeeded", "customer": "cus_N1",
    "payment_method": {
        "id": "pm_1Pg", "object": "payment_method", "type": "card",
        "card": {"brand": "visa", "last4": "4242", "exp_month": 8, "exp_year": 2030},
    },
}  # fmt: skip
REFUSED = {"error": {"type": "invalid_request_error", "message": "No such setupintent"}}


class Stripe:
    """What Stripe answers next, and what it was asked."""

    def __init__(self) -> None:
        self.replies: list[tuple[int, Any]] = []
        self.asked: list[tuple[str, str, dict[str, str], dict[str, str]]] = []


@pytest.fixture
def told(settings: Settings) -> Iterator[Stripe]:
    known = Stripe()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            parts = urlsplit(self.path)
            form = {name: values[0] for name, values in parse_qs(body or parts.query).items()}
            known.asked.append((self.command, parts.path, form, dict(self.headers)))
            status, answer = known.replies.pop(0)
            content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST

        def log_message(self, *args: object) -> None:
            """Be quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    settings.STRIPE_SECRET_KEY = "sk_test_tests"
    settings.STRIPE_WEBHOOK_SECRET = SECRET
    settings.STRIPE_API_URL = f"http://127.0.0.1:{server.server_address[1]}"
    yield known
    server.shutdown()
    server.server_close()


@pytest.fixture
def subscriber(ada: User) -> Subscriber:
    made = accounts.register_subscriber(
        user=ada, name="Ada", terms_version=terms.FIRST_VERSION, at=NOW
    )
    payments.choose_payment(subscriber=made, kind="invoice", actor=ada, at=NOW)
    return made


@pytest.fixture
def card(told: Stripe, subscriber: Subscriber, ada: User) -> PaymentMethod:
    return payments.choose_payment(subscriber=subscriber, kind="card", actor=ada, at=NOW)


@pytest.fixture
def owner(ada: User) -> Client:
    client = Client()
    client.force_login(ada, backend="django.contrib.auth.backends.ModelBackend")
    return client


def completed(card: PaymentMethod, **changes: Any) -> dict[str, Any]:
    session = SESSION | {
        "status": "complete", "customer": "cus_N1", "client_reference_id": card.public_id,
    }  # fmt: skip
    return {
        "id": "evt_1", "object": "event", "type": "checkout.session.completed",
        "data": {"object": session | changes},
    }  # fmt: skip


def send(event: Any, *, at: float | None = None, secret: str = SECRET, tail: bytes = b"") -> int:
    body = json.dumps(event).encode()
    signature = stripe.sign(body, secret=secret, at=int(at or time.time()))
    return (
        Client()
        .post(
            "/payments/stripe/events",
            body + tail,
            content_type="application/json",
            headers={"Stripe-Signature": signature},
        )
        .status_code
    )


def test_without_a_key_nobody_pays_by_card(settings: Settings) -> None:
    settings.STRIPE_SECRET_KEY = ""
    assert registry.kinds() == ["invoice", "bank_transfer"]


def test_a_card_is_given_on_the_page_of_stripe(
    told: Stripe, subscriber: Subscriber, owner: Client
) -> None:
    chosen = page(owner.post("/account/payment/", {"payment_kind": "card"}, follow=True))
    assert "Your card is not known yet" in chosen.text
    assert payments.in_use(subscriber).kind == "invoice"  # type: ignore[union-attr]
    card = PaymentMethod.objects.get(kind="card")
    told.replies.append((200, SESSION))
    assert page(owner.post("/account/payment/card/")).all("a", href=CHECKOUT)
    (method, path, form, headers) = told.asked[0]
    assert (method, path) == ("POST", "/v1/checkout/sessions")
    assert form == {
        "mode": "setup", "payment_method_types[0]": "card", "customer_creation": "always",
        "customer_email": "ada@example.com", "client_reference_id": card.public_id,
        "success_url": "http://testserver/account/payment/",
        "cancel_url": "http://testserver/account/payment/",
    }  # fmt: skip
    assert headers["Authorization"] == "Bearer sk_test_tests"
    assert headers["Stripe-Version"] == stripe.API_VERSION
    assert headers["Idempotency-Key"].startswith(card.public_id)

    for _ in range(2):
        told.replies.append((200, INTENT))
        assert send(completed(card)) == 200
    assert told.asked[1][:3] == (
        "GET", "/v1/setup_intents/seti_1Mm2cB", {"expand[0]": "payment_method"},
    )  # fmt: skip
    card.refresh_from_db()
    assert (card.state, card.label) == ("active", "Visa ending 4242")
    assert card.reference == "cus_N1/pm_1Pg"
    assert AuditEntry.objects.filter(action="payment_method.confirmed").count() == 1
    shown = page(owner.get("/account/payment/"))
    assert "Visa ending 4242" in shown.text
    assert subscriber.payment_methods.filter(state="active").count() == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"secret": "whsec_other"},
        {"at": time.time() - 301},
        {"at": time.time() + 900},
        {"tail": b" "},
    ],
)
def test_what_stripe_has_not_signed_is_refused(card: PaymentMethod, wrong: dict[str, Any]) -> None:
    assert send(completed(card), **wrong) == 400
    card.refresh_from_db()
    assert card.state == "pending"


def test_a_signature_is_one_of_several_and_never_none(card: PaymentMethod) -> None:
    body = json.dumps(completed(card)).encode()
    now = 1_700_000_000
    good = stripe.sign(body, secret=SECRET, at=now)
    both = good.replace("v1=", f"v1={'0' * 64},v1=", 1)
    assert stripe.read_message(body, both, now=now)
    for bad in (
        "",
        "t=1",
        "v1=x",
        f"t={now}",
        good.replace("v1", "v0"),
        good + f",t={now}",
        "t=é,v1=é",
        good.replace("t=", f"t={'9' * 400}"),
        good.replace("t=", f"t={'9' * 5000}"),
    ):
        with pytest.raises(stripe.ForgedMessage):
            stripe.read_message(body, bad, now=now)


def test_the_signature_is_that_of_stripes_scheme() -> None:
    """HMAC-SHA256 of `t.body`, worked out by openssl beside this code."""
    assert stripe.sign(b'{"a":1}', secret="whsec_x", at=1492774577) == (
        "t=1492774577,v1=7a28fbfc36c628ce9f7d6170dd03bb463257a7395cb164a8cd6ab7ef053f7598"
    )


def test_while_stripe_is_away_the_message_is_to_come_again(
    told: Stripe, card: PaymentMethod
) -> None:
    for status, answer in ((500, {}), (429, {}), (200, b"<html>")):
        told.replies.append((status, answer))
        assert send(completed(card)) == 503
    told.replies.append((200, INTENT))
    assert send(completed(card)) == 200
    card.refresh_from_db()
    assert card.state == "active"


def test_what_is_none_of_ours_is_let_be(told: Stripe, card: PaymentMethod) -> None:
    assert send({"type": "invoice.paid", "data": {"object": {}}}) == 200
    assert send(completed(card, mode="payment")) == 200
    assert send(["nothing"]) == 200
    assert told.asked == []
    told.replies.append((404, REFUSED))
    assert send(completed(card)) == 200
    told.replies.append((200, INTENT))
    assert send(completed(card, client_reference_id="pay_" + "0" * 32)) == 200
    card.refresh_from_db()
    assert card.state == "pending"


def test_a_card_that_comes_after_another_choice_is_not_used(
    told: Stripe, card: PaymentMethod, subscriber: Subscriber
) -> None:
    payments.choose_payment(subscriber=subscriber, kind="bank_transfer", actor=None, at=NOW)
    told.replies.append((200, INTENT))
    assert send(completed(card)) == 200
    assert payments.in_use(subscriber).kind == "bank_transfer"  # type: ignore[union-attr]
    assert subscriber.payment_methods.filter(state="active").count() == 1


def test_faults_of_stripe_are_said_on_the_page(
    told: Stripe, card: PaymentMethod, owner: Client
) -> None:
    for status, answer in ((500, {}), (401, REFUSED), (200, {"url": "javascript:alert(1)"})):
        told.replies.append((status, answer))
        found = page(owner.post("/account/payment/card/", follow=True))
        assert "does not answer at the moment" in found.text


def test_a_stranger_opens_no_page_for_my_card(card: PaymentMethod, told: Stripe) -> None:
    assert "/accounts/login/" in Client().post("/account/payment/card/")["Location"]
    other = accounts.create_login(email="mallory@example.com", at=NOW)
    accounts.register_subscriber(
        user=other, name="Mallory", terms_version=terms.FIRST_VERSION, at=NOW
    )
    stranger = Client()
    stranger.force_login(other, backend="django.contrib.auth.backends.ModelBackend")
    assert stranger.post("/account/payment/card/")["Location"] == "/account/payment/"
    assert told.asked == []


def test_faults_are_told_apart(told: Stripe) -> None:
    finished = stripe.Finished("pay_1", "seti_1", "cus_1")
    told.replies += [(404, REFUSED), (200, INTENT | {"status": "canceled"}), (503, {})]
    for fault in (PermanentFault, PermanentFault, TransientFault):
        with pytest.raises(fault):
            StripeGateway().named(finished)
