"""Equipment and its models in the console: written by verbs, with the field that is wrong."""

from __future__ import annotations

from collections.abc import Callable

from django.test import Client
from django.urls import reverse

from ispops.parties import roles
from provisioning.models import EquipmentModel, SubscriberEquipment
from tests.console.conftest import World

PATHS = "Device.PPP.Interface.1.Username = {username}"


def test_a_model_is_written_by_operations_and_a_device_noted_by_a_csr(
    world: World, as_role: Callable[[str], Client]
) -> None:
    operations, csr = as_role(roles.OPERATIONS), as_role(roles.CSR)
    add_model = reverse("admin:provisioning_equipmentmodel_add")
    assert csr.get(add_model).status_code == 403
    wrong = operations.post(add_model, {"name": "BM632w", "parameters": "Username"})
    assert "is no line like" in wrong.content.decode()
    operations.post(add_model, {"name": "BM632w", "parameters": PATHS})
    model = EquipmentModel.objects.get()
    add = reverse("admin:provisioning_subscriberequipment_add")
    given = {"line": world.line.public_id, "model": model.pk, "serial": "000001"}
    assert as_role(roles.FINANCE).post(add, given).status_code == 403
    unknown = csr.post(add, given | {"line": "svc_0"}).content.decode()
    assert "no line with this id" in unknown
    assert csr.post(add, given).status_code == 302
    noted = SubscriberEquipment.objects.get()
    assert (noted.service_id, noted.serial) == (world.line.pk, "000001")
    assert noted.noted_by is not None
    change = reverse("admin:provisioning_subscriberequipment_change", args=[noted.pk])
    csr.post(change, {"model": model.pk, "serial": "000002"})
    noted.refresh_from_db()
    assert (noted.service_id, noted.serial) == (world.line.pk, "000002")
    listed = csr.get(reverse("admin:provisioning_subscriberequipment_changelist"), {"q": "000002"})
    assert "000002" in listed.content.decode()
