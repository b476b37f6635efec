"""How often somebody may ask or write: a visitor by address, a login and an API client by name."""

import ipaddress
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from allauth.account.adapter import get_adapter
from allauth.idp.oidc.models import Token
from django.conf import settings
from django.core.cache import cache
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.urls import get_resolver
from django.utils.crypto import salted_hmac
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle


@dataclass(frozen=True, slots=True)
class Limit:
    """So many requests of one kind in each span of so many seconds."""

    name: str
    amount: int
    seconds: int

    def count(self, who: str) -> int:
        """Count a request, and return the seconds to wait first; 0 within the limit.

        The count lives in the cache. Without Redis everybody is let through.
        """
        now = time.time()
        key = f"limit:{self.name}:{who}:{int(now) // self.seconds}"
        cache.add(key, 0, timeout=self.seconds)
        if cache.incr(key) <= self.amount:
            return 0
        return math.ceil(self.seconds - now % self.seconds)


QUALIFY: Final = Limit("qualify", amount=30, seconds=60)
SUGGEST: Final = Limit("suggest", amount=240, seconds=60)
LOOK: Final = Limit("look", amount=240, seconds=60)
WAITLIST: Final = Limit("waitlist", amount=10, seconds=60)
# Wrong secrets of address servers: for one name, and for whatever names, from one address.
WRONG_SECRET: Final = Limit("wrong-secret", amount=10, seconds=60)
WRONG_SECRETS: Final = Limit("wrong-secrets", amount=60, seconds=60)


def seconds_to_wait(request: HttpRequest | Request, limit: Limit) -> int:
    """Count a request of a page, and return the seconds to wait first; 0 within the limit.

    What a login asks the networks, who may want to be paid for answers, is also counted by the day.
    Members of staff are let through: what they do is written down.
    """
    user = request.user
    if not getattr(user, "is_authenticated", False):
        return limit.count(origin(request))
    if user.is_staff:
        return 0
    return _first_wait(_questions() if limit is QUALIFY else [limit], f"login:{user.pk}")


def _first_wait(limits: list[Limit], who: str) -> int:
    return next((wait for limit in limits if (wait := limit.count(who))), 0)


def _questions() -> list[Limit]:
    return [QUALIFY, Limit("qualify-day", settings.LOGIN_QUALIFICATIONS_A_DAY, 86_400)]


def _writes() -> Limit:
    return Limit("write", settings.LOGIN_WRITES_A_MINUTE, 60)


def origin(request: HttpRequest | Request) -> str:
    """Return a name for the address that a request comes from, which does not tell the address.

    All of an IPv6 network of 64 bits is one origin, because one visitor has all of it.
    """
    address = ipaddress.ip_address(get_adapter().get_client_ip(request))
    if isinstance(address, ipaddress.IPv6Address):
        network = ipaddress.IPv6Network((address, 64), strict=False)
        address = address.ipv4_mapped or network.network_address
    return salted_hmac("ispops.origin", str(address), algorithm="sha256").hexdigest()[:32]


def wait_after_wrong_secret(request: HttpRequest | Request, name: str) -> int:
    """Count a wrong secret for a server's name, and return the seconds to wait first; 0 within
    the limits.

    Called once the secret was found wrong. The right one is neither counted nor kept waiting,
    wherever it comes from, so nobody locks a server out by guessing in its name.
    """
    try:
        who = origin(request)
    except PermissionDenied:  # behind a socket that tells no address
        return 0
    named = salted_hmac("ispops.server", name, algorithm="sha256").hexdigest()[:16]
    return WRONG_SECRET.count(f"{who}:{named}") or WRONG_SECRETS.count(who)


class CallersLimit(BaseThrottle):
    """Holds calls of the API to their limits.

    Calls without a token: that of the view's `open_to_strangers`. A login's program: what its
    login may write, and where the view `asks_networks`, ask. A partner's program: as much as
    partners do in earnest; usage comes as fast as it is made.
    """

    _wait = 0

    def allow_request(self, request: Request, view: Any) -> bool:
        limits, who = limits_of_call(request, view)
        self._wait = _first_wait(limits, who)
        return not self._wait

    def wait(self) -> float:
        """Return the seconds until the next span begins."""
        return self._wait


def limits_of_call(request: Request, view: Any) -> tuple[list[Limit], str]:
    """Return what a call is held to, and whom it is counted for."""
    token = request.auth
    if not isinstance(token, Token):
        limit = limit_for_strangers(view, request.method)
        return ([limit], origin(request)) if limit else ([], "")
    if request.method in SAFE_METHODS:
        return [], ""
    asks = getattr(view, "asks_networks", False)
    if token.user_id is not None:
        return (_questions() if asks else [_writes()]), f"login:{token.user_id}"
    if view.scope_area == "usage":
        return [], ""
    kind, amount = (
        ("qualify", settings.CLIENT_QUALIFICATIONS_A_MINUTE)
        if asks
        else ("write", settings.CLIENT_WRITES_A_MINUTE)
    )
    return [Limit(kind, amount, 60)], f"client:{token.client_id}"


class LoginWritesMiddleware:
    """Holds what a login sends from our pages to its limit, whichever page it is.

    Calls of programs are counted by `CallersLimit`, for the same login together with these.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.method in SAFE_METHODS or request.path.startswith(_PROGRAMS):
            return self.get_response(request)
        if request.user.is_authenticated and (wait := seconds_to_wait(request, _writes())):
            page: Callable[..., HttpResponse] = get_resolver().resolve_error_handler(429)
            return page(request, wait=wait)
        return self.get_response(request)


# They come without a cookie, and are not asked who they are twice.
_PROGRAMS = ("/api/", "/aaa/", "/tmf-api/", "/payments/", "/sms/")


def limit_for_strangers(view: Any, method: str | None) -> Limit | None:
    """Return the limit of a method that may be called without a token; None for all others."""
    allowed: dict[str, Limit] = getattr(view, "open_to_strangers", {})
    return allowed.get((method or "").upper())
