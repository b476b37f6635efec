"""Verbs for how off-net providers are asked: connect one, change how, with a note of who did."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import IntegrityError, transaction

from ispops import db
from ispops.errors import InvalidInput, PermanentFault, Refusal
from ispops.parties import audit
from ispops.parties.destinations import check_url, require_secret_for_new_host
from ispops.parties.models import Partner, User
from qualification.models import ProviderConnection
from qualification.providers.files import folder_of

Adapter = ProviderConnection.Adapter
# What may be set, and from what to what; the longest timeout leaves a worker free again soon.
LIMITS: Mapping[str, tuple[Decimal, Decimal]] = {
    "timeout_seconds": (Decimal("0.1"), Decimal(30)),
    "answer_valid_seconds": (Decimal(1), Decimal(90 * 86_400)),
    "give_up_after_seconds": (Decimal(1), Decimal(7 * 86_400)),
    "breaker_threshold": (Decimal(1), Decimal(100)),
    "breaker_pause_seconds": (Decimal(1), Decimal(86_400)),
    "at_once": (Decimal(1), Decimal(20)),
}
CHANGEABLE = ("base_url", "token", "folder", "asked_everywhere", "active", *LIMITS)
_SECRET = "token"  # noqa: S105 - the name of the column


class ProviderConnected(Refusal):
    code = "provider_connected"
    title = "This provider is connected already"


@transaction.atomic
def connect_provider(
    *, partner: Partner, adapter: str, actor: User | None = None, at: datetime, **settings: Any
) -> ProviderConnection:
    """Ask a network provider about addresses from now on; `settings` are of `CHANGEABLE`.

    Raises:
        InvalidInput: the partner is no off-net provider, or a value cannot be used; names it.
        ProviderConnected: the provider has a connection.
    """
    if partner.kind != Partner.Kind.NETWORK_PROVIDER or partner.is_on_net:
        raise InvalidInput("Only an off-net network provider is asked.", field="partner")
    connection = ProviderConnection(partner=partner, adapter=adapter)
    _set(connection, settings)
    try:
        with transaction.atomic():
            connection.save(force_insert=True)
    except IntegrityError as error:
        raise ProviderConnected(f"{partner} has a connection already.", field="partner") from error
    _note(connection, "connection.created", actor, at, "", _without_secret(settings))
    return connection


@transaction.atomic
def change_connection(
    *, connection_id: int, actor: User | None = None, at: datetime, reason: str = "", **changes: Any
) -> ProviderConnection:
    """Change how a provider is asked; an empty token leaves the one that is there.

    Raises:
        InvalidInput: a value cannot be used, or another host is named without its token; names
            the field.
    """
    connection = db.lock(ProviderConnection, connection_id)
    before = {name: getattr(connection, name) for name in CHANGEABLE}
    given = {name: value for name, value in changes.items() if name != _SECRET or value}
    _set(connection, given)
    kept = bool(connection.token) and _SECRET not in given
    require_secret_for_new_host(
        str(before["base_url"]), connection.base_url, kept=kept, field=_SECRET
    )
    changed = [name for name in CHANGEABLE if getattr(connection, name) != before[name]]
    if changed:
        connection.save(update_fields=changed)
        told = {name: [str(before[name]), str(getattr(connection, name))] for name in changed}
        _note(connection, "connection.changed", actor, at, reason, _without_secret(told))
    return connection


def _set(connection: ProviderConnection, values: Mapping[str, Any]) -> None:
    """Write values that came from outside into the row, once all of them are good."""
    unknown = set(values) - set(CHANGEABLE)
    if unknown:
        raise TypeError(f"a connection has no {', '.join(sorted(unknown))}")
    for name, value in values.items():
        setattr(connection, name, value)
    db.check_fields(connection, "adapter", "base_url", "folder", *LIMITS)
    for name, (least, most) in LIMITS.items():
        if not least <= getattr(connection, name) <= most:
            raise InvalidInput(f"Use a number from {least:,} to {most:,}.", field=name)
    if connection.adapter == Adapter.TMF645:
        if not connection.base_url:
            raise InvalidInput("Enter the address of the provider's API.", field="base_url")
        check_url(connection.base_url, field="base_url")
    else:
        _check_folder(connection)


def _check_folder(connection: ProviderConnection) -> None:
    try:
        folder_of(connection.folder)
    except PermanentFault as fault:
        raise InvalidInput(str(fault), field="folder") from fault
    others = ProviderConnection.objects.filter(folder=connection.folder).exclude(pk=connection.pk)
    if others.exists():
        raise InvalidInput("Another provider has this folder.", field="folder")


def _without_secret(values: Mapping[str, Any]) -> dict[str, Any]:
    """Say that the token was set, and not to what."""
    return {
        name: "set" if name == _SECRET else value if isinstance(value, list) else str(value)
        for name, value in values.items()
    }


def _note(
    connection: ProviderConnection,
    action: str,
    actor: User | None,
    at: datetime,
    reason: str,
    values: Mapping[str, Any],
) -> None:
    audit.record(
        actor=actor,
        actor_name="" if actor else "system",
        action=action,
        subject=f"partner_{connection.partner.code}",
        reason=reason,
        at=at,
        adapter=connection.adapter,
        **values,
    )
