"""Who is online: the list of sessions follows the accounting inbox.

The arithmetic is in `provisioning.following`. One worker follows at a time, in batches of one
transaction each, so a crash at any point and another run give the same list. A session that begins,
or lives after all, is always due: whether it was let in with what is in force today is for
`provisioning.steering` to find, because a suspension may be committed in the same moment.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection, transaction
from django.db.models import F

from ispops import bulk
from provisioning import following, session_addresses, waiting
from provisioning.accounting import OF_THE_WHOLE_SERVER
from provisioning.following import SILENT_AFTER
from provisioning.models import (
    AaaCredential,
    AccessSession,
    AccountingRecord,
    Service,
    WaitingAccounting,
)

MESSAGES = frozenset({"Start", "Interim-Update", "Stop"})
# So few are updated sooner without COPY.
FEW = 200
# What PostgreSQL's advisory lock of the follower is called.
_FOLLOWER = 0x5E5510
_TAKEN = """
SELECT {columns} FROM unnest(%s::bigint[], %s::bigint[]) taken (first, last)
 CROSS JOIN LATERAL (
    SELECT * FROM provisioning_accountingrecord record
     WHERE record.id BETWEEN taken.first AND taken.last ORDER BY record.id LIMIT %s) message
 ORDER BY id
"""
_FOLLOWED = {
    "id": "bigint",
    "session_class": "text",
    "calling_station_id": "text",
    "framed_ip": "inet",
    "last_heard_at": "timestamptz",
    "ended_at": "timestamptz",
    "end_cause": "text",
    "next_attempt_at": "timestamptz",
}


class _Told(NamedTuple):
    """What is read of an accounting message; an object of the inbox takes longer to make."""

    id: int
    status_type: str
    session_id: str
    unique_session_id: str
    session_class: str
    username: str
    nas_ip: str | None
    calling_station_id: str
    framed_ip: str | None
    session_seconds: int
    terminate_cause: str
    event_at: datetime


def follow_accounting(*, at: datetime, limit: int = 2_000) -> int:
    """Follow up to `limit` accounting messages; returns how many were taken.

    None are taken while another worker follows. Messages of a login that no line has are passed
    over; metering keeps what they count.
    """
    with transaction.atomic():
        if not _is_the_follower():
            return 0
        ranges = waiting.take(reader=WaitingAccounting.Reader.SESSIONS, limit=limit)
        batch = _Batch(_messages_of(ranges) if ranges else [], at)
        batch.run()
    session_addresses.follow(stopped=batch.stopped, begun=batch.begun, at=at)
    return waiting.count(ranges)


def close_stale(*, at: datetime) -> int:
    """Close sessions of which nothing was heard for `SILENT_AFTER`, as of when they last were.

    Access servers that lose power send no stop. A later message opens such a session again.
    """
    silent = AccessSession.objects.filter(
        ended_at__isnull=True, last_heard_at__lte=at - SILENT_AFTER
    )
    with transaction.atomic():
        found = silent.select_for_update(skip_locked=True, of=("self",)).order_by("pk")
        keys = [session.pk for session in found]
        return end(keys, ended_at=F("last_heard_at"), cause=following.STALE)


def end(keys: Sequence[int], *, ended_at: datetime | F, cause: str) -> int:
    """Write the end of sessions that the caller has locked; nothing is due for them any more."""
    return AccessSession.objects.filter(pk__in=keys, ended_at__isnull=True).update(
        ended_at=ended_at, end_cause=cause, next_attempt_at=None, leased_until=None
    )


def revision_of(session_class: str) -> int:
    """Read of a Class with which revision of its profile a session was let in; 0 is not known."""
    told = session_class.rpartition(".r")[2]
    return int(told) if told.isascii() and told.isdecimal() and len(told) < 10 else 0


def _messages_of(ranges: Sequence[waiting.Range]) -> list[_Told]:
    """Read messages. The limit is no limit: by it the planner knows that a range is short."""
    firsts, lasts = map(list, zip(*ranges, strict=True))
    with connection.cursor() as cursor:
        cursor.execute(
            _TAKEN.format(columns=", ".join(_Told._fields)),
            [firsts, lasts, waiting.count(ranges)],
        )
        return [_Told(*row) for row in cursor.fetchall()]


def _is_the_follower() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [_FOLLOWER])
        return bool(cursor.fetchone()[0])


class _Batch:
    """One transaction's work: messages in, sessions out."""

    def __init__(self, records: Sequence[_Told], at: datetime) -> None:
        self.at = at
        self.restarts = sorted(
            (r for r in records if r.status_type in OF_THE_WHOLE_SERVER and r.nas_ip), key=_order
        )
        self.messages: defaultdict[str, list[_Told]] = defaultdict(list)
        # Those of which an access server said that they ended, and those first heard of.
        self.stopped: list[AccessSession] = []
        self.begun: list[AccessSession] = []
        for record in records:
            if record.status_type in MESSAGES:
                self.messages[record.unique_session_id].append(record)
        self.lines = _lines_of([r for told in self.messages.values() for r in told])

    def run(self) -> None:
        known = self._lock_known()
        restarts = self._restarts_since()
        for key, records in sorted(self.messages.items()):
            self._follow(known[key], sorted(records, key=_order), restarts)
        self._save([session for rows in known.values() for session in rows])
        for record in self.restarts:
            self._end_all(record)

    def _lock_known(self) -> defaultdict[str, list[AccessSession]]:
        """Hold the sessions that had the ids of this batch, in the order of their keys."""
        known: defaultdict[str, list[AccessSession]] = defaultdict(list)
        rows = AccessSession.objects.filter(unique_session_id__in=list(self.messages))
        for row in rows.select_for_update(of=("self",)).order_by("pk"):
            known[row.unique_session_id].append(row)
        return known

    def _restarts_since(self) -> dict[str | None, list[datetime]]:
        """Read when access servers said that all is gone, since the first message of this batch."""
        found: defaultdict[str | None, list[datetime]] = defaultdict(list)
        told = [record for records in self.messages.values() for record in records]
        servers = {record.nas_ip for record in told if record.nas_ip}
        if servers:
            earlier = AccountingRecord.objects.filter(
                status_type__in=OF_THE_WHOLE_SERVER,
                nas_ip__in=servers,
                event_at__gte=min(record.event_at for record in told),
            )
            for nas_ip, moment in earlier.values_list("nas_ip", "event_at"):
                found[nas_ip].append(moment)
        return found

    def _follow(
        self,
        rows: list[AccessSession],
        records: Iterable[_Told],
        restarts: dict[str | None, list[datetime]],
    ) -> None:
        for record in records:
            service_id = self.lines.get(record.id)
            if service_id is None:
                continue
            message = _message(record)
            session = following.find(rows, message)
            if session is None:
                session = _begin(record, message, service_id)
                rows.append(session)
                self.begun.append(session)
                is_open = message.kind != following.STOP
                following.end_by_restart(session, restarts.get(record.nas_ip, ()))
            else:
                is_latest = record.event_at >= session.last_heard_at
                is_open = following.hear(session, message, restarts.get(record.nas_ip, ()))
                if is_latest:
                    session.framed_ip = record.framed_ip or session.framed_ip
                    session.calling_station_id = (
                        record.calling_station_id or session.calling_station_id
                    )
            if is_open:
                session.next_attempt_at = self.at
            if message.kind == following.STOP:
                self.stopped.append(session)
        if rows:
            following.end_replaced(rows)

    def _save(self, sessions: Sequence[AccessSession]) -> None:
        """Write what became of the sessions: ends first, because one of an id may be open."""
        for session in sessions:
            if session.ended_at is not None:
                session.next_attempt_at = None
        changed = [row for row in sessions if not row._state.adding]
        for rows in (
            [row for row in changed if row.ended_at is not None],
            [row for row in changed if row.ended_at is None],
        ):
            if rows:
                values = [[getattr(row, name) for name in _FOLLOWED] for row in rows]
                _update(values)
        AccessSession.objects.bulk_create([row for row in sessions if row._state.adding])

    def _end_all(self, restart: _Told) -> None:
        """End what an access server had: all of which nothing newer was heard."""
        lost = AccessSession.objects.filter(
            ended_at__isnull=True, nas_ip=restart.nas_ip, last_heard_at__lte=restart.event_at
        )
        keys = [row.pk for row in lost.select_for_update(of=("self",)).order_by("pk")]
        end(keys, ended_at=restart.event_at, cause=following.RESTARTED)


