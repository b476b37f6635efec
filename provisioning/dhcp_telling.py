"""What a line's reservation says, told to its DHCP server: the line's device and its further ones.

Never called inside a transaction: the server's database may take its time.
"""

import logging

from ipam import queries, selection
from ipam.models import KeaServer, Pool
from ipam.servers import registry
from ipam.servers.kea import OWN_SUBNETS, subnet_of
from provisioning.models import DhcpReservation, DhcpServer
from provisioning.network import kea
from provisioning.outcomes import Outcome

log = logging.getLogger(__name__)
# How long the database of a server is waited for, to connect and for one statement.
CONNECT_SECONDS, STATEMENT_SECONDS = 3, 3.0
Access = DhcpReservation.Access


def tell(row: DhcpReservation) -> Outcome:
    """Let a server serve a line as its row says.

    Raises:
        TransientFault: the server's database is away.
        PermanentFault: it refused.
    """
    server, line = row.dhcp_server, row.service.public_id
    database = _database(server)
    if row.access == Access.NONE:
        removed = kea.remove(database, line)
        words = f"{server} serves the line no more: reservations removed: {removed}."
        return Outcome(words, request={"remove": line}, reply={"removed": removed})
    told_by = kea.device if row.is_named else kea.circuit
    wanted = kea.Reservation(
        told_by(row.device), row.address or "", _class_of(row), _subnet_of(server, row.address)
    )
    further = _further(row)
    request = kea.reserve(database, line, wanted, further)
    gets = row.address or "an address that it chooses"
    if row.access == Access.WALLED_GARDEN:
        gets = "an address of the walled garden"
    more = f", and {len(further)} further devices have their own" if further else ""
    return Outcome(f"{row.device} gets {gets} from {server}{more}.", request=request)


def _class_of(row: DhcpReservation) -> str:
    """Which pools a line's reservation opens beside its address."""
    if row.access == Access.WALLED_GARDEN:
        return kea.WALLED_GARDEN
    garden = row.dhcp_server.address_server.pools.filter(
        purpose=Pool.Purpose.WALLED_GARDEN, state=Pool.State.ACTIVE
    )
    return kea.FURTHER if row.address and garden.exists() else ""


def _further(row: DhcpReservation) -> dict[str, kea.Reservation]:
    """What the other devices of a line that is let in have been given."""
    if row.access != Access.OPEN:
        return {}
    server = row.dhcp_server
    held = queries.held_from(row.service.public_id, server.address_server)
    return {
        device: kea.Reservation(kea.device(device), address, "", _subnet_of(server, address))
        for device, address in held.items()
        if address != row.address
    }


def wall_in(server: DhcpServer, *, line: str, device: str) -> None:
    """Keep a further device of a line in the walled garden. Raises as `tell`."""
    _say_of_device(server, line, device, kea.WALLED_GARDEN)


def refuse(server: DhcpServer, *, line: str, device: str) -> None:
    """Let a further device of a line have nothing. Raises as `tell`."""
    _say_of_device(server, line, device, kea.REFUSED)


def forget(server: DhcpServer, *, line: str, device: str) -> None:
    """Let a further device of a line have what its port gives. Raises as `tell`."""
    kea.remove(_database(server), f"{line} {device}")


def _say_of_device(server: DhcpServer, line: str, device: str, client_class: str) -> None:
    """A device that is in use at another line keeps what it has: its name may be borrowed here."""
    if queries.is_held_elsewhere(device, line, server.address_server):
        log.warning("%s of %s is another line's, so nothing is said of it", device, line)
        return
    reservation = kea.Reservation(kea.device(device), "", client_class)
    kea.reserve_further(_database(server), line, device, reservation)


def _subnet_of(server: DhcpServer, address: str | None) -> int | None:
    """Return the subnet of an address that is outside the server's first one."""
    told = KeaServer.objects.filter(server=server.address_server, family=selection.IPv4).first()
    if told is None or not address:
        return None
    pools = server.address_server.pools.select_related("block")
    pool = pools.filter(block__network__covers=address).first()
    if pool is None:
        return None
    number = subnet_of(registry.place_of(told), registry.range_of(pool)).number
    return number if number >= OWN_SUBNETS else None


def _database(server: DhcpServer) -> kea.Database:
    return kea.Database(server.hosts_url, server.subnet_id, CONNECT_SECONDS, STATEMENT_SECONDS)
