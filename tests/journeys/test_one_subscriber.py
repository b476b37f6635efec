"""One subscriber, from *can I get service here?* to the bill, through all three faces.

Real processes, a real browser, real HTTP; nothing inside the product is replaced. With
`SCREENSHOTS=1` the pictures of the README are made anew.
"""

import os
import re
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from django.utils import timezone
from playwright.sync_api import Browser, Page, expect

from ispops.demo import people, places
from rating import posting
from tests.journeys.outside import (
    GIB,
    PartnerProgram,
    RadiusServer,
    code_from,
    counters,
    reply_of,
    session,
)
from tests.stack import Stack

PICTURES = Path(__file__).parent / "screenshots"
ROUTER, CONSOLE_OF_GAMES = "02-00-00-00-00-01", "02-00-00-00-00-02"
PATIENCE = 30_000
EMAIL = re.compile("e-?mail", re.IGNORECASE)
PASSWORD = "a-long-walk-by-the-sea"

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]


def picture(page: Page, name: str) -> None:
    """Keep a picture for the README, when they are asked for."""
    if os.environ.get("SCREENSHOTS"):
        PICTURES.mkdir(exist_ok=True)
        page.screenshot(path=PICTURES / f"{name}.png")


@pytest.fixture
def visitor(browser: Browser, stack: Stack) -> Page:
    """A browser that nobody used before."""
    page = browser.new_context(
        base_url=stack.url, viewport={"width": 1280, "height": 1000}, locale="en-US"
    ).new_page()
    page.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    return page


def test_from_the_first_question_to_the_bill(visitor: Page, browser: Browser, stack: Stack) -> None:
    page, aaa = visitor, RadiusServer(stack.url)
    email = "grace@example.com"

    _sees_what_the_address_can_have(page)
    _registers(page, email)
    _orders_and_watches(page)
    name, password = _reads_the_login_of_the_line(page)

    address = _comes_in(aaa, name, password)
    assert aaa.authorize("line-nobody", "nothing", ROUTER).status_code == 401
    assert aaa.authorize(name, "wrong", ROUTER).status_code == 401

    _buys_from_a_partner(page)
    cinebox = PartnerProgram(stack.url, "cinebox")
    reference = _partner_reports_minutes(cinebox)
    _uses_the_line(aaa, name, address)
    _sees_usage(page)

    _answers_for_a_second_device(page, aaa, name, password)
    _reads_the_bill(page, stack)
    _partner_sees_its_part_and_no_more(stack, cinebox, reference, email)
    _csr_sees_everything(browser, stack, email, address, reference)


def _sees_what_the_address_can_have(page: Page) -> None:
    page.goto("/")
    page.get_by_role("combobox").fill(places.TWO_NETWORKS)
    page.get_by_role("button", name="Check availability").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("you can be connected")
    expect(page.get_by_text("on the network of Harbor Fiber")).to_be_visible()
    expect(page.get_by_text("on the network of Tidewater Cable")).to_be_visible()
    expect(page.get_by_role("article", name="Cable 200")).to_contain_text("USD 45.00")
    picture(page, "offers")
    page.get_by_text("What is not available here, and why").click()
    expect(page.get_by_text("It is for businesses only.").first).to_be_visible()


def _registers(page: Page, email: str) -> None:
    page.get_by_role("button", name="Choose Cable 200").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Anything to go with it?")
    page.get_by_role("button", name="Continue").click()
    page.get_by_role("textbox", name=EMAIL).fill(email)
    page.get_by_label("Password").first.fill(PASSWORD)
    page.get_by_role("button", name="Continue").click()
    with page.context.expect_page() as mailbox:
        page.get_by_role("link", name="Your mail is shown here").first.click()
    code = code_from(mailbox.value, email)
    mailbox.value.close()
    page.get_by_label("Code").fill(code)
    page.get_by_role("button", name="Continue").click()


