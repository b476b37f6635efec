"""What somebody sees who takes the first login that `make run` prints: a life that is under way."""

import re

import pytest
from playwright.sync_api import Browser, expect

from ispops.demo import people
from tests.journeys.test_one_subscriber import EMAIL, PATIENCE, picture
from tests.stack import Stack

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]


def test_the_first_login_has_a_past(browser: Browser, stack: Stack) -> None:
    printed = (stack.folder / "logins.txt").read_text().splitlines()[0]
    _, email, password, address = printed.split()
    assert (email, password) == (people.LIVING.email, people.LIVING.password)
    assert address.startswith("http")
    page = browser.new_context(
        base_url=stack.url, viewport={"width": 1280, "height": 1000}, locale="en-US"
    ).new_page()
    page.set_default_timeout(PATIENCE)
    page.goto("/account/usage/")
    page.get_by_role("textbox", name=EMAIL).fill(email)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    line = page.get_by_role("region", name=re.compile("Harbor Fiber 300"))
    expect(line).to_contain_text(re.compile("(69|70|71) % used"))
    expect(page.get_by_role("region", name=re.compile("^By "))).to_contain_text("would cost")
    picture(page, "usage")
    page.get_by_role("link", name="Bill", exact=True).click()
    expect(page.get_by_role("region", name="Earlier bills")).to_contain_text("Bill 1")
    page.get_by_role("link", name="Shop", exact=True).click()
    expect(page.get_by_role("article", name="Safe at Home")).to_contain_text("Active")
    page.get_by_role("link", name=re.compile("^What you bought")).click()
    expect(page.get_by_role("table")).to_contain_text("200 GB more")
    page.get_by_role("link", name=re.compile("^Devices")).click()
    expect(page.get_by_text("A device asks for one more address")).to_be_visible()
