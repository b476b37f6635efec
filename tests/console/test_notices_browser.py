"""A notice is worded while its preview follows, tried out, and comes from a real worker."""

import re

import pytest
from playwright.sync_api import Browser, Page, expect

from ispops.demo import people
from tests.stack import Stack

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]


@pytest.fixture
def ops(browser: Browser, stack: Stack) -> Page:
    page = browser.new_context(
        base_url=stack.url, viewport={"width": 390, "height": 800}, locale="en-US"
    ).new_page()
    login = next(login for login in people.LOGINS if login.title == "Operations")
    page.goto("/console/")
    page.get_by_role("textbox", name=re.compile("e-?mail", re.IGNORECASE)).fill(login.email)
    page.get_by_label("Password").fill(login.password)
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_url(re.compile("/console/$"))
    return page


def test_the_preview_follows_the_words_and_a_test_arrives(ops: Page, stack: Stack) -> None:
    ops.goto("/console/texts/line_ceased/")
    preview = ops.locator("#preview")
    body = ops.get_by_label("Text", exact=True)
    body.fill("Goodbye {{ nmae }}")
    expect(preview).to_contain_text("There is no {{ nmae }} in this notice.")
    body.fill("Goodbye {{ name }}, from {{ premises }}. <b>")
    expect(preview).to_contain_text("Goodbye Ada Lovelace, from 1 Oak Street")
    expect(preview).to_contain_text("<b>")
    assert ops.evaluate("document.documentElement.scrollWidth <= innerWidth")
    ops.get_by_role("button", name="Send a test").click()
    expect(ops.get_by_text("A test is on its way")).to_be_visible()
    # What was typed is still there, and saved only now.
    expect(body).to_have_value(re.compile("Goodbye {{ name }}"))
    ops.get_by_role("button", name="Save").click()
    expect(ops.get_by_text("What is written from now on has these words.")).to_be_visible()
    expect(ops.get_by_text("Version 1")).to_be_visible()
    for _ in range(60):
        ops.goto("/mail/?to=otto@harbor.example")
        if ops.get_by_text("Goodbye Ada Lovelace").count():
            break
        ops.wait_for_timeout(500)
    expect(ops.get_by_text("Goodbye Ada Lovelace").first).to_be_visible()
    ops.goto("/console/texts/line_ceased/")
    ops.get_by_text("Back to the product's words…").click()
    ops.get_by_role("button", name="Back to the product's words").click()
    expect(ops.get_by_text("The text is the one of the product again.")).to_be_visible()
