"""Which lines used something lately: the one place that knows where rated use is to be found."""

from datetime import datetime
from uuid import UUID

from rating.models import Usage


def lines_used_since(since: datetime) -> set[UUID]:
    """Return the lines of which use, or use of what they carry, was rated since then."""
    rated = Usage.objects.filter(state=Usage.State.RATED, received_at__gte=since)
    rows = rated.exclude(service=None).values_list("service", "service__line").distinct()
    return {line or service for service, line in rows}


def rated_until(at: datetime) -> datetime:
    """Return until when all use that came has been rated."""
    waiting = Usage.objects.filter(state=Usage.State.RECEIVED).order_by("pk")
    oldest = waiting.values_list("received_at", flat=True).first()
    return at if oldest is None else min(at, oldest)
