"""A provider that speaks TM Forum's service ordering API (TMF641, version 4).

`POST {base_url}/serviceOrder` places an order, with our own id as `externalId`;
`GET ?externalId=` finds it again, `GET /serviceOrder/{id}` looks after it, and
`POST /cancelServiceOrder` takes it back. What is known of a line is in
`serviceOrderItem[].service`.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode

from django.utils.dateparse import parse_datetime

from ispops.errors import TransientFault
from provisioning.delivery.base import (
    LONGEST_REFERENCE,
    Calls,
    OrderLost,
    Refused,
    Told,
    Wanted,
    WrongOrder,
)
from qualification.providers.base import Unusable, words
from qualification.providers.tmf645 import place_out
from qualification.providers.transport import exchange, parse

RESOURCE = "serviceOrder"
CANCEL = "cancelServiceOrder"
# TM Forum's states, by ours; while a cancellation is thought about the order is still open.
STATES = {
    "acknowledged": "acknowledged",
    "pending": "in_progress",
    "inProgress": "in_progress",
    "assessingCancellation": "in_progress",
    "pendingCancellation": "in_progress",
    "held": "held",
    "completed": "completed",
    "partial": "partial",
    "failed": "failed",
    "rejected": "failed",
    "cancelled": "cancelled",
}
# Told to try again, too busy, too early; and what a person must mend on either side.
_PASSING = frozenset({401, 403, 408, 425, 429})
_CONFLICT = 409


class Tmf641Deliverer:
    """One provider's API; see `base.Deliverer`."""

    def __init__(self, *, base_url: str, token: str, seconds: float) -> None:
        self.base_url = base_url.rstrip("/")
        self.token = token
        self.seconds = seconds
        self.calls = Calls()

    def find(self, order: str) -> Told | None:
        found = self._call("GET", f"{RESOURCE}?{urlencode({'externalId': order})}")
        if not isinstance(found, list) or len(found) > 100:
            raise Unusable("It was asked for a list of orders and sent none.")
        # Some leave out what they do not know: then all orders come, and ours is among them.
        ours = [entry for entry in _objects(found) if entry.get("externalId") == order]
        return read(ours[-1], order) if ours else None

    def place(self, wanted: Wanted) -> Told:
        try:
            told = read(self._call("POST", RESOURCE, order_out(wanted)), wanted.order)
        except _Taken as taken:
            # It has this order, it says: then it can be found.
            known = self.find(wanted.order)
            if known is None:
                raise Refused(str(taken)) from taken
            return known
        if not told.reference:
            raise Unusable("It took the order and gave it no id.")
        return told

    def look(self, reference: str, order: str) -> Told:
        # By the id and not by the href: that could lead anywhere, and the token with it.
        document = self._call("GET", f"{RESOURCE}/{quote(reference, safe='')}")
        told = read(document, order)
        if told.reference and told.reference != reference:
            raise WrongOrder("It answered for another order than the one that was looked after.")
        return told

    def cancel(self, reference: str, order: str, reason: str) -> None:
        body = {
            "@type": "CancelServiceOrder",
            "cancellationReason": reason,
            "serviceOrder": {"id": reference},
        }
        try:
            self._call("POST", CANCEL, body)
        except _Taken as taken:
            raise Refused(str(taken)) from taken

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        """Make one call, note it, and return the JSON of its answer."""
        shown = f"{method} /{path}"
        try:
            reply = exchange(
                method,
                f"{self.base_url}/{path}",
                token=self.token,
                seconds=self.seconds,
                body=body,
            )
        except Exception:
            self.calls.note(shown, body, None, None)
            raise
        try:
            answer = parse(reply.text) if reply.text.strip() else None
        except Unusable:
            answer = reply.text.decode(errors="replace")
            self.calls.note(shown, body, reply.status, answer)
            if 200 <= reply.status < 300:
                raise
        else:
            self.calls.note(shown, body, reply.status, answer)
        _check_status(method, reply.status, answer)
        return answer


class _Taken(Exception):
    """It says that this conflicts with what it has."""


