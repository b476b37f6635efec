"""Reading a partner's usage event: every field checked, with a reason a person can act on. Pure."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

LARGEST_QUANTITY = 10**15
_write = json.JSONEncoder(sort_keys=True).encode
FUTURE_BY = timedelta(hours=1)
OLDEST = timedelta(days=400)
LONGEST_CODE = 50
MOST_ATTRIBUTES = 4_000
# So nothing that reads or writes them later comes to the end of its stack.
DEEPEST_ATTRIBUTES = 50
_FIELDS = frozenset(
    {
        "event_id",
        "subscriber_ref",
        "offering",
        "started_at",
        "ended_at",
        "quantity",
        "unit",
        "attributes",
    }
)


class UnusableEvent(ValueError):
    """An event that cannot be stored: `field` names the culprit, the text says what to do."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field


class UsageEvent(NamedTuple):
    """A partner's event as it is stored. Quantities are whole units."""

    event_id: str
    subscriber_ref: str
    offering: str
    started_at: datetime
    ended_at: datetime | None
    quantity: int
    unit: str
    attributes: dict[str, Any]

    @property
    def said(self) -> str:
        """All that the partner said, the same however it was written."""
        said = [
            self.event_id,
            self.subscriber_ref,
            self.offering,
            self.started_at.isoformat(),
            self.ended_at.isoformat() if self.ended_at else None,
            self.quantity,
            self.unit,
            self.attributes,
        ]
        return _write(said)


def read_event(row: Any, received_at: datetime) -> UsageEvent:
    """Turn one row of a partner's report into an event.

    Raises:
        UnusableEvent: something is missing, of the wrong kind, or not to be believed.
    """
    if not isinstance(row, Mapping):
        raise UnusableEvent("", "Send each event as an object.")
    if not row.keys() <= _FIELDS:
        unknown = min(str(name) for name in row if name not in _FIELDS)
        raise UnusableEvent(
            printable(unknown[:40]), "There is no such field; put it into attributes."
        )
    started_at = _instant(row, "started_at")
    if started_at is None:
        raise UnusableEvent("started_at", "Say when the use began.")
    ended_at = _instant(row, "ended_at")
    _check_times(started_at, ended_at, received_at)
    return UsageEvent(
        event_id=_text(row, "event_id", most=120),
        subscriber_ref=_text(row, "subscriber_ref", most=40),
        offering=_text(row, "offering", most=LONGEST_CODE),
        started_at=started_at,
        ended_at=ended_at,
        quantity=_quantity(row.get("quantity")),
        unit=_text(row, "unit", most=20),
        attributes=_attributes(row.get("attributes")),
    )


def event_id_of(row: Any) -> str:
    """Return the event id that a row gives, as far as it gives one, to answer it by."""
    found = row.get("event_id") if isinstance(row, Mapping) else None
    return printable(found[:120]) if isinstance(found, str) else ""


def printable(text: str) -> str:
    """Return a text that can be written, whatever a caller put into it, to answer by it."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _text(row: Mapping[str, Any], field: str, *, most: int) -> str:
    value = row.get(field)
    if not isinstance(value, str) or not value.strip():
        raise UnusableEvent(field, f"{field} must be a text that is not empty.")
    if len(value) > most:
        raise UnusableEvent(field, f"{field} may have {most} characters at most.")
    if not value.isprintable():
        raise UnusableEvent(field, f"{field} has characters that cannot be printed.")
    return value.strip()


def _quantity(value: Any) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 16:
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise UnusableEvent("quantity", "quantity must be a whole number of units, such as 90.")
    if value < 1:
        raise UnusableEvent("quantity", "quantity must be one or more.")
    if value > LARGEST_QUANTITY:
        raise UnusableEvent("quantity", f"quantity may be {LARGEST_QUANTITY:,} at most.")
    return value


def _instant(row: Mapping[str, Any], field: str) -> datetime | None:
    value = row.get(field)
    if value is None:
        return None
    try:
        instant = datetime.fromisoformat(value)
        if instant.tzinfo is None:
            raise UnusableEvent(field, f"{field} needs a time zone, such as 2026-05-04T12:00:00Z.")
        return instant if instant.tzinfo is UTC else instant.astimezone(UTC)
    except (TypeError, ValueError, OverflowError) as error:
        if isinstance(error, UnusableEvent):
            raise
        raise UnusableEvent(
            field, f"{field} must be a time such as 2026-05-04T12:00:00Z."
        ) from error


def _check_times(started_at: datetime, ended_at: datetime | None, received_at: datetime) -> None:
    if started_at > received_at + FUTURE_BY:
        raise UnusableEvent("started_at", "started_at is in the future. Check your clock.")
    if started_at < received_at - OLDEST:
        raise UnusableEvent(
            "started_at", f"started_at is more than {OLDEST.days} days ago. Call us."
        )
    if ended_at is not None and ended_at < started_at:
        raise UnusableEvent("ended_at", "ended_at is before started_at.")
    if ended_at is not None and ended_at > received_at + FUTURE_BY:
        raise UnusableEvent("ended_at", "ended_at is in the future. Check your clock.")


def _attributes(value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise UnusableEvent("attributes", "attributes must be an object.")
    try:
        written = json.dumps(value, allow_nan=False, ensure_ascii=False)
        written.encode()  # halves of characters are JSON and no text
    except (TypeError, ValueError, RecursionError) as error:
        raise UnusableEvent("attributes", "attributes must be plain JSON.") from error
    if "\\u0000" in written:
        raise UnusableEvent("attributes", "attributes has the character NUL, which is no text.")
    if len(written) > MOST_ATTRIBUTES:
        raise UnusableEvent(
            "attributes", f"attributes may have {MOST_ATTRIBUTES:,} characters at most."
        )
    if written.count("[") + written.count("{") > DEEPEST_ATTRIBUTES < _depth(value):
        raise UnusableEvent(
            "attributes", f"attributes may be nested {DEEPEST_ATTRIBUTES} deep at most."
        )
    return dict(value)


def _depth(value: Any) -> int:
    """Return how many objects and lists are in one another."""
    depth, layer = 0, [value]
    while layer := [part for part in layer if isinstance(part, dict | list)]:
        depth += 1
        layer = [
            inner for part in layer for inner in (part.values() if isinstance(part, dict) else part)
        ]
    return depth
