"""Messages of sessions that simply go on: nearly all of them, counted as columns of numbers.

A message is taken here when it is the only one of its session in the batch, when the session is
known and has one incarnation, which is the message's, and when its counters did not go backwards.
For such a message `metering.advance` is a subtraction, and its slice is one use. All others are
left to `rating.sessions`, which counts one message after the other; both give the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from django.conf import settings
from django.db import connection

from ispops import binary
from ispops.binary import INT2, INT8, Column
from ispops.periods import billing_period
from provisioning.waiting import Range
from rating import partitions, storing
from rating.metering import (
    CLOCKS_DIFFER,
    EARLIEST,
    IMPLAUSIBLE,
    LATEST,
    OLDEST_SESSION,
    SAME_START,
)
from rating.models import RatingLane
from rating.usage_ids import MOST_AT_ONCE
from rating.used import WaitingUsage

_SECOND = 1_000_000
_TICK = timedelta(microseconds=1)
# The messages of the batch, each with the session that it is of; sessions are found here once. A
# limit in a subquery keeps the planner from reading a whole table, of whose size it may think much.
_READ = """
CREATE TEMP TABLE IF NOT EXISTS rating_told (
    id bigint, session_id bigint, status_type text, unique_session_id text, session_class text,
    username text, nas_ip inet, calling_station_id text, framed_ip inet, session_seconds bigint,
    input_octets bigint, output_octets bigint, input_gigawords bigint, output_gigawords bigint,
    event_at timestamptz
) ON COMMIT DELETE ROWS;
TRUNCATE rating_told;
INSERT INTO rating_told
SELECT told.id, session.id, told.status_type, told.unique_session_id, told.session_class,
       told.username, told.nas_ip, told.calling_station_id, told.framed_ip, told.session_seconds,
       told.input_octets, told.output_octets, told.input_gigawords, told.output_gigawords,
       told.event_at
  FROM unnest(%(first)s::bigint[], %(last)s::bigint[]) taken (first, last)
 CROSS JOIN LATERAL (
    SELECT * FROM provisioning_accountingrecord message
     WHERE message.id BETWEEN taken.first AND taken.last ORDER BY message.id LIMIT %(most)s) told
  LEFT JOIN LATERAL (
    SELECT id FROM rating_meteredsession known
     WHERE known.unique_session_id = told.unique_session_id
       AND known.nas_ip IS NOT DISTINCT FROM told.nas_ip AND known.incarnation = 0
     LIMIT 1) session ON told.status_type IN ('Start', 'Interim-Update', 'Stop')
"""
# Sessions that began meanwhile are found now. All are held in one order, as everybody does.
_HOLD = """
UPDATE rating_told told SET session_id = session.id FROM rating_meteredsession session
 WHERE told.session_id IS NULL AND told.status_type IN ('Start', 'Interim-Update', 'Stop')
   AND session.unique_session_id = told.unique_session_id
   AND session.nas_ip IS NOT DISTINCT FROM told.nas_ip AND session.incarnation = 0;
SELECT count(*) FROM (
    SELECT FROM rating_meteredsession WHERE id IN (SELECT session_id FROM rating_told)
     ORDER BY id FOR NO KEY UPDATE) held
