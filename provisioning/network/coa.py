"""Changes and disconnects of live sessions: RFC 5176 over UDP, by pyrad.

An answer that is not signed with the shared secret is none, and an access server does not answer
what is not signed with its own: so a wrong secret looks like silence.
"""

import struct
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from pyrad import packet
from pyrad.client import Client, Timeout
from pyrad.dictionary import Dictionary

from provisioning.network.templates import Attributes

ACKNOWLEDGED, REFUSED, GONE, NO_ANSWER = "acknowledged", "refused", "gone", "no_answer"
# RFC 5176, 3.5: what the access server knows nothing of.
SESSION_CONTEXT_NOT_FOUND = 503
CAUSES = {
    401: "it does not know an attribute",
    402: "an attribute is missing",
    403: "it is not the server that was meant",
    404: "the request is invalid",
    405: "it does not offer this service",
    406: "it does not know this extension",
    407: "a value is not valid",
    501: "it is not allowed",
    SESSION_CONTEXT_NOT_FOUND: "it has no such session",
    504: "the session cannot be removed",
    506: "it has no resources left",
    508: "the session is not the only one",
}


@dataclass(frozen=True, slots=True)
class Peer:
    """An access server that takes changes: where it listens, and the shared secret.

    Where its clock is wrong it `wants_time` in no packet: it would take each of them for a replay.
    """

    host: str
    port: int
    secret: str
    wants_time: bool = True


@dataclass(frozen=True, slots=True)
class Target:
    """The session that is meant, by all names that access servers ask for."""

    username: str
    session_id: str
    nas_ip: str | None
    framed_ip: str | None


@dataclass(frozen=True, slots=True)
class Patience:
    """How long an answer is waited for, and how often the packet is sent."""

    seconds: float
    sendings: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of it; `request` and `reply` are attributes by name, without any secret."""

    outcome: str
    detail: str
    request: dict[str, Any]
    reply: dict[str, Any] | None = None


def change(
    peer: Peer, target: Target, attributes: Attributes, *, patience: Patience, at: datetime
) -> Answer:
    """Ask an access server to change what a live session may do (CoA-Request)."""
    return _ask(peer, packet.CoARequest, _named(peer, target, at) | attributes, patience)


def disconnect(peer: Peer, target: Target, *, patience: Patience, at: datetime) -> Answer:
    """Ask an access server to end a live session (Disconnect-Request)."""
    return _ask(peer, packet.DisconnectRequest, _named(peer, target, at), patience)


def _named(peer: Peer, target: Target, at: datetime) -> Attributes:
    named: Attributes = {
        "User-Name": target.username,
        "Acct-Session-Id": target.session_id,
    }
    if peer.wants_time:
        named["Event-Timestamp"] = int(at.timestamp())
    if target.nas_ip:
        is_v4 = ip_address(target.nas_ip).version == 4
        named["NAS-IP-Address" if is_v4 else "NAS-IPv6-Address"] = target.nas_ip
    if target.framed_ip and ip_address(target.framed_ip).version == 4:
        named["Framed-IP-Address"] = target.framed_ip
    return named


def _ask(peer: Peer, code: int, attributes: Attributes, patience: Patience) -> Answer:
    client = Client(
        peer.host,
        coaport=peer.port,
        secret=peer.secret.encode(),
        dict=_dictionary(),
        retries=patience.sendings,
        timeout=patience.seconds,
    )
    asked = client.CreateCoAPacket(code=code, message_authenticator=True)
    try:
        for name, value in attributes.items():
            asked.AddAttribute(name, value)
        answer = client.SendPacket(asked)
    except Timeout:
        waited = patience.seconds * patience.sendings
        return Answer(NO_ANSWER, f"{peer.host} did not answer within {waited:g} s.", attributes)
    except ValueError as error:
        return Answer(REFUSED, f"It does not fit a packet: {error}.", attributes)
    except OSError as error:
        return Answer(NO_ANSWER, f"{peer.host} cannot be reached: {error}.", attributes)
    finally:
        client._CloseSocket()
    return _read(answer, attributes)


def _read(answer: packet.Packet, attributes: Attributes) -> Answer:
    said = {
        str(name): _values(answer, name)
        for name in answer.keys()  # noqa: SIM118 (the names, where iterating gives the codes)
        if name != "Message-Authenticator"
    }
    if answer.code in {packet.CoAACK, packet.DisconnectACK}:
        return Answer(ACKNOWLEDGED, "It is done.", attributes, said)
    causes = said.get("Error-Cause") or [0]
    words = CAUSES.get(causes[0]) if isinstance(causes[0], int) else None
    detail = f"The access server refused: {words or f'error cause {causes[0]}'}."
    is_gone = causes[0] == SESSION_CONTEXT_NOT_FOUND and answer.code == packet.DisconnectNAK
    return Answer(GONE if is_gone else REFUSED, detail, attributes, said)


def _values(answer: packet.Packet, name: Any) -> list[str | int]:
    """Read an attribute of an answer; what has the wrong length for its type is left out."""
    try:
        return [_plain(value) for value in answer[name]]
    except (ValueError, struct.error):
        return []


def _plain(value: Any) -> str | int:
    """Write a value as JSON can keep it; bytes that are no text are hexadecimal."""
    if isinstance(value, bytes):
        return f"0x{value.hex()}"
    return value if isinstance(value, int) else str(value).replace("\x00", "")


@lru_cache(maxsize=1)
def _dictionary() -> Dictionary:
    return Dictionary(str(Path(__file__).with_name("coa.dictionary")))
