"""Which version of a price by use counts at a moment of a billing period. No database, no clock.

A price of each unit alone changes at the moment from which the new version is in force. One that
counts by the period, because units are included, tiers rise or limits hold, counts to the end of
the period in which it is: what is included is then given once, and what a period comes to does not
depend on the order in which its use was reported. Whoever begins later begins with the new one.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Protocol, TypeVar


class Version(Protocol):
    """A version of a price: when it is in force, and whether it counts by the period."""

    valid_from: datetime
    valid_to: datetime | None

    @property
    def counts_by_period(self) -> bool: ...


V = TypeVar("V", bound=Version)


def version_at(versions: Sequence[V], at: datetime, since: datetime) -> V | None:
    """Return the version that counts at a moment, None where no version is in force.

    `versions` are in order. `since` is when the billing period began or, within it, the service.
    """
    for version in versions:
        if version.valid_from > at:
            return None
        is_in_force = version.valid_to is None or at < version.valid_to
        was_in_force = version.valid_to is None or since < version.valid_to
        if is_in_force or (was_in_force and version.counts_by_period):
            return version if is_in_force or _goes_on(versions, at) else None
    return None


def _goes_on(versions: Iterable[V], at: datetime) -> bool:
    """Say whether there is a price at all at a moment."""
    return any(v.valid_from <= at and (v.valid_to is None or at < v.valid_to) for v in versions)


def changes(versions: Iterable[V]) -> list[datetime]:
    """Return the moments from which a version may have to wait for the next period."""
    found = []
    holds = False
    for version in versions:
        if holds:
            found.append(version.valid_from)
        holds = holds or version.counts_by_period
    return found
