"""Use in error is tried again: by itself when the reason has gone, and by people, many at once."""

import time
from dataclasses import dataclass
from datetime import datetime

from django.core.cache import cache
from django.db.models import QuerySet

from ispops.parties.models import User
from rating import metered, partitions, reported, usage
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
# Each is written for itself, with who tried it, while somebody waits for the page.
MOST_AT_ONCE = 1_000


def retry_guided_wrong(*, at: datetime) -> int:
    """Send use to be rated whose subscriber, product or line became known since it came.

    Each sweep looks at all of the queue, or at a part of it and the next one at the next. Use that
    stays in error is not written at all. Returns how many left the queue.
    """
    begun = time.monotonic()
    place, freed = cache.get(_PLACE, 0), 0
    # What came in a month that is closed stays as it is.
    first = partitions.first_open_id()
    while time.monotonic() - begun < SWEEP_SECONDS:
        rows = list(
            reported.in_error()
            .filter(error_code__in=GUIDED_WRONG, pk__gt=place, pk__gte=first)
            .order_by("pk")[:ROWS_A_LOOK]
        )
        found = [use.pk for use, to in guide_again(rows, metered.SOURCE) if not to.error_code]
        if found:
            freed += usage.recycle(usage_ids=found, actor=None, at=at)
        if len(rows) < ROWS_A_LOOK:
            place = 0
            break
        place = rows[-1].pk
    cache.set(_PLACE, place, None)
    return freed


@dataclass(frozen=True, slots=True)
class Retried:
    """How many were tried again, how many of them left the queue, and how many were not tried."""

    tried: int
    freed: int
    left: int


def recycle_many(*, uses: QuerySet[Usage], actor: User, at: datetime) -> Retried:
    """Try again what is in error of some use, the oldest first and up to `MOST_AT_ONCE`."""
    keys = list(uses.order_by("pk").values_list("pk", flat=True)[:MOST_AT_ONCE])
    left = max(0, uses.count() - len(keys))
    freed = usage.recycle(usage_ids=keys, actor=actor, at=at)
    return Retried(len(keys), freed, left)
