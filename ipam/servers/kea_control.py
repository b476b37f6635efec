"""The control channel of a Kea server (2.2): one command and one answer over its Unix socket."""

import json
import socket
from typing import Any

from ipam.servers.base import ServerAway, ServerRefused

SECONDS = 5.0
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
    return answer.get("arguments") or {}


def _exchange(path: str, asked: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as control:
        control.settimeout(SECONDS)
        control.connect(path)
        control.sendall(asked)
        control.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: control.recv(65_536), b""))


def _words(answer: Any) -> str:
    said = answer.get("text") if isinstance(answer, dict) else answer
    return str(said)[:300]
