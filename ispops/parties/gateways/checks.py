"""Who looks into whether people are who they say, and whether they pay: one checker a kind."""

from dataclasses import dataclass
from typing import Protocol

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a checker found, in words for staff."""

    passed: bool
    reason: str


class Checker(Protocol):
    """Looks into one person."""

    def look(self, *, name: str, email: str, phone: str) -> Verdict | None:
        """Return what was found, or None when a member of staff has to decide."""
        ...


class ManualChecker:
    """Staff decide, in the console's queue."""

    def look(self, *, name: str, email: str, phone: str) -> None:
        return None


_CHECKERS: dict[str, Checker] = {"manual": ManualChecker()}
# The name of the setting that says that nobody looks.
NONE = "none"


def checker_of(kind: str) -> Checker | None:
    """Return who looks into `identity` or `credit` by the settings; None when nobody does."""
    name = settings.CHECKS[kind]
    if name == NONE:
        return None
    if name not in _CHECKERS:
        raise ImproperlyConfigured(
            f"{name} is no checker: set {NONE} or {', '.join(sorted(_CHECKERS))}."
        )
    return _CHECKERS[name]
