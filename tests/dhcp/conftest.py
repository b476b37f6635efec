"""A database of Kea's, and a network whose lines are reserved in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime
from typing import TYPE_CHECKING, Any

import psycopg2
import pytest

from tests import databases
from tests.dhcp import kea
from tests.provisioning.conftest import _ground, ada, at, isp, otto

if TYPE_CHECKING:
    from provisioning.models import DhcpServer
    from tests.small_isp import SmallIsp

__all__ = ["_ground", "ada", "at", "isp", "otto"]
Hosts = Callable[[], list[dict[str, Any]]]


@pytest.fixture(scope="session")
def _kea_url(django_db_setup: None) -> Iterator[str]:
    """Kea's own tables, made by its own script."""
    with kea.database("kea") as url:
        yield url


@pytest.fixture
def kea_url(_kea_url: str) -> str:
    databases.execute(
        "DELETE FROM hosts; SELECT set_config('kea.disable_audit', 'true', false);"
        " DELETE FROM dhcp4_subnet",
        _kea_url,
    )
    return _kea_url


@pytest.fixture
def hosts(kea_url: str) -> Hosts:
    """Read all reservations of Kea, as it sees them."""

    def read() -> list[dict[str, Any]]:
        with closing(psycopg2.connect(kea_url)) as connection, connection.cursor() as cursor:
            cursor.execute(
                "SELECT dhcp_identifier, dhcp_identifier_type, dhcp4_subnet_id,"
                " host(('0.0.0.0'::inet + ipv4_address)), dhcp4_client_classes, user_context"
                " FROM hosts ORDER BY host_id"
            )
            names = ("identifier", "type", "subnet", "address", "classes", "context")
            rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        return [row | {"identifier": bytes(row["identifier"])} for row in rows]

    return read


@pytest.fixture
def dhcp(isp: SmallIsp, kea_url: str, at: datetime) -> DhcpServer:
    """The fibre network's lines get their addresses by DHCP."""
    from django.core.management import call_command

    from ipam.models import AddressServer
    from provisioning import dhcp_servers

    call_command("dhcp_server", "fibre-dhcp", kea.RESERVED, verbosity=0)
    return dhcp_servers.connect_dhcp(
        address_server=AddressServer.objects.get(name="fibre-dhcp"),
        provider=isp.fibre,
        technology=None,
        hosts_url=kea_url,
        at=at,
    )
