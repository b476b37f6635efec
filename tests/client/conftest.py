"""A server that answers the command `isp` as it is told."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

Reply = tuple[int, Any, dict[str, str]]


@dataclass
class Server:
    """Answers each call with the next of `replies`, and keeps what was asked."""

    url: str
    replies: list[Reply] = field(default_factory=list)
    asked: list[tuple[str, str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    # What came as a form, as OAuth wants it.
    forms: list[tuple[str, str, str]] = field(default_factory=list)

    def reply(self, status: int, body: Any, **headers: str) -> None:
        self.replies.append((status, body, headers))


@pytest.fixture
def server() -> Iterator[Server]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if "form" in self.headers.get("Content-Type", ""):
                told.forms.append((self.command, self.path, body.decode()))
                body = b""
            told.asked.append((self.command, self.path, json.loads(body) if body else None))
            told.keys.append(self.headers.get("Idempotency-Key", ""))
            status, answer, headers = told.replies.pop(0)
            content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST

        def log_message(self, *args: object) -> None:
            """Be quiet."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    told = Server(f"http://127.0.0.1:{http.server_address[1]}")
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    yield told
    http.shutdown()
    http.server_close()