"""
# What is text is compared here; what is a number is compared as columns. The user name has one
# line; the plan in force is that of the moment at which the slice begins.
_PLAIN = """
SELECT told.id, session.id, told.event_at, told.session_seconds,
       told.input_gigawords * 4294967296 + told.input_octets,
       told.output_gigawords * 4294967296 + told.output_octets,
       session.started_at, session.last_event_at, session.session_seconds,
       session.input_mark, session.output_mark, session.input_bytes, session.output_bytes,
       session.sequence::bigint,
       (told.status_type = 'Stop')::int::smallint,
       (told.session_class <> '' AND told.session_class = session.session_class)::int::smallint,
       COALESCE(told.nas_ip IN (SELECT nas_ip FROM provisioning_accessserver
                                 WHERE counters_reversed), false)::int::smallint,
       line.service_id, line.subscriber_id, COALESCE(plan.offering_id, line.offering_id)::bigint,
       line.billing_anchor_day, line.began
  FROM rating_told told
  JOIN rating_meteredsession session ON session.id = told.session_id
 CROSS JOIN LATERAL (
    SELECT service.id AS service_id, service.subscriber_id, service.offering_id,
           subscriber.billing_anchor_day, service.created_at AS began
      FROM provisioning_aaacredential credential
      JOIN provisioning_service service ON service.id = credential.service_id
      JOIN parties_subscriber subscriber ON subscriber.id = service.subscriber_id
     WHERE credential.username = told.username LIMIT 1) line
  LEFT JOIN LATERAL (
    SELECT span.offering_id FROM provisioning_serviceperiod span
     WHERE span.service_id = line.service_id AND span.state = 'active'
       AND span.started_at <= session.last_event_at
       AND (span.ended_at IS NULL OR session.last_event_at < span.ended_at)
     ORDER BY span.started_at DESC LIMIT 1) plan ON true
 WHERE told.username = session.username
   AND told.input_gigawords < 16777216 AND told.output_gigawords < 16777216
   AND told.input_octets < 4294967296 AND told.output_octets < 4294967296
   AND NOT EXISTS (SELECT FROM rating_meteredsession other
                    WHERE other.unique_session_id = told.unique_session_id
                      AND other.incarnation > 0)
"""
_PLAIN_TYPES = (INT8,) * 14 + (INT2,) * 3 + (binary.UUID, binary.UUID, INT8, INT2, INT8)
# The messages that are counted here, and what comes of them.
_COUNTED = """
CREATE TEMP TABLE IF NOT EXISTS rating_counted (
    id bigint, session_id bigint, is_stop smallint, event_at timestamptz, session_seconds bigint,
    input_mark bigint, output_mark bigint, input_bytes bigint, output_bytes bigint,
    sequence bigint, started_at timestamptz, download_bytes bigint, upload_bytes bigint,
    service_id uuid, subscriber_id uuid, offering_id bigint, usage_id bigint
) ON COMMIT DELETE ROWS;
TRUNCATE rating_counted
"""
_LEFT = """
SELECT {columns} FROM rating_told told
 WHERE NOT EXISTS (SELECT FROM rating_counted counted WHERE counted.id = told.id)
"""
_WITHOUT_SESSION = """
SELECT {columns} FROM rating_told
 WHERE session_id IS NULL AND status_type IN ('Start', 'Interim-Update', 'Stop')
"""
_MARK = """
UPDATE rating_meteredsession session
   SET service_id = COALESCE(session.service_id, counted.service_id),
       session_class = CASE told.session_class WHEN '' THEN session.session_class
                       ELSE told.session_class END,
       framed_ip = COALESCE(told.framed_ip, session.framed_ip),
       last_event_at = counted.event_at,
       ended_at = CASE counted.is_stop WHEN 1 THEN counted.event_at END,
       session_seconds = counted.session_seconds,
       input_mark = counted.input_mark, output_mark = counted.output_mark,
       input_bytes = session.input_bytes + counted.input_bytes,
       output_bytes = session.output_bytes + counted.output_bytes,
       sequence = counted.sequence
  FROM rating_counted counted JOIN rating_told told ON told.id = counted.id
 WHERE session.id = counted.session_id
"""
_FACTS = """
       '{"download_bytes": ' || download_bytes || ', "upload_bytes": ' || upload_bytes || '}'
       AS facts,
       counted.session_id || '/' || counted.sequence || '/0' AS event_id
"""
_USE = f"""
INSERT INTO rating_usage (
    id, source, event_id, subscriber_ref, product_ref, subscriber_id, service_id, offering_id,
    started_at, ended_at, quantity, unit, attributes, received_at, error_code, error)
SELECT usage_id, 'network', event_id, username, '', subscriber_id, service_id, offering_id,
       started_at, event_at, download_bytes + upload_bytes, 'byte', facts::jsonb, %(at)s, '', ''
  FROM (SELECT counted.*, told.username, {_FACTS}
          FROM rating_counted counted JOIN rating_told told USING (id)
         WHERE usage_id > 0 ORDER BY usage_id) slice
