"""How often a partner may run into a subscriber's spending limit: not so often that it finds it.

A refusal tells that something is above what is left, and by halves that would soon be known. What
is refused is undone, so the count is not a row: it lives in the cache, by the hour.
"""

from datetime import datetime
from uuid import UUID

from django.core.cache import cache

from ispops.errors import Refusal

MOST_REFUSED_AN_HOUR = 3
_HOUR = 3600


class RefusedTooOften(Refusal):
    code = "refused_too_often"
    title = "Nothing more can be tried for this subscriber at the moment"


def is_refused_too_often(partner_id: int, subscriber_id: UUID, at: datetime) -> bool:
    """Say whether a partner has run into a subscriber's limit often enough for the hour."""
    found: int = cache.get(_key(partner_id, subscriber_id, at), 0)
    return found >= MOST_REFUSED_AN_HOUR


def require_patience(partner_id: int, subscriber_id: UUID, at: datetime) -> None:
    """Refuse to try, whether there is room or not.

    Raises:
        RefusedTooOften: see above.
    """
    if is_refused_too_often(partner_id, subscriber_id, at):
        raise RefusedTooOften("Ask the subscriber for the purchase, or try again in an hour.")


def note_refusal(partner_id: int, subscriber_id: UUID, at: datetime) -> None:
    """Count that a partner has run into a subscriber's limit."""
    key = _key(partner_id, subscriber_id, at)
    cache.add(key, 0, timeout=2 * _HOUR)
    cache.incr(key)


def _key(partner_id: int, subscriber_id: UUID, at: datetime) -> str:
    return f"limit-refused:{partner_id}:{subscriber_id.hex}:{int(at.timestamp()) // _HOUR}"
