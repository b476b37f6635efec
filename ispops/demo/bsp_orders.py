"""A demo network provider's order desk, in TM Forum's form (TMF641), with its callbacks.

It takes an order, works on it for some seconds, and tells the ISP's listener how far it is. The
same `externalId` is the same order, however often it comes. Faults change what it does from one
moment to the next, so that what the ISP makes of them can be watched.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import requests

log = logging.getLogger("partners")
API = "tmf-api/serviceOrdering/v4"
FAULTS = frozenset({
    "slow", "error", "garbage", "drop", "silent", "no_callback", "twice", "late", "other_order",
    "refuse", "hold", "backwards",
})  # fmt: skip
GARBAGE = '{"id": "so-1", "state": {"completed": [tru'
# Building a line takes its time; long enough to be seen, short enough for a demonstration.
WORK_SECONDS = 2.0
LONGEST_PAUSE = 20.0
_MOST_ORDERS = 500
_OVER = frozenset({"completed", "failed", "cancelled"})


class NoOrder(ValueError):
    """What was sent is no order in the form of TMF641."""


@dataclass
class OrderDesk:
    """The orders of a network by its own ids, and where it tells of them.

    `mood` says which fault is on, and how many seconds its slowness takes.
    """

    token: str
    callback_url: str = ""
    callback_token: str = ""
    mood: Callable[[], tuple[str, float]] = lambda: ("", 0.0)
    work_seconds: float = WORK_SECONDS
    orders: dict[str, dict[str, Any]] = field(default_factory=dict)
    # Every answer of the ISP to an event: (event id, status).
    told: list[tuple[str, int]] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        """Answer one call; `path` is what comes after the address of the API.

        Raises:
            NoOrder: what was sent is no order in the form of TMF641.
        """
        if method == "POST" and path == "serviceOrder":
            return self._take(body)
        if method == "POST" and path == "cancelServiceOrder":
            return self._cancel(body)
        if method == "GET" and path == "serviceOrder":
            with self.lock:
                wanted = query.get("externalId")
                return 200, [dict(o) for o in self.orders.values() if o["externalId"] == wanted]
        if method == "GET" and path.startswith("serviceOrder/"):
            return self._look(path.removeprefix("serviceOrder/"))
        return 404, {"code": "404", "reason": "There is nothing here."}

    def _take(self, body: Any) -> tuple[int, Any]:
        item = _item(body)
        with self.lock:
            for known in self.orders.values():
                if known["externalId"] == body["externalId"]:
                    return 200, dict(known)
            service = {"id": f"line-{uuid.uuid4().hex[:12]}", **item["service"]}
            order = {
                "id": f"so-{uuid.uuid4().hex}",
                "externalId": body["externalId"],
                "state": "acknowledged",
                "orderDate": _now().isoformat(),
                "serviceOrderItem": [{**item, "service": service, "state": "acknowledged"}],
                "note": [],
            }
            self.orders[str(order["id"])] = order
            while len(self.orders) > _MOST_ORDERS:
                self.orders.pop(next(iter(self.orders)))
        self._later(self.work_seconds / 2, self._begin, order)
        return 201, dict(order)

    def _look(self, order_id: str) -> tuple[int, Any]:
        fault, _ = self.mood()
        with self.lock:
            order = self.orders.get(order_id)
            if order is None:
                return 404, {"code": "404", "reason": "There is no such order."}
            if fault == "other_order":
                return 200, _another(order)
            if fault == "backwards" and order["state"] in _OVER:
                return 200, {**order, "state": "inProgress"}
            return 200, dict(order)

    def _cancel(self, body: Any) -> tuple[int, Any]:
        fault, _ = self.mood()
        named = body.get("serviceOrder") if isinstance(body, dict) else None
        with self.lock:
            order = self.orders.get(str(named.get("id"))) if isinstance(named, dict) else None
            if order is None:
                return 404, {"code": "404", "reason": "There is no such order."}
            if order["state"] in _OVER - {"cancelled"} or fault == "late":
                return 409, {"code": "409", "reason": "It is too late to cancel this order."}
        self._move(order, "cancelled")
        return 201, {"id": f"cancel-{order['id']}", "state": "done"}

    def _begin(self, order: dict[str, Any]) -> None:
        """Begin the work, or not yet; each fault has its own way."""
        fault, seconds = self.mood()
        if order["state"] in _OVER:
            return
        if fault == "silent":
            self._later(0.5, self._begin, order)
            return
        due = _now() + timedelta(seconds=self.work_seconds / 2)
        order["expectedCompletionDate"] = due.isoformat()
        if fault == "hold":
            _note(order, "The way into the building is closed.")
            self._move(order, "held")
            self._later(seconds, self._end, order)
            return
        self._move(order, "inProgress")
        self._later(seconds if fault == "late" else self.work_seconds / 2, self._end, order)

    def _end(self, order: dict[str, Any]) -> None:
        fault, _ = self.mood()
        if order["state"] in _OVER:
            return
        if fault == "silent":
            self._later(0.5, self._end, order)
            return
        if fault == "refuse":
            _note(order, "Our cable does not reach this building.")
        self._move(order, "failed" if fault == "refuse" else "completed")
        if fault == "backwards":
            # One after the other, and when the end of it has been heard.
            for number, state in enumerate(("inProgress", "acknowledged"), 1):
                self._later(number * 0.5, self._tell, {**order, "state": state})

    def _move(self, order: dict[str, Any], state: str) -> None:
        with self.lock:
            order["state"] = state
            if state == "completed":
                order["completionDate"] = _now().isoformat()
            shown = dict(order)
        self._tell(shown)

    def _tell(self, order: dict[str, Any]) -> None:
        """Tell the ISP what has become of an order, in the background and until it has heard it."""
        fault, _ = self.mood()
        if not self.callback_url or fault == "no_callback":
            return
        event = {
            "eventId": f"ev-{uuid.uuid4().hex}",
            "eventTime": _now().isoformat(),
            "eventType": "ServiceOrderStateChangeEvent",
            "event": {"serviceOrder": _another(order) if fault == "other_order" else order},
        }
        for _ in range(3 if fault == "twice" else 1):
            self._later(0.0, self._call_back, event, 0)

    def _call_back(self, event: dict[str, Any], attempt: int) -> None:
        headers = {"Authorization": f"Bearer {self.callback_token}"}
        status = 0
        try:
            with requests.Session() as session:
                session.trust_env = False
                answer = session.post(self.callback_url, json=event, headers=headers, timeout=10)
                status = answer.status_code
        except requests.RequestException as away:
            log.warning("the ISP's listener is away: %s", away)
        with self.lock:
            self.told.append((event["eventId"], status))
            del self.told[:-200]
        if status == 0 or status >= 500:
            pause = min(0.5 * 2**attempt, LONGEST_PAUSE)
            self._later(pause, self._call_back, event, attempt + 1)

    def _later(self, seconds: float, work: Callable[..., None], *arguments: Any) -> None:
        timer = threading.Timer(seconds, work, arguments)
        timer.daemon = True
        timer.start()


def _item(body: Any) -> dict[str, Any]:
    """Return the one line that an order is for."""
    try:
        [item] = body["serviceOrderItem"]
        good = isinstance(body["externalId"], str) and item["action"] in ("add", "modify", "delete")
        [place] = item["service"]["place"]
        good = good and isinstance(place["streetName"], str)
    except (KeyError, TypeError, ValueError) as error:
        raise NoOrder("Order one serviceOrderItem for one place, with an externalId.") from error
    if not good:
        raise NoOrder("The order needs an externalId, and its item an action and a street.")
    found: dict[str, Any] = item
    return found


def _note(order: dict[str, Any], text: str) -> None:
    order["note"] = [{"text": text, "date": _now().isoformat()}]


def _another(order: dict[str, Any]) -> dict[str, Any]:
    return {**order, "id": "so-of-somebody-else", "externalId": "sor_of_somebody_else"}


def _now() -> datetime:
    return datetime.now(UTC)
