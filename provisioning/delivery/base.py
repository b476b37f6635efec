"""What every adapter of a provider's ordering API promises, whatever it speaks.

An adapter places an order, finds or looks after one, or takes one back. It writes no row, and it
is never called inside a transaction. What it brings back was checked for type and size, and is
about the order that was meant. The same checks hold for what a provider tells without being asked.
"""

from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Protocol

from ispops.errors import PermanentFault, TransientFault
from ispops.masking import mask
from qualification.providers.base import Place

LONGEST_REFERENCE = 200
MOST_KEPT_LETTERS = 4_000


class OrderLost(TransientFault):
    """The provider does not know our order (any more)."""


class WrongOrder(TransientFault):
    """The provider answered for another order than the one that was meant."""


class Refused(PermanentFault):
    """The provider will not do it, and said why."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is ordered: `order` is the same for every attempt, so that a repeat is told as one.

    `line` and `amends` are the provider's own names for the line and for the order that made it,
    where it has told them; a changed or ended line has them.
    """

    order: str
    action: str
    place: Place
    service_ref: str
    subscriber_ref: str
    offering: str
    technology: int | None
    download_kbps: int | None
    upload_kbps: int | None
    wanted_by: datetime
    line: str = ""
    amends: str = ""


@dataclass(frozen=True, slots=True)
class Told:
    """What a provider says of our order.

    `state` is acknowledged, in_progress, held, completed, partial, failed or cancelled.
    """

    state: str
    reference: str = ""
    line: str = ""
    message: str = ""
    expected_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """One call that was made, for people to read; `status` is None where no answer came."""

    call: str
    sent: Any = None
    status: int | None = None
    answer: Any = None


@dataclass(slots=True)
class Calls:
    """What was said in one visit to a provider, secrets masked and long texts cut."""

    made: list[Call] = field(default_factory=list)

    def note(self, call: str, sent: Any, status: int | None, answer: Any) -> None:
        self.made.append(Call(call, masked(sent), status, masked(answer)))

    def as_json(self) -> list[dict[str, Any]]:
        return [asdict(call) for call in self.made]


class Deliverer(Protocol):
    """A provider that takes orders.

    Every method raises `TransientFault` when there is no usable answer this time, of which
    `OrderLost` and `WrongOrder` are two, and `Refused` when asking again changes nothing.
    """

    calls: Calls

    def find(self, order: str) -> Told | None:
        """Look for an order by our own name for it; None when the provider has none."""

    def place(self, wanted: Wanted) -> Told:
        """Place an order. Whether an earlier attempt has placed it is for the caller to find."""

    def look(self, reference: str, order: str) -> Told:
        """Look after an order by the provider's name for it."""

    def cancel(self, reference: str, order: str, reason: str) -> None:
        """Ask the provider not to deliver an order that is open."""


def masked(value: Any) -> Any:
    """Return what was said in a form that may be kept: no secrets, nothing endless."""
    return mask(_cut(value))


def _cut(value: Any, depth: int = 0) -> Any:
    if depth > 12:
        return "…"
    if isinstance(value, dict):
        return {
            _text(str(name), 100): _cut(entry, depth + 1)
            for name, entry in list(value.items())[:60]
        }
    if isinstance(value, list):
        return [_cut(entry, depth + 1) for entry in value[:30]]
    return _text(value, MOST_KEPT_LETTERS) if isinstance(value, str) else value


def _text(value: str, most: int) -> str:
    """Keep what PostgreSQL can: its JSON has no NUL and no half of a pair of surrogates."""
    plain = value[: most + 1].replace("\x00", "").encode(errors="replace").decode()
    return plain if len(plain) <= most else f"{plain[:most]}…"
