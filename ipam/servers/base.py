"""What every kind of address server can be told and asked, whatever it is.

An adapter speaks to one server that runs; it reads and writes no rows of ours, and is never called
inside a transaction. Whatever it changes is safe to repeat: the caller keeps what the server should
have, tells it again after a fault, and believes only what `confirm` has seen.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from ispops.errors import PermanentFault, TransientFault


class ServerAway(TransientFault):
    """The server, or where it keeps its configuration, did not answer; later it may."""


class NotLiveYet(TransientFault):
    """The server was told, answers, and does not have it (or still has it)."""

    system_answered = True


class ServerRefused(PermanentFault):
    """The server was told and will not; a person has to look before it is told again."""

    cause = "address_server_refused"


class RangeInUse(PermanentFault):
    """Devices have leases of a range that was to be taken away."""

    cause = "range_in_use"


@dataclass(frozen=True, slots=True)
class Range:
    """What a pool hands out, as its server is told: all but the ends of it, unit by unit."""

    # The pool's key: servers that number what they are told use it.
    number: int
    network: str
    unit_length: int
    # Of `ipam.models.Pool.Purpose`.
    purpose: str

    @property
    def family(self) -> int:
        return 6 if ":" in self.network else 4


@dataclass(frozen=True, slots=True)
class Use:
    """How full a range is by the server's own count."""

    range: Range
    total: int
    assigned: int
    # Taken out of use by the server because somebody else was seen to have them.
    declined: int = 0


class Position(NamedTuple):
    """How far a file has been read. It is the file's number that tells a new one of that name."""

    file: int = 0
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Lease:
    """What a server has given to a device, or given up, as it wrote it down."""

    address: str
    # A hardware address or a DUID, in the server's spelling.
    device: str
    # By which port the device is known, where the network says so.
    circuit: str
    ends_at: datetime
    # Seconds for which it was given; zero is that it was given back or has run out.
    seconds: int
    # The hardware address beside a DUID, where the server knows it.
    hardware: str = ""


@dataclass(frozen=True, slots=True)
class Holder:
    """Which device a server has given an address to, and when it was heard of last."""

    device: str
    heard_at: datetime
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class Refusal:
    """A device that the server gave nothing, and when."""

    device: str
    at: datetime
    # Nothing was free; otherwise what is free is not for such a device.
    is_full: bool


@dataclass(frozen=True, slots=True)
class Refused:
    """How many requests a server gave nothing: from strangers, and because nothing was free."""

    strangers: int
    full: int


class AddressServerAdapter(Protocol):
    """One address server that runs."""

    def add_range(self, wanted: Range) -> Any:
        """Let the server hand out a range too; what it has already is left. Returns what was said.

        Raises:
            ServerAway: tell it again later.
            ServerRefused: it cannot be done so.
        """

    def remove_range(self, unwanted: Range) -> Any:
        """Let the server hand out a range no more; what it does not have is passed over.

        Raises:
            RangeInUse: devices have leases of it.
            ServerAway, ServerRefused: as `add_range`.
        """

    def confirm(self, wanted: Range, *, present: bool = True, seconds: float = 3.0) -> float:
        """Wait until the running server has a range, or has it no more; returns the seconds.

        Raises:
            NotLiveYet: not within that time.
            ServerAway: it does not answer.
        """

    def missing(self, ranges: Sequence[Range]) -> list[Range]:
        """Return which of these ranges the running server does not have.

        Raises:
            ServerAway, ServerRefused: as `add_range`.
        """

    def utilisation(self, ranges: Sequence[Range]) -> list[Use]:
        """Return how full these ranges are; those of a subnet that the server does not have are
        left out.

        Raises:
            ServerAway, ServerRefused: as `add_range`.
        """

    def leases(self, since: Position, *, limit: int) -> tuple[list[Lease], Position]:
        """Return what was given and given up since a position, oldest first, and the next one.

        Nothing is passed over, and after a fault something may come twice.
        """

    def holder_of(self, address: str) -> Holder | None:
        """Return who has an address from the server, or had it last; None where it says nothing.

        Raises:
            ServerAway, ServerRefused: as `add_range`.
        """

    def refusals(self, since: Position, *, limit: int) -> tuple[list[Refusal], Position]:
        """Return whom the server gave nothing since a position, and the next one."""

    def refused(self) -> Refused:
        """Return how often the server gave nothing since it was started.

        Raises:
            ServerAway, ServerRefused: as `add_range`.
        """
