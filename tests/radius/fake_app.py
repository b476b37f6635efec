"""An application that answers FreeRADIUS whatever a test wants, over real HTTP."""

from __future__ import annotations

import base64
import contextlib
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class FakeApp:
    """`status`, `body` and `seconds` of every answer; what was asked, and by whom, is kept."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.logins: list[str] = []
        self.answer(200)
        app = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                sent = self.rfile.read(int(self.headers["Content-Length"]))
                app.asked.append(json.loads(sent))
                coded = self.headers.get("Authorization", "").removeprefix("Basic ")
                app.logins.append(base64.b64decode(coded).decode())
                time.sleep(app.seconds)
                with contextlib.suppress(OSError):  # it may not have waited
                    self.send_response(app.status)
                    self.send_header("Content-Type", app.kind)
                    self.send_header("Content-Length", str(len(app.body)))
                    self.end_headers()
                    self.wfile.write(app.body)

            def log_message(self, *_: Any) -> None:
                """Tests have nothing to log."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def answer(
        self, status: int, attributes: dict[str, Any] | str | None = None, *, seconds: float = 0
    ) -> None:
        """Answer so from now on; text goes as text, attributes as JSON."""
        self.status, self.seconds = status, seconds
        is_text = isinstance(attributes, str)
        self.kind = "text/plain" if is_text else "application/json"
        self.body = (attributes if is_text else json.dumps(attributes or {})).encode()

    @contextlib.contextmanager
    def running(self) -> Iterator[FakeApp]:
        thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()
