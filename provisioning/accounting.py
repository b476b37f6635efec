"""The accounting inbox: every message is kept as it came, before it is acknowledged (figure 9B).

Nothing is judged here. A message that comes twice is kept twice; metering counts it once. Beside
it, the access servers that the messages are about.
"""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction

from ipam.models import AddressServer
from ispops import db
from ispops.errors import InvalidInput, Refusal
from ispops.parties import audit
from ispops.parties.models import User
from provisioning import radius
from provisioning.models import AccessServer, AccountingRecord

# Access servers answer for all their sessions with these; they name no session of their own.
OF_THE_WHOLE_SERVER = frozenset({"Accounting-On", "Accounting-Off"})
# RFC 2865 wants 16 octets. What means something in FreeRADIUS's files, or in those of the access
# server, is left out.
SHORTEST_SECRET = 16
UNUSABLE = frozenset(" \"'\\$")


def record_accounting(
    *, server: AddressServer, attributes: Mapping[str, Any], received_at: datetime
) -> AccountingRecord:
    """Store one accounting message. One INSERT; it is committed when this returns outside a
    transaction, so only then may the message be acknowledged.

    Raises:
        radius.Malformed: a value cannot be what its name says, or what it must say is missing.
    """
    record = AccountingRecord(
        server=server, **facts_of(attributes=attributes, received_at=received_at)
    )
    record.save(force_insert=True)
    return record


def facts_of(*, attributes: Mapping[str, Any], received_at: datetime) -> dict[str, Any]:
    """Return what the record of one accounting message says, by its columns; in one order always.

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
    return {
        "status_type": kind,
        "session_id": session_id,
        "unique_session_id": _fit(sent.text("Acct-Unique-Session-Id"), 64)
        or _unique(nas_ip, sent.text("NAS-Identifier"), username, session_id),
        "session_class": sent.octets("Class")[:80],
        "username": username,
        "nas_ip": nas_ip,
        "calling_station_id": sent.text("Calling-Station-Id")[:130],
        "framed_ip": sent.address("Framed-IP-Address"),
        "session_seconds": sent.number("Acct-Session-Time") or 0,
        "input_octets": sent.number("Acct-Input-Octets") or 0,
        "output_octets": sent.number("Acct-Output-Octets") or 0,
        "input_gigawords": sent.number("Acct-Input-Gigawords"),
        "output_gigawords": sent.number("Acct-Output-Gigawords"),
        "terminate_cause": radius.terminate_cause(sent)[:40],
        "delay_seconds": delay_seconds,
        "event_at": event_at,
        "received_at": received_at,
    }


class AccessServerExists(Refusal):
    code = "access_server_exists"
    title = "There is such an access server already"


@transaction.atomic
def register_access_server(
    *,
    name: str,
    nas_ip: str,
    counters_reversed: bool = False,
    radius_secret: str = "",
    radius_source: str | None = None,
    actor: User,
    at: datetime,
) -> AccessServer:
    """Make a network access server known, by the address that it gives as NAS-IP-Address.

    `counters_reversed` says that it counts what the subscriber downloads as Acct-Input-Octets,
    against RFC 2866. A server that is not registered is taken to follow the RFC. With a
    `radius_secret` it becomes a client of FreeRADIUS; `radius_source` is where its packets come
    from, when it is not the NAS-IP-Address.

    Raises:
        InvalidInput: the name is no slug, an address is none, or the secret cannot be used.
        AccessServerExists: the name or the address is taken.
    """
    server = AccessServer(
        name=name,
        nas_ip=nas_ip,
        counters_reversed=counters_reversed,
        radius_secret=_checked(radius_secret),
        radius_source=radius_source,
    )
    db.check_fields(server, "name", "nas_ip", "radius_source")
    try:
        with transaction.atomic():
            server.save(force_insert=True)
    except IntegrityError as error:
        raise AccessServerExists(f"{name} or {nas_ip} is registered already.") from error
    _note_access_server(server, "access_server.registered", actor, "", at)
    return server


@transaction.atomic
def set_radius_client(
    *,
    access_server_id: int,
    radius_secret: str,
    radius_source: str | None,
    actor: User,
    reason: str,
    at: datetime,
) -> AccessServer:
    """Give an access server another secret or source; without a secret it is no client any more.

    FreeRADIUS knows of it once it was started with a new file of clients.

    Raises:
        InvalidInput: the source is no address, or the secret cannot be used.
    """
    server = db.lock(AccessServer, access_server_id)
    server.radius_secret, server.radius_source = _checked(radius_secret), radius_source
    db.check_fields(server, "radius_source")
    server.save(update_fields=["radius_secret", "radius_source"])
    _note_access_server(server, "access_server.client_set", actor, reason, at)
    return server


def _checked(radius_secret: str) -> str:
    """Refuse a secret that could be guessed from a capture, or that means something in a file."""
    usable = radius_secret.isascii() and radius_secret.isprintable()
    if radius_secret and not (
        usable and len(radius_secret) >= SHORTEST_SECRET and not UNUSABLE & set(radius_secret)
    ):
        raise InvalidInput(
            f"Choose a random secret of {SHORTEST_SECRET} or more ASCII characters, without "
            "spaces, quotes, backslashes and dollar signs.",
            field="radius_secret",
        )
    return radius_secret


@transaction.atomic
def set_counters_reversed(
    *, access_server_id: int, counters_reversed: bool, actor: User, reason: str, at: datetime
) -> AccessServer:
    """Say which way an access server counts, for what is metered from now on.

    Setting what is set changes nothing.
    """
    server = db.lock(AccessServer, access_server_id)
    if server.counters_reversed != counters_reversed:
        server.counters_reversed = counters_reversed
        server.save(update_fields=["counters_reversed"])
        _note_access_server(server, "access_server.direction_set", actor, reason, at)
    return server


def _note_access_server(
    server: AccessServer, action: str, actor: User, reason: str, at: datetime
) -> None:
    audit.record(
        actor=actor,
        action=action,
        subject=f"access_server_{server.name}",
        reason=reason,
        at=at,
        nas_ip=server.nas_ip,
        counters_reversed=server.counters_reversed,
    )


def _fit(text: str, most: int) -> str:
    return text if len(text) <= most else hashlib.sha256(text.encode()).hexdigest()


def _unique(nas_ip: str | None, nas_name: str, username: str, session_id: str) -> str:
    """Tell sessions of different access servers apart when FreeRADIUS was not set up to do it."""
    said = "\x1f".join((nas_ip or "", nas_name, username, session_id))
    return hashlib.sha256(said.encode()).hexdigest()[:32]
