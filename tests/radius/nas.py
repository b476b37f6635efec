"""An access server as the tests play it: radclient sends its packets to the real FreeRADIUS."""

from __future__ import annotations

import hashlib
import re
import socket
import struct
import subprocess
from dataclasses import dataclass, field

from ispops.network import freeradius

SECRET = "a-secret-of-the-access-server#1"


@dataclass(frozen=True)
class Heard:
    """What came back: `Access-Accept`, `Access-Reject`, `Accounting-Response`, or nothing."""

    kind: str
    values: dict[str, str] = field(default_factory=dict)
    several: dict[str, list[str]] = field(default_factory=dict, compare=False)


def send(
    port: int,
    kind: str,
    *lines: str,
    secret: str = SECRET,
    seconds: float = 4,
    tries: int = 1,
) -> Heard:
    """Send one packet of these attributes and wait for the answer. Kinds are auth and acct."""
    program = freeradius.find("radclient")
    assert program is not None
    done = subprocess.run(
        [program, "-x", "-t", str(seconds), "-r", str(tries), f"127.0.0.1:{port}", kind, secret],
        input="\n".join(lines) + "\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    received = done.stdout.rpartition("Received ")[2] if "Received " in done.stdout else ""
    if not received:
        return Heard("")
    found = re.findall(r"^\t(\S+) = (.*)$", received, re.MULTILINE)
    several: dict[str, list[str]] = {}
    for name, value in found:
        several.setdefault(name, []).append(value.strip('"'))
    return Heard(received.split()[0], {name: last for name, [*_, last] in several.items()}, several)


def send_octets(port: int, *, session: bytes, username: bytes) -> bool:
    """Tell of the start of a session with octets that radclient would not write; says if heard."""
    sent = [(40, struct.pack("!I", 1)), (44, session), (1, username), (4, bytes([10, 0, 0, 1]))]
    body = b"".join(struct.pack("!BB", kind, 2 + len(value)) + value for kind, value in sent)
    head = struct.pack("!BBH", 4, 7, 20 + len(body))
    proof = hashlib.md5(head + bytes(16) + body + SECRET.encode()).digest()
    with socket.socket(type=socket.SOCK_DGRAM) as line:
        line.settimeout(5)
        line.sendto(head + proof + body, ("127.0.0.1", port))
        return line.recv(4096)[0] == 5


def free_ports() -> tuple[int, int]:
    """Two UDP ports of loopback that nobody uses now."""
    with (
        socket.socket(type=socket.SOCK_DGRAM) as one,
        socket.socket(type=socket.SOCK_DGRAM) as other,
    ):
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]
