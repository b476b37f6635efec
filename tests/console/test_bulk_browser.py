"""A file of addresses from the form to the answers, in a real browser and with a real worker."""

import csv
import io
import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from ispops.demo import people, places
from tests.stack import Stack

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
ASKED = (
    places.TWO_NETWORKS, places.DSL_ONLY, places.NOT_COVERED, places.SEVERAL_UNITS,
    places.WITH_CONSTRUCTION, places.FULL_NODE, places.UNLISTED, places.OUTSIDE, "Main Street",
)  # fmt: skip


@pytest.fixture
def csr(browser: Browser, stack: Stack) -> Page:
    page = browser.new_context(
        base_url=stack.url, viewport={"width": 390, "height": 800}, locale="en-US"
    ).new_page()
    login = next(login for login in people.LOGINS if login.title == "CSR")
    page.goto("/console/")
    page.get_by_role("textbox", name=re.compile("e-?mail", re.IGNORECASE)).fill(login.email)
    page.get_by_label("Password").fill(login.password)
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_url(re.compile("/console/$"))
    return page


def test_a_file_is_sent_followed_and_fetched(csr: Page, tmp_path: Path) -> None:
    list_file = tmp_path / "spring.csv"
    with list_file.open("w", newline="") as file:
        csv.writer(file).writerows([["id", "address"], *enumerate(ASKED * 200)])
    csr.goto("/console/qualify/")
    csr.get_by_role("link", name="Qualify a file of addresses").click()
    csr.get_by_label("CSV file").set_input_files(list_file)
    csr.get_by_role("button", name="Qualify the file").click()
    # The page follows the worker by itself, and stops doing so when the file is done.
    expect(csr.locator("#bulk")).to_contain_text("1,800 of 1,800 rows", timeout=90_000)
    expect(csr.locator("#bulk")).to_contain_text("Completed")
    expect(csr.get_by_text("Cancel the file")).to_have_count(0)
    assert csr.evaluate("document.documentElement.scrollWidth <= innerWidth")
    with csr.expect_download() as download:
        csr.get_by_role("link", name="Download the answers").click()
    assert download.value.suggested_filename == "spring-answers.csv"
    text = Path(download.value.path()).read_text("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["id"] for row in rows] == [str(number) for number in range(1_800)]
    assert [row["result_state"] for row in rows[: len(ASKED)]] == [
        "qualified", "qualified", "not_qualified", "choose", "qualified_with_construction",
        # Fiber is full there, and the cable network must be asked before it can be promised.
        "confirm_with_provider", "qualified", "out_of_footprint", "unusable",
    ]  # fmt: skip
