"""The decomposition of an order into steps with dependencies (figure 4, step 3).

Pure: no Django, no clock, no I/O. The steps of one order make a directed graph without cycles, in
which every step stands after all that it depends on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

RESERVE_PORT = "reserve_port"
OPEN_ADDRESS_HOLDER = "open_address_holder"
CREATE_CREDENTIALS = "create_credentials"
ORDER_LINE = "order_line"
GRANT_ENTITLEMENT = "grant_entitlement"
GO_LIVE = "go_live"
WELCOME = "welcome"

# What a person may pass over in the fallout queue because it was settled by other means, such as
# a telephone call. Going live needs what the other steps make.
MAY_BE_SKIPPED = frozenset({RESERVE_PORT, ORDER_LINE, GRANT_ENTITLEMENT, WELCOME})


@dataclass(frozen=True, slots=True)
class Item:
    """What the planner has to know of one line of an order."""

    is_access: bool
    # Access only: the line belongs to another network provider, who has to be asked for it.
    is_off_net: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """One step: its kind, the index of the item it works for, and the steps it waits for."""

    kind: str
    item: int
    depends_on: tuple[int, ...] = ()


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


def plan_order(items: Sequence[Item]) -> list[Step]:
    """Return the steps of an order for one access line and what it carries.

    A partner's product is asked for when the line is known to come: partners give an answer within
    minutes, and a network provider may need weeks. Going live waits for everything before it, so
    that an aggregated plan becomes active as one; the welcome follows.

    Raises:
        ValueError: there is not exactly one access item.
    """
    access = [index for index, item in enumerate(items) if item.is_access]
    if len(access) != 1:
        raise ValueError("an order is for exactly one access line")
    line = access[0]
    steps = [
        Step(RESERVE_PORT, line),
        Step(OPEN_ADDRESS_HOLDER, line),
        Step(CREATE_CREDENTIALS, line),
    ]
    line_is_sure = 0
    if items[line].is_off_net:
        line_is_sure = len(steps)
        steps.append(Step(ORDER_LINE, line, (0,)))
    for index, item in enumerate(items):
        if not item.is_access:
            steps.append(Step(GRANT_ENTITLEMENT, index, (line_is_sure,)))
    steps.append(Step(GO_LIVE, line, _last_of(steps)))
    steps.append(Step(WELCOME, line, (len(steps) - 1,)))
    return steps


def _last_of(steps: Sequence[Step]) -> tuple[int, ...]:
    """Name the steps that no other step waits for yet: whoever waits for them waits for all."""
    waited_for = {earlier for step in steps for earlier in step.depends_on}
    return tuple(index for index in range(len(steps)) if index not in waited_for)
