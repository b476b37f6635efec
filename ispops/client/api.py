"""The calls that the client software makes, and what can go wrong with them, in words."""

import time
import uuid
from typing import Any

import requests

Json = dict[str, Any]
CALLS = "/api/v1/service_qualifications"
ORDERS = "/api/v1/product_orders"
TRIES = 3
LONGEST_ANSWER = 5_000_000


class ServerAway(Exception):
    """The server could not be reached, or what answered is not this product."""


class LoginEnded(Exception):
    """The call needs a login, and there is none (any more)."""


class Refused(Exception):
    """The server understood and refused: an RFC 9457 problem, with the fields at fault.

    `retry_after` is set, in seconds, when the same request may be sent again after a pause.
    """

    def __init__(self, problem: Json, retry_after: float | None = None) -> None:
        super().__init__(str(problem.get("detail") or problem.get("title") or "Refused."))
        self.code = str(problem.get("type") or "").rpartition("/")[2]
        errors = problem.get("errors")
        listed = errors if isinstance(errors, list) else []
        self.fields = [
            (str(error.get("field", "")), str(error.get("detail", "")))
            for error in listed
            if isinstance(error, dict)
        ]
        self.retry_after = retry_after


class Isp:
    """One ISP's server. Without a token, it is asked as a visitor."""

    def __init__(self, server: str, *, token: str = "", timeout: float = 30) -> None:
        self.server = server.rstrip("/")
        self.timeout = timeout
        self._session = requests.Session()
        if token:
            self._session.headers["Authorization"] = f"Bearer {token}"

    def qualify(self, wanted: Json) -> Json:
        """Ask what a place can have. `wanted` is the body of the call; returns the answer.

        Raises:
            Refused: the question cannot be used; names the field.
            ServerAway: there was no answer.
        """
        return self._call("POST", CALLS, body=wanted)[0]

    def answer(self, qualification_id: str) -> tuple[Json, float]:
        """Return an answer as it stands now, and after how many seconds to look again."""
        return self._call("GET", f"{CALLS}/{qualification_id}")

    def terms(self) -> Json:
        """Return the terms of service in force: version and text."""
        return self._call("GET", "/api/v1/terms")[0]

    def payment_kinds(self) -> list[Json]:
        """Return the ways to pay."""
        return self._list("/api/v1/payment_kinds")

    def accounts(self) -> list[Json]:
        """Return the accounts of the login."""
        return self._list("/api/v1/accounts")

    def register(self, wanted: Json, *, key: str) -> Json:
        """Register and order. Sent again with the same `key`, it is still one order.

        Raises:
            Refused: it cannot be done; names the field.
            ServerAway: there was no answer, however often it was asked.
        """
        for left in range(TRIES - 1, -1, -1):
            try:
                return self._call("POST", "/api/v1/registrations", body=wanted, key=key)[0]
            except ServerAway:
                if not left:
                    raise
                time.sleep(1)
        raise AssertionError("unreachable")

    def order(self, order_id: str) -> Json:
        """Return an order as it stands now."""
        return self._call("GET", f"{ORDERS}/{order_id}")[0]

    def orders(self) -> list[Json]:
        """Return the newest orders of the login's accounts."""
        return list(self._call("GET", ORDERS)[0].get("items") or [])

    def order_page(self, order_id: str) -> str:
        """The address at which a browser shows an order."""
        return f"{self.server}/orders/{order_id}/"

    def page_of(self, qualification_id: str) -> str:
        """The address at which a browser shows the answer."""
        return f"{self.server}/check/{qualification_id}/"

    def _list(self, path: str) -> list[Json]:
        found = self._call("GET", path, listed=True)[0]
        return list(found["items"])

    def _call(
        self,
        method: str,
        path: str,
        body: Json | None = None,
        *,
        key: str = "",
        listed: bool = False,
    ) -> tuple[Json, float]:
        headers = {"Accept": "application/json, application/problem+json"}
        if method == "POST":
            headers["Idempotency-Key"] = key or uuid.uuid4().hex
        try:
            response = self._session.request(
                method, self.server + path, json=body, headers=headers, timeout=self.timeout
            )
        except requests.RequestException as error:
            raise ServerAway(f"{self.server} does not answer: {_reason(error)}.") from error
        found = _json(response, listed=listed)
        pause = _seconds(response.headers.get("Retry-After"))
        if response.ok and found is not None:
            return found, pause or 1.0
        if found is None or not ({"title", "detail"} & found.keys()):
            raise ServerAway(
                f"{self.server} answered {response.status_code}, and not as an ISP Ops server does."
            )
        if response.status_code == 401:
            raise LoginEnded("You are not signed in here, or your login has ended.")
        if response.status_code >= 500:
            raise ServerAway(f"{self.server} has a fault of its own. Try again in a minute.")
        raise Refused(found, pause)


def _json(response: requests.Response, *, listed: bool = False) -> Json | None:
    if len(response.content) > LONGEST_ANSWER:
        return None
    try:
        found = response.json()
    except ValueError:
        return None
    if listed and isinstance(found, list):
        return {"items": found}
    return found if isinstance(found, dict) else None


def _seconds(value: str | None) -> float | None:
    return float(value) if value and value.isdecimal() else None


def _reason(error: requests.RequestException) -> str:
    if isinstance(error, requests.Timeout):
        return "it takes too long"
    if isinstance(error, requests.ConnectionError):
        return "there is no connection"
    return str(error)
