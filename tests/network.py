"""A network that ends at this machine: loopback and Unix sockets work, all else raises at once."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from collections.abc import Iterator
from typing import Any


class NetworkClosed(RuntimeError):
    """A test, or the product under test, tried to reach another machine."""


@contextlib.contextmanager
def closed() -> Iterator[None]:
    """Close the network of this process for as long as the block lasts."""
    connect, connect_ex, getaddrinfo = (
        socket.socket.connect,
        socket.socket.connect_ex,
        socket.getaddrinfo,
    )

    def guarded_connect(self: socket.socket, address: Any) -> None:
        _require_local(self.family, address)
        connect(self, address)

    def guarded_connect_ex(self: socket.socket, address: Any) -> int:
        _require_local(self.family, address)
        return connect_ex(self, address)

    def guarded_getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        _require_local_name(host)
        return getaddrinfo(host, *args, **kwargs)

    socket.socket.connect = guarded_connect  # type: ignore[method-assign]
    socket.socket.connect_ex = guarded_connect_ex  # type: ignore[method-assign]
    socket.getaddrinfo = guarded_getaddrinfo
    try:
        yield
    finally:
        socket.socket.connect = connect  # type: ignore[method-assign]
        socket.socket.connect_ex = connect_ex  # type: ignore[method-assign]
        socket.getaddrinfo = getaddrinfo


def _require_local(family: int, address: Any) -> None:
    if family in (socket.AF_INET, socket.AF_INET6):
        _require_local_name(address[0])


def _require_local_name(host: Any) -> None:
    name = host.decode() if isinstance(host, bytes) else host
    if name in (None, "", "localhost", socket.gethostname()):
        return
    with contextlib.suppress(ValueError):
        if ipaddress.ip_address(name.split("%")[0]).is_loopback:
            return
    raise NetworkClosed(f"Tests reach no other machine, and this one tried {name}.")
