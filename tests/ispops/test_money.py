"""Amounts: exact in micro-units, rounded once, split without a remainder."""

from decimal import Decimal

import pytest
from django.core.exceptions import ValidationError
from hypothesis import given
from hypothesis import strategies as st

from ispops import money
from ispops.money import AmountField

MICROS = st.integers(-(10**15), 10**15)


@pytest.mark.parametrize(
    ("amount", "micros"),
    [
        ("0", 0),
        ("12.5", 12_500_000),
        ("-0.000001", -1),
        ("0.0000005", 0),
        ("0.0000015", 2),
        ("9007199254.740993", 9_007_199_254_740_993),
    ],
)
def test_amounts_become_micro_units(amount: str, micros: int) -> None:
    assert money.to_micros(Decimal(amount)) == micros


@given(MICROS)
def test_micro_units_come_back_exactly(micros: int) -> None:
    assert money.to_micros(money.from_micros(micros)) == micros


@pytest.mark.parametrize(
    ("amount", "currency", "rounded"),
    [
        ("1.005", "USD", "1.01"),
        ("1.004999", "USD", "1.00"),
        ("-1.005", "USD", "-1.01"),
        ("0.5", "JPY", "1"),
        ("1.005", "EUR", "1.01"),
    ],
)
def test_rounding_is_half_away_from_zero(amount: str, currency: str, rounded: str) -> None:
    assert str(money.round_to_minor_unit(Decimal(amount), currency)) == rounded


@given(MICROS, st.sampled_from(["USD", "JPY"]))
def test_a_refund_rounds_as_the_charge_did(micros: int, currency: str) -> None:
    amount = money.from_micros(micros)
    rounded = money.round_to_minor_unit(amount, currency)
    assert money.round_to_minor_unit(-amount, currency) == -rounded
    assert abs(rounded - amount) <= money.minor_unit(currency) / 2


@given(MICROS, st.lists(st.integers(0, 10**6), min_size=1).filter(any))
def test_the_parts_of_a_split_sum_to_the_whole(total: int, weights: list[int]) -> None:
    parts = money.split_micros(total, weights)
    assert sum(parts) == total
    for part, weight in zip(parts, weights, strict=True):
        assert abs(part - total * weight / Decimal(sum(weights))) <= 1


@pytest.mark.parametrize("weights", [[], [0, 0], [1, -1, 3]])
def test_weights_that_make_no_sense_are_refused(weights: list[int]) -> None:
    with pytest.raises(ValueError, match="weights"):
        money.split_micros(100, weights)


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        ("1234.5", "USD 1,234.50"),
        ("0", "USD 0.00"),
        ("0.000500", "USD 0.0005"),
        ("-3", "USD -3.00"),
    ],
)
def test_money_for_people(amount: str, shown: str) -> None:
    assert money.format_money(Decimal(amount), "USD") == shown


def test_yen_have_no_decimals() -> None:
    assert money.format_money(Decimal("1200"), "JPY") == "JPY 1,200"


def test_a_float_is_never_an_amount() -> None:
    with pytest.raises(TypeError, match="float"):
        AmountField().get_prep_value(1.5)


def test_the_field_stores_micro_units_and_reads_decimals() -> None:
    field = AmountField()
    assert field.get_prep_value("1.25") == 1_250_000
    assert field.from_db_value(1_250_000) == Decimal("1.25")
    assert (field.get_prep_value(None), field.from_db_value(None)) == (None, None)


def test_a_form_asks_for_a_decimal() -> None:
    form_field = AmountField(verbose_name="limit").formfield()
    assert form_field.clean("12.50") == Decimal("12.50")
    with pytest.raises(ValidationError):
        form_field.clean("much")
