"""Figure 7 through the faces: faster now and slower later, a move by a CSR, and the end of a line.

The subscriber's browser has no scripts: every page of these journeys works without.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
from playwright.sync_api import Browser, Page, expect

from ispops.demo import people
from tests.stack import Stack

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
EMAIL = re.compile("e-?mail", re.IGNORECASE)
PASSWORD = "lovelace-1843"
PATIENCE = 30_000


@pytest.fixture
def opened(browser: Browser, stack: Stack) -> Callable[..., Page]:
    """Open a browser that is signed in as somebody."""

    def sign_in(email: str, password: str, where: str, *, scripts: bool) -> Page:
        context = browser.new_context(
            base_url=stack.url, viewport={"width": 1280, "height": 1000}, locale="en-US",
            java_script_enabled=scripts,
        )  # fmt: skip
        context.set_default_timeout(PATIENCE)
        expect.set_options(timeout=PATIENCE)
        page = context.new_page()
        page.goto(where)
        page.get_by_role("textbox", name=EMAIL).fill(email)
        page.get_by_label("Password").fill(password)
        page.get_by_role("button", name="Sign in").click()
        return page

    return sign_in


# A house of its own: other journeys of the same run have lines in theirs.
HOME = "91 Eldridge Street, Manchester, CT 06040"


@dataclass(frozen=True)
class Line:
    """A live line of the demonstration's cable network, with a partner's product on it."""

    id: str
    subscriber: str
    email: str
    address: str
    username: str

    def read(self, stack: Stack) -> Facts:
        """What stands in the database of the line, its port, addresses, login and products."""
        from ipam.models import AddressHolder, Allocation
        from provisioning.models import AaaCredential, Service, ServiceOrder
        from qualification.models import AccessPort

        with stack.orm():
            line = Service.objects.select_related("offering").get(pk=Service.key_of(self.id))
            of_it = {"service__in": line.carried.all()}
            return Facts(
                state=line.state,
                plan=line.offering.code,
                ports=AccessPort.objects.filter(service_ref=self.id).count(),
                is_let_in=AaaCredential.objects.get(service=line).enabled,
                holds=AddressHolder.objects.filter(service_ref=self.id, ended_at=None).count(),
                addresses=Allocation.objects.filter(
                    holder__service_ref=self.id, state="active"
                ).count(),
                products=sorted(line.carried.values_list("offering__code", "state")),
                ended_at_partner=ServiceOrder.objects.filter(**of_it, state="cancelled").count(),
            )


@dataclass(frozen=True)
class Facts:
    state: str
    plan: str
    ports: int
    is_let_in: bool
    holds: int
    addresses: int
    products: list[tuple[str, str]]
    ended_at_partner: int


def make_line(stack: Stack, email: str, name: str) -> Line:
    """Order a line at a house with two networks, and wait until the workers have switched it on."""
    from django.utils import timezone

    from provisioning import orders
    from provisioning.models import Service
    from qualification import qualify
    from tests import factories

    at = timezone.now()
    with stack.orm():
        subscriber = factories.subscriber(at=at, email=email, name=name)
        answer = qualify.qualify_address(text=HOME, channel="portal", at=at)

    def is_settled() -> bool:
        with stack.orm():
            answer.refresh_from_db()
        return answer.state != "pending"

    stack.until(is_settled, "both networks have answered", seconds=60)
    with stack.orm():
        order = orders.place_order(
            subscriber=subscriber,
            qualification=answer,
            offering_codes=["cable-200", "shieldwall-family"],
            channel="portal",
            placed_by=subscriber.users.get(),
            idempotency_key="first",
            at=timezone.now(),
        )

    def is_done() -> bool:
        with stack.orm():
            order.refresh_from_db()
        return order.state == "completed"

    stack.until(is_done, "the line is on", seconds=60)
    with stack.orm():
        line = Service.objects.select_related("credential").get(
            subscriber=subscriber, line__isnull=True
        )
        return Line(
            line.public_id,
            subscriber.public_id,
            email,
            str(line.premises),
            line.credential.username,
        )


def next_door(stack: Stack, line: Line) -> str:
    """A place in the same cell, so on the same networks."""
    from provisioning.models import Service
    from qualification.models import Premises

    with stack.orm():
        here = Service.objects.select_related("premises").get(pk=Service.key_of(line.id)).premises
        there = Premises.objects.filter(h3_res8=here.h3_res8, unit="").exclude(pk=here.pk)
        return there.order_by("-pk")[0].public_id


def until_it_says(page: Page, words: str) -> None:
    """Load the page again until its heading says this: the browser has no scripts."""
    for _ in range(60):
        if words in page.get_by_role("heading", level=1).inner_text():
            return
        page.wait_for_timeout(500)
        page.reload()
    raise AssertionError(page.locator("main").inner_text())


def test_faster_now_and_slower_with_the_next_period(
    opened: Callable[..., Page], stack: Stack
) -> None:
    line = make_line(stack, "upgrade@example.com", "Una Upgrade")
    page = opened(line.email, PASSWORD, "/account/", scripts=False)
    page.get_by_role("button", name="Change my plan").click()
    page.get_by_label(re.compile("Cable Gig")).check()
    page.get_by_role("button", name="Continue").click()
    what = page.locator("main")
    expect(what).to_contain_text("Cable 200 becomes Cable Gig")
    expect(what).to_contain_text(re.compile("On the bill to .* more"))
    page.get_by_role("button", name="Order the change").click()
    until_it_says(page, "Your line has changed")
    assert line.read(stack).plan == "cable-1000"

    page.get_by_role("link", name="Go to your account").click()
    page.get_by_role("button", name="Change my plan").click()
    page.get_by_label(re.compile("Cable 200")).check()
    page.get_by_label(re.compile("next billing period")).check()
    page.get_by_role("button", name="Continue").click()
    expect(page.locator("main")).to_contain_text("Until then you pay as now")
    page.get_by_role("button", name="Order the change").click()
    expect(page.locator("main")).to_contain_text("begin when its day comes")
    assert line.read(stack).plan == "cable-1000"

    page.get_by_role("link", name="Change this order").click()
    page.get_by_label("As soon as it can").check()
    page.get_by_role("button", name="Continue").click()
    page.get_by_role("button", name="Change the order").click()
    until_it_says(page, "Your line has changed")
    assert line.read(stack).plan == "cable-200"

    page.goto("/account/")
    page.get_by_role("button", name="Add more speed").click()
    page.get_by_label(re.compile("End ShieldWall Family")).check()
    page.get_by_role("button", name="Continue").click()
    page.get_by_role("button", name="Order the change").click()
    until_it_says(page, "Your line has changed")
    assert line.read(stack).products == [("shieldwall-family", "ceased")]


def test_a_csr_moves_a_line(opened: Callable[..., Page], stack: Stack) -> None:
    line = make_line(stack, "mover@example.com", "Mona Mover")
    there = next_door(stack, line)
    cara = next(login for login in people.LOGINS if login.title == "CSR")
    desk = opened(cara.email, cara.password, "/console/", scripts=True)
    desk.goto(f"/console/subscribers/{line.subscriber}/")
    desk.get_by_role("link", name="Move…").click()
    desk.get_by_label(re.compile("New address")).fill(there)
    desk.get_by_role("button", name="Check the address").click()
    same = desk.get_by_label(re.compile("Cable 200, "))
    for _ in range(30):
        if same.count():
            break
        # The cable network is asked about each place, and answers in a moment.
        desk.wait_for_timeout(1_000)
        desk.reload()
    same.check()
    desk.get_by_role("button", name="See what will happen").click()
    expect(desk.get_by_role("row", name=re.compile("Together"))).to_contain_text("USD")
    desk.get_by_label(re.compile("^Why")).fill("She moves on the first")
    desk.get_by_role("button", name="Place this order").click()
    # The page keeps itself up to date.
    expect(desk.locator("#order-state")).to_contain_text("Completed")
    expect(desk.locator("#order-graph")).not_to_have_attribute("hx-get", re.compile("."))
    old = line.read(stack)
    assert (old.state, old.ports, old.is_let_in, old.holds) == ("ceased", 0, False, 0)
    desk.goto(f"/console/subscribers/{line.subscriber}/")
    expect(desk.locator("#lines")).to_contain_text("ShieldWall Family")
    with stack.orm():
        from provisioning.models import Service

        new = Service.objects.get(subscriber__email=line.email, line__isnull=True, state="active")
        assert new.premises.public_id == there
        assert new.carried.get().state == "active"


def test_an_end_frees_all_that_the_line_had(opened: Callable[..., Page], stack: Stack) -> None:
    line = make_line(stack, "leaver@example.com", "Lea Leaver")
    before = line.read(stack)
    assert (before.state, before.is_let_in, before.holds) == ("active", True, 1)
    assert before.products == [("shieldwall-family", "active")]
    page = opened(line.email, PASSWORD, "/account/", scripts=False)
    page.get_by_role("link", name=re.compile("^End ")).click()
    page.get_by_role("button", name=re.compile("^End the line")).click()
    until_it_says(page, "Your line has ended")
    assert line.read(stack) == replace(
        before,
        state="ceased", ports=0, is_let_in=False, holds=0, addresses=0,
        products=[("shieldwall-family", "ceased")], ended_at_partner=1,
    )  # fmt: skip
    cara = next(login for login in people.LOGINS if login.title == "CSR")
    desk = opened(cara.email, cara.password, "/console/", scripts=True)
    desk.goto(f"/console/subscribers/{line.subscriber}/")
    shown = desk.locator("#lines")
    expect(shown).to_contain_text("Ceased")
    expect(shown).to_contain_text("not let in")
    expect(shown.locator("div", has=desk.locator("dt", has_text="Port")).last).to_contain_text("—")
    page.goto("/account/")
    expect(page.get_by_role("heading", name="You have no line")).to_be_visible()
