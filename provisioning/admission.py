"""Whether a line's equipment is let in, with which addresses and how fast (figure 4 step 6)."""

import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from django.conf import settings

from ipam import allocation
from ipam.models import AddressServer
from provisioning.models import AaaCredential, Service

# How often access servers tell what was used; RFC 2869 wants no less than a minute.
INTERIM_SECONDS = 300
MOST_UINT32 = 2**32 - 1

# One text for an unknown login and a wrong password, so that logins cannot be guessed one by one.
UNKNOWN = "This network login is not known, or its password is wrong."


@dataclass(frozen=True, slots=True)
class Admission:
    """What an access server is told: `words` when the line is not let in, attributes when it is.

    `control` and `reply` are RADIUS attributes by name.
    """

    admitted: bool
    words: str = ""
    control: dict[str, str | int] | None = None
    reply: dict[str, str | int] | None = None


def admit(
    *, server: AddressServer, username: str, password: str | None, device: str, at: datetime
) -> Admission:
    """Decide whether a line comes in; ask for its addresses when it does.

    `password` is what the equipment sent, when it was sent in clear (PAP). FreeRADIUS checks it
    against the secret that it is given; it is checked here first, because a stranger who knows no
    more than the name must not use up the line's addresses. `device` is the Calling-Station-Id;
    equipment that sends none is known by its login.
    """
    login = _find(username)
    if login is None:
        return Admission(admitted=False, words=UNKNOWN)
    if password is not None and not _same(password, login.secret):
        return Admission(admitted=False, words=UNKNOWN)
    if refusal := _refusal(login):
        return Admission(admitted=False, words=refusal)
    service_ref = Service(pk=login.service_id).public_id
    answer = allocation.request_addresses(
        service_ref=service_ref, device=device or username, server=server, at=at
    )
    if answer.outcome == allocation.Outcome.DENIED:
        return Admission(admitted=False, words=answer.reason or "There is no address for you now.")
    return Admission(
        admitted=True,
        control={"Cleartext-Password": login.secret},
        reply=_session(service_ref)
        | _addresses(answer)
        | _speed(login.download_kbps or 0, login.upload_kbps or 0),
    )


class _Login(NamedTuple):
    """What decides of a login, its line and its plan; reading the whole rows would cost thrice."""

    secret: str
    enabled: bool
    service_id: UUID
    state: str
    download_kbps: int | None
    upload_kbps: int | None


def _find(username: str) -> _Login | None:
    found = AaaCredential.objects.filter(username=username).values_list(
        "secret",
        "enabled",
        "service_id",
        "service__state",
        "service__offering__download_kbps",
        "service__offering__upload_kbps",
    )
    return next((_Login(*row) for row in found), None)


def _same(given: str, kept: str) -> bool:
    return hmac.compare_digest(given.encode(), kept.encode())


def _refusal(login: _Login) -> str:
    """Say in words why a known line is not let in; empty when it is."""
    call = f"Please call {settings.SUPPORT_PHONE}."
    match login.state:
        case Service.State.SUSPENDED:
            return f"This line is suspended. {call}"
        case Service.State.CEASED:
            return f"This line has been ended. {call}"
        case Service.State.ACTIVE if login.enabled:
            return ""
        case _:
            return "This line is not switched on yet. Your account shows when it will be."


def _session(service_ref: str) -> dict[str, str | int]:
    """Name the service and this one authorisation; accounting brings it back (RFC 2865, 5.25)."""
    return {
        "Class": f"{service_ref}.{secrets.token_hex(8)}",
        "Acct-Interim-Interval": INTERIM_SECONDS,
    }


def _addresses(answer: allocation.Answer) -> dict[str, str | int]:
    """Give the addresses for as long as they are leased: after that they may be another's.

    In the walled garden the lease is short, so the device asks again soon after the decision.
    """
    reply: dict[str, str | int] = {"Session-Timeout": answer.lease_seconds}
    if answer.ipv4:
        reply["Framed-IP-Address"] = answer.ipv4
    if answer.ipv6_prefix:
        reply["Delegated-IPv6-Prefix"] = answer.ipv6_prefix
    return reply


def _speed(down_kbps: int, up_kbps: int) -> dict[str, str | int]:
    """Give the plan's speed in the words of the WISPr group and of MikroTik.

    WISPr counts bits a second in 32 bits, so a plan beyond 4.29 Gbit/s is told as that; MikroTik
    writes "what the router receives/what it sends", which is upload/download.
    """
    return {
        "WISPr-Bandwidth-Max-Down": min(down_kbps * 1000, MOST_UINT32),
        "WISPr-Bandwidth-Max-Up": min(up_kbps * 1000, MOST_UINT32),
        "Mikrotik-Rate-Limit": f"{up_kbps}k/{down_kbps}k",
    }
