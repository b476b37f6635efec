"""The database refuses a false catalogue, whoever writes it."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import DatabaseError, transaction

from ispops.catalog.models import (
    AddressEntitlement,
    BundleComponent,
    OfferingPrice,
    ProductOffering,
    SettlementTerm,
    TaxRate,
)
from tests.small_isp import LAUNCH, SmallIsp, make_small_isp

DAY = timedelta(days=1)
FAR = LAUNCH + 10_000 * DAY

pytestmark = pytest.mark.django_db


@pytest.fixture
def isp() -> SmallIsp:
    return make_small_isp()


def refused(constraint: str, change: Callable[[], object]) -> None:
    with pytest.raises(DatabaseError, match=constraint), transaction.atomic():
        change()


def new_price(offering: ProductOffering, **facts: Any) -> OfferingPrice:
    given = {"charge": "recurring", "name": "p", "currency": "USD", "amount": Decimal(1),
             "valid_from": LAUNCH + DAY}  # fmt: skip
    return OfferingPrice.objects.create(offering=offering, **(given | facts))


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (LAUNCH, None),
        (LAUNCH - DAY, LAUNCH + timedelta(microseconds=1)),
        (LAUNCH + DAY, LAUNCH + 2 * DAY),
        (LAUNCH - DAY, None),
    ],
)
def test_two_prices_are_never_in_force_at_once(isp: SmallIsp, start: Any, end: Any) -> None:
    refused("one_price_at_a_time", lambda: new_price(isp.fast, valid_from=start, valid_to=end))


def test_prices_may_follow_each_other_and_differ_in_unit_or_currency(isp: SmallIsp) -> None:
    new_price(isp.fast, valid_from=LAUNCH - DAY, valid_to=LAUNCH)
    new_price(isp.fast, currency="EUR")
    new_price(isp.fast, charge="usage", unit="minute")
    new_price(isp.dsl, charge="one_off")


def test_price_must_make_sense(isp: SmallIsp) -> None:
    refused("price_ends_after_it_starts", lambda: new_price(
        isp.dsl, charge="one_off", valid_to=LAUNCH + DAY))  # fmt: skip
    refused("usage_price_names_its_unit", lambda: new_price(isp.dsl, charge="usage"))
    refused("price_block_is_positive", lambda: new_price(
        isp.dsl, charge="usage", unit="x", block_size=0))  # fmt: skip
    refused("price_not_negative", lambda: new_price(
        isp.dsl, charge="one_off", amount=Decimal(-1)))  # fmt: skip


def test_price_in_force_is_only_ended_and_only_once(isp: SmallIsp) -> None:
    rows = OfferingPrice.objects.filter(offering=isp.fast, charge="recurring")
    refused("append-only", lambda: rows.update(amount=Decimal(1)))
    refused("append-only", lambda: rows.update(valid_from=LAUNCH - DAY))
    refused("append-only", lambda: rows._raw_delete("default"))
    rows.update(valid_to=LAUNCH + DAY)
    refused("append-only", lambda: rows.update(valid_to=LAUNCH + 2 * DAY))
    refused("append-only", lambda: rows.update(valid_to=None))


def test_planned_price_can_be_taken_back(isp: SmallIsp) -> None:
    planned = new_price(isp.dsl, charge="one_off", valid_from=FAR)
    OfferingPrice.objects.filter(pk=planned.pk).update(amount=Decimal(7))
    planned.delete()


def test_settlement_terms(isp: SmallIsp) -> None:
    def term(**facts: Any) -> SettlementTerm:
        given = {"role": "bsp", "basis": "fixed", "valid_from": LAUNCH, "partner": isp.films}
        return SettlementTerm.objects.create(offering=isp.streaming, **(given | facts))

    first = term()
    term(role="network_provider")
    refused("one_term_at_a_time", lambda: term(partner=isp.fibre, valid_from=LAUNCH + DAY))
    refused("settlement_percent_in_range", lambda: term(percent=Decimal("100.001")))
    refused("settlement_amount_positive", lambda: term(amount=Decimal(-1)))
    refused("settlement_term_ends_after_it_starts", lambda: term(valid_to=LAUNCH))
    refused("append-only", lambda: SettlementTerm.objects.update(percent=Decimal(1)))
    refused(
        "append-only", lambda: SettlementTerm.objects.filter(pk=first.pk)._raw_delete("default")
    )


def test_tax_rates() -> None:
    def rate(**facts: Any) -> TaxRate:
        given = {"category": "telecom", "percent": Decimal(8), "valid_from": LAUNCH}
        return TaxRate.objects.create(**(given | facts))

    rate()
    rate(category="digital")
    refused("one_tax_rate_at_a_time", lambda: rate(valid_from=LAUNCH + DAY))
    refused("tax_percent_in_range", lambda: rate(category="x", percent=Decimal(-1)))
    refused("tax_rate_ends_after_it_starts", lambda: rate(category="x", valid_to=LAUNCH))
    refused("append-only", lambda: TaxRate.objects.update(percent=Decimal(1)))


@pytest.mark.parametrize(
    ("kind", "facts", "constraint"),
    [
        ("access", {"technology": None}, "access_plan_names_its_line"),
        ("access", {"provider": None}, "access_plan_names_its_line"),
        ("access", {"download_kbps": 0}, "access_plan_names_its_line"),
        ("access", {"download_kbps": None}, "access_plan_names_its_line"),
        ("access", {"upload_kbps": None}, "access_plan_names_its_line"),
        ("bsp", {"provider": None}, "partner_product_names_its_bsp"),
        ("addon", {}, "addon_names_its_type"),
        ("bundle", {"sold_to": LAUNCH}, "offering_ends_after_it_starts"),
        ("bundle", {"code": "fibre-500"}, "code"),
    ],
)
def test_offering_must_make_sense(
    isp: SmallIsp, kind: str, facts: dict[str, Any], constraint: str
) -> None:
    given = {"code": "new", "name": "New", "sold_from": LAUNCH, "provider": isp.fibre,
             "technology": 50, "download_kbps": 1, "upload_kbps": 1}  # fmt: skip
    refused(constraint, lambda: ProductOffering.objects.create(kind=kind, **(given | facts)))


def test_bundle_and_entitlement_must_make_sense(isp: SmallIsp) -> None:
    refused("bundle_component_once", lambda: BundleComponent.objects.create(
        bundle=isp.bundle, component=isp.fast, revenue_weight=1))  # fmt: skip
    refused("bundle_not_in_itself", lambda: BundleComponent.objects.create(
        bundle=isp.bundle, component=isp.bundle, revenue_weight=1))  # fmt: skip
    refused("granting_policy_names_its_addon", lambda: AddressEntitlement.objects.create(
        offering=isp.dsl, policy="grant_and_charge"))  # fmt: skip
    refused("offering_id", lambda: AddressEntitlement.objects.create(
        offering=isp.fast, policy="deny"))  # fmt: skip
