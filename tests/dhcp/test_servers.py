"""Which network's lines are by DHCP: what may be said, and what is refused."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from ipam.models import AddressServer, Pool
from ispops.errors import InvalidInput, Refusal
from ispops.parties.models import AuditEntry, User
from provisioning import dhcp_servers
from provisioning.models import DhcpServer
from tests.provisioning import ground
from tests.small_isp import SmallIsp

URL = "postgresql://isp_ops:hush-hush@kea.example/kea"


@pytest.fixture
def north(isp: SmallIsp) -> AddressServer:
    call_command("dhcp_server", "north", "198.51.100.0/25", verbosity=0)
    return AddressServer.objects.get(name="north")


def connect(isp: SmallIsp, north: AddressServer, at: datetime, **settings: Any) -> DhcpServer:
    given = {"provider": isp.fibre, "technology": None, "hosts_url": URL} | settings
    return dhcp_servers.connect_dhcp(address_server=north, at=at, **given)


def test_the_address_of_the_database_is_kept_as_a_secret(
    isp: SmallIsp, north: AddressServer, otto: User, at: datetime
) -> None:
    server = connect(isp, north, at, actor=otto)
    with connection.cursor() as cursor:
        cursor.execute("SELECT hosts_url FROM provisioning_dhcpserver")
        assert "hush" not in cursor.fetchone()[0]
    assert DhcpServer.objects.get().hosts_url == URL
    assert "hush" not in str(AuditEntry.objects.values_list("detail", "subject", "reason"))
    dhcp_servers.change_dhcp(dhcp_server_id=server.pk, hosts_url="", subnet_id=7, at=at)
    assert DhcpServer.objects.get().hosts_url == URL
    assert DhcpServer.objects.get().subnet_id == 7


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("hosts_url", ""),
        ("hosts_url", "mysql://u:p@host/kea"),
        ("hosts_url", "postgresql://host"),
        ("hosts_url", "postgresql://u:p@host/kea?nonsense=1"),
        ("hosts_url", "postgresql://u@host/kea\0"),
        ("subnet_id", 0),
        ("circuit_id", "{port}"),
        ("circuit_id", "{node}/{port}/{secret}"),
        ("circuit_id", "{node.__class__}/{port}"),
        ("circuit_id", "{node}/{port"),
        ("circuit_id", "käse {node}/{port}"),
        ("technology", 99),
    ],
)
def test_bad_settings(
    isp: SmallIsp, north: AddressServer, at: datetime, field: str, value: Any
) -> None:
    before = ground.rows()
    with pytest.raises(InvalidInput) as refused:
        connect(isp, north, at, **{field: value})
    assert refused.value.field == field
    assert ground.rows() == before


def test_only_a_dhcp_server_and_a_network(
    isp: SmallIsp, north: AddressServer, at: datetime
) -> None:
    AddressServer.objects.update(kind="radius")
    north.refresh_from_db()
    with pytest.raises(InvalidInput) as refused:
        connect(isp, north, at)
    assert refused.value.field == "address_server"
    AddressServer.objects.update(kind="dhcp")
    north.refresh_from_db()
    with pytest.raises(InvalidInput) as refused:
        connect(isp, north, at, provider=isp.films)
    assert refused.value.field == "provider"


def test_one_for_each_network_and_server(isp: SmallIsp, north: AddressServer, at: datetime) -> None:
    connect(isp, north, at)
    with pytest.raises(dhcp_servers.DhcpServerExists) as refused:
        connect(isp, north, at, technology=50)
    assert refused.value.field == "address_server"
    call_command("dhcp_server", "south", "198.51.100.128/25", verbosity=0)
    with pytest.raises(dhcp_servers.DhcpServerExists) as refused:
        connect(isp, AddressServer.objects.get(name="south"), at)
    assert refused.value.field == "provider"


class TestCommand:
    def test_the_pool_lies_in_the_block_that_has_room(self, isp: SmallIsp, at: datetime) -> None:
        from ipam import blocks
        from ipam.models import Block

        top = blocks.create_block(network="198.51.100.0/24", tier=Block.Tier.ALLOCATION, at=at)
        call_command("dhcp_server", "north", "198.51.100.64/26", verbosity=0)
        pool = Pool.objects.get()
        assert (pool.block.parent, pool.purpose) == (top, "dynamic")
        assert (pool.server.kind, pool.server.name) == ("dhcp", "north")

    @pytest.mark.parametrize("network", ["198.51.100.1/25", "nowhere", "198.51.100.0/33"])
    def test_bad_networks(self, isp: SmallIsp, network: str) -> None:
        before = ground.rows()
        with pytest.raises((CommandError, Refusal)):
            call_command("dhcp_server", "north", network, verbosity=0)
        assert ground.rows() == before
