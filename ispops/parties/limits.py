"""How often a visitor without a login may ask, by the address they come from."""

import hashlib
import time
from dataclasses import dataclass
from typing import Final

from allauth.account.adapter import get_adapter
from django.core.cache import cache
from django.http import HttpRequest


@dataclass(frozen=True, slots=True)
class Limit:
    """So many requests of one kind in each span of so many seconds."""

    name: str
    amount: int
    seconds: int


QUALIFY: Final = Limit("qualify", amount=30, seconds=60)
SUGGEST: Final = Limit("suggest", amount=240, seconds=60)
WAITLIST: Final = Limit("waitlist", amount=10, seconds=60)


def admit(request: HttpRequest, limit: Limit) -> bool:
    """Count a request, and say whether it is within the limit; a login is always let through.

    The count lives in the cache. Without Redis everybody is let through.
    """
    if request.user.is_authenticated:
        return True
    asker = hashlib.sha256(get_adapter().get_client_ip(request).encode()).hexdigest()[:32]
    window = int(time.time()) // limit.seconds
    key = f"limit:{limit.name}:{asker}:{window}"
    cache.add(key, 0, timeout=limit.seconds)
    return cache.incr(key) <= limit.amount
