"""What a checker of identity or credit is asked, and what it can answer."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol


class Verdict(StrEnum):
    """What a checker answers; what it refers, staff decide."""

    PASS = "pass"  # noqa: S105
    REFER = "refer"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Question:
    """Whom a checker looks into; the id is the same at every attempt."""

    check_id: str
    kind: str
    name: str
    email: str
    phone: str
    account_kind: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What a checker found, in words for staff, and what was said to it and by it, as JSON."""

    verdict: Verdict
    reason: str
    reference: str
    request: Any
    reply: Any


class Checker(Protocol):
    """Looks into one person. It is outside: only a worker calls it, in no transaction."""

    def ask(self, question: Question) -> Answer:
        """Return what was found.

        Raises:
            TransientFault: it does not answer, or not as it should.
            PermanentFault: it refuses to be asked, and trying again would not help.
        """
        ...
