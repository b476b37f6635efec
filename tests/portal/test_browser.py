"""What only a browser can show: keys, focus, no scripts, a narrow screen, the policy at work."""

import re
from collections.abc import Iterator

import pytest
import requests
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Route, expect

from ispops.demo import people, places, survey
from qualification.models import CoverageArea, Premises
from tests.stack import Stack

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
STREET = places.TWO_NETWORKS.partition(",")[0]


@pytest.fixture
def phone(browser: Browser, stack: Stack) -> Iterator[Page]:
    """A narrow browser, in which nothing may be reported to the console."""
    page = _open(browser, stack).new_page()
    complaints: list[str] = []

    def listen(message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"} and "status of 422" not in message.text:
            complaints.append(message.text)

    page.on("console", listen)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    assert not complaints


def _open(browser: Browser, stack: Stack, *, scripts: bool = True) -> BrowserContext:
    return browser.new_context(
        base_url=stack.url, viewport={"width": 390, "height": 800}, java_script_enabled=scripts
    )


def fits(page: Page) -> bool:
    """Whether nothing sticks out at the side."""
    return bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


def test_an_address_is_chosen_by_keys_alone(phone: Page) -> None:
    phone.goto("/")
    field = phone.get_by_role("combobox")
    field.press_sequentially(STREET[:-2], delay=20)
    options = phone.get_by_role("option")
    # Lists for the first letters may come before it, with other addresses.
    expect(options.first).to_contain_text(STREET)
    expect(field).to_have_attribute("aria-expanded", "true")
    expect(phone.get_by_role("status")).to_contain_text("found")
    field.press("ArrowUp")
    expect(options.last).to_have_attribute("aria-selected", "true")
    field.press("ArrowDown")
    expect(options.first).to_have_attribute("aria-selected", "true")
    expect(field).to_have_attribute("aria-activedescendant", "address-option-1")
    field.press("Enter")
    expect(options).to_have_count(0)
    expect(phone.locator("#id_premises")).to_have_value(re.compile("^prm_"))
    field.press("Enter")
    expect(phone.get_by_role("heading", level=1)).to_contain_text("you can be connected")
    assert fits(phone)


def test_a_late_answer_keeps_the_option_that_was_marked(phone: Page) -> None:
    """On a slow line the list for the last letter comes when somebody is choosing already."""
    held: list[Route] = []
    phone.goto("/")
    field = phone.get_by_role("combobox")
    options = phone.get_by_role("option")
    field.press_sequentially(STREET[:-2], delay=20)
    expect(phone.get_by_role("status")).to_contain_text("found")
    phone.wait_for_load_state("networkidle")
    phone.route("**/check/suggestions/**", lambda route: held.append(route))
    with phone.expect_request("**/check/suggestions/**"):
        field.press_sequentially(STREET[-2])
    field.press("ArrowDown")
    expect(options.first).to_have_attribute("aria-selected", "true")
    with phone.expect_response("**/check/suggestions/**"):
        held[0].continue_()
    expect(options.first).to_have_attribute("aria-selected", "true")
    field.press("Enter")
    expect(phone.locator("#id_premises")).to_have_value(re.compile("^prm_"))


def test_a_whole_address_is_chosen_and_nothing_covers_the_button(phone: Page) -> None:
    phone.goto("/")
    phone.get_by_role("combobox").fill(places.TWO_NETWORKS.lower())
    expect(phone.locator("#id_premises")).to_have_value(re.compile("^prm_"))
    expect(phone.get_by_role("option")).to_have_count(0)
    expect(phone.get_by_role("combobox")).to_have_value(places.TWO_NETWORKS)
    phone.get_by_role("button", name="Check availability").click()
    expect(phone.get_by_role("heading", level=1)).to_contain_text("you can be connected")


def test_editing_forgets_what_was_chosen_and_escape_closes(phone: Page) -> None:
    phone.goto("/")
    field = phone.get_by_role("combobox")
    field.press_sequentially(STREET[:-2], delay=20)
    phone.get_by_role("option").filter(has_text=STREET).first.click()
    expect(phone.locator("#id_premises")).to_have_value(re.compile("^prm_"))
    field.press("Backspace")
    expect(phone.locator("#id_premises")).to_have_value("")
    expect(phone.get_by_role("option").first).to_be_visible()
    field.press("Escape")
    expect(phone.get_by_role("option")).to_have_count(0)
    expect(field).to_have_attribute("aria-expanded", "false")


def test_a_street_is_completed_and_waits_for_its_number(phone: Page) -> None:
    number, _, street = STREET.partition(" ")
    phone.goto("/")
    field = phone.get_by_role("combobox")
    field.press_sequentially(street[:-2], delay=20)
    expect(phone.get_by_role("option").first).to_contain_text(
        re.compile(f"^{street}, .* add your street number")
    )
    field.press("ArrowDown")
    field.press("Enter")
    expect(phone.locator("#id_premises")).to_have_value("")
    field.press_sequentially(number, delay=20)
    expect(field).to_have_value(re.compile(f"^{number} {street}"))
    # With the number the address is whole, so it is chosen.
    expect(phone.locator("#id_premises")).to_have_value(re.compile("^prm_"))


def test_the_browser_tells_where_it_is(phone: Page, stack: Stack) -> None:
    (place,) = [row for row in places.rows() if row["street"] == STREET]
    where = {name: place[name] for name in ("latitude", "longitude")}
    phone.context.grant_permissions(["geolocation"], origin=stack.url)
    phone.context.set_geolocation({**where, "accuracy": 20})
    phone.goto("/")
    phone.get_by_role("button", name="Use my location").click()
    expect(phone.get_by_role("heading", level=1)).to_contain_text("you can be connected")
    expect(phone.locator("main")).to_contain_text(STREET)
    phone.go_back()
    expect(phone.get_by_role("button", name="Use my location")).to_be_enabled()
    phone.context.set_geolocation({**where, "accuracy": 5_000})
    phone.get_by_role("button", name="Use my location").click()
    expect(phone.locator("[data-locate]")).to_contain_text("Enter your address.")
    phone.context.clear_permissions()
    phone.reload()
    phone.get_by_role("button", name="Use my location").click()
    expect(phone.locator("[data-locate]")).to_contain_text("Enter your address.")
    assert fits(phone)


def test_what_is_wrong_is_brought_into_focus(phone: Page) -> None:
    phone.goto("/")
    phone.get_by_role("button", name="Check availability").click()
    summary = phone.get_by_role("alert")
    expect(summary).to_be_focused()
    summary.get_by_role("link").click()
    expect(phone.get_by_role("combobox")).to_be_focused()
    assert fits(phone)


def test_an_answer_is_printed_as_a_document(browser: Browser, stack: Stack) -> None:
    """On paper there is nothing to press, no field to fill, and every reason in full."""
    page = _open(browser, stack).new_page()
    page.set_viewport_size({"width": 680, "height": 1000})  # A4 less its margins.
    page.goto("/")
    page.get_by_role("combobox").fill(places.TWO_NETWORKS)
    page.get_by_role("combobox").press("Escape")
    page.get_by_role("combobox").press("Enter")
    expect(page.get_by_role("button", name="Print or save as PDF")).to_be_visible()
    page.emulate_media(media="print")
    expect(page.get_by_role("button")).to_have_count(0)
    expect(page.get_by_role("heading", name="How we worked this out")).to_be_visible()
    expect(page.get_by_role("columnheader", name="Our answer").first).to_be_visible()
    assert fits(page)
    assert page.pdf(format="A4").startswith(b"%PDF")


PAGES = (
    "/", "/terms/", "/policies/", "/labels/", "/labels/fiber-business/", "/accounts/login/",
    "/accounts/signup/",
)  # fmt: skip


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_fit_a_phone_and_keep_to_the_policy(phone: Page, path: str, scheme: str) -> None:
    phone.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    phone.goto(path)
    expect(phone.get_by_role("heading", level=1)).to_be_visible()
    assert fits(phone)


def test_the_label_opens_beside_its_plan_and_is_printed_alone(phone: Page) -> None:
    phone.goto("/")
    phone.get_by_role("combobox").fill(places.TWO_NETWORKS)
    phone.get_by_role("button", name="Check availability").click()
    beside = phone.get_by_role("article", name="Harbor Fiber 300")
    facts = beside.get_by_role("group", name="Broadband facts of Harbor Fiber 300")
    expect(facts).to_have_count(0)
    beside.get_by_text("Broadband facts").click()
    expect(facts).to_contain_text("Charges for Additional Data Usage")
    expect(facts.get_by_role("heading", name="Broadband Facts")).to_be_visible()
    assert fits(phone)
    beside.get_by_role("link", name="Broadband label").click()
    expect(phone.get_by_role("button", name="Print this label")).to_be_visible()
    phone.emulate_media(media="print")
    expect(phone.get_by_role("group", name="Broadband facts of Harbor Fiber 300")).to_be_visible()
    for gone in (phone.locator(".top"), phone.locator(".bottom"), phone.locator("h1")):
        expect(gone).to_be_hidden()


def test_the_way_to_an_order_needs_no_scripts(browser: Browser, stack: Stack) -> None:
    page = _open(browser, stack, scripts=False).new_page()
    page.goto("/")
    page.get_by_role("combobox").fill(places.TWO_NETWORKS)
    page.get_by_role("button", name="Check availability").click()
    page.get_by_role("button", name="Choose Cable 200").click()
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Make a login")


@pytest.fixture
def slow_network() -> Iterator[None]:
    """The demonstration's cable network takes some seconds for each answer."""
    _misbehave("slow", seconds=2)
    yield
    _misbehave("")


def _misbehave(fault: str, *, seconds: float = 5) -> None:
    body = {"partner": "tidewater-cable", "fault": fault, "seconds": seconds}
    url = f"http://127.0.0.1:{people.partner_port()}/demo/faults"
    requests.post(url, json=body, timeout=5).raise_for_status()


def _houses_of_two_networks(stack: Stack, count: int) -> list[str]:
    """Addresses that fiber and cable reach, and that no other test asks about."""
    with stack.orm():
        fiber = CoverageArea.objects.filter(provider__code="harbor-fiber").values("h3_res8")
        listed = Premises.objects.filter(region="MA", unit="", h3_res8__in=fiber)
        cable = [row for row in listed.order_by("pk") if survey.cable("MA", row.h3_res8)]
        return [str(row) for row in cable[:count]]


def test_a_network_that_is_asked_appears_by_itself(
    phone: Page, stack: Stack, slow_network: None
) -> None:
    [address] = _houses_of_two_networks(stack, 1)
    phone.goto("/")
    phone.get_by_role("combobox").fill(address)
    phone.get_by_role("combobox").press("Escape")
    phone.get_by_role("combobox").press("Enter")
    expect(phone.get_by_text("Tidewater Cable is being asked…")).to_be_visible()
    expect(phone.get_by_role("heading", level=1)).to_contain_text("you can be connected")
    assert phone.get_by_text("on the network of Tidewater Cable").count() == 0
    assert fits(phone)
    button = phone.get_by_role("button", name="Choose Harbor Fiber 300")
    button.focus()
    expect(phone.get_by_text("on the network of Tidewater Cable")).to_be_visible(timeout=20_000)
    expect(phone.get_by_role("status")).to_have_text(re.compile("2 networks reach this address"))
    expect(phone.get_by_text("is being asked…")).to_have_count(0)
    expect(button).to_be_focused()
    expect(phone).to_have_title(re.compile("^Qualified"))
    assert fits(phone)


def test_without_scripts_the_page_is_loaded_again(
    browser: Browser, stack: Stack, slow_network: None
) -> None:
    address = _houses_of_two_networks(stack, 2)[1]
    page = _open(browser, stack, scripts=False).new_page()
    page.goto("/")
    page.get_by_role("combobox").fill(address)
    page.get_by_role("button", name="Check availability").click()
    expect(page.get_by_text("Tidewater Cable is being asked…")).to_be_visible()
    again = page.get_by_role("link", name="load it again")
    for _ in range(20):
        if not again.count():
            break
        again.click()
        page.wait_for_timeout(500)
    expect(page.get_by_text("on the network of Tidewater Cable")).to_be_visible()
