"""DHCP servers and reservations in the console: connected, named and written again by verbs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from ipam import allocation
from ipam.models import AddressServer
from ispops.parties import roles
from provisioning.models import DhcpReservation, DhcpServer
from tests.console.conftest import World

URL = "postgresql://isp_ops:hush-hush@kea.example/kea"


@pytest.fixture
def desk(as_role: Callable[[str], Client]) -> Client:
    return as_role(roles.OPERATIONS)


@pytest.fixture
def kea(world: World, desk: Client) -> DhcpServer:
    call_command("dhcp_server", "north-dhcp", "198.51.100.0/25", verbosity=0)
    given = {
        "address_server": AddressServer.objects.get(name="north-dhcp").pk,
        "provider": world.isp.fibre.pk, "technology": "", "subnet_id": 3,
        "circuit_id": "{node}/{port}",
    }  # fmt: skip
    address = reverse("admin:provisioning_dhcpserver_add")
    wrong = desk.post(address, given | {"new_hosts_url": "kea.example"})
    assert "like postgresql://user:password@host/kea" in wrong.content.decode()
    assert not DhcpServer.objects.exists()
    assert desk.post(address, given | {"new_hosts_url": URL}).status_code == 302
    return DhcpServer.objects.get()


def test_the_secret_is_kept_and_never_shown(kea: DhcpServer, desk: Client) -> None:
    assert kea.hosts_url == URL
    page = reverse("admin:provisioning_dhcpserver_change", args=[kea.pk])
    shown = desk.get(page).content.decode()
    assert "hush-hush" not in shown
    desk.post(page, {"subnet_id": 4, "circuit_id": "", "new_hosts_url": ""})
    kea.refresh_from_db()
    assert (kea.subnet_id, kea.circuit_id, kea.hosts_url) == (4, "", URL)


def test_a_device_is_named_and_written_again(
    world: World, kea: DhcpServer, desk: Client, as_role: Callable[[str], Client]
) -> None:
    for device in ("02-00-00-00-00-01", "02-00-00-00-00-02"):
        allocation.release_address(
            service_ref=world.line.public_id, device=device, at=timezone.now(), because="test"
        )
    row = DhcpReservation.objects.create(service=world.line, dhcp_server=kea)
    name = reverse("admin:provisioning_dhcpreservation_name_device", args=[row.pk])
    form = {"_form_submitted": "True", "device": "02-00-00-00-00-09", "reason": "its label"}
    assert as_role(roles.FINANCE).post(name, form).status_code == 403
    row.refresh_from_db()
    assert row.device == ""
    desk.post(name, form)
    row.refresh_from_db()
    assert (row.device, row.access) == ("02:00:00:00:00:09", "open")
    assert row.address is not None
    before = row.revision
    listed = reverse("admin:provisioning_dhcpreservation_changelist")
    shown = desk.get(listed, {"q": "02:00:00:00:00:09"}).content.decode()
    assert row.address in shown
    desk.post(listed, {"action": "write_again", "_selected_action": [row.pk]})
    row.refresh_from_db()
    assert row.revision == before + 1


def test_the_queue_of_a_server_is_counted(world: World, kea: DhcpServer, desk: Client) -> None:
    DhcpReservation.objects.create(service=world.line, dhcp_server=kea)
    shown = desk.get(reverse("admin:provisioning_dhcpserver_changelist")).content.decode()
    assert "field-waiting" in shown
    assert ">1<" in shown
