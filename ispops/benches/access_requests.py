"""Access-Requests by PAP, so many at a time, to a RADIUS server on this machine."""

import contextlib
import hashlib
import os
import selectors
import socket
import struct
import time
from collections.abc import Sequence
from typing import Any

ACCESS_ACCEPT = 2
# As access servers do; the time until the answer runs from the first packet.
ASKED_AGAIN_AFTER = 3.0
GIVEN_UP_AFTER = 60.0

Asked = dict[socket.socket, tuple[float, bytes]]


class Load:
    """Sends the requests of these logins in turn, and keeps how long each answer took.

    All logins have one password. As many sockets as there are requests at a time: each waits for
    its answer before it sends the next, as that many access servers would.
    """

    def __init__(self, *, port: int, secret: str, password: str, at_once: int) -> None:
        self.address = ("127.0.0.1", port)
        self.secret, self.password = secret.encode(), password.encode()
        self.at_once = at_once
        self.seconds: list[float] = []

    def run(self, logins: Sequence[str]) -> int:
        """Send one request for each; returns how many were accepted, which must be all of them."""
        self.seconds = []
        waiting = [self._packet(number, login) for number, login in enumerate(logins)]
        waiting.reverse()
        with selectors.DefaultSelector() as selector, contextlib.ExitStack() as open_lines:
            asked: Asked = {}
            for _ in range(min(self.at_once, len(waiting))):
                line: Any = open_lines.enter_context(socket.socket(type=socket.SOCK_DGRAM))
                line.connect(self.address)
                selector.register(line, selectors.EVENT_READ)
                self._ask(line, waiting.pop(), asked)
            given_up_at = time.perf_counter() + GIVEN_UP_AFTER
            while asked:
                ready = selector.select(ASKED_AGAIN_AFTER)
                if not ready and time.perf_counter() > given_up_at:
                    raise RuntimeError(f"{len(asked)} requests were not answered")
                for line in () if ready else asked:
                    line.send(asked[line][1])
                for key, _ in ready:
                    line = key.fileobj
                    self._hear(line, asked)
                    if waiting and line not in asked:
                        self._ask(line, waiting.pop(), asked)
        return len(self.seconds)

    def p99_microseconds(self, logins: Sequence[str]) -> int:
        """What 99 of 100 answers were faster than."""
        self.run(logins)
        return int(sorted(self.seconds)[int(len(self.seconds) * 0.99)] * 1e6)

    def _ask(self, line: socket.socket, packet: bytes, asked: Asked) -> None:
        asked[line] = time.perf_counter(), packet
        line.send(packet)

    def _hear(self, line: socket.socket, asked: Asked) -> None:
        answer = line.recv(4096)
        if line not in asked or answer[1] != asked[line][1][1]:
            return  # the second answer to what was asked twice
        if answer[0] != ACCESS_ACCEPT:
            raise RuntimeError("a request was rejected")
        self.seconds.append(time.perf_counter() - asked.pop(line)[0])

    def _packet(self, number: int, login: str) -> bytes:
        authenticator = os.urandom(16)
        hidden, before = b"", authenticator
        padded = self.password + bytes(-len(self.password) % 16)
        for start in range(0, len(padded), 16):
            key = hashlib.md5(self.secret + before, usedforsecurity=False).digest()
            before = bytes(a ^ b for a, b in zip(padded[start : start + 16], key, strict=True))
            hidden += before
        station = f"02-00-00-{number >> 16 & 255:02x}-{number >> 8 & 255:02x}-{number & 255:02x}"
        attributes = ((1, login.encode()), (2, hidden), (31, station.encode()), (4, bytes(4)))
        body = b"".join(struct.pack("!BB", kind, 2 + len(of)) + of for kind, of in attributes)
        return struct.pack("!BBH", 1, number % 256, 20 + len(body)) + authenticator + body
