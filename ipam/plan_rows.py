"""What a file of blocks says, row by row: our own CSV, or what NetBox's API gives out. Pure.

Of NetBox's `/api/ipam/aggregates/` every prefix is an allocation of the registry. Of
`/api/ipam/prefixes/` a *container* is a region, or an allocation where nothing is around it; what
is *active* or *reserved* is a pool's range; what is *deprecated* is left out. The VRF's number is
NetBox's own, and the name is the description, else the role. Tenant and site have no place here.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

ALLOCATION, REGION, POOL = "allocation", "region", "pool"
TIERS = (ALLOCATION, REGION, POOL)
COLUMNS = (
    "network", "parent", "tier", "name", "vrf", "pool", "server", "purpose", "unit_length",
)  # fmt: skip
MOST_NETWORK = 49
"""Characters of the longest network: IPv6 with the last four bytes in dots, and its length."""
_SPACE = re.compile(r"[ \t\r\n]*")
_STATUSES = {"container": REGION, "active": POOL, "reserved": POOL}


class BadRow(ValueError):
    """A row that cannot be read; the message says why, and `field` where.

    `network` is the one that it names, where it can be told.
    """

    def __init__(self, words: str, field: str, network: str = "") -> None:
        super().__init__(words)
        self.field, self.network = field, network


@dataclass(frozen=True, slots=True)
class PlanRow:
    """A block to be, and the pool that hands it out where one is named.

    `may_be_top` says that a region without anything around it is an allocation.
    """

    network: str
    tier: str
    parent: str = ""
    name: str = ""
    vrf: int = 0
    pool: str = ""
    server: str = ""
    purpose: str = ""
    unit_length: int | None = None
    may_be_top: bool = False


def from_values(values: Mapping[str, str]) -> PlanRow:
    """Read a row of our own CSV, by the names of `COLUMNS`.

    Raises:
        BadRow: a value cannot be read.
    """
    told = {name: values.get(name, "").strip() for name in COLUMNS}
    if not told["network"]:
        raise BadRow("The row names no network.", "network")
    if told["tier"].lower() not in TIERS:
        raise BadRow(f"The tier is one of {', '.join(TIERS)}.", "tier")
    if told["pool"] and told["tier"].lower() != POOL:
        raise BadRow("Only a block of the tier pool is handed out by a pool.", "pool")
    if len(told["network"]) > MOST_NETWORK:
        raise BadRow("This is no network.", "network")
    unit = told["unit_length"].removeprefix("/")
    return PlanRow(
        network=told["network"],
        tier=told["tier"].lower(),
        parent=told["parent"],
        name=told["name"],
        vrf=_number(told["vrf"] or "0", "vrf"),
        pool=told["pool"],
        server=told["server"],
        purpose=told["purpose"],
        unit_length=_number(unit, "unit_length") if unit else None,
    )


def entries_of(text: str) -> Iterator[Any]:
    """Yield the entries of what NetBox gave out: a page of its API, or the list alone.

    One at a time, so that a long list is never in memory as a whole beside its text.

    Raises:
        BadRow: it is neither.
        ValueError, RecursionError: it is no JSON.
    """
    decoder = json.JSONDecoder()
    place = _past_space(text, 0)
    if text[place : place + 1] == "{":
        place = _place_of_results(text, place, decoder)
    if text[place : place + 1] != "[":
        raise BadRow("This is no list of prefixes: NetBox calls it “results”.", "file")
    place = _past_space(text, place + 1)
    while text[place : place + 1] != "]":
        entry, place = decoder.raw_decode(text, place)
        yield entry
        place = _past_space(text, place)
        if text[place : place + 1] == ",":
            place = _past_space(text, place + 1)
        elif text[place : place + 1] != "]":
            raise ValueError(f"no comma at {place}")


def _place_of_results(text: str, place: int, decoder: json.JSONDecoder) -> int:
    """Return where the value of `results` begins in an object; where it ends without one."""
    place = _past_space(text, place + 1)
    while text[place : place + 1] == '"':
        name, place = decoder.raw_decode(text, place)
        place = _past_space(text, place)
        if text[place : place + 1] != ":":
            raise ValueError(f"no colon at {place}")
        place = _past_space(text, place + 1)
        if name == "results":
            return place
        _, place = decoder.raw_decode(text, place)
        place = _past_space(text, place)
        if text[place : place + 1] == ",":
            place = _past_space(text, place + 1)
    return place


def _past_space(text: str, place: int) -> int:
    found = _SPACE.match(text, place)
    return found.end() if found else place


def from_netbox(entry: Any) -> PlanRow:
    """Read one aggregate or prefix of NetBox.

    Raises:
        BadRow: it has not that shape, or is left out.
    """
    if not isinstance(entry, Mapping) or not isinstance(entry.get("prefix"), str):
        raise BadRow("The entry has no prefix.", "prefix")
    if len(entry["prefix"]) > MOST_NETWORK:
        raise BadRow("This is no network.", "prefix")
    name = _text(entry.get("description")) or _named(entry.get("role"), "slug", "name")
    if "rir" in entry:
        return PlanRow(entry["prefix"], ALLOCATION, name=name[:120])
    status = _named(entry.get("status"), "value") or _text(entry.get("status"))
    if status not in _STATUSES:
        raise BadRow(f"What is {status or 'of no status'} is left out.", "status")
    vrf = entry.get("vrf")
    number = vrf.get("id") if isinstance(vrf, Mapping) else vrf or 0
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < 2**63:
        raise BadRow("The VRF has no number.", "vrf")
    tier = _STATUSES[status]
    return PlanRow(entry["prefix"], tier, name=name[:120], vrf=number, may_be_top=tier == REGION)


def in_order(rows: Iterable[tuple[int, PlanRow]]) -> list[tuple[int, PlanRow]]:
    """Put what others are cut from first, whatever the order of the file."""

    def place(numbered: tuple[int, PlanRow]) -> tuple[int, int, int]:
        line, row = numbered
        length = row.network.rpartition("/")[2].strip()
        return (TIERS.index(row.tier), int(length) if length.isdecimal() else 128, line)

    return sorted(rows, key=place)


def _named(value: Any, *names: str) -> str:
    if not isinstance(value, Mapping):
        return ""
    return next((_text(value[name]) for name in names if value.get(name)), "")


def _text(value: Any) -> str:
    """Return text as a database keeps it: JSON can say halves of characters and NUL."""
    if not isinstance(value, str):
        return ""
    return value.encode(errors="ignore").decode().replace("\0", "").strip()


def _number(text: str, field: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise BadRow("Write a whole number.", field)
    return int(text)
