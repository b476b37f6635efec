"""Sessions as staff are shown them: how they are, in a word and a sentence."""

from dataclasses import dataclass

from provisioning import steering
from provisioning.models import AccessSession, SessionCommand


@dataclass(frozen=True, slots=True)
class SessionView:
    """One session: its `tone` is a state that the console knows the colour of."""

    row: AccessSession
    server: str = ""

    @property
    def tone(self) -> str:
        if self.row.ended_at is not None:
            return "offline"
        if self.row.trouble:
            return "failed"
        return "in_progress" if self.row.next_attempt_at else "online"

    @property
    def word(self) -> str:
        if self.row.ended_at is not None:
            return f"Ended: {self.row.end_cause.replace('_', ' ')}"
        if self.row.trouble:
            return "Not changed"
        return "Being changed" if self.row.next_attempt_at else "Up to date"

    @property
    def trouble(self) -> str:
        """Why a person has to see to it; empty when nobody has to."""
        is_open = self.row.ended_at is None
        return steering.TROUBLES.get(self.row.trouble, "") if is_open else ""

    @property
    def commands(self) -> list[SessionCommand]:
        return list(self.row.commands.all())
