"""Where calls to partners may go: to the public internet by https, never into our own network."""

import ipaddress
import socket
from urllib.parse import urlsplit

from django.conf import settings

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
    a name leads is seen when something is sent, by `check_destination`.

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


def check_destination(url: str, *, field: str) -> None:
    """Look where an address leads today: a partner's name must not lead into our own network.

    Raises:
        DestinationRefused: see `check_url`.
        OSError: the name leads nowhere, or into our network.
    """
    check_url(url, field=field)
    if settings.WEBHOOKS_MAY_STAY_LOCAL:
        return
    parts = urlsplit(url)
    try:
        found = socket.getaddrinfo(parts.hostname, parts.port or 443, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise OSError(f"{parts.hostname} is no name of a host") from error
    for *_, address in found:
        if not may_be_reached(str(address[0])):
            raise ConnectionRefusedError(
                f"{parts.hostname} leads to {address[0]}, inside our network"
            )


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
