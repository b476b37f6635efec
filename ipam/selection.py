"""What can be computed about addresses: devices, slots, extents of free slots. Pure.

A *slot* is the number of one handed-out unit inside its block: slot n of 100.64.0.0/10 by
single addresses is the n-th address, slot n of 2001:db8::/32 by /56 is the n-th delegated prefix.
An *extent* is a run of free slots, both ends included. Extents never reach over the edge of a
*shard*, a fixed part of the pool, so that askers who start in different shards never meet.
"""

import ipaddress
import re
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

IPv4, IPv6 = 4, 6
BITS = {IPv4: 32, IPv6: 128}
# A slot is a PostgreSQL bigint, and so is the sum of all slots of a pool.
MOST_SLOT_BITS = 62
MOST_SHARDS = 64
SLOTS_PER_SHARD = 8

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# RFC 2865 lets an attribute hold 253 octets; RFC 8415 lets a DUID have 130, two digits each.
DEVICE_MAX_LENGTH = 260
_LONGEST_TEXT = 253
_DUID_OCTETS = range(3, 131)
_SEPARATED = re.compile(r"[0-9a-f]{2}([:-])[0-9a-f]{2}(?:\1[0-9a-f]{2})*")
_DOTTED_OR_PLAIN = re.compile(r"[0-9a-f]{4}\.[0-9a-f]{4}\.[0-9a-f]{4}|(?:[0-9a-f]{2})+")
_HALVES = re.compile(r"[0-9a-f]{6}[-:][0-9a-f]{6}")
_NOBODY = {"0" * 12, "f" * 12}


class UnusableDevice(ValueError):
    """A device identifier that names no device; the message says why, for a person."""


class UnusableNetwork(ValueError):
    """A network that cannot be a block or cannot be cut as asked; the message says why."""


# --- Devices ------------------------------------------------------------------------------------


def normalise_device(text: str) -> str:
    """Turn a Calling-Station-Id, a MAC address or a DUID into the one name of that device.

    A MAC address in any usual spelling (colons, dashes, Cisco's dots, plain, or as the DHCP client
    identifier with its hardware type 01 in front) becomes `aa:bb:cc:dd:ee:ff`. A DUID (RFC 8415)
    becomes its lower-case digits without separators. Any other printable ASCII text, such as a
    circuit id or an IP address, is kept in lower case. Two spellings of one device give one name.

    Raises:
        UnusableDevice: empty, longer than RADIUS allows, not printable ASCII, or an address that
            belongs to nobody (all zeros, broadcast).
    """
    stripped = text.strip()
    if not stripped:
        raise UnusableDevice("the request names no device")
    digits = _hex_digits(stripped.lower())
    if digits is not None:
        return _from_digits(digits)
    if len(stripped) > _LONGEST_TEXT:
        raise UnusableDevice("the device identifier is longer than 253 characters")
    if not (stripped.isascii() and stripped.isprintable()):
        raise UnusableDevice("the device identifier has characters that cannot be printed")
    return " ".join(stripped.lower().split())


def _hex_digits(text: str) -> str | None:
    """The digits of a MAC address or DUID, or None when the text is neither."""
    if not any(form.fullmatch(text) for form in (_SEPARATED, _DOTTED_OR_PLAIN, _HALVES)):
        return None
    digits = re.sub(r"[:.-]", "", text)
    return digits if len(digits) // 2 in _DUID_OCTETS else None


def _from_digits(digits: str) -> str:
    if len(digits) == 14 and digits.startswith("01"):
        digits = digits[2:]
    if len(digits) == 12:
        if digits in _NOBODY:
            raise UnusableDevice("the hardware address belongs to no device")
        return ":".join(digits[i : i + 2] for i in range(0, 12, 2))
    return digits


# --- Slots --------------------------------------------------------------------------------------


@lru_cache(maxsize=1024)
def parse_network(text: str) -> Network:
    """Read a network such as 100.64.0.0/10, or a single address.

    Raises:
        UnusableNetwork: it is no network, its prefix is too long, it is not its first
            address, or it names an interface (RFC 4007), which means something on one machine only.
    """
    try:
        network = ipaddress.ip_network(text.strip(), strict=False)
    except ValueError as error:
        raise UnusableNetwork(
            f"{text!r} is no network; write one like 100.64.0.0/10 or 2001:db8::/32"
        ) from error
    if "%" in text:
        raise UnusableNetwork(f"{text!r} cannot be a block: it names an interface")
    if not _begins_there(text, network):
        raise UnusableNetwork(f"{text!r} is an address inside of a network; write {network}")
    return network


def _begins_there(text: str, network: Network) -> bool:
    """Whether a text names a network by its first address, and not by one inside of it."""
    return ipaddress.ip_address(text.strip().partition("/")[0]) == network.network_address


def parse_address(text: str) -> str:
    """Read one address, and return its usual spelling.

    Raises:
        UnusableNetwork: it is none, or it names an interface.
    """
    network = parse_network(text)
    if "/" in text:
        raise UnusableNetwork(f"{text!r} is a network")
    return str(network.network_address)


def is_inside(network: str, parent: str) -> bool:
    """Say whether a network lies inside another one, or is the same; families never mix."""
    inner, outer = parse_network(network), parse_network(parent)
    return inner.version == outer.version and inner.subnet_of(outer)  # type: ignore[arg-type]


