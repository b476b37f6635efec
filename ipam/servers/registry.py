"""Which adapter speaks to the server of a pool."""

from ipam.models import AddressServer, KeaServer, Pool
from ipam.servers.base import AddressServerAdapter, Range, ServerRefused
from ipam.servers.freeradius import FreeRadius
from ipam.servers.kea import Kea, Place


def adapter_of(server: AddressServer, family: int) -> AddressServerAdapter:
    """Return what speaks to an address server about its pools of a family.

    Raises:
        ServerRefused: it is a DHCP server, and nothing says where it runs.
    """
    if server.kind == AddressServer.Kind.RADIUS:
        return FreeRadius()
    found = KeaServer.objects.filter(server=server, family=family).first()
    if found is None:
        raise ServerRefused(
            f"Nothing says where {server.name} runs for IPv{family}: connect its Kea first."
        )
    return Kea(place_of(found))


def place_of(kea: KeaServer) -> Place:
    """Return where a Kea server is, as its adapter is told."""
    return Place(
        family=kea.family,
        control_socket=kea.control_socket,
        config_url=kea.config_url,
        server_tag=kea.server_tag,
        subnet_id=kea.subnet_id,
        subnet=kea.subnet,
        shared_network=kea.shared_network,
        lease_file=kea.lease_file,
        log_file=kea.log_file,
    )


def range_of(pool: Pool) -> Range:
    """Return what a pool, read with its block, hands out, as its server is told."""
    return Range(pool.pk, str(pool.block.network), pool.unit_length, pool.purpose)