def _check_status(method: str, status: int, answer: Any) -> None:
    if 200 <= status < 300:
        return
    if method == "GET" and status in (404, 410):
        raise OrderLost(f"It answers {status}: it does not know our order.")
    why = _reason(answer)
    said = f"It answers {status}{f': {why}' if why else ''}."
    if status in (401, 403):
        raise TransientFault(f"It answers {status}: it does not take our token.")
    if status >= 500 or status in _PASSING or 300 <= status < 400:
        raise TransientFault(said)
    if status == _CONFLICT:
        raise _Taken(why or said)
    raise Refused(why or said)


def _reason(answer: Any) -> str:
    """Return what a TM Forum error says, without a full stop at its end."""
    told = answer if isinstance(answer, dict) else {}
    return (words(told.get("reason")) or words(told.get("message")))[:250].rstrip(".")


def order_out(wanted: Wanted) -> dict[str, Any]:
    """Write the order: one item for one line. No name goes with it, only the place."""
    service: dict[str, Any] = {
        "@type": "Service",
        "serviceType": "broadbandAccess",
        "name": wanted.offering,
        "place": [place_out(wanted.place)],
        "serviceCharacteristic": [
            {"name": name, "value": value}
            for name, value in (
                ("serviceReference", wanted.service_ref),
                ("subscriberReference", wanted.subscriber_ref),
                ("technology", wanted.technology),
                ("downloadSpeed", wanted.download_kbps),
                ("uploadSpeed", wanted.upload_kbps),
            )
            if value is not None
        ],
    }
    if wanted.line:
        service["id"] = wanted.line
    body: dict[str, Any] = {
        "@type": "ServiceOrder",
        "externalId": wanted.order,
        "category": "broadbandAccess",
        "requestedCompletionDate": wanted.wanted_by.isoformat(),
        "serviceOrderItem": [{"id": "1", "action": wanted.action, "service": service}],
    }
    if wanted.amends:
        body["orderRelationship"] = [{"relationshipType": "amends", "id": wanted.amends}]
    return body


def read(document: Any, order: str) -> Told:
    """Read what a provider says of our order; every part of it is checked.

    A date that makes no sense is left out: the state is worth more than that.

    Raises:
        Unusable: it is no order in the form of TMF641.
        WrongOrder: it is about another order.
    """
    if not isinstance(document, dict):
        raise Unusable("Its answer is no order.")
    if document.get("externalId") not in (None, "", order):
        raise WrongOrder("It answered for another order than ours.")
    state = STATES.get(words(document.get("state"), 40))
    if state is None:
        raise Unusable(
            f"The state of the order is {words(document.get('state'), 40) or 'missing'}."
        )
    return Told(
        state=state,
        reference=_id(document.get("id")),
        line=_line(document),
        message=_message(document),
        expected_at=_moment(document.get("expectedCompletionDate")),
    )


def _id(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > LONGEST_REFERENCE or not value.isprintable():
        raise Unusable("The id of the order is no text of up to 200 characters.")
    return value


def _line(document: dict[str, Any]) -> str:
    """Return the provider's name for the line, where it tells one."""
    for item in _objects(document.get("serviceOrderItem")):
        service = item.get("service")
        value = service.get("id") if isinstance(service, dict) else None
        if isinstance(value, str) and len(value) <= LONGEST_REFERENCE and value.isprintable():
            return value
    return ""


def _message(document: dict[str, Any]) -> str:
    """Return the provider's latest words: an error, else a note."""
    for name, parts in (("errorMessage", ("message", "reason")), ("note", ("text",))):
        told = [words(entry.get(part)) for entry in _objects(document.get(name)) for part in parts]
        if said := [text for text in told if text]:
            return said[-1]
    return ""


def _objects(value: Any, most: int = 50) -> Iterator[dict[str, Any]]:
    if isinstance(value, list):
        yield from (entry for entry in value[-most:] if isinstance(entry, dict))


def _moment(value: Any) -> datetime | None:
    """Read a date and time with its zone."""
    if not isinstance(value, str):
        return None
    try:
        moment = parse_datetime(value)
    except ValueError:
        return None
    return moment if moment is not None and moment.tzinfo is not None else None
