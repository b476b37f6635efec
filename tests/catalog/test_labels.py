"""The FCC's label as pure facts: identifiers, quantities, and the file's columns and values."""

import csv
import io
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ispops.catalog import labels
from ispops.catalog.labels import Fee, Introduction, Label, Links, Overage

HEADER = (
    "unique_plan_id,provider_name,service_plan_name,tier_plan_name,connection_type,monthly_price,"
    "intro_rate,intro_rate_price,intro_rate_time,contract_req,contract_time,contract_terms_url,"
    "early_termination_fee,single_purchase_fee_descr,single_purchase_fees,"
    "monthly_provider_fee_descr,monthly_provider_fee,tax,bundle_discounts_url,"
    "typical_download_speed,typical_upload_speed,typical_latency,monthly_data_allow,"
    "over_usage_data_price,additional_data_increment,data_allowance_policy_url,"
    "network_management_policy_url,privacy_policy_url,customer_support_phone,customer_support_web"
)


def label(**change: Any) -> Label:
    facts: dict[str, Any] = {
        "code": "fibre-500",
        "unique_plan_id": "F0005937974123ABC456EMC789",
        "provider_name": "Acme",
        "plan_name": "Fibre 500",
        "tier_name": "",
        "connection": "F",
        "currency": "USD",
        "monthly_price": Decimal("59.95"),
        "introduction": None,
        "contract_months": 0,
        "early_termination_fee": None,
        "purchase_fees": (),
        "monthly_fees": (),
        "tax": None,
        "download_kbps": 512_300,
        "upload_kbps": 500_000,
        "latency_ms": 9,
        "allowance_bytes": None,
        "overage": None,
        "links": Links("terms", "discounts", "allowance", "network", "privacy", "support"),
        "support_phone": "+1 800 555 0142",
    }
    return Label(**(facts | change))


def row(**change: Any) -> dict[str, str]:
    (found,) = csv.DictReader(io.StringIO(labels.as_csv([label(**change)]), newline=""))
    return found


def test_the_header_is_the_fccs() -> None:
    assert labels.as_csv([]) == HEADER + "\r\n"


def test_what_does_not_apply_is_empty() -> None:
    assert row() == dict.fromkeys(labels.COLUMNS, "") | {
        "unique_plan_id": "F0005937974123ABC456EMC789",
        "provider_name": "Acme",
        "service_plan_name": "Fibre 500",
        "connection_type": "Fixed",
        "monthly_price": "59.95",
        "intro_rate": "No",
        "contract_req": "No",
        "tax": "Varies",
        "bundle_discounts_url": "discounts",
        "typical_download_speed": "512.30",
        "typical_upload_speed": "500",
        "typical_latency": "9",
        "network_management_policy_url": "network",
        "privacy_policy_url": "privacy",
        "customer_support_phone": "+1 800 555 0142",
        "customer_support_web": "support",
    }


def test_what_applies_is_there() -> None:
    found = row(
        tier_name="Gold",
        introduction=Introduction(Decimal("39.95"), datetime(2026, 7, 1, tzinfo=UTC), 6),
        contract_months=24,
        early_termination_fee=Decimal(90),
        purchase_fees=(Fee("Equipment; used", Decimal(25)), Fee("Installation", Decimal(50))),
        monthly_fees=(Fee("Router rental", Decimal("9.95")),),
        tax=Decimal(0),
        allowance_bytes=1_200 * 10**9,
        overage=Overage(Decimal(10), Decimal(50)),
    )
    for name, value in {
        "tier_plan_name": "Gold",
        "monthly_price": "59.95",
        "intro_rate": "Yes",
        "intro_rate_price": "39.95",
        "intro_rate_time": "6",
        "contract_req": "Yes",
        "contract_time": "24",
        "contract_terms_url": "terms",
        "early_termination_fee": "90.00",
        "single_purchase_fee_descr": "Equipment, used; Installation",
        "single_purchase_fees": "25.00; 50.00",
        "monthly_provider_fee_descr": "Router rental",
        "monthly_provider_fee": "9.95",
        "tax": "0.00",
        "monthly_data_allow": "1200",
        "over_usage_data_price": "10.00",
        "additional_data_increment": "50",
        "data_allowance_policy_url": "allowance",
    }.items():
        assert found[name] == value, name


def test_a_name_with_commas_quotes_and_lines_stays_one_value() -> None:
    assert row(plan_name='A, "B"\nC')["service_plan_name"] == 'A, "B"\nC'


def test_the_identifier_is_kind_registration_number_and_code() -> None:
    found = labels.unique_plan_id(connection="F", frn="0005937974", plan_code="123ABC456EMC789")
    assert found == "F0005937974123ABC456EMC789"


@pytest.mark.parametrize(
    ("code", "plan_code"),
    [
        ("fiber-300", "0000000FIBER300"),
        ("fiber-3000", "000000FIBER3000"),
        ("a", "00000000000000A"),
        ("the_longest-code-of-all", "ONGESTCODEOFALL"),
    ],
)
def test_a_code_is_made_of_the_catalogues(code: str, plan_code: str) -> None:
    assert labels.plan_code_of(code) == plan_code


@given(st.from_regex(r"[-a-zA-Z0-9_]{1,50}", fullmatch=True))
def test_every_code_of_the_catalogue_makes_one_that_can_be_used(code: str) -> None:
    assert labels.is_plan_code(labels.plan_code_of(code))


@pytest.mark.parametrize(
    "text", ["", "A" * 14, "A" * 16, "a" * 15, "A-" + "A" * 13, "É" * 15, "A" * 15 + "\n", "٣" * 15]
)
def test_what_is_no_plan_code_is_told(text: str) -> None:
    assert not labels.is_plan_code(text)


def test_small_blocks_are_told_by_the_gigabyte() -> None:
    assert labels.overage(amount=Decimal("0.05"), block_bytes=10**7) == Overage(
        Decimal(5), Decimal(1)
    )
    assert labels.overage(amount=Decimal(2), block_bytes=10**10) == Overage(Decimal(2), Decimal(10))


@pytest.mark.parametrize(
    ("start", "end", "months"),
    [
        (date(2026, 1, 15), date(2026, 1, 20), 0),
        (date(2026, 1, 15), date(2026, 2, 14), 0),
        (date(2026, 1, 15), date(2026, 2, 15), 1),
        (date(2026, 11, 30), date(2027, 5, 30), 6),
        (date(2026, 2, 1), date(2026, 1, 1), 0),
    ],
)
def test_months_are_whole_and_never_more_than_there_are(
    start: date, end: date, months: int
) -> None:
    assert labels.whole_months(start, end) == months


def test_who_subscribes_now_pays_the_introduction() -> None:
    intro = Introduction(Decimal("39.95"), datetime(2026, 7, 1, tzinfo=UTC), 6)
    assert label(introduction=intro).price_now == Decimal("39.95")
    assert label().price_now == Decimal("59.95")
