"""A file of usage from the form to the rejects, in a real browser and with a real worker."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.utils import timezone
from playwright.sync_api import Browser, expect

from ispops.demo import people
from tests.stack import Stack

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]


def test_a_file_is_sent_followed_and_its_rejects_fetched(
    browser: Browser, stack: Stack, tmp_path: Path
) -> None:
    file = tmp_path / "may-plays.csv"
    now = timezone.now().isoformat()
    rows = [f"play-{n},psb_nobody,film-night,{now if n else 'soon'},1,film" for n in range(300)]
    file.write_text("\n".join(["event_id,subscriber_ref,offering,started_at,quantity,unit", *rows]))
    login = next(login for login in people.LOGINS if login.title == "Operations")
    page = browser.new_context(
        base_url=stack.url, viewport={"width": 390, "height": 800}, locale="en-US"
    ).new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto("/console/usage-files/")
    page.get_by_role("textbox", name=re.compile("e-?mail", re.IGNORECASE)).fill(login.email)
    page.get_by_label("Password").fill(login.password)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_label("File, plain").set_input_files(file)
    page.get_by_label("Partner; empty").select_option(label="Cinebox")
    page.get_by_role("button", name="Read the file").click()

    # The page follows the worker by itself, and the rest of it comes anew when the file is done.
    expect(page.locator("#usage-file")).to_contain_text("Completed", timeout=90_000)
    expect(page.locator("#usage-file")).to_contain_text("300 of 300 rows")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download the rejects").click()
    first = download.value.path().read_text().splitlines()[1]
    assert first.startswith("1,rejected,invalid_event,started_at,started_at must be a time")
    page.get_by_role("link", name="rating errors").click()
    expect(page.get_by_role("link", name="play-299", exact=True)).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert not errors
