"""What the catalogue says at a moment, and in words."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from ispops.catalog import publishing, queries
from ispops.catalog.models import OfferingPrice
from tests.small_isp import LAUNCH, SmallIsp, make_small_isp, priced

DAY = timedelta(days=1)


@pytest.fixture
def isp() -> SmallIsp:
    return make_small_isp()


@pytest.mark.django_db
def test_price_in_force_is_the_one_of_the_moment(isp: SmallIsp) -> None:
    priced(isp.fast, "65", LAUNCH + DAY)

    def amount(at: Any, currency: str = "USD") -> Decimal | None:
        found = queries.price_in_force(isp.fast, "recurring", at, currency)
        return found.amount if found else None

    assert amount(LAUNCH - timedelta(microseconds=1)) is None
    assert amount(LAUNCH) == 60
    assert amount(LAUNCH + DAY - timedelta(microseconds=1)) == 60
    assert amount(LAUNCH + DAY) == 65
    assert amount(LAUNCH, "EUR") is None
    by_use = queries.price_in_force(isp.fast, "usage", LAUNCH, "USD", "byte")
    assert by_use is not None
    assert queries.price_in_force(isp.fast, "usage", LAUNCH, "USD") is None


@pytest.mark.django_db
def test_what_is_sold_begins_and_ends_at_its_moment(isp: SmallIsp) -> None:
    publishing.withdraw_offering(offering=isp.dsl, at=LAUNCH + DAY)
    assert isp.dsl in queries.sold_at(LAUNCH + DAY - timedelta(microseconds=1))
    assert isp.dsl not in queries.sold_at(LAUNCH + DAY)
    assert not queries.sold_at(LAUNCH - DAY).exists()


@pytest.mark.django_db
def test_entitlement_and_the_line_of_a_bundle(isp: SmallIsp) -> None:
    assert queries.entitlement_of(isp.fast).extra_address == isp.extra_address
    without = queries.entitlement_of(isp.dsl)
    assert (without.policy, without.ipv4_addresses, without.pk) == ("deny", 1, None)
    assert queries.access_plan_of(isp.bundle) == isp.fast
    assert queries.access_plan_of(isp.fast) == isp.fast
    assert queries.access_plan_of(isp.streaming) is None


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (
            {"amount": "10", "unit": "byte", "block_size": 10**10, "counts_started_blocks": True,
             "allowance": 1_200_000_000_000},
            "1.2 TB included, then USD 10.00 for each started 10 GB",
        ),
        ({"amount": "0.05", "unit": "minute"}, "USD 0.05 for each minute"),
        ({"amount": "0.005", "unit": "minute"}, "USD 0.005 for each minute"),
        ({"amount": "1", "unit": "GB", "allowance": 5}, "5 GB included, then USD 1.00 for each GB"),
        (
            {"amount": "0", "unit": "minute", "allowance": 60, "tiers": [
                {"up_to": 600, "amount": "0.02"}, {"up_to": None, "amount": "0.01"}]},
            "60 minutes included, then for each minute: USD 0.02 up to 600 minutes, "
            "USD 0.01 beyond",
        ),
        (
            {"amount": "0", "unit": "minute", "model": "volume", "tiers": [
                {"up_to": 600, "amount": "0.02", "flat": "1"}, {"up_to": None, "amount": "0.01"}]},
            "all at one price for each minute, by how much it is in all: USD 0.02 and USD 1.00 "
            "once up to 600 minutes, USD 0.01 beyond",
        ),
        (
            {"amount": "0", "unit": "minute", "model": "stairstep", "tiers": [
                {"up_to": 600, "amount": "2"}, {"up_to": None, "amount": "3"}]},
            "one price for all: USD 2.00 up to 600 minutes, USD 3.00 beyond",
        ),
        (
            {"amount": "0.01", "unit": "cent", "model": "percentage", "percent": Decimal("2.500"),
             "event_fee": Decimal("0.3"), "event_minimum": Decimal(1), "event_maximum": Decimal(9)},
            "2.5 % of the value and USD 0.30, at least USD 1.00, at most USD 9.00",
        ),
        (
            {"amount": "0.1", "unit": "minute", "allowance": 60, "rollover_periods": 2,
             "period_minimum": Decimal(5), "period_maximum": Decimal(50),
             "bands": [{"name": "Night", "days": [0], "start": "22:00", "end": "06:00",
                        "amount": "0.00", "counts": False}]},
            "60 minutes included, then USD 0.10 for each minute; USD 0.00 in Night (22:00 to "
            "06:00), beside what is included; what is left is kept for 2 periods; "
            "at least USD 5.00 a period; at most USD 50.00 a period",
        ),
    ],
)  # fmt: skip
def test_price_by_use_in_words(facts: dict[str, Any], words: str) -> None:
    amount = Decimal(facts.pop("amount"))
    assert queries.usage_words(OfferingPrice(amount=amount, currency="USD", **facts)) == words
