"""Technicians' visits by the API: the times there are, and choosing one."""

from datetime import date, datetime, time, timedelta
from typing import Any

import pytest
from django.test import Client

from ispops.parties.models import Subscriber
from provisioning import visits
from provisioning.models import Appointment, InstallSlot, ProductOrder
from tests import factories
from tests.provisioning.test_api import API, post, problem
from tests.small_isp import SmallIsp, place


@pytest.fixture
def slots(isp: SmallIsp, now: datetime) -> list[InstallSlot]:
    first_day: date = (now + timedelta(days=3)).date()
    return visits.add_slots(
        city="Barre", region="VT", first_day=first_day, hours=[(time(8), time(12))], capacity=1,
        at_weekends=True, actor=None, at=now,
    )  # fmt: skip


@pytest.fixture
def order(
    isp: SmallIsp, asker: Subscriber, slots: list[InstallSlot], now: datetime
) -> ProductOrder:
    made = factories.order(asker, isp.oak_1, isp.fast.code, at=now)
    factories.work(at=now)
    return made


@pytest.fixture
def path(order: ProductOrder) -> str:
    return f"/product_orders/{order.public_id}"


def test_a_program_chooses_another_time(
    client: Client, asker: Subscriber, token: Any, path: str, slots: list[InstallSlot]
) -> None:
    ada = token(asker.users.get())
    booked = client.get(f"{API}{path}/appointment", headers=ada).json()
    assert booked["slot"]["id"] == slots[0].public_id
    offered = client.get(f"{API}{path}/install_slots", headers=ada).json()
    assert [slot["id"] for slot in offered] == [slot.public_id for slot in slots[1:]]
    assert offered[0]["words"].endswith("8:00 to 12:00")

    wanted = {"slot": offered[2]["id"]}
    moved = post(client, f"{path}/appointment", wanted, ada)
    assert moved.status_code == 201, moved.content
    assert moved.json()["slot"]["id"] == wanted["slot"]
    again = post(client, f"{path}/appointment", wanted, ada)
    assert again.json() == moved.json()
    assert Appointment.objects.count() == 2


def test_what_cannot_be_chosen_names_the_field(
    client: Client, isp: SmallIsp, asker: Subscriber, token: Any, path: str,
    slots: list[InstallSlot], now: datetime,
) -> None:  # fmt: skip
    ada = token(asker.users.get())
    bob = factories.subscriber(at=now, name="Bob")
    other = factories.order(bob, place("3 OAK ST"), isp.fast.code, at=now)
    visits.book_visit(order_id=other.pk, slot_id=slots[3].pk, actor=None, at=now)
    for number, (slot, status, code) in enumerate(
        [
            (slots[3].public_id, 409, "slot_full"),
            ("slt_" + "0" * 32, 422, "invalid_input"),
            ("ord_x", 422, "invalid_input"),
        ]
    ):
        answer = post(client, f"{path}/appointment", {"slot": slot}, ada, key=f"k{number}")
        problem(answer, status, code, "slot")
    assert post(client, f"{path}/appointment", {}, ada, key="none").status_code in {400, 422}


def test_another_s_order_is_not_there(
    client: Client, token: Any, path: str, slots: list[InstallSlot], now: datetime
) -> None:
    mallory = token(factories.subscriber(at=now, name="Mallory").users.get())
    for address in ("install_slots", "appointment"):
        problem(client.get(f"{API}{path}/{address}", headers=mallory), 404, "not_found")
    answer = post(client, f"{path}/appointment", {"slot": slots[2].public_id}, mallory)
    problem(answer, 404, "not_found")


def test_an_order_that_nobody_comes_for(
    client: Client, isp: SmallIsp, asker: Subscriber, token: Any, now: datetime
) -> None:
    ada = token(asker.users.get())
    order = factories.order(asker, isp.oak_1, isp.fast.code, at=now)
    path = f"{API}/product_orders/{order.public_id}"
    assert client.get(f"{path}/install_slots", headers=ada).json() == []
    problem(client.get(f"{path}/appointment", headers=ada), 404, "not_found")
