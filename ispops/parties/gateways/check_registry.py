"""Who looks into people today, by the settings: a way for each kind of check."""

from django.conf import settings

from ispops.parties.gateways.checks import Checker
from ispops.parties.gateways.http_check import HttpChecker

# Nobody looks; staff do; a checker outside does, and staff where it cannot say.
NONE, MANUAL, HTTP = "none", "manual", "http"


def is_checked(kind: str) -> bool:
    """Say whether anybody looks into `identity` or `credit`."""
    return bool(settings.CHECKS[kind] != NONE)


def checker_of(kind: str) -> Checker | None:
    """Return the checker outside that is asked; None where staff decide, or nobody does."""
    if settings.CHECKS[kind] != HTTP:
        return None
    asked = settings.CHECKERS[kind]
    return HttpChecker(asked["url"], asked["secret"], asked["timeout_seconds"])
