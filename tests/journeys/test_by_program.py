"""Figure 5: the program `isp`, from signing in by a code to a line that is on."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.client.test_command import ISP
from tests.journeys.outside import code_from
from tests.stack import Stack

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
# On the cable network too, and no other test has a line there.
HOME = "12 Kane Road, Manchester, CT 06040"
EMAIL, PASSWORD = "program@example.com", "a-long-walk-by-the-sea"


def test_a_login_registers_by_the_program(browser: Browser, stack: Stack, tmp_path: Path) -> None:
    page = browser.new_context(base_url=stack.url, locale="en-US").new_page()
    page.set_default_timeout(30_000)
    expect.set_options(timeout=30_000)
    _makes_a_login(page)

    def isp(*arguments: str) -> subprocess.CompletedProcess[str]:
        with _started(stack, tmp_path, *arguments) as process:
            out, err = process.communicate(timeout=120)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    assert isp("status").returncode == 5
    with _started(stack, tmp_path, "login") as signing_in:
        _says_yes_in_the_browser(page, signing_in)
        out, err = signing_in.communicate(timeout=60)
    assert signing_in.returncode == 0, err
    assert "You are signed in" in out
    assert "no account yet" in isp("status").stdout

    asked = ("register", HOME, "--plan", "cable-200")
    missing = isp(*asked, "--name", "Petra Program", "--pay", "invoice")
    assert missing.returncode == 2
    version = re.search(r"--accept-terms (\S+)", missing.stderr)
    assert version, missing.stderr
    given = ("--name", "Petra Program", "--pay", "invoice", "--accept-terms", version.group(1))
    done = isp(*asked, *given)
    assert done.returncode == 0, done.stdout + done.stderr
    for words in ("Your order is placed", "Everything is set up", "Switch your line on"):
        assert words in done.stdout, words

    told = json.loads(isp("status", "--json").stdout)
    (order,) = told["orders"]
    assert (order["state"], order["channel"]) == ("completed", "client")
    assert told["accounts"][0]["pays_by"] == "Invoice by e-mail"
    page.goto("/account/")
    expect(page.get_by_role("heading", level=1)).to_have_text("Hello, Petra Program")

    assert isp("logout").returncode == 0
    assert isp("status").returncode == 5


def _makes_a_login(page: Page) -> None:
    page.goto("/accounts/signup/")
    page.get_by_role("textbox", name=re.compile("e-?mail", re.IGNORECASE)).fill(EMAIL)
    page.get_by_label("Password").first.fill(PASSWORD)
    page.get_by_role("button", name="Continue").click()
    mailbox = page.context.new_page()
    mailbox.goto(f"/mail/?to={EMAIL}")
    code = code_from(mailbox, EMAIL)
    mailbox.close()
    page.get_by_label("Code").fill(code)
    page.get_by_role("button", name="Continue").click()


@contextmanager
def _started(stack: Stack, home: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [*ISP, *arguments, "--server", stack.url],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={
            **os.environ, "COLUMNS": "120", "PYTHONPATH": "", "PYTHONUNBUFFERED": "1",
            "ISP_CONFIG_DIR": str(home),
        },
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _says_yes_in_the_browser(page: Page, process: subprocess.Popen[str]) -> None:
    assert process.stdout
    said = ""
    while "code there must be" not in said:
        line = process.stdout.readline()
        assert line, said
        said += line
    found = re.search(r"http://\S+", said)
    code = re.search(r"must be\s+(\S+)", said)
    assert found, said
    assert code, said
    page.goto(found.group(0))
    expect(page.get_by_role("heading", level=1)).to_have_text("Is this the code you see?")
    expect(page.locator("main")).to_contain_text(code.group(1))
    expect(page.locator("main")).to_contain_text("The program isp")
    page.get_by_role("button", name="Yes, connect it").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("is connected")
