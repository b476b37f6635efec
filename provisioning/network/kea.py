"""Reservations of a Kea DHCPv4 server: rows of `hosts` in its PostgreSQL database (Kea 2.2).

Kea reads them at each DISCOVER, so what is written counts for the next one, without a restart. A
row that we wrote carries the line in its `user_context`; rows of others are left alone.
"""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any

import psycopg2
import psycopg2.errors

from ipam.servers.kea import OWN_SUBNETS
from ipam.servers.kea_backend import HANG_UP_SECONDS, hang_up_after
from ispops.errors import PermanentFault, TransientFault

# Types of identifiers, as Kea's table `host_identifier_type` numbers them.
HARDWARE_ADDRESS, DUID, CIRCUIT_ID = 0, 1, 2
# What deploy/kea calls the class of lines and devices that are walled in, that of lines whose
# further devices get a first lease of the walled garden, by which we learn of them, and that of
# devices that get nothing.
WALLED_GARDEN, FURTHER, REFUSED = "walled_garden", "further", "refused"
_HARDWARE_ADDRESS = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_DUID = re.compile(r"([0-9a-f]{2}){7,}")
# Writers take turns in a Kea's database: none sees half of what another one does.
_TURN = 0x15_909


class NotAHostsDatabase(PermanentFault):
    """The database is there, and is not what Kea made, or we may not write it."""

    cause = "dhcp_database_unusable"


class TakenByOthers(PermanentFault):
    """Somebody else has reserved this device or address in Kea."""

    cause = "dhcp_reserved_by_others"


@dataclass(frozen=True, slots=True)
class Database:
    """Where a Kea keeps its hosts, and which of its subnets is meant."""

    url: str
    # The subnet of the walled garden, and of whoever has no address of their own.
    subnet_id: int
    connect_seconds: int
    statement_seconds: float


@dataclass(frozen=True, slots=True)
class Identifier:
    """How Kea tells a device: one of its types, and the octets."""

    type: int
    octets: bytes


@dataclass(frozen=True, slots=True)
class Reservation:
    """What a line's device gets: its address, or one of the walled garden, or nothing."""

    identifier: Identifier
    # Empty where the server chooses one.
    address: str
    # One of the classes above, or empty. Who is walled in or refused gets no address of its own.
    client_class: str = ""
    # Where the address is in another subnet than the server's first one.
    subnet_id: int | None = None


def circuit(text: str) -> Identifier:
    """How Kea tells a circuit: by what the access node writes into option 82, octet for octet."""
    return Identifier(CIRCUIT_ID, text.encode())


def device(name: str) -> Identifier:
    """How Kea tells a device by its one name (`ipam.selection.normalise_device`).

    A hardware address has colons there, a DUID is digits without any; all else is a circuit id.
    """
    if _HARDWARE_ADDRESS.fullmatch(name):
        return Identifier(HARDWARE_ADDRESS, bytes.fromhex(name.replace(":", "")))
    if _DUID.fullmatch(name):
        return Identifier(DUID, bytes.fromhex(name))
    return circuit(name)


def reserve(
    database: Database,
    line: str,
    reservation: Reservation,
    further: Mapping[str, Reservation] | None = None,
) -> dict[str, Any]:
    """Let a line's device have this and nothing else; safe to repeat. Returns what was written.

    `further` are all other devices of the line that have an address of their own, by name; what
    was said of those that have none stays as it is. A further device that is another line's by now
    stays there: anybody can call a device of theirs by its name.

    Raises:
        TransientFault: the database did not answer in time.
        TakenByOthers, NotAHostsDatabase: it answered, and it cannot be done.
    """
    wanted = _row(database, line, reservation)
    with _talking(database, wanted) as cursor:
        if further is not None:
            cursor.execute(_FREE_FURTHER, _names(database, line))
        _write(cursor, database, line, reservation)
        for name, each in (further or {}).items():
            _write(cursor, database, f"{line} {name}", each, is_further=True)
    return wanted


def reserve_further(
    database: Database, line: str, name: str, reservation: Reservation
) -> dict[str, Any]:
    """Say what a further device of a line gets, unless another line has it. Raises as `reserve`."""
    whose = f"{line} {name}"
    wanted = _row(database, whose, reservation)
    with _talking(database, wanted) as cursor:
        _write(cursor, database, whose, reservation, is_further=True)
    return wanted


def _write(
    cursor: Any,
    database: Database,
    name: str,
    reservation: Reservation,
    *,
    is_further: bool = False,
) -> None:
    values = _values(database, name, reservation) | {"is_further": is_further}
    cursor.execute(_FREE, values)
    if is_further:
        cursor.execute(_IS_ANOTHERS, values)
        if cursor.fetchone() is not None:
            return
    # Kea's table has no key on the address; its writers must see to it.
    cursor.execute(_TAKEN, values)
    if cursor.fetchone() is not None:
        raise TakenByOthers(
            f"Kea has {reservation.address} for somebody else.",
            request=_row(database, name, reservation),
        )
    cursor.execute(_INSERT, values)


def remove(database: Database, line: str) -> int:
    """Let a line's devices have nothing any more; returns how many reservations were removed.

    Raises:
        TransientFault, NotAHostsDatabase: as `reserve`.
    """
    with _talking(database, {"line": line, "subnet_id": database.subnet_id}) as cursor:
        cursor.execute(_REMOVE, _names(database, line))
        return int(cursor.rowcount)


