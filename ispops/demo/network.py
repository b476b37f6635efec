"""The demo ISP's addresses: what its registry gave it, and the pools of its address server."""

from datetime import datetime, timedelta

from django.db import transaction

from ipam import allocation, blocks
from ipam.models import AddressServer, Block, Pool
from ispops.demo import people
from ispops.parties.models import User
from provisioning import accounting
from provisioning.models import AccessServer

SERVER = "aaa-north"
SERVER_SECRET = "north-star-5f1c9a7e3b"  # noqa: S105 - opens a demonstration on one's own machine
# An access server on this machine, as `radclient` is one.
ACCESS_SERVER, ACCESS_ADDRESS = "bng-north", "127.0.0.1"
ACCESS_SECRET = "harbor-bng-8d2f4c6a1e"  # noqa: S105 - as above

Purpose, Tier = Pool.Purpose, Block.Tier
# Ranges set aside for benchmarking, carrier-grade NAT and documentation (RFC 2544, 6598, 3849),
# so that the demonstration never names an address of somebody real.
POOLS = (
    ("198.18.0.0/15", "198.18.0.0/18", "dynamic-north", "198.18.0.0/20", Purpose.DYNAMIC),
    ("198.18.0.0/15", "198.18.0.0/18", "static-north", "198.18.16.0/22", Purpose.STATIC),
    ("100.64.0.0/10", "100.64.0.0/16", "garden-north", "100.64.0.0/22", Purpose.WALLED_GARDEN),
    ("2001:db8::/32", "2001:db8::/36", "prefixes-north", "2001:db8::/40", Purpose.PREFIX),
)
# Regions without pools yet: the tree has room for the next towns.
REGIONS = (
    ("198.18.0.0/15", "198.18.64.0/18", "South"),
    ("198.18.64.0/18", "198.18.64.0/20", "South, river towns"),
    ("198.18.0.0/15", "198.19.0.0/17", "Kept for growth"),
    ("2001:db8::/32", "2001:db8:1000::/36", "South"),
)


@transaction.atomic
def load(*, at: datetime) -> None:
    """Make the addresses and the address server, and an access server: each of both once."""
    _load_addresses(at)
    if not AccessServer.objects.filter(name=ACCESS_SERVER).exists():
        accounting.register_access_server(
            name=ACCESS_SERVER,
            nas_ip=ACCESS_ADDRESS,
            radius_secret=ACCESS_SECRET,
            actor=User.objects.get(email=people.OPERATIONS_EMAIL),
            at=at,
        )


def _load_addresses(at: datetime) -> None:
    if AddressServer.objects.filter(name=SERVER).exists():
        return
    server = allocation.create_server(
        name=SERVER, kind=AddressServer.Kind.RADIUS, secret=SERVER_SECRET
    )
    made: dict[str, Block] = {}
    for registry, region, name, network, purpose in POOLS:
        if registry not in made:
            made[registry] = blocks.create_block(
                network=registry, tier=Tier.ALLOCATION, name="Demonstration range", at=at
            )
        if region not in made:
            made[region] = blocks.create_block(
                network=region, tier=Tier.REGION, parent=made[registry], name="North", at=at
            )
        block = blocks.create_block(
            network=network, tier=Tier.POOL, parent=made[region], name=name, at=at
        )
        blocks.create_pool(
            name=name,
            server=server,
            block=block,
            purpose=purpose,
            quarantine=timedelta(hours=1),
            at=at,
        )
    for above, region, name in REGIONS:
        made[region] = blocks.create_block(
            network=region, tier=Tier.REGION, parent=made[above], name=name, at=at
        )
