"""The configuration of a Kea DHCPv4 server in PostgreSQL (its configuration backend, Kea 2.2).

There is none for DHCPv6: what Kea 2.2 says to it is refused by PostgreSQL 15 and later.

What is written here is live as soon as the server has fetched it: within its
`config-fetch-wait-time`, or at once when it is told to. Kea looks for subnets that were modified
later than it has seen, so every change of a pool touches its subnet; each is one transaction with
one revision for Kea's audit, by which other writers of the same database see who it was.
"""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg2

from ipam.servers.base import ServerAway, ServerRefused

CONNECT_SECONDS, STATEMENT_SECONDS = 3, 3.0
# Of a server that is stopped nothing comes any more, not even that a statement took too long.
HANG_UP_SECONDS = 10.0
# Writers take turns, so that none sees half of what another one does.
_TURN = 0x15_910


@dataclass(frozen=True, slots=True)
class Subnet:
    """A subnet as Kea keeps it: under a number that we choose, for the servers of one tag."""

    number: int
    prefix: str
    # Subnets that are on one link are of one shared network; empty where it is alone there.
    shared_network: str
    server_tag: str


@dataclass(frozen=True, slots=True)
class Pool:
    """A pool of a subnet; `client_class` is whom it is for, empty for everybody."""

    first: str
    last: str
    client_class: str


def add(url: str, subnet: Subnet, pool: Pool) -> dict[str, Any]:
    """Put a pool into a subnet, which is made if there is none; safe to repeat.

    Raises:
        ServerAway: the database did not answer in time.
        ServerRefused: it answered, and it cannot be done.
    """
    values = _values(subnet, pool)
    with _talking(url, values, f"ISP Ops adds {pool.first} - {pool.last}") as cursor:
        _see_to_subnet(cursor, subnet, values)
        cursor.execute(_FIND, values)
        if cursor.fetchone() is None:
            cursor.execute(_INSERT, values)
            cursor.execute(_TOUCH, values)
    return values


def remove(url: str, subnet: Subnet, pool: Pool) -> dict[str, Any]:
    """Take a pool out of a subnet; the subnet goes with its last pool. Safe to repeat.

    Raises:
        ServerAway, ServerRefused: as `add`.
    """
    values = _values(subnet, pool)
    with _talking(url, values, f"ISP Ops removes {pool.first} - {pool.last}") as cursor:
        cursor.execute(_DELETE, values)
        removed = cursor.rowcount
        cursor.execute(_ANY_POOL, values)
        if cursor.fetchone() is None:
            cursor.execute(_DELETE_SUBNET, values)
        elif removed:
            cursor.execute(_TOUCH, values)
    return values


def has_subnet(url: str, subnet: Subnet) -> bool:
    """Say whether the database has this subnet.

    Raises:
        ServerAway, ServerRefused: as `add`.
    """
    values = {"subnet": subnet.number, "subnet_prefix": subnet.prefix}
    with _connected(url, values) as cursor:
        cursor.execute(_SUBNET, values)
        return bool(cursor.fetchall())


def _values(subnet: Subnet, pool: Pool) -> dict[str, Any]:
    return {
        "subnet": subnet.number,
        "subnet_prefix": subnet.prefix,
        "network": subnet.shared_network or None,
        "tag": subnet.server_tag,
        "first": pool.first,
        "last": pool.last,
        "class": pool.client_class or None,
    }


def _see_to_subnet(cursor: Any, subnet: Subnet, values: dict[str, Any]) -> None:
    """Make the subnet, and the shared network that it is of, if they are not there."""
    cursor.execute(_SERVER, values)
    if cursor.fetchone() is None:
        raise ServerRefused(f"Kea's database knows no server tag {subnet.server_tag}.")
    cursor.execute(_SUBNET, values)
    found = cursor.fetchall()
    if found == [(subnet.number, subnet.prefix)]:
        return
    if found:
        number, prefix = found[0]
        raise ServerRefused(
            f"Kea's database has {prefix} as subnet {number}, where {subnet.prefix} was to be "
            f"subnet {subnet.number}.",
            request=values,
        )
    if subnet.shared_network:
        for statement in _ADD_NETWORK:
            cursor.execute(statement, values)
    for statement in _ADD_SUBNET:
        cursor.execute(statement, values)


