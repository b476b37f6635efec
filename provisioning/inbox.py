"""The accounting inbox that FreeRADIUS writes: its rows become accounting records (figure 9B).

FreeRADIUS has acknowledged what is here. So no row is ever dropped: it is either a record, written
in the transaction that removes it, or it stays with the reason why it could not be read, and does
not hold up those behind it.
"""

from datetime import datetime
from typing import Any, NamedTuple

from django.db import connection, transaction
from django.db.models import QuerySet

from ipam.models import AddressServer
from ispops import bulk
from ispops.errors import Refusal
from ispops.parties import audit
from ispops.parties.models import User
from provisioning import accounting, radius
from provisioning.models import AccountingInbox

# By the name of the attribute, the column in which FreeRADIUS's INSERT puts it.
COLUMNS = {
    "Acct-Status-Type": "status_type",
    "Acct-Session-Id": "session_id",
    "Class": "session_class",
    "User-Name": "username",
    "NAS-IP-Address": "nas_ip",
    "NAS-IPv6-Address": "nas_ipv6",
    "NAS-Identifier": "nas_identifier",
    "Calling-Station-Id": "calling_station_id",
    "Framed-IP-Address": "framed_ip",
    "Acct-Session-Time": "session_seconds",
    "Acct-Input-Octets": "input_octets",
    "Acct-Output-Octets": "output_octets",
    "Acct-Input-Gigawords": "input_gigawords",
    "Acct-Output-Gigawords": "output_gigawords",
    "Acct-Terminate-Cause": "terminate_cause",
    "Acct-Delay-Time": "delay_seconds",
    "Event-Timestamp": "event_timestamp",
    "Packet-Original-Timestamp": "original_timestamp",
}
# The columns of a record in the order in which they are written.
_RECORD = (
    "server_id", "status_type", "session_id", "unique_session_id", "session_class", "username",
    "nas_ip", "calling_station_id", "framed_ip", "session_seconds", "input_octets",
    "output_octets", "input_gigawords", "output_gigawords", "terminate_cause", "delay_seconds",
    "event_at", "received_at",
)  # fmt: skip
_REMOVE = "DELETE FROM provisioning_accountinginbox WHERE id = ANY(%s)"
MOST_FAULT = 300
READ_AGAIN = "accounting_message.read_again"
READ_AGAIN_AT_ONCE = 500


class StillUnreadable(Refusal):
    """What was wrong with a message is still wrong."""

    code = "still_unreadable"
    title = "This message still cannot be read"


class NothingToForget(Refusal):
    """A message that can be read is accounted, not forgotten."""

    code = "nothing_to_forget"
    title = "This message is not one that could not be read"


class _Row(NamedTuple):
    """A row of the inbox; what FreeRADIUS says in it follows in the order of `COLUMNS`."""

    pk: int
    server: str
    source: str
    received_at: datetime
    fault: str
    said: tuple[str, ...]


def read_inbox(*, limit: int) -> int:
    """Turn up to `limit` rows, the oldest first, into accounting records.

    One transaction. Workers that do this at the same time take different rows, and a worker that
    dies leaves them all for the next. Returns how many rows it saw to, zero when none is left.
    """
    with transaction.atomic():
        waiting = AccountingInbox.objects.filter(fault="").select_for_update(skip_locked=True)
        return _read(waiting.order_by("pk")[:limit])[0]


def read_again(*, message_id: int, actor: User, at: datetime) -> None:
    """Put a message back that could not be read, after its cause was mended.

    One that is gone by now was read.

    Raises:
        StillUnreadable: it stays, with the reason of today.
    """
    with transaction.atomic():
        _, made = _read(AccountingInbox.objects.filter(pk=message_id).select_for_update())
        if made:
            subject = f"accounting_message_{message_id}"
            audit.record(actor=actor, action=READ_AGAIN, subject=subject, at=at, count=1)
    left = AccountingInbox.objects.filter(pk=message_id).exclude(fault="").first()
    if left is not None:
        raise StillUnreadable(left.fault)