"""  # noqa: S608
# As `usage_ids.digest` and `event_digest` give them. A key that is known breaks the batch.
_KEYS = f"""
INSERT INTO rating_usagekey (digest, content, usage_id)
SELECT encode(substr(sha256('network\\000'::bytea || event_id::bytea), 1, 16), 'hex')::uuid AS key,
       encode(substr(sha256(facts::bytea), 1, 16), 'hex')::uuid, usage_id
  FROM (SELECT usage_id, {_FACTS} FROM rating_counted counted WHERE usage_id > 0) slice
 ORDER BY key
"""  # noqa: S608


@dataclass(slots=True)
class _Plain:
    """Messages that may be plain, a value for each; times in PostgreSQL's microseconds."""

    id: Column
    session: Column
    event: Column
    seconds: Column
    input: Column
    output: Column
    started: Column
    last_event: Column
    session_seconds: Column
    input_mark: Column
    output_mark: Column
    input_bytes: Column
    output_bytes: Column
    sequence: Column
    is_stop: Column
    same_class: Column
    is_reversed: Column
    service: Column
    subscriber: Column
    offering: Column
    anchor_day: Column
    line_began: Column

    def take(self, chosen: Column) -> "_Plain":
        """Return the messages at some places, or where something holds, in that order."""
        return _Plain(*(getattr(self, name)[chosen] for name in self.__slots__))


def read(ranges: Sequence[Range]) -> None:
    """Read messages into a table of this transaction, `rating_told`, with their sessions."""
    firsts, lasts = map(list, zip(*ranges, strict=True))
    most = max(last - first + 1 for first, last in ranges)
    with connection.cursor() as cursor:
        cursor.execute(_COUNTED)
        cursor.execute(_READ, {"first": firsts, "last": lasts, "most": most})


def without_session(columns: Sequence[str]) -> list[tuple[Any, ...]]:
    """Return the messages that were read of sessions that are not known yet."""
    return _rows(_WITHOUT_SESSION, columns)


def left(columns: Sequence[str]) -> list[tuple[Any, ...]]:
    """Return the messages that were read and not counted here."""
    return _rows(_LEFT, columns)


def _rows(query: str, columns: Sequence[str]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query.format(columns=", ".join(columns)))
        return list(cursor.fetchall())


def hold() -> None:
    """Hold the sessions of all messages that were read, in the order of their keys."""
    with connection.cursor() as cursor:
        cursor.execute(_HOLD)


def count(*, at: datetime) -> None:
    """Count the messages that can be counted so, of sessions that are held."""
    plain = _Plain(*binary.read(_PLAIN, _PLAIN_TYPES))
    plain = plain.take(_goes_on(plain))
    plain = plain.take(~_crosses_periods(plain))
    if len(plain.id):
        _write(plain, at)


