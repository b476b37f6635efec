"""What is held of a subscriber's money, and so cannot be spent on anything else."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db.models import QuerySet, Sum

from ispops.parties.models import Subscriber
from rating.models import Reservation

NONE = Decimal(0)


def live(at: datetime, **whose: Any) -> QuerySet[Reservation]:
    """Return the reservations that hold something at a moment; one whose time is over does not."""
    return Reservation.objects.filter(released_at__isnull=True, held_until__gt=at, **whose)


def held_of(subscriber: Subscriber, at: datetime) -> Decimal:
    """Return what is held of a subscriber's money at a moment, with tax."""
    return total(live(at, subscriber=subscriber))


def total(rows: QuerySet[Reservation]) -> Decimal:
    """Return what some reservations hold and is not used yet, with tax."""
    sums = rows.aggregate(held=Sum("amount"), used=Sum("used_amount"))
    return (sums["held"] or NONE) - (sums["used"] or NONE)
