"""Which lines get their addresses by DHCP, from which server; noted who said so."""

import string
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction

from ipam import kea_servers
from ipam.models import AddressServer
from ispops import db
from ispops.errors import InvalidInput, Refusal
from ispops.parties import audit
from ispops.parties.models import Partner, User
from provisioning.models import DhcpServer

CHANGEABLE = ("hosts_url", "subnet_id", "circuit_id")


class DhcpServerExists(Refusal):
    code = "dhcp_server_exists"
    title = "This is a DHCP server already"


@transaction.atomic
def connect_dhcp(
    *,
    address_server: AddressServer,
    provider: Partner,
    technology: int | None,
    actor: User | None = None,
    at: datetime,
    **settings: Any,
) -> DhcpServer:
    """Reserve the addresses of a network's new lines in a Kea server from now on.

    Without a technology it is for all lines of the network that have no server of their own.
    Lines that are live stay as they are. `settings` are of `CHANGEABLE`.

    Raises:
        InvalidInput: a value cannot be used; names the field.
        DhcpServerExists: the address server, or the network, has one already.
    """
    if address_server.kind != AddressServer.Kind.DHCP:
        raise InvalidInput(
            "Choose an address server that is a DHCP server.", field="address_server"
        )
    if provider.kind != Partner.Kind.NETWORK_PROVIDER:
        raise InvalidInput("Choose a network provider.", field="provider")
    server = DhcpServer(address_server=address_server, provider=provider, technology=technology)
    _set(server, settings)
    db.check_fields(server, "technology")
    try:
        with transaction.atomic():
            server.save(force_insert=True)
    except IntegrityError as refused:
        field = "provider" if "one_dhcp_server_a_network" in str(refused) else "address_server"
        raise DhcpServerExists(
            "There is a DHCP server for this already. Change that one.", field=field
        ) from refused
    _note(server, "dhcp_server.connected", actor, at, "", settings)
    return server


@transaction.atomic
def change_dhcp(
    *,
    dhcp_server_id: int,
    actor: User | None = None,
    at: datetime,
    reason: str = "",
    **changes: Any,
) -> DhcpServer:
    """Change where a server's database is; an empty address of it leaves the one that is there.

    Raises:
        InvalidInput: a value cannot be used; names the field.
    """
    server = db.lock(DhcpServer, dhcp_server_id)
    given = {name: value for name, value in changes.items() if name != "hosts_url" or value}
    changed = {name: value for name, value in given.items() if getattr(server, name) != value}
    if changed:
        _set(server, changed)
        server.save(update_fields=list(changed))
        _note(server, "dhcp_server.changed", actor, at, reason, changed)
    return server


def _set(server: DhcpServer, values: dict[str, Any]) -> None:
    """Write values that came from outside into the row, once all of them are good."""
    unknown = set(values) - set(CHANGEABLE)
    if unknown:
        raise TypeError(f"not settings of a DHCP server: {', '.join(sorted(unknown))}")
    for name, value in values.items():
        setattr(server, name, value.strip() if isinstance(value, str) else value)
    db.check_fields(server, *CHANGEABLE)
    kea_servers.check_database(server.hosts_url, field="hosts_url")
    _check_circuit(server.circuit_id)


def _check_circuit(template: str) -> None:
    """See that a circuit id names the node and the port, so that no two lines have the same."""
    if not template:
        return
    try:
        names = {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}
        long = template.format(node="n", port=1)
    except (ValueError, KeyError, IndexError, AttributeError):
        names, long = set(), ""
    if names != {"node", "port"} or not long.isascii() or not long.isprintable():
        raise InvalidInput(
            "Write it with {node} and {port} where the access node writes these, such as "
            "{node}/{port}; or leave it empty.",
            field="circuit_id",
        )


def _note(
    server: DhcpServer,
    action: str,
    actor: User | None,
    at: datetime,
    reason: str,
    values: dict[str, Any],
) -> None:
    shown = {name: value for name, value in values.items() if name != "hosts_url"}
    audit.record(
        actor=actor,
        actor_name="" if actor else "system",
        action=action,
        subject=f"dhcp_server_{server.address_server.name}",
        reason=reason,
        at=at,
        network=server.provider.code,
        database_changed="hosts_url" in values,
        **shown,
    )
