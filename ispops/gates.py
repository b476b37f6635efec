"""Whether a system outside may be called now, for whoever keeps a queue of calls for it.

Limits and circuit breakers are rows that the operator sets; see `provisioning.outside`, which
registers itself here. So departments before it obey them, too: webhooks, letters and messages.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Gate:
    """A system outside: what it is called in the code and by people, and how many calls it gets
    at a time until the operator says otherwise."""

    key: str
    name: str
    at_once: int


class Keeper(Protocol):
    """What counts the calls and their outcomes."""

    def admit(self, gate: Gate, *, running: int, at: datetime) -> datetime | None: ...

    def report(self, gate: Gate, *, fault: str, at: datetime) -> None: ...

    def shut(self, prefix: str, *, at: datetime) -> list[str]: ...


_keepers: list[Keeper] = []


def register(keeper: Keeper) -> None:
    """Let this one decide from now on."""
    _keepers[:] = [keeper]


def admit(gate: Gate, *, running: int, at: datetime) -> datetime | None:
    """Count a call that is about to be made, beside `running` others; None when it may be.

    Else when to come again. For the transaction that takes the piece of work, whose row the
    caller has locked.
    """
    return _keepers[0].admit(gate, running=running, at=at)


def report(gate: Gate, *, fault: str = "", at: datetime) -> None:
    """Note that a call got through, or the fault for which it did not."""
    _keepers[0].report(gate, fault=fault, at=at)


def shut(prefix: str, *, at: datetime) -> list[str]:
    """Return the ends of the keys that begin like this and are left alone for now."""
    return _keepers[0].shut(prefix, at=at)
