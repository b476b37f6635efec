"""Whether an outside system may be asked now, by how it has answered lately. Pure.

Closed, it lets every question through. After `threshold` failures in a row it is open and lets
none through until its pause is over; then one question is a probe, while the others still wait:
an answer closes it, another failure opens it for another pause.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

CLOSED, OPEN, HALF_OPEN = "closed", "open", "half_open"


@dataclass(frozen=True, slots=True)
class Breaker:
    """What is known of a system; `open_until` is None while it is closed."""

    failures: int
    open_until: datetime | None
    threshold: int
    pause: timedelta

    def state(self, at: datetime) -> str:
        """Return `closed`, `open`, or `half_open` when the next question is a probe."""
        if self.open_until is None:
            return CLOSED
        return OPEN if at < self.open_until else HALF_OPEN

    def probing(self, until: datetime) -> "Breaker":
        """Let no other question through while one is a probe, until the latest it can last."""
        return replace(self, open_until=until)

    def after_success(self) -> "Breaker":
        return replace(self, failures=0, open_until=None)

    def after_failure(self, at: datetime) -> "Breaker":
        failures = self.failures + 1
        is_open = self.open_until is not None or failures >= self.threshold
        return replace(self, failures=failures, open_until=at + self.pause if is_open else None)
