"""The map of demand in a real browser: on a phone, by keys, in both schemes, under the policy."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from ispops.demo import people
from tests.stack import Stack

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]


@pytest.fixture
def csr(browser: Browser, stack: Stack) -> Iterator[Page]:
    """A narrow browser of a CSR, in which nothing may be reported to the console."""
    page = browser.new_context(
        base_url=stack.url, viewport={"width": 390, "height": 800}, locale="en-US"
    ).new_page()
    login = next(login for login in people.LOGINS if login.title == "CSR")
    page.goto("/console/")
    page.get_by_role("textbox", name=re.compile("e-?mail", re.IGNORECASE)).fill(login.email)
    page.get_by_label("Password").fill(login.password)
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_url(re.compile("/console/$"))
    complaints: list[str] = []
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    assert not complaints


def fits(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


def test_the_map_leads_by_keys_to_the_row_and_closer(csr: Page) -> None:
    csr.goto("/console/demand/")
    map_ = csr.get_by_role("group", name=re.compile("Map of the areas"))
    shape = map_.get_by_role("link", name=re.compile("^Anchorage, AK"))
    shape.focus()
    assert shape.locator("path").evaluate("path => getComputedStyle(path).strokeWidth") == "3px"
    csr.keyboard.press("Enter")
    expect(csr).to_have_url(re.compile("#area-8"))
    row = csr.locator("tr:target")
    expect(row).to_be_in_viewport()
    expect(row).to_contain_text("Anchorage, AK")
    assert fits(csr)
    row.get_by_role("link", name="Look closer").click()
    expect(csr.get_by_text("Show all areas again")).to_be_visible()
    expect(map_.get_by_role("link", name=re.compile("Anchorage")).first).to_be_visible()
    csr.get_by_role("link", name="Show all areas again").click()
    csr.get_by_role("navigation", name="State").get_by_role("link", name=re.compile("^TX")).click()
    expect(csr.locator("[data-rows] tr").first).to_contain_text("TX")
    assert fits(csr)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_shades_and_words_can_be_told_apart_in_both_schemes(
    csr: Page, theme: str, width: int
) -> None:
    csr.set_viewport_size({"width": width, "height": 900})
    csr.evaluate("theme => localStorage.setItem('_x_adminTheme', JSON.stringify(theme))", theme)
    csr.goto("/console/demand/?size=4")
    shades = csr.locator(".c-legend .c-swatch:not(.c-reached)")
    colours = shades.evaluate_all("all => all.map(one => getComputedStyle(one).backgroundColor)")
    assert len(set(colours)) == len(colours) > 2
    drawn = set(
        csr.locator(".c-map a path").evaluate_all(
            "paths => paths.map(path => getComputedStyle(path).fill)"
        )
    )
    assert drawn <= set(colours)
    assert fits(csr)


def test_the_table_is_sorted_and_saved(csr: Page) -> None:
    csr.goto("/console/demand/?region=AZ")
    with csr.expect_download() as taken:
        csr.get_by_role("link", name="Save as CSV").click()
    lines = taken.value.path().read_text().splitlines()
    assert lines[0].startswith("h3_cell,resolution,city,state")
    assert len(lines) == 1 + csr.locator("[data-rows] tr").count()
    csr.set_viewport_size({"width": 1280, "height": 900})
    csr.get_by_role("columnheader", name="Waiting").get_by_role("link").click()
    expect(csr.locator("th[aria-sort=descending]")).to_contain_text("Waiting")
    counts = [int(text) for text in csr.locator("td[data-label=Waiting]").all_inner_texts()]
    assert counts == sorted(counts, reverse=True)
