"""Access sessions: the accounting inbox becomes usage (figure 9B).

The arithmetic is in `rating.metering`. Here the marks are locked, so that two workers never count
one session at once, and slices, marks and the inbox are written in one transaction, so that a crash
at any point leaves nothing half counted.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any, NamedTuple

from django.conf import settings
from django.db import DataError, IntegrityError, connection, transaction

from ispops import bulk
from ispops.periods import Period, billing_period
from provisioning import waiting
from provisioning.models import AccessServer, AccountingRecord, WaitingAccounting
from provisioning.waiting import Range
from rating import interims, metered, metering
from rating.guiding import NetworkGuide
from rating.metering import Mark, Reading, Slice
from rating.models import MeteredSession
from rating.storing import Reported

# Three intervals of five minutes: a session that is silent for so long is closed at its mark.
STALE_AFTER = timedelta(minutes=15)

_KINDS = {
    "Start": metering.Kind.START,
    "Interim-Update": metering.Kind.INTERIM,
    "Stop": metering.Kind.STOP,
}
_RESTARTS = frozenset({"Accounting-On", "Accounting-Off"})
_MARKED = {
    "id": "bigint",
    "service_id": "uuid",
    "session_class": "text",
    "framed_ip": "inet",
    "last_event_at": "timestamptz",
    "ended_at": "timestamptz",
    "session_seconds": "bigint",
    "input_mark": "bigint",
    "output_mark": "bigint",
    "input_bytes": "bigint",
    "output_bytes": "bigint",
    "sequence": "integer",
    "was_reset": "boolean",
}
Key = tuple[str, str]


class Told(NamedTuple):
    """What metering reads of an accounting message; an object of the inbox takes longer to make."""

    pk: int
    status_type: str
    unique_session_id: str
    session_class: str
    username: str
    nas_ip: str | None
    calling_station_id: str
    framed_ip: str | None
    session_seconds: int
    input_octets: int
    output_octets: int
    input_gigawords: int | None
    output_gigawords: int | None
    event_at: datetime


_TOLD = ("id", *Told._fields[1:])
Record = AccountingRecord | Told
# A message, and what it tells of its session's counters.
Message = tuple[Record, Reading]


def meter_accounting(*, at: datetime, limit: int = 2_000) -> int:
    """Turn up to `limit` stored accounting messages into usage; returns how many were taken.

    Every octet is counted once, whatever comes twice, late or not at all. Use of a name that no
    line logs in with is kept as usage in error. Safe to run in any number of workers: each takes
    messages that no other holds, and counts a session only while it holds that session. A message
    that breaks its batch is found by taking ever fewer, and is put aside where a person sees it.
    """
    with transaction.atomic():
        ranges = waiting.take(reader=WaitingAccounting.Reader.METERING, limit=limit)
        if ranges:
            _meter(ranges, at)
    return waiting.count(ranges)


def _meter(ranges: Sequence[Range], at: datetime) -> None:
    """Count messages; where one of several cannot be counted, each half of them by itself."""
    try:
        with transaction.atomic():
            _meter_all(ranges, at)
    except (ArithmeticError, ValueError, DataError, IntegrityError) as error:
        first, rest = waiting.halves(ranges)
        if not first:
            metered.put_aside(record_id=rest[0].first, error=error, at=at)
            return
        _meter(first, at)
        _meter(rest, at)


def _meter_all(ranges: Sequence[Range], at: datetime) -> None:
    interims.read(ranges)
    if begun := [Told(*row) for row in interims.without_session(_TOLD)]:
        _Batch(begun, at).make_sessions()
    interims.hold()
    interims.count(at=at)
    if records := [Told(*row) for row in interims.left(_TOLD)]:
        batch = _Batch(records, at)
        batch.run()
        metered.store(uses=[metered.damaged(record) for record in batch.damaged], at=at)


def meter_records(*, records: Sequence[AccountingRecord], at: datetime) -> dict[int, str]:
    """Count messages that came by another way than the inbox; they need not be stored.

    Their keys only tell them apart, and no restart of a server may be among them. Returns those
    that added octets, by their keys: `added`, or `unknown_user` where no line has the name; and as
    `implausible` those that would take a session past what any carries, which add none. In the
    transaction of the caller, who must see that the totals and the times are plausible.
    """
    batch = _Batch(records, at)
    batch.run()
    return {record.pk: "implausible" for record in batch.damaged} | {
        record.pk: "added" if batch.guide.line(record.username) else "unknown_user"
        for record in records
        if record.pk in batch.added
    }


def close_stale(*, at: datetime) -> int:
    """Close sessions of which nothing was heard for `STALE_AFTER`, at their marks.

    A later message opens such a session again, and only what is beyond the mark counts.
    """
    return _close("last_event_at < %s", at - STALE_AFTER)


@dataclass(slots=True)
class _Session:
    """The incarnations of one session id: rows and marks side by side, and what was emitted."""

    rows: list[MeteredSession] = field(default_factory=list)
    # As the rows say, while there are any, and as they are to say.
    before: list[Mark] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    emitted: list[tuple[int, Slice]] = field(default_factory=list)
    # A message of each incarnation whose age was not believed.
    doubted: dict[int, Record] = field(default_factory=dict)


class _Batch:
    """One transaction's work: messages in, slices and marks out."""

    def __init__(self, records: Sequence[Record], at: datetime) -> None:
        self.at = at
        self.restarts = [r for r in records if r.status_type in _RESTARTS]
        told = [(r, _reading(r)) for r in records if r.status_type in _KINDS]
        self.damaged: list[Record] = []
        self.messages: defaultdict[Key, list[Message]] = defaultdict(list)
        for record, reading in told:
            if reading.is_plausible:
                self.messages[_key(record)].append((record, reading))
            else:
                self.damaged.append(record)
        self.guide = NetworkGuide({record.username for record, _ in told})
        # The latest billing period that was asked for, by its day.
        self.periods: dict[int, Period] = {}
        # The keys of the messages that told of something new.
        self.added: set[int] = set()
        self.reversed = set(
            AccessServer.objects.filter(counters_reversed=True).values_list("nas_ip", flat=True)
        )

    def run(self) -> None:
        self.make_sessions()
        sessions = self._lock_sessions()
        for key, session in sessions.items():
            self._count(session, self.messages[key])
        touched = list(sessions.values())
        self._save(touched)
        self._emit(touched)
        for record in self.restarts:
            _close("nas_ip = %s AND last_event_at <= %s", record.nas_ip, record.event_at)

    def make_sessions(self) -> None:
        """Make the rows of sessions that are new; wait for others that make the same."""
        known = MeteredSession.objects.filter(
            unique_session_id__in=[key[0] for key in self.messages], incarnation=0
        )
        begun = known.values_list("unique_session_id", "nas_ip")
        first = {(session_id, nas_ip or "") for session_id, nas_ip in begun}
        MeteredSession.objects.bulk_create(
            [
                self._row(record, self._believed((), record, told), incarnation=0)
                for key, messages in sorted(self.messages.items())
                if key not in first
                for record, told in [min(messages, key=_order)]
            ],
            ignore_conflicts=True,
        )

    def _lock_sessions(self) -> dict[Key, _Session]:
        """Hold the sessions of this batch, in the order of their keys.

        The row of incarnation 0 is the lock. The rows are read again once it is held, because
        another worker may have added incarnations while this one waited.
        """
        sessions = {key: _Session() for key in sorted(self.messages)}
        known = MeteredSession.objects.filter(unique_session_id__in=[key[0] for key in sessions])
        locked = known.filter(incarnation=0).select_for_update(no_key=True).values_list("pk")
        list(locked.order_by("pk"))
        for row in known.order_by("unique_session_id", "nas_ip", "incarnation"):
            session = sessions.get(_key(row))
            if session is not None:
                session.rows.append(row)
                session.before.append(_mark(row))
                session.marks.append(session.before[-1])
        return sessions

    def _count(self, session: _Session, messages: list[Message]) -> None:
        for record, told in sorted(messages, key=_order):
            reading = self._believed(session.marks, record, told)
            number = metering.incarnation_of(session.marks, reading)
            if number is None:
                number = len(session.marks)
                session.rows.append(self._row(record, reading, incarnation=number))
                session.marks.append(metering.open_mark(reading))
            if reading is not told:
                session.doubted.setdefault(number, record)
            mark, emitted = metering.advance(session.marks[number], reading)
            if not mark.is_plausible:
                self.damaged.append(record)
                continue
            session.marks[number] = mark
            session.rows[number].framed_ip = record.framed_ip or session.rows[number].framed_ip
            if emitted is not None:
                session.emitted.append((number, emitted))
                self.added.add(record.pk)
        latest = max(mark.started_at for mark in session.marks)
        session.marks = [
            mark if mark.started_at == latest else metering.close(mark) for mark in session.marks
        ]

    def _believed(self, marks: Sequence[Mark], record: Record, told: Reading) -> Reading:
        line = self.guide.line(record.username)
        return metering.believed(marks, told, line_began=line.began if line else None)

    def _row(self, record: Record, reading: Reading, *, incarnation: int) -> MeteredSession:
        line = self.guide.line(record.username)
        return MeteredSession(
            unique_session_id=record.unique_session_id,
            nas_ip=record.nas_ip,
            incarnation=incarnation,
            session_class=record.session_class,
            service_id=line.service_id if line else None,
            username=record.username,
            framed_ip=record.framed_ip,
            calling_station_id=record.calling_station_id,
            started_at=reading.started_at,
            last_event_at=reading.started_at,
        )

    def _save(self, sessions: Iterable[_Session]) -> None:
        """Write the marks; incarnations that are new get their rows."""
        changed: list[tuple[Any, ...]] = []
        fresh: list[MeteredSession] = []
        for session in sessions:
            for number, (row, mark) in enumerate(zip(session.rows, session.marks, strict=True)):
                if row.service_id is None and (line := self.guide.line(row.username)):
                    row.service_id = line.service_id
                _apply(mark, row)
                if number >= len(session.before):
                    fresh.append(row)
                elif session.before[number] != mark or session.emitted:
                    changed.append(_marked(row))
        MeteredSession.objects.bulk_create(fresh)
        if changed:
            bulk.update_by_copy("rating_meteredsession", "id", _MARKED, changed)

    def _emit(self, sessions: Iterable[_Session]) -> None:
        uses: list[Reported] = []
        doubted: list[Reported] = []
        for session in sessions:
            for number, piece in session.emitted:
                uses += self._usage(session.rows[number], piece)
            for number, record in session.doubted.items():
                doubted.append(metered.doubted(record, session_id=session.rows[number].pk))
        metered.store(uses=uses, at=self.at)
        metered.store_once(uses=doubted, at=self.at)

    def _usage(self, row: MeteredSession, piece: Slice) -> Iterable[Reported]:
        """Give the uses of a slice: one, or several where a billing period ended in it."""
        line = self.guide.line(row.username)
        edges = self._period_ends(line.anchor_day, piece) if line else []
        for part in metering.cut(piece, edges):
            guided = self.guide.guide(row.username, part.started_at)
            sent, got = part.input_bytes, part.output_bytes
            if row.nas_ip in self.reversed:
                sent, got = got, sent
            facts: dict[str, Any] = {"download_bytes": got, "upload_bytes": sent}
            if part.is_estimated:
                facts["estimated"] = True
            yield metered.use(
                event_id=f"{row.pk}/{part.sequence}/{part.part}",
                username=row.username,
                guided=guided,
                started_at=part.started_at,
                ended_at=part.ended_at,
                quantity=sent + got,
                facts=facts,
            )

    def _period_ends(self, anchor_day: int, piece: Slice) -> list[datetime]:
        """Return the ends of the subscriber's billing periods that fall into a slice."""
        ends: list[datetime] = []
        start = piece.started_at
        while start < piece.ended_at:
            period = self.periods.get(anchor_day)
            if period is None or start not in period:
                period = self.periods[anchor_day] = billing_period(
                    start, anchor_day=anchor_day, zone=settings.BILLING_TIME_ZONE
                )
            start = period.end
            ends.append(start)
        return ends


