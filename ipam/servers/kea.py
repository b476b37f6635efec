"""A Kea server (2.2) of one family: its pools, how full they are, whom it served and refused.

With a configuration backend a pool is a row there, and the running server is told to fetch it;
without one the server is given its whole configuration anew over its control socket, which takes
longer, drops packets meanwhile and needs a configuration file that Kea may write.
"""

import contextlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import wraps
from ipaddress import ip_address, ip_network
from typing import Any, ParamSpec, TypeVar

from ipam import selection
from ipam.servers import kea_backend, kea_control, kea_files, tailing
from ipam.servers.base import (
    Holder,
    Lease,
    NotLiveYet,
    Position,
    Range,
    RangeInUse,
    Refusal,
    Refused,
    ServerAway,
    ServerRefused,
    Use,
)

# What deploy/kea calls those whom a pool of this purpose is for. In `nobody` is nobody: an address
# of such a pool is given by reservation only. In `line` are the devices that Kea knows (KNOWN).
CLASSES = {
    "dynamic": "nobody",
    "static": "nobody",
    "walled_garden": "garden",
    "leased": "line",
    "prefix": "",
}
# The numbers of subnets that are made for one range begin here; smaller ones are the operator's.
OWN_SUBNETS = 1_000_000
LOOKS_EVERY_SECONDS = 0.1
_GIVEN, _DECLINED = 0, 1
P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a Kea server is, and what of its configuration is ours."""

    family: int
    control_socket: str
    # Its configuration backend: postgresql://user:password@host/database. Empty where it has none.
    config_url: str
    server_tag: str
    # The subnet into which ranges go that lie in it (IPv4), or all of them (IPv6).
    subnet_id: int
    subnet: str
    # Of which a range outside that subnet becomes a subnet of its own.
    shared_network: str
    lease_file: str = ""
    log_file: str = ""


@dataclass(frozen=True, slots=True)
class PrefixPool:
    """A pool of prefixes that are delegated (DHCPv6); `client_class` as of other pools."""

    prefix: str
    length: int
    delegated_length: int
    client_class: str


AnyPool = kea_backend.Pool | PrefixPool


def subnet_of(place: Place, given: Range) -> kea_backend.Subnet:
    """Return the subnet that a range is in, or that is made for it.

    Raises:
        ServerRefused: it is outside the subnet, and there is no shared network to make one in.
    """
    number, prefix = place.subnet_id, place.subnet
    if given.family == selection.IPv4 and not selection.is_inside(given.network, place.subnet):
        if not place.shared_network:
            raise ServerRefused(
                f"{given.network} is outside {place.subnet}, the subnet of this server, which is "
                "of no shared network. Name its shared network, or choose a block inside."
            )
        number, prefix = OWN_SUBNETS + given.number, given.network
    return kea_backend.Subnet(number, prefix, place.shared_network, place.server_tag)


def pool_of(given: Range) -> AnyPool:
    """Return a range as Kea writes it: without the ends that nobody can use."""
    # The server for DHCPv6 knows no classes of ours.
    name = CLASSES[given.purpose] if given.family == selection.IPv4 else ""
    if _is_of_prefixes(given):
        prefix, _, length = given.network.partition("/")
        return PrefixPool(prefix, int(length), given.unit_length, name)
    first, last = (
        selection.address_of(given.network, given.unit_length, slot).partition("/")[0]
        for slot in selection.usable_slots(given.network, given.unit_length)
    )
    return kea_backend.Pool(first, last, name)


def _is_of_prefixes(given: Range) -> bool:
    """Say whether a range is handed out as delegated prefixes, and not address by address."""
    return given.family == selection.IPv6 and given.unit_length < selection.BITS[selection.IPv6]


def _understood(method: Callable[P, R]) -> Callable[P, R]:
    """Let what answers, and not as Kea does, be a fault of the server and not ours."""

    @wraps(method)
    def asked(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return method(*args, **kwargs)
        except (LookupError, TypeError, AttributeError, ValueError) as odd:
            raise ServerAway(f"Kea answers in no form of Kea's: {odd!r:.100}") from odd

    return asked


class Kea:
    """An `ipam.servers.base.AddressServerAdapter`."""

    def __init__(self, place: Place) -> None:
        self.place = place

    @_understood
    def add_range(self, wanted: Range) -> Any:
        subnet, pool = subnet_of(self.place, wanted), pool_of(wanted)
        if isinstance(pool, PrefixPool) or not self.place.config_url:
            return self._set_configuration(lambda running: _with(running, subnet, pool))
        self._require_ours(subnet)
        said = kea_backend.add(self.place.config_url, subnet, pool)
        self._fetch()
        return said

    @_understood
    def remove_range(self, unwanted: Range) -> Any:
        subnet, pool = subnet_of(self.place, unwanted), pool_of(unwanted)
        self._require_unused(subnet, unwanted)
        if isinstance(pool, PrefixPool) or not self.place.config_url:
            return self._set_configuration(lambda running: _without(running, subnet, pool))
        said = kea_backend.remove(self.place.config_url, subnet, pool)
        self._fetch()
        return said

    @_understood
    def confirm(self, wanted: Range, *, present: bool = True, seconds: float = 3.0) -> float:
        subnet, pool = subnet_of(self.place, wanted), pool_of(wanted)
        began = time.monotonic()
        while True:
            has = _has(self._configuration(), subnet, pool)
            waited = time.monotonic() - began
            if has is present:
                return waited
            if waited >= seconds:
                state = "does not have" if present else "still has"
                raise NotLiveYet(f"Kea {state} {wanted.network} after {waited:.1f} s.")
            time.sleep(LOOKS_EVERY_SECONDS)

    @_understood
    def missing(self, ranges: Sequence[Range]) -> list[Range]:
        running = self._configuration()
        return [
            each for each in ranges if not _has(running, subnet_of(self.place, each), pool_of(each))
        ]

    @_understood
    def utilisation(self, ranges: Sequence[Range]) -> list[Use]:
        """Kea counts by subnet; where ranges share one, its leases are looked through."""
        counted = self._counts()
        by_subnet: dict[int, list[Range]] = {}
        for each in ranges:
            by_subnet.setdefault(subnet_of(self.place, each).number, []).append(each)
        uses: list[Use] = []
        for number, mine in by_subnet.items():
            if number >= OWN_SUBNETS and number in counted:
                uses.append(_use_of_subnet(mine[0], counted[number]))
            elif number in counted:
                leases = self._leases_in(number)
                uses.extend(_use_by_leases(each, leases) for each in mine)
        return uses

    @_understood
    def refused(self) -> Refused:
        """Kea counts from its start, and has no figure for what has not happened yet."""
        said = self._say("statistic-get-all")
        start = f"v{self.place.family}-allocation-fail"
        # Where no pool is for such a device; and where pools are, but nothing in them is free.
        strangers, full = (
            int(said[name][0][0]) if name in said else 0 for name in (f"{start}-no-pools", start)
        )
        return Refused(strangers, full)

    def leases(self, since: Position, *, limit: int) -> tuple[list[Lease], Position]:
        lines, position = tailing.read(
            self.place.lease_file, since, limit=limit, header=True, leftovers=kea_files.CLEANED
        )
        return kea_files.leases(lines), position

    def holder_of(self, address: str) -> Holder | None:
        said = self._say(f"lease{self.place.family}-get", {"ip-address": address})
        if not said:
            return None
        heard_at = datetime.fromtimestamp(said["cltt"], UTC)
        return Holder(
            device=said.get("hw-address") or said.get("duid") or "",
            heard_at=heard_at,
            ends_at=heard_at + timedelta(seconds=said["valid-lft"]),
        )

    def refusals(self, since: Position, *, limit: int) -> tuple[list[Refusal], Position]:
        lines, position = tailing.read(self.place.log_file, since, limit=limit)
        return kea_files.refusals(lines), position

    # --- The running server ---------------------------------------------------------------------

    def _say(self, name: str, arguments: dict[str, Any] | None = None) -> dict[str, Any]:
        return kea_control.command(self.place.control_socket, name, arguments)

    def _configuration(self) -> dict[str, Any]:
        found: dict[str, Any] = self._say("config-get")[f"Dhcp{self.place.family}"]
        return found

    def _fetch(self) -> None:
        """Let the server look at its backend now; one that is away looks when it starts."""
        with contextlib.suppress(ServerAway):
            self._say("config-backend-pull")

    def _require_ours(self, subnet: kea_backend.Subnet) -> None:
        """Refuse to put into the backend what is in Kea's own file, which would be hidden by it."""
        if kea_backend.has_subnet(self.place.config_url, subnet):
            return
        for known in _subnets(self._configuration()):
            if known["id"] == subnet.number or known["subnet"] == subnet.prefix:
                raise ServerRefused(
                    f"Subnet {known['id']} ({known['subnet']}) is in Kea's configuration file. "
                    "Take it out there: its pools are put into the configuration backend."
                )

    def _require_unused(self, subnet: kea_backend.Subnet, unwanted: Range) -> None:
        known = {each["id"] for each in _subnets(self._configuration())}
        leases = self._leases_in(subnet.number) if subnet.number in known else []
        for lease in leases:
            if lease["state"] == _GIVEN and _is_of(lease, unwanted):
                raise RangeInUse(
                    f"{lease['ip-address']} of {unwanted.network} is leased by "
                    f"{lease.get('hw-address') or lease.get('duid')}."
                )

    def _leases_in(self, subnet_id: int) -> list[dict[str, Any]]:
        said = self._say(f"lease{self.place.family}-get-all", {"subnets": [subnet_id]})
        found: list[dict[str, Any]] = said.get("leases", [])
        return found

    def _counts(self) -> dict[int, dict[str, int]]:
        """The server's figures by the number of the subnet."""
        said = self._say(f"stat-lease{self.place.family}-get")["result-set"]
        rows = [dict(zip(said["columns"], row, strict=True)) for row in said["rows"]]
        return {row["subnet-id"]: row for row in rows}

    def _set_configuration(self, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
        """Give the server its configuration anew, if it is another one, and let it keep that."""
        running = self._configuration()
        wanted = change(json.loads(json.dumps(running)))
        if wanted == running:
            return {}
        whole = {f"Dhcp{self.place.family}": wanted}
        self._say("config-test", whole)
        self._say("config-set", whole)
        return self._say("config-write")


# --- What a configuration says ------------------------------------------------------------------


def _networks(running: dict[str, Any]) -> list[dict[str, Any]]:
    """Whatever has subnets: the shared networks, and the server itself for those without one."""
    return [running, *running.get("shared-networks", [])]


def _key(running: dict[str, Any]) -> str:
    return "subnet6" if "subnet6" in running else "subnet4"


def _subnets(running: dict[str, Any]) -> list[dict[str, Any]]:
    key = _key(running)
    return [subnet for network in _networks(running) for subnet in network.get(key, [])]


def _written(pool: AnyPool) -> tuple[str, dict[str, Any]]:
    """Where in a subnet a pool is written, and how."""
    more = {"client-class": pool.client_class} if pool.client_class else {}
    if isinstance(pool, PrefixPool):
        return "pd-pools", {
            "prefix": pool.prefix,
            "prefix-len": pool.length,
            "delegated-len": pool.delegated_length,
            **more,
        }
    return "pools", {"pool": f"{pool.first}-{pool.last}", **more}


def _is_same(known: dict[str, Any], pool: AnyPool) -> bool:
    if isinstance(pool, PrefixPool):
        return (known["prefix"], known["prefix-len"]) == (pool.prefix, pool.length)
    return _ends(known["pool"]) == (ip_address(pool.first), ip_address(pool.last))


def _ends(text: str) -> tuple[Any, Any]:
    """The ends of a pool, which Kea writes as a network where it is one."""
    if "/" in text:
        network = ip_network(text)
        return network[0], network[-1]
    first, last = text.split("-")
    return ip_address(first.strip()), ip_address(last.strip())


def _has(running: dict[str, Any], subnet: kea_backend.Subnet, pool: AnyPool) -> bool:
    where, _ = _written(pool)
    return any(
        _is_same(known, pool)
        for each in _subnets(running)
        if each["id"] == subnet.number
        for known in each.get(where, [])
    )


def _with(running: dict[str, Any], subnet: kea_backend.Subnet, pool: AnyPool) -> dict[str, Any]:
    """Return a configuration, which may be changed, with a pool in it."""
    if _has(running, subnet, pool):
        return running
    where, written = _written(pool)
    for each in _subnets(running):
        if each["id"] == subnet.number:
            each.setdefault(where, []).append(written)
            return running
    for network in _networks(running):
        if network.get("name", "") == subnet.shared_network:
            made = {"id": subnet.number, "subnet": subnet.prefix, where: [written]}
            network.setdefault(_key(running), []).append(made)
            return running
    raise ServerRefused(f"Kea has no shared network {subnet.shared_network}.")


def _without(running: dict[str, Any], subnet: kea_backend.Subnet, pool: AnyPool) -> dict[str, Any]:
    """Return a configuration, which may be changed, without a pool, nor a subnet made for it."""
    where, _ = _written(pool)
    for each in _subnets(running):
        if each["id"] == subnet.number:
            each[where] = [known for known in each.get(where, []) if not _is_same(known, pool)]
    key = _key(running)
    for network in _networks(running):
        network[key] = [
            each
            for each in network.get(key, [])
            if each["id"] != subnet.number or each["id"] < OWN_SUBNETS or each.get(where)
        ]
    return running


# --- How much is in use -------------------------------------------------------------------------


def _units(given: Range) -> int:
    first, last = selection.usable_slots(given.network, given.unit_length)
    return last - first + 1


def _use_of_subnet(given: Range, row: dict[str, int]) -> Use:
    """Read the figures of a range's own subnet. Kea's total is -1 where it is too large."""
    total = row["total-addresses"]
    return Use(
        given,
        total=total if total >= 0 else _units(given),
        # Kea's figure has the declined ones in it.
        assigned=row["assigned-addresses"] - row["declined-addresses"],
        declined=row["declined-addresses"],
    )


def _use_by_leases(given: Range, leases: Sequence[dict[str, Any]]) -> Use:
    states = [lease["state"] for lease in leases if _is_of(lease, given)]
    return Use(
        given,
        total=_units(given),
        assigned=states.count(_GIVEN),
        declined=states.count(_DECLINED),
    )


def _is_of(lease: dict[str, Any], given: Range) -> bool:
    """Say whether a lease is of a range; a single IPv6 address is not of delegated prefixes."""
    if given.family == selection.IPv6 and (lease.get("type") == "IA_PD") != _is_of_prefixes(given):
        return False
    return ip_address(lease["ip-address"]) in ip_network(given.network)
