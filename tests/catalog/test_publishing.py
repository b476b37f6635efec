"""The verbs of the catalogue: what takes effect when, and what they refuse."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from ispops.catalog import effective, publishing
from ispops.catalog.models import (
    AddressEntitlement,
    OfferingPrice,
    ProductOffering,
    SettlementTerm,
    TaxRate,
)
from ispops.errors import InvalidInput
from ispops.parties.models import AuditEntry, Partner
from tests.small_isp import LAUNCH, make_partner

DAY = timedelta(days=1)
AT = LAUNCH

pytestmark = pytest.mark.django_db


@pytest.fixture
def network() -> Partner:
    return make_partner("net", "Net", "network_provider", AT)


@pytest.fixture
def films() -> Partner:
    return make_partner("films", "Films", "bsp", AT)


@pytest.fixture
def plan(network: Partner) -> ProductOffering:
    return make_plan("plan", network)


def make_plan(code: str, network: Partner, **facts: Any) -> ProductOffering:
    line = {"technology": 50, "download_kbps": 1_000, "upload_kbps": 1_000}
    return publishing.create_offering(
        code=code, name="Plan", kind="access", provider=network, at=AT, **(line | facts)
    )


def make_addon(code: str = "extra", kind: str = "extra_address") -> ProductOffering:
    return publishing.create_offering(code=code, name="Extra", kind="addon", addon_type=kind, at=AT)


def price(plan: ProductOffering, amount: str, at: Any = AT, **facts: Any) -> OfferingPrice:
    charge = facts.pop("charge", "recurring")
    return publishing.set_price(
        offering=plan, charge=charge, amount=Decimal(amount), at=at, **facts
    )


def spans(plan: ProductOffering) -> list[tuple[Decimal, Any, Any]]:
    rows = plan.prices.order_by("valid_from")
    return [(row.amount, row.valid_from, row.valid_to) for row in rows]


# --- Offerings ----------------------------------------------------------------------------------


def test_offering_is_on_sale_from_now_and_noted(network: Partner) -> None:
    plan = make_plan("plan", network)
    assert (plan.sold_from, plan.sold_to) == (AT, None)
    entry = AuditEntry.objects.get(action="offering.created")
    assert (entry.subject, entry.actor_name, entry.detail) == (
        "offering_plan", "system", {"kind": "access"},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"code": "not a slug"}, "code"),
        ({"name": ""}, "name"),
        ({"kind": "gift"}, "kind"),
        ({"provider": None}, "provider"),
        ({"technology": None}, "technology"),
        ({"technology": 99}, "technology"),
        ({"download_kbps": 0}, "download_kbps"),
        ({"upload_kbps": None}, "upload_kbps"),
        ({"download_kbps": -1}, "download_kbps"),
        ({"subscriber_kind": "robot"}, "subscriber_kind"),
        ({"kind": "addon"}, "addon_type"),
        ({"kind": "addon", "addon_type": "gift"}, "addon_type"),
        ({"kind": "bsp"}, "provider"),
    ],
)
def test_offering_that_cannot_be(network: Partner, change: dict[str, Any], field: str) -> None:
    facts = {"code": "plan", "name": "Plan", "kind": "access", "provider": network,
             "technology": 50, "download_kbps": 1, "upload_kbps": 1}  # fmt: skip
    with pytest.raises(InvalidInput) as refusal:
        publishing.create_offering(at=AT, **(facts | change))
    assert refusal.value.field == field
    assert not ProductOffering.objects.exists()


def test_code_is_taken_once(network: Partner) -> None:
    make_plan("plan", network)
    with pytest.raises(publishing.OfferingCodeTaken):
        make_plan("plan", network)


def test_withdrawing_ends_the_sale_once(plan: ProductOffering) -> None:
    with pytest.raises(InvalidInput, match="not on sale yet"):
        publishing.withdraw_offering(offering=plan, at=AT)
    assert publishing.withdraw_offering(offering=plan, at=AT + DAY).sold_to == AT + DAY
    assert publishing.withdraw_offering(offering=plan, at=AT + 2 * DAY).sold_to == AT + DAY


# --- Prices -------------------------------------------------------------------------------------


def test_new_price_ends_the_one_before(plan: ProductOffering) -> None:
    price(plan, "60")
    price(plan, "65.50", AT + DAY)
    assert spans(plan) == [
        (Decimal(60), AT, AT + DAY),
        (Decimal("65.5"), AT + DAY, None),
    ]
    details = AuditEntry.objects.filter(action="price.set").values_list("detail", flat=True)
    assert [detail["amount"] for detail in details.order_by("pk")] == ["60", "65.50"]


def test_same_price_again_changes_nothing(plan: ProductOffering) -> None:
    first = price(plan, "60")
    assert price(plan, "60.00", AT + DAY) == first
    assert spans(plan) == [(Decimal(60), AT, None)]
    assert AuditEntry.objects.filter(action="price.set").count() == 1


def test_other_charge_unit_or_currency_is_another_price(plan: ProductOffering) -> None:
    price(plan, "60")
    price(plan, "49", charge="one_off")
    price(plan, "1", charge="usage", unit="byte")
    price(plan, "2", charge="usage", unit="minute")
    price(plan, "55", currency="EUR")
    assert OfferingPrice.objects.filter(valid_to=None).count() == 5


def test_planned_price_waits_and_can_be_replaced(plan: ProductOffering) -> None:
    soon = AT + 5_000 * DAY  # In the future of the database, which guards what is in force.
    price(plan, "60")
    price(plan, "70", valid_from=soon)
    price(plan, "75", valid_from=soon)
    assert spans(plan) == [(Decimal(60), AT, soon), (Decimal(75), soon, None)]
    with pytest.raises(effective.ChangePlanned):
        price(plan, "65", AT + DAY)


def test_planned_price_is_not_hidden_by_an_earlier_one(plan: ProductOffering) -> None:
    soon = AT + 5_000 * DAY
    price(plan, "70", valid_from=soon)
    price(plan, "60", AT + DAY)
    assert spans(plan) == [(Decimal(60), AT + DAY, soon), (Decimal(70), soon, None)]


def test_price_from_the_very_same_moment_is_refused(plan: ProductOffering) -> None:
    price(plan, "60")
    with pytest.raises(effective.InForceAlready):
        price(plan, "61")


BY_USE = {"charge": "usage", "unit": "minute"}
BAND = {"name": "Night", "days": [0, 6], "start": "22:00", "end": "06:00", "amount": "0.01"}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"amount": Decimal("-0.01")}, "amount"),
        ({"amount": Decimal("NaN")}, "amount"),
        ({"amount": Decimal("0.0000001")}, "amount"),
        ({"amount": Decimal(10) ** 12}, "amount"),
        ({"amount": 9.99}, "amount"),
        ({"charge": "gift"}, "charge"),
        ({"charge": "usage"}, "unit"),
        ({"unit": "byte"}, "unit"),
        ({"block_size": 0}, "block_size"),
        ({"allowance": -1}, "allowance"),
        ({"currency": "DOLLAR"}, "currency"),
        ({"tiers": [{"up_to": 5, "amount": "1"}]}, "tiers"),
        ({"tiers": [{"up_to": None, "amount": "1"}, {"up_to": None, "amount": "1"}]}, "tiers"),
        ({"tiers": [{"up_to": 9, "amount": "1"}, {"up_to": 5, "amount": "1"},
                    {"up_to": None, "amount": "1"}]}, "tiers"),
        ({"tiers": [{"up_to": None, "amount": "dear"}]}, "tiers"),
        ({"tiers": [{"up_to": None, "amount": "-1"}]}, "tiers"),
        ({"tiers": [{"up_to": None}]}, "tiers"),
        ({"tiers": [{"up_to": None, "amount": 0.1}]}, "tiers"),
        ({"tiers": [{"up_to": None, "amount": "1", "down_to": 3}]}, "tiers"),
        ({"tiers": "cheap"}, "tiers"),
        ({"colour": "red"}, "colour"),
        ({"allowance": 5}, "allowance"),
        ({"bands": [BAND]}, "bands"),
        (BY_USE | {"bands": [BAND | {"start": "25:00"}]}, "bands"),
        (BY_USE | {"bands": [BAND | {"days": [7]}]}, "bands"),
        (BY_USE | {"bands": [BAND | {"counts": "no"}]}, "bands"),
        (BY_USE | {"bands": [BAND | {"name": ""}]}, "bands"),
        (BY_USE | {"bands": [BAND, BAND]}, "bands"),
        (BY_USE | {"bands": [BAND] * 4}, "bands"),
        (BY_USE | {"bands": [BAND], "tiers": [{"up_to": None, "amount": "1"}]}, "bands"),
        (BY_USE | {"model": "auction"}, "model"),
        (BY_USE | {"model": "volume"}, "tiers"),
        (BY_USE | {"model": "percentage"}, "percent"),
        (BY_USE | {"model": "percentage", "percent": Decimal(101)}, "percent"),
        (BY_USE | {"model": "percentage", "percent": Decimal(2), "allowance": 5}, "allowance"),
        (BY_USE | {"percent": Decimal(2)}, "percent"),
        (BY_USE | {"event_minimum": Decimal(2)}, "event_minimum"),
        (BY_USE | {"rollover_periods": 2}, "rollover_periods"),
        (BY_USE | {"allowance": 5, "rollover_periods": 13}, "rollover_periods"),
        (BY_USE | {"rollover_most": 2}, "rollover_most"),
        (BY_USE | {"period_minimum": Decimal(2), "period_maximum": Decimal(1)}, "period_maximum"),
        (BY_USE | {"period_maximum": Decimal(-1)}, "period_maximum"),
        (BY_USE | {"allowance": 10**30}, "allowance"),
        ({"discount_percent": Decimal(101)}, "discount_percent"),
        ({"discount_amount": Decimal("NaN")}, "discount_amount"),
        ({"discount_periods": 3}, "discount_periods"),
        ({"discount_percent": Decimal(10), "discount_periods": 0}, "discount_periods"),
        ({"charge": "one_off", "discount_percent": Decimal(10), "discount_periods": 2},
         "discount_periods"),
        ({"proration": "hour"}, "proration"),
        ({"tax_category": "no slug"}, "tax_category"),
        ({"pack_units": 5}, "pack_units"),
        ({"charge": "one_off", "pack_units": 5}, "pack_for"),
    ],
)  # fmt: skip
def test_price_that_cannot_be(plan: ProductOffering, change: dict[str, Any], field: str) -> None:
    facts = {"charge": "recurring", "amount": Decimal(1)} | change
    with pytest.raises(InvalidInput) as refusal:
        publishing.set_price(offering=plan, at=AT, **facts)
    assert refusal.value.field == field
    assert not OfferingPrice.objects.exists()


def test_tiers_are_kept_as_exact_text(plan: ProductOffering) -> None:
    tiers = [{"up_to": 600, "amount": "0.020"}, {"up_to": None, "amount": Decimal("0.01")}]
    stored = price(plan, "0", charge="usage", unit="minute", tiers=tiers)
    stored.refresh_from_db()
    assert stored.tiers == [
        {"up_to": 600, "amount": "0.020"},
        {"up_to": None, "amount": "0.01"},
    ]


# --- Terms, taxes, entitlements, bundles --------------------------------------------------------


def term(plan: ProductOffering, partner: Partner, at: Any = AT, **facts: Any) -> SettlementTerm:
    given = {"role": "network_provider", "basis": "percent_of_net", "percent": Decimal(40)}
    return publishing.set_settlement_term(offering=plan, partner=partner, at=at, **(given | facts))


def test_new_term_ends_the_one_before(plan: ProductOffering, network: Partner) -> None:
    first = term(plan, network)
    assert term(plan, network, AT + DAY) == first
    second = term(
        plan, network, AT + DAY, basis="fixed", percent=Decimal(0), amount=Decimal("21.5")
    )
    first.refresh_from_db()
    assert (first.valid_to, second.valid_from) == (AT + DAY, AT + DAY)


@pytest.mark.parametrize(
    "change",
    [{"percent": Decimal(101)}, {"percent": Decimal("0.0001")}, {"role": "friend"},
     {"basis": "fixed"}, {"amount": Decimal(1)}, {"percent": Decimal("NaN")},
     {"basis": "tiered", "percent": Decimal(0)}, {"block_size": 10}, {"minimum": Decimal(-1)},
     {"basis": "tiered", "percent": Decimal(0), "tiers": [{"up_to": "9", "percent": "1"}]},
     {"basis": "tiered", "percent": Decimal(0), "tiers": [{"up_to": None, "percent": 0.5}]}],
)  # fmt: skip
def test_term_that_cannot_be(
    plan: ProductOffering, network: Partner, change: dict[str, Any]
) -> None:
    with pytest.raises(InvalidInput):
        term(plan, network, **change)


def test_tax_rate_takes_effect(plan: ProductOffering) -> None:
    publishing.set_tax_rate(category="telecom", percent=Decimal("8.5"), at=AT)
    publishing.set_tax_rate(category="telecom", percent=Decimal(9), at=AT + DAY)
    publishing.set_tax_rate(category="digital", percent=Decimal(0), at=AT)
    assert list(TaxRate.objects.order_by("pk").values_list("category", "percent", "valid_to")) == [
        ("telecom", Decimal("8.5"), AT + DAY),
        ("telecom", Decimal(9), None),
        ("digital", Decimal(0), None),
    ]
    with pytest.raises(InvalidInput):
        publishing.set_tax_rate(category="no slug", percent=Decimal(1), at=AT)


def test_entitlement_is_set_and_changed(plan: ProductOffering) -> None:
    extra = make_addon()
    for policy, count in (("ask_subscriber", 1), ("grant_and_charge", 2)):
        publishing.set_entitlement(
            offering=plan, policy=policy, ipv4_addresses=count, extra_address=extra, at=AT
        )
    row = AddressEntitlement.objects.get()
    assert (row.policy, row.ipv4_addresses, row.extra_address) == ("grant_and_charge", 2, extra)


@pytest.mark.parametrize(
    ("facts", "field"),
    [
        (lambda: {"policy": "ask_subscriber"}, "extra_address"),
        (lambda: {"policy": "hope"}, "extra_address"),
        (lambda: {"policy": "hope", "extra_address": make_addon()}, "policy"),
        (lambda: {"policy": "deny", "ipv4_addresses": -1}, "ipv4_addresses"),
        (lambda: {"policy": "deny", "extra_address": make_addon("s", "static_address")},
         "extra_address"),
        (lambda: {"policy": "deny", "offering": make_addon()}, "offering"),
    ],
)  # fmt: skip
def test_entitlement_that_cannot_be(
    plan: ProductOffering, facts: Callable[[], dict[str, Any]], field: str
) -> None:
    with pytest.raises(InvalidInput) as refusal:
        publishing.set_entitlement(**({"offering": plan, "at": AT} | facts()))
    assert refusal.value.field == field
    assert not AddressEntitlement.objects.exists()


def test_bundle_is_defined_once(plan: ProductOffering, films: Partner) -> None:
    film = publishing.create_offering(code="f", name="Film", kind="bsp", provider=films, at=AT)
    bundle = publishing.create_offering(code="b", name="Both", kind="bundle", at=AT)
    parts = [(plan, 60), (film, 12)]
    made = publishing.define_bundle(bundle=bundle, components=parts, at=AT)
    assert [(part.component, part.revenue_weight) for part in made] == parts
    again = publishing.define_bundle(bundle=bundle, components=reversed(parts), at=AT)
    assert {part.pk for part in again} == {part.pk for part in made}
    with pytest.raises(publishing.BundleDefined):
        publishing.define_bundle(bundle=bundle, components=[(plan, 60)], at=AT)


def test_bundle_that_cannot_be(plan: ProductOffering, network: Partner, films: Partner) -> None:
    film = publishing.create_offering(code="f", name="Film", kind="bsp", provider=films, at=AT)
    bundle = publishing.create_offering(code="b", name="Both", kind="bundle", at=AT)
    other = publishing.create_offering(code="b2", name="Other", kind="bundle", at=AT)
    second = make_plan("plan-2", network)
    bad: list[tuple[ProductOffering, list[tuple[ProductOffering, int]]]] = [
        (bundle, []),
        (bundle, [(film, 1)]),
        (bundle, [(plan, 1), (second, 1)]),
        (bundle, [(plan, 1), (other, 1)]),
        (bundle, [(plan, 1), (film, 0)]),
        (bundle, [(plan, 1), (film, 1), (film, 1)]),
        (film, [(plan, 1)]),
    ]
    for target, parts in bad:
        with pytest.raises(InvalidInput):
            publishing.define_bundle(bundle=target, components=parts, at=AT)
    assert not bundle.components.exists()
