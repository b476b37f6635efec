"""Cards by Stripe: people give them to Stripe's own page, and we keep the name that it gives.

Checkout in setup mode, by plain HTTPS requests. The version of Stripe's API is fixed, so that its
answers keep the shape that the tests hold.
"""

import hmac
import json
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, NoReturn

import requests
from django.conf import settings

from ispops.errors import PermanentFault, TransientFault
from ispops.parties.gateways.base import Named

API_VERSION = "2024-06-20"
# Seconds to connect, and of silence.
TIME_OUT = (3.05, 10.0)
# How old a message may be, in seconds, by the time that Stripe has signed with it.
TOLERANCE = 300
# Digits of a time in seconds: more are no time, and too many are no number that Python compares.
LONGEST_TIME = 12
Json = dict[str, Any]


class ForgedMessage(Exception):
    """A message that Stripe has not signed, or not lately."""


@dataclass(frozen=True, slots=True)
class Finished:
    """That somebody has given a card on Stripe's page, for one payment method of ours."""

    method_id: str
    setup_intent: str
    customer: str


class StripeGateway:
    """One account at Stripe, with the key of the settings."""

    name = "stripe"
    kinds = frozenset({"card"})
    has_page = True

    def name_at_once(self, kind: str) -> NoReturn:
        raise PermanentFault("A card has to be given on Stripe's page.")

    def page_for(self, *, method_id: str, email: str, return_url: str, key: str) -> str:
        """See `Gateway`. Stripe makes a customer of its own for the card."""
        told = _call(
            "POST",
            "checkout/sessions",
            {
                "mode": "setup",
                "payment_method_types[0]": "card",
                "customer_creation": "always",
                "customer_email": email,
                "client_reference_id": method_id,
                "success_url": return_url,
                "cancel_url": return_url,
            },
            key=key,
        )
        url = str(told.get("url") or "")
        if not url.startswith("https://"):
            raise PermanentFault("Stripe gave no page for the card.")
        return url

    def named(self, finished: Finished) -> Named:
        """Ask Stripe what card was given.

        Raises:
            TransientFault: Stripe does not answer.
            PermanentFault: it knows of no such card.
        """
        told = _call(
            "GET", f"setup_intents/{finished.setup_intent}", {"expand[0]": "payment_method"}
        )
        method = told.get("payment_method") or {}
        card = method.get("card")
        if told.get("status") != "succeeded" or not isinstance(card, dict):
            raise PermanentFault("Stripe has no card for this.")
        brand = str(card.get("brand") or "card").replace("_", " ").title()
        return Named(
            reference=f"{finished.customer}/{method['id']}",
            label=f"{brand} ending {card.get('last4')}",
        )


def read_message(body: bytes, signature: str, *, now: float) -> Finished | None:
    """Return what a message of Stripe's tells of, if it is that a card was given.

    Raises:
        ForgedMessage: the signature is not that of our secret, or is too old.
    """
    _require_signature(body, signature, now)
    try:
        event = json.loads(body)
        session = event["data"]["object"]
        if event["type"] != "checkout.session.completed" or session["mode"] != "setup":
            return None
        return Finished(
            method_id=str(session["client_reference_id"]),
            setup_intent=str(session["setup_intent"]),
            customer=str(session["customer"]),
        )
    except (ValueError, KeyError, TypeError):
        return None


def sign(body: bytes, *, secret: str, at: int) -> str:
    """Return the header with which Stripe signs a message at a time in whole seconds."""
    return f"t={at},v1={_digest(body, secret, str(at))}"


def _require_signature(body: bytes, signature: str, now: float) -> None:
    pairs = [part.partition("=") for part in signature.split(",")]
    times = [value for name, _, value in pairs if name.strip() == "t"]
    secret = settings.STRIPE_WEBHOOK_SECRET
    is_time = len(times) == 1 and times[0].isdecimal() and len(times[0]) <= LONGEST_TIME
    if not secret or not is_time:
        raise ForgedMessage("There is no signature.")
    if abs(now - int(times[0])) > TOLERANCE:
        raise ForgedMessage("The signature is too old.")
    expected = _digest(body, secret, times[0])
    # There are several while a secret is being replaced.
    if not any(
        hmac.compare_digest(value.encode(), expected.encode())
        for name, _, value in pairs
        if name.strip() == "v1"
    ):
        raise ForgedMessage("The signature is another.")


def _digest(body: bytes, secret: str, at: str) -> str:
    return hmac.new(secret.encode(), f"{at}.".encode() + body, sha256).hexdigest()


def _call(method: str, path: str, form: dict[str, str], *, key: str = "") -> Json:
    headers = {
        "Authorization": f"Bearer {settings.STRIPE_SECRET_KEY}",
        "Stripe-Version": API_VERSION,
    }
    if key:
        headers["Idempotency-Key"] = key
    sent = {"data": form} if method == "POST" else {"params": form}
    try:
        with requests.Session() as session:
            # Neither proxies nor passwords of this machine's files belong into the call.
            session.trust_env = False
            answer = session.request(
                method,
                f"{settings.STRIPE_API_URL}/v1/{path}",
                headers=headers,
                timeout=TIME_OUT,
                allow_redirects=False,
                **sent,  # type: ignore[arg-type]
            )
            told = answer.json()
    except (requests.RequestException, ValueError) as away:
        raise TransientFault(f"Stripe does not answer: {type(away).__name__}") from away
    if answer.status_code == 429 or answer.status_code >= 500 or answer.status_code == 409:
        raise TransientFault(f"Stripe answered {answer.status_code}.")
    if not answer.ok or not isinstance(told, dict):
        said = told.get("error", {}).get("message", "") if isinstance(told, dict) else ""
        raise PermanentFault(f"Stripe answered {answer.status_code}: {said}"[:300])
    return told
