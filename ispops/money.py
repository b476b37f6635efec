"""Amounts of money: Decimal in Python, whole micro-units in the database, rounded once.

A micro-unit is a millionth of the currency's unit. Charges and shares are exact in micro-units;
only a bill line is rounded to what people pay in, by `round_to_minor_unit`.
"""

from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal
from typing import TYPE_CHECKING, Any

from django.db import models
from django.utils.text import capfirst

if TYPE_CHECKING:
    from django.db.models.expressions import Combinable

MICROS_PER_UNIT = 1_000_000
MICRO = Decimal("0.000001")
# ISO 4217 currencies without minor units that an ISP is likely to meet; all others have cents.
_WITHOUT_MINOR_UNIT = frozenset({"CLP", "ISK", "JPY", "KRW", "PYG", "UGX", "VND", "XAF", "XOF"})


def to_micros(amount: Decimal) -> int:
    """Turn an amount into whole micro-units; half a micro-unit goes to the even neighbour."""
    return int((amount * MICROS_PER_UNIT).to_integral_value(rounding=ROUND_HALF_EVEN))


def from_micros(micros: int) -> Decimal:
    """Turn whole micro-units into an amount with six decimals, exactly."""
    return Decimal(micros).scaleb(-6)


def minor_unit(currency: str) -> Decimal:
    """Return the smallest coin of a currency: 0.01 for USD, 1 for JPY."""
    return Decimal(1) if currency in _WITHOUT_MINOR_UNIT else Decimal("0.01")


def round_to_minor_unit(amount: Decimal, currency: str) -> Decimal:
    """Round an amount to what can be paid, half away from zero. The only rounding of a bill."""
    return amount.quantize(minor_unit(currency), rounding=ROUND_HALF_UP)


def split_micros(total: int, weights: Sequence[int]) -> list[int]:
    """Split whole micro-units by weights so that the parts sum to the total exactly.

    Each part is the difference of two rounded-down running totals, so no part is off by more
    than one micro-unit and the order of the weights is the only tie-break.

    Raises:
        ValueError: a weight is negative, or all weights are zero.
    """
    whole = sum(weights)
    if whole <= 0 or min(weights) < 0:
        raise ValueError("weights must be zero or more, and at least one above zero")
    parts: list[int] = []
    seen = given = 0
    for weight in weights:
        seen += weight
        upto = total * seen // whole
        parts.append(upto - given)
        given = upto
    return parts


def format_money(amount: Decimal, currency: str) -> str:
    """Write an amount for people: `USD 12.50`, with more decimals only where it has them."""
    rounded = round_to_minor_unit(amount, currency)
    shown = rounded if rounded == amount else amount.normalize()
    return f"{currency} {shown:,f}"


def format_coins(amount: Decimal, currency: str) -> str:
    """Write an amount as people pay it: rounded to the currency's smallest coin."""
    return format_money(round_to_minor_unit(amount, currency), currency)


class AmountField(models.BigIntegerField):
    """An exact amount of money: Decimal in Python, whole micro-units as bigint in PostgreSQL."""

    description = "An amount of money in whole micro-units"

    if TYPE_CHECKING:  # what django-stubs reads the types of a field from
        _pyi_private_set_type: Decimal | int | Combinable  # type: ignore[assignment]
        _pyi_private_get_type: Decimal  # type: ignore[assignment]
        _pyi_lookup_exact_type: Decimal | int  # type: ignore[assignment]

    def from_db_value(self, value: int | None, *_: object) -> Decimal | None:
        return None if value is None else from_micros(int(value))

    def get_prep_value(self, value: Any) -> int | None:
        return None if value is None else to_micros(self.to_python(value))

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        return value if prepared else self.get_prep_value(value)

    def to_python(self, value: Any) -> Any:
        if value is None or isinstance(value, Decimal):
            return value
        if isinstance(value, float):
            raise TypeError("an amount of money is never a float")
        return Decimal(value)

    def formfield(self, **kwargs: Any) -> Any:
        from django import forms

        # What else a form says is about whole numbers, and does not fit.
        said = {name: kwargs[name] for name in ("widget", "help_text") if name in kwargs}
        return forms.DecimalField(
            max_digits=18,
            decimal_places=6,
            required=not self.blank,
            label=capfirst(self.verbose_name),
            **said,
        )

    @property
    def validators(self) -> list[Any]:  # type: ignore[override]
        """Whole-number limits of the stored bigint do not fit the Decimal that Python sees."""
        return []
