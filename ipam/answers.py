"""What an address server hears, and how it is put together from what a device holds."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from django.conf import settings

from ipam import selection
from ipam.models import OverallocationRequest
from ipam.statements import Held


class Outcome(StrEnum):
    """What the address server is told to do with the device."""

    GRANTED = "granted"
    WALLED_GARDEN = "walled_garden"
    DENIED = "denied"


@dataclass(frozen=True, slots=True)
class Answer:
    """What an address server hears: always one of three outcomes, never an error.

    `ipv4` is an address (`100.64.0.7`), `ipv6_prefix` a network (`2001:db8:0:700::/56`), each None
    where there is none. `reason` says in plain words why it is not granted.
    """

    outcome: Outcome
    ipv4: str | None = None
    ipv6_prefix: str | None = None
    lease_seconds: int = 0
    request: OverallocationRequest | None = None
    reason: str = ""


def settled_until(at: datetime) -> datetime:
    """Until when a device must hold addresses for a request not to be looked at again.

    What was complete when it was given stays complete for the first half of its lease.
    """
    return at + settings.ADDRESS_LEASE / 2


def held_already(held: Sequence[Held], at: datetime) -> Answer:
    """Return the answer for a device that holds these for longer than `settled_until`."""
    return granted(held, at)


def granted(rows: Sequence[Held], at: datetime) -> Answer:
    """Return the answer that gives these, at most one of a family."""
    by_family = {row.family: row.address for row in rows}
    return Answer(
        Outcome.GRANTED,
        ipv4=plain(by_family.get(selection.IPv4)),
        ipv6_prefix=by_family.get(selection.IPv6),
        lease_seconds=seconds_left(rows, at),
    )


def plain(address: str | None) -> str | None:
    """An IPv4 address as RADIUS writes it, without the /32 of the database."""
    return address.removesuffix("/32") if address else None


def seconds_left(rows: Sequence[Held], at: datetime) -> int:
    """Return how long the first of these to run out is still held."""
    return int(min((row.expires_at - at).total_seconds() for row in rows))
