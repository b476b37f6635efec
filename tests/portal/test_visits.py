"""When the technician comes: on the order's page, and the page to choose another time."""

from datetime import datetime, time, timedelta

import pytest
from django.test import Client

from ispops.parties.models import Subscriber
from provisioning import visit_results, visiting, visits
from provisioning.models import InstallSlot, ProductOrder
from tests import factories
from tests.portal.pages import page
from tests.small_isp import SmallIsp, place

pytestmark = pytest.mark.django_db


@pytest.fixture
def slots(isp: SmallIsp, now: datetime) -> list[InstallSlot]:
    return visits.add_slots(
        city="Barre", region="VT", first_day=(now + timedelta(days=3)).date(),
        hours=[(time(8), time(12)), (time(13), time(17))], capacity=1, at_weekends=True,
        actor=None, at=now,
    )  # fmt: skip


@pytest.fixture
def order(isp: SmallIsp, ada: Subscriber, slots: list[InstallSlot], now: datetime) -> ProductOrder:
    made = factories.order(ada, isp.oak_1, isp.fast.code, at=now)
    factories.work(at=now)
    return made


def booked(order: ProductOrder) -> InstallSlot:
    visit = visiting.visit_of(order)
    assert visit is not None
    return visit.slot


def test_the_order_says_when_and_leads_to_another_time(
    owner: Client, order: ProductOrder, slots: list[InstallSlot]
) -> None:
    found = page(owner.get(f"/orders/{order.public_id}/"))
    assert visiting.in_words(slots[0]) in found.text
    assert "We are setting up your line" in found.text
    now = f"Our technician comes on {visiting.in_words(slots[0])}. Then we switch your line on."
    assert now in found.text
    (link,) = found.all("a", href=f"/orders/{order.public_id}/visit/")

    choice = page(owner.get(link["href"]))
    radios = choice.all("input", type="radio", name="slot")
    assert [radio["value"] for radio in radios] == [slot.public_id for slot in slots[1:]]
    assert visiting.day_in_words(slots[2]) in choice.text

    sent = owner.post(link["href"], {"slot": slots[5].public_id})
    assert sent["Location"] == f"/orders/{order.public_id}/"
    assert booked(order) == slots[5]
    assert visiting.in_words(slots[5]) in page(owner.get(sent["Location"])).text


def test_what_cannot_be_is_said_beside_the_times(
    owner: Client, isp: SmallIsp, order: ProductOrder, slots: list[InstallSlot], now: datetime
) -> None:
    address = f"/orders/{order.public_id}/visit/"
    bob = factories.subscriber(at=now, name="Bob")
    other = factories.order(bob, place("3 OAK ST"), isp.fast.code, at=now)
    visits.book_visit(order_id=other.pk, slot_id=slots[4].pk, actor=None, at=now)
    for given, words in (
        ({}, "Choose a time."),
        ({"slot": "x"}, "There is no such time."),
        ({"slot": slots[4].public_id}, "This time has just been taken."),
    ):
        found = page(owner.post(address, given), status=422)
        assert words in found.text
        assert found.all("a", href="#id_slot")
    assert booked(order) == slots[0]


def test_soon_before_it_only_a_call_helps(
    owner: Client, order: ProductOrder, now: datetime, settings: object
) -> None:
    settings.VISIT_NOTICE = timedelta(days=5)  # type: ignore[attr-defined]
    assert not page(owner.get(f"/orders/{order.public_id}/")).all(
        "a", href=f"/orders/{order.public_id}/visit/"
    )
    found = page(owner.get(f"/orders/{order.public_id}/visit/"))
    assert "too late" in found.text
    assert not found.all("input", type="radio")


def test_a_visit_is_its_owners_alone(
    client: Client, stranger: Client, order: ProductOrder, slots: list[InstallSlot]
) -> None:
    address = f"/orders/{order.public_id}/visit/"
    page(stranger.get(address), status=404)
    page(stranger.post(address, {"slot": slots[3].public_id}), status=404)
    assert client.get(address)["Location"].startswith("/accounts/login/")
    assert booked(order) == slots[0]


def test_a_visit_in_vain_asks_for_another_time(
    owner: Client, order: ProductOrder, slots: list[InstallSlot], now: datetime
) -> None:
    otto = factories.staff("Operations", at=now)
    visit = visiting.visit_of(order)
    assert visit is not None
    visit_results.fail_visit(
        visit_id=visit.pk, failure="nobody_home", actor=otto, note="Rang twice.",
        at=slots[0].ends_at,
    )  # fmt: skip
    address = f"/orders/{order.public_id}/"

    found = page(owner.get(address))
    assert "We need you: choose when our technician can come." in found.text
    assert f"Our technician came on {visiting.in_words(slots[0])}, and nobody was at" in found.text
    assert "Rang twice" not in found.text
    (link,) = found.all("a", href=f"{address}visit/")

    owner.post(link["href"], {"slot": slots[5].public_id})
    assert booked(order) == slots[5]
    found = page(owner.get(address))
    assert "We need you" not in found.text
    assert visiting.in_words(slots[5]) in found.text
