"""A network's order desk on a loopback port, played by the demonstration's server in a thread."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ispops.demo import bsp_orders, bsp_server
from ispops.demo.bsp_orders import OrderDesk
from ispops.demo.bsp_partner import Isp
from ispops.demo.bsp_partner import Partner as Program
from ispops.parties.models import Partner
from provisioning import delivering, delivery_connections
from provisioning.models import DeliveryConnection

TOKEN = "ours-at-the-network"
CALLBACK_TOKEN = "the-network-calls-with-this"


@dataclass
class Desk:
    """The desk, and the switch of its faults."""

    program: Program
    url: str

    @property
    def orders(self) -> list[dict[str, Any]]:
        assert self.program.desk is not None
        return list(self.program.desk.orders.values())

    @property
    def told(self) -> list[int]:
        """What the ISP's listener answered to each callback."""
        assert self.program.desk is not None
        return [status for _, status in self.program.desk.told]

    def misbehave(self, fault: str, *, seconds: float = 0.3) -> None:
        self.program.fault, self.program.slow_seconds = fault, seconds

    def has(self, state: str) -> bool:
        return [order["state"] for order in self.orders] == [state]


@contextlib.contextmanager
def order_desk(callback_url: str = "", work_seconds: float = 0.02) -> Iterator[Desk]:
    program = Program(
        code="network", name="Network", kind="network_provider", webhook_secret="whsec_eA==",
        isp=Isp("http://127.0.0.1:9", "network", "x"),
        desk=OrderDesk(TOKEN, callback_url, CALLBACK_TOKEN, work_seconds=work_seconds),
    )  # fmt: skip
    server = bsp_server.make_server({"network": program}, 0)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}/network/{bsp_orders.API}"
    try:
        yield Desk(program, address)
    finally:
        program.fault = "silent"
        server.shutdown()
        server.server_close()


def connect(partner: Partner, desk: Desk, *, at: datetime, **settings: Any) -> DeliveryConnection:
    return delivery_connections.connect_delivery(
        partner=partner,
        base_url=desk.url,
        at=at,
        **({"token": TOKEN, "callback_token": CALLBACK_TOKEN, "timeout_seconds": 5} | settings),
    )


def deliver(*, at: datetime) -> int:
    """Do what workers would do: every visit that is due at this time."""
    done = 0
    while delivering.deliver_next(at=at):
        done += 1
        assert done < 50, "the visits do not end"
    return done


def until(answer: Callable[[], Any], *, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not answer():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)
