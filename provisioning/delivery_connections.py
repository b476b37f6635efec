"""Verbs for how providers take orders by an API: connect one, change how; noted who did."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import IntegrityError, transaction

from ispops import db
from ispops.errors import InvalidInput, Refusal
from ispops.parties import audit
from ispops.parties.destinations import check_url, require_secret_for_new_host
from ispops.parties.models import Partner, User
from provisioning.models import DeliveryConnection

# What may be set, and from what to what; the longest timeout leaves a worker free again soon.
LIMITS: Mapping[str, tuple[Decimal, Decimal]] = {
    "timeout_seconds": (Decimal("0.1"), Decimal(30)),
    "look_every_seconds": (Decimal(1), Decimal(7 * 86_400)),
    "breaker_threshold": (Decimal(1), Decimal(100)),
    "breaker_pause_seconds": (Decimal(1), Decimal(86_400)),
    "at_once": (Decimal(1), Decimal(20)),
}
CHANGEABLE = ("base_url", "token", "callback_token", "active", *LIMITS)
# Nobody guesses it, so its digest can be looked up.
SHORTEST_CALLBACK_TOKEN = 16
_SECRETS = ("token", "callback_token")


class DeliveryConnected(Refusal):
    code = "delivery_connected"
    title = "This provider is connected already"


@transaction.atomic
def connect_delivery(
    *, partner: Partner, actor: User | None = None, at: datetime, **settings: Any
) -> DeliveryConnection:
    """Place orders with a network provider by its API from now on; `settings` are of `CHANGEABLE`.

    Raises:
        InvalidInput: the partner is no off-net provider, or a value cannot be used; names it.
        DeliveryConnected: the provider has a connection.
    """
    if partner.kind != Partner.Kind.NETWORK_PROVIDER or partner.is_on_net:
        raise InvalidInput("Only an off-net network provider is ordered from.", field="partner")
    if DeliveryConnection.objects.filter(partner=partner).exists():
        raise DeliveryConnected(f"{partner} has a connection already.", field="partner")
    connection = DeliveryConnection(partner=partner)
    _set(connection, settings)
    _save(connection)
    _note(connection, "delivery_connection.created", actor, at, "", settings)
    return connection


@transaction.atomic
def change_delivery(
    *, connection_id: int, actor: User | None = None, at: datetime, reason: str = "", **changes: Any
) -> DeliveryConnection:
    """Change how a provider is ordered from; an empty token leaves the one that is there.

    Raises:
        InvalidInput: a value cannot be used, or another host is named without its token; names
            the field.
    """
    connection = db.lock(DeliveryConnection, connection_id)
    given = {name: value for name, value in changes.items() if name not in _SECRETS or value}
    before = _values(connection)
    _set(connection, given)
    kept = bool(connection.token) and "token" not in given
    require_secret_for_new_host(before["base_url"], connection.base_url, kept=kept, field="token")
    after = _values(connection)
    changed = {name: value for name, value in after.items() if value != before[name]}
    if changed:
        _save(connection)
        names = {("callback_token" if name == "callback_digest" else name) for name in changed}
        _note(
            connection, "delivery_connection.changed", actor, at, reason,
            {name: given[name] for name in names if name in given},
        )  # fmt: skip
    return connection


def _values(connection: DeliveryConnection) -> dict[str, Any]:
    names = ("base_url", "token", "callback_digest", "active", *LIMITS)
    return {name: getattr(connection, name) for name in names}


def _set(connection: DeliveryConnection, values: Mapping[str, Any]) -> None:
    """Write values that came from outside into the row, once all of them are good."""
    unknown = set(values) - set(CHANGEABLE)
    if unknown:
        raise TypeError(f"a connection has no {', '.join(sorted(unknown))}")
    for name, value in values.items():
        if name == "callback_token":
            connection.callback_digest = _digest(value)
        else:
            setattr(connection, name, value)
    db.check_fields(connection, "base_url", *LIMITS)
    for name, (least, most) in LIMITS.items():
        if not least <= getattr(connection, name) <= most:
            raise InvalidInput(f"Use a number from {least:,} to {most:,}.", field=name)
    check_url(connection.base_url, field="base_url")


def _digest(token: str) -> str:
    if not token:
        return ""
    if len(token) < SHORTEST_CALLBACK_TOKEN or not token.isascii() or not token.isprintable():
        raise InvalidInput(
            f"Use {SHORTEST_CALLBACK_TOKEN} random letters and digits at least.",
            field="callback_token",
        )
    return DeliveryConnection.digest_of(token)


def _save(connection: DeliveryConnection) -> None:
    try:
        with transaction.atomic():
            connection.save()
    except IntegrityError as error:
        raise InvalidInput("Another provider calls with this token.", field="callback_token") from (
            error
        )


def _note(
    connection: DeliveryConnection,
    action: str,
    actor: User | None,
    at: datetime,
    reason: str,
    values: Mapping[str, Any],
) -> None:
    """Write down who set what; of a token, that it was set, and not to what."""
    told: dict[str, Any] = {
        name: "set" if name in _SECRETS else str(value) for name, value in values.items()
    }
    audit.record(
        actor=actor,
        actor_name="" if actor else "system",
        action=action,
        subject=f"partner_{connection.partner.code}",
        reason=reason,
        at=at,
        **told,
    )
