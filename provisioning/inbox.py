"""The accounting inbox that FreeRADIUS writes: its rows become accounting records (figure 9B).

FreeRADIUS has acknowledged what is here. So no row is ever dropped: it is either a record, written
in the transaction that removes it, or it stays with the reason why it could not be read, and does
not hold up those behind it.
"""

from datetime import datetime
from typing import Any

from django.db import transaction

from ipam.models import AddressServer
from ispops.errors import Refusal
from ispops.parties import audit
from ispops.parties.models import User
from provisioning import accounting, radius
from provisioning.models import AccountingInbox, AccountingRecord

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


def read_inbox(*, limit: int) -> int:
    """Turn up to `limit` rows, the oldest first, into accounting records.

    One transaction. Workers that do this at the same time take different rows, and a worker that
    dies leaves them all for the next. Returns how many rows it saw to, zero when none is left.
    """
    with transaction.atomic():
        waiting = AccountingInbox.objects.filter(fault="")
        return _read(list(waiting.select_for_update(skip_locked=True).order_by("pk")[:limit]))


def read_again(*, message_id: int, actor: User, at: datetime) -> None:
    """Put a message back that could not be read, after its cause was mended.

    One that is gone by now was read.

    Raises:
        StillUnreadable: it stays, with the reason of today.
    """
    with transaction.atomic():
        rows = list(AccountingInbox.objects.filter(pk=message_id).select_for_update())
        _read(rows)
        if rows and not rows[0].fault:
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
            _read(list(held.order_by("pk")))
            left = AccountingInbox.objects.filter(pk__in=rows).count()
            if count := len(rows) - left:
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


def _read(rows: list[AccountingInbox]) -> int:
    """Make records of locked rows and remove them; note the fault of those that are unreadable."""
    servers = {
        server.name: server
        for server in AddressServer.objects.filter(name__in={row.server for row in rows})
    }
    records: list[AccountingRecord] = []
    read: list[int] = []
    for row in rows:
        try:
            records.append(_record(row, servers.get(row.server)))
            read.append(row.pk)
            row.fault = ""
        except radius.Malformed as malformed:
            row.fault = str(malformed)[:MOST_FAULT]
            row.save(update_fields=["fault"])
    AccountingRecord.objects.bulk_create(records)
    AccountingInbox.objects.filter(pk__in=read).delete()
    return len(rows)


def _record(row: AccountingInbox, server: AddressServer | None) -> AccountingRecord:
    if server is None:
        raise radius.Malformed(f"There is no address server {row.server}.")
    said = {
        name: value
        for name, column in COLUMNS.items()
        if (value := radius.unescaped(getattr(row, column)))
    }
    if not said:
        # FreeRADIUS tells in this way of a message that it had to keep itself.
        raise radius.Malformed(row.fault or "The message says nothing.")
    if not {"NAS-IP-Address", "NAS-IPv6-Address"} & said.keys():
        said["NAS-IP-Address"] = radius.unescaped(row.source)
    return accounting.record_of(server=server, attributes=said, received_at=row.received_at)
