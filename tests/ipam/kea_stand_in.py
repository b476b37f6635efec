"""A stand-in for Kea's control channel: keeps a configuration, and can be ill in several ways."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SUBNET = "10.9.0.0/16"
WELL = "well"
# How it can be ill; see `_say` and `_answer`.
MOODS = ("hangs", "drips", "garbage", "halves", "shapeless", "wordless", "refuses")


class StandIn:
    """One Kea server of DHCPv4 without a configuration backend, on a socket in this folder."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "kea4.socket")
        self.mood = WELL
        self.asked: list[str] = []
        self.configuration: dict[str, Any] = {
            "Dhcp4": {"subnet4": [{"id": 1, "subnet": SUBNET, "pools": []}]}
        }
        self._stop = threading.Event()

    @property
    def pools(self) -> list[str]:
        return [pool["pool"] for pool in self.configuration["Dhcp4"]["subnet4"][0]["pools"]]

    @contextmanager
    def running(self) -> Iterator[StandIn]:
        """Listen until the block ends; then nobody does."""
        self._stop.clear()
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(self.path)
            listener.listen()
            listener.settimeout(0.05)
            thread = threading.Thread(target=self._serve, args=[listener], daemon=True)
            thread.start()
            try:
                yield self
            finally:
                self._stop.set()
                thread.join()
                Path(self.path).unlink()

    def _serve(self, listener: socket.socket) -> None:
        while not self._stop.is_set():
            with contextlib.suppress(TimeoutError, OSError):
                caller, _ = listener.accept()
                threading.Thread(target=self._talk, args=[caller], daemon=True).start()

    def _talk(self, caller: socket.socket) -> None:
        with caller, contextlib.suppress(OSError):
            heard = b"".join(iter(lambda: caller.recv(65_536), b""))
            self._say(caller, json.loads(heard))

    def _say(self, caller: socket.socket, heard: dict[str, Any]) -> None:
        self.asked.append(heard["command"])
        said = json.dumps(self._answer(heard)).encode()
        match self.mood:
            case "hangs":
                self._stop.wait(30)
            case "drips":
                for octet in said:
                    caller.sendall(bytes([octet]))
                    time.sleep(0.02)
            case "garbage":
                caller.sendall(b"\x00\xff<html>502 Bad Gateway</html>")
            case "halves":
                caller.sendall(said[: len(said) // 2])
            case _:
                caller.sendall(said)

    def _answer(self, heard: dict[str, Any]) -> Any:
        if self.mood == "shapeless":
            return {"result": 0, "arguments": {"Dhcp4": {"subnet4": [{"id": 1}, 7]}}}
        if self.mood == "wordless":
            return {"result": 0, "arguments": ["Dhcp4"]}
        if self.mood == "refuses" and heard["command"] == "config-set":
            return {"result": 1, "text": "the pool overlaps another one"}
        commands: dict[str, Callable[[], Any]] = {
            "config-get": lambda: self.configuration,
            "config-set": lambda: self.configuration.update(heard["arguments"]),
            "stat-lease4-get": lambda: {"result-set": {"columns": [], "rows": []}},
        }
        said = commands.get(heard["command"], dict)()
        return {"result": 0, "arguments": said or {}}
