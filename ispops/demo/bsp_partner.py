"""One demo partner: what it hears of the ISP by webhook, and what it answers through the API.

Imports nothing of Django or of the product: it knows only what the ISP publishes.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import requests
from standardwebhooks import Webhook

from ispops.demo import bsp_network, bsp_orders
from ispops.demo.bsp_network import Network
from ispops.demo.bsp_orders import OrderDesk

log = logging.getLogger("partners")
FAULTS = frozenset({"slow", "error", "silent", "refuse"})
OPEN = "acknowledged"
# Building a line takes its time; long enough to be seen, short enough for a demonstration.
LINE_SECONDS = 2.0
LONGEST_PAUSE = 20.0
# By product, what a press of the button on the page reports: quantity, unit, and its words.
USUAL_USE = {
    "cinebox-stream": (90, "minute", "report 90 minutes of watching"),
    "cloudvault-home": (60, "gigabyte", "report 60 gigabytes of backup"),
}


class Isp:
    """The ISP's API as one partner uses it: a token by client credentials, renewed when refused."""

    def __init__(self, base_url: str, client_id: str, client_secret: str) -> None:
        self.base_url = base_url.rstrip("/")
        self.credentials = (client_id, client_secret)
        self.token = ""
        # Two calls at once must not each get a token: the older may be of no use then.
        self._renewing = threading.Lock()
        self.session = requests.Session()
        self.session.trust_env = False

    def call(
        self, method: str, path: str, *, body: Any = None, key: str | None = None
    ) -> requests.Response:
        """Make one call, with a new token if the old one has had its time.

        Raises:
            requests.RequestException: the ISP does not answer, or gives no token.
        """
        token = self.token or self._renew("")
        response = self._send(token, method, path, body, key)
        if response.status_code == 401:
            response = self._send(self._renew(token), method, path, body, key)
        return response

    def _send(
        self, token: str, method: str, path: str, body: Any, key: str | None
    ) -> requests.Response:
        headers = {"Authorization": f"Bearer {token}"}
        if key is not None:
            headers["Idempotency-Key"] = key
        url = path if path.startswith("http") else self.base_url + path
        return self.session.request(method, url, json=body, headers=headers, timeout=10)

    def _renew(self, old: str) -> str:
        """Return another token than the one that is of no use, got by this call or another."""
        with self._renewing:
            if self.token == old:
                self._get_token()
            return self.token

    def _get_token(self) -> None:
        response = self.session.post(
            f"{self.base_url}/identity/o/api/token",
            data={"grant_type": "client_credentials"},
            auth=self.credentials,
            timeout=10,
        )
        response.raise_for_status()
        self.token = response.json()["access_token"]


