"""The demo ISP's Kea: the pools of a network whose lines get their addresses by DHCP."""

import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import transaction

from ipam import allocation, blocks, kea_servers
from ipam.models import AddressServer, Block, KeaServer, Pool
from ispops.network import kea

SERVER = "dhcp-north"
# Inside the subnets of the cable, and of ranges that nobody real has.
POOLS = (
    ("leased-dhcp-north", "100.127.9.64/26", Pool.Purpose.LEASED),
    ("garden-dhcp-north", "100.127.9.192/26", Pool.Purpose.WALLED_GARDEN),
    ("prefixes-dhcp-north", "2001:db8:ff00::/48", Pool.Purpose.PREFIX),
)


@transaction.atomic
def connect(servers: Sequence[kea.Kea], *, database_url: str, at: datetime) -> None:
    """Let the demonstration know the Kea servers that run here; its pools are made once."""
    server = AddressServer.objects.filter(name=SERVER).first() or _make(at)
    for each in servers:
        settings: dict[str, Any] = {
            "control_socket": str(each.control_socket),
            "config_url": database_url if each.family == 4 else "",
            "subnet": kea.SUBNET[each.family],
            "lease_file": str(each.lease_file),
            "log_file": str(each.log),
        }
        known = KeaServer.objects.filter(server=server, family=each.family).first()
        if known is None:
            kea_servers.connect_kea(server=server, family=each.family, at=at, **settings)
        else:
            kea_servers.change_kea(kea_server_id=known.pk, at=at, **settings)


def _make(at: datetime) -> AddressServer:
    server = allocation.create_server(
        name=SERVER, kind=AddressServer.Kind.DHCP, secret=secrets.token_urlsafe(32)
    )
    for name, network, purpose in POOLS:
        around = Block.objects.filter(tier__lt=Block.Tier.POOL, network__covers=network)
        parent = around.order_by("-tier", "-pk").first() or blocks.create_block(
            network=network, tier=Block.Tier.ALLOCATION, name="Demonstration range", at=at
        )
        block = blocks.create_block(
            network=network, tier=Block.Tier.POOL, parent=parent, name=name, at=at
        )
        blocks.create_pool(name=name, server=server, block=block, purpose=purpose, at=at)
    return server
