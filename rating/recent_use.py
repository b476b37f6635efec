"""Whom use of late may concern: the one place that knows where rated use is to be found.

Asked for in one statement each, from the newest steps of counters: of thousands of lines that used
something, few have come to a limit.
"""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Q

from ispops.catalog import fair_use
from ispops.parties.models import Subscriber
from rating import partitions
from rating.models import RatedUsage
from rating.thresholds import THRESHOLDS

# No billing period is longer.
_PERIOD = timedelta(days=32)
# A counter is near a threshold that nobody was told of if it would be there with nothing carried
# over; where packs were bought, that is worked out line by line.
_NEAR = """
WITH used AS MATERIALIZED (
    SELECT service_id, price_id, period_start, max(units_after)::numeric AS units
      FROM rating_ratedusage
     WHERE usage_id >= %(first)s AND rated_at >= %(since)s AND period_start > %(begin)s
     GROUP BY 1, 2, 3
)
SELECT DISTINCT COALESCE(service.line_id, service.id)
  FROM used
  JOIN provisioning_service service ON service.id = used.service_id
  JOIN catalog_offeringprice price ON price.id = used.price_id
 WHERE EXISTS (SELECT FROM rating_usagepack pack WHERE pack.service_id = used.service_id)
    OR price.allowance > 0 AND used.units * 100 >= price.allowance * (
        SELECT min(percent) FROM unnest(%(percents)s::int[]) percent
         WHERE percent > COALESCE((
            SELECT max(passed.percent) FROM rating_passedthreshold passed
             WHERE (passed.service_id, passed.price_id, passed.period_start)
                 = (used.service_id, used.price_id, used.period_start)), 0))
    OR price.unit = %(unit)s AND EXISTS (
        SELECT FROM catalog_fairuserule rule
         WHERE rule.offering_id IN (service.offering_id, service.bundle_id)
           AND rule.threshold_bytes <= used.units AND rule.valid_from <= %(at)s
           AND (rule.valid_to IS NULL OR rule.valid_to > %(at)s))
"""


def lines_near_a_limit(since: datetime, at: datetime) -> set[UUID]:
    """Return the lines that may have passed something by use that was rated since then, of their
    own or of what they carry; all that have are among them."""
    asked: dict[str, Any] = {
        "first": partitions.first_open_id(),
        "since": since,
        "begin": at - _PERIOD,
        "at": at,
        "percents": list(THRESHOLDS),
        "unit": fair_use.UNIT,
    }
    with connection.cursor() as cursor:
        cursor.execute(_NEAR, asked)
        return {line for (line,) in cursor.fetchall()}


def limited_accounts(since: datetime) -> list[Subscriber]:
    """Return the accounts that may only spend so much on partners' products, of which use was
    rated since then."""
    used = RatedUsage.objects.filter(
        pk__gte=partitions.first_open_id(), rated_at__gte=since, bsp__isnull=False
    )
    limited = Subscriber.objects.filter(Q(spending_limit__gt=0) | Q(own_limit__gt=0))
    return list(limited.filter(pk__in=used.values("subscriber")).order_by("pk"))
