"""The decomposition of an order into steps with dependencies (figure 4 step 3, figure 7).

Pure: no Django, no clock, no I/O. The steps of one order make a directed graph without cycles, in
which every step stands after all that it depends on. Undoing goes the other way round.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Generic, TypeVar

RESERVE_PORT = "reserve_port"
OPEN_ADDRESS_HOLDER = "open_address_holder"
CREATE_CREDENTIALS = "create_credentials"
IDENTITY_CHECK = "identity_check"
CREDIT_CHECK = "credit_check"
BOOK_VISIT = "book_visit"
INSTALL_VISIT = "install_visit"
ORDER_LINE = "order_line"
MODIFY_LINE = "modify_line"
GRANT_ENTITLEMENT = "grant_entitlement"
CONFIGURE_EQUIPMENT = "configure_equipment"
CLEAR_EQUIPMENT = "clear_equipment"
RESERVE_IN_DHCP = "reserve_in_dhcp"
RELEASE_IN_DHCP = "release_in_dhcp"
GO_LIVE = "go_live"
CHANGE_SERVICE = "change_service"
SUSPEND_SERVICE = "suspend_service"
RESUME_SERVICE = "resume_service"
CEASE_SERVICE = "cease_service"
APPLY_TO_SESSION = "apply_to_session"
WELCOME = "welcome"

# What a person may pass over in the fallout queue because it was settled by other means, such as
# a telephone call. Going live needs what the other steps make.
MAY_BE_SKIPPED = frozenset(
    {
        *(RESERVE_PORT, BOOK_VISIT, INSTALL_VISIT, ORDER_LINE, MODIFY_LINE, GRANT_ENTITLEMENT),
        *(CONFIGURE_EQUIPMENT, CLEAR_EQUIPMENT, RESERVE_IN_DHCP, RELEASE_IN_DHCP),
        *(APPLY_TO_SESSION, WELCOME),
    }
)
# A line that is made ready beforehand works from here on, so they wait for its day.
ON_THE_DAY = frozenset({RESERVE_IN_DHCP, GO_LIVE})
# What comes when the technician was there, at the earliest.
AFTER_VISIT = frozenset({CONFIGURE_EQUIPMENT, RESERVE_IN_DHCP, GO_LIVE, WELCOME})
# Once one of these is done, the subscriber has what the order was for and it cannot be taken back.
NO_RETURN = frozenset({GO_LIVE, CHANGE_SERVICE, SUSPEND_SERVICE, RESUME_SERVICE, CEASE_SERVICE})
# They do what the order is for, in the moment for which it was asked.
AT_ONE_MOMENT = frozenset({CHANGE_SERVICE, SUSPEND_SERVICE, RESUME_SERVICE, CEASE_SERVICE})
# They come after what the order was for, and need not be done for it to be in time.
_AFTERWARDS = frozenset({CLEAR_EQUIPMENT, RELEASE_IN_DHCP, APPLY_TO_SESSION, WELCOME})
# They wait for another company, for our technician, or for all that do.
_AS_LONG_AS_IT_TAKES = frozenset(
    {
        *(IDENTITY_CHECK, CREDIT_CHECK, INSTALL_VISIT, ORDER_LINE, MODIFY_LINE),
        *(GRANT_ENTITLEMENT, CONFIGURE_EQUIPMENT, RESERVE_IN_DHCP, GO_LIVE, CHANGE_SERVICE),
    }
)
OWN_WORK_TAKES = timedelta(minutes=15)
NO_TIME = timedelta(0)


class Action(StrEnum):
    """What happens to an item (TMF622)."""

    ADD = "add"
    MODIFY = "modify"
    DELETE = "delete"
    NO_CHANGE = "no_change"


# The intents that make a line that was not there.
NEW_LINES = frozenset({"new", "move", "provider_change"})
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Item:
    """What the planner has to know of one line of an order."""

    is_access: bool
    # Access only: the line belongs to another network provider, who has to be asked for it.
    is_off_net: bool = False
    action: str = Action.ADD
    # An add-on of our own needs nobody's word; a partner's product does.
    is_granted: bool = True
    # Access only: kinds of steps that have to be done before anybody outside is asked for anything.
    checks: tuple[str, ...] = ()
    # Access only: one of our technicians comes to the place; see `needs_visit`.
    is_visited: bool = False
    # Access only: its addresses come by DHCP, from a server that has to be told.
    is_by_dhcp: bool = False
    # Access only: we configure the device at the place with the name and secret of its line.
    is_configured: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """One step: its kind, the index of the item it works for, and the steps it waits for.

    `of_old_line` is set where it ends the line that is moved from, which has a day of its own.
    """

    kind: str
    item: int
    depends_on: tuple[int, ...] = ()
    of_old_line: bool = False


@dataclass(frozen=True, slots=True)
class Held(Generic[T]):
    """A product that a line has or shall have, and the plan that it is or shall be part of."""

    product: T
    bundle: T | None = None


@dataclass(frozen=True, slots=True)
class Differences(Generic[T]):
    """What becomes of the products of a line when it shall have others; `kept` as they shall be."""

    added: tuple[Held[T], ...]
    kept: tuple[Held[T], ...]
    removed: tuple[Held[T], ...]
    # Of the kept ones, those that come into an aggregated plan, or out of one.
    regrouped: frozenset[T]


def expand_bundles(
    codes: Sequence[str], components: Mapping[str, Sequence[str]]
) -> list[tuple[str, str | None]]:
    """Replace each aggregated plan by what it is made of; `components` has an entry for each.

    Returns pairs of an offering's code and the code of the plan that it was sold in, or None.
    """
    lines: list[tuple[str, str | None]] = []
    for code in codes:
        if code in components:
            lines += [(component, code) for component in components[code]]
        else:
            lines.append((code, None))
    return lines


def differences(now: Iterable[Held[T]], then: Iterable[Held[T]]) -> Differences[T]:
    """Compare what a line has with what it shall have; each product is there at most once."""
    has = {held.product: held for held in now}
    wants = {held.product: held for held in then}
    kept = tuple(held for product, held in wants.items() if product in has)
    return Differences(
        added=tuple(held for product, held in wants.items() if product not in has),
        kept=kept,
        removed=tuple(held for product, held in has.items() if product not in wants),
        regrouped=frozenset(
            held.product for held in kept if held.bundle != has[held.product].bundle
        ),
    )


def plan_order(
    items: Sequence[Item], intent: str = "new", *, old_line_ends_first: bool = False
) -> list[Step]:
    """Return the steps of an order of this intent.

    Whoever moves has the old line until the new one is live, or, where `old_line_ends_first`,
    whatever becomes of the new one.

    Raises:
        ValueError: the items do not make such an order.
    """
    match intent:
        case "new":
            steps = _new_line(items)
        case "move" | "provider_change":
            steps = _new_line_for_old(items, old_line_ends_first)
        case "change":
            steps = _change(items)
        case "suspend":
            steps = _at_once(items, SUSPEND_SERVICE)
        case "resume":
            steps = _at_once(items, RESUME_SERVICE)
        case "cease":
            steps = _at_once(items, CEASE_SERVICE)
        case _:
            raise ValueError(f"there is no intent {intent}")
    return steps


def due_at(kind: str, *, starts_at: datetime, expected_at: datetime) -> datetime:
    """Return when a step should be done for an order to keep its date.

    What we do ourselves is soon done; what others do may take until the date that was promised;
    what follows it comes right after.
    """
    if kind in _AFTERWARDS:
        return max(starts_at, expected_at) + OWN_WORK_TAKES
    if kind in _AS_LONG_AS_IT_TAKES:
        return max(expected_at, starts_at + OWN_WORK_TAKES)
    return starts_at + OWN_WORK_TAKES


def needs_visit(*, is_on_net: bool, install_days: int | None) -> bool:
    """Say whether one of our technicians has to come for a new line.

    What takes a day or more on our own network is work at the place. Another network sends its
    own people.
    """
    return is_on_net and bool(install_days)


def _new_line(items: Sequence[Item]) -> list[Step]:
    """Plan one access line and what it carries.

    A partner's product is asked for when the line is known to come: partners give an answer within
    minutes, and a network provider may need weeks. Going live waits for everything before it, also
    for our technician, so that an aggregated plan becomes active as one; the welcome follows.
    """
    line = _only_access(items, {Action.ADD})
    steps = [
        Step(RESERVE_PORT, line),
        Step(OPEN_ADDRESS_HOLDER, line),
        Step(CREATE_CREDENTIALS, line),
    ]
    checked = tuple(range(len(steps), len(steps) + len(items[line].checks)))
    steps += [Step(kind, line) for kind in items[line].checks]
    line_is_sure = (0, *checked)
    if items[line].is_visited:
        steps.append(Step(BOOK_VISIT, line, line_is_sure))
        steps.append(Step(INSTALL_VISIT, line, (len(steps) - 1,)))
    if items[line].is_off_net:
        steps.append(Step(ORDER_LINE, line, line_is_sure))
        line_is_sure = (len(steps) - 1,)
    steps += _grants(items, line_is_sure)
    if items[line].is_configured:
        # Which device it is may be known no sooner than our technician has been there.
        steps.append(Step(CONFIGURE_EQUIPMENT, line, _last_of(steps)))
    if items[line].is_by_dhcp:
        # Its device is served from then on, so all else has to be done.
        steps.append(Step(RESERVE_IN_DHCP, line, _last_of(steps)))
    steps.append(Step(GO_LIVE, line, _last_of(steps)))
    steps.append(Step(WELCOME, line, (len(steps) - 1,)))
    return steps


def _new_line_for_old(items: Sequence[Item], old_line_ends_first: bool) -> list[Step]:
    """Plan a line that takes the place of another, which ends by itself or after it."""
    old = _only_access(items, {Action.DELETE})
    steps = _new_line(items)
    live = next(index for index, step in enumerate(steps) if step.kind == GO_LIVE)
    after = () if old_line_ends_first else (live,)
    steps.append(Step(CEASE_SERVICE, old, after, of_old_line=True))
    cease = len(steps) - 1
    steps += [Step(kind, old, (cease,), of_old_line=True) for kind in _told_of_end(items[old])]
    steps.append(Step(APPLY_TO_SESSION, old, (cease,), of_old_line=True))
    return steps


def _change(items: Sequence[Item]) -> list[Step]:
    """Plan a change of a line and of what it carries, which takes effect as one.

    What others have to do for it comes first, as long as it can be taken back.
    """
    line = _only_access(items, {Action.MODIFY, Action.NO_CHANGE})
    steps = [Step(kind, line) for kind in items[line].checks]
    line_is_sure = tuple(range(len(steps)))
    if items[line].is_off_net and items[line].action == Action.MODIFY:
        steps.append(Step(MODIFY_LINE, line, line_is_sure))
        line_is_sure = (len(steps) - 1,)
    steps += _grants(items, line_is_sure)
    steps.append(Step(CHANGE_SERVICE, line, _last_of(steps)))
    steps.append(Step(APPLY_TO_SESSION, line, (len(steps) - 1,)))
    return steps


def _at_once(items: Sequence[Item], kind: str) -> list[Step]:
    line = _only_access(items, {Action.DELETE if kind == CEASE_SERVICE else Action.NO_CHANGE})
    told = [RESERVE_IN_DHCP] if items[line].is_by_dhcp else []
    if kind == CEASE_SERVICE:
        told = _told_of_end(items[line])
    return [Step(kind, line), *(Step(each, line, (0,)) for each in [*told, APPLY_TO_SESSION])]


def _told_of_end(line: Item) -> list[str]:
    """Name the steps that tell what we set up for a line that the line has ended."""
    released = [RELEASE_IN_DHCP] if line.is_by_dhcp else []
    return released + ([CLEAR_EQUIPMENT] if line.is_configured else [])


def _grants(items: Sequence[Item], after: tuple[int, ...]) -> list[Step]:
    return [
        Step(GRANT_ENTITLEMENT, index, after)
        for index, item in enumerate(items)
        if not item.is_access and item.action == Action.ADD and item.is_granted
    ]


def _only_access(items: Sequence[Item], actions: set[str]) -> int:
    """Return the one line of an order that it does this with."""
    access = [
        index for index, item in enumerate(items) if item.is_access and item.action in actions
    ]
    if len(access) != 1:
        raise ValueError("an order is for exactly one access line")
    return access[0]


def _last_of(steps: Sequence[Step]) -> tuple[int, ...]:
    """Name the steps that no other step waits for yet: whoever waits for them waits for all."""
    waited_for = {earlier for step in steps for earlier in step.depends_on}
    return tuple(index for index in range(len(steps)) if index not in waited_for)
