"""The accounting inbox: every message is kept as it came, before it is acknowledged (figure 9B).

Nothing is judged here. A message that comes twice is kept twice; metering counts it once.
"""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ipam.models import AddressServer
from provisioning import radius
from provisioning.models import AccountingRecord

# Access servers answer for all their sessions with these; they name no session of their own.
OF_THE_WHOLE_SERVER = frozenset({"Accounting-On", "Accounting-Off"})


def record_accounting(
    *, server: AddressServer, attributes: Mapping[str, Any], received_at: datetime
) -> AccountingRecord:
    """Store one accounting message. One INSERT; it is committed when this returns outside a
    transaction, so only then may the message be acknowledged.

    `attributes` are named as RADIUS names them; see `radius.Attributes.of` for the forms. Gigawords
    are None when the access server does not send them. Text longer than its column is cut; an id
    that is longer is replaced by its digest, because two cut ids could become one.

    Raises:
        radius.Malformed: a value cannot be what its name says, or what it must say is missing.
    """
    sent = radius.Attributes.of(attributes)
    kind = radius.status_type(sent)
    session_id = _fit(sent.text("Acct-Session-Id"), 120)
    if not session_id and kind not in OF_THE_WHOLE_SERVER:
        raise radius.Malformed("Acct-Session-Id is missing.")
    nas_ip = sent.address("NAS-IP-Address", "NAS-IPv6-Address")
    username = sent.text("User-Name")[:250]
    event_at, delay_seconds = radius.event_time(sent, received_at)
    return AccountingRecord.objects.create(
        server=server,
        status_type=kind,
        session_id=session_id,
        unique_session_id=_fit(sent.text("Acct-Unique-Session-Id"), 64)
        or _unique(nas_ip, sent.text("NAS-Identifier"), username, session_id),
        session_class=sent.octets("Class")[:80],
        username=username,
        nas_ip=nas_ip,
        calling_station_id=sent.text("Calling-Station-Id")[:130],
        framed_ip=sent.address("Framed-IP-Address"),
        session_seconds=sent.number("Acct-Session-Time") or 0,
        input_octets=sent.number("Acct-Input-Octets") or 0,
        output_octets=sent.number("Acct-Output-Octets") or 0,
        input_gigawords=sent.number("Acct-Input-Gigawords"),
        output_gigawords=sent.number("Acct-Output-Gigawords"),
        terminate_cause=radius.terminate_cause(sent)[:40],
        delay_seconds=delay_seconds,
        event_at=event_at,
        received_at=received_at,
    )


def _fit(text: str, most: int) -> str:
    return text if len(text) <= most else hashlib.sha256(text.encode()).hexdigest()


def _unique(nas_ip: str | None, nas_name: str, username: str, session_id: str) -> str:
    """Tell sessions of different access servers apart when FreeRADIUS was not set up to do it."""
    said = "\x1f".join((nas_ip or "", nas_name, username, session_id))
    return hashlib.sha256(said.encode()).hexdigest()[:32]
