"""The calls that the client software makes, and what can go wrong with them, in words."""

import uuid
from typing import Any

import requests

Json = dict[str, Any]
CALLS = "/api/v1/service_qualifications"
LONGEST_ANSWER = 5_000_000


class ServerAway(Exception):
    """The server could not be reached, or what answered is not this product."""


class Refused(Exception):
    """The server understood and refused: an RFC 9457 problem, with the fields at fault.

    `retry_after` is set, in seconds, when the same request may be sent again after a pause.
    """

    def __init__(self, problem: Json, retry_after: float | None = None) -> None:
        super().__init__(str(problem.get("detail") or problem.get("title") or "Refused."))
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

    def page_of(self, qualification_id: str) -> str:
        """The address at which a browser shows the answer."""
        return f"{self.server}/check/{qualification_id}/"

    def _call(self, method: str, path: str, body: Json | None = None) -> tuple[Json, float]:
        headers = {"Accept": "application/json, application/problem+json"}
        if method == "POST":
            headers["Idempotency-Key"] = uuid.uuid4().hex
        try:
            response = self._session.request(
                method, self.server + path, json=body, headers=headers, timeout=self.timeout
            )
        except requests.RequestException as error:
            raise ServerAway(f"{self.server} does not answer: {_reason(error)}.") from error
        found = _json(response)
        pause = _seconds(response.headers.get("Retry-After"))
        if response.ok and found is not None:
            return found, pause or 1.0
        if found is None or not ({"title", "detail"} & found.keys()):
            raise ServerAway(
                f"{self.server} answered {response.status_code}, and not as an ISP Ops server does."
            )
        if response.status_code >= 500:
            raise ServerAway(f"{self.server} has a fault of its own. Try again in a minute.")
        raise Refused(found, pause)


def _json(response: requests.Response) -> Json | None:
    if len(response.content) > LONGEST_ANSWER:
        return None
    try:
        found = response.json()
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _seconds(value: str | None) -> float | None:
    return float(value) if value and value.isdecimal() else None


def _reason(error: requests.RequestException) -> str:
    if isinstance(error, requests.Timeout):
        return "it takes too long"
    if isinstance(error, requests.ConnectionError):
        return "there is no connection"
    return str(error)
