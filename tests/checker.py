"""A checker of identity or credit for tests: a real web server that answers as it is told."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Asked:
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass
class FakeChecker:
    """`answers` are given in turn, the last one for ever: a status and what is said, JSON or bytes.

    `before_answer` runs before each, and `seconds_a_byte` lets an answer drip.
    """

    url: str
    answers: list[tuple[int, Any]] = field(default_factory=lambda: [(200, {"verdict": "pass"})])
    asked: list[Asked] = field(default_factory=list)
    before_answer: Callable[[], None] | None = None
    seconds_a_byte: float = 0

    def next_answer(self) -> tuple[int, Any]:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@contextlib.contextmanager
def answering() -> Iterator[FakeChecker]:
    """Run the server on a free port of loopback for as long as the block lasts."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            checker.asked.append(Asked(dict(self.headers), body))
            status, said = checker.next_answer()
            if checker.before_answer:
                checker.before_answer()
            content = said if isinstance(said, bytes) else json.dumps(said).encode()
            with contextlib.suppress(OSError):
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                for byte in content if checker.seconds_a_byte else ():
                    self.wfile.write(bytes([byte]))
                    self.wfile.flush()
                    time.sleep(checker.seconds_a_byte)
                if not checker.seconds_a_byte:
                    self.wfile.write(content)

        def log_message(self, *args: object) -> None:
            """Be quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    checker = FakeChecker(f"http://127.0.0.1:{server.server_address[1]}/checks")
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield checker
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
