"""Figure 7 on a subscriber's behalf, looked at before it is ordered: plans, products, a move."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from ispops.models import Event
from ispops.parties import roles
from ispops.parties.models import AuditEntry
from provisioning import visits
from provisioning.models import ProductOrder, Service
from tests import factories
from tests.console.conftest import NOW, World
from tests.portal.pages import Page
from tests.provisioning import ground, later
from tests.provisioning.test_visits import plan_week

pytestmark = pytest.mark.django_db


@pytest.fixture
def desk(as_role: Callable[[str], Client], world: World) -> Client:
    later.faster(world.isp)
    later.boost()
    return as_role(roles.CSR)


def choose(desk: Client, line: Service) -> str:
    """Ask what the line's own address can have; returns the address of the choice."""
    answer: Any = desk.post(reverse("admin:console_check_line", args=[line.public_id]))
    assert answer.status_code == 302
    return str(answer["Location"])


def move(desk: Client, line: Service, to: str) -> str:
    answer: Any = desk.post(
        reverse("admin:console_move_line", args=[line.public_id]), {"address": to}
    )
    assert answer.status_code == 302
    return str(answer["Location"])


def preview(choice: str, **wanted: object) -> str:
    return f"{choice.replace('/choose/', '/preview/')}?{urlencode(wanted, doseq=True)}"


def read(desk: Client, address: str, status: int = 200) -> Page:
    answer = desk.get(address)
    assert answer.status_code == status
    return Page(answer.content.decode())


