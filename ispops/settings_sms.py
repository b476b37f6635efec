"""The settings of SMS: how a gateway wants its messages, and how it reports on them."""

import json
import os
from typing import Any

from django.core.exceptions import ImproperlyConfigured


def _words(name: str, default: str) -> list[str]:
    return [word.strip().lower() for word in os.environ.get(name, default).split(",")]


def _json(name: str, default: str) -> Any:
    """Read a JSON object, whose texts a gateway's adapter fills in."""
    try:
        value = json.loads(os.environ.get(name) or default)
    except ValueError as error:
        raise ImproperlyConfigured(f"{name} is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise ImproperlyConfigured(f"{name} is no JSON object.")
    return value


SMS_GATEWAY_URL = os.environ.get("SMS_GATEWAY_URL", "")
SMS_SENDER = os.environ.get("SMS_SENDER", "")
SMS_GATEWAY_HEADERS = _json("SMS_GATEWAY_HEADERS", "{}")
SMS_GATEWAY_BODY = _json(
    "SMS_GATEWAY_BODY",
    '{"to": "{to}", "from": "{sender}", "text": "{text}", "reference": "{reference}"}',
)
SMS_GATEWAY_ID_FIELD = os.environ.get("SMS_GATEWAY_ID_FIELD", "id")
# The gateway shows this token when it reports what became of a message; without one, none may.
SMS_REPORT_TOKEN = os.environ.get("SMS_REPORT_TOKEN", "")
SMS_REPORT_ID_FIELD = os.environ.get("SMS_REPORT_ID_FIELD", "id")
SMS_REPORT_STATE_FIELD = os.environ.get("SMS_REPORT_STATE_FIELD", "status")
SMS_REPORT_DELIVERED = _words("SMS_REPORT_DELIVERED", "delivered")
SMS_REPORT_UNDELIVERED = _words(
    "SMS_REPORT_UNDELIVERED", "undelivered,failed,rejected,expired,undeliverable"
)
# The country of telephone numbers that are written without one.
PHONE_REGION = os.environ.get("PHONE_REGION", "US")
