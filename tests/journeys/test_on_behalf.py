"""Figure 6: somebody calls, a CSR registers them, and they make the login from the letter."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from ispops.demo import people
from tests.stack import Stack

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
EMAIL = re.compile("e-?mail", re.IGNORECASE)
CALLER = "caller@example.com"
# On the cable network too, and no other test has a line there.
HOME = "18 Curry Lane, Manchester, CT 06040"


def test_a_caller_is_registered_and_makes_the_login(browser: Browser, stack: Stack) -> None:
    desk = _opened(browser, stack).new_page()
    _signs_in(desk)
    _asks_for_the_address(desk)
    _fills_in(desk)
    expect(desk.get_by_role("row", name=re.compile("Together"))).to_contain_text("USD 45.00")
    desk.get_by_role("button", name="Place the order and invite them").click()
    expect(desk.get_by_text(f"an invitation goes to {CALLER}")).to_be_visible()

    own = _opened(browser, stack).new_page()
    own.goto(_link_in_the_letter(own, CALLER))
    expect(own.get_by_role("heading", level=1)).to_have_text("Make your login")
    own.get_by_label("Password").fill("a-long-walk-by-the-sea")
    own.get_by_role("button", name="Make my login").click()
    expect(own.get_by_role("heading", level=1)).to_have_text("Hello, Carl Caller")
    own.get_by_role("link", name=re.compile("Cable 200, ")).click()
    expect(own.get_by_role("heading", level=1)).to_have_text("Your line is on")


def _opened(browser: Browser, stack: Stack) -> BrowserContext:
    context = browser.new_context(
        base_url=stack.url, viewport={"width": 1280, "height": 1000}, locale="en-US"
    )
    context.set_default_timeout(30_000)
    expect.set_options(timeout=30_000)
    return context


def _signs_in(desk: Page) -> None:
    cara = next(login for login in people.LOGINS if login.title == "CSR")
    desk.goto("/console/qualify/")
    desk.get_by_role("textbox", name=EMAIL).fill(cara.email)
    desk.get_by_label("Password").fill(cara.password)
    desk.get_by_role("button", name="Sign in").click()


def _asks_for_the_address(desk: Page) -> None:
    desk.goto("/console/qualify/")
    desk.get_by_label("Address, coordinates").fill(HOME)
    desk.get_by_role("button", name="Check the address").click()
    desk.get_by_role("link", name="Register on their behalf").click()


def _fills_in(desk: Page) -> None:
    desk.get_by_label(re.compile("Cable 200 ")).check()
    desk.get_by_label("Full name").fill("Carl Caller")
    desk.get_by_label("E-mail address").fill(CALLER)
    desk.get_by_label("Invoice").check()
    desk.get_by_label("By voice").check()
    desk.get_by_role("button", name="Check and see the price").click()


def _link_in_the_letter(page: Page, email: str) -> str:
    for _ in range(30):
        page.goto(f"/mail/?to={email}")
        found = re.search(r"/invitation/[^/\s]+/", page.locator("main").inner_text())
        if found:
            return found.group(0)
        page.wait_for_timeout(1_000)
    raise AssertionError("no invitation came")
