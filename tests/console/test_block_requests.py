"""The queue of servers that need a further block, and how a pool's page shows its growth."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import time_machine
from django.test import Client
from django.urls import reverse

from ipam import block_steps, growing, returning
from ipam.models import BlockRequest, BlockReturn, Pool, PoolPolicy
from ispops.parties import roles
from ispops.parties.models import AuditEntry
from tests.ipam.ground import NOON
from tests.ipam.growing import Town, a_town, a_week

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _noon() -> Iterator[None]:
    with time_machine.travel(NOON, tick=False):
        yield


@pytest.fixture
def town(db: None) -> Town:
    made = a_town(decision="csr")
    a_week(made.pool, first=2, a_day=1)
    made.fill(0.9)
    growing.watch(at=NOON)
    block_steps.go_on_due(at=NOON)
    return made


@pytest.fixture
def csr(as_role: Callable[[str], Client]) -> Client:
    return as_role(roles.CSR)


def press(client: Client, name: str, ref: str, **data: str) -> str:
    page = client.post(reverse(f"admin:console_{name}", args=[ref]), data, follow=True)
    assert page.status_code == 200
    return page.content.decode()


def test_one_click_grants_and_the_page_says_why_it_was_asked(town: Town, csr: Client) -> None:
    page = csr.get(reverse("admin:console_block_requests")).content.decode()
    assert "93 % are in use, and 80 % is its threshold." in page
    assert "1.0 more a day" in page
    # The chart is beside the decision: what there is, and where today is.
    assert "14 there are" in page
    assert "today" in page

    request = BlockRequest.objects.get()
    words = press(csr, "grant_block", request.public_id, reason="It fills", length="/27")
    assert "Granted." in words
    block_steps.go_on_due(at=NOON)
    request.refresh_from_db()
    assert (request.state, request.length, request.decided_by) == ("confirmed", 27, "csr")
    assert AuditEntry.objects.get(subject=request.public_id).reason == "It fills"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"reason": " ", "length": "/27"}, "Say why"),
        ({"reason": "It fills", "length": "large"}, "Write a length like /24."),
        ({"reason": "It fills", "length": "/33"}, "is from /8 to /32"),
    ],
)
def test_what_cannot_be_granted_is_said(
    town: Town, csr: Client, data: dict[str, str], words: str
) -> None:
    request = BlockRequest.objects.get()
    assert words in press(csr, "grant_block", request.public_id, **data)
    request.refresh_from_db()
    assert request.state == "asked"


def test_refusing_ends_it_and_a_refusal_by_the_parent_is_seen_once(town: Town, csr: Client) -> None:
    request = BlockRequest.objects.get()
    press(csr, "grant_block", request.public_id, reason="Try", length="/24")
    block_steps.go_on_due(at=NOON)
    page = csr.get(reverse("admin:console_block_requests") + "?show=trouble").content.decode()
    assert "No /24 is free in 10.9.0.0/24." in page
    assert "The largest free range of 10.9.0.0/24 is 10.9.0.128/25" in page
    assert "Further blocks to look at" in csr.get(reverse("admin:index")).content.decode()
    press(csr, "block_seen", request.public_id)
    page = csr.get(reverse("admin:console_block_requests") + "?show=trouble").content.decode()
    assert "no refusal is new" in page

    again = growing.ask_for_block(pool=town.pool, cause="again", at=NOON)
    block_steps.go_on_due(at=NOON)
    press(csr, "refuse_block", again.public_id, reason="No")
    again.refresh_from_db()
    assert (again.state, again.reason) == ("refused", "No")


def test_the_pool_s_page_shows_its_growth_and_what_is_asked(
    town: Town, as_role: Callable[[str], Client]
) -> None:
    operations = as_role(roles.OPERATIONS)
    page = operations.get(reverse("admin:console_pool", args=["town"])).content.decode()
    assert "+1.0 a day (+1.0 to +1.0, by 10 days)" in page
    assert 'class="c-limit"' in page
    assert "Waiting for a decision" in page
    assert "Ask for a further block" not in page, "one is open"


def test_a_policy_is_set_with_what_is_wrong_at_its_field(
    town: Town, as_role: Callable[[str], Client]
) -> None:
    operations = as_role(roles.OPERATIONS)
    address = reverse("admin:console_pool_policy", args=["town"])
    good = {
        "threshold_percent": "70", "least_days": "", "decision": "automatic",
        "largest_automatic": "256", "horizon_days": "60", "low_water_percent": "30",
        "unused_days": "14", "stale_hours": "", "lines_per_address": "1.5", "reason": "Growth",
    }  # fmt: skip
    refused = operations.post(address, good | {"low_water_percent": "80"})
    assert refused.status_code == 422
    assert "Choose a low water under the threshold" in refused.content.decode()
    operations.post(address, good)
    policy = PoolPolicy.objects.get(pool=town.pool)
    assert (policy.threshold_percent, policy.least_days, policy.decision) == (70, None, "automatic")
    assert AuditEntry.objects.filter(action="pool_policy.changed", reason="Growth").exists()


def test_a_further_block_is_given_back_and_kept_after_all(
    town: Town, as_role: Callable[[str], Client]
) -> None:
    operations = as_role(roles.OPERATIONS)
    press(operations, "grant_block", BlockRequest.objects.get().public_id, reason="It fills")
    block_steps.go_on_due(at=NOON)
    further = Pool.objects.get(grown_from=town.pool)
    press(operations, "give_back", further.name, reason="Fibre now")
    row = BlockReturn.objects.get()
    assert (row.pool, row.state, row.cause) == (further, "draining", "Fibre now")
    press(operations, "keep_block", row.public_id, reason="Needed")
    row.refresh_from_db()
    assert row.state == "kept"
    press(operations, "give_back", town.pool.name, reason="Oops")
    assert BlockReturn.objects.count() == 1, "the first block stays"
    returning.begin(pool=further, cause="again", at=NOON)
    BlockReturn.objects.filter(state="draining").update(state="parked", next_attempt_at=None)
    stuck = BlockReturn.objects.get(state="parked")
    press(operations, "return_again", stuck.public_id, reason="Server is back")
    stuck.refresh_from_db()
    assert stuck.state == "draining"
