"""Whether a running address server is called now; the operator's limits, see `ispops.gates`.

A server that fails several times in a row is left alone for a while: what is to be told to it waits
on, which counts as no attempt, and the other servers are not kept waiting by it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from django.db import transaction

from ipam.models import AddressServer
from ispops import gates
from ispops.errors import PermanentFault, TransientFault

# What Kea servers are called among the systems outside.
GATE = "kea:"
CALLED_AT_ONCE = 4


class LeftAlone(TransientFault):
    """The server is not called, because it failed lately; `until` is when it is tried again."""

    def __init__(self, server: AddressServer, until: datetime) -> None:
        super().__init__(f"{server} is left alone until {until:%H:%M:%S} UTC, because it failed.")
        self.until = until


@contextmanager
def calling(server: AddressServer, family: int, *, at: datetime) -> Iterator[None]:
    """Call a server within the block; what comes of it is noted. Not inside a transaction.

    A RADIUS server asks us, so it is never called.

    Raises:
        LeftAlone: not now.
    """
    if server.kind == AddressServer.Kind.RADIUS:
        yield
        return
    gate = gates.Gate(
        f"{GATE}{server.name}:{family}", f"Kea of {server} (DHCPv{family})", CALLED_AT_ONCE
    )
    with transaction.atomic():
        until = gates.admit(gate, running=0, at=at)
    if until is not None:
        raise LeftAlone(server, until)
    try:
        yield
    except TransientFault as fault:
        gates.report(gate, fault="" if fault.system_answered else str(fault), at=at)
        raise
    except PermanentFault:
        gates.report(gate, at=at)
        raise
    gates.report(gate, at=at)
