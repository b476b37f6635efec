"""Figure 7 on the portal: single products, a boost for a time, and changing an open order."""

from __future__ import annotations

from datetime import datetime, timedelta
from urllib.parse import urlencode

import pytest
from django.test import Client
from django.utils import timezone

from provisioning import visits
from provisioning.models import ProductOrder, Service
from tests import factories
from tests.portal.pages import page
from tests.portal.test_lines import place, review
from tests.provisioning import ground, later
from tests.provisioning.test_visits import plan_week
from tests.small_isp import SmallIsp

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _more(isp: SmallIsp) -> None:
    later.faster(isp)
    later.boost()


def start(owner: Client, line: Service) -> str:
    """Ask what can come to a line; returns the address of the choice."""
    answer = owner.post(f"/account/lines/{line.public_id}/extras/")
    assert answer.status_code == 302
    return str(answer["Location"])


def looked_at(choice: str) -> str:
    return choice.replace("/extras/", "/plans/")


class TestSingleProducts:
    def test_a_boost_for_a_week(self, owner: Client, line: Service, now: datetime) -> None:
        choice = start(owner, line)
        shown = page(owner.get(choice))
        assert "200 Mbit/s more down" in shown.text
        terms = [each["value"] for each in shown.all("input", name="boost_day")]
        assert len(terms) == 4
        assert terms[0] == ""
        address, found = review(
            owner, looked_at(choice), add="boost", boost_day=terms[2], when="now"
        )
        assert "then it ends by itself" in found.text
        assert "USD 70.00 a month" in found.text
        order = place(owner, address, found)
        factories.work(at=order.placed_at)
        boost = line.carried.get(offering__code="boost")
        assert boost.ends_at is not None
        assert timedelta(days=6) < boost.ends_at - order.placed_at <= timedelta(days=7)
        assert later.speed(line) == (700_000, 600_000)
        assert "to the end of" in page(owner.get("/account/")).text

    def test_a_product_comes_and_goes(self, owner: Client, line: Service) -> None:
        for name, words, state in (
            ("add", "Comes Films", "active"),
            ("remove", "Ends Films", "ceased"),
        ):
            address, found = review(
                owner, looked_at(start(owner, line)), **{name: "films-streaming"}, when="now"
            )
            assert words in found.text
            order = place(owner, address, found)
            factories.work(at=order.placed_at)
            assert line.carried.latest("created_at").state == state

    def test_with_the_next_period(self, owner: Client, line: Service) -> None:
        address, found = review(
            owner, looked_at(start(owner, line)), add="films-streaming", when="next"
        )
        assert "Until then you pay as now" in found.text
        assert place(owner, address, found).state == "pending"

    def test_nothing_chosen(self, owner: Client, line: Service) -> None:
        answer = owner.get(f"{looked_at(start(owner, line))}review/?when=now")
        assert "nothing would change" in page(answer, 409).text

    def test_looking_changes_nothing(self, owner: Client, line: Service) -> None:
        choice = looked_at(start(owner, line))
        before = ground.rows()
        review(owner, choice, add="boost", when="now")
        assert ground.rows() == before


class TestAnOpenOrder:
    @pytest.fixture
    def order(self, line: Service, now: datetime) -> ProductOrder:
        return later.change(line, now, plan_code="fibre-1000", wanted_from=now + timedelta(days=9))

    def test_another_plan(self, owner: Client, order: ProductOrder) -> None:
        assert "Change this order" in page(owner.get(f"/orders/{order.public_id}/")).text
        where = f"/orders/{order.public_id}/change/"
        form = page(owner.get(where))
        assert "this is ordered" in form.text
        day = form.value("day")
        asked = urlencode({"plan": "fibre-and-films", "when": "day", "day": day})
        address = f"{where}review/?{asked}"
        found = page(owner.get(address))
        assert "Comes Films" in found.text
        answer = owner.post(address, {"idempotency_key": found.value("idempotency_key")})
        assert answer["Location"] == f"/orders/{order.public_id}/"
        before = order.wanted_from
        order.refresh_from_db()
        assert order.wanted_from == before
        assert order.items.filter(offering__code="films-streaming", action="add").exists()
        assert "Films" in page(owner.get(f"/orders/{order.public_id}/")).text

    def test_now_instead_of_later(self, owner: Client, line: Service, order: ProductOrder) -> None:
        address = f"/orders/{order.public_id}/change/review/?plan=fibre-1000&when=now"
        found = page(owner.get(address))
        owner.post(address, {"idempotency_key": found.value("idempotency_key")})
        order.refresh_from_db()
        assert order.wanted_from is None
        factories.work(at=timezone.now())
        line.refresh_from_db()
        assert line.offering.code == "fibre-1000"

    def test_of_an_end_the_day_alone(self, owner: Client, line: Service, now: datetime) -> None:
        order = later.cease(line, now, wanted_from=now + timedelta(days=9))
        where = f"/orders/{order.public_id}/change/"
        assert not page(owner.get(where)).all("input", name="plan")
        day = (now + timedelta(days=20)).date().isoformat()
        address = f"{where}review/?{urlencode({'when': 'day', 'day': day})}"
        found = page(owner.get(address))
        owner.post(address, {"idempotency_key": found.value("idempotency_key")})
        order.refresh_from_db()
        assert order.wanted_from is not None
        assert order.wanted_from.date() == now.date() + timedelta(days=20)

    def test_the_visit_that_was_chosen(
        self, owner: Client, isp: SmallIsp, line: Service, now: datetime
    ) -> None:
        """It stays with another plan, and is said to be lost where nobody has to come."""
        slots = plan_week(now, first_day=(now + timedelta(days=3)).date())
        order = factories.order(line.subscriber, isp.oak_1, "fibre-500", at=now)
        visits.book_visit(order_id=order.pk, slot_id=slots[3].pk, actor=None, at=now)
        where = f"/orders/{order.public_id}/change/review/"
        assert "as it is booked" in page(owner.get(f"{where}?plan=fibre-1000")).text
        assert "does not come on" in page(owner.get(f"{where}?plan=dsl-25")).text
        owner.post(f"{where}?plan=fibre-1000", {"idempotency_key": "k"})
        assert order.appointments.get(state="booked").slot == slots[3]

    def test_what_is_done_or_ours_is_not_changed(
        self, owner: Client, line: Service, now: datetime
    ) -> None:
        done = later.change(line, now, plan_code="fibre-1000")
        factories.work(at=now)
        assert owner.get(f"/orders/{done.public_id}/change/").status_code == 404
        ours = later.suspend(line, now, "abuse", wanted_from=now + timedelta(days=9))
        address = f"/orders/{ours.public_id}/change/review/?when=now"
        assert "only we can" in page(owner.get(address), 409).text
        assert "Change this order" not in page(owner.get(f"/orders/{ours.public_id}/")).text

    def test_a_stranger_finds_nothing(
        self, stranger: Client, owner: Client, line: Service, order: ProductOrder
    ) -> None:
        for name in ("", "review/?plan=fibre-500"):
            assert stranger.get(f"/orders/{order.public_id}/change/{name}").status_code == 404
        assert stranger.post(f"/orders/{order.public_id}/change/").status_code == 404
        assert stranger.get(start(owner, line)).status_code == 404
        assert stranger.post(f"/account/lines/{line.public_id}/extras/").status_code == 404
