"""Storing use: each once for ever, in the order in which it came, and queued to be rated.

What comes together is one batch. Its uses get ids that begin with the second of receipt and are
numbered by lane within the batch, so the queue needs one row for each lane of it.
"""

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection, transaction

from ispops import bulk
from rating import partitions
from rating.guiding import Guided
from rating.lanes import lane_of, make_lanes
from rating.usage_ids import batch_id, digest, event_digest
from rating.used import WaitingUsage

_COLUMNS = (
    "id", "source", "event_id", "subscriber_ref", "product_ref", "subscriber_id", "service_id",
    "offering_id", "started_at", "ended_at", "quantity", "unit", "attributes", "received_at",
    "error_code", "error",
)  # fmt: skip
# Everybody stores keys in their order, so that two who store the same wait for each other instead
# of locking each other out.
_KEYS = """
INSERT INTO rating_usagekey (digest, content, usage_id)
SELECT * FROM unnest(%s::uuid[], %s::uuid[], %s::bigint[]) ON CONFLICT (digest) DO NOTHING
"""
_KNOWN = """
SELECT told.usage_id, kept.content = told.content
  FROM unnest(%s::uuid[], %s::uuid[], %s::bigint[]) told (digest, content, usage_id)
  JOIN rating_usagekey kept USING (digest) WHERE kept.usage_id <> told.usage_id
"""


class Reported(NamedTuple):
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
    def lane(self) -> int:
        """The share of the subscribers that it belongs to; -1 while it is nobody's."""
        if self.guided.error_code or self.guided.subscriber_id is None:
            return -1
        return lane_of(self.guided.subscriber_id)


@transaction.atomic
def store(*, uses: Sequence[Reported], received_at: datetime) -> list[str]:
    """Store uses that are not known, and queue those that can be rated.

    Returns what became of each, in their order: `new`, `known`, or `other` when it is known with
    other content. At most `MOST_AT_ONCE` at once, and of one id only one.
    """
    lanes = [use.lane for use in uses]
    places = sorted(range(len(uses)), key=lanes.__getitem__)
    base = new_batch(received_at)
    known = _keep_keys(
        sorted(
            (event_digest(uses[at].source, uses[at].event_id), digest(uses[at].content), key)
            for key, at in enumerate(places, start=base)
        )
    )
    fresh = [(key, at) for key, at in enumerate(places, start=base) if key not in known]
    partitions.ensure(received_at)
    told = str(received_at)
    bulk.copy_lines("rating_usage", _COLUMNS, (_line(key, uses[at], told) for key, at in fresh))
    queue(list(_ranges([(key, lanes[at]) for key, at in fresh])))
    answers = ["new"] * len(uses)
    for key, is_same in known.items():
        answers[places[key - base]] = "known" if is_same else "other"
    return answers


def _keep_keys(keyed: Sequence[tuple[str, str, int]]) -> dict[int, bool]:
    """Keep the keys of uses. Returns those that were known: whether with the same content."""
    if not keyed:
        return {}
    told = [f"{{{','.join(map(str, column))}}}" for column in zip(*keyed, strict=True)]
    with connection.cursor() as cursor:
        cursor.execute(_KEYS, told)
        if cursor.rowcount == len(keyed):
            return {}
        cursor.execute(_KNOWN, told)
        return dict(cursor.fetchall())


def new_batch(received_at: datetime) -> int:
    """Return the first id of a new batch."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT nextval('rating_usage_batch')")
        number = int(cursor.fetchone()[0])
    return batch_id(received_at, number)


def _ranges(fresh: list[tuple[int, int]]) -> Iterator[WaitingUsage]:
    for lane, group in groupby(fresh, key=lambda row: row[1]):
        keys = [key for key, _ in group]
        if lane >= 0:
            yield WaitingUsage(first=keys[0], last=keys[-1], lane=lane)


def queue(waiting: Sequence[WaitingUsage]) -> None:
    """Have use rated that is stored."""
    bulk.insert_models(waiting)
    make_lanes()


def _line(key: int, use: Reported, received_at: str) -> str:
    """Write a use as COPY reads it."""
    to = use.guided
    attributes = bulk.escape(json.dumps(use.attributes)) if use.attributes else "{}"
    return (
        f"{key}\t{bulk.escape(use.source)}\t{bulk.escape(use.event_id)}\t"
        f"{bulk.escape(use.subscriber_ref)}\t{bulk.escape(use.product_ref)}\t"
        f"{_hex(to.subscriber_id)}\t{_hex(to.service_id)}\t{_or_null(to.offering_id)}\t"
        f"{use.started_at}\t{_or_null(use.ended_at)}\t{use.quantity}\t{bulk.escape(use.unit)}\t"
        f"{attributes}\t{received_at}\t{to.error_code}\t{bulk.escape(to.error)}"
    )


def _hex(key: UUID | None) -> str:
    return "\\N" if key is None else f"{key.int:032x}"


def _or_null(value: object) -> object:
    return "\\N" if value is None else value
