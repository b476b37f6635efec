"""The state tables of orders, tasks, services and partners' orders. Pure: no Django, no clock.

The same tables stand in the database as triggers (`migrations/0002_guards.py`); a test holds the
two together. Lifecycles follow TM Forum TMF622, TMF638 and TMF641, less the states that nothing
here enters.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ispops.errors import IllegalTransition


@dataclass(frozen=True, slots=True)
class StateTable:
    """Which state of a kind of object may follow which; every pair that is not here is refused."""

    noun: str
    moves: dict[str, frozenset[str]]

    def allows(self, old: str, new: str) -> bool:
        """Say whether an object in state `old` may go to `new`; staying is no move."""
        return new in self.moves.get(old, frozenset())

    def require(self, old: str, new: str) -> None:
        """Pass when the move is in the table.

        Raises:
            IllegalTransition: it is not; the text names both states.
        """
        if not self.allows(old, new):
            raise IllegalTransition(
                f"This {self.noun} is {_words(old)}, so it cannot become {_words(new)}."
            )

    @property
    def final(self) -> frozenset[str]:
        """States that nothing follows."""
        return frozenset(state for state, following in self.moves.items() if not following)

    def pairs(self) -> Iterator[tuple[str, str]]:
        """Give every allowed move as (old, new), in a stable order."""
        for old, following in self.moves.items():
            for new in sorted(following):
                yield old, new


def _words(state: str) -> str:
    return state.replace("_", " ")


def _table(noun: str, **moves: Iterable[str]) -> StateTable:
    return StateTable(noun, {old: frozenset(following) for old, following in moves.items()})


ORDER = _table(
    "order",
    acknowledged=["pending", "in_progress", "held", "failed", "cancelled"],
    # It waits for the day that was asked for.
    pending=["in_progress", "held", "completed", "failed", "cancelled"],
    in_progress=["held", "completed", "partial", "failed", "cancelled"],
    # A person skips the last open step of a held order: it is completed at once.
    held=["in_progress", "completed", "partial", "failed", "cancelled"],
    completed=[],
    # All that could be delivered was; something that was ordered was left out.
    partial=[],
    failed=[],
    cancelled=[],
)

TASK = _table(
    "step",
    pending=["ready", "cancelled"],
    ready=["awaiting", "completed", "fallout", "cancelled"],
    # A person lets an order go on without what it waits for, such as a visit.
    awaiting=["completed", "fallout", "skipped", "cancelled"],
    fallout=["ready", "skipped", "cancelled"],
    # What was done is undone when the order is cancelled.
    completed=["cancelled"],
    skipped=["cancelled"],
    cancelled=[],
)

SERVICE = _table(
    "service",
    reserved=["active", "ceased"],
    active=["suspended", "ceased"],
    suspended=["active", "ceased"],
    ceased=[],
)

REGISTRATION = _table(
    "registration",
    draft=["placed", "abandoned"],
    placed=[],
    abandoned=[],
)

SERVICE_ORDER = _table(
    "service order",
    acknowledged=["completed", "failed", "timed_out", "cancelled"],
    # What a partner delivered can be asked back.
    completed=["cancelled"],
    failed=[],
    timed_out=[],
    cancelled=[],
)

VISIT = _table(
    "visit",
    booked=["moved", "done", "failed", "cancelled"],
    moved=[],
    done=[],
    # The order has another visit instead.
    failed=[],
    cancelled=[],
)

# What becomes of an order at a provider that has an API of its own.
DELIVERY = _table(
    "delivery",
    to_place=["placed", "to_cancel", "closed"],
    # The provider has lost it, so it is placed once more.
    placed=["to_place", "to_cancel", "closed"],
    to_cancel=["cancelling", "closed", "parked"],
    cancelling=["to_cancel", "closed", "parked"],
    # A provider that answers after we had given up on it is told again not to deliver.
    closed=["to_cancel"],
    parked=["to_cancel", "closed"],
)

# How far a provider's own state of an order is: what is less far than what is known, it said late.
_FAR = {"acknowledged": 0, "in_progress": 1, "held": 1}
_OVER = 2

# A task in one of these lets the tasks that depend on it begin.
FINISHED_TASK = frozenset({"completed", "skipped"})
# An order in one of these has nothing left to do.
CLOSED_ORDER = ORDER.final


def goes_back(known: str, told: str) -> bool:
    """Say whether a provider that has said `known` of an order would go back by saying `told`.

    What is over stays as it is. Work may be paused and taken up again.
    """
    if not known:
        return False
    far = _FAR.get(known, _OVER)
    return _FAR.get(told, _OVER) < far or (far == _OVER and told != known)
