"""Prices in the console: the time line, the editor of every kind, its examples, drafts, terms."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from html import unescape
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from ispops.catalog import publishing
from ispops.catalog.models import OfferingPrice, PriceDraft, SettlementTerm, TaxRate
from ispops.parties import roles
from ispops.parties.models import AuditEntry
from tests.console.conftest import NOW, World

BUDGET = 22
D = Decimal
JANUARY = datetime(2027, 1, 1, 5, tzinfo=UTC)
ROWS = {"tiers-TOTAL_FORMS": "3", "tiers-INITIAL_FORMS": "0",
        "bands-TOTAL_FORMS": "2", "bands-INITIAL_FORMS": "0"}  # fmt: skip
TIERS = {"tiers-0-up_to": "1,000", "tiers-0-amount": "0.10", "tiers-1-amount": "0.05"}
NIGHT = {"bands-0-name": "Night", "bands-0-days": ["5", "6"], "bands-0-start": "22:00",
         "bands-0-end": "06:00", "bands-0-amount": "0.01",
         "bands-0-free_of_allowance": "on"}  # fmt: skip
BY_UNIT = {"unit": "minute"}


@pytest.fixture
def desk(as_role: Callable[[str], Client]) -> Client:
    return as_role(roles.CATALOGUE_MANAGER)


def form(kind: str, **other: Any) -> dict[str, Any]:
    return {"kind": kind, "valid_day": "2027-01-01", **ROWS, **other}


def address(action: str, code: str = "one-film") -> str:
    return reverse(f"admin:console_{action}", args=[code])


def text_of(answer: Any) -> str:
    return unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.content.decode())))


def previewed(desk: Client, **sent: Any) -> str:
    return text_of(desk.post(address("preview_price"), sent, headers={"HX-Target": "preview"}))


KINDS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "one_off": (
        {"amount": "5.50", "discount_percent": "10", "discount_amount": "0.50"},
        {"charge": "one_off", "amount": D("5.50"), "discount_percent": D(10)},
        "5.50 less 10 % and 0.50 = 4.45",
    ),
    "recurring": (
        {"amount": "31", "discount_percent": "50", "discount_periods": "3", "proration": "day"},
        {"charge": "recurring", "proration": "day", "discount_periods": 3},
        "(31.00 less 50 % = 15.50) x 21 / 31 days of the period",
    ),
    "pack": (
        {"amount": "4", "pack_for": "films-streaming", "pack_units": "600",
         "pack_unit": "minute", "pack_periods": "2"},
        {"charge": "one_off", "pack_units": 600, "pack_periods": 2},
        "USD 4.00 for 600 minutes, good for 2 periods",
    ),
    "event": (
        {**BY_UNIT, "amount": "0.25"},
        {"counts_events": True, "block_size": 1},
        "100 x 0.25",
    ),
    "unit": (
        {"unit": "byte", "amount": "10", "block_size": "50 GB", "allowance": "1 TB",
         "rollover_periods": "2", "rollover_most": "500 GB", "period_maximum": "60"},
        {"block_size": 50 * 10**9, "allowance": 10**12, "rollover_most": 500 * 10**9,
         "period_maximum": D(60)},
        "1.3 TB at a limit USD 60.00",
    ),
    "package": (
        {**BY_UNIT, "amount": "2", "block_size": "60"},
        {"counts_started_blocks": True, "block_size": 60},
        "61 minutes just above a limit USD 4.00",
    ),
    "graduated": (
        {**BY_UNIT, **TIERS, "tiers-1-flat": "7", "allowance": "100"},
        {"model": "graduated", "allowance": 100,
         "tiers": [{"up_to": 1000, "amount": "0.10"},
                   {"up_to": None, "amount": "0.05", "flat": "7"}]},
        "1,101 minutes just above a limit USD 107.05",
    ),
    "volume": (
        {**BY_UNIT, **TIERS},
        {"model": "volume"},
        "1,001 minutes just above a limit USD 50.05",
    ),
    "stairstep": (
        {**BY_UNIT, **TIERS},
        {"model": "stairstep"},
        "the step up to 1,000, which costs 0.10",
    ),
    "percentage": (
        {"unit": "cent", "amount": "0.01", "percent": "2.5", "event_fee": "0.10",
         "event_minimum": "0.50", "event_maximum": "3"},
        {"model": "percentage", "percent": D("2.5"), "event_maximum": D(3)},
        "2.5 % of 16.00 + 0.10, at least 0.50 = 0.50",
    ),
    "bands": (
        {**BY_UNIT, **NIGHT, "amount": "0.03", "period_minimum": "5"},
        {"amount": D("0.03"), "period_minimum": D(5),
         "bands": [{"name": "Night", "days": [5, 6], "start": "22:00", "end": "06:00",
                    "amount": "0.01", "counts": False}]},
        "nothing used, at the period's end USD 5.00",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_previewed_published_and_opened_again(
    kind: str, world: World, desk: Client
) -> None:
    typed, columns, example = KINDS[kind]
    assert example in previewed(desk, **form(kind, **typed))
    assert not OfferingPrice.objects.filter(valid_from=JANUARY).exists()
    answer = desk.post(address("publish_price"), form(kind, **typed))
    assert answer.status_code == 302, text_of(answer)
    made = OfferingPrice.objects.get(valid_from=JANUARY)
    assert {name: getattr(made, name) for name in columns} == columns
    noted = AuditEntry.objects.get(action="price.set", at=NOW)
    assert noted.actor is not None
    # As it is opened again it is the same price, field by field.
    opened = desk.get(address("edit_price"), {"from": made.pk})
    sent = filled_in(opened)
    for row in range(2):
        sent.setdefault(f"tiers-{row}-up_to", "")
    publishing_again = desk.post(address("publish_price"), sent | {"valid_day": "2027-01-01"})
    assert publishing_again.status_code == 302, text_of(publishing_again)
    assert OfferingPrice.objects.filter(valid_from=JANUARY).count() == 1
    assert AuditEntry.objects.filter(action="price.set", at=NOW).count() == 1


def filled_in(answer: Any) -> dict[str, Any]:
    """Read a form off its page as a browser without scripts would send it."""
    page = answer.content.decode()
    page = page[page.index('id="price"') :]
    sent: dict[str, Any] = {}
    for tag in re.findall(r"<input[^>]*>", page):
        given = dict(re.findall(r'([a-z]+)="([^"]*)"', tag))
        if given.get("type") == "checkbox":
            if " checked" in tag:
                sent.setdefault(given["name"], []).append(unescape(given.get("value", "on")))
        elif "name" in given:
            sent[given["name"]] = unescape(given.get("value", ""))
    for name, inside in re.findall(r'<select name="(\w+)".*?>(.*?)</select>', page, re.DOTALL):
        chosen = re.search(r'<option value="([^"]*)" selected', inside)
        sent[name] = chosen[1] if chosen else ""
    kinds = re.search(r'<select id="id_kind".*?</select>', page, re.DOTALL)
    assert kinds is not None
    chosen = re.search(r'value="(\w+)"[^>]* selected', kinds[0])
    assert chosen is not None
    return sent | {"kind": chosen[1]}


@pytest.mark.parametrize(
    ("kind", "typed", "said"),
    [
        ("one_off", {}, "Amount: Enter the amount; 0 is free."),
        ("one_off", {"amount": "dear"}, "Amount: Enter an amount, such as 0.10."),
        ("one_off", {"amount": "NaN"}, "Amount: Enter an amount, such as 0.10."),
        ("one_off", {"amount": "-1"}, "Amount: Ensure this value is greater than or equal to 0."),
        ("one_off", {"amount": "1", "unit": "minute"}, "Unit of use: This does not go with “Once,"),
        ("recurring", {"amount": "1", "discount_periods": "3"}, "Say what is taken off."),
        ("unit", {"amount": "1"}, "Unit of use: Enter the unit"),
        ("unit", {**BY_UNIT, "amount": "1", "allowance": "9.5"}, "Enter a whole number, such as"),
        ("unit", {**BY_UNIT, "amount": "1", "rollover_periods": "2"}, "Without an allowance"),
        ("unit", {**BY_UNIT, "amount": "1", "allowance": "50 GB"}, "only bytes have sizes"),
        ("unit", {**BY_UNIT, "amount": "1", "period_minimum": "9", "period_maximum": "8"},
         "Spend cap: The most is not below the least."),
        ("unit", {**BY_UNIT, "amount": "1", **TIERS}, "Tiers: These do not go with “By use: the"),
        ("volume", BY_UNIT, "This model needs tiers."),
        ("volume", {**BY_UNIT, **TIERS, "tiers-1-amount": ""},
         "Tier 1: The last tier has no end."),
        ("volume", {**BY_UNIT, **TIERS, "tiers-0-up_to": "many"}, "Tier 1, up to: Enter a whole"),
        ("graduated", {**BY_UNIT, **TIERS, "tiers-0-amount": ""},
         "Tier 1, amount: Enter the amount of this tier"),
        ("graduated", {**BY_UNIT, **TIERS, "tiers-1-up_to": "9", "tiers-2-amount": "1"},
         "Tier 2: Each tier ends later than the one before."),
        ("bands", {**BY_UNIT, "amount": "1", **NIGHT, "bands-0-days": []},
         "Band 1, days: Fill this in."),
        ("bands", {**BY_UNIT, "amount": "1", **NIGHT, "bands-0-end": "25:00"},
         "Band 1: A band starts and ends at a time such as 22:00."),
        ("pack", {"amount": "1", "pack_units": "5"}, "The units are for: Say how many"),
        ("percentage", {"unit": "cent", "amount": "1"}, "Give the percentage of the value."),
        ("one_off", {"amount": "1", "valid_day": "2026-11-01"}, "Choose today or a day to come."),
        ("gift", {"amount": "1"}, "Select a valid choice."),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_at_the_field_and_the_row(
    kind: str, typed: dict[str, Any], said: str, world: World, desk: Client
) -> None:
    before = OfferingPrice.objects.count()
    answer = desk.post(address("publish_price"), form(kind, **typed))
    assert answer.status_code == 422
    assert said in text_of(answer)
    assert said.rpartition(": ")[2] in previewed(desk, **form(kind, **typed))
    assert OfferingPrice.objects.count() == before


def test_a_new_version_ends_the_one_before_and_both_stand_on_the_time_line(
    world: World, desk: Client, django_assert_max_num_queries: Any
) -> None:
    old = OfferingPrice.objects.get(offering=world.film)
    seen = previewed(desk, **form("one_off", amount="5.49"))
    assert "one purchase USD 5.49 USD 4.99 ▲ ISP 5.49 Tax on top 0.549" in seen
    desk.post(address("publish_price"), form("one_off", amount="5.49"))
    old.refresh_from_db()
    assert old.valid_to == JANUARY
    with django_assert_max_num_queries(BUDGET):
        text = text_of(desk.get(address("offering_prices")))
    assert "USD 5.49 ○ To come" not in text
    assert "USD 5.49 ◔ To come from 01 Jan 2027" in text
    assert "USD 4.99 ✓ In force from 21 Nov 2026 until 01 Jan 2027" in text
    with django_assert_max_num_queries(BUDGET):
        assert "USD 4.99" in text_of(desk.get(reverse("admin:console_prices"), {"q": "film"}))


@pytest.mark.parametrize(("allowance", "waits"), [(100, True), (0, False)])
def test_it_is_said_when_running_periods_keep_the_price_before(
    allowance: int, waits: bool, world: World, desk: Client
) -> None:
    publishing.set_price(
        offering=world.film, charge="usage", amount=D("0.10"), unit="minute", allowance=allowance,
        at=NOW,
    )  # fmt: skip
    seen = previewed(desk, **form("unit", **BY_UNIT, amount="0.20"))
    assert ("keeps that to the end of its running period" in seen) is waits


def test_limits_of_the_price_in_force_are_compared_too(world: World, desk: Client) -> None:
    """A limit that only the price in force has is a case, and the chart goes beyond it."""
    publishing.set_price(
        offering=world.film, charge="usage", unit="minute", model="graduated", amount=D(0), at=NOW,
        tiers=[{"up_to": 600, "amount": "0.04"}, {"up_to": None, "amount": "0.01"}],
    )  # fmt: skip
    seen = previewed(desk, **form("unit", **BY_UNIT, amount="0.05", allowance="150"))
    assert "150 minutes at a limit USD 0.00 USD 6.00" in seen
    assert "600 minutes at a limit of the price in force USD 22.50 USD 24.00" in seen
    assert "750 minutes" in seen


def test_own_quantities_are_worked_out_too(world: World, desk: Client) -> None:
    typed = form("unit", unit="byte", amount="1", block_size="1 GB")
    assert "12 GB yours USD 12.00" in previewed(desk, **typed, quantities="12 GB, 1.5 TB")
    assert "Enter a whole number" in previewed(desk, **typed, quantities="a lot")


def test_a_row_more_is_there_without_scripts(world: World, desk: Client) -> None:
    sent = form("volume", **BY_UNIT, **TIERS)
    page = desk.post(address("preview_price"), sent | {"more": "tiers"}).content.decode()
    assert 'name="tiers-3-amount"' in page
    assert 'value="1,000"' in page
    assert "Nothing was changed" not in page


def test_shares_and_tax_of_the_examples_are_those_in_force(world: World, desk: Client) -> None:
    publishing.set_settlement_term(
        offering=world.film, role="bsp", partner=world.isp.films, basis="percent_of_net",
        percent=D(70), at=NOW,
    )  # fmt: skip
    seen = previewed(desk, **form("unit", **BY_UNIT, amount="0.10"))
    assert "100 minutes typical USD 10.00 ISP 3.00 BSP 7.00 Tax on top 1.00" in seen


def test_a_draft_is_kept_changed_and_published_once(world: World, desk: Client) -> None:
    sent = form("volume", **BY_UNIT, **TIERS, draft_name="Cheaper by the thousand")
    assert desk.post(address("save_draft"), sent).status_code == 302
    draft = PriceDraft.objects.get()
    page = text_of(desk.get(address("price_draft", draft.public_id)))
    assert "Cheaper by the thousand" in page
    assert "1,001 minutes just above a limit USD 50.05" in page
    opened = desk.get(address("edit_price"), {"draft": draft.public_id})
    changed = filled_in(opened) | {"tiers-1-amount": "0.04", "draft_name": "Cheaper still"}
    assert desk.post(address("save_draft"), changed).status_code == 302
    draft = PriceDraft.objects.get()
    assert (draft.name, draft.facts["tiers"][1]["amount"]) == ("Cheaper still", "0.04")
    assert not OfferingPrice.objects.filter(charge="usage", offering=world.film).exists()
    publish = address("publish_draft", draft.public_id)
    assert desk.post(publish, {"valid_day": "2026-11-01"}).status_code == 422
    assert desk.post(publish, {"valid_day": "2027-01-01"}).status_code == 302
    price = OfferingPrice.objects.get(charge="usage", offering=world.film)
    assert (price.model, price.valid_from, price.tiers[1]["amount"]) == ("volume", JANUARY, "0.04")
    draft.refresh_from_db()
    assert (draft.price, draft.published_at) == (price, NOW)
    again = desk.post(publish, {"valid_day": "2027-02-01"}, follow=True)
    assert "published already" in text_of(again)
    assert desk.post(address("save_draft"), changed).status_code == 422
    noted = AuditEntry.objects.filter(subject=draft.public_id).order_by("pk")
    assert [entry.action for entry in noted] == [
        "price_draft.saved", "price_draft.saved", "price_draft.published",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ({"kind": "percent_of_net", "percent": "70"}, "ISP 3.00 BSP 7.00 Tax on top 1.00"),
        ({"kind": "fixed", "amount": "4"}, "ISP 6.00 BSP 4.00 Tax on top 1.00"),
        ({"kind": "wholesale", "amount": "0.5", "block_size": "20", "units": "200"},
         "for 200 units of use ISP 5.00 BSP 5.00"),
        ({"kind": "tiered", "tiers-0-up_to": "5", "tiers-0-amount": "10", "tiers-1-amount": "50"},
         "ISP 7.00 BSP 3.00"),
    ],
)  # fmt: skip
def test_a_term_is_set_with_what_a_charge_splits_into(
    typed: dict[str, Any], said: str, world: World, desk: Client
) -> None:
    sent = form(**{"role": "bsp", "partner": "films", **typed})
    seen = desk.post(address("edit_term"), sent, headers={"HX-Target": "preview"})
    assert said in text_of(seen)
    assert not SettlementTerm.objects.filter(offering=world.film).exists()
    assert desk.post(address("edit_term"), sent).status_code == 302
    term = SettlementTerm.objects.get(offering=world.film)
    assert (term.basis, term.valid_from) == (typed["kind"], JANUARY)
    assert AuditEntry.objects.filter(action="settlement_term.set", at=NOW).exists()
    opened = text_of(desk.get(address("edit_term"), {"from": term.pk}))
    assert "Until now BSP share" in opened
    assert "To come" in text_of(desk.get(address("offering_prices")))


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ({"kind": "fixed", "percent": "70"}, "This does not go with what it gets."),
        ({"kind": "tiered"}, "Give the tiers of the percentage."),
        ({"kind": "tiered", "tiers-0-up_to": "5", "tiers-0-amount": "101"}, "Tier 1, percent:"),
        ({"kind": "percent_of_net", "percent": "101"}, "less than or equal to 100"),
        ({"kind": "percent_of_net", "percent": "5", "partner": "nobody"}, "Select a valid choice"),
    ],
)  # fmt: skip
def test_a_term_that_makes_no_sense_is_refused(
    typed: dict[str, Any], said: str, world: World, desk: Client
) -> None:
    sent = form(**{"role": "bsp", "partner": "films", **typed})
    answer = desk.post(address("edit_term"), sent)
    assert answer.status_code == 422
    assert said in text_of(answer)
    assert not SettlementTerm.objects.filter(offering=world.film).exists()


def test_a_tax_rate_is_set_and_shown_in_time(
    world: World, desk: Client, as_role: Callable[[str], Client]
) -> None:
    taxes = reverse("admin:console_taxes")
    sent = {"category": "telecom", "percent": "12.5", "valid_day": "2027-01-01"}
    seen = desk.post(taxes, sent, headers={"HX-Target": "preview"})
    assert "ISP 10.00 Tax on top 1.25" in text_of(seen)
    assert desk.post(taxes, sent | {"percent": ""}).status_code == 422
    assert as_role(roles.CSR).post(taxes, sent).status_code == 200
    assert TaxRate.objects.count() == 1
    assert desk.post(taxes, sent).status_code == 302
    assert "12.5 % ◔ To come from 01 Jan 2027" in text_of(desk.get(taxes))