def _update(rows: list[list[Any]]) -> None:
    """Write `_FOLLOWED` of sessions, in the way that is the shorter for so many."""
    if len(rows) < FEW:
        bulk.update_rows("provisioning_accesssession", "id", _FOLLOWED, rows)
        return
    told = [[bulk.escape(v) if isinstance(v, str) else v for v in row] for row in rows]
    bulk.update_by_copy("provisioning_accesssession", "id", _FOLLOWED, told)


def _order(record: _Told) -> tuple[datetime, int, int]:
    return record.event_at, record.session_seconds, record.id


def _message(record: _Told) -> following.Message:
    return following.Message(
        kind=record.status_type,
        event_at=record.event_at,
        started_at=record.event_at - timedelta(seconds=min(record.session_seconds, 2**31)),
        session_class=record.session_class,
        end_cause=record.terminate_cause or "Stop",
    )


def _begin(record: _Told, message: following.Message, service_id: UUID) -> AccessSession:
    is_over = message.kind == following.STOP
    return AccessSession(
        service_id=service_id,
        username=record.username,
        unique_session_id=record.unique_session_id,
        session_id=record.session_id,
        session_class=record.session_class,
        nas_ip=record.nas_ip,
        calling_station_id=record.calling_station_id,
        framed_ip=record.framed_ip,
        started_at=message.started_at,
        last_heard_at=message.event_at,
        ended_at=message.event_at if is_over else None,
        end_cause=message.end_cause if is_over else "",
        applied_revision=revision_of(record.session_class),
    )


def _lines_of(records: Sequence[_Told]) -> dict[int, UUID]:
    """Find the line of each message: by the Class that we gave, else by the login."""
    named = {r.id: Service.key_of(r.session_class.partition(".")[0]) for r in records}
    asked = {key for key in named.values() if key}
    with_login = AaaCredential.objects.filter(service__in=asked).values_list("service", flat=True)
    lines = set(with_login) if asked else set()
    strange = {r.username for r in records if named[r.id] not in lines}
    by_name = AaaCredential.objects.filter(username__in=strange)
    logins = dict(by_name.values_list("username", "service_id")) if strange else {}
    found: dict[int, UUID] = {}
    for record in records:
        key = named[record.id]
        line = key if key in lines else logins.get(record.username)
        if line is not None:
            found[record.id] = line
    return found
