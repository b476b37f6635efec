"""The settings of what people do for an order: technicians' visits, and checks of who orders.

Who looks into people before their first line is a setting for each kind of check.
"""

import math
import os
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured

# Whether technicians' visits are arranged, where a calendar of them is kept; and how long before it
# begins a visit can still be chosen, or moved, by the subscriber.
INSTALL_VISITS = os.environ.get("INSTALL_VISITS", "true").strip().lower() in {
    "1",
    "true",
    "yes",
    "on",
}
VISIT_NOTICE = timedelta(hours=24)
# How long after its end a visit that nobody closed is late, and how long subscribers have to choose
# another one, before somebody should call them.
VISIT_CLOSED_WITHIN = timedelta(hours=2)
VISIT_CHOSEN_WITHIN = timedelta(days=2)
# How long a checker outside may need, with all attempts, before staff look into a person.
CHECK_ANSWERED_WITHIN = timedelta(minutes=30)

WAYS = ("none", "manual", "http")
# Less than TASK_LEASE, whatever the answer does: see `ispops.parties.gateways.http_check`.
LONGEST_TIME_OUT = 10.0


def _way(kind: str) -> str:
    way = os.environ.get(f"{kind.upper()}_CHECK", "none")
    if way not in WAYS:
        raise ImproperlyConfigured(f"{kind.upper()}_CHECK is {way}: set {', '.join(WAYS)}.")
    return way


def _checker(kind: str) -> dict[str, Any]:
    """Read how a checker is asked by HTTP; nothing where it is not."""
    name = f"{kind.upper()}_CHECK"
    if CHECKS[kind] != "http":
        return {"url": "", "secret": "", "timeout_seconds": 5.0}
    url, secret = os.environ.get(f"{name}_URL", ""), os.environ.get(f"{name}_SECRET", "")
    parts = urlsplit(url)
    is_local = parts.scheme == "http" and parts.hostname in {"127.0.0.1", "localhost"}
    if not is_local and (parts.scheme != "https" or not parts.hostname):
        raise ImproperlyConfigured(f"{name}_URL has to begin with https://.")
    if not secret:
        raise ImproperlyConfigured(f"{name}_SECRET is not set.")
    try:
        timeout = float(os.environ.get(f"{name}_TIMEOUT_SECONDS") or 5)
    except ValueError as error:
        raise ImproperlyConfigured(f"{name}_TIMEOUT_SECONDS is no number.") from error
    if not math.isfinite(timeout) or not 0 < timeout <= LONGEST_TIME_OUT:
        raise ImproperlyConfigured(
            f"{name}_TIMEOUT_SECONDS has to be above 0 and at most {LONGEST_TIME_OUT:g}."
        )
    return {"url": url, "secret": secret, "timeout_seconds": timeout}


# Each is none, manual, or http. `CHECKED` names the account kinds and plan codes for which it is
# done; empty is for all.
CHECKS = {kind: _way(kind) for kind in ("identity", "credit")}
CHECKERS = {kind: _checker(kind) for kind in CHECKS}
CHECKED = {word.strip() for word in os.environ.get("CHECKED", "").split(",") if word.strip()}
