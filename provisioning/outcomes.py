"""What comes of a step of an order."""

from dataclasses import dataclass
from typing import Any

from ispops.parties.models import SubscriberCheck
from provisioning.models import ServiceOrder


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a step did, in words; with a partner's order, the step now waits for its answer.

    `request` and `reply` are what was said to the outside and what came back, as JSON; secrets in
    them are masked before they are kept. A fault carries its own (`ispops.errors.OutsideFault`).
    """

    detail: str
    awaits: ServiceOrder | None = None
    awaits_check: SubscriberCheck | None = None
    awaits_visit: bool = False
    request: Any = None
    reply: Any = None

    @property
    def is_waiting(self) -> bool:
        return self.awaits_visit or self.awaits is not None or self.awaits_check is not None
