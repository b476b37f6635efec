"""One call by HTTP to a provider: bounded in time and size, and never led elsewhere."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn

import requests

from ispops.errors import PermanentFault, Refusal, TransientFault
from ispops.parties.destinations import session_to
from qualification.providers.base import QuestionLost, Unusable

LARGEST_BODY = 1_000_000
LONGEST_CONNECT_SECONDS = 3.0
_CHUNK = 16_384
# Told to try again, too busy, too early.
_PASSING = frozenset({408, 425, 429})


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back: the status of HTTP, and the body as it came."""

    status: int
    text: bytes


def call(method: str, url: str, *, token: str, seconds: float, body: Any = None) -> Any:
    """Make one call and return the JSON of its answer; see `exchange`.

    Raises:
        QuestionLost: what is looked after is not known there (any more).
        PermanentFault: it refuses; asking the same again changes nothing.
        TransientFault: it cannot be reached, took too long, is in trouble, or answers garbage.
    """
    reply = exchange(
        method, url, token=token, seconds=seconds, body=body, look_at_status=_check_status
    )
    return parse(reply.text)


def exchange(
    method: str,
    url: str,
    *,
    token: str,
    seconds: float,
    body: Any = None,
    look_at_status: Callable[[str, int], None] | None = None,
) -> Reply:
    """Make one call and return what came back, whatever its status.

    The whole of it takes `seconds` at most, give or take one silence while the head of the answer
    arrives. Redirects are not followed, because they would take the token elsewhere.
    `look_at_status` may raise before the body is read.

    Raises:
        PermanentFault: nothing may be sent to this address.
        TransientFault: it cannot be reached, or the answer took too long or is too large.
    """
    deadline = time.monotonic() + seconds
    headers = {"accept": "application/json", "accept-encoding": "identity"}
    if token:
        headers["authorization"] = f"Bearer {token}"
    try:
        with (
            session_to(url, field="base_url") as session,
            session.request(
                method,
                url,
                json=body,
                headers=headers,
                timeout=(min(seconds, LONGEST_CONNECT_SECONDS), seconds),
                allow_redirects=False,
                stream=True,
            ) as response,
        ):
            if look_at_status is not None:
                look_at_status(method, response.status_code)
            return Reply(response.status_code, _read(response, deadline))
    except Refusal as refused:
        raise PermanentFault(refused.detail) from refused
    except requests.Timeout as late:
        raise TransientFault(f"It did not answer within {seconds:g} s.") from late
    except (requests.RequestException, OSError) as away:
        raise TransientFault(f"It cannot be reached ({type(away).__name__}).") from away


def _check_status(method: str, status: int) -> None:
    if status in (200, 201, 202):
        return
    if method == "GET" and status in (404, 410):
        raise QuestionLost(f"It answers {status}: it does not know our question any more.")
    if status in (401, 403):
        raise PermanentFault(f"It answers {status}: it does not take our token.")
    if status >= 500 or status in _PASSING:
        raise TransientFault(f"It answers {status}: it is in trouble.")
    raise PermanentFault(f"It answers {status}: it refuses the question.")


def _read(response: requests.Response, deadline: float) -> bytes:
    """Read the body, however slowly it drips, up to the deadline and the limit."""
    parts: list[bytes] = []
    size = 0
    for part in response.iter_content(_CHUNK):
        size += len(part)
        if size > LARGEST_BODY:
            raise Unusable(f"Its answer is larger than {LARGEST_BODY:,} bytes.")
        if time.monotonic() > deadline:
            raise TransientFault("Its answer took too long to arrive.")
        parts.append(part)
    return b"".join(parts)


def parse(text: bytes) -> Any:
    """Read JSON, amounts as decimals. Raises Unusable where it is none."""
    try:
        return json.loads(text, parse_float=Decimal, parse_constant=_no_number)
    except (ValueError, RecursionError, InvalidOperation) as error:
        raise Unusable("Its answer is no JSON.") from error


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number in JSON")
