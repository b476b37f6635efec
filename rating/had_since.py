"""Since when services have had what they use, within a billing period."""

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


def asked_of(service: Service, start: datetime) -> Asked:
    """Return what is asked of a service: of a part of an aggregated plan, since when its line has
    had the plan."""
    if service.bundle_id:
        return str(service.line_id or service.pk), service.bundle_id, start
    return str(service.pk), service.offering_id, start


def had_since(asked: Iterable[Asked]) -> dict[Asked, datetime]:
    """Return the start of each period, or the moment in it at which the service was first active
    with what is asked for; a service that never was is left out."""
    rows = sorted(set(asked))
    if not rows:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(_FIRST, [*map(list, zip(*rows, strict=True))])
        return {(service, offering, start): at for service, offering, start, at in cursor}
