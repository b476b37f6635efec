"""Use in error is tried again: by itself when the reason has gone, and by people, many at once."""

import time
from datetime import datetime

from django.core.cache import cache
from django.db.models import QuerySet

from ispops.parties.models import User
from rating import reported, sessions, usage
from rating.guiding import guide_again
from rating.models import Usage

# What guiding says; what the rating of guided use says is for a person to see to.
GUIDED_WRONG = (
    "unknown_subscriber", "unknown_offering", "not_subscribed", "unknown_user",
)  # fmt: skip
ROWS_A_LOOK = 2_000
# A sweep gives way after so long; the next one goes on behind it.
SWEEP_SECONDS = 10.0
_PLACE = "rating:errors-looked-at"
MOST_AT_ONCE = 10_000


def retry_guided_wrong(*, at: datetime) -> int:
    """Send use to be rated whose subscriber, product or line became known since it came.

    Each sweep looks at all of the queue, or at a part of it and the next one at the next. Use that
    stays in error is not written at all. Returns how many left the queue.
    """
    begun = time.monotonic()
    place, freed = cache.get(_PLACE, 0), 0
    while time.monotonic() - begun < SWEEP_SECONDS:
        rows = list(
            reported.in_error()
            .filter(error_code__in=GUIDED_WRONG, pk__gt=place)
            .order_by("pk")[:ROWS_A_LOOK]
        )
        found = [use.pk for use, to in guide_again(rows, sessions.SOURCE) if not to.error_code]
        if found:
            freed += usage.recycle(usage_ids=found, actor=None, at=at)
        if len(rows) < ROWS_A_LOOK:
            place = 0
            break
        place = rows[-1].pk
    cache.set(_PLACE, place, None)
    return freed


def recycle_many(*, uses: QuerySet[Usage], actor: User, at: datetime) -> tuple[int, int]:
    """Try again what is in error of some use, the oldest first and up to `MOST_AT_ONCE`.

    Returns how many were tried, and how many of them left the queue.
    """
    keys = list(uses.order_by("pk").values_list("pk", flat=True)[:MOST_AT_ONCE])
    freed = 0
    for first in range(0, len(keys), ROWS_A_LOOK):
        some = keys[first : first + ROWS_A_LOOK]
        freed += usage.recycle(usage_ids=some, actor=actor, at=at)
    return len(keys), freed
