"""Where calls to partners may go: to the public internet by https, never into our own network."""

import ipaddress
import socket
from typing import Any, ClassVar
from urllib.parse import urlsplit

import requests
from django.conf import settings
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

from ispops.errors import InvalidInput

# What NAT64 translates (RFC 6052), and what Python takes for public: addresses that stand for an
# IPv4 address in forms long given up (RFC 4291, RFC 2765), and those of a site (RFC 3879).
_TRANSLATED = ipaddress.IPv6Network("64:ff9b::/96")
_OLD_IPV6 = tuple(
    ipaddress.IPv6Network(network) for network in ("::/96", "::ffff:0:0:0/96", "fec0::/10")
)


class DestinationRefused(InvalidInput):
    code = "destination_refused"
    title = "Nothing may be sent to this address"


def check_url(url: str, *, field: str) -> None:
    """Refuse an address to which we must not send, whoever wrote it.

    What is refused: anything but https, credentials in the address, and this machine or a private
    network by number. Local addresses are allowed where `WEBHOOKS_MAY_STAY_LOCAL` says so; where
    a name leads is seen when something is sent, by `session_to`.

    Raises:
        DestinationRefused: on `field`; says which of them it is.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError as error:
        raise DestinationRefused(f"This is no web address: {error}.", field=field) from error
    local = settings.WEBHOOKS_MAY_STAY_LOCAL
    if parts.scheme != "https" and not (local and parts.scheme == "http"):
        raise DestinationRefused("The address must begin with https://.", field=field)
    if parts.username or parts.password or not host:
        raise DestinationRefused(
            "The address must name a host, and no user or password.", field=field
        )
    if not local and (host == "localhost" or not may_be_reached(host)):
        raise DestinationRefused("The address must be on the public internet.", field=field)


def require_secret_for_new_host(before: str, after: str, *, kept: bool, field: str) -> None:
    """Refuse to take a secret along to another host, where whoever wrote the address may read it.

    `kept` says that there is a secret and no new one was given.

    Raises:
        InvalidInput: on `field`.
    """
    if kept and not is_same_host(before, after):
        raise InvalidInput(
            "The address names another host. Enter the secret that is meant for it.", field=field
        )


def is_same_host(one: str, other: str) -> bool:
    """Say whether two web addresses lead to the same port of the same host in the same way."""
    first, second = (urlsplit(url) for url in (one, other))
    usual = {"https": 443, "http": 80}
    return (first.scheme, first.hostname, first.port or usual.get(first.scheme)) == (
        second.scheme, second.hostname, second.port or usual.get(second.scheme)
    )  # fmt: skip


def session_to(url: str, *, field: str) -> requests.Session:
    """Return a session for calls to one address, after a look at where it leads today.

    A partner's name must not lead into our own network. So it is looked up once, and the session
    connects to what was found: a name that leads elsewhere a moment later is not followed there.
    The certificate is still asked for the name.

    Raises:
        DestinationRefused: see `check_url`.
        OSError: the name leads nowhere, or into our network.
    """
    check_url(url, field=field)
    session = requests.Session()
    # Neither proxies nor passwords of this machine's files belong into a partner's call.
    session.trust_env = False
    if not settings.WEBHOOKS_MAY_STAY_LOCAL:
        adapter = _Pinned(_addresses_of(url))
        session.mount("https://", adapter)
        session.mount("http://", adapter)
    return session


def _addresses_of(url: str) -> tuple[str, ...]:
    parts = urlsplit(url)
    try:
        found = socket.getaddrinfo(parts.hostname, parts.port or 443, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise OSError(f"{parts.hostname} is no name of a host") from error
    addresses = tuple(str(address[0]) for *_, address in found)
    for address in addresses:
        if not may_be_reached(address):
            raise ConnectionRefusedError(f"{parts.hostname} leads to {address}, inside our network")
    return addresses


class _ToAddresses:
    """A connection that goes to the first of some addresses that takes it, under its own name."""

    addresses: ClassVar[tuple[str, ...]]
    _dns_host: str

    def _new_conn(self) -> socket.socket:
        # Only what is connected to is another: the header and the certificate keep the name.
        name, failure = self._dns_host, None
        try:
            for address in self.addresses:
                self._dns_host = address
                try:
                    connected: socket.socket = super()._new_conn()  # type: ignore[misc]
                except (NewConnectionError, ConnectTimeoutError) as error:
                    failure = error
                else:
                    return connected
        finally:
            self._dns_host = name
        raise failure or OSError(f"{name} leads nowhere")


class _Pinned(HTTPAdapter):
    """Connects to the addresses that were looked at, whatever the name leads to by then."""

    def __init__(self, addresses: tuple[str, ...]) -> None:
        self._addresses = addresses
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        kinds = ((HTTPConnectionPool, HTTPConnection), (HTTPSConnectionPool, HTTPSConnection))
        self.poolmanager.pool_classes_by_scheme = {
            pool.scheme: type(
                pool.__name__,
                (pool,),
                {
                    "ConnectionCls": type(
                        connection.__name__,
                        (_ToAddresses, connection),
                        {"addresses": self._addresses},
                    )
                },
            )
            for pool, connection in kinds
        }


def may_be_reached(address: str) -> bool:
    """Say whether a numeric address is public; a name is, as far as can be seen from it."""
    try:
        number = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return True
    if isinstance(number, ipaddress.IPv6Address):
        if any(number in network for network in _OLD_IPV6):
            return False
        number = _inside(number) or number
    return number.is_global and not number.is_multicast


def _inside(number: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """Return the IPv4 address that an IPv6 address leads to by a translator or a tunnel."""
    if number in _TRANSLATED:
        return ipaddress.IPv4Address(int(number) & 0xFFFF_FFFF)
    return number.ipv4_mapped or number.sixtofour
