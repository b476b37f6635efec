"""Since when services have had what they use, within a billing period.

A price counts on the meter of one service: an aggregated plan's on its line, any other on the
service that is used, whatever it was sold in. All who look for the version of a price that counts
ask that service since when it has had what the price is of.
"""

from collections.abc import Iterable
from datetime import datetime

from django.db import connection

from provisioning.models import Service

# A service, what it has (an offering or an aggregated plan), and the start of a billing period.
Asked = tuple[str, int, datetime]

_FIRST = """
SELECT asked.service::text, asked.offering, asked.start, GREATEST(min(span.started_at), asked.start)
  FROM unnest(%s::uuid[], %s::bigint[], %s::timestamptz[]) asked (service, offering, start)
  JOIN provisioning_serviceperiod span ON span.service_id = asked.service
       AND asked.offering IN (span.offering_id, span.bundle_id) AND span.state = 'active'
       AND (span.ended_at IS NULL OR span.ended_at > asked.start)
 GROUP BY 1, 2, 3
"""


def asked_of(service: Service, wanted: int, start: datetime, *, bundle_id: int | None) -> Asked:
    """Return what is asked about a price of `wanted`: of the line, if that is what the service is
    sold in."""
    meter = service.line_id if wanted == bundle_id else None
    return str(meter or service.pk), wanted, start


def had_since(asked: Iterable[Asked]) -> dict[Asked, datetime]:
    """Return the start of each period, or the moment in it at which the service was first active
    with what is asked for; of a service that never was, the start."""
    rows = sorted(set(asked))
    if not rows:
        return {}
    found = {one: one[2] for one in rows}
    with connection.cursor() as cursor:
        cursor.execute(_FIRST, [*map(list, zip(*rows, strict=True))])
        found |= {(service, offering, start): at for service, offering, start, at in cursor}
    return found
