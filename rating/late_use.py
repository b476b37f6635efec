"""Use of a period that was closed in parts, because the terms changed within it.

Each part guaranteed its partners something, and has made up for what was missing. What is used in
it and reported later gives a partner nothing until that is passed. What late uses would have given
without it is kept in their explanations, so that the next one goes on from there.
"""

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from django.db import connection

from rating.guarantees import ClosedPart
from rating.meters import Counter
from rating.models import UsageClosing
from rating.usage_ids import AHEAD, first_id

_LATE = """
SELECT (explanation->'late'->>'part')::int, bsp_id, network_provider_id,
       sum((explanation->'late'->>'bsp')::bigint)::bigint,
       sum((explanation->'late'->>'network_provider')::bigint)::bigint
  FROM rating_ratedusage
 WHERE service_id = %s AND price_id = %s AND period_start = %s AND usage_id >= %s
   AND explanation ? 'late'
 GROUP BY 1, 2, 3
"""


class LateUse:
    """The parts of some closed counters. Whoever counts in them holds the subscribers' lanes."""

    def __init__(self, closed: Iterable[Counter]) -> None:
        self._parts = {counter: _read(counter) for counter in closed}

    def part_of(self, counter: Counter, at: datetime) -> ClosedPart | None:
        """Return the part of a closed counter that holds a moment; None if it is open, or
        was closed whole."""
        parts = self._parts.get(counter, [])
        held = [part for part in parts[1:] if part.start <= at]
        return (parts[:1] + held)[-1] if parts else None


def _read(counter: Counter) -> list[ClosedPart]:
    service, price, start = counter
    rows = UsageClosing.objects.filter(service=UUID(service), price=price, period_start=start)
    kept = rows.values_list("parts", flat=True).get()
    parts = [ClosedPart.read(number, part) for number, part in enumerate(kept)]
    if not parts:
        return []
    with connection.cursor() as cursor:
        cursor.execute(_LATE, [service, price, start, first_id(start - AHEAD)])
        for number, bsp_id, network_provider_id, bsp, network in cursor.fetchall():
            parts[number].bsp.take(bsp_id, bsp)
            parts[number].network_provider.take(network_provider_id, network)
    return parts
