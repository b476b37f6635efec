"""How often a visitor without a login may ask, by the address they come from."""

import ipaddress
import math
import time
from dataclasses import dataclass
from typing import Any, Final

from allauth.account.adapter import get_adapter
from django.core.cache import cache
from django.http import HttpRequest
from django.utils.crypto import salted_hmac
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle


@dataclass(frozen=True, slots=True)
class Limit:
    """So many requests of one kind in each span of so many seconds."""

    name: str
    amount: int
    seconds: int


QUALIFY: Final = Limit("qualify", amount=30, seconds=60)
SUGGEST: Final = Limit("suggest", amount=240, seconds=60)
LOOK: Final = Limit("look", amount=240, seconds=60)
WAITLIST: Final = Limit("waitlist", amount=10, seconds=60)


def admit(request: HttpRequest | Request, limit: Limit) -> bool:
    """Count a request, and say whether it is within the limit; a login is always let through.

    The count lives in the cache. Without Redis everybody is let through.
    """
    if getattr(request.user, "is_authenticated", False):
        return True
    window = int(time.time()) // limit.seconds
    key = f"limit:{limit.name}:{origin(request)}:{window}"
    cache.add(key, 0, timeout=limit.seconds)
    return cache.incr(key) <= limit.amount


def origin(request: HttpRequest | Request) -> str:
    """Return a name for the address that a request comes from, which does not tell the address.

    All of an IPv6 network of 64 bits is one origin, because one visitor has all of it.
    """
    address = ipaddress.ip_address(get_adapter().get_client_ip(request))
    if isinstance(address, ipaddress.IPv6Address):
        network = ipaddress.IPv6Network((address, 64), strict=False)
        address = address.ipv4_mapped or network.network_address
    return salted_hmac("ispops.origin", str(address), algorithm="sha256").hexdigest()[:32]


class StrangersLimit(BaseThrottle):
    """Holds calls without a token to the limit of the view's `open_to_strangers`."""

    seconds = 60

    def allow_request(self, request: Request, view: Any) -> bool:
        limit = limit_for_strangers(view, request.method)
        if limit is None:
            return True
        self.seconds = limit.seconds
        return admit(request, limit)

    def wait(self) -> float:
        """Return the seconds until the next span begins."""
        return math.ceil(self.seconds - time.time() % self.seconds)


def limit_for_strangers(view: Any, method: str | None) -> Limit | None:
    """Return the limit of a method that may be called without a token; None for all others."""
    allowed: dict[str, Limit] = getattr(view, "open_to_strangers", {})
    return allowed.get((method or "").upper())