def slot_count(network: str, unit_length: int) -> int:
    """Return into how many units a network is cut, usable or not: a power of two.

    Raises:
        UnusableNetwork: the unit is larger than the block or longer than an address, or there
            would be more units than a slot number can count.
    """
    block = parse_network(network)
    if not block.prefixlen <= unit_length <= block.max_prefixlen:
        raise UnusableNetwork(f"{network} cannot be cut into /{unit_length}")
    if unit_length - block.prefixlen > MOST_SLOT_BITS:
        raise UnusableNetwork(f"{network} has too many /{unit_length} to count: take larger units")
    return 1 << (unit_length - block.prefixlen)


def usable_slots(network: str, unit_length: int) -> tuple[int, int]:
    """Return the first and the last slot that may be handed out.

    Of an IPv4 block of single addresses the network and the broadcast address are left out,
    because much equipment refuses them (RFC 3021 makes a /31 the exception).
    """
    count = slot_count(network, unit_length)
    if unit_length == BITS[IPv4] and "." in network and count > 2:
        return 1, count - 2
    return 0, count - 1


def address_of(network: str, unit_length: int, slot: int) -> str:
    """Return the unit with this number as a network: 100.64.0.7/32, 2001:db8:0:700::/56.

    Raises:
        UnusableNetwork: the block has no such slot.
    """
    if not 0 <= slot < slot_count(network, unit_length):
        raise UnusableNetwork(f"{network} has no /{unit_length} number {slot}")
    block = parse_network(network)
    first = int(block.network_address) + (slot << (block.max_prefixlen - unit_length))
    # The class and not ip_address(), which would take a small IPv6 number for IPv4.
    return f"{type(block.network_address)(first)}/{unit_length}"


def slot_of(network: str, unit_length: int, address: str) -> int:
    """Return the number of the unit that holds an address: the inverse of `address_of`.

    Raises:
        UnusableNetwork: the address is not inside the block.
    """
    block = parse_network(network)
    unit = parse_network(address)
    if unit.version != block.version or unit.network_address not in block:
        raise UnusableNetwork(f"{address} is not inside {network}")
    offset = int(unit.network_address) - int(block.network_address)
    return offset >> (block.max_prefixlen - unit_length)


# --- Extents and shards -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Extent:
    """A run of free slots, both ends included; `key` names the row it came from, if any."""

    first: int
    last: int
    key: int | None = None

    def __post_init__(self) -> None:
        if self.last < self.first:
            raise ValueError(f"an extent holds at least one slot: {self.first} to {self.last}")

    def __contains__(self, slot: int) -> bool:
        return self.first <= slot <= self.last


def shard_size(slots: int) -> int:
    """Return how many slots one shard of a pool has: at most 64 shards, of at least 8 slots.

    64 shards are enough that askers hardly meet, and few enough that a pool that is all free is
    64 rows, whatever its size. `slots` is what `slot_count` gives, a power of two.
    """
    return slots // max(1, min(MOST_SHARDS, slots // SLOTS_PER_SHARD))


def starting_point(name: str, slots: int) -> int:
    """Return the last slot of the shard in which an asker of this name begins to look.

    The same asker begins in the same shard every time, so it tends to meet its old address;
    different askers are spread evenly.
    """
    size = shard_size(slots)
    return (zlib.crc32(name.encode()) % (slots // size) + 1) * size - 1


def shards(first: int, last: int, size: int) -> list[Extent]:
    """Cut a run of slots at the edges of the shards."""
    edges = range((first // size + 1) * size, last + 1, size)
    starts = [first, *edges]
    ends = [edge - 1 for edge in edges] + [last]
    return [Extent(start, end) for start, end in zip(starts, ends, strict=True)]


def cut(extent: Extent, slot: int) -> list[Extent]:
    """Return what is left of an extent without one of its slots: nothing, one or two extents.

    Raises:
        ValueError: the slot is not in the extent.
    """
    if slot not in extent:
        raise ValueError(f"slot {slot} is not between {extent.first} and {extent.last}")
    left = [Extent(extent.first, slot - 1)] if extent.first < slot else []
    right = [Extent(slot + 1, extent.last)] if slot < extent.last else []
    return left + right


def gaps(first: int, last: int, taken: Iterable[int], size: int) -> list[Extent]:
    """Return what is left of a run of slots without those that are taken, cut into shards."""
    left, start = [], first
    for slot in sorted({slot for slot in taken if first <= slot <= last}):
        if start < slot:
            left += shards(start, slot - 1, size)
        start = slot + 1
    return left + (shards(start, last, size) if start <= last else [])


def runs(slots: Iterable[int], size: int) -> list[Extent]:
    """Join single slots to the longest runs that stay inside their shards."""
    return join([Extent(slot, slot) for slot in set(slots)], size)


def join(extents: Sequence[Extent], size: int) -> list[Extent]:
    """Join extents that touch inside one shard, in order; the result carries no keys.

    Raises:
        ValueError: two of them overlap: a slot would be free twice.
    """
    joined: list[Extent] = []
    for extent in sorted(extents, key=lambda each: each.first):
        before = joined[-1] if joined else None
        if before and extent.first <= before.last:
            raise ValueError(f"slot {extent.first} would be free twice")
        if before and extent.first == before.last + 1 and extent.first % size:
            joined[-1] = Extent(before.first, extent.last)
        else:
            joined.append(Extent(extent.first, extent.last))
    return joined
