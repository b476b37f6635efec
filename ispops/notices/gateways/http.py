"""SMS by a gateway's web interface: one POST of JSON for each message, shaped by the settings.

`SMS_GATEWAY_BODY` and `SMS_GATEWAY_HEADERS` are JSON objects whose texts hold the places {to},
{text}, {sender}, {reference} and {callback}; so most gateways need no code. The gateway answers
2xx with JSON in which `SMS_GATEWAY_ID_FIELD` leads to its id of the message, such as
`messages.0.id`.
"""

import json
import re
import time
from typing import Any

import requests
from django.conf import settings

from ispops.errors import PermanentFault
from ispops.notices.gateways.base import ChannelAway, Message

# Seconds to connect, seconds of silence, and for the whole answer.
TIME_OUT = (3.05, 10.0)
LONGEST_SECONDS = 20.0
MOST_BYTES = 64 * 1024
# These are about the message; whatever else is not 2xx is about us or about the gateway.
_REFUSALS = {400, 410, 413, 422}


class HttpGateway:
    """A gateway that is asked by HTTP."""

    def send(self, message: Message) -> str:
        """See `Gateway`."""
        places = {
            "{to}": message.address,
            "{text}": message.body.strip(),
            "{sender}": settings.SMS_SENDER,
            "{reference}": message.reference,
            "{callback}": f"{settings.BASE_URL.rstrip('/')}/sms/reports",
        }
        headers = filled(settings.SMS_GATEWAY_HEADERS, places)
        body = json.dumps(filled(settings.SMS_GATEWAY_BODY, places), ensure_ascii=False).encode()
        try:
            with requests.Session() as session:
                # Neither proxies nor passwords of this machine's files belong into the call.
                session.trust_env = False
                with session.post(
                    settings.SMS_GATEWAY_URL,
                    data=body,
                    headers={"Content-Type": "application/json; charset=utf-8", **headers},
                    timeout=TIME_OUT,
                    allow_redirects=False,
                    stream=True,
                ) as answer:
                    status, said = answer.status_code, _read(answer)
        except (requests.RequestException, OSError) as away:
            raise ChannelAway(f"{type(away).__name__}: {away}") from away
        if 200 <= status < 300:
            return _id_in(said)
        words = f"The gateway answered {status}: {said.decode(errors='replace')[:200]}"
        raise PermanentFault(words) if status in _REFUSALS else ChannelAway(words)


def filled(template: Any, places: dict[str, str]) -> Any:
    """Put values into the texts of a JSON value."""
    if isinstance(template, dict):
        return {key: filled(value, places) for key, value in template.items()}
    if isinstance(template, list):
        return [filled(value, places) for value in template]
    if not isinstance(template, str):
        return template
    # In one pass, so that a message that holds a place is not filled in itself.
    return re.sub("|".join(map(re.escape, places)), lambda found: places[found[0]], template)


def _read(answer: requests.Response) -> bytes:
    """Read an answer that may be long, or drip in, no further than it is of use."""
    started, said = time.monotonic(), b""
    for piece in answer.iter_content(8192):
        said += piece
        if len(said) > MOST_BYTES or time.monotonic() - started > LONGEST_SECONDS:
            break
    return said


def _id_in(said: bytes) -> str:
    """Find the gateway's id of a message. It took the message, so a lack of it is no fault."""
    try:
        found: Any = json.loads(said)
        for step in settings.SMS_GATEWAY_ID_FIELD.split("."):
            found = found[int(step)] if isinstance(found, list) else found[step]
    except (ValueError, LookupError, TypeError):
        return ""
    return str(found)[:200] if isinstance(found, str | int) else ""
