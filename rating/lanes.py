"""Lanes: a share of the subscribers each, held by whoever moves a counter of one of them.

Counters have no rows to lock: they are the newest of rows that are only added. So everybody who
reads a counter in order to add to it, or to decide by it, holds the subscriber's lane until the
transaction ends.
"""

from collections.abc import Iterable
from uuid import UUID

from django.db import connection

from rating.used import RatingLane

_MAKE = """
INSERT INTO rating_ratinglane (id) SELECT generate_series(0, %s) ON CONFLICT (id) DO NOTHING
"""


def lane_of(subscriber_id: UUID) -> int:
    """Return the lane of a subscriber: by the random end of the key, so lanes are alike."""
    return subscriber_id.int % RatingLane.COUNT


def hold_lane(subscriber_id: UUID) -> None:
    """Wait until nobody rates the use of a subscriber, and keep it so until the transaction ends.

    A worker holds a lane for a batch, which is a second or two.
    """
    hold_lanes([subscriber_id])


def hold_lanes(subscriber_ids: Iterable[UUID]) -> None:
    """Hold the lanes of some subscribers, in their order, as everybody does who holds several."""
    wanted = {lane_of(key) for key in subscriber_ids}
    rows = RatingLane.objects.select_for_update(no_key=True).filter(pk__in=wanted).order_by("pk")
    if len(rows) < len(wanted):
        make_lanes()
        list(rows.all())


def make_lanes() -> None:
    """See to it that there is a row for each lane."""
    with connection.cursor() as cursor:
        cursor.execute(_MAKE, [RatingLane.COUNT - 1])
