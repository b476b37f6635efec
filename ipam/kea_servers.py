"""Where the Kea servers run that are told of their pools; noted who said so."""

from datetime import datetime
from typing import Any

import psycopg2
from django.db import IntegrityError, transaction
from psycopg2.extensions import parse_dsn

from ipam import selection
from ipam.models import AddressServer, KeaServer
from ispops import db
from ispops.errors import InvalidInput, Refusal
from ispops.parties import audit
from ispops.parties.models import User

CHANGEABLE = (
    "control_socket",
    "config_url",
    "server_tag",
    "subnet_id",
    "subnet",
    "shared_network",
    "lease_file",
    "log_file",
)


class KeaServerExists(Refusal):
    """An address server is one Kea server of each family."""

    code = "kea_server_exists"
    title = "This Kea server is connected already"


@transaction.atomic
def connect_kea(
    *,
    server: AddressServer,
    family: int = selection.IPv4,
    actor: User | None = None,
    at: datetime,
    **settings: Any,
) -> KeaServer:
    """Say where the Kea server runs that an address server stands for.

    `settings` are of `CHANGEABLE`. What it hands out already is left as it is.

    Raises:
        InvalidInput: a value cannot be used; names the field.
        KeaServerExists: the address server has one of this family.
    """
    if server.kind != AddressServer.Kind.DHCP:
        raise InvalidInput("Choose an address server that is a DHCP server.", field="server")
    kea = KeaServer(server=server, family=family)
    db.check_fields(kea, "family")
    _set(kea, settings)
    try:
        with transaction.atomic():
            kea.save(force_insert=True)
    except IntegrityError as refused:
        raise KeaServerExists(
            f"{kea} is connected already. Change that one.", field="server"
        ) from refused
    _note(kea, "kea_server.connected", actor, at, "", settings)
    return kea


@transaction.atomic
def change_kea(
    *,
    kea_server_id: int,
    actor: User | None = None,
    at: datetime,
    reason: str = "",
    **changes: Any,
) -> KeaServer:
    """Change where a Kea server runs; an empty address of its database leaves what is there.

    Raises:
        InvalidInput: a value cannot be used; names the field.
    """
    kea = db.lock(KeaServer, kea_server_id)
    given = {name: value for name, value in changes.items() if name != "config_url" or value}
    changed = {name: value for name, value in given.items() if getattr(kea, name) != value}
    if changed:
        _set(kea, changed)
        kea.save(update_fields=list(changed))
        _note(kea, "kea_server.changed", actor, at, reason, changed)
    return kea


def _set(kea: KeaServer, values: dict[str, Any]) -> None:
    """Write values that came from outside into the row, once all of them are good."""
    unknown = set(values) - set(CHANGEABLE)
    if unknown:
        raise TypeError(f"not settings of a Kea server: {', '.join(sorted(unknown))}")
    for name, value in values.items():
        setattr(kea, name, value.strip() if isinstance(value, str) else value)
    db.check_fields(kea, *CHANGEABLE)
    for name in ("control_socket", "lease_file", "log_file"):
        path = getattr(kea, name)
        if path and not path.startswith("/"):
            raise InvalidInput("Write the whole path, from /.", field=name)
    _check_subnet(kea)
    if kea.config_url and kea.family != selection.IPv4:
        raise InvalidInput(
            "Kea 2.2 has no configuration database for DHCPv6. Leave it empty: the server is told "
            "over its control socket.",
            field="config_url",
        )
    if kea.config_url:
        check_database(kea.config_url, field="config_url")


def _check_subnet(kea: KeaServer) -> None:
    try:
        network = selection.parse_network(kea.subnet)
    except selection.UnusableNetwork as unusable:
        raise InvalidInput(f"{unusable}.", field="subnet") from unusable
    if network.version != kea.family:
        raise InvalidInput(f"Write an IPv{kea.family} network.", field="subnet")
    kea.subnet = str(network)


def check_database(url: str, *, field: str) -> None:
    """See that this is the address of a database of Kea's, of hosts or of its configuration.

    Raises:
        InvalidInput: it is not; names the field.
    """
    wrong = InvalidInput(
        "Write the address of Kea's database like postgresql://user:password@host/kea.",
        field=field,
    )
    if not url.startswith(("postgresql://", "postgres://")):
        raise wrong
    try:
        parts = parse_dsn(url)
    except psycopg2.ProgrammingError as error:
        raise wrong from error
    if not {"host", "dbname", "user"} <= parts.keys():
        raise wrong


def _note(
    kea: KeaServer,
    action: str,
    actor: User | None,
    at: datetime,
    reason: str,
    values: dict[str, Any],
) -> None:
    shown = {name: value for name, value in values.items() if name != "config_url"}
    audit.record(
        actor=actor,
        actor_name="" if actor else "system",
        action=action,
        subject=f"kea_server_{kea.server.name}_{kea.family}",
        reason=reason,
        at=at,
        database_changed="config_url" in values,
        **shown,
    )
