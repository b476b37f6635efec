"""Where a block can be cut from another one: gaps, best fit, halves and neighbours. Pure.

Networks are text, as the database keeps them. A *gap* is a run of free addresses written as the
largest networks that fill it, so each gap is itself a network that could be cut out whole.
"""

import ipaddress
from collections.abc import Iterable, Sequence
from itertools import pairwise

from ipam.selection import Network, UnusableNetwork, parse_network

# More parts than this are no split but a pool of units.
MOST_PARTS = 256


def gaps(parent: str, taken: Iterable[str]) -> list[str]:
    """Return what is free of a network, as the fewest networks, by address.

    `taken` are networks inside it, which do not overlap.
    """
    block = parse_network(parent)
    free: list[str] = []
    begin = int(block.network_address)
    for first, last in [*sorted(_ends(network) for network in taken), (_end(block) + 1, 0)]:
        if first > begin:
            free += _networks(block, begin, first - 1)
        begin = max(begin, last + 1)
    return free


def best_fit(parent: str, taken: Iterable[str], length: int) -> str | None:
    """Return the free network of this length whose cutting breaks up least: None when none fits.

    It is the first one of the smallest gap that holds it, so that large gaps stay large.

    Raises:
        UnusableNetwork: the parent has no network of this length.
    """
    block = parse_network(parent)
    if not block.prefixlen <= length <= block.max_prefixlen:
        raise UnusableNetwork(f"no /{length} can be cut from {parent}")
    fitting = [gap for gap in map(parse_network, gaps(parent, taken)) if gap.prefixlen <= length]
    if not fitting:
        return None
    smallest = max(gap.prefixlen for gap in fitting)
    gap = next(gap for gap in fitting if gap.prefixlen == smallest)
    return f"{gap.network_address}/{length}"


def parts(network: str, length: int) -> list[str]:
    """Return the networks of a length that a network is made of.

    Raises:
        UnusableNetwork: the length is not longer, is no length of this family, or makes too many.
    """
    block = parse_network(network)
    if not block.prefixlen < length <= block.max_prefixlen:
        raise UnusableNetwork(
            f"{network} is split into lengths from /{block.prefixlen + 1} to "
            f"/{block.max_prefixlen}, not /{length}"
        )
    if length - block.prefixlen > MOST_PARTS.bit_length() - 1:
        raise UnusableNetwork(f"/{length} would make more than {MOST_PARTS} parts of {network}")
    return [str(part) for part in block.subnets(new_prefix=length)]


def joined(networks: Sequence[str]) -> str:
    """Return the network that these neighbours make together.

    Raises:
        UnusableNetwork: they are not the whole of one network.
    """
    blocks = sorted(map(parse_network, networks), key=lambda block: int(block.network_address))
    touch = all(
        one.version == other.version and _end(one) + 1 == int(other.network_address)
        for one, other in pairwise(blocks)
    )
    whole = sum(block.num_addresses for block in blocks)
    first, names = blocks[0], ", ".join(networks)
    if len(blocks) < 2 or not touch or whole & (whole - 1):
        raise UnusableNetwork(f"{names} are not the parts of one network")
    together = f"{first.network_address}/{first.max_prefixlen - whole.bit_length() + 1}"
    try:
        return str(parse_network(together))
    except UnusableNetwork as error:
        raise UnusableNetwork(
            f"{names} are neighbours, but not the parts of one network"
        ) from error


def coverage(parent: str, taken: Iterable[str], cells: int) -> list[float]:
    """Return how much of each of so many equal parts of a network is taken, from 0 to 1.

    `cells` is a power of two; a network with fewer addresses has as many parts as it has addresses.
    `taken` are networks inside it, which do not overlap.
    """
    block = parse_network(parent)
    count = min(cells, block.num_addresses)
    size, base = block.num_addresses // count, int(block.network_address)
    filled = [0] * count
    for first, last in map(_ends, taken):
        begin, end = first - base, last - base
        for cell in range(begin // size, end // size + 1):
            filled[cell] += min(end, (cell + 1) * size - 1) - max(begin, cell * size) + 1
    return [part / size for part in filled]


def _ends(network: str) -> tuple[int, int]:
    block = parse_network(network)
    return int(block.network_address), _end(block)


def _end(block: Network) -> int:
    return int(block.network_address) + block.num_addresses - 1


def _networks(block: Network, first: int, last: int) -> list[str]:
    """Write a run of addresses as the fewest networks."""
    address = type(block.network_address)
    runs = ipaddress.summarize_address_range(address(first), address(last))
    return [str(run) for run in runs]


def length_of(network: str) -> int:
    """Return the length of a network: 24 of 192.0.2.0/24."""
    return parse_network(network).prefixlen
