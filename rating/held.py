"""What is held of a subscriber's money, and so cannot be spent on anything else."""

from datetime import datetime
from typing import Any

from django.db.models import QuerySet

from rating.models import Reservation


def live(at: datetime, **whose: Any) -> QuerySet[Reservation]:
    """Return the reservations that hold something at a moment; one whose time is over does not."""
    return Reservation.objects.filter(released_at__isnull=True, held_until__gt=at, **whose)
