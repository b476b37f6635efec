"""How the portal says things: states, speeds, volumes, times. No database, no clock."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from ispops.money import format_money

__all__ = [
    "Look",
    "ago",
    "bytes_in_words",
    "days",
    "format_money",
    "look",
    "quantity",
    "speed",
    "sureness",
]


@dataclass(frozen=True, slots=True)
class Look:
    """How a state is shown: never by colour alone, but by a word, a shape and a colour."""

    word: str
    icon: str
    tone: str


_LOOKS: Final[dict[str, dict[str, Look]]] = {
    "ProductOrder": {
        "acknowledged": Look("Received", "wait", "busy"),
        "pending": Look("Waiting for its day", "wait", "busy"),
        "in_progress": Look("In progress", "busy", "busy"),
        "held": Look("Needs attention", "warn", "warn"),
        "completed": Look("Done", "done", "good"),
        "partial": Look("Done in part", "warn", "warn"),
        "failed": Look("Failed", "bad", "bad"),
        "cancelled": Look("Cancelled", "off", ""),
    },
    "OrderTask": {
        "pending": Look("Waiting", "wait", ""),
        "ready": Look("Working on it", "busy", "busy"),
        "awaiting": Look("Waiting for our partner", "busy", "busy"),
        "completed": Look("Done", "done", "done"),
        "skipped": Look("Left out", "skip", "done"),
        "fallout": Look("We are looking at it", "warn", "warn"),
        "cancelled": Look("Cancelled", "off", ""),
    },
    "Service": {
        "reserved": Look("Being set up", "busy", "busy"),
        "active": Look("Active", "done", "good"),
        "suspended": Look("Suspended", "pause", "warn"),
        "ceased": Look("Ended", "off", ""),
    },
    "Purchase": {
        "pending": Look("Waiting for the partner", "busy", "busy"),
        "completed": Look("Ready to use", "done", "good"),
        "reversed": Look("Reversed", "warn", "warn"),
        "cancelled": Look("Cancelled", "off", ""),
    },
    "Dispute": {
        "open": Look("We are looking into it", "busy", "busy"),
        "upheld": Look("You were right", "done", "good"),
        "rejected": Look("The charge is right", "off", ""),
    },
    "PurchaseRequest": {
        "waiting": Look("Waiting for your answer", "warn", "warn"),
        "agreed": Look("You said yes", "done", "good"),
        "declined": Look("You said no", "off", ""),
        "expired": Look("Not answered in time", "off", ""),
        "withdrawn": Look("Withdrawn", "off", ""),
    },
    "Notice": {
        "pending": Look("On its way", "busy", "busy"),
        "sent": Look("Sent", "done", "good"),
    },
    "OverallocationRequest": {
        "pending": Look("Waiting for your answer", "warn", "warn"),
        "granted": Look("Accepted", "done", "good"),
        "denied": Look("Declined", "off", ""),
        "not_needed": Look("No longer needed", "off", ""),
        "expired": Look("Nobody answered in time", "off", ""),
    },
}


def look(kind: str, state: str) -> Look:
    """Return how a state of a kind of row is shown; a state we do not know shows as its name."""
    known = _LOOKS.get(kind, {}).get(state)
    return known or Look(state.replace("_", " ").capitalize(), "info", "")


def speed(kbps: int | None) -> str:
    """Write a speed as the answers of a qualification do: 940 Mbit/s, 1.5 Gbit/s."""
    if kbps is None:
        return ""
    if kbps >= 1_000_000:
        return f"{_short(kbps / 1_000_000)} Gbit/s"
    if kbps >= 1_000:
        return f"{_short(kbps / 1_000)} Mbit/s"
    return f"{kbps} kbit/s"


def days(count: int) -> str:
    """Write a number of days as people count them: `5 days`, from three weeks on in weeks."""
    if count >= 21:
        return f"{round(count / 7)} weeks"
    return f"{count} day" if count == 1 else f"{count} days"


def sureness(confidence: str) -> str:
    """Say how sure an offer is, by the level of its confidence."""
    return {
        "green": "Confirmed for this address.",
        "yellow": "Known for the area; we confirm it for this address before we install.",
        "red": "Not confirmed by the network; we see to that.",
    }[confidence]


def bytes_in_words(count: int | None) -> str:
    """Write a volume in decimal units, with at most three figures that matter."""
    size = float(count or 0)
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if size < 999.5 or unit == "TB":
            return f"{_short(size)} {unit}"
        size /= 1000
    raise AssertionError("the last unit takes any size")


def quantity(count: int, unit: str) -> str:
    """Write how much of something: bytes as a volume, anything else as a count of its unit."""
    if unit == "byte":
        return bytes_in_words(count)
    if not unit:
        return f"{count:,}"
    return f"{count:,} {unit}" if count == 1 else f"{count:,} {unit}s"


def ago(at: datetime, now: datetime) -> str:
    """Write a time as people say it: `5 minutes ago`, `in 3 days`, `just now`."""
    span = at - now
    words = _span(abs(span))
    if not words:
        return "just now" if span <= timedelta() else "in a moment"
    return f"in {words}" if span > timedelta() else f"{words} ago"


def _span(length: timedelta) -> str:
    seconds = int(length.total_seconds())
    for size, name in (
        (365 * 86_400, "year"),
        (30 * 86_400, "month"),
        (86_400, "day"),
        (3_600, "hour"),
        (60, "minute"),
    ):
        if seconds >= size:
            count = seconds // size
            return f"{count} {name}" if count == 1 else f"{count} {name}s"
    return ""


def _short(value: float) -> str:
    """Three figures that matter, without zeros after the point."""
    if value >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}".rstrip("0").rstrip(".")
