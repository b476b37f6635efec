"""From *not yet, sorry* to the letter: a visitor and a program wait, a network comes, one leaves.

Real processes: the worker hears of the network by its event, asks again and writes.
"""

from __future__ import annotations

import re
import secrets

import pytest
import requests
from django.utils import timezone
from playwright.sync_api import Browser, Page, expect

from tests.stack import Stack

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
PLAN = "Harbor Fiber 300"
PATIENCE = 30_000


@pytest.fixture
def phone(browser: Browser, stack: Stack) -> Page:
    page = browser.new_context(
        base_url=stack.url, viewport={"width": 390, "height": 800}, locale="en-US"
    ).new_page()
    page.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    return page


def fits(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


def test_who_waits_is_told_once_when_a_network_comes(phone: Page, stack: Stack) -> None:
    place = _unreached_place(stack)
    visitor, program = (f"{secrets.token_hex(4)}@example.com" for _ in range(2))
    _joins_on_the_portal(phone, place, visitor)
    _joins_by_a_program(stack.url, place, program)
    _network_comes(stack, place)
    for email in (visitor, program):
        _gets_one_letter(phone, stack, email, place)
    _opens_the_answer_and_leaves(phone, visitor)


def _unreached_place(stack: Stack) -> str:
    from qualification.models import Premises

    with stack.orm():
        return str(Premises.objects.filter(region="NM", city="Hobbs").latest("match_key"))


def _joins_on_the_portal(page: Page, place: str, email: str) -> None:
    page.goto("/")
    page.get_by_role("combobox").fill(place)
    page.get_by_role("button", name="Check availability").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Not yet, sorry")
    page.get_by_role("button", name="Put me on the waitlist").click()
    expect(page.get_by_role("alert")).to_be_focused()
    page.get_by_label("Your e-mail address").fill(email)
    expect(page.get_by_text("takes you off the list")).to_be_visible()
    assert fits(page)
    page.get_by_role("button", name="Put me on the waitlist").click()
    expect(page.get_by_text("You are on the list")).to_be_visible()


def _joins_by_a_program(url: str, place: str, email: str) -> None:
    def post(path: str, body: dict[str, object]) -> requests.Response:
        headers = {"Idempotency-Key": secrets.token_hex(8)}
        return requests.post(f"{url}/api/v1/{path}", json=body, headers=headers, timeout=10)

    answer = post("service_qualifications", {"address": place}).json()
    assert answer["state"] == "not_qualified"
    joined = post(
        "waitlist_entries", {"qualification": answer["id"], "email": email, "consent": True}
    )
    assert joined.status_code == 201, joined.text


def _network_comes(stack: Stack, place: str) -> None:
    """As an import does: coverage of the one house, and with it the event."""
    from ispops.parties.models import Partner
    from qualification import coverage
    from qualification.models import Premises

    with stack.orm():
        at = timezone.now()
        fiber = Partner.objects.get(code="harbor-fiber")
        house = Premises.objects.get(region="NM", street=place.partition(",")[0])
        row = {
            "premises": house, "technology": 50, "max_download_kbps": 500_000,
            "max_upload_kbps": 500_000, "install_days": 6,
        }  # fmt: skip
        assert coverage.import_coverage(rows=[row], provider=fiber, at=at).added == 1


def _gets_one_letter(page: Page, stack: Stack, email: str, place: str) -> None:
    from qualification.models import WaitlistEntry

    def told() -> bool:
        with stack.orm():
            return WaitlistEntry.objects.notified().filter(email=email).exists()

    stack.until(told, "the letter is written", seconds=60)
    page.goto(f"/mail/?to={email}")
    expect(page.get_by_role("article")).to_have_count(1)
    letter = page.get_by_role("article")
    expect(letter).to_contain_text(f"Good news for {place}")
    expect(letter).to_contain_text(f"{PLAN}, on the network of Harbor Fiber")
    expect(letter).to_contain_text("USD 49.00 a month")


def _opens_the_answer_and_leaves(page: Page, email: str) -> None:
    page.goto(f"/mail/?to={email}")
    letter = page.get_by_role("article").inner_text()
    answer, leave = re.findall(r"http://\S+", letter)
    page.goto(answer)
    expect(page.get_by_role("heading", level=1)).to_contain_text("you can be connected")
    expect(page.get_by_role("button", name=f"Choose {PLAN}")).to_be_visible()
    page.get_by_text("Hoping for more?").click()
    expect(page.get_by_label("Your e-mail address")).to_be_visible()
    assert fits(page)
    page.goto(leave)
    assert fits(page)
    page.get_by_role("button", name="Take me off the list").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("You are off the waitlist")
