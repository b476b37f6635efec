"""The control channel of a Kea server (2.2): one command and one answer over its Unix socket."""

import json
import socket
import time
from typing import Any

from ipam.servers.base import ServerAway, ServerRefused

# For a word of the answer, and for all of it.
SECONDS, WHOLE_SECONDS = 5.0, 10.0
_SUCCESS, _EMPTY = 0, 3


def command(path: str, name: str, arguments: dict[str, Any] | None = None) -> dict[str, Any]:
    """Say one command to the server behind this socket; returns the arguments of its answer.

    What it does not find is an empty answer.

    Raises:
        ServerAway: nobody listens there, or no whole answer came in time.
        ServerRefused: it answered that it will not.
    """
    asked: dict[str, Any] = {"command": name}
    if arguments is not None:
        asked["arguments"] = arguments
    try:
        answer = json.loads(_exchange(path, json.dumps(asked).encode()))
    except (OSError, ValueError) as away:
        raise ServerAway(f"Kea does not answer {name} at {path}: {away}.", request=asked) from away
    if not isinstance(answer, dict) or answer.get("result") not in (_SUCCESS, _EMPTY):
        raise ServerRefused(f"Kea refused {name}: {_words(answer)}", request=asked, reply=answer)
    found = answer.get("arguments") or {}
    if not isinstance(found, dict):
        raise ServerAway(f"Kea answers {name} in no form of Kea's.", request=asked, reply=answer)
    return found


def _exchange(path: str, asked: bytes) -> bytes:
    until = time.monotonic() + WHOLE_SECONDS
    parts = []
    with socket.socket(socket.AF_UNIX) as control:
        control.settimeout(SECONDS)
        control.connect(path)
        control.sendall(asked)
        control.shutdown(socket.SHUT_WR)
        while part := control.recv(65_536):
            parts.append(part)
            if time.monotonic() > until:
                raise TimeoutError(f"no whole answer in {WHOLE_SECONDS:.0f} s")
    return b"".join(parts)


def _words(answer: Any) -> str:
    said = answer.get("text") if isinstance(answer, dict) else answer
    return str(said)[:300]
