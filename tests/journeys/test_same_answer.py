"""Figures 1 to 3: whoever asks, by whatever channel, gets the same answer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import requests
from playwright.sync_api import Browser, expect

from ispops.demo import people, places
from tests.stack import Stack

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
FACTS = (
    "offering", "eligible", "reason_code", "reason", "download_kbps", "upload_kbps",
    "install_days", "one_off_amount", "recurring_amount", "construction_fee", "usage_terms",
)  # fmt: skip


def ask_by_program(stack: Stack) -> dict[str, Any]:
    isp = Path(sys.executable).with_name("isp")
    done = subprocess.run(
        [isp, "qualify", "--server", stack.url, "--json", places.TWO_NETWORKS],
        capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "PYTHONPATH": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def ask_as_partner(stack: Stack) -> dict[str, Any]:
    """The API with a token; it waits while a network is asked, as the program does."""
    seller = next(partner for partner in people.PARTNERS if partner.code == "cinebox")
    token = requests.post(
        f"{stack.url}/identity/o/api/token",
        data={"grant_type": "client_credentials"},
        auth=(seller.code, seller.api_secret),
        timeout=30,
    ).json()["access_token"]
    calls = f"{stack.url}/api/v1/service_qualifications"
    headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": "same-answer"}
    asked = {"address": places.TWO_NETWORKS}
    answer = requests.post(calls, json=asked, headers=headers, timeout=30).json()

    def settled() -> bool:
        nonlocal answer
        url = f"{calls}/{answer['id']}"
        answer = requests.get(url, headers=headers, timeout=30).json()
        return answer["state"] != "pending"

    stack.until(settled, "the answer is settled")
    return answer


def facts(answer: dict[str, Any]) -> Any:
    offers = sorted(answer["offers"], key=lambda offer: offer["offering"])
    return (
        answer["state"],
        answer["confidence"],
        answer["premises"],
        [[offer[name] for name in FACTS] for offer in offers],
    )


def test_portal_program_partner_and_csr_get_the_same_answer(stack: Stack, browser: Browser) -> None:
    by_program = ask_by_program(stack)
    assert facts(ask_as_partner(stack)) == facts(by_program)
    plans = [offer for offer in by_program["offers"] if offer["kind"] in ("access", "bundle")]
    eligible = [plan["name"] for plan in plans if plan["eligible"]]
    refused = [offer for offer in by_program["offers"] if not offer["eligible"]]
    assert eligible
    assert refused

    visitor = browser.new_context(base_url=stack.url).new_page()
    visitor.goto("/")
    visitor.get_by_role("combobox").fill(places.TWO_NETWORKS)
    visitor.get_by_role("button", name="Check availability").click()
    csr = browser.new_context(base_url=stack.url).new_page()
    cara = next(login for login in people.LOGINS if login.title == "CSR")
    csr.goto("/accounts/login/?next=/console/qualify/")
    csr.get_by_label("Email").fill(cara.email)
    csr.get_by_label("Password").fill(cara.password)
    csr.get_by_role("button", name="Sign in").click()
    csr.locator("#address").fill(places.TWO_NETWORKS)
    csr.get_by_role("button", name="Check the address").click()
    for page in (visitor, csr):
        for name in eligible:
            expect(page.locator("body")).to_contain_text(name, timeout=30_000)
        for offer in refused:
            expect(page.locator("body")).to_contain_text(offer["reason"], timeout=30_000)
