"""What a page says of an answer that waits for networks, and how often it looks."""

from collections.abc import Sequence
from dataclasses import dataclass

from qualification.models import ProviderInquiry, ServiceQualification
from qualification.queries import inquiries_of

# Most networks answer within some seconds; one that takes longer is looked at less and less often,
# and after about twenty minutes no longer by itself.
FIRST_MS, STEP_MS, LONGEST_MS = 500, 250, 15_000
MOST_LOOKS = 120


@dataclass(frozen=True, slots=True)
class Waiting:
    """Who has not answered yet, and how often the page has looked by itself."""

    names: Sequence[str]
    looks: int

    @property
    def who(self) -> str:
        """The networks in words: `Tidewater Cable`, `A, B and C`."""
        *others, last = self.names or ["Another network"]
        return f"{', '.join(others)} and {last}" if others else last

    @property
    def delay_ms(self) -> int:
        """After how long the page looks again; 0 when it has given up looking by itself."""
        if self.looks >= MOST_LOOKS:
            return 0
        return min(FIRST_MS + self.looks * STEP_MS, LONGEST_MS)


def waiting_for(qualification: ServiceQualification, looks: int) -> Waiting | None:
    """Return for whom an answer waits; None when it waits for nobody."""
    if qualification.state != ServiceQualification.State.PENDING:
        return None
    asked = inquiries_of(qualification).filter(state=ProviderInquiry.State.PENDING)
    return Waiting([row.connection.partner.name for row in asked], min(looks, MOST_LOOKS))
