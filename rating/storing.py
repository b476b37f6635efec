"""Storing use: each once for ever, in the order in which it came, and queued to be rated.

What comes together is one batch. Its uses get ids that begin with the second of receipt and are
numbered by lane within the batch, so the queue needs one row for each lane of it.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from ispops import bulk
from rating import partitions
from rating.guiding import Guided
from rating.lanes import lane_of, make_lanes
from rating.usage_ids import batch_id, digest, event_digest
from rating.used import UsageKey, WaitingUsage

_COLUMNS = (
    "id", "source", "event_id", "subscriber_ref", "product_ref", "subscriber_id", "service_id",
    "offering_id", "started_at", "ended_at", "quantity", "unit", "attributes", "received_at",
    "error_code", "error",
)  # fmt: skip
# Everybody stores keys in their order, so that two who store the same wait for each other instead
# of locking each other out.
_KEYS = """
INSERT INTO rating_usagekey (digest, content, usage_id) VALUES %s
ON CONFLICT (digest) DO NOTHING RETURNING digest
"""


@dataclass(frozen=True, slots=True)
class Reported:
    """A use as its source told it, and whose it is. `content` is all that was said, in one text."""

    source: str
    event_id: str
    content: str
    subscriber_ref: str
    product_ref: str
    guided: Guided
    started_at: datetime
    ended_at: datetime | None
    quantity: int
    unit: str
    attributes: dict[str, Any]

    @property
    def digest(self) -> UUID:
        return event_digest(self.source, self.event_id)

    @property
    def lane(self) -> int:
        """The share of the subscribers that it belongs to; -1 while it is nobody's."""
        if self.guided.error_code or self.guided.subscriber_id is None:
            return -1
        return lane_of(self.guided.subscriber_id)


@transaction.atomic
def store(*, uses: Sequence[Reported], received_at: datetime) -> dict[UUID, str]:
    """Store uses that are not known, and queue those that can be rated.

    Returns what became of each, by its `digest`: `new`, `known`, or `other` when it is known with
    other content. At most `MOST_AT_ONCE` at once, and of one id only one.
    """
    ordered = sorted(uses, key=lambda use: use.lane)
    base = _batch(received_at)
    keyed = sorted(
        (use.digest, digest(use.content), base + place) for place, use in enumerate(ordered)
    )
    stored = {row[0] for row in bulk.insert_returning(_KEYS, keyed)} if keyed else set()
    fresh = [(base + place, use) for place, use in enumerate(ordered) if use.digest in stored]
    partitions.ensure(received_at)
    bulk.copy_rows("rating_usage", _COLUMNS, (_row(key, use, received_at) for key, use in fresh))
    queue(list(_ranges(fresh)))
    return _answers(keyed, stored)


def _answers(keyed: list[tuple[UUID, UUID, int]], stored: set[UUID]) -> dict[UUID, str]:
    old = {digest: content for digest, content, _ in keyed if digest not in stored}
    known: dict[UUID, UUID] = dict(
        UsageKey.objects.filter(digest__in=old).values_list("digest", "content")
    )
    answers = {digest: "new" for digest, _, _ in keyed}
    return answers | {
        digest: "known" if known[digest] == content else "other" for digest, content in old.items()
    }


def _batch(received_at: datetime) -> int:
    """Return the first id of a new batch."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT nextval('rating_usage_batch')")
        number = int(cursor.fetchone()[0])
    return batch_id(received_at, number)


def _ranges(fresh: list[tuple[int, Reported]]) -> Iterator[WaitingUsage]:
    for lane, group in groupby(fresh, key=lambda row: row[1].lane):
        keys = [key for key, _ in group]
        if lane >= 0:
            yield WaitingUsage(first=keys[0], last=keys[-1], lane=lane)


def queue(waiting: Sequence[WaitingUsage]) -> None:
    """Have use rated that is stored."""
    bulk.insert_models(waiting)
    make_lanes()


def _row(key: int, use: Reported, received_at: datetime) -> tuple[Any, ...]:
    to = use.guided
    return (
        key, bulk.escape(use.source), bulk.escape(use.event_id), bulk.escape(use.subscriber_ref),
        bulk.escape(use.product_ref), to.subscriber_id, to.service_id, to.offering_id,
        use.started_at, use.ended_at, use.quantity, bulk.escape(use.unit),
        bulk.escape(json.dumps(use.attributes)), received_at, to.error_code,
        bulk.escape(to.error),
    )  # fmt: skip
