"""Routers and modems that are configured by an ACS: their orders, and every fault on the way."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from ispops.errors import InvalidInput
from ispops.parties.models import Subscriber, User
from provisioning import equipment, execution, fallout, suspending
from provisioning.models import (
    AaaCredential,
    EquipmentModel,
    OutsideSystem,
    ProductOrder,
    Service,
    SubscriberEquipment,
)
from tests import factories
from tests.equipment import nbi
from tests.provisioning import ground
from tests.small_isp import SmallIsp

USERNAME, PASSWORD = (
    f"InternetGatewayDevice.WANDevice.1.WANConnectionDevice.1.WANPPPConnection.1.{name}"
    for name in ("Username", "Password")
)
PATHS = f"{USERNAME} = {{username}}\n{PASSWORD} = {{password}}\n"
# With a dot and a blank, which the address of a task may not hold as they are.
DEVICE, SERIAL = "202BC1-BM632w 1.0-000001", "000001"


@pytest.fixture
def acs(settings: Any) -> Iterator[nbi.Nbi]:
    with nbi.running() as running:
        settings.ACS_URL, settings.ACS_TOKEN = running.url + "/", "let-us-in"
        running.devices = {DEVICE: SERIAL}
        yield running


@pytest.fixture
def model(isp: SmallIsp, at: datetime) -> EquipmentModel:
    return equipment.set_model(name="BM632w", parameters=PATHS, at=at)


@pytest.fixture
def order(
    isp: SmallIsp, ada: Subscriber, acs: nbi.Nbi, model: EquipmentModel, at: datetime
) -> ProductOrder:
    """An order whose line has a device, before any worker touched it."""
    placed = factories.order(ada, isp.oak_1, isp.fast.code, at=at)
    note(Service.objects.get(), model, at)
    return placed


def note(line: Service, model: EquipmentModel, at: datetime, serial: str = SERIAL) -> Any:
    return equipment.note_equipment(service=line, model=model, serial=serial, actor=None, at=at)


def login() -> dict[str, str]:
    kept = AaaCredential.objects.get()
    return {USERNAME: kept.username, PASSWORD: kept.secret}


def cease(line: Service, otto: User, at: datetime) -> ProductOrder:
    placed = suspending.cease_line(
        line=line, channel="csr", placed_by=otto, idempotency_key="cease", at=at
    )
    factories.work(at=at)
    return placed


class TestOrder:
    def test_the_device_knows_its_line_before_it_is_live(
        self, order: ProductOrder, acs: nbi.Nbi, at: datetime
    ) -> None:
        factories.work(at=at)
        assert acs.has == {DEVICE: login()}
        kinds = list(ground.states(order))
        assert kinds.index("create_credentials") < kinds.index("configure_equipment")
        assert kinds.index("configure_equipment") < kinds.index("go_live")
        done = ground.last_try(ground.step(order, "configure_equipment"))
        assert done.request == {"device": DEVICE, "paths": [USERNAME, PASSWORD]}
        assert AaaCredential.objects.get().secret not in str(done.request) + done.detail
        assert acs.tokens == {"Bearer let-us-in"}

    def test_without_a_device_there_is_nothing_to_do(
        self, isp: SmallIsp, ada: Subscriber, acs: nbi.Nbi, at: datetime
    ) -> None:
        order = factories.order(ada, isp.oak_1, isp.fast.code, at=at)
        factories.work(at=at)
        order.refresh_from_db()
        assert order.state == "completed"
        assert acs.asked == []

    def test_without_an_acs_there_is_no_step(
        self, isp: SmallIsp, ada: Subscriber, at: datetime
    ) -> None:
        order = factories.order(ada, isp.oak_1, isp.fast.code, at=at)
        assert "configure_equipment" not in ground.states(order)

    def test_at_the_end_it_forgets_the_line(
        self, order: ProductOrder, acs: nbi.Nbi, otto: User, at: datetime
    ) -> None:
        factories.work(at=at)
        ended = cease(Service.objects.get(), otto, at)
        assert ground.states(ended)["clear_equipment"] == "completed"
        assert acs.has == {DEVICE: {USERNAME: "", PASSWORD: ""}}
        assert SubscriberEquipment.objects.get().serial == "", "it may serve another line"


class TestFaults:
    def test_a_device_that_is_away_does_not_stop_the_others(
        self, isp: SmallIsp, order: ProductOrder, acs: nbi.Nbi, model: EquipmentModel, otto: User,
        at: datetime,
    ) -> None:  # fmt: skip
        acs.away = {DEVICE}
        for minute in range(0, 120, 10):
            factories.work(at=at + timedelta(minutes=minute))
        task = ground.step(order, "configure_equipment")
        assert (task.state, task.cause) == ("fallout", "gave_up")
        assert "not reached" in ground.last_try(task).detail
        assert OutsideSystem.objects.get(key="acs").open_until is None, "the ACS is well"
        assert len(acs.queue) == 1, "asked many times, it is to be done once"
        fallout.skip_task(task_id=task.pk, actor=otto, reason="set up by telephone", at=at)
        factories.work(at=at)
        order.refresh_from_db()
        assert order.state == "completed"

    def test_a_device_that_takes_its_time_is_asked_again(
        self, order: ProductOrder, acs: nbi.Nbi, at: datetime, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as hasty:
            hasty.setattr(equipment, "ACS_SECONDS", 0.5)
            acs.slow_seconds = 2
            factories.work(at=at)
        task = ground.step(order, "configure_equipment")
        assert "not finished" in ground.last_try(task).detail
        assert OutsideSystem.objects.get(key="acs").failures == 0
        acs.slow_seconds = 0
        factories.work(at=at + timedelta(minutes=1))
        assert acs.has == {DEVICE: login()}

    def test_it_comes_back(self, order: ProductOrder, acs: nbi.Nbi, at: datetime) -> None:
        acs.away = {DEVICE}
        factories.work(at=at)
        acs.away = set()
        factories.work(at=at + timedelta(minutes=1))
        assert acs.has == {DEVICE: login()}
        assert acs.queue == {}, "what was asked before is taken back"

    def test_what_others_asked_of_it_stays(
        self, order: ProductOrder, acs: nbi.Nbi, at: datetime
    ) -> None:
        values = [["Device.WiFi.SSID.1.SSID", "home", "xsd:string"]]
        theirs = {"_id": "f", "device": DEVICE, "name": "setParameterValues"}
        acs.queue = {"f": theirs | {"parameterValues": values}}
        factories.work(at=at)
        assert list(acs.queue) == ["f"]

    @pytest.mark.parametrize(
        ("break_it", "cause"),
        [
            ({"devices": {}}, "equipment_unknown"),
            ({"devices": {"A": SERIAL, "B": SERIAL}}, "equipment_unknown"),
            ({"refusing": "Invalid parameter name"}, "equipment_refused"),
            ({"status": 403}, "acs_refused"),
            ({"status": 302}, "acs_refused"),
        ],
        ids=["unknown", "two of them", "refused", "no token", "led elsewhere"],
    )
    def test_what_a_person_must_see_to(
        self, order: ProductOrder, acs: nbi.Nbi, at: datetime, break_it: dict[str, Any], cause: str
    ) -> None:
        vars(acs).update(break_it)
        factories.work(at=at)
        task = ground.step(order, "configure_equipment")
        assert (task.state, task.cause) == ("fallout", cause)
        assert acs.queue == {}, "nothing is left to be done by surprise"
        assert SubscriberEquipment.objects.get().last_error != ""

    @pytest.mark.parametrize("status", [500, 503, 504, 429])
    def test_an_acs_in_trouble_is_left_alone(
        self, order: ProductOrder, acs: nbi.Nbi, at: datetime, status: int
    ) -> None:
        acs.status = status
        for minute in range(0, 60, 5):
            factories.work(at=at + timedelta(minutes=minute))
        assert ground.step(order, "configure_equipment").state == "ready"
        system = OutsideSystem.objects.get(key="acs")
        assert system.open_until is not None
        assert system.last_error == f"The ACS answers {status}."

    def test_an_acs_that_is_gone_is_tried_again(
        self, order: ProductOrder, acs: nbi.Nbi, settings: Any, at: datetime
    ) -> None:
        settings.ACS_URL = "http://127.0.0.1:1"
        factories.work(at=at)
        task = ground.step(order, "configure_equipment")
        assert task.state == "ready"
        assert "does not answer" in ground.last_try(task).detail


class TestLater:
    def test_a_device_that_is_swapped_is_configured_by_the_sweep(
        self, order: ProductOrder, acs: nbi.Nbi, model: EquipmentModel, at: datetime
    ) -> None:
        factories.work(at=at)
        acs.devices["NEW"] = "000002"
        note(Service.objects.get(), model, at, "000002")
        assert equipment.sync_due(at=at + timedelta(minutes=1), limit=5) == 1
        assert acs.has["NEW"] == login()
        assert equipment.sync_due(at=at + timedelta(minutes=1), limit=5) == 0

    def test_an_order_that_is_taken_back_clears_it(
        self, order: ProductOrder, acs: nbi.Nbi, otto: User, at: datetime
    ) -> None:
        from provisioning import orders

        while ground.states(order)["configure_equipment"] != "completed":
            assert execution.run_due(at=at, limit=1)
        orders.cancel_order(order_id=order.pk, actor=otto, reason="changed their mind", at=at)
        equipment.sync_due(at=at + timedelta(minutes=1), limit=5)
        assert acs.has == {DEVICE: {USERNAME: "", PASSWORD: ""}}


class TestInput:
    @pytest.mark.parametrize(
        "parameters",
        ["", "Username = {username}", "Device.A.B", "Device.A.B = {secret}", "Device.A.B = {",
         "Device.Ä.B = x", "Device.A;B = x", "\n".join(f"Device.A.{n} = x" for n in range(21))],
    )  # fmt: skip
    def test_bad_parameters(self, isp: SmallIsp, at: datetime, parameters: str) -> None:
        before = ground.rows()
        with pytest.raises(InvalidInput) as refused:
            equipment.set_model(name="X", parameters=parameters, at=at)
        assert refused.value.field == "parameters"
        assert ground.rows() == before

    def test_a_model_is_changed_and_its_name_is_its_own(
        self, model: EquipmentModel, at: datetime
    ) -> None:
        equipment.set_model(model_id=model.pk, name="BM632", parameters=PATHS, at=at)
        assert EquipmentModel.objects.get().name == "BM632"
        with pytest.raises(InvalidInput) as refused:
            equipment.set_model(name="BM632", parameters=PATHS, at=at)
        assert refused.value.field == "name"

    @pytest.mark.parametrize("serial", ["", " ", "x" * 65, "käse", "a\nb"])
    def test_bad_serials(
        self, isp: SmallIsp, ada: Subscriber, model: EquipmentModel, at: datetime, serial: str
    ) -> None:
        factories.order(ada, isp.oak_1, isp.fast.code, at=at)
        before = ground.rows()
        with pytest.raises(InvalidInput) as refused:
            note(Service.objects.get(), model, at, serial)
        assert refused.value.field == "serial"
        assert ground.rows() == before

    def test_one_line_a_device_and_a_living_one(
        self, isp: SmallIsp, order: ProductOrder, model: EquipmentModel, otto: User, at: datetime
    ) -> None:
        bob = factories.subscriber(at=at, email="bob@example.com")
        factories.order(bob, isp.oak_1, isp.fast.code, at=at)
        other = Service.objects.get(subscriber=bob)
        with pytest.raises(InvalidInput, match="another line's"):
            note(other, model, at)
        Service.objects.filter(pk=other.pk).update(state="ceased")
        with pytest.raises(InvalidInput) as refused:
            note(other, model, at, "000003")
        assert refused.value.field == "service"
