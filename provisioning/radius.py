"""The JSON that FreeRADIUS's `rlm_rest` speaks, and the values inside. Pure: no Django, no clock.

A request is `{"User-Name": {"type": "string", "value": ["ada"]}, ...}`: with `raw_value` numbers
are numbers and enumerations their codes, without it enumerations are words. Dates are
"Nov  3 2025 06:25:00 UTC" either way, octets "0x7376...". Bodies of a real FreeRADIUS 3.2.1 are in
the tests.
"""

import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Self

from ipam import selection

# What fits PostgreSQL's bigint; RADIUS itself counts to 2^32 or 2^64.
MOST_NUMBER = 2**63 - 1
# RFC 2865: an attribute holds 253 octets.
MOST_TEXT = 253
# A clock that differs more than this from the time of receipt is not believed.
CLOCK_TOLERANCE = timedelta(seconds=300)
MOST_UINT32 = 2**32 - 1
_ESCAPED = re.compile(rb"=([0-9A-F]{2})")
EARLIEST_YEAR, LATEST_YEAR = 2000, 2199

# RFC 2866, 5.1 and 5.10; FreeRADIUS's words for the codes.
STATUS_TYPES = {
    "1": "Start",
    "2": "Stop",
    "3": "Interim-Update",
    "Alive": "Interim-Update",
    "7": "Accounting-On",
    "8": "Accounting-Off",
}
TERMINATE_CAUSES = dict(
    enumerate(
        (
            "User-Request",
            "Lost-Carrier",
            "Lost-Service",
            "Idle-Timeout",
            "Session-Timeout",
            "Admin-Reset",
            "Admin-Reboot",
            "Port-Error",
            "NAS-Error",
            "NAS-Request",
            "NAS-Reboot",
            "Port-Unneeded",
            "Port-Preempted",
            "Port-Suspended",
            "Service-Unavailable",
            "Callback",
            "User-Error",
            "Host-Request",
        ),
        start=1,
    )
)


class Malformed(ValueError):
    """A body or a value that no RADIUS server sends; the message says which, for its operator."""


@lru_cache(maxsize=4_096)
def _address(text: str) -> str:
    """Return the usual spelling of an IP address; those of access servers come again and again.

    Raises:
        ValueError: it is none.
    """
    return selection.parse_address(text)


