"""Devices and their addresses, arranged as a subscriber looks at them."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from ipam.models import Allocation, ExtraAddress, OverallocationRequest


@dataclass(slots=True)
class Device:
    """One device on a line: what it holds, and the extra address it is paid for, if any."""

    line: str
    name: str
    ipv4: list[str] = field(default_factory=list)
    ipv6: list[str] = field(default_factory=list)
    since: datetime | None = None
    # It is in the walled garden, and stays there until it asks again.
    waits: bool = False
    # Its request for one address more has no answer yet.
    asks: bool = False
    extra: ExtraAddress | None = None


def devices_of(
    held: Iterable[Allocation],
    extras: Iterable[ExtraAddress],
    requests: Iterable[OverallocationRequest] = (),
) -> list[Device]:
    """Join allocations, extra addresses and open requests to devices, by line and name.

    An extra address whose device is away is a device too: it is still paid for.
    """
    devices: dict[tuple[str, str], Device] = {}
    for row in held:
        device = _device(devices, row.holder.service_ref, row.device)
        (device.ipv4 if row.family == 4 else device.ipv6).append(_plain(row.address))
        device.since = min(device.since or row.allocated_at, row.allocated_at)
        device.waits = device.waits or not row.counts
    asking = {(request.holder.service_ref, request.device) for request in requests}
    for key in asking & devices.keys():
        devices[key].asks = True
    for extra in extras:
        if extra.ended_at is None:
            _device(devices, extra.holder.service_ref, extra.device).extra = extra
    return sorted(devices.values(), key=lambda device: (device.line, device.name))


def _device(devices: dict[tuple[str, str], Device], line: str, name: str) -> Device:
    return devices.setdefault((line, name), Device(line, name))


def _plain(network: str) -> str:
    """Write a single IPv4 address without the length that says it is single."""
    return str(network).removesuffix("/32")
