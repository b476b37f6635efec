"""Whether a line's equipment is let in, with which addresses and how fast (figure 4 step 6)."""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID

from django.conf import settings

from ipam import allocation, selection, statements
from ipam.models import AddressServer
from ipam.statements import Held
from ispops.db import Prepared, decrypt
from provisioning.following import SILENT_AFTER
from provisioning.in_force import WALLED_GARDEN, Profile, Speed
from provisioning.models import AccessSession, Service
from provisioning.network import templates
from provisioning.network.templates import Attributes

# How often access servers tell what was used; RFC 2869 wants no less than a minute.
INTERIM_SECONDS = 300

# One text for an unknown login and a wrong password, so that logins cannot be guessed one by one.
UNKNOWN = "This network login is not known, or its password is wrong."


@dataclass(frozen=True, slots=True)
class Admission:
    """What an access server is told: `words` when the line is not let in, attributes when it is.

    `control` and `reply` are RADIUS attributes by name.
    """

    admitted: bool
    words: str = ""
    control: Attributes | None = None
    reply: Attributes | None = None


class Login(NamedTuple):
    """What decides of a login, its line and its plan; reading the whole rows would cost thrice."""

    secret: str
    enabled: bool
    treatment: str
    revision: int
    sessions_at_once: int | None
    download_kbps: int | None
    upload_kbps: int | None
    service_id: UUID
    state: str
    plan_download_kbps: int | None
    plan_upload_kbps: int | None
    server_kind: str | None


_FIND = Prepared(
    "provisioning_find",
    ("text", "text", "inet", "text", "timestamptz"),
    f"""
    SELECT server.id, server.name, server.kind, server.secret_digest, server.active,
           login.secret, login.enabled, login.treatment, login.revision, login.sessions_at_once,
           login.download_kbps, login.upload_kbps, line.id, line.state,
           plan.download_kbps, plan.upload_kbps, nas.kind,
           held.families, held.addresses, held.expires_at
    FROM ipam_addressserver server
    LEFT JOIN provisioning_aaacredential login ON login.username = $2
    LEFT JOIN provisioning_service line ON line.id = login.service_id
    LEFT JOIN catalog_productoffering plan ON plan.id = line.offering_id
    LEFT JOIN provisioning_accessserver nas ON nas.nas_ip = $3
    LEFT JOIN LATERAL ({
        statements.held_by_device(
            "array_agg(held.family) AS families, array_agg(held.address::text) AS addresses, "
            "min(held.expires_at) AS expires_at",
            service_ref=f"'{Service.PREFIX}_' || replace(line.id::text, '-', '')",
            device="$4",
            until="$5",
            server="server.id",
        )
    }) held ON true
    WHERE server.name = $1 AND server.active
    """,  # noqa: S608
)


class Found(NamedTuple):
    """What there is behind a request: who asks for whom, and what the device holds already.

    `held` is all that the device may have of this server, or nothing.
    """

    server: AddressServer
    login: Login | None = None
    held: Sequence[Held] = ()


def find(
    *, server: str, secret: str, username: str, nas_ip: str | None, device: str, at: datetime
) -> Found | None:
    """Return the address server with this name and secret, the login and its addresses.

    One read for all, where the device has addresses of both families. None without the right
    secret: whoever asks learns no more. An access server that is registered under `nas_ip` is told
    in its own words how fast the line is.
    """
    read: list[tuple[Any, ...]] = []
    if "\0" not in server:
        until = allocation.settled_until(at)
        read = _FIND.rows(server, username, nas_ip, _name_of(device or username), until)
    asks = _server(*read[0][:5]) if read else AddressServer()
    if not asks.has_secret(secret):
        return None
    encrypted, *facts, families, addresses, expires_at = read[0][5:]
    if encrypted is None:
        return Found(asks)
    held = [Held(*each, expires_at) for each in zip(families or (), addresses or (), strict=True)]
    login = Login(decrypt(encrypted), *facts)
    all_held = statements.is_all(held, service_ref=_service_ref(login), server=asks)
    return Found(asks, login, held if all_held else ())


def _service_ref(login: Login) -> str:
    return f"{Service.PREFIX}_{login.service_id.hex}"


def _name_of(device: str) -> str:
    """The name under which ipam knows a device; empty for one that it will refuse."""
    try:
        return selection.normalise_device(device)
    except selection.UnusableDevice:
        return ""


@lru_cache(maxsize=64)
def _server(*row: Any) -> AddressServer:
    """The address server of a row; making an instance for each request would cost more than it."""
    return AddressServer(*row)