@dataclass
class Partner:
    """One partner: what it was told, what it was asked to deliver, and how it misbehaves."""

    code: str
    name: str
    kind: str
    webhook_secret: str
    isp: Isp
    fault: str = ""
    slow_seconds: float = 5.0
    # Answers questions about addresses, where the partner has a network.
    network: Network | None = None
    # Takes orders by an API, where the partner has one.
    desk: OrderDesk | None = None
    messages: list[dict[str, Any]] = field(default_factory=list)
    orders: dict[str, dict[str, Any]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        if self.desk is not None:
            self.desk.mood = lambda: (self.fault, self.slow_seconds)

    @property
    def faults(self) -> list[str]:
        """How this partner can misbehave."""
        asked = bsp_network.FAULTS if self.network else frozenset()
        ordered = bsp_orders.FAULTS if self.desk else frozenset()
        return sorted(FAULTS | asked | ordered)

    def receive(self, body: bytes, headers: dict[str, str]) -> None:
        """Take a webhook in: verify, note, and begin the work in the background.

        Raises:
            WebhookVerificationError: it is not from the ISP, or not of these minutes.
        """
        message = Webhook(self.webhook_secret).verify(body, headers)
        message_id = next(v for k, v in headers.items() if k.lower() == "webhook-id")
        with self.lock:
            is_new = all(known["webhook_id"] != message_id for known in self.messages)
            self.messages.append({"webhook_id": message_id, "is_new": is_new, **message})
            del self.messages[:-200]
        log.info("%s: %s %s", self.code, message["type"], message["data"].get("id"))
        if is_new and message["type"].startswith("service_order."):
            self.take_order({"state": OPEN, **message["data"]})

    def take_order(self, order: dict[str, Any]) -> None:
        """Note an order as the ISP describes it, and work on it if it is open and new."""
        with self.lock:
            known = self.orders.get(order["id"])
            self.orders[order["id"]] = {**(known or {}), **order}
        if order["state"] == OPEN and known is None:
            wait = LINE_SECONDS if order["kind"] == "line" else 0.0
            self._later(wait, order["id"], 0)

    def _later(self, seconds: float, order_id: str, attempt: int) -> None:
        timer = threading.Timer(seconds, self._answer, (order_id, attempt))
        timer.daemon = True
        timer.start()

    def _answer(self, order_id: str, attempt: int) -> None:
        """Confirm or refuse an order; when the ISP is away, again after a growing pause."""
        order = self.orders[order_id]
        if order["state"] != OPEN:
            return
        if self.fault == "silent":
            self._later(1.0, order_id, attempt)
            return
        verb, body = "completion", {"reference": f"{self.code}-{order_id[-8:]}"}
        if self.fault == "refuse":
            verb, body = "refusal", {"reason": f"{self.name} cannot deliver this at the moment."}
        path = f"/api/v1/service_orders/{order_id}/{verb}"
        try:
            response = self.isp.call("POST", path, body=body, key=f"{order_id}-{verb}")
        except requests.RequestException as away:
            log.warning("%s: the ISP is away: %s", self.code, away)
            response = None
        if response is None or response.status_code >= 500:
            self._later(min(0.5 * 2**attempt, LONGEST_PAUSE), order_id, attempt + 1)
            return
        answer = response.json()
        log.info("%s: %s of %s: %s", self.code, verb, order_id, response.status_code)
        with self.lock:
            if response.ok:
                order.update(answer)
            else:
                order.update(state="closed", reason=answer.get("detail", ""))

    def catch_up(self) -> None:
        """After a start, look up what was asked before, and do what is still open."""
        address: str | None = "/api/v1/service_orders?limit=100"
        pause = 0.5
        while address:
            try:
                response = self.isp.call("GET", address)
                response.raise_for_status()
            except requests.RequestException:
                time.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
                continue
            page = response.json()
            for order in page["items"]:
                if order["id"] not in self.orders:
                    self.take_order(order)
            address = page["next"]

    def granted(self) -> list[dict[str, Any]]:
        """The entitlements that subscribers have now, the latest first."""
        with self.lock:
            orders = list(self.orders.values())
        found = [
            order
            for order in orders
            if order["kind"] == "entitlement" and order["state"] == "completed"
        ]
        return sorted(found, key=lambda order: str(order.get("answered_at", "")), reverse=True)

    def report_use(self, asked: dict[str, str]) -> requests.Response:
        """Report use of an entitlement through the API; what is not said is the latest one's.

        Raises:
            LookupError: nobody was granted anything yet, so nothing can be used.
        """
        given = {name: value for name, value in asked.items() if value}
        fitting = [
            order
            for order in self.granted()
            if all(order[k] == given.get(k, order[k]) for k in ("subscriber_ref", "offering"))
        ]
        latest = next((o for o in fitting if o["offering"] in USUAL_USE), (fitting or [{}])[0])
        if not {"subscriber_ref", "offering"} <= (latest | given).keys():
            raise LookupError("Nobody has been granted such a product yet.")
        event = latest | usual_use(str((latest | given)["offering"])) | given
        quantity = int(event["quantity"])
        now = datetime.now(UTC)
        body = {
            "event_id": given.get("event_id") or f"{self.code}-{uuid.uuid4().hex}",
            "subscriber_ref": event["subscriber_ref"],
            "offering": event["offering"],
            "started_at": given.get("started_at") or (now - timedelta(minutes=1)).isoformat(),
            "quantity": quantity,
            "unit": event["unit"],
        }
        return self.isp.call(
            "POST", "/api/v1/usage", body={"events": [body]}, key=f"{body['event_id']}-{quantity}"
        )


def usual_use(offering: str) -> dict[str, Any]:
    """Return the quantity and unit that are reported of a product when nothing else is said."""
    quantity, unit, _ = USUAL_USE.get(offering, (1, "unit", ""))
    return {"quantity": quantity, "unit": unit}
