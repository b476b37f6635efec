"""A coverage list from the form to the line and back, in a real browser and with a real worker."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from ispops.demo import coverage, people
from ispops.parties.models import Partner
from qualification.models import CoverageArea, Premises
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


def write_list(stack: Stack, path: Path) -> int:
    """Write a list for every cell of Alaska, where nobody delivers, with a row that is wrong."""
    with stack.orm():
        cells = sorted(
            set(Premises.objects.filter(region="AK").values_list("h3_res8", flat=True)) - {""}
        )
    rows = [f"50,{cell},300,300" for cell in cells]
    header = "technology,h3_res8,max_download_mbps,max_upload_mbps"
    path.write_text("\n".join([header, *rows, "50,nowhere,1,1"]))
    return len(cells)


def test_a_list_is_sent_looked_at_applied_and_rolled_back(
    ops: Page, stack: Stack, tmp_path: Path
) -> None:
    count = write_list(stack, tmp_path / "alaska.csv")
    ops.goto("/console/lists/")
    ops.get_by_label("CSV file").set_input_files(tmp_path / "alaska.csv")
    ops.get_by_label("What it is").select_option(label="Coverage by location, address or H3 cell")
    ops.get_by_label("Whose coverage it is").select_option(coverage.FIBER)
    ops.get_by_role("button", name="Check the list").click()
    # The page follows the worker by itself, and shows the preview when it is there.
    expect(ops.get_by_text("Checked, not applied yet")).to_be_visible(timeout=60_000)
    assert ops.evaluate("document.documentElement.scrollWidth <= innerWidth")
    with ops.expect_download() as download:
        ops.get_by_role("link", name="Download the rejected rows").click()
    assert download.value.suggested_filename == "alaska-rejected.csv"
    assert ",h3_res8,This is no H3 cell" in Path(download.value.path()).read_text()

    expect(ops.get_by_text(f"delivers at {count:,} places more")).to_be_visible()
    ops.get_by_role("button", name="Apply this list").click()
    expect(ops.get_by_text("Roll back…")).to_be_visible(timeout=60_000)
    with stack.orm():
        fiber = Partner.objects.get(code=coverage.FIBER)
        alaska = CoverageArea.objects.filter(provider=fiber, added_by__isnull=False, valid_to=None)
        assert alaska.count() == count

    ops.get_by_text("Roll back…").click()
    ops.get_by_label("Why?").fill("Alaska has to wait")
    ops.get_by_role("button", name="Roll this list back").click()
    expect(ops.get_by_text(f"Rolled back: {count:,}")).to_be_visible(timeout=60_000)
    with stack.orm():
        assert alaska.all().count() == 0