def read_all_again(*, by: str, reason: str, at: datetime) -> tuple[int, int]:
    """Put all messages back that could not be read; returns how many were read, and how many stay.

    `by` is who did it, for the audit trail, where a command knows of no login.
    """
    read, after = 0, 0
    while rows := _unreadable(after):
        after = rows[-1]
        with transaction.atomic():
            held = AccountingInbox.objects.filter(pk__in=rows).select_for_update(skip_locked=True)
            _, count = _read(held.order_by("pk"))
            if count:
                read += count
                audit.record(
                    actor=None, actor_name=by, action=READ_AGAIN, subject="accounting_inbox",
                    reason=reason, at=at, count=count,
                )  # fmt: skip
    return read, AccountingInbox.objects.exclude(fault="").count()


def _unreadable(after: int) -> list[int]:
    rows = AccountingInbox.objects.exclude(fault="").filter(pk__gt=after).order_by("pk")
    return list(rows.values_list("pk", flat=True)[:READ_AGAIN_AT_ONCE])


@transaction.atomic
def forget_unreadable(*, message_id: int, actor: User, reason: str, at: datetime) -> None:
    """Remove a message of which nothing can be made; the audit trail keeps all that it said.

    Raises:
        NothingToForget: it is not there, or it is not one that could not be read.
    """
    row = AccountingInbox.objects.filter(pk=message_id).exclude(fault="").select_for_update()
    found = row.first()
    if found is None:
        raise NothingToForget("Only a message that could not be read can be forgotten.")
    said: dict[str, Any] = {
        field.attname: str(value)
        for field in found._meta.concrete_fields
        if (value := getattr(found, field.attname)) != ""
    }
    audit.record(
        actor=actor,
        action="accounting_message.forgotten",
        subject=f"accounting_message_{found.pk}",
        reason=reason,
        at=at,
        **said,
    )
    found.delete()


def _read(found: QuerySet[AccountingInbox]) -> tuple[int, int]:
    """Make records of locked rows and remove them; note the fault of those that are unreadable.

    Returns how many rows there were, and of how many a record was made. Rows and records come and
    go by the thousand, so they are values, and no objects.
    """
    values = found.values_list(*_Row._fields[:-1], *COLUMNS.values())
    rows = [
        _Row(pk, server, source, received_at, fault, tuple(said))
        for pk, server, source, received_at, fault, *said in values
    ]
    names = {row.server for row in rows}
    servers = dict(AddressServer.objects.filter(name__in=names).values_list("name", "pk"))
    records: list[list[Any]] = []
    read: list[int] = []
    for row in rows:
        try:
            records.append(_record(row, servers.get(row.server)))
            read.append(row.pk)
        except radius.Malformed as malformed:
            fault = str(malformed)[:MOST_FAULT]
            AccountingInbox.objects.filter(pk=row.pk).update(fault=fault)
    if records:
        bulk.copy_rows("provisioning_accountingrecord", _RECORD, records)
    if read:
        with connection.cursor() as cursor:
            cursor.execute(_REMOVE, [read])
    return len(rows), len(records)


def _record(row: _Row, server: int | None) -> list[Any]:
    """Return the values of `_RECORD` as COPY reads them."""
    if server is None:
        raise radius.Malformed(f"There is no address server {row.server}.")
    said = {
        name: radius.unescaped(value)
        for name, value in zip(COLUMNS, row.said, strict=True)
        if value
    }
    if not said:
        # FreeRADIUS tells in this way of a message that it had to keep itself.
        raise radius.Malformed(row.fault or "The message says nothing.")
    if "NAS-IP-Address" not in said and "NAS-IPv6-Address" not in said:
        said["NAS-IP-Address"] = radius.unescaped(row.source)
    facts = accounting.facts_of(attributes=said, received_at=row.received_at)
    values = (facts[name] for name in _RECORD[1:])
    return [server, *(bulk.escape(v) if isinstance(v, str) else v for v in values)]