# Kea rounds the time of the last revision that it has seen to a second, and so passes over what
# comes in the rest of a half one. Of revisions of one time it goes by their numbers.
_NOW = """
SELECT greatest(date_trunc('second', clock_timestamp()),
    date_trunc('second', max(modification_ts) + interval '999999 microseconds'))
FROM dhcp4_audit_revision
"""
_SERVER = "SELECT 1 FROM dhcp4_server WHERE tag = %(tag)s"
_SUBNET = """
SELECT subnet_id, subnet_prefix FROM dhcp4_subnet
WHERE subnet_id = %(subnet)s OR subnet_prefix = %(subnet_prefix)s
"""
_ADD_NETWORK = (
    "INSERT INTO dhcp4_shared_network (name, modification_ts) VALUES (%(network)s,"
    " %(now)s) ON CONFLICT (name) DO NOTHING",
    "INSERT INTO dhcp4_shared_network_server (shared_network_id, server_id) SELECT network.id,"
    " server.id FROM dhcp4_shared_network network, dhcp4_server server"
    " WHERE network.name = %(network)s AND server.tag = %(tag)s ON CONFLICT DO NOTHING",
)
_ADD_SUBNET = (
    "INSERT INTO dhcp4_subnet (subnet_id, subnet_prefix, shared_network_name, modification_ts)"
    " VALUES (%(subnet)s, %(subnet_prefix)s, %(network)s, %(now)s)",
    "INSERT INTO dhcp4_subnet_server (subnet_id, server_id) SELECT %(subnet)s, id"
    " FROM dhcp4_server WHERE tag = %(tag)s",
)
_TOUCH = "UPDATE dhcp4_subnet SET modification_ts = %(now)s WHERE subnet_id = %(subnet)s"
_DELETE_SUBNET = "DELETE FROM dhcp4_subnet WHERE subnet_id = %(subnet)s"
_IS_POOL = (
    "subnet_id = %(subnet)s AND start_address = %(first)s::inet AND end_address = %(last)s::inet"
)
_FIND = f"SELECT 1 FROM dhcp4_pool WHERE {_IS_POOL}"  # noqa: S608
_INSERT = (
    "INSERT INTO dhcp4_pool (start_address, end_address, subnet_id, client_class)"
    " VALUES (%(first)s, %(last)s, %(subnet)s, %(class)s)"
)
_DELETE = f"DELETE FROM dhcp4_pool WHERE {_IS_POOL}"  # noqa: S608
_ANY_POOL = "SELECT 1 FROM dhcp4_pool WHERE subnet_id = %(subnet)s LIMIT 1"


@contextmanager
def _talking(url: str, request: dict[str, Any], why: str) -> Iterator[Any]:
    """A transaction that changes something, with a revision for Kea's audit."""
    with _connected(url, request) as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_TURN])
        cursor.execute(_NOW)
        request["now"] = cursor.fetchone()[0].isoformat()
        cursor.execute(
            "SELECT createAuditRevisionDHCP4(%s, %s, %s, false)",
            [request["now"], request["tag"], why],
        )
        yield cursor


@contextmanager
def hang_up_after(seconds: float, connection: Any) -> Iterator[None]:
    """End a connection to PostgreSQL that takes longer than this; whoever waits hears of it.

    The server's own time-outs are kept by the server, which may have stopped.
    """
    line = socket.socket(fileno=os.dup(connection.fileno()))
    timer = threading.Timer(seconds, line.shutdown, [socket.SHUT_RDWR])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        line.close()


@contextmanager
def _connected(url: str, request: dict[str, Any]) -> Iterator[Any]:
    """A transaction on a connection of its own, which ends with it; faults say what was asked."""
    connection = None
    try:
        connection = psycopg2.connect(
            url,
            connect_timeout=CONNECT_SECONDS,
            tcp_user_timeout=int(STATEMENT_SECONDS * 1000),
            application_name="isp-ops",
            options=f"-c statement_timeout={int(STATEMENT_SECONDS * 1000)}",
        )
        with hang_up_after(HANG_UP_SECONDS, connection), connection, connection.cursor() as cursor:
            yield cursor
    except (psycopg2.OperationalError, psycopg2.InterfaceError) as away:
        raise ServerAway(f"Kea's database: {_said(away)}", request=request) from away
    except psycopg2.Error as refused:
        raise ServerRefused(f"Kea's database: {_said(refused)}", request=request) from refused
    finally:
        if connection is not None:
            connection.close()


def _said(error: psycopg2.Error) -> str:
    """The first line of what PostgreSQL said; it never repeats the password."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