def admit(
    *,
    found: Found,
    username: str,
    proven: Callable[[str], bool] | None,
    device: str,
    at: datetime,
) -> Admission:
    """Decide whether a line comes in; ask for its addresses when it does.

    `found` is what `find` found. A line in the walled garden comes in,
    to see the page that says why and nothing else.

    `proven` says whether the equipment showed that it knows a secret, as far as that can be seen
    here. FreeRADIUS checks it against the secret that it is given; it is checked here first,
    because a stranger who knows no more than the name must not use up the line's addresses.
    `device` is the Calling-Station-Id; equipment that sends none is known by its login.
    """
    login = found.login
    if login is None:
        return Admission(admitted=False, words=UNKNOWN)
    if proven is not None and not proven(login.secret):
        return Admission(admitted=False, words=UNKNOWN)
    if refusal := _refusal(login) or _too_many(login, device, at):
        return Admission(admitted=False, words=refusal)
    service_ref = _service_ref(login)
    if found.held:
        answer = allocation.held_already(found.held, at)
    else:
        answer = allocation.request_addresses(
            service_ref=service_ref, device=device or username, server=found.server, at=at
        )
    if answer.outcome == allocation.Outcome.DENIED:
        return Admission(admitted=False, words=answer.reason or "There is no address for you now.")
    return Admission(
        admitted=True,
        control={"Cleartext-Password": login.secret},
        reply=_session(service_ref, login.revision)
        | _addresses(answer)
        | _profile(login, answer.lease_seconds),
    )


def _refusal(login: Login) -> str:
    """Say in words why a known line is not let in; empty when it is."""
    call = f"Please call {settings.SUPPORT_PHONE}."
    match login.state:
        case Service.State.SUSPENDED if login.enabled and login.treatment == WALLED_GARDEN:
            return ""
        case Service.State.SUSPENDED:
            return f"This line is suspended. {call}"
        case Service.State.CEASED:
            return f"This line has been ended. {call}"
        case Service.State.ACTIVE if login.enabled:
            return ""
        case _:
            return "This line is not switched on yet. Your account shows when it will be."


def _too_many(login: Login, device: str, at: datetime) -> str:
    """Say in words that a line is in use as often as it may be; empty when it is not.

    The device that comes back is let in, for its own session may be dead. Reads only where there is
    a limit.
    """
    if login.sessions_at_once is None:
        return ""
    others = AccessSession.objects.filter(
        service=login.service_id, ended_at__isnull=True, last_heard_at__gt=at - SILENT_AFTER
    ).exclude(calling_station_id__iexact=device)
    if others.count() < login.sessions_at_once:
        return ""
    return (
        f"This line is in use by {login.sessions_at_once} already, and it may be by no more at "
        "once. Disconnect another device first."
    )


def _session(service_ref: str, revision: int) -> Attributes:
    """Name the service, this one authorisation and the revision of what it gives.

    Accounting brings it back (RFC 2865, 5.25).
    """
    return {
        "Class": f"{service_ref}.{secrets.token_hex(8)}.r{revision}",
        "Acct-Interim-Interval": INTERIM_SECONDS,
    }


def _addresses(answer: allocation.Answer) -> Attributes:
    """Give the addresses for as long as they are leased: after that they may be another's.

    In the walled garden the lease is short, so the device asks again soon after the decision.
    """
    reply: Attributes = {"Session-Timeout": answer.lease_seconds}
    if answer.ipv4:
        reply["Framed-IP-Address"] = answer.ipv4
    if answer.ipv6_prefix:
        reply["Delegated-IPv6-Prefix"] = answer.ipv6_prefix
    return reply


def _profile(login: Login, lease_seconds: int) -> Attributes:
    """Give the speed in force, or the walled garden for a short time."""
    profile = Profile(
        enabled=True,
        treatment=login.treatment if login.state == Service.State.SUSPENDED else "",
        speed=Speed(
            login.download_kbps or login.plan_download_kbps or 0,
            login.upload_kbps or login.plan_upload_kbps or 0,
        ),
    )
    names = templates.Names(walled=settings.WALLED_GARDEN_NAME, open=settings.OPEN_ACCESS_NAME)
    reply = templates.at_login(login.server_kind or "", profile, names)
    if profile.is_walled:
        longest = int(settings.WALLED_GARDEN_SESSION.total_seconds())
        reply["Session-Timeout"] = min(lease_seconds, longest)
    return reply
