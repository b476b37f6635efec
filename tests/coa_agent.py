"""An access server's listener for changes and disconnects (RFC 5176), for tests.

It checks what it is sent as a real one does: the authenticator, the Message-Authenticator and the
session's id. In the test's process it is `Agent`; as a process of its own
(`python -m tests.coa_agent --secret S --change ack --disconnect nak503`) it prints its port, then
each packet as a line of JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pyrad import packet
from pyrad.dictionary import Dictionary

import provisioning.network

DICTIONARY = Path(provisioning.network.__file__).with_name("coa.dictionary")
SECRET = "what-only-the-two-of-them-know"
NAMES = {packet.CoARequest: "change", packet.DisconnectRequest: "disconnect"}


class Agent:
    """Answers each kind of packet in its way: ack, nak, nak503, silent, slow, twice or forged.

    One that is `late` does not answer the first packet, and acknowledges all others.

    With a `clock` it throws away what it takes for a replay. `heard` is called with each packet
    before it is answered.
    """

    def __init__(
        self,
        *,
        secret: str = SECRET,
        change: str = "ack",
        disconnect: str = "ack",
        clock: Callable[[], float] | None = None,
        heard: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        self.secret = secret
        self.clock = clock
        self.ways = {"change": change, "disconnect": disconnect}
        self.packets: list[dict[str, Any]] = []
        self.heard = heard or (lambda _: None)
        self._dictionary = Dictionary(str(DICTIONARY))
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._answers: dict[bytes, bytes] = {}

    def serve(self) -> None:
        """Answer until the socket is closed."""
        while True:
            try:
                raw, sender = self._socket.recvfrom(4096)
            except OSError:
                return
            if not raw:
                return
            with contextlib.suppress(OSError):  # it was closed before it had answered
                self._take(raw, sender)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _take(self, raw: bytes, sender: Any) -> None:
        asked = packet.CoAPacket(packet=raw, secret=self.secret.encode(), dict=self._dictionary)
        if not asked.VerifyCoARequest() or not asked.verify_message_authenticator():
            return  # RFC 5176, 2.3: silently
        if raw in self._answers:  # a retransmission: the first answer again, and no second effect
            self._socket.sendto(self._answers[raw], sender)
            return
        sent_at = asked["Event-Timestamp"][0] if "Event-Timestamp" in asked else None
        if self.clock and sent_at and abs(sent_at - self.clock()) > 300:
            return  # RFC 5176, 3.3: silently
        kind = NAMES[asked.code]
        names = [str(name) for name in asked.keys()]  # noqa: SIM118 (iterating gives codes)
        said = {name: asked[name] for name in names if name != "Message-Authenticator"}
        self.packets.append({"kind": kind} | said)
        self.heard(self.packets[-1])
        way = self.ways[kind]
        is_first = len([heard for heard in self.packets if heard["kind"] == kind]) == 1
        if way == "silent" or (way == "late" and is_first):
            return
        if way == "slow":
            time.sleep(0.4)
        answer = self._answer(asked, way)
        self._answers[raw] = answer
        self._socket.sendto(answer, sender)
        if way == "twice":
            self._socket.sendto(answer, sender)

    def _answer(self, asked: packet.CoAPacket, way: str) -> bytes:
        reply = asked.CreateReply()
        if way.startswith("nak"):
            is_change = asked.code == packet.CoARequest
            reply.code = packet.CoANAK if is_change else packet.DisconnectNAK
            reply["Error-Cause"] = int(way.removeprefix("nak") or 501)
        if way == "forged":
            reply.secret = b"what-a-stranger-guesses"
        return bytes(reply.ReplyPacket())


@contextlib.contextmanager
def running(**ways: Any) -> Iterator[Agent]:
    """An agent in a thread of this process."""
    agent = Agent(**ways)
    thread = threading.Thread(target=agent.serve, daemon=True)
    thread.start()
    try:
        yield agent
    finally:
        agent.close()
        thread.join(timeout=5)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--secret", default=SECRET)
    parser.add_argument("--change", default="ack")
    parser.add_argument("--disconnect", default="ack")

    def say(heard: dict[str, Any]) -> None:
        print(json.dumps(heard), flush=True)

    agent = Agent(heard=say, **vars(parser.parse_args()))
    print(agent.port, flush=True)
    agent.serve()


if __name__ == "__main__":
    sys.exit(main())
