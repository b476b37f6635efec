"""Configuring subscribers' devices: the northbound API of GenieACS (NBI), the ACS of TR-069.

`GET /devices/?query=` finds a device by its serial number, `POST /devices/{id}/tasks` with
`connection_request` asks it to set parameters now. 200 says that it has them; 202 that the task is
queued, and the words of the status why. What is queued is done when the device comes next, so it
is looked for before it is asked again.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import requests
from urllib3.exceptions import HTTPError

from ispops.errors import PermanentFault, TransientFault


class DeviceAway(TransientFault):
    """The ACS works, and the device does not answer it."""

    system_answered = True


class DeviceUnknown(PermanentFault):
    """The ACS knows no device, or several, with this serial number."""

    cause = "equipment_unknown"


class DeviceRefused(PermanentFault):
    """The device does not take what was asked: a path that it does not have, as a rule."""

    cause = "equipment_refused"


class AcsRefused(PermanentFault):
    """The ACS does not take our calls."""

    cause = "acs_refused"


CONNECT_SECONDS = 3.0
LARGEST_BODY = 1_000_000
_WORDS = frozenset({b"No such device", b"Task not found", b"404 Not Found"})


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back: the status of HTTP, and what the body says."""

    status: int
    body: Any


@dataclass(frozen=True, slots=True)
class Acs:
    """Where the NBI is, by which token a proxy in front of it lets us in, and our patience."""

    url: str
    token: str
    seconds: float


def set_parameters(acs: Acs, serial: str, values: Mapping[str, str]) -> dict[str, Any]:
    """Have a device set parameters, all or none; safe to repeat. Returns what was asked of it.

    Raises:
        DeviceAway: it is asked as soon as it comes; trying again says whether it has.
        DeviceUnknown, DeviceRefused, AcsRefused: a person has to look.
        TransientFault: the ACS is away or in trouble.
    """
    device = _find(acs, serial)
    task = {
        "name": "setParameterValues",
        "parameterValues": [[path, value, "xsd:string"] for path, value in values.items()],
    }
    asked = {"device": device, "paths": list(values)}
    # The device's id may hold anything, and the NBI takes no dot in an address.
    tasks = f"devices/{_quoted(device)}/tasks?connection_request"
    for old in _queued(acs, device, set(values)):
        _call(acs, "DELETE", f"tasks/{_quoted(old)}", asked)
    reply = _call(acs, "POST", tasks, asked, task)
    if reply.status == 200:
        return asked
    if reply.status != 202:
        raise DeviceUnknown(f"The ACS forgot the device meanwhile ({reply.status}).", request=asked)
    queued = _object(reply.body).get("_id")
    if fault := _fault(acs, device, queued):
        _call(acs, "DELETE", f"tasks/{_quoted(str(queued))}", asked)
        raise DeviceRefused(f"The device refused: {fault}", request=asked)
    raise DeviceAway("The device was not reached; it is asked when it comes next.", request=asked)


def _find(acs: Acs, serial: str) -> str:
    query = {"query": json.dumps({"_deviceId._SerialNumber": serial}), "projection": "_id"}
    asked = {"serial": serial}
    found = _call(acs, "GET", f"devices/?{urlencode(query)}", asked).body
    ids = [str(_object(row).get("_id", "")) for row in found] if isinstance(found, list) else []
    if len(ids) != 1 or not ids[0]:
        raise DeviceUnknown(
            f"The ACS knows {len(ids) or 'no'} device{'s' if len(ids) > 1 else ''} with the serial "
            f"number {serial}.",
            request=asked,
        )
    return ids[0]


def _queued(acs: Acs, device: str, paths: set[str]) -> list[str]:
    """What we asked before and still waits for the device; it may not be so any more."""
    query = {"query": json.dumps({"device": device, "name": "setParameterValues"})}
    found = _call(acs, "GET", f"tasks/?{urlencode(query)}", {"device": device}).body
    rows = [_object(row) for row in found] if isinstance(found, list) else []
    return [str(row["_id"]) for row in rows if row.get("_id") and _paths(row) == paths]


def _paths(task: dict[str, Any]) -> set[str]:
    values = task.get("parameterValues")
    return {str(each[0]) for each in values if each} if isinstance(values, list) else set()


def _fault(acs: Acs, device: str, task: Any) -> str:
    query = {"query": json.dumps({"_id": f"{device}:task_{task}"})}
    found = _call(acs, "GET", f"faults/?{urlencode(query)}", {"device": device}).body
    rows = found if isinstance(found, list) else []
    return next((str(_object(row).get("message") or "it says no more") for row in rows), "")[:200]


def _call(acs: Acs, method: str, path: str, asked: dict[str, Any], body: Any = None) -> Reply:
    """Make one call; what 404 means is the caller's to say."""
    headers = {"authorization": f"Bearer {acs.token}"} if acs.token else {}
    try:
        with requests.Session() as session:
            # The NBI is inside of our network; no proxy, and no redirect that takes the token away.
            session.trust_env = False
            response = session.request(
                method,
                f"{acs.url.rstrip('/')}/{path}",
                json=body,
                headers=headers,
                timeout=(CONNECT_SECONDS, acs.seconds),
                allow_redirects=False,
                stream=True,
            )
            text = response.raw.read(LARGEST_BODY, decode_content=True)
    except requests.ReadTimeout as late:
        if method == "POST":
            # It answers when the device's session is over.
            raise DeviceAway("The device has not finished in time.", request=asked) from late
        raise TransientFault("The ACS does not answer in time.", request=asked) from late
    except (requests.RequestException, HTTPError, OSError) as away:
        words = f"The ACS does not answer ({type(away).__name__})."
        raise TransientFault(words, request=asked) from away
    if response.status_code in (200, 202, 404):
        return Reply(response.status_code, _parsed(text, asked))
    said = {"status": response.status_code, "body": text[:300].decode(errors="replace")}
    words = f"The ACS answers {response.status_code}."
    if response.status_code in (408, 425, 429) or response.status_code >= 500:
        raise TransientFault(words, request=asked, reply=said)
    raise AcsRefused(words, request=asked, reply=said)


def _parsed(text: bytes, asked: dict[str, Any]) -> Any:
    """Read JSON; the words of a 404 are none, and nothing is as good as none."""
    if not text or text in _WORDS:
        return None
    try:
        return json.loads(text)
    except ValueError as error:
        raise TransientFault("The ACS sends no JSON.", request=asked) from error


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _quoted(text: str) -> str:
    return quote(text, safe="").replace(".", "%2E").replace("~", "%7E")
