"""Where Kea servers run: said by a person, checked, noted, and read by the registry."""

from __future__ import annotations

from typing import Any

import pytest

from ipam import allocation, kea_servers
from ipam.models import AddressServer, KeaServer
from ipam.servers import registry
from ipam.servers.base import Range, ServerRefused, Use
from ipam.servers.kea import Kea, subnet_of
from ispops.errors import InvalidInput
from ispops.parties.models import AuditEntry
from tests.ipam.ground import NOON, an_isp

SETTINGS: dict[str, Any] = {
    "control_socket": "/run/kea/kea4.socket",
    "config_url": "postgresql://isp:hush@localhost/kea",
    "subnet": "100.64.0.0/16",
}


@pytest.fixture
def server(db: None) -> AddressServer:
    return allocation.create_server(name="dhcp-1", kind="dhcp", secret="long enough to be good")


def connect(server: AddressServer, **changes: Any) -> KeaServer:
    return kea_servers.connect_kea(server=server, at=NOON, **SETTINGS | changes)


def test_it_is_connected_changed_and_noted_without_its_password(server: AddressServer) -> None:
    made = connect(server)
    kea_servers.change_kea(kea_server_id=made.pk, at=NOON, shared_network="fibre", config_url="")
    made.refresh_from_db()
    assert (made.shared_network, made.config_url) == ("fibre", SETTINGS["config_url"])
    notes = list(AuditEntry.objects.order_by("pk").values_list("action", "detail"))
    assert [action for action, _ in notes] == ["kea_server.connected", "kea_server.changed"]
    assert "hush" not in str(notes)
    spoken = registry.adapter_of(server, 4)
    assert isinstance(spoken, Kea)
    assert spoken.place.shared_network == "fibre"
    with pytest.raises(kea_servers.KeaServerExists):
        connect(server)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("control_socket", "kea4.socket"),
        ("lease_file", "leases.csv"),
        ("config_url", "mysql://isp@localhost/kea"),
        ("config_url", "postgresql:///kea"),
        ("subnet", "100.64.0.1/16"),
        ("subnet", "2001:db8::/32"),
        ("subnet_id", 0),
    ],
)
def test_what_cannot_be_is_refused_with_its_field(
    server: AddressServer, field: str, value: Any
) -> None:
    with pytest.raises(InvalidInput) as refused:
        connect(server, **{field: value})
    assert refused.value.field == field
    assert not KeaServer.objects.exists()


def test_a_range_goes_into_the_subnet_or_becomes_one_of_the_network(server: AddressServer) -> None:
    place = registry.place_of(connect(server, shared_network="fibre"))
    inside, outside = Range(5, "100.64.8.0/24", 32, "leased"), Range(6, "10.0.0.0/24", 32, "leased")
    assert subnet_of(place, inside).number == 1
    made = subnet_of(place, outside)
    assert (made.number, made.prefix, made.shared_network) == (1_000_006, "10.0.0.0/24", "fibre")
    KeaServer.objects.update(shared_network="")
    with pytest.raises(ServerRefused, match=r"outside 100\.64\.0\.0/16"):
        registry.adapter_of(server, 4).add_range(outside)
    with pytest.raises(ServerRefused, match="Nothing says where"):
        registry.adapter_of(server, 6)


def test_freeradius_is_told_nothing_and_counted_by_our_own_rows(db: None) -> None:
    isp = an_isp()
    isp.ask("aa:bb:cc:00:00:01")
    adapter = registry.adapter_of(isp.server, 4)
    mine = registry.range_of(isp.dynamic)
    adapter.add_range(mine)
    assert adapter.confirm(mine) == 0
    assert adapter.utilisation([mine]) == [Use(mine, total=254, assigned=1)]