def _key(row: Record | MeteredSession) -> Key:
    return row.unique_session_id, row.nas_ip or ""


def _order(message: Message) -> tuple[datetime, int, int]:
    record = message[0]
    return record.event_at, record.session_seconds, record.pk


def _reading(record: Record) -> Reading:
    return Reading(
        kind=_KINDS[record.status_type],
        event_at=record.event_at,
        session_seconds=record.session_seconds,
        input_octets=record.input_octets,
        output_octets=record.output_octets,
        input_gigawords=record.input_gigawords,
        output_gigawords=record.output_gigawords,
        session_class=record.session_class,
    )


_MARK_FIELDS = tuple(Mark.__dataclass_fields__)
_values_of_mark = attrgetter(*_MARK_FIELDS)
_values_marked = attrgetter(*_MARKED)


def _mark(row: MeteredSession) -> Mark:
    return Mark(*_values_of_mark(row))


def _marked(row: MeteredSession) -> tuple[Any, ...]:
    """Return the values of `_MARKED` as COPY reads them."""
    return tuple(
        bulk.escape(value) if isinstance(value, str) else value for value in _values_marked(row)
    )


def _apply(mark: Mark, row: MeteredSession) -> None:
    for name in _MARK_FIELDS:
        setattr(row, name, getattr(mark, name))


def _close(condition: str, *parameters: Any) -> int:
    """End open sessions at their marks; what another worker counts at this moment is not dead.

    `condition` is one of our own two, with its values as parameters.
    """
    statement = (
        "UPDATE rating_meteredsession SET ended_at = last_event_at WHERE id IN ("  # noqa: S608
        f"SELECT id FROM rating_meteredsession WHERE ended_at IS NULL AND {condition} "
        "ORDER BY id FOR NO KEY UPDATE SKIP LOCKED)"
    )
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return int(cursor.rowcount)
