"""Fields and rows of inputs from which the forms of prices and terms are made."""

import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from django import forms

from ispops.catalog.price_checks import MOST_BANDS, MOST_TIERS

_QUANTITY = re.compile(r"([0-9][0-9 ,']*)(?:\.([0-9]+))? *(k|M|G|T)?(B)?", re.ASCII)
_SIZES = {"k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_DAYS = list(enumerate(("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")))


class QuantityField(forms.CharField):
    """A whole number of units; of bytes also `50 GB`. Empty is None."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=40, **kwargs)

    def prepare_value(self, value: Any) -> Any:
        return quantity_text(value) if isinstance(value, int) else value

    def clean(self, value: Any) -> int | None:  # type: ignore[override]
        text = super().clean(value)
        if not text:
            return None
        found = _QUANTITY.fullmatch(text)
        if not found or (found[4] and not found[3]) or (found[2] and not found[3]):
            raise forms.ValidationError("Enter a whole number, such as 1000; of bytes also 50 GB.")
        whole = Decimal(f"{re.sub('[ ,]', '', found[1]).replace(chr(39), '')}.{found[2] or 0}")
        quantity = whole * _SIZES.get(found[3] or "", 1)
        if quantity != int(quantity) or quantity >= 2**60:
            raise forms.ValidationError("Enter a whole number below 10^18.")
        return int(quantity)


def quantity_text(quantity: int) -> str:
    """Write a quantity as it may be typed: `50 GB` where that is exact, else its digits."""
    for name, size in reversed(_SIZES.items()):
        if name != "k" and quantity and quantity % size == 0 and name in "GT":
            return f"{quantity // size} {name}B"
    return str(quantity)


def money_field(label: str, help_text: str = "") -> forms.DecimalField:
    return forms.DecimalField(
        label=label,
        help_text=help_text,
        required=False,
        min_value=Decimal(0),
        max_digits=16,
        decimal_places=6,
        widget=forms.TextInput(attrs={"inputmode": "decimal"}),
        error_messages={"invalid": "Enter an amount, such as 0.10."},
    )


def percent_field(label: str, help_text: str = "") -> forms.DecimalField:
    return forms.DecimalField(
        label=label,
        help_text=help_text,
        required=False,
        min_value=Decimal(0),
        max_value=Decimal(100),
        max_digits=6,
        decimal_places=3,
        widget=forms.TextInput(attrs={"inputmode": "decimal"}),
        error_messages={"invalid": "Enter a percentage, such as 12.5."},
    )


def count_field(label: str, help_text: str = "") -> forms.IntegerField:
    return forms.IntegerField(
        label=label,
        help_text=help_text,
        required=False,
        min_value=0,
        max_value=1000,
        widget=forms.TextInput(attrs={"inputmode": "numeric"}),
        error_messages={"invalid": "Enter a whole number."},
    )


class TierForm(forms.Form):
    """A tier: up to how many units of the period after what is included, and for how much."""

    up_to = QuantityField(label="Up to", required=False)
    amount = money_field("Amount")
    flat = money_field("And once")

    def clean(self) -> dict[str, Any]:
        cleaned = self.cleaned_data
        if self.has_changed() and cleaned.get("amount") is None and "amount" not in self.errors:
            self.add_error("amount", "Enter the amount of this tier; 0 is free.")
        return cleaned

    def row(self) -> dict[str, Any]:
        given = self.cleaned_data
        row = {"up_to": given["up_to"], "amount": str(given["amount"])}
        return row | ({"flat": str(given["flat"])} if given["flat"] else {})


class BandForm(forms.Form):
    """A band: hours of some days, in the ISP's time zone, that have a price of their own."""

    name = forms.CharField(label="Name", required=False, max_length=40)
    days = forms.TypedMultipleChoiceField(
        label="Days", choices=_DAYS, coerce=int, required=False,
        widget=forms.CheckboxSelectMultiple,
    )  # fmt: skip
    start = forms.CharField(label="From", required=False, max_length=5)
    end = forms.CharField(label="Until", required=False, max_length=5)
    amount = money_field("Amount")
    free_of_allowance = forms.BooleanField(
        label="Does not draw upon what is included", required=False
    )

    def clean(self) -> dict[str, Any]:
        cleaned = self.cleaned_data
        if self.has_changed():
            for name in ("name", "days", "start", "end"):
                if not cleaned.get(name) and name not in self.errors:
                    self.add_error(name, "Fill this in.")
            if cleaned.get("amount") is None and "amount" not in self.errors:
                self.add_error("amount", "Enter the amount in this band; 0 is free.")
        return cleaned

    def row(self) -> dict[str, Any]:
        given = self.cleaned_data
        return {
            "name": given["name"],
            "days": given["days"],
            "start": given["start"],
            "end": given["end"],
            "amount": str(given["amount"]),
            "counts": not given["free_of_allowance"],
        }


class RowsFormSet(forms.BaseFormSet):
    """Rows of inputs; those that are left empty are no rows."""

    noun = "Tier"

    def rows(self) -> list[dict[str, Any]]:
        return [form.row() for form in self.forms if form.has_changed()]


def row_set(form: type[forms.Form], most: int, prefix: str, noun: str) -> Any:
    """Return a class of rows of a form."""
    made = forms.formset_factory(form, RowsFormSet, extra=2, max_num=most, validate_max=True)
    named = classmethod(lambda _: prefix)
    return type(f"{noun}s", (made,), {"get_default_prefix": named, "noun": noun})


Tiers = row_set(TierForm, MOST_TIERS, "tiers", "Tier")
Bands = row_set(BandForm, MOST_BANDS, "bands", "Band")


def one_more(data: Any, prefix: str, more: str) -> Any:
    """Return what was sent with one more empty row, where that is asked for."""
    if data is None or more != prefix:
        return data
    changed = data.copy()
    name = f"{prefix}-TOTAL_FORMS"
    total = data.get(name, "0")
    changed[name] = str(int(total) + 1) if total.isdecimal() and len(total) < 4 else total
    return changed


def row_errors(rows: RowsFormSet) -> Iterable[str]:
    yield from (str(error) for error in rows.non_form_errors())
    for number, form in enumerate(rows.forms, start=1):
        for name, errors in form.errors.items():
            label = form.fields[name].label if name in form.fields else ""
            yield f"{rows.noun} {number}, {str(label).lower()}: {errors[0]}"