def _orders_and_watches(page: Page) -> None:
    page.get_by_label("Full name").fill("Grace Navarro")
    page.get_by_role("button", name="Continue").click()
    page.get_by_label("Bank transfer").check()
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Check your answers")
    page.get_by_label("I accept the terms of service").check()
    page.get_by_role("button", name="Place order").click()
    expect(page.get_by_role("heading", name="What happens")).to_be_visible()
    picture(page, "order")
    expect(page.get_by_role("heading", level=1)).to_have_text("Your line is on")
    page.get_by_role("link", name="Go to your account").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Hello, Grace Navarro")


def _reads_the_login_of_the_line(page: Page) -> tuple[str, str]:
    page.get_by_role("link", name="Devices", exact=True).click()
    page.get_by_role("link", name="Show the network login for your router").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(
        re.compile("Confirm that it is you|Network login")
    )
    if page.get_by_role("heading", name="Confirm that it is you").is_visible():
        page.locator("input[type=password]").fill(PASSWORD)
        page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Network login for your router")
    name, password = page.locator("dd.code").all()
    return name.inner_text().split()[0], password.inner_text().split()[0]


def _comes_in(aaa: RadiusServer, name: str, password: str) -> str:
    answer = aaa.authorize(name, password, ROUTER)
    assert answer.status_code == 200, answer.text
    told = reply_of(answer)
    assert told["control:Cleartext-Password"] == password
    assert told["reply:WISPr-Bandwidth-Max-Down"] == 200_000_000
    assert told["reply:Delegated-IPv6-Prefix"].endswith("/56")
    assert told["reply:Class"].startswith("svc_")
    again = reply_of(aaa.authorize(name, password, ROUTER))
    assert again["reply:Framed-IP-Address"] == told["reply:Framed-IP-Address"]
    return str(told["reply:Framed-IP-Address"])


def _buys_from_a_partner(page: Page) -> None:
    for product in ("ShieldWall Family", "Cinebox by the minute"):
        page.get_by_role("link", name="Shop", exact=True).click()
        page.get_by_role("link", name=f"Buy {product}").click()
        page.get_by_role("button", name="Buy now").click()
        expect(page.get_by_text("has confirmed. It is ready.")).to_be_visible()


def _partner_reports_minutes(cinebox: PartnerProgram) -> str:
    order = cinebox.items("service_orders")[0]
    event = {
        "event_id": "stream-0001",
        "subscriber_ref": order["subscriber_ref"],
        "offering": "cinebox-stream",
        "started_at": order["answered_at"],
        "quantity": 130,
        "unit": "minute",
    }
    sent = cinebox.post("usage", {"events": [event, event]})
    assert [row["status"] for row in sent.json()["results"]] == ["accepted", "duplicate"]
    assert cinebox.post("usage", event).json()["results"][0]["status"] == "duplicate"
    return str(order["subscriber_ref"])


