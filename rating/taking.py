"""The queue of use that waits: taken by lanes and ranges, and read as columns of numbers."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import numpy as np
from django.db import connection

from ispops import binary
from ispops.binary import INT2, INT8, Column
from ispops.catalog.models import OfferingPrice, ProductOffering

NOBODY = UUID(int=0)
# So many lanes go into one batch: more make larger batches, fewer leave more for other workers.
LANES_A_BATCH = 4

_LANES = """
UPDATE rating_ratinglane SET rated_at = %(at)s WHERE id IN (
    SELECT id FROM rating_ratinglane lane
     WHERE EXISTS (SELECT FROM rating_waitingusage waiting WHERE waiting.lane = lane.id)
     ORDER BY rated_at NULLS FIRST LIMIT %(most)s FOR NO KEY UPDATE SKIP LOCKED)
RETURNING id
"""
# The last range is cut where the batch is full.
_TAKE = """
WITH next AS (
    SELECT first, last, sum(last - first + 1) OVER (ORDER BY first) - (last - first + 1) AS before
      FROM (SELECT * FROM rating_waitingusage WHERE lane = ANY(%(lanes)s)
             ORDER BY first LIMIT 20000) soonest
), taken AS (
    SELECT first, last, LEAST(last, first + %(limit)s - before - 1)::bigint AS upto
      FROM next WHERE before < %(limit)s
), gone AS (
    DELETE FROM rating_waitingusage waiting USING taken WHERE waiting.first = taken.first
    RETURNING waiting.lane, taken.first, taken.upto, taken.last
), rest AS (
    INSERT INTO rating_waitingusage (lane, first, last)
    SELECT lane, upto + 1, last FROM gone WHERE upto < last
)
SELECT first, upto FROM gone ORDER BY first
"""
# The limit is what the longest range has. Without it the planner takes each for a ninth of the
# whole table, and reads all of it.
_READ = """
SELECT u.id, u.subscriber_id, COALESCE(u.service_id, {nobody}), u.offering_id::bigint,
       u.started_at, u.quantity, hashtextextended(u.unit, 0),
       hashtextextended(s.currency, 0), s.billing_anchor_day{more}
  FROM unnest({first}::bigint[], {last}::bigint[]) taken (first, last)
  CROSS JOIN LATERAL (SELECT * FROM rating_usage stored
     WHERE stored.id BETWEEN taken.first AND taken.last ORDER BY stored.id LIMIT {most}) u
  JOIN parties_subscriber s ON s.id = u.subscriber_id{joins}
 WHERE u.error_code = ''
"""
_READ_TYPES = (INT8, binary.UUID, binary.UUID, INT8, INT8, INT8, INT8, INT8, INT2)
# Asked for only where an aggregated plan has a price by use, which its parts then share.
_PLAN = ", COALESCE(span.bundle_id, 0)::bigint, COALESCE(service.line_id, service.id, {nobody})"
_PLAN_JOINS = """
  LEFT JOIN provisioning_service service ON service.id = u.service_id
  LEFT JOIN provisioning_serviceperiod span ON span.service_id = u.service_id
       AND span.started_at <= u.started_at
       AND (span.ended_at IS NULL OR u.started_at < span.ended_at)"""


@dataclass(slots=True)
class Uses:
    """Columns of one batch, a value for each use."""

    id: Column
    subscriber: Column
    service: Column
    offering: Column
    started: Column
    quantity: Column
    unit: Column
    currency: Column
    anchor_day: Column
    bundle: Column
    line: Column
    # Filled in as they are found.
    period: Column = field(default_factory=lambda: np.empty(0, np.int64))
    rule: Column = field(default_factory=lambda: np.empty(0, np.int64))
    price: Column = field(default_factory=lambda: np.empty(0, np.int64))

    def take(self, chosen: Column) -> "Uses":
        """Return the uses at some places, or where something holds, in that order."""
        columns = {name: getattr(self, name) for name in self.__slots__}
        return Uses(
            **{name: column[chosen] if len(column) else column for name, column in columns.items()}
        )


def take(limit: int, at: datetime) -> tuple[int, Uses]:
    """Hold lanes that nobody holds, and take what waits in them off the queue.

    Returns how many ids were taken, of which some may not be in use, and the uses.
    """
    with connection.cursor() as cursor:
        cursor.execute(_LANES, {"at": at, "most": LANES_A_BATCH})
        lanes = [row[0] for row in cursor.fetchall()]
        cursor.execute(_TAKE, {"lanes": lanes, "limit": limit})
        ranges = cursor.fetchall()
    count = sum(last - first + 1 for first, last in ranges)
    return count, _read(ranges)


def _read(ranges: Sequence[tuple[int, int]]) -> Uses:
    nobody = f"'{NOBODY}'::uuid"
    with_plans = OfferingPrice.objects.filter(
        charge=OfferingPrice.Charge.USAGE, offering__kind=ProductOffering.Kind.BUNDLE
    ).exists()
    query = _READ.format(
        nobody=nobody,
        most=max((last - first + 1 for first, last in ranges), default=0),
        first=f"'{{{','.join(str(first) for first, _ in ranges)}}}'",
        last=f"'{{{','.join(str(last) for _, last in ranges)}}}'",
        more=_PLAN.format(nobody=nobody) if with_plans else "",
        joins=_PLAN_JOINS if with_plans else "",
    )
    columns = binary.read(query, _READ_TYPES + (INT8, binary.UUID) * with_plans)
    if not with_plans:
        columns += [np.zeros(len(columns[0]), np.int64), columns[2]]
    return Uses(*columns)
