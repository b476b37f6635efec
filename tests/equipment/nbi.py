"""A stand-in for GenieACS's northbound interface, with its statuses, words and shapes.

Written after its published source (lib/nbi.ts of 1.2): a task that a device has done is 200 and
gone from the queue; one that waits is 202 and stays; a device that is not known is 404, in words.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit


@dataclass
class Nbi:
    """Its devices by id, what they have, what waits for them, and how it behaves just now."""

    devices: dict[str, str] = field(default_factory=dict)
    has: dict[str, dict[str, str]] = field(default_factory=dict)
    queue: dict[str, dict[str, Any]] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)
    away: set[str] = field(default_factory=set)
    refusing: str = ""
    slow_seconds: float = 0
    status: int = 0
    asked: list[str] = field(default_factory=list)
    tokens: set[str | None] = field(default_factory=set)
    url: str = ""

    def answer(self, method: str, target: str, body: Any) -> tuple[int, str, Any]:
        parts = urlsplit(target)
        self.asked.append(f"{method} {parts.path}")
        if self.status:
            return self.status, "", "in trouble"
        path = [unquote(part) for part in parts.path.strip("/").split("/")]
        if method == "GET":
            query = json.loads(parse_qs(parts.query)["query"][0])
            return 200, "OK", self._found(path[0], query)
        if method == "DELETE":
            known = self.queue.pop(path[1], None)
            self.faults.pop(f"{known['device']}:task_{path[1]}", None) if known else None
            return (200, "OK", None) if known else (404, "", "Task not found")
        return self._task(path[1], body)

    def _found(self, collection: str, query: dict[str, str]) -> list[dict[str, Any]]:
        if collection == "devices":
            serial = query["_deviceId._SerialNumber"]
            return [{"_id": key} for key, value in self.devices.items() if value == serial]
        if collection == "faults":
            said = self.faults.get(query["_id"])
            return [{"_id": query["_id"], "code": "cwmp.9003", "message": said}] if said else []
        return [task for task in self.queue.values() if task["device"] == query["device"]]

    def _task(self, device: str, body: dict[str, Any]) -> tuple[int, str, Any]:
        if device not in self.devices:
            return 404, "", "No such device"
        time.sleep(self.slow_seconds)
        task = body | {"device": device, "_id": f"{len(self.asked):024x}"}
        if device in self.away:
            self.queue[task["_id"]] = task
            return 202, "Device is offline", task
        if self.refusing:
            self.queue[task["_id"]] = task
            self.faults[f"{device}:task_{task['_id']}"] = self.refusing
            return 202, "Task faulted", task
        self.has.setdefault(device, {}).update(
            {path: value for path, value, _ in task["parameterValues"]}
        )
        return 200, "OK", task


@contextmanager
def running() -> Iterator[Nbi]:
    nbi = Nbi()

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            nbi.tokens.add(self.headers.get("authorization"))
            length = int(self.headers.get("content-length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            status, reason, said = nbi.answer(self.command, self.path, body)
            text = said if isinstance(said, str) else json.dumps(said) if said is not None else ""
            self.send_response(status, reason or None)
            self.send_header("content-length", str(len(text.encode())))
            # Whoever asked may have lost patience.
            with suppress(ConnectionError):
                self.end_headers()
                self.wfile.write(text.encode())

        do_GET = do_POST = do_DELETE = _serve

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    nbi.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield nbi
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
