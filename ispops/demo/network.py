"""The demo ISP's addresses: what its registry gave it, and the pools of its address server."""

from datetime import datetime, timedelta
from decimal import Decimal

from django.db import transaction

from ipam import allocation, blocks, policies, sampling
from ipam.models import AddressServer, Block, Pool
from ispops.catalog.models import ProductOffering
from ispops.demo import people
from ispops.parties import accounts, terms
from ispops.parties.models import User
from provisioning import accounting
from provisioning.models import AccessServer

SERVER = "aaa-north"
SERVER_SECRET = "north-star-5f1c9a7e3b"  # noqa: S105 - opens a demonstration on one's own machine
# An access server on this machine, as `radclient` is one.
ACCESS_SERVER, ACCESS_ADDRESS = "bng-north", "127.0.0.1"
ACCESS_SECRET = "harbor-bng-8d2f4c6a1e"  # noqa: S105 - as above

# A house whose pool fills.
CAMPUS, CAMPUS_SERVER, CAMPUS_LINES, CAMPUS_DAYS = "dynamic-campus", "aaa-campus", 25, 30
HOUSE_EMAIL = "hall@example.com"
CAMPUS_SECRET = "campus-tower-2b7e4c9d10"  # noqa: S105 - as above

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
    _load_campus(at)
    if not AccessServer.objects.filter(name=ACCESS_SERVER).exists():
        accounting.register_access_server(
            name=ACCESS_SERVER,
            nas_ip=ACCESS_ADDRESS,
            radius_secret=ACCESS_SECRET,
            actor=User.objects.get(email=people.OPERATIONS_EMAIL),
            at=at,
        )


def _load_campus(at: datetime) -> None:
    """A small pool that is nearly full after a month of growth: the forecast has something to say.

    Its lines are of one house, which is why they have addresses without an order each.
    """
    if Pool.objects.filter(name=CAMPUS).exists():
        return
    region = Block.objects.get(network="198.18.0.0/18")
    block = blocks.create_block(
        network="198.18.32.0/27", tier=Tier.POOL, parent=region, name=CAMPUS, at=at
    )
    server = allocation.create_server(
        name=CAMPUS_SERVER, kind=AddressServer.Kind.RADIUS, secret=CAMPUS_SECRET
    )
    pool = blocks.create_pool(
        name=CAMPUS, server=server, block=block, purpose=Purpose.DYNAMIC, at=at
    )
    policies.set_policy(pool=pool, at=at, lines_per_address=Decimal("1.2"), stale_hours=12)
    today = at.replace(hour=0, minute=0, second=0, microsecond=0)
    for ago in range(CAMPUS_DAYS, 0, -1):
        peak = CAMPUS_LINES - round(ago * 0.4) - ago % 3
        sampling.keep_day(
            pool=pool, day=today - timedelta(days=ago), total=30, peak=peak, lines=peak + 2
        )
    _take_addresses(server, at)


def _take_addresses(server: AddressServer, at: datetime) -> None:
    plan = ProductOffering.objects.filter(address_entitlement__isnull=False).first()
    if plan is None:
        return
    house = accounts.register_subscriber(
        user=accounts.create_login(email=HOUSE_EMAIL, name="Granite Hall", at=at),
        name="Granite Hall",
        phone="+1 207 555 0188",
        terms_version=terms.in_force().version,
        at=at,
    )
    for number in range(CAMPUS_LINES):
        ref = f"campus-room-{number + 1}"
        allocation.open_holder(service_ref=ref, subscriber=house, plan=plan, at=at)
        allocation.request_addresses(
            service_ref=ref, device=f"02:00:00:00:18:{number:02x}", server=server, at=at,
            lease=timedelta(days=3650),
        )  # fmt: skip


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