def place(desk: Client, address: str, **sent: str) -> ProductOrder:
    """Press the button under a preview, twice."""
    usual = {
        "idempotency_key": read(desk, address).value("idempotency_key"),
        "reason": "She called",
    }
    answers: list[Any] = [desk.post(address, usual | sent) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [302, 302], answers[0].content.decode()
    order = ProductOrder.objects.latest("placed_at", "pk")
    assert {answer["Location"] for answer in answers} == {
        reverse("admin:console_order", args=[order.public_id])
    }
    return order


class TestOnTheLine:
    def test_the_choice_shows_what_there_is(self, desk: Client, world: World) -> None:
        told = read(desk, choose(desk, world.line)).text
        for words in ("As it is: Fibre 500", "Fibre 1000", "a new line on the network of", "Boost"):
            assert words in told

    def test_looking_changes_nothing(self, desk: Client, world: World) -> None:
        address = preview(choose(desk, world.line), plan="fibre-1000")
        before, told = ground.rows(), Event.objects.count()
        read(desk, address)
        assert ground.rows() == before
        assert Event.objects.count() == told

    def test_another_plan_now(self, desk: Client, world: World) -> None:
        address = preview(choose(desk, world.line), plan="fibre-1000", when="now")
        told = read(desk, address).text
        for words in ("Fibre 500 → Fibre 1000", "~ changes", "= stays", "before tax"):
            assert words in told
        order = place(desk, address)
        assert (order.intent, order.channel, order.reason) == ("change", "csr", "She called")
        said = AuditEntry.objects.get(action="order.placed", subject=order.public_id)
        assert (said.actor, said.reason) == (order.placed_by, "She called")
        factories.work(at=timezone.now())
        world.line.refresh_from_db()
        assert world.line.offering.code == "fibre-1000"

    def test_with_the_next_period(self, desk: Client, world: World) -> None:
        address = preview(choose(desk, world.line), plan="fibre-1000", when="next")
        order = place(desk, address)
        assert order.state == "pending"
        assert order.wanted_from is not None
        assert order.wanted_from > NOW

    def test_a_boost_for_a_time_and_a_product(self, desk: Client, world: World) -> None:
        last = (NOW + timedelta(days=6)).date()
        address = preview(
            choose(desk, world.line), add=["boost"], when="now", boost_day=last.isoformat()
        )
        assert "ends by itself" in read(desk, address).text
        place(desk, address)
        factories.work(at=timezone.now())
        boost = world.line.carried.get(offering__code="boost")
        assert boost.state == "active"
        assert boost.ends_at is not None
        assert boost.ends_at.date() == last + timedelta(days=1)
        removed = place(desk, preview(choose(desk, world.line), remove=["boost"], when="now"))
        factories.work(at=timezone.now())
        boost.refresh_from_db()
        assert (boost.state, removed.intent) == ("ceased", "change")

    def test_another_network(self, desk: Client, world: World) -> None:
        address = preview(choose(desk, world.line), plan="dsl-25", when="now")
        assert place(desk, address).intent == "provider_change"

    def test_what_is_under_way_is_said_before(self, desk: Client, world: World) -> None:
        choice = choose(desk, world.line)
        order = later.change(world.line, NOW, plan_code="fibre-1000")
        assert "is being changed already" in read(desk, choice).text
        told = read(desk, preview(choice, add="boost"), status=409)
        assert f"{order.public_id} is not done yet" in told.text
        assert not told.all("button", type="submit", **{"class": "c-button c-primary"})

    @pytest.mark.parametrize(
        ("wanted", "words"),
        [
            ({}, "nothing would change"),
            ({"plan": "fibre-1000", "day": "2020-01-01"}, "from today on"),
            ({"add": "boost", "boost_day": "2026-11-22"}, "from today on"),
        ],
    )
    def test_what_makes_no_sense_says_why(
        self, desk: Client, world: World, wanted: dict[str, str], words: str
    ) -> None:
        assert words in read(desk, preview(choose(desk, world.line), **wanted), status=409).text

    @pytest.mark.parametrize(
        "wanted",
        [
            {"plan": "nothing"},
            {"day": "tomorrow"},
            {"when": "day"},
            {"add": "fibre-1000"},
            {"old_day": "9999-12-31"},
        ],
    )
    def test_what_cannot_be_read_goes_back(
        self, desk: Client, world: World, wanted: dict[str, str]
    ) -> None:
        choice = choose(desk, world.line)
        assert desk.get(preview(choice, **wanted))["Location"] == choice

    def test_nothing_without_a_reason(self, desk: Client, world: World) -> None:
        address = preview(choose(desk, world.line), plan="fibre-1000", when="now")
        answer = desk.post(address, {"idempotency_key": "k", "reason": " "})
        assert answer.status_code == 409
        assert "Say why" in answer.content.decode()
        assert not ProductOrder.objects.filter(intent="change").exists()

    def test_a_line_that_has_ended_is_not_there(self, desk: Client, world: World) -> None:
        choice = choose(desk, world.line)
        Service.objects.filter(pk=world.line.pk).update(state="ceased")
        assert desk.get(choice).status_code == 404


class TestMoving:
    def test_with_an_overlap_and_a_visit(self, desk: Client, world: World) -> None:
        slots = plan_week(NOW, first_day=date(2026, 11, 30))
        choice = move(desk, world.line, "3 Oak Street, Barre, VT 05641")
        last = (NOW + timedelta(days=30)).date()
        address = preview(choice, plan="fibre-500", when="now", old_day=last.isoformat())
        shown = read(desk, address)
        assert "needed" in shown.text
        order = place(desk, address, slot=slots[3].public_id)
        assert order.intent == "move"
        assert order.appointments.get(state="booked").slot == slots[3]
        assert order.tasks.get(kind="cease_service").begins_at.date() == last + timedelta(days=1)

    def test_a_time_that_was_taken_meanwhile_orders_nothing(
        self, desk: Client, world: World
    ) -> None:
        slots = plan_week(NOW, first_day=date(2026, 11, 30))
        address = preview(move(desk, world.line, "3 Oak Street, Barre, VT 05641"), plan="fibre-500")
        key = read(desk, address).value("idempotency_key")
        type(slots[0]).objects.filter(pk=slots[3].pk).delete()
        sent = {"idempotency_key": key, "reason": "x", "slot": slots[3].public_id}
        assert desk.post(address, sent).status_code == 409
        assert not ProductOrder.objects.filter(intent="move").exists()

    def test_which_of_several(self, desk: Client, world: World) -> None:
        address = reverse("admin:console_move_line", args=[world.line.public_id])
        shown = Page(
            desk.post(address, {"address": "5 Oak Street, Barre, VT 05641"}).content.decode()
        )
        picked = [each["value"] for each in shown.all("input", name="premises_id")]
        assert len(picked) == 2
        assert desk.post(address, {"premises_id": picked[0]}).status_code == 302

    @pytest.mark.parametrize("address", ["", "nowhere at all", "prm_1"])
    def test_nowhere(self, desk: Client, world: World, address: str) -> None:
        where = reverse("admin:console_move_line", args=[world.line.public_id])
        answer = desk.post(where, {"address": address})
        assert answer.status_code == 422
        assert "c-bad" in answer.content.decode()

    def test_a_boost_for_a_time_is_had_later(self, desk: Client, world: World) -> None:
        choice = move(desk, world.line, "3 Oak Street, Barre, VT 05641")
        address = preview(choice, plan="fibre-500", add="boost", boost_day="2027-01-01")
        assert "when the new line works" in read(desk, address, status=409).text


class TestAmending:
    def amending(self, order: ProductOrder, **wanted: object) -> str:
        address = reverse("admin:console_preview_amendment", args=[order.public_id])
        return f"{address}?{urlencode(wanted, doseq=True)}"

    def test_another_plan_and_day(self, desk: Client, world: World) -> None:
        order = later.change(
            world.line, NOW, plan_code="fibre-1000", wanted_from=NOW + timedelta(days=9)
        )
        shown = read(desk, reverse("admin:console_amend_order", args=[order.public_id]))
        assert shown.all("input", name="plan", value="fibre-1000", checked="")
        address = self.amending(order, plan="fibre-and-films", when="day", day="2026-12-24")
        before = ground.rows()
        assert "Films" in read(desk, address).text
        assert ground.rows() == before
        answer: Any = desk.post(address, {"idempotency_key": "k", "reason": "She called again"})
        assert answer.status_code == 302
        order.refresh_from_db()
        assert order.wanted_from is not None
        assert order.wanted_from.date() == date(2026, 12, 24)
        line = order.items.get(offering__kind="access")
        assert (line.action, line.bundle) == ("modify", world.isp.bundle)
        said = AuditEntry.objects.filter(action="order.amended", subject=order.public_id)
        assert {each.reason for each in said} == {"She called again"}

    def test_the_very_moment_stays_where_the_day_does(self, desk: Client, world: World) -> None:
        moment = NOW + timedelta(days=9, minutes=7)
        order = later.change(world.line, NOW, plan_code="fibre-1000", wanted_from=moment)
        day = moment.date().isoformat()
        address = self.amending(order, plan="fibre-1000", when="day", day=day)
        assert "nothing would change" in read(desk, address, status=409).text
        address = self.amending(
            order, plan="fibre-1000", remove="films-streaming", when="day", day=day
        )
        desk.post(address, {"idempotency_key": "k", "reason": "More"})
        order.refresh_from_db()
        assert order.wanted_from == moment
        assert order.items.filter(offering__code="films-streaming", action="delete").exists()

    def test_of_an_end_only_the_day(self, desk: Client, world: World) -> None:
        order = later.cease(world.line, NOW, wanted_from=NOW + timedelta(days=9))
        shown = read(desk, reverse("admin:console_amend_order", args=[order.public_id]))
        assert not shown.all("input", name="plan")
        answer: Any = desk.post(
            self.amending(order, when="day", day="2026-12-24"),
            {"idempotency_key": "k", "reason": "Later"},
        )
        assert answer.status_code == 302
        order.refresh_from_db()
        assert order.wanted_from is not None
        assert order.wanted_from.date() == date(2026, 12, 24)

    def test_a_new_line_keeps_its_visit_or_says_that_it_cannot(
        self, desk: Client, world: World
    ) -> None:
        slots = plan_week(NOW, first_day=date(2026, 11, 30))
        order = factories.order(world.bob, world.isp.oak_1, "fibre-500", at=NOW)
        visits.book_visit(order_id=order.pk, slot_id=slots[3].pk, actor=None, at=NOW)
        kept = read(desk, self.amending(order, plan="fibre-1000", when="now"))
        assert "stays booked" in kept.text
        lost = read(desk, self.amending(order, plan="dsl-25", when="now"))
        assert "is given back: it does not fit" in lost.text

    def test_an_old_answer_is_asked_again(self, desk: Client, world: World) -> None:
        old = NOW - timedelta(days=60)
        order = later.change(
            world.line, NOW, plan_code="fibre-1000", wanted_from=NOW + timedelta(days=9)
        )
        order.qualification = factories.qualified(world.line.premises, at=old)
        order.save(update_fields=["qualification"])
        address = reverse("admin:console_amend_order", args=[order.public_id])
        assert "too old" in read(desk, address).text
        asked: Any = desk.post(address)
        assert read(desk, asked["Location"]).all("input", name="plan", value="fibre-1000")

    def test_what_is_done_cannot_be_amended(self, desk: Client, world: World) -> None:
        order = later.change(world.line, NOW, plan_code="fibre-1000")
        factories.work(at=NOW)
        page = read(desk, reverse("admin:console_order", args=[order.public_id]))
        assert "Amend…" not in page.text
        told = read(desk, self.amending(order, plan="fibre-500"), status=409)
        assert "taken effect" in told.text or "nothing would change" in told.text