def _uses_the_line(aaa: RadiusServer, name: str, address: str) -> None:
    """Six gigabytes down and one up, with wrapped counters, a repeat and a late message."""
    same = session(name, ROUTER, address)
    messages = [
        {"Acct_Status_Type": "Start"},
        {"Acct_Status_Type": "Interim-Update", **counters(300, up=GIB // 2, down=3 * GIB)},
        {"Acct_Status_Type": "Interim-Update", **counters(600, up=GIB, down=5 * GIB)},
        {"Acct_Status_Type": "Interim-Update", **counters(600, up=GIB, down=5 * GIB)},
        {"Acct_Status_Type": "Interim-Update", **counters(300, up=GIB // 2, down=3 * GIB)},
        {"Acct_Status_Type": "Stop", **counters(700, up=GIB, down=6 * GIB)},
    ]
    for message in messages:
        assert aaa.account(**same, **message).status_code in (200, 204)


def _sees_usage(page: Page) -> None:
    """7 GiB are 7.52 GB, once each octet; the partner's minutes stand beside it."""
    page.get_by_role("link", name="Usage", exact=True).click()
    usage = page.get_by_role("region", name=re.compile("Cable 200"))
    minutes = page.get_by_role("row", name=re.compile("Cinebox by the minute"))
    for _ in range(30):
        if usage.get_by_text("7.52 GB").count() and minutes.get_by_text("130").count():
            break
        page.wait_for_timeout(1_000)
        page.reload()
    expect(usage.get_by_text("7.52 GB").first).to_be_visible()
    expect(minutes).to_contain_text("130")


def _answers_for_a_second_device(page: Page, aaa: RadiusServer, name: str, password: str) -> None:
    first = aaa.authorize(name, password, CONSOLE_OF_GAMES)
    assert first.status_code == 200, first.text
    assert reply_of(first)["reply:Framed-IP-Address"].startswith("100.64.")
    page.get_by_role("link", name=re.compile("^Devices")).click()
    expect(page.get_by_text("A device asks for one more address")).to_be_visible()
    picture(page, "devices")
    page.get_by_role("button", name="Add it for USD 3.00 a month").click()
    expect(page.get_by_text("A device asks for one more address")).to_have_count(0)
    second = aaa.authorize(name, password, CONSOLE_OF_GAMES)
    assert second.status_code == 200, second.text
    assert reply_of(second)["reply:Framed-IP-Address"].startswith("198.18.")


def _reads_the_bill(page: Page, stack: Stack) -> None:
    page.get_by_role("link", name="Bill", exact=True).click()
    lines = page.get_by_role("region", name="What is on it")
    for line in ("Cable 200", "ShieldWall Family", "Cinebox by the minute", "Extra IP address"):
        expect(lines).to_contain_text(line)
    # 130 minutes, 30 of them free, at USD 0.02.
    expect(lines.get_by_role("row", name=re.compile("Cinebox by the minute"))).to_contain_text(
        "USD 2.00"
    )
    picture(page, "bill")
    used = page.get_by_role("region", name="Use so far")
    expect(used).to_contain_text("30 included")
    with stack.orm():  # As every night.
        posting.post_rated_usage(until=timezone.now() + timedelta(minutes=1))
    page.reload()
    expect(used).to_have_count(0)
    page.get_by_role("row", name=re.compile("Cinebox by the minute")).get_by_role("link").click()
    expect(page.locator("main")).to_contain_text("30")
    picture(page, "why")


def _partner_sees_its_part_and_no_more(
    stack: Stack, cinebox: PartnerProgram, reference: str, email: str
) -> None:
    shares = cinebox.items("settlement_shares")
    own = [share for share in shares if share["subscriber_ref"] == reference]
    assert {share["offering"] for share in own} == {"cinebox-stream"}
    assert sum(Decimal(share["share"]) for share in own) == Decimal("1.60")
    told = str(shares) + str(cinebox.items("purchases")) + str(cinebox.items("usage"))
    assert email not in told
    assert "Grace" not in told
    vault = PartnerProgram(stack.url, "cloudvault")
    assert reference not in str(vault.items("service_orders") + vault.items("purchases"))
    order = cinebox.items("service_orders")[0]["id"]
    assert vault.get(f"service_orders/{order}").status_code == 404
    assert cinebox.get("product_orders").status_code == 403


def _csr_sees_everything(
    browser: Browser, stack: Stack, email: str, address: str, reference: str
) -> None:
    cara = next(login for login in people.LOGINS if login.title == "CSR")
    context = browser.new_context(
        base_url=stack.url, viewport={"width": 1280, "height": 1000}, locale="en-US"
    )
    page = context.new_page()
    page.goto("/console/")
    page.get_by_role("textbox", name=EMAIL).fill(cara.email)
    page.get_by_label("Password").fill(cara.password)
    page.get_by_role("button", name="Sign in").click()
    page.goto(f"/console/find/?q={email}")
    if "/console/subscribers/" not in page.url:
        page.get_by_role("link", name=re.compile("Grace Navarro")).first.click()
    everything = page.locator("body")
    for fact in (
        email, "Cable 200", places.TWO_NETWORKS.split(",")[0], address, "ShieldWall Family",
        "Cinebox by the minute", "Extra IP address",
    ):  # fmt: skip
        expect(everything).to_contain_text(fact)
    assert reference in page.content()
    picture(page, "console")
