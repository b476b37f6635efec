"""A mail server of a few words (RFC 5321), which takes letters and may keep silent."""

from __future__ import annotations

import contextlib
import socketserver
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass
class MailServer:
    """`greets` is whether it says anything to who connects; `answers` whether to a letter."""

    port: int = 0
    letters: list[str] = field(default_factory=list)
    calls: int = 0
    greets: threading.Event = field(default_factory=threading.Event)
    answers: threading.Event = field(default_factory=threading.Event)


@contextlib.contextmanager
def running(*, greets: bool = True) -> Iterator[MailServer]:
    """A server whose port takes connections, whatever else it does."""

    class Conversation(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            found.calls += 1
            found.greets.wait(timeout=60)
            self.wfile.write(b"220 here\r\n")
            for line in self.rfile:
                word = line.strip().upper()
                if word == b"DATA":
                    self.wfile.write(b"354 go on\r\n")
                    lines = iter(self.rfile.readline, b".\r\n")
                    found.letters.append(b"".join(lines).decode())
                    found.answers.wait(timeout=60)
                self.wfile.write(b"221 bye\r\n" if word == b"QUIT" else b"250 good\r\n")

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """Whoever hung up has its reasons."""

    found = MailServer()
    if greets:
        found.greets.set()
    with Server(("127.0.0.1", 0), Conversation) as server:
        found.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield found
        found.greets.set()
        found.answers.set()
        server.shutdown()