def _names(database: Database, line: str) -> dict[str, Any]:
    """How the rows of a line, and of its further devices, are found."""
    context = _context(line)
    return {
        "context": context,
        "devices": f"{context[:-2].replace('_', chr(92) + '_')} %",
        "home": database.subnet_id,
        "own": OWN_SUBNETS,
    }


_OURS = '{"isp_ops_line":%'
# What a line had before, and what is left of lines whose device or address it has now.
_FREE = """
DELETE FROM hosts WHERE (dhcp4_subnet_id IN (%(home)s, %(subnet)s) OR dhcp4_subnet_id >= %(own)s)
AND (user_context = %(context)s
    OR user_context LIKE %(ours)s AND dhcp4_subnet_id = %(subnet)s AND (
        ipv4_address = %(taken)s
        OR dhcp_identifier = %(octets)s AND dhcp_identifier_type = %(type)s
            AND NOT %(is_further)s))
"""
_IS_ANOTHERS = """
SELECT 1 FROM hosts WHERE dhcp_identifier = %(octets)s AND dhcp_identifier_type = %(type)s
AND (dhcp4_subnet_id IN (%(home)s, %(subnet)s) OR dhcp4_subnet_id >= %(own)s)
"""
_TAKEN = "SELECT 1 FROM hosts WHERE dhcp4_subnet_id = %(subnet)s AND ipv4_address = %(address)s"
_INSERT = """
INSERT INTO hosts (dhcp_identifier, dhcp_identifier_type, dhcp4_subnet_id, ipv4_address,
    dhcp4_client_classes, user_context)
VALUES (%(octets)s, %(type)s, %(subnet)s, %(address)s, %(classes)s, %(context)s)
"""
# With the line, what was said of its further devices goes, too.
_REMOVE = """
DELETE FROM hosts WHERE (user_context = %(context)s OR user_context LIKE %(devices)s)
AND (dhcp4_subnet_id = %(home)s OR dhcp4_subnet_id >= %(own)s)
"""
# Those of its further devices that have an address.
_FREE_FURTHER = """
DELETE FROM hosts WHERE user_context LIKE %(devices)s AND ipv4_address IS NOT NULL
AND (dhcp4_subnet_id = %(home)s OR dhcp4_subnet_id >= %(own)s)
"""


def _context(line: str) -> str:
    return json.dumps({"isp_ops_line": line}, separators=(",", ":"))


def _values(database: Database, line: str, reservation: Reservation) -> dict[str, Any]:
    address = int(IPv4Address(reservation.address)) if reservation.address else None
    return {
        "subnet": reservation.subnet_id or database.subnet_id,
        "home": database.subnet_id,
        "own": OWN_SUBNETS,
        "context": _context(line),
        "ours": _OURS,
        "octets": reservation.identifier.octets,
        "type": reservation.identifier.type,
        "taken": address,
        # Without an address of its own the device gets one of the pool that its class opens.
        "address": address if _has_address(reservation) else None,
        "classes": reservation.client_class or None,
    }


def _has_address(reservation: Reservation) -> bool:
    return bool(reservation.address) and reservation.client_class in {"", FURTHER}


def _row(database: Database, line: str, reservation: Reservation) -> dict[str, Any]:
    """The row in words, as people read it."""
    kind, octets = reservation.identifier.type, reservation.identifier.octets
    return {
        "line": line,
        "subnet_id": reservation.subnet_id or database.subnet_id,
        "identifier_type": ("hw-address", "duid", "circuit-id")[kind],
        "identifier": octets.decode() if kind == CIRCUIT_ID else octets.hex(":"),
        "ip_address": reservation.address if _has_address(reservation) else None,
        "client_classes": [reservation.client_class] if reservation.client_class else [],
    }


@contextmanager
def _talking(database: Database, request: dict[str, Any]) -> Iterator[Any]:
    """A transaction on a connection of its own, which ends with it; faults say what was asked."""
    connection = None
    try:
        connection = psycopg2.connect(
            database.url,
            connect_timeout=database.connect_seconds,
            # A server whose machine is gone says nothing, and no statement would ever time out.
            tcp_user_timeout=int(database.statement_seconds * 1000),
            application_name="isp-ops",
            options=f"-c statement_timeout={int(database.statement_seconds * 1000)}",
        )
        patience = HANG_UP_SECONDS + database.statement_seconds
        with hang_up_after(patience, connection), connection, connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_TURN])
            yield cursor
    except psycopg2.errors.UniqueViolation as taken:
        raise TakenByOthers(
            f"Kea has the device for somebody else: {_said(taken)}", request=request
        ) from taken
    except (psycopg2.OperationalError, psycopg2.InterfaceError) as away:
        # Also what a standby says, and a statement that took too long.
        raise TransientFault(f"Kea's database: {_said(away)}", request=request) from away
    except psycopg2.Error as refused:
        raise NotAHostsDatabase(f"Kea's database: {_said(refused)}", request=request) from refused
    finally:
        if connection is not None:
            connection.close()


def _said(error: psycopg2.Error) -> str:
    """The first line of what PostgreSQL said; it never repeats the password."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
