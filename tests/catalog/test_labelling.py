"""Labels are published by a verb, put together from the catalogue, and kept."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import DatabaseError, transaction
from pytest_django import Settings

from ispops.catalog import effective, labelled, labelling, publishing
from ispops.catalog.models import BroadbandLabel, ProductOffering
from ispops.errors import InvalidInput
from ispops.parties.models import AuditEntry
from tests.small_isp import LAUNCH, SmallIsp, make_small_isp

DAY = timedelta(days=1)
pytestmark = pytest.mark.django_db


@pytest.fixture
def isp() -> SmallIsp:
    return make_small_isp()


def publish(offering: ProductOffering, at: Any = LAUNCH, **facts: Any) -> BroadbandLabel:
    given: dict[str, Any] = {"typical_download_kbps": 480_000, "typical_upload_kbps": 470_500,
             "typical_latency_ms": 9}  # fmt: skip
    return labelling.set_label(offering=offering, at=at, **(given | facts))


# --- The verb -----------------------------------------------------------------------------------


def test_a_first_label_gives_the_plan_its_code_and_is_audited(isp: SmallIsp) -> None:
    row = publish(isp.fast)
    isp.fast.refresh_from_db()
    assert isp.fast.fcc_plan_code == "0000000FIBRE500"
    assert (row.valid_from, row.valid_to) == (LAUNCH, None)
    entry = AuditEntry.objects.get(action="label.set")
    assert (entry.subject, entry.detail["fcc_plan_code"]) == (
        "offering_fibre-500",
        "0000000FIBRE500",
    )


def test_the_same_label_again_changes_nothing(isp: SmallIsp) -> None:
    first = publish(isp.fast, monthly_fees=[{"name": "Router", "amount": Decimal(5)}])
    again = publish(isp.fast, LAUNCH + DAY, monthly_fees=[{"name": "Router", "amount": "5"}])
    assert again.pk == first.pk
    assert AuditEntry.objects.filter(action="label.set").count() == 1


def test_a_new_label_ends_the_one_before_and_keeps_the_code(isp: SmallIsp) -> None:
    publish(isp.fast, fcc_plan_code="A" * 15)
    publish(isp.fast, LAUNCH + DAY, typical_latency_ms=8)
    assert list(
        isp.fast.labels.order_by("valid_from").values_list("typical_latency_ms", "valid_to")
    ) == [(9, LAUNCH + DAY), (8, None)]
    isp.fast.refresh_from_db()
    assert isp.fast.fcc_plan_code == "A" * 15
    with pytest.raises(labelling.PlanCodeKept):
        publish(isp.fast, LAUNCH + 2 * DAY, fcc_plan_code="B" * 15)
    with pytest.raises(effective.InForceAlready):
        publish(isp.fast, LAUNCH + DAY, typical_latency_ms=7)


def test_no_two_plans_have_one_code(isp: SmallIsp) -> None:
    publish(isp.fast, fcc_plan_code="00000000000DSL6")
    with pytest.raises(labelling.PlanCodeTaken):
        publish(isp.slow_dsl)
    assert not isp.slow_dsl.labels.exists()
    publish(isp.slow_dsl, fcc_plan_code="00000000000DSLX")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"typical_download_kbps": 0}, "typical_download_kbps"),
        ({"typical_upload_kbps": -1}, "typical_upload_kbps"),
        ({"typical_latency_ms": 0}, "typical_latency_ms"),
        ({"typical_latency_ms": 10**12}, "typical_latency_ms"),
        ({"tier_name": "x" * 61}, "tier_name"),
        ({"tier_name": "a\0b"}, "tier_name"),
        ({"contract_terms_url": "javascript:alert(1)"}, "contract_terms_url"),
        ({"discounts_url": "no address"}, "discounts_url"),
        ({"early_termination_fee": Decimal(90)}, "early_termination_fee"),
        (
            {"contract_months": 12, "early_termination_fee": Decimal("NaN")},
            "early_termination_fee",
        ),
        ({"contract_months": 12, "early_termination_fee": Decimal(-1)}, "early_termination_fee"),
        ({"monthly_fees": [{"name": "", "amount": "1"}]}, "monthly_fees"),
        ({"monthly_fees": [{"name": "x", "amount": "much"}]}, "monthly_fees"),
        ({"purchase_fees": [{"name": "x", "amount": "-1"}]}, "purchase_fees"),
        ({"purchase_fees": [{"name": "x", "amount": "1"}] * 21}, "purchase_fees"),
        ({"fcc_plan_code": "short"}, "fcc_plan_code"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_field(
    isp: SmallIsp, change: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidInput) as refusal:
        publish(isp.fast, **change)
    assert refusal.value.field == field
    assert not BroadbandLabel.objects.exists()
    isp.fast.refresh_from_db()
    assert isp.fast.fcc_plan_code is None


def test_only_a_plan_with_a_line_has_a_label(isp: SmallIsp) -> None:
    for offering in (isp.streaming, isp.extra_address):
        with pytest.raises(InvalidInput):
            publish(offering)
    publish(isp.bundle)


# --- The guards under it ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("constraint", "change"),
    [
        ("label_says_what_is_typical", {"typical_latency_ms": 0}),
        ("only_a_contract_has_a_termination_fee", {"early_termination_fee": Decimal(1)}),
        ("label_ends_after_it_starts", {"valid_to": LAUNCH - DAY}),
        ("one_label_at_a_time", {"valid_from": LAUNCH + DAY}),
    ],
)
def test_the_database_refuses_a_false_label(
    isp: SmallIsp, constraint: str, change: dict[str, Any]
) -> None:
    publish(isp.fast)
    given: dict[str, Any] = {
        "offering": isp.fast, "typical_download_kbps": 1, "typical_upload_kbps": 1,
        "typical_latency_ms": 1, "valid_from": LAUNCH - 2 * DAY, "valid_to": LAUNCH - DAY,
    }  # fmt: skip
    if constraint == "one_label_at_a_time":
        given["valid_to"] = None
    if constraint == "label_ends_after_it_starts":
        given["valid_from"] = LAUNCH - DAY
    with pytest.raises(DatabaseError, match=constraint), transaction.atomic():
        BroadbandLabel.objects.create(**(given | change))


@pytest.mark.parametrize("code", ["short", "a" * 15, "É" * 15])
def test_the_database_refuses_a_false_plan_code(isp: SmallIsp, code: str) -> None:
    with pytest.raises(DatabaseError, match="fcc_plan_code_has_its_form"), transaction.atomic():
        ProductOffering.objects.filter(pk=isp.fast.pk).update(fcc_plan_code=code)


def test_a_label_in_force_is_neither_edited_nor_deleted(isp: SmallIsp) -> None:
    row = publish(isp.fast)
    rows = BroadbandLabel.objects.filter(pk=row.pk)
    with pytest.raises(DatabaseError), transaction.atomic():
        rows.update(typical_latency_ms=1)
    with pytest.raises(DatabaseError), transaction.atomic():
        rows.delete()


# --- The label ----------------------------------------------------------------------------------


def test_prices_and_allowance_come_from_the_catalogue(isp: SmallIsp, settings: Settings) -> None:
    settings.ISP_FRN = "0005937974"
    publish(isp.fast, monthly_fees=[{"name": "Router", "amount": "5"}])
    publishing.set_tax_rate(category="telecom", percent=Decimal("6.35"), at=LAUNCH)
    label = labelled.label_of("fibre-500", LAUNCH)
    assert label is not None
    assert label.unique_plan_id == "F00059379740000000FIBRE500"
    assert (label.monthly_price, label.introduction) == (Decimal(60), None)
    assert [(fee.name, fee.amount) for fee in label.purchase_fees] == [
        ("Activation", Decimal("49.00"))
    ]
    assert [(fee.name, fee.amount) for fee in label.monthly_fees] == [("Router", Decimal("5.00"))]
    assert label.tax == Decimal("3.81")
    assert (label.allowance_bytes, label.overage) == (
        10**12,
        labelled.Overage(Decimal("10.00"), Decimal(50)),
    )
    assert (label.download_mbits, label.upload_mbits) == (Decimal(480), Decimal("470.50"))


def plan_price(offering: ProductOffering, amount: str, valid_from: Any, **facts: Any) -> None:
    given: dict[str, Any] = {"charge": "recurring"} | facts
    publishing.set_price(
        offering=offering, amount=Decimal(amount), valid_from=valid_from, at=LAUNCH, **given
    )


def test_a_price_that_is_fixed_to_rise_is_an_introduction(isp: SmallIsp) -> None:
    publish(isp.fast)
    rise = LAUNCH + 100 * DAY
    plan_price(isp.fast, "75", rise)
    label = labelled.label_of("fibre-500", LAUNCH + DAY)
    assert label is not None
    assert label.introduction is not None
    assert (label.price_now, label.monthly_price) == (Decimal(60), Decimal(75))
    assert (label.introduction.ends_at, label.introduction.months) == (rise, 3)
    after = labelled.label_of("fibre-500", rise)
    assert after is not None
    assert (after.monthly_price, after.introduction) == (Decimal(75), None)


def test_a_price_that_will_fall_is_none(isp: SmallIsp) -> None:
    publish(isp.fast)
    plan_price(isp.fast, "50", LAUNCH + 100 * DAY)
    label = labelled.label_of("fibre-500", LAUNCH)
    assert label is not None
    assert (label.monthly_price, label.introduction) == (Decimal(60), None)


def test_tax_that_nobody_set_is_not_ours_to_say(isp: SmallIsp) -> None:
    publish(isp.fast)
    label = labelled.label_of("fibre-500", LAUNCH)
    assert label is not None
    assert label.tax is None


def test_a_bundle_is_taxed_by_its_parts_and_has_the_data_of_its_line(isp: SmallIsp) -> None:
    publishing.set_tax_rate(category="telecom", percent=Decimal(10), at=LAUNCH)
    publish(isp.bundle)
    label = labelled.label_of(isp.bundle.code, LAUNCH)
    assert label is not None
    assert (label.monthly_price, label.tax) == (Decimal(68), Decimal("6.80"))
    assert label.allowance_bytes == 10**12
    ProductOffering.objects.filter(pk=isp.streaming.pk).update(tax_category="films")
    untaxed = labelled.label_of(isp.bundle.code, LAUNCH)
    assert untaxed is not None
    assert untaxed.tax is None
    publishing.set_tax_rate(category="films", percent=Decimal(50), at=LAUNCH)
    mixed = labelled.label_of(isp.bundle.code, LAUNCH)
    assert mixed is not None
    # 60 of 72 parts of 68.00 at a tenth, 12 at a half.
    assert mixed.tax == Decimal("11.33")


def test_a_price_in_steps_is_told_by_its_first(isp: SmallIsp) -> None:
    publish(isp.dsl)
    publishing.set_price(
        offering=isp.dsl, charge="usage", amount=Decimal(9), unit="byte", block_size=10**6,
        at=LAUNCH,
        tiers=[{"up_to": 10**12, "amount": "0.002"}, {"up_to": None, "amount": "0.001"}],
    )  # fmt: skip
    label = labelled.label_of("dsl-25", LAUNCH)
    assert label is not None
    assert label.allowance_bytes == 0
    assert label.overage == labelled.Overage(Decimal("2.00"), Decimal(1))


def test_labels_of_a_day_are_those_of_that_day(isp: SmallIsp) -> None:
    publish(isp.fast)
    publish(isp.dsl, LAUNCH + DAY)
    publish(isp.fast, LAUNCH + 2 * DAY, typical_latency_ms=5)
    assert [label.code for label in labelled.labels_at(LAUNCH)] == ["fibre-500"]
    assert [label.code for label in labelled.labels_at(LAUNCH + DAY)] == ["dsl-25", "fibre-500"]
    assert labelled.labels_at(LAUNCH - DAY) == []
    assert labelled.label_of("dsl-25", LAUNCH) is None
    first, later = (labelled.label_of("fibre-500", LAUNCH + n * DAY) for n in (1, 2))
    assert first is not None
    assert later is not None
    assert (first.latency_ms, later.latency_ms) == (9, 5)


def test_a_plan_that_is_no_longer_sold_keeps_its_last_label(isp: SmallIsp) -> None:
    publish(isp.fast)
    gone = LAUNCH + DAY
    publishing.withdraw_offering(offering=isp.fast, at=gone)
    plan_price(isp.fast, "99", LAUNCH + 2 * DAY)
    label = labelled.label_of("fibre-500", LAUNCH + 30 * DAY)
    assert label is not None
    assert (label.withdrawn_at, label.price_now) == (gone, Decimal(60))
    assert labelled.labels_at(gone) == []
    assert list(labelled.withdrawn_plans(gone)) == [isp.fast]
    assert not labelled.withdrawn_plans(gone - timedelta(microseconds=1)).exists()
    assert not labelled.withdrawn_plans(gone + 733 * DAY).exists()


def test_plans_that_lack_a_label_are_told(isp: SmallIsp) -> None:
    publish(isp.fast)
    missing = {plan.code for plan in labelled.unlabelled_plans(LAUNCH)}
    assert missing == {"fibre-office", "dsl-25", "dsl-6"}


def test_what_has_no_price_has_no_label(isp: SmallIsp) -> None:
    free = publishing.create_offering(
        code="later", name="Later", kind="access", provider=isp.fibre, technology=50,
        download_kbps=1, upload_kbps=1, at=LAUNCH,
    )  # fmt: skip
    publish(free)
    assert labelled.labels_at(LAUNCH) == []
    plan_price(free, "5", LAUNCH + DAY)
    assert labelled.labels_at(LAUNCH) == []
    assert [label.code for label in labelled.labels_at(LAUNCH + DAY)] == ["later"]


def test_all_labels_are_read_in_four_queries(isp: SmallIsp, django_assert_num_queries: Any) -> None:
    for offering in (isp.fast, isp.office, isp.dsl, isp.slow_dsl, isp.bundle):
        publish(offering)
    with django_assert_num_queries(4):
        found = labelled.labels_at(LAUNCH)
    assert [label.price_now for label in found] == [30, 45, 60, 68, 150]
