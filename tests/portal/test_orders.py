"""Figure 4 after the order: watching it."""

from datetime import datetime, timedelta

import pytest
from django.test import Client

from ispops.parties import roles
from ispops.parties.models import Subscriber
from provisioning import orders
from provisioning.models import ProductOrder
from tests import factories
from tests.portal.pages import page
from tests.provisioning import later
from tests.small_isp import SmallIsp

pytestmark = pytest.mark.django_db


@pytest.fixture
def order(isp: SmallIsp, ada: Subscriber, now: datetime) -> ProductOrder:
    return factories.order(ada, isp.oak_1, isp.fast.code, isp.streaming.code, at=now)


def url(order: ProductOrder, seen: str = "") -> str:
    rest = f"progress/?seen={seen}" if seen else ""
    return f"/orders/{order.public_id}/{rest}"


def renewal(html: dict[str, str]) -> str:
    return html.get("hx-get", "")


def test_an_open_order_tells_every_step_in_plain_words(owner: Client, order: ProductOrder) -> None:
    found = page(owner.get(url(order)))
    for said in ("We are setting up your line", "Switch your line on", "Set up Films", "0 of 6"):
        assert said in found.text, said
    (live,) = found.all("div", id="progress")
    assert live["hx-trigger"] == "every 1s"
    assert found.all("p", id="order-now")[0]["aria-live"] == "polite"
    assert "<noscript>" in found.html


def test_steps_that_have_not_changed_are_not_drawn_again(
    owner: Client, order: ProductOrder, now: datetime
) -> None:
    (live,) = page(owner.get(url(order))).all("div", id="progress")
    again = owner.get(renewal(live), headers={"HX-Request": "true"})
    assert (again.status_code, again.content) == (204, b"")
    factories.work(at=now, answer_partners=False)
    changed = page(owner.get(renewal(live), headers={"HX-Request": "true"}))
    assert "Waiting for Films" in changed.text
    assert changed.all("p", id="order-now", **{"hx-swap-oob": "innerHTML"})
    (next_one,) = changed.all("div", id="progress")
    assert renewal(next_one) != renewal(live)
    assert not changed.all("div", id="take-back")
    factories.work(at=now)
    done = page(owner.get(renewal(next_one), headers={"HX-Request": "true"}))
    assert done.all("div", id="take-back", **{"hx-swap-oob": "delete"})
    assert "no-cache" in again["Cache-Control"]


def test_a_finished_order_stops_asking(owner: Client, order: ProductOrder, now: datetime) -> None:
    factories.work(at=now)
    found = page(owner.get(url(order)))
    assert "Your line is on" in found.text
    assert "6 of 6 steps done" in found.text
    (ended,) = found.all("div", id="progress")
    assert "hx-get" not in ended
    assert found.all("a", href="/account/")


def test_a_cancelled_order_says_that_nothing_is_charged(
    owner: Client, order: ProductOrder, ada: Subscriber, now: datetime
) -> None:
    orders.cancel_order(order_id=order.pk, actor=ada.users.get(), reason="Changed my mind", at=now)
    found = page(owner.get(url(order)))
    assert "Order cancelled" in found.text
    assert "Nothing is charged" in found.text
    assert "hx-get" not in found.all("div", id="progress")[0]


def test_the_end_that_we_ordered_is_not_taken_back_here(
    owner: Client, isp: SmallIsp, ada: Subscriber, now: datetime
) -> None:
    line = factories.live_line(isp, ada, at=now)
    csr = factories.staff(roles.CSR, at=now)
    ours = later.cease(line, now, wanted_from=now + timedelta(days=1), placed_by=csr)
    assert "Take this order back" not in page(owner.get(url(ours))).text
    answer = owner.post(f"/orders/{ours.public_id}/cancel/", follow=True)
    assert "Please call us: we placed this order" in page(answer).text
    ours.refresh_from_db()
    assert ours.state == "pending"


@pytest.mark.parametrize("rest", ["", "progress/"])
def test_an_order_is_its_owners_alone(
    client: Client, stranger: Client, owner: Client, order: ProductOrder, rest: str
) -> None:
    address = f"/orders/{order.public_id}/{rest}"
    assert owner.get(address).status_code == 200
    assert "There is nothing here" in page(stranger.get(address), status=404).text
    assert client.get(address)["Location"].startswith("/accounts/login/?next=/orders/")


@pytest.mark.parametrize("address", ["ord_" + "0" * 32, "ord_x", "svc_" + "0" * 32])
def test_an_order_that_is_none_is_not_found(owner: Client, address: str) -> None:
    assert owner.get(f"/orders/{address}/").status_code == 404


def test_the_queries_of_an_order_stay_few(
    owner: Client, order: ProductOrder, django_assert_max_num_queries: object
) -> None:
    with django_assert_max_num_queries(12):  # type: ignore[operator]
        owner.get(url(order))
    with django_assert_max_num_queries(12):  # type: ignore[operator]
        owner.get(url(order, seen="x"))
