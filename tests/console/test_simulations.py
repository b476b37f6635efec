"""Simulations in the console: asked for, followed, read, and saved as a file."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from ispops.catalog import drafts, publishing
from ispops.catalog.models import PriceDraft
from ispops.parties import roles
from ispops.parties.models import AuditEntry
from provisioning import partner_orders
from rating import purchases, simulations, usage
from rating.models import Charge, Simulation
from tests import factories
from tests.console.conftest import EARLIER, NOW, World
from tests.console.test_prices import text_of

BUDGET = 24
D = Decimal


@pytest.fixture
def desk(as_role: Callable[[str], Client]) -> Client:
    return as_role(roles.CATALOGUE_MANAGER)


@pytest.fixture
def draft(world: World) -> PriceDraft:
    """A dearer price of minutes, of which Ada has used a hundred."""
    minutes = publishing.create_offering(
        code="minutes", name="Minutes", kind="bsp", provider=world.isp.films, at=EARLIER,
        is_subscription=True,
    )  # fmt: skip
    price = {"offering": minutes, "charge": "usage", "unit": "minute", "at": EARLIER}
    publishing.set_price(amount=D("0.10"), **price)  # type: ignore[arg-type]
    bought = purchases.place_purchase(
        subscriber=world.ada, line=world.line, offering=minutes, channel="portal",
        placed_by=None, idempotency_key="minutes-1", at=EARLIER,
    )  # fmt: skip
    assert bought.service_order_id is not None
    purchases.complete_purchase(service_order_id=bought.service_order_id, at=EARLIER)
    reference = partner_orders.reference_of(partner=world.isp.films, subscriber=world.ada)
    [told] = usage.record_usage(
        partner=world.isp.films,
        events=[
            {"event_id": "e1", "subscriber_ref": reference, "offering": "minutes",
             "started_at": (EARLIER + timedelta(hours=1)).isoformat(), "quantity": 100,
             "unit": "minute"}
        ],
        received_at=NOW,
    )  # fmt: skip
    assert told.status == "accepted", told
    usage.rate_usage(at=NOW)
    actor = factories.staff(roles.CATALOGUE_MANAGER, at=EARLIER)
    return drafts.save_draft(
        title="Dearer",
        actor=actor,
        amount=D("0.25"),
        **price,  # type: ignore[arg-type]
    )


def address(action: str, ref: str) -> str:
    return reverse(f"admin:console_{action}", args=[ref])


def asked(**other: Any) -> dict[str, Any]:
    return {"first_month": "2026-11-01", "last_month": "2026-11-01"} | other


def test_a_draft_is_tried_followed_and_read(
    world: World,
    draft: PriceDraft,
    desk: Client,
    as_role: Callable[[str], Client],
    django_assert_max_num_queries: Any,
) -> None:
    answer = desk.post(address("simulate_draft", draft.public_id), asked())
    row = Simulation.objects.get()
    page = address("simulation", row.public_id)
    assert answer["Location"] == page
    assert "0 of 1 accounts, 0 %" in text_of(desk.get(page))
    assert 'hx-trigger="every 1s"' in desk.get(page).content.decode()
    assert simulations.simulate_next(simulation_id=row.pk, at=NOW)
    assert desk.get(page, headers={"HX-Request": "true"})["HX-Refresh"] == "true"
    with django_assert_max_num_queries(BUDGET):
        text = text_of(desk.get(page))
    assert "Accounts pay more 1 Accounts pay less 0 Pay the same 0" in text
    assert "Revenue before tax USD 10.00 USD 25.00 +USD 15.00" in text
    assert "Tax on top USD 1.00 USD 2.50 +USD 1.50" in text
    assert "+20 1" in text
    assert "USD 0.25 for each minute" in text
    # Who sees subscribers sees who it is; the catalogue's desk sees the id.
    assert "Ada Lovelace" not in text
    assert world.ada.public_id in desk.get(page).content.decode()
    assert "Ada Lovelace" in text_of(as_role(roles.FINANCE).get(page))
    with django_assert_max_num_queries(BUDGET):
        shown = text_of(desk.get(address("price_draft", draft.public_id)))
    assert "November 2026 ✓ Completed" in shown


def test_the_file_has_every_account_and_period(
    world: World, draft: PriceDraft, desk: Client
) -> None:
    desk.post(address("simulate_draft", draft.public_id), asked(accounts=world.ada.public_id))
    row = Simulation.objects.get()
    simulations.simulate_next(simulation_id=row.pk, at=NOW)
    file = desk.get(address("simulation_file", row.public_id))
    text = b"".join(file.streaming_content).decode()  # type: ignore[attr-defined]
    [line] = csv.DictReader(io.StringIO(text))
    assert (line["account"], line["quantity"], line["unit"]) == (
        world.ada.public_id, "100", "minute",
    )  # fmt: skip
    assert (line["paid_net"], line["would_have_paid_net"]) == ("10.000000", "25.000000")
    assert (line["would_have_paid_tax"], line["difference"]) == ("2.500000", "15.000000")


def test_one_that_runs_is_cancelled_and_its_worker_stops(
    draft: PriceDraft, desk: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.post(address("simulate_draft", draft.public_id), asked())
    row = Simulation.objects.get()
    cancel = address("cancel_simulation", row.public_id)
    assert "Cancel the simulation" in text_of(desk.get(address("simulation", row.public_id)))
    usual = simulations._Turn._next

    def next_accounts(turn: Any) -> Any:
        desk.post(cancel)
        return usual(turn)

    monkeypatch.setattr(simulations._Turn, "_next", next_accounts)
    assert simulations.simulate_next(simulation_id=row.pk, at=NOW)
    row.refresh_from_db()
    assert (row.state, row.accounts_done, row.results.count()) == ("cancelled", 0, 0)
    assert not simulations.simulate_next(simulation_id=row.pk, at=NOW)
    shown = text_of(desk.get(address("simulation", row.public_id)))
    assert "Cancelled" in shown
    assert "Cancel the simulation" not in shown
    desk.post(address("simulate_draft", draft.public_id), asked())
    done = Simulation.objects.get(state="queued")
    monkeypatch.undo()
    simulations.simulate_next(simulation_id=done.pk, at=NOW)
    late = desk.post(address("cancel_simulation", done.public_id), follow=True)
    assert "Only a simulation that waits or runs" in text_of(late)


def test_a_draft_is_discarded_for_good(draft: PriceDraft, desk: Client) -> None:
    page = address("price_draft", draft.public_id)
    assert "Discard the draft" in text_of(desk.get(page))
    for _ in range(2):
        desk.post(address("discard_draft", draft.public_id))
    draft.refresh_from_db()
    assert draft.discarded_at == NOW
    assert "Discarded" in text_of(desk.get(page))
    assert draft.name not in text_of(desk.get(address("offering_prices", draft.offering.code)))
    refused = desk.post(
        address("publish_draft", draft.public_id), {"valid_day": "2027-01-01"}, follow=True
    )
    assert "Make a new draft instead." in text_of(refused)
    desk.post(address("simulate_draft", draft.public_id), asked())
    assert not Simulation.objects.exists()
    assert draft.offering.prices.count() == 1
    assert AuditEntry.objects.filter(action="price_draft.discarded").count() == 1


def test_its_differences_are_posted_by_finance_alone(
    world: World, draft: PriceDraft, desk: Client, as_role: Callable[[str], Client]
) -> None:
    desk.post(address("simulate_draft", draft.public_id), asked())
    row = Simulation.objects.get()
    simulations.simulate_next(simulation_id=row.pk, at=NOW)
    finance = as_role(roles.FINANCE)
    assert "Post the differences" not in text_of(desk.get(address("simulation", row.public_id)))
    assert "Post the differences" in text_of(finance.get(address("simulation", row.public_id)))
    assert desk.post(address("post_simulation", row.public_id)).status_code == 403
    assert "not published. Posting puts the months that were tried right" in text_of(
        finance.get(address("simulation", row.public_id))
    )
    finance.post(address("post_simulation", row.public_id))
    assert not row.reratings.exists()
    answer = finance.post(
        address("post_simulation", row.public_id), {"reason": "Entered wrong in October"}
    )
    rerating = Simulation.objects.get(posts=row)
    assert answer["Location"] == address("simulation", rerating.public_id)
    simulations.simulate_next(simulation_id=rerating.pk, at=NOW)
    text = text_of(finance.get(answer["Location"]))
    assert "Re-rating by Dearer, November 2026" in text
    assert "Revenue before tax USD 10.00 USD 25.00 +USD 15.00" in text
    assert "Posted" in text_of(finance.get(address("simulation", row.public_id)))
    [charge] = Charge.objects.filter(kind="adjustment")
    assert (charge.amount_net, charge.amount_tax) == (D(15), D("1.5"))


def test_where_units_are_carried_over_it_says_that_nothing_can_be_posted(
    draft: PriceDraft, as_role: Callable[[str], Client], desk: Client
) -> None:
    drafts.save_draft(
        offering=draft.offering, title="Kept", actor=draft.created_by, amount=D("0.25"), at=NOW,
        charge="usage", unit="minute", allowance=10, rollover_periods=1, draft=draft,
    )  # fmt: skip
    desk.post(address("simulate_draft", draft.public_id), asked())
    row = Simulation.objects.get()
    simulations.simulate_next(simulation_id=row.pk, at=NOW)
    text = text_of(as_role(roles.FINANCE).get(address("simulation", row.public_id)))
    assert "cannot be posted. Units of this price are carried over" in text
    assert "Post the differences" not in text


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ({"first_month": "2026-11-01", "last_month": "2026-10-01"}, "not before the first"),
        ({"first_month": "2031-01-01"}, "Select a valid choice"),
        ({"accounts": "sub_nobody"}, "There is no account sub_nobody."),
    ],
)
def test_what_cannot_be_tried_is_said_at_the_field(
    sent: dict[str, Any], said: str, draft: PriceDraft, desk: Client
) -> None:
    answer = desk.post(address("simulate_draft", draft.public_id), asked(**sent))
    assert answer.status_code == 422
    assert said in text_of(answer)
    assert not Simulation.objects.exists()
