"""What Kea writes into its file of leases and into its log (2.2); pure: text in, facts out."""

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime

from ipam.servers.base import Lease, Refusal

# Where Kea's own clean-up (LFC) keeps what was in older files of leases, each lease once.
CLEANED = ".2"
_GIVEN = "0"
# Of the lines about one refusal, the one for which no pool was or in which nothing was free.
_REFUSED = re.compile(
    r"^(?P<at>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+) WARN .*"
    r"_ENGINE_V[46]_ALLOC_FAIL(?P<stranger>_NO_POOLS)? "
    r"(?:duid=)?\[(?:hwtype=1 )?(?P<device>[0-9a-f:]+)\]"
)
# The circuit of option 82 (RFC 3046), and the interface of a relay of DHCPv6 (RFC 8415).
_CIRCUIT, _INTERFACE = 1, 18


def leases(lines: Sequence[str]) -> list[Lease]:
    """Read lines of a file of leases, the first of which is its header."""
    if not lines:
        return []
    names = lines[0].split(",")
    rows = (dict(zip(names, line.split(","), strict=False)) for line in lines[1:])
    return [_lease(row) for row in rows if row.get("expire") and row.get("state")]


def _lease(row: dict[str, str]) -> Lease:
    seconds = int(row["valid_lifetime"]) if row["state"] == _GIVEN else 0
    length = row.get("prefix_len") or "32"
    return Lease(
        address=f"{row['address']}/{length}",
        device=row.get("duid") or row.get("hwaddr") or row.get("client_id") or "",
        circuit=_circuit(row.get("user_context", "")),
        ends_at=datetime.fromtimestamp(int(row["expire"]), UTC),
        seconds=seconds,
        hardware=row.get("hwaddr") or "",
    )


def _circuit(context: str) -> str:
    """Return the circuit id that the relay wrote, where Kea stores what the relay said.

    Of several relays of DHCPv6 the last one is the one beside the device (RFC 8415, 18.3.10).
    """
    if not context:
        return ""
    try:
        said = json.loads(context.replace("&#x2c", ","))["ISC"]
        if relays := said.get("relays"):
            return _option(relays[-1].get("options", "")[2:], _INTERFACE, width=2)
        told = said["relay-agent-info"]
        return _option((told["sub-options"] if isinstance(told, dict) else told)[2:], _CIRCUIT)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        return ""


def _option(digits: str, wanted: int, *, width: int = 1) -> str:
    """Return an option of a list of them, each with its code and length of so many octets."""
    options, at = bytes.fromhex(digits), 0
    while at + 2 * width <= len(options):
        begins = at + 2 * width
        code = int.from_bytes(options[at : at + width], "big")
        length = int.from_bytes(options[at + width : begins], "big")
        if code == wanted:
            return options[begins : begins + length].decode(errors="replace")
        at = begins + length
    return ""


def refusals(lines: Sequence[str]) -> list[Refusal]:
    """Read from a log whom Kea gave nothing; its clock is read as UTC."""
    return [
        Refusal(
            device=found["device"],
            at=datetime.fromisoformat(found["at"]).replace(tzinfo=UTC),
            is_full=found["stranger"] is None,
        )
        for line in lines
        if (found := _REFUSED.match(line))
    ]
