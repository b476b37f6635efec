"""A price is made in a real browser: its kind chooses the fields, the examples follow."""

import re

import pytest
from playwright.sync_api import Browser, Page, expect

from ispops.demo import people
from tests.stack import Stack

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]


@pytest.fixture
def desk(browser: Browser, stack: Stack) -> Page:
    page = browser.new_context(
        base_url=stack.url, viewport={"width": 390, "height": 800}, locale="en-US"
    ).new_page()
    login = next(login for login in people.LOGINS if login.title == "Catalogue")
    page.goto("/console/")
    page.get_by_role("textbox", name=re.compile("e-?mail", re.IGNORECASE)).fill(login.email)
    page.get_by_label("Password").fill(login.password)
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_url(re.compile("/console/$"))
    return page


def test_fields_follow_the_kind_and_examples_what_is_typed(desk: Page) -> None:
    desk.goto("/console/prices/cinebox-stream/new/")
    preview = desk.locator("#preview")
    expect(desk.get_by_label("Amount of a block of units")).to_be_visible()
    expect(desk.locator("#tiers")).to_be_hidden()
    desk.get_by_label("Unit of use").fill("minute")
    desk.get_by_label("Amount of a block of units").fill("0.10")
    expect(preview).to_contain_text("USD 0.10 for each minute")
    desk.get_by_label("Kind of price").select_option("volume")
    # What belongs to another kind is hidden, and not sent.
    expect(desk.locator("#id_amount")).to_be_hidden()
    expect(preview).to_contain_text("This model needs tiers.")
    desk.get_by_label("Up to").first.fill("100")
    desk.locator("#id_tiers-0-amount").fill("0.20")
    desk.locator("#id_tiers-1-amount").fill("0.10")
    expect(preview).to_contain_text("101 minutes")
    desk.get_by_role("button", name="One more tier").click()
    expect(desk.locator("#id_tiers-2-amount")).to_be_visible()
    expect(desk.locator("#id_tiers-0-amount")).to_have_value("0.20")
    desk.locator("#id_tiers-1-up_to").fill("50")
    desk.locator("#id_tiers-2-amount").fill("0.05")
    expect(preview).to_contain_text("Tier 2: Each tier ends later than the one before.")
    desk.locator("#id_tiers-1-up_to").fill("500")
    expect(preview).to_contain_text("501 minutes")
    assert desk.evaluate("document.documentElement.scrollWidth <= innerWidth")
    desk.get_by_label("Name of a draft").fill("By the hundred")
    desk.get_by_role("button", name="Keep as a draft").click()
    expect(desk.get_by_text("The draft is kept. Nothing is charged by it.")).to_be_visible()
    desk.get_by_role("button", name="Try it on past use").click()
    expect(desk.get_by_text("Completed")).to_be_visible(timeout=60_000)