@dataclass(frozen=True, slots=True)
class Attributes:
    """The attributes of one RADIUS packet, by name; of several of one name the first counts."""

    values: Mapping[str, Any]

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """Read the body of a call.

        Raises:
            Malformed: it is not an object of attributes in JSON.
        """
        try:
            found = json.loads(body, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            raise Malformed("The body is not JSON.") from error
        if not isinstance(found, dict):
            raise Malformed("The body must be an object of attributes.")
        return cls.of(found)

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> Self:
        """Take attributes as `{"type": ..., "value": [...]}`, as a list, or as the bare value.

        Raises:
            Malformed: a value is neither text nor a number.
        """
        return cls({name: _first(name, value) for name, value in found.items()})

    def text(self, name: str) -> str:
        """Return an attribute as text, empty when it is absent.

        What PostgreSQL cannot store, the character 0 and halves of characters, is replaced.
        """
        value = self.values.get(name)
        if value is None:
            return ""
        text = str(value).replace("\x00", "\ufffd")
        return text.encode("utf-8", "replace").decode("utf-8") if not text.isascii() else text

    def number(self, name: str) -> int | None:
        """Return an attribute as a whole number from 0, or None when it is absent.

        Raises:
            Malformed: it is no such number, or larger than any RADIUS counter.
        """
        value = self.values.get(name)
        if value is None:
            return None
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 20:
            value = int(value)
        if not isinstance(value, int) or not 0 <= value <= MOST_NUMBER:
            raise Malformed(f"{name} must be a whole number from 0 to {MOST_NUMBER}.")
        return value

    def address(self, *names: str) -> str | None:
        """Return the first of these attributes that is there, as an IP address, or None.

        Raises:
            Malformed: it is no address.
        """
        for name in names:
            if text := self.text(name):
                try:
                    found = _address(text)
                except ValueError as error:
                    raise Malformed(f"{name} must be an IP address.") from error
                if "%" in text:
                    raise Malformed(f"{name} must be an IP address without a zone.")
                return found
        return None

    def instant(self, name: str) -> datetime | None:
        """Return a date, or None when it is absent or in a form that nobody can be sure of.

        FreeRADIUS writes its local time zone's short name, which means an instant only in UTC.
        """
        value = self.values.get(name)
        if isinstance(value, str) and not value.isdigit():
            return _parse_date(value)
        seconds = self.number(name)
        if seconds is None or seconds > MOST_UINT32:
            return None
        return datetime.fromtimestamp(seconds, UTC)

    def raw(self, name: str) -> bytes:
        """Return octets, empty when the attribute is absent or not written as octets."""
        text = self.text(name)
        try:
            return bytes.fromhex(text[2:]) if text.startswith("0x") else b""
        except ValueError:
            return b""

    def octets(self, name: str) -> str:
        """Return octets as the text that they spell, or as they came when they spell none."""
        text = self.text(name)
        if not text.startswith("0x"):
            return text
        try:
            spelt = bytes.fromhex(text[2:]).decode("ascii")
        except ValueError:
            return text
        return spelt if spelt.isprintable() else text


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _first(name: str, value: Any) -> str | int | None:
    if isinstance(value, str):  # nearly all are, and to ask for an abstract type takes longer
        return value
    if isinstance(value, Mapping):
        value = value.get("value")
    if isinstance(value, list):
        value = value[0] if value else None
    if isinstance(value, bool) or not isinstance(value, str | int | None):
        raise Malformed(f"{name[:MOST_TEXT]} must be text or a whole number.")
    return value


def _parse_date(text: str) -> datetime | None:
    """Read a date that can be true; what no clock says is taken as absent."""
    found = _parse_words(text)
    if found is None or not EARLIEST_YEAR <= found.year <= LATEST_YEAR:
        return None
    return found.astimezone(UTC)


def _parse_words(text: str) -> datetime | None:
    words = text.split()
    if len(words) == 5 and words[4] in {"UTC", "GMT"}:
        try:
            return datetime.strptime(" ".join(words[:4]), "%b %d %Y %H:%M:%S").replace(tzinfo=UTC)
        except ValueError:
            return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else None


def chap_fits(attributes: Attributes, secret: str) -> bool:
    """Say whether CHAP-Password was made of this secret (RFC 2865, 5.3).

    The challenge is CHAP-Challenge; FreeRADIUS is set up to send it always, also where it is the
    authenticator of the packet. Without one nothing can be said, and it does not fit.
    """
    answer, challenge = attributes.raw("CHAP-Password"), attributes.raw("CHAP-Challenge")
    if len(answer) != 1 + 16 or not challenge:
        return False
    made = hashlib.md5(answer[:1] + secret.encode() + challenge, usedforsecurity=False).digest()
    return hmac.compare_digest(made, answer[1:])


def status_type(attributes: Attributes) -> str:
    """Return FreeRADIUS's word for Acct-Status-Type, whether it came as a word or as its code.

    Raises:
        Malformed: the attribute is missing.
    """
    text = attributes.text("Acct-Status-Type")
    if not text:
        raise Malformed("Acct-Status-Type is missing.")
    return STATUS_TYPES.get(text, text)[:20]


def terminate_cause(attributes: Attributes) -> str:
    """Return FreeRADIUS's word for Acct-Terminate-Cause, empty when it is absent."""
    text = attributes.text("Acct-Terminate-Cause")
    is_code = text.isdecimal() and len(text) <= 10
    return TERMINATE_CAUSES.get(int(text), text) if is_code else text


def event_time(attributes: Attributes, received_at: datetime) -> tuple[datetime, int]:
    """Return when something happened at the access server, and the seconds until it was told.

    A message that waited in a spool says in Packet-Original-Timestamp when it first arrived; the
    spool has added its own waiting to Acct-Delay-Time, which is taken off again. Event-Timestamp
    is believed within `CLOCK_TOLERANCE` of the arrival, else the arrival less the delay counts.
    """
    delay = attributes.number("Acct-Delay-Time") or 0
    arrived_at = received_at
    original = attributes.instant("Packet-Original-Timestamp")
    if original is not None and original <= received_at:
        delay = max(0, delay - int((received_at - original).total_seconds()))
        arrived_at = original
    delay = min(delay, 2**31 - 1)
    told = attributes.instant("Event-Timestamp")
    if told is not None and abs(told - arrived_at) <= CLOCK_TOLERANCE:
        return told, delay
    return arrived_at - timedelta(seconds=delay), delay


def unescaped(text: str) -> str:
    """Return what FreeRADIUS's SQL module was given: it writes octets that are not safe as `=27`.

    Octets that are no UTF-8 are replaced, as in `Attributes.text`.
    """
    if "=" not in text:
        return text
    return _ESCAPED.sub(lambda found: bytes([int(found[1], 16)]), text.encode()).decode(
        errors="replace"
    )


def reply(attributes: Mapping[str, str | int | list[str]]) -> dict[str, Any]:
    """Write attributes for an answer, never expanded by FreeRADIUS; one with several values is a
    list, which is added value by value.

    `do_xlat` defaults to true there, and `%{...}` in a value would then be executed.
    """
    return {
        name: {
            "op": "+=" if isinstance(value, list) else ":=",
            "value": value if isinstance(value, list) else [value],
            "do_xlat": False,
        }
        for name, value in attributes.items()
    }
