"""Figure 7 on the portal: another plan, another address, a pause, the end; and strangers."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

import pytest
from django.test import Client

from provisioning.models import ProductOrder, Service
from tests import factories
from tests.portal.pages import Page, page
from tests.provisioning import later
from tests.small_isp import SmallIsp

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _faster(isp: SmallIsp) -> None:
    later.faster(isp)


def start(owner: Client, line: Service) -> str:
    """Ask for the plans of a line; returns the address of the choice."""
    answer = owner.post(f"/account/lines/{line.public_id}/plans/")
    assert answer.status_code == 302
    return str(answer["Location"])


def review(owner: Client, choice: str, **asked: str) -> tuple[str, Page]:
    query = "&".join(f"{name}={value}" for name, value in asked.items())
    address = f"{choice}review/?{query}"
    return address, page(owner.get(address))


def place(owner: Client, address: str, found: Page) -> ProductOrder:
    sent = {"idempotency_key": found.value("idempotency_key")}
    answer = owner.post(address, sent)
    assert answer.status_code == 302, answer.content.decode()[:2000]
    assert owner.post(address, sent)["Location"] == answer["Location"]
    order = ProductOrder.objects.latest("placed_at")
    assert order.public_id in answer["Location"]
    return order


class TestAnotherPlan:
    def test_the_plans_beside_each_other(self, owner: Client, line: Service) -> None:
        found = page(owner.get(start(owner, line)))
        assert "You have this" in found.text
        assert "USD 30.00 a month more than now" in found.text
        assert "on the network of Old Copper: you get a new line" in found.text
        assert "Office" not in found.text

    def test_now(self, owner: Client, line: Service, now: datetime) -> None:
        address, found = review(owner, start(owner, line), plan="fibre-1000", when="now")
        assert "USD 60.00 a month" in found.text
        assert "USD 90.00 a month" in found.text
        order = place(owner, address, found)
        assert (order.intent, order.wanted_from, order.channel) == ("change", None, "portal")
        factories.work(at=order.placed_at)
        line.refresh_from_db()
        assert line.offering.code == "fibre-1000"
        assert "Your line has changed" in page(owner.get(f"/orders/{order.public_id}/")).text

    def test_with_the_next_period_and_taken_back(self, owner: Client, line: Service) -> None:
        address, found = review(owner, start(owner, line), plan="fibre-and-films", when="next")
        assert re.search("Comes Films", found.text)
        order = place(owner, address, found)
        assert order.state == "pending"
        shown = page(owner.get(f"/orders/{order.public_id}/"))
        assert "We have your order, and begin when its day comes." in shown.text
        assert "Take this order back" in shown.text
        assert "Working on it" not in shown.text
        owner.post(f"/orders/{order.public_id}/cancel/")
        order.refresh_from_db()
        assert order.state == "cancelled"

    def test_a_change_of_network(self, owner: Client, line: Service) -> None:
        address, found = review(owner, start(owner, line), plan="dsl-25", when="now")
        assert "a new line on the network of Old Copper" in found.text
        assert place(owner, address, found).intent == "provider_change"

    def test_what_cannot_be_ordered_says_why(self, owner: Client, line: Service) -> None:
        choice = start(owner, line)
        later.cease(line, line.created_at + timedelta(days=40), wanted_from=None)
        for plan in ("fibre-1000", "fibre-500"):
            address = f"{choice}review/?plan={plan}&when=now"
            for answer in (owner.get(address), owner.post(address, {"idempotency_key": "k"})):
                found = page(answer, 409)
                assert "is not done yet" in found.text
                assert not found.all("form", **{"class": "form"})
        assert ProductOrder.objects.filter(intent="change").count() == 0

    def test_no_plan_goes_back(self, owner: Client, line: Service) -> None:
        choice = start(owner, line)
        assert owner.get(f"{choice}review/?plan=nothing")["Location"] == choice


class TestMoving:
    def test_to_a_new_address(self, owner: Client, line: Service, now: datetime) -> None:
        address = f"/account/lines/{line.public_id}/move/"
        assert "Where do you move to?" in page(owner.get(address)).text
        answer = owner.post(address, {"address": "3 Oak Street, Barre, VT 05641"})
        choice = answer["Location"]
        assert "Choose a plan for the new address" in page(owner.get(choice)).text
        last = (now + timedelta(days=30)).date().isoformat()
        where, found = review(owner, choice, plan="fibre-500", old_day=last)
        assert "3 Oak" in found.text
        order = place(owner, where, found)
        assert order.intent == "move"
        assert order.tasks.get(kind="cease_service").begins_at > now + timedelta(days=29)

    def test_which_of_several(self, owner: Client, line: Service) -> None:
        address = f"/account/lines/{line.public_id}/move/"
        found = page(owner.post(address, {"address": "5 Oak Street, Barre, VT 05641"}))
        picked = found.all("input", name="premises", type="radio")
        assert len(picked) == 2
        answer = owner.post(address, {"premises": picked[0]["value"]})
        assert answer.status_code == 302

    def test_the_last_day_of_the_calendar(self, owner: Client, line: Service) -> None:
        address = f"/account/lines/{line.public_id}/move/"
        choice = owner.post(address, {"address": "3 Oak Street, Barre, VT 05641"})["Location"]
        answer = owner.get(f"{choice}review/?plan=fibre-500&old_day=9999-12-31")
        assert (answer.status_code, answer["Location"]) == (302, choice)

    def test_nowhere(self, owner: Client, line: Service) -> None:
        address = f"/account/lines/{line.public_id}/move/"
        assert "Enter an address" in page(owner.post(address, {"address": ""}), 422).text


class TestPausingAndEnding:
    def test_a_pause(self, owner: Client, line: Service) -> None:
        address = f"/account/lines/{line.public_id}/pause/"
        order = place(owner, address, page(owner.get(address)))
        assert order.intent == "suspend"
        factories.work(at=order.placed_at)
        line.refresh_from_db()
        assert line.state == "suspended"

    def test_an_end_on_a_day(self, owner: Client, line: Service, now: datetime) -> None:
        address = f"/account/lines/{line.public_id}/end/"
        found = page(owner.get(address))
        assert "You pay to the last day and no longer" in found.text
        sent = {
            "idempotency_key": found.value("idempotency_key"),
            "wanted_from": (now + timedelta(days=9)).date().isoformat(),
        }
        assert owner.post(address, sent).status_code == 302
        order = ProductOrder.objects.get(intent="cease")
        assert order.wanted_from is not None
        assert order.wanted_from > now + timedelta(days=9)

    def test_a_day_that_is_over(self, owner: Client, line: Service, now: datetime) -> None:
        address = f"/account/lines/{line.public_id}/end/"
        sent = {
            "idempotency_key": page(owner.get(address)).value("idempotency_key"),
            "wanted_from": (now - timedelta(days=9)).date().isoformat(),
        }
        assert "from today on" in page(owner.post(address, sent), 409).text
        sent["wanted_from"] = "9999-12-31"
        assert "within a year" in page(owner.post(address, sent), 409).text
        assert not ProductOrder.objects.filter(intent="cease").exists()


def test_a_stranger_finds_nothing(
    stranger: Client, owner: Client, line: Service, isp: SmallIsp
) -> None:
    choice = start(owner, line)
    for name in ("pause", "end", "move"):
        assert stranger.get(f"/account/lines/{line.public_id}/{name}/").status_code == 404
    assert stranger.get(choice).status_code == 404
    assert stranger.get(f"{choice}review/?plan=fibre-1000").status_code == 404
    order = later.cease(line, line.created_at + timedelta(days=40))
    assert stranger.post(f"/orders/{order.public_id}/cancel/").status_code == 404
