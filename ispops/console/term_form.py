"""The forms of settlement terms and tax rates, and what a charge of 10.00 then splits into."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from django import forms

from ispops.catalog.models import OfferingPrice, ProductOffering, SettlementTerm
from ispops.catalog.price_checks import MOST_TIERS
from ispops.console.price_fields import (
    QuantityField,
    money_field,
    one_more,
    percent_field,
    row_errors,
    row_set,
)
from ispops.console.price_form import DAY
from ispops.console.price_page import parts
from ispops.errors import Refusal
from ispops.money import to_micros
from ispops.parties.models import Partner
from ispops.wanted_form import begin_of, day_field
from rating import rules
from rating.pricing import Terms
from rating.sharing import Totals, take_step
from rating.tariff import Tariff

Basis = SettlementTerm.Basis
_BELONGS = {
    "percent": (Basis.PERCENT_OF_NET, Basis.PERCENT_OF_RETAIL),
    "amount": (Basis.FIXED, Basis.WHOLESALE),
    "block_size": (Basis.WHOLESALE,),
    "tiers": (Basis.TIERED,),
}
_TEN = Decimal(10)


class ShareTierForm(forms.Form):
    """A tier of a partner's percentage: up to which net amount of a period, and how much."""

    up_to = money_field("Up to an amount of")
    amount = percent_field("Percent")

    def clean(self) -> dict[str, Any]:
        cleaned = self.cleaned_data
        if self.has_changed() and cleaned.get("amount") is None and "amount" not in self.errors:
            self.add_error("amount", "Enter the percentage of this tier.")
        return cleaned

    def row(self) -> dict[str, Any]:
        given = self.cleaned_data
        upto = None if given["up_to"] is None else str(given["up_to"])
        return {"up_to": upto, "percent": str(given["amount"])}


ShareTiers = row_set(ShareTierForm, MOST_TIERS, "tiers", "Tier")


class DayForm(forms.Form):
    """A form of what takes effect on a day."""

    valid_day = day_field("From the day", "What is in force ends the day before.")

    def __init__(self, data: Any = None, *, at: datetime, **kwargs: Any) -> None:
        kwargs.setdefault("label_suffix", "")
        super().__init__(data, **kwargs)
        self.at = at

    def clean_valid_day(self) -> Any:
        day = self.cleaned_data[DAY]
        if day and (begin_of(day, self.at) or self.at) < self.at:
            raise forms.ValidationError("Choose today or a day to come.")
        return day

    @property
    def valid_from(self) -> datetime | None:
        return begin_of(self.cleaned_data.get(DAY), self.at)

    def refuse(self, refused: Refusal) -> None:
        """Show why a verb refused, at the field that it names or above the form."""
        field = DAY if refused.field == "valid_from" else refused.field
        self.add_error(field if field in self.fields else None, refused.detail)


class TermForm(DayForm):
    """What a partner gets of each charge of an offering."""

    role = forms.ChoiceField(label="Who", choices=SettlementTerm.Role.choices)
    partner = forms.ModelChoiceField(
        label="Partner", queryset=Partner.objects.none(), to_field_name="code"
    )
    kind = forms.ChoiceField(label="What it gets", choices=Basis.choices)
    percent = percent_field("Percent")
    amount = money_field("Amount")
    block_size = QuantityField(
        label="For so many units of use", required=False, help_text="Empty is 1."
    )
    minimum = money_field("At least", "Of a whole charge, or of the use of a service in a period.")
    units = QuantityField(
        label="Units of use, for the example", required=False, help_text="Empty is 100."
    )

    def __init__(
        self, data: Any = None, *, offering: ProductOffering, rows: Any = None, more: str = "",
        **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(data, **kwargs)
        self.offering = offering
        self.fields["partner"].queryset = Partner.objects.order_by("name")  # type: ignore[attr-defined]
        self.tiers = ShareTiers(one_more(data, "tiers", more), initial=rows)

    def clean(self) -> dict[str, Any]:
        cleaned = self.cleaned_data
        for name, bases in _BELONGS.items():
            if name != "tiers" and cleaned.get(name) and cleaned.get("kind") not in bases:
                self.add_error(name, "This does not go with what it gets. Empty it.")
        if not self.tiers.is_valid():
            for error in row_errors(self.tiers):
                self.add_error(None, error)
        return cleaned

    def facts(self) -> dict[str, Any]:
        """Return what the verb is told of a term."""
        given = self.cleaned_data
        return {
            "role": given["role"],
            "partner": given["partner"],
            "basis": given["kind"],
            "percent": given.get("percent") or Decimal(0),
            "amount": given.get("amount") or Decimal(0),
            "block_size": given.get("block_size") or 1,
            "minimum": given.get("minimum") or Decimal(0),
            "tiers": self.tiers.rows(),
        }


class TaxForm(DayForm):
    """The percentage of tax on a category of goods."""

    category = forms.SlugField(label="Category")
    percent = percent_field("Percent")

    def clean_percent(self) -> Decimal:
        percent: Decimal | None = self.cleaned_data["percent"]
        if percent is None:
            raise forms.ValidationError("Enter the percentage; 0 is none.")
        return percent


@dataclass(frozen=True, slots=True)
class Split:
    """What a charge is divided into, in words, with its tax on top."""

    case: str
    parts: list[tuple[str, str]]


def of_term(term: SettlementTerm) -> dict[str, Any]:
    """Return the form's initial values for another version of a term, with its `rows`."""
    initial: dict[str, Any] = {
        "role": term.role, "partner": term.partner.code, "kind": term.basis,
    }  # fmt: skip
    for name in ("percent", "amount", "minimum"):
        if value := getattr(term, name):
            initial[name] = f"{value.normalize():f}"
    if term.block_size != 1:
        initial["block_size"] = term.block_size
    rows = [{"up_to": tier["up_to"], "amount": tier["percent"]} for tier in term.tiers]
    return {"initial": initial, "rows": rows}


def splits(term: SettlementTerm, *, at: datetime, units: int) -> list[Split]:
    """Divide a charge of 10.00 by a term that may not be saved, and by the others in force."""
    offering = term.offering
    moment = max(term.valid_from, at)
    terms = Tariff([offering.pk]).parties(offering.pk, moment).terms
    share = rules.share(term)
    if term.role == SettlementTerm.Role.BSP:
        return list(divided(replace(terms, bsp=share), units))
    return list(divided(replace(terms, network_provider=share), units))


def divided(terms: Terms, units: int) -> Iterable[Split]:
    """Divide 10.00 as a whole charge, and as what the use of a period costs."""
    net = to_micros(_TEN)
    cases = (
        ("bought once, or a whole billing period", Totals(net, net, part=1)),
        (f"for {units:,} units of use", Totals(net, net, units)),
    )
    for case, totals in cases:
        priced = take_step(Totals(0, 0), totals, terms, {})
        yield Split(case, parts(priced, terms))


def categories_in_use() -> list[str]:
    """Return the tax categories that offerings and prices name."""
    found = set(ProductOffering.objects.values_list("tax_category", flat=True))
    found |= set(
        OfferingPrice.objects.exclude(tax_category="").values_list("tax_category", flat=True)
    )
    return sorted(found - {""})
