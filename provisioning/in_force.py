"""What a line gets on the network, from all that bears on it (figure 7).

Pure: no Django, no clock, no I/O.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple

WALLED_GARDEN = "walled_garden"
BLOCK = "block"


class Speed(NamedTuple):
    """The most that a line carries, in kbit/s."""

    download_kbps: int
    upload_kbps: int


@dataclass(frozen=True, slots=True)
class Profile:
    """What a session of the line is let do; `treatment` is "", `walled_garden` or `block`."""

    enabled: bool
    treatment: str
    speed: Speed

    @property
    def lets_in(self) -> bool:
        return self.enabled and self.treatment != BLOCK

    @property
    def is_walled(self) -> bool:
        return self.treatment == WALLED_GARDEN


def profile(
    *,
    state: str,
    treatments: Collection[str],
    plan: Speed,
    boosts: Collection[Speed] = (),
    slowed_to: Speed | None = None,
    instead: Speed | None = None,
) -> Profile:
    """Return the profile of a line in this state of its service.

    `treatments` are those of the suspensions that are open: the strictest wins, and a line that is
    suspended without one is blocked. `boosts` are added to the plan's speed. A line that is
    `slowed_to` a speed has no more than that, boosts or not, and never more than without it.
    `instead` is a speed that replaces all that, be it more or less: a person has set it.
    """
    boosted = Speed(
        plan.download_kbps + sum(boost.download_kbps for boost in boosts),
        plan.upload_kbps + sum(boost.upload_kbps for boost in boosts),
    )
    if slowed_to is not None:
        boosted = Speed(*map(min, boosted, slowed_to))
    return Profile(
        enabled=state in {"active", "suspended"},
        treatment=treatment(state=state, treatments=treatments),
        speed=instead or boosted,
    )


def treatment(*, state: str, treatments: Collection[str]) -> str:
    """Return how a line in this state is treated: "", `walled_garden` or `block`; see `profile`."""
    if state != "suspended":
        return ""
    return WALLED_GARDEN if set(treatments) == {WALLED_GARDEN} else BLOCK
