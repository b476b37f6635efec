"""Which lines used something lately: the one place that knows where rated use is to be found."""

from datetime import datetime
from uuid import UUID

from rating.models import RatedUsage


def lines_used_since(since: datetime) -> set[UUID]:
    """Return the lines of which use, or use of what they carry, was rated since then."""
    rows = RatedUsage.objects.filter(rated_at__gte=since).values_list("service", "service__line")
    return {line or service for service, line in rows.distinct()}
