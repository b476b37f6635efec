"""Following what Kea servers gave and refused: whose it is, and what becomes of a second device.

Kea writes leases and refusals into files, which are read on from where the last worker stopped. A
lease is of the line whose port, or whose named device, Kea knows. Where Kea chooses the addresses,
a device beyond the plan stays in the walled garden, by a reservation of its own, until somebody
grants it an address; where we choose them, `further_devices` sees to it.
"""

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import DataError

from ipam import observed, selection
from ipam.models import KeaServer, Pool
from ipam.server_calls import LeftAlone, calling
from ipam.servers.base import AddressServerAdapter, Lease, Position, Refused
from ipam.servers.registry import adapter_of, range_of
from ispops.errors import OutsideFault, PermanentFault, TransientFault
from provisioning import dhcp_telling, further_devices
from provisioning.models import DhcpReservation, DhcpServer, Service

log = logging.getLogger(__name__)
LINES_AT_A_TIME = 500
# Who was refused last so long ago has gone.
REFUSED_KEPT = timedelta(days=30)


def follow_due(*, at: datetime, may_go_on: Callable[[], bool] = lambda: True) -> int:
    """Read on in the files of all Kea servers; returns how many leases were read.

    A server that does not answer, or answers what nobody expects, does not keep the others
    waiting; the console shows why.
    """
    done = 0
    for server in KeaServer.objects.filter(server__active=True).select_related("server"):
        heard = _Heard()
        with heard.of(server):
            adapter = adapter_of(server.server, server.family)
            with heard.of(server), calling(server.server, server.family, at=at):
                heard.refused = adapter.refused()
                _see_to_pools(server, adapter)
            # What is in its files is read, whatever it says or does not say.
            while (read := _follow_leases(server, adapter, at)) and may_go_on():
                done += read
            _follow_refusals(server, adapter, at)
        if not heard.left_alone:
            observed.record_counts(kea=server, refused=heard.refused, error=heard.error, at=at)
    observed.forget_refused(before=at - REFUSED_KEPT)
    return done


@dataclass(slots=True)
class _Heard:
    """What a server counted, and the first reason why it could not be heard out."""

    refused: Refused | None = None
    error: str = ""
    # It was not called, and what is known of it stands.
    left_alone: bool = False

    @contextlib.contextmanager
    def of(self, server: KeaServer) -> Iterator[None]:
        try:
            yield
        except LeftAlone:
            self.left_alone = True
        except OutsideFault as fault:
            self.error = self.error or str(fault)
        except (DataError, LookupError, TypeError, ValueError):
            log.exception("%s sent what cannot be read", server)
            self.error = self.error or "It sent what cannot be read; the log has it."


def _see_to_pools(server: KeaServer, adapter: AddressServerAdapter) -> None:
    """Tell a server of pools that it should have and does not, as when its database was lost.

    A further block is told, confirmed and parked by its request (`ipam.stepping`).
    """
    pools = Pool.objects.filter(
        server=server.server, family=server.family, state=Pool.State.ACTIVE
    ).select_related("block")
    for each in adapter.missing([range_of(pool) for pool in pools]):
        adapter.add_range(each)


def _follow_leases(server: KeaServer, adapter: AddressServerAdapter, at: datetime) -> int:
    """Read some leases; returns how many, and zero when there is none left."""
    if not server.lease_file:
        return 0
    server.refresh_from_db(fields=["leases_in", "leases_to"])
    before = Position(server.leases_in, server.leases_to)
    found, after = adapter.leases(before, limit=LINES_AT_A_TIME)
    if after == before:
        return 0
    dhcp = DhcpServer.objects.filter(address_server=server.server).first()
    seen = _whose(dhcp, found) if dhcp else []
    beyond = observed.record_leases(kea=server, before=before, after=after, seen=seen, at=at)
    if dhcp is not None:
        for each in beyond:
            _see_to(dhcp, adapter, each, at)
    return max(1, len(found))


def _whose(dhcp: DhcpServer, found: Sequence[Lease]) -> list[observed.Seen]:
    """Find the lines of leases: by the circuit, or by the device that a person named.

    A DUID is of the line of its hardware address, where the server knows that.
    """
    names = {
        name for lease in found for name in (lease.circuit, lease.device, lease.hardware) if name
    }
    lines = dict(
        DhcpReservation.objects.filter(dhcp_server=dhcp, device__in=names).values_list(
            "device", "service"
        )
    )
    services = Service.objects.in_bulk(set(lines.values()))
    owners = [
        (
            lease,
            lines.get(lease.circuit) or lines.get(lease.device) or lines.get(lease.hardware),
        )
        for lease in found
    ]
    return [
        observed.Seen(services[line].public_id, lease) for lease, line in owners if line in services
    ]


def _see_to(
    dhcp: DhcpServer, adapter: AddressServerAdapter, device: observed.Beyond, at: datetime
) -> None:
    """Let the server know the answer; it is told again when the device renews its lease."""
    try:
        if device.is_granted is None:
            further_devices.see_to(dhcp, adapter, device, at=at)
        elif device.is_granted:
            dhcp_telling.forget(dhcp, line=device.service_ref, device=device.device)
        else:
            dhcp_telling.wall_in(dhcp, line=device.service_ref, device=device.device)
    except (TransientFault, PermanentFault) as fault:
        log.warning("%s was not told of %s: %s", dhcp, device.device, fault)


def _follow_refusals(server: KeaServer, adapter: AddressServerAdapter, at: datetime) -> None:
    if not server.log_file:
        return
    server.refresh_from_db(fields=["log_in", "log_to"])
    before = Position(server.log_in, server.log_to)
    found, after = adapter.refusals(before, limit=10 * LINES_AT_A_TIME)
    if after != before:
        observed.record_refusals(kea=server, before=before, after=after, seen=found)
        dhcp = DhcpServer.objects.filter(address_server=server.server).first()
        if dhcp is not None and server.family == selection.IPv4:
            names = {refusal.device for refusal in found}
            further_devices.look_again(dhcp, adapter, names, at=at)