def _goes_on(told: _Plain) -> Column:
    """Say which messages are as `metering` would have them of one session that goes on."""
    _, which, times = np.unique(told.session, return_inverse=True, return_counts=True)
    is_alone: Column = times[which] == 1
    start = told.event - told.seconds * _SECOND
    is_same = np.abs(told.started - start) <= SAME_START // _TICK
    goes_on: Column = (
        is_alone
        & ((told.same_class == 1) | is_same)
        & (told.seconds > told.session_seconds)
        & (told.seconds <= OLDEST_SESSION.total_seconds())
        & (start >= told.line_began - CLOCKS_DIFFER // _TICK)
        & (told.event - told.last_event <= OLDEST_SESSION // _TICK)
        & (told.event >= binary.instant(EARLIEST))
        & (told.event < binary.instant(LATEST))
        & (np.maximum(told.input, told.output) < IMPLAUSIBLE)
        & (told.input >= told.input_mark)
        & (told.output >= told.output_mark)
        & (told.input_bytes - told.input_mark + told.input < IMPLAUSIBLE)
        & (told.output_bytes - told.output_mark + told.output < IMPLAUSIBLE)
    )
    return goes_on


def _crosses_periods(told: _Plain) -> Column:
    """Say which slices have the end of a billing period in them, where they would be cut."""
    crosses = np.zeros(len(told.id), dtype=bool)
    for day in np.unique(told.anchor_day):
        those = told.anchor_day == day
        start, end = told.last_event[those], np.maximum(told.event, told.last_event)[those]
        edges = _period_ends(int(day), int(start.min()), int(end.max()))
        before, after = np.searchsorted(edges, start, "right"), np.searchsorted(edges, end, "left")
        crosses[those] = before != after
    return crosses


def _period_ends(day: int, earliest: int, latest: int) -> Column:
    ends: list[int] = []
    moment = earliest
    while moment <= latest:
        period = billing_period(
            binary.moment(moment), anchor_day=day, zone=settings.BILLING_TIME_ZONE
        )
        moment = binary.instant(period.end)
        ends.append(moment)
    return np.array(ends, dtype=np.int64)


def _write(told: _Plain, at: datetime) -> None:
    """Write marks, uses, their keys, and what waits to be rated."""
    lanes = told.subscriber.view(np.uint8).reshape(-1, 16)[:, 15] % RatingLane.COUNT
    has_more = (told.input > told.input_mark) | (told.output > told.output_mark)
    order = np.lexsort((lanes, ~has_more))
    told, lanes, uses = told.take(order), lanes[order], int(has_more.sum())
    ids = np.zeros(len(told.id), dtype=np.int64)
    ids[:uses] = _usage_ids(uses, at)
    _stage(told, ids)
    partitions.ensure(at)
    with connection.cursor() as cursor:
        cursor.execute(_MARK)
        cursor.execute(_USE, {"at": at})
        cursor.execute(_KEYS)
    storing.queue(_waiting(ids[:uses], lanes[:uses]))


def _usage_ids(many: int, at: datetime) -> Column:
    """Return new ids, in the batches that ids allow for."""
    ids = [
        storing.new_batch(at) + np.arange(min(MOST_AT_ONCE, many - start))
        for start in range(0, many, MOST_AT_ONCE)
    ]
    return np.concatenate(ids) if ids else np.zeros(0, dtype=np.int64)


def _stage(told: _Plain, ids: Column) -> None:
    added_in, added_out = told.input - told.input_mark, told.output - told.output_mark
    is_reversed = told.is_reversed == 1
    binary.write(
        "rating_counted",
        {
            "id": (told.id, INT8),
            "session_id": (told.session, INT8),
            "is_stop": (told.is_stop, INT2),
            "event_at": (np.maximum(told.event, told.last_event), INT8),
            "session_seconds": (told.seconds, INT8),
            "input_mark": (told.input, INT8),
            "output_mark": (told.output, INT8),
            "input_bytes": (added_in, INT8),
            "output_bytes": (added_out, INT8),
            "sequence": (told.sequence + (ids > 0), INT8),
            "started_at": (told.last_event, INT8),
            # What the subscriber sends is input, unless the device counts the other way round.
            "download_bytes": (np.where(is_reversed, added_in, added_out), INT8),
            "upload_bytes": (np.where(is_reversed, added_out, added_in), INT8),
            "service_id": (told.service, binary.UUID),
            "subscriber_id": (told.subscriber, binary.UUID),
            "offering_id": (told.offering, INT8),
            "usage_id": (ids, INT8),
        },
    )


def _waiting(ids: Column, lanes: Column) -> list[WaitingUsage]:
    """Return what is to be rated: of each batch of ids, a range for each lane."""
    if not len(ids):
        return []
    is_next = (np.diff(ids) != 1) | (np.diff(lanes) != 0)
    firsts = np.concatenate([[0], np.flatnonzero(is_next) + 1])
    lasts = np.concatenate([firsts[1:] - 1, [len(ids) - 1]])
    return [
        WaitingUsage(first=int(ids[first]), last=int(ids[last]), lane=int(lanes[first]))
        for first, last in zip(firsts, lasts, strict=True)
    ]
