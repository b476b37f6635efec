"""A DHCP relay agent with subscribers behind it (RFC 2131; RFC 3046 for the circuit id)."""

from __future__ import annotations

import os
import socket
import struct
from dataclasses import dataclass

from tests.dhcp import kea

DISCOVER, REQUEST = 1, 3
OFFER, ACK, NAK = 2, 5, 6
_COOKIE = b"\x63\x82\x53\x63"


@dataclass(frozen=True, slots=True)
class Heard:
    """An answer of the server: its kind, the address in it, and for how long."""

    kind: int
    address: str
    seconds: int
    server: bytes


def gets(mac: str, circuit: str = "") -> Heard | None:
    """Let a device ask for an address from the beginning; None when nobody gives it one."""
    offered = ask(DISCOVER, mac, circuit)
    if offered is None or offered.kind != OFFER:
        return None
    wanted = {50: socket.inet_aton(offered.address), 54: offered.server}
    return ask(REQUEST, mac, circuit, options=wanted)


def renews(mac: str, address: str, circuit: str = "") -> Heard | None:
    """Let a device ask to keep the address that it has."""
    return ask(REQUEST, mac, circuit, has=address)


def ask(
    kind: int,
    mac: str,
    circuit: str,
    *,
    has: str = "0.0.0.0",
    options: dict[int, bytes] | None = None,
    seconds: float = 1.5,
) -> Heard | None:
    number = os.urandom(4)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        line.bind((kea.RELAY, 67))
        line.settimeout(seconds)
        line.sendto(_packet(kind, number, mac, circuit, has, options or {}), (kea.SERVER, 67))
        try:
            while True:
                answer = line.recv(2048)
                if answer[4:8] == number:
                    return _read(answer)
        except TimeoutError:
            return None


def _packet(
    kind: int, number: bytes, mac: str, circuit: str, has: str, options: dict[int, bytes]
) -> bytes:
    head = struct.pack(
        "!BBBB4sHH4s4s4s4s16s64s128s", 1, 1, 6, 1, number, 0, 0, socket.inet_aton(has),
        bytes(4), bytes(4), socket.inet_aton(kea.RELAY), bytes.fromhex(mac.replace(":", "")),
        b"", b"",
    )  # fmt: skip
    told = {53: bytes([kind]), **options}
    if circuit:
        told[82] = bytes([1, len(circuit)]) + circuit.encode()
    parts = [bytes([code, len(value)]) + value for code, value in told.items()]
    return head + _COOKIE + b"".join(parts) + b"\xff"


def _read(answer: bytes) -> Heard:
    options, at = {}, 240
    while at < len(answer) and answer[at] != 255:
        if answer[at] == 0:
            at += 1
            continue
        length = answer[at + 1]
        options[answer[at]] = answer[at + 2 : at + 2 + length]
        at += 2 + length
    return Heard(
        options[53][0],
        socket.inet_ntoa(answer[16:20]),
        int.from_bytes(options.get(51, b""), "big"),
        options.get(54, b""),
    )
