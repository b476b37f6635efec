"""The form of a price: one kind is chosen, its fields are filled in, tiers and bands row by row.

A kind is how people speak of prices; which columns of the catalogue it is, and which fields belong
to it, is said here once. The verb decides whether a price can be published; what it refuses is
shown at the field.
"""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from django import forms
from django.conf import settings

from ispops.catalog import publishing
from ispops.catalog.models import OfferingPrice, ProductOffering
from ispops.console.price_fields import (
    Bands,
    QuantityField,
    Tiers,
    count_field,
    money_field,
    one_more,
    percent_field,
    row_errors,
)
from ispops.errors import Refusal
from ispops.wanted_form import begin_of, day_field

Charge, Model = OfferingPrice.Charge, OfferingPrice.Model
_EVERY_KIND = ("name", "currency", "tax_category", "discount_percent", "discount_amount")
_EVERY_USE = (
    *_EVERY_KIND, "unit", "discount_periods", "period_minimum", "period_maximum", "proration",
)  # fmt: skip
_COUNTED = (*_EVERY_USE, "allowance", "rollover_periods", "rollover_most", "block_size")


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of price: its fields, and the columns that are always so."""

    title: str
    charge: str
    fields: tuple[str, ...]
    amount: str = ""
    fixed: tuple[tuple[str, Any], ...] = ()


KINDS: dict[str, Kind] = {
    "one_off": Kind(
        "Once, when it is bought", Charge.ONE_OFF, (*_EVERY_KIND, "amount"), "Amount of a purchase"
    ),
    "recurring": Kind(
        "Every billing period",
        Charge.RECURRING,
        (*_EVERY_KIND, "amount", "discount_periods", "proration"),
        "Amount of a whole period",
    ),
    "pack": Kind(
        "Pack of units, bought once",
        Charge.ONE_OFF,
        (*_EVERY_KIND, "amount", "pack_for", "pack_units", "pack_unit", "pack_periods"),
        "Amount of a pack",
    ),
    "event": Kind(
        "By use: flat, the same for each use",
        Charge.USAGE,
        (*_COUNTED, "amount", "counts_started_blocks"),
        "Amount of a use, or of a block of uses",
        (("counts_events", True),),
    ),
    "unit": Kind(
        "By use: the same for each unit",
        Charge.USAGE,
        (*_COUNTED, "amount"),
        "Amount of a block of units",
    ),
    "package": Kind(
        "By use: packages, paid whole when started",
        Charge.USAGE,
        (*_COUNTED, "amount"),
        "Amount of a package",
        (("counts_started_blocks", True),),
    ),
    "graduated": Kind(
        "By use: graduated tiers, each unit by its tier",
        Charge.USAGE,
        (*_COUNTED, "tiers", "counts_started_blocks", "counts_events"),
    ),
    "volume": Kind(
        "By use: volume tiers, all units by the tier of the total",
        Charge.USAGE,
        (*_COUNTED, "tiers", "counts_started_blocks", "counts_events"),
        fixed=(("model", Model.VOLUME),),
    ),
    "stairstep": Kind(
        "By use: stairstep, one price for the tier of the total",
        Charge.USAGE,
        (*_COUNTED, "tiers", "counts_started_blocks", "counts_events"),
        fixed=(("model", Model.STAIRSTEP),),
    ),
    "percentage": Kind(
        "By use: percentage of each use's value",
        Charge.USAGE,
        (*_EVERY_USE, "amount", "percent", "event_fee", "event_minimum", "event_maximum"),
        "What one unit of the value is worth",
        (("model", Model.PERCENTAGE),),
    ),
    "bands": Kind(
        "By use: by the time of day and the day of the week",
        Charge.USAGE,
        (*_COUNTED, "amount", "bands", "counts_started_blocks"),
        "Amount of a block outside all bands",
    ),
}
DAY = "valid_day"
_MISSING = {"unit": "Enter the unit, such as minute.", "amount": "Enter the amount; 0 is free."}
_MAIN = (
    "unit", "amount", "block_size", "percent", "pack_for", "pack_units", "pack_unit",
    "pack_periods",
)  # fmt: skip
_CHECKED = ("counts_started_blocks", "counts_events")
_GROUPS = (
    ("What is included", ("allowance", "rollover_periods", "rollover_most")),
    ("Fee, minimum and maximum of each use", ("event_fee", "event_minimum", "event_maximum")),
    ("Discount", ("discount_percent", "discount_amount", "discount_periods")),
    (
        "Minimum commitment, spend cap, parts of a period",
        ("period_minimum", "period_maximum", "proration"),
    ),
    ("Name, tax and currency", ("name", "tax_category", "currency")),
)
# What a field is while nobody has chosen anything.
_PLAIN = {"proration": OfferingPrice.Proration.SECOND, "name": "", "currency": ""}


def kind_of(price: OfferingPrice) -> str:
    """Return as which kind a price is edited."""
    if price.charge != Charge.USAGE:
        return "pack" if price.pack_units else str(price.charge)
    if price.bands:
        return "bands"
    if price.tiers or price.model != Model.GRADUATED:
        return str(price.model)
    if price.counts_events:
        return "event"
    return "package" if price.counts_started_blocks else "unit"


class PriceForm(forms.Form):
    """Everything a price may say; `facts` are what the kind that was chosen has of it."""

    kind = forms.ChoiceField(
        label="Kind of price", choices=[(key, kind.title) for key, kind in KINDS.items()]
    )
    name = forms.CharField(
        label="Name on the bill", required=False, max_length=120,
        help_text="Empty is the offering's name.",
    )  # fmt: skip
    valid_day = day_field("From the day", "The price before it ends the day before.")
    amount = money_field(
        "Amount", "Before tax. Of a percentage: what one unit of the value is worth."
    )
    unit = forms.CharField(
        label="Unit of use", required=False, max_length=20,
        help_text="As it is reported: byte, minute, film.",
    )  # fmt: skip
    block_size = QuantityField(
        label="Units in a block", required=False,
        help_text="The amount is for so many units. Empty is 1.",
    )  # fmt: skip
    counts_started_blocks = forms.BooleanField(
        label="A block is paid whole as soon as it is started", required=False
    )
    counts_events = forms.BooleanField(
        label="Count uses, whatever quantity each has", required=False
    )
    allowance = QuantityField(
        label="Units included in a period", required=False, help_text="The first units are free."
    )
    rollover_periods = count_field(
        "What is left is kept for", "So many more periods. Empty: it lapses at the period's end."
    )
    rollover_most = QuantityField(
        label="At most so many units are kept", required=False, help_text="Empty is all of them."
    )
    percent = percent_field("Percent of the value")
    event_fee = money_field("Fee of each use, on top")
    event_minimum = money_field("At least, for each use")
    event_maximum = money_field("At most, for each use", "Empty is no limit.")
    discount_percent = percent_field("Discount in percent")
    discount_amount = money_field("Discount as an amount", "Taken off after the percentage.")
    discount_periods = count_field("Discount in the first periods", "Empty is for good.")
    period_minimum = money_field("Minimum commitment", "What the use of a period costs at least.")
    period_maximum = money_field("Spend cap", "What it costs at most. Empty is no limit.")
    proration = forms.ChoiceField(
        label="A part of a period counts", choices=OfferingPrice.Proration.choices, required=False
    )
    pack_for = forms.ModelChoiceField(
        label="The units are for", required=False, queryset=ProductOffering.objects.none(),
        to_field_name="code",
    )  # fmt: skip
    pack_units = QuantityField(label="Units in a pack", required=False)
    pack_unit = forms.CharField(label="Unit of the pack", required=False, max_length=20)
    pack_periods = count_field("Good for", "So many periods; the first is that of the purchase.")
    tax_category = forms.SlugField(
        label="Tax category", required=False, help_text="Empty is the offering's own."
    )
    currency = forms.CharField(label="Currency", required=False, max_length=3)
    quantities = forms.CharField(
        label="Quantities of your own", required=False, max_length=200,
        help_text="Such as 250, 1000. Of bytes: 800 GB, 2 TB.",
    )  # fmt: skip

    def __init__(
        self, data: Any = None, *, offering: ProductOffering, at: datetime, more: str = "",
        **kwargs: Any,
    ) -> None:  # fmt: skip
        """`more` names the rows of which one more is asked for."""
        kwargs.setdefault("label_suffix", "")
        rows = kwargs.pop("rows", {})
        super().__init__(data, **kwargs)
        self.offering, self.at = offering, at
        self.tiers = Tiers(one_more(data, "tiers", more), initial=rows.get("tiers"))
        self.bands = Bands(one_more(data, "bands", more), initial=rows.get("bands"))
        self.fields["pack_for"].queryset = ProductOffering.objects.order_by("name")  # type: ignore[attr-defined]
        self.price: OfferingPrice | None = None

    def clean(self) -> dict[str, Any]:
        cleaned = self.cleaned_data
        kind = KINDS.get(cleaned.get("kind", ""))
        if kind is None:
            return cleaned
        for rows in (self.tiers, self.bands):
            rows.full_clean()
        self._check_what_belongs(kind)
        for rows in (self.tiers, self.bands):
            if not rows.is_valid():
                for error in row_errors(rows):
                    self.add_error(None, error)
        day: date | None = cleaned.get(DAY)
        if day and (begin_of(day, self.at) or self.at) < self.at:
            self.add_error(DAY, "Choose today or a day to come.")
        if not self.errors:
            self._check_price(kind)
        return cleaned

    def _check_what_belongs(self, kind: Kind) -> None:
        for name, value in list(self.cleaned_data.items()):
            belongs = name in kind.fields or name in ("kind", "quantities", DAY)
            if not belongs and value and value != _PLAIN.get(name):
                self.add_error(name, f"This does not go with “{kind.title}”. Empty it.")
        for rows in (self.tiers, self.bands):
            if rows.prefix not in kind.fields and any(row.has_changed() for row in rows.forms):
                words = f"{rows.noun}s: These do not go with “{kind.title}”. Empty them."
                self.add_error(None, words)
        wanted = ["unit"] * (kind.charge == Charge.USAGE) + ["amount"] * ("amount" in kind.fields)
        for name in wanted:
            if self.cleaned_data.get(name) in (None, "") and name not in self.errors:
                self.add_error(name, _MISSING[name])
        self._check_sizes()

    def _check_sizes(self) -> None:
        """Refuse `50 GB` of what is not counted in bytes."""
        sized = "Enter a plain number: only bytes have sizes such as GB."
        for name, field in self.fields.items():
            unit = "pack_unit" if name == "pack_units" else "unit"
            is_sized = str(self[name].data or "").strip().endswith("B")
            is_quantity = isinstance(field, QuantityField)
            if is_quantity and is_sized and self.cleaned_data.get(unit) != "byte":
                self.add_error(name, sized)
        if self.cleaned_data.get("unit") != "byte":
            for row in self.tiers.forms:
                if str(row["up_to"].data or "").strip().endswith("B"):
                    row.add_error("up_to", sized)

    def _check_price(self, kind: Kind) -> None:
        """Make the price that would be published, or show why it cannot be."""
        facts = self.facts(kind)
        try:
            self.price = publishing.checked_price(
                self.offering, valid_from=self.valid_from or self.at, **facts
            )
        except Refusal as refused:
            self.refuse(refused)

    def facts(self, kind: Kind | None = None) -> dict[str, Any]:
        """Return what the verb is told of a price."""
        kind = kind or KINDS[self.cleaned_data["kind"]]
        given = {name: self.cleaned_data.get(name) for name in kind.fields}
        facts = {n: v for n, v in given.items() if v not in (None, "", False)}
        if "tiers" in kind.fields:
            facts["tiers"] = self.tiers.rows()
        if "bands" in kind.fields:
            facts["bands"] = self.bands.rows()
        facts.setdefault("amount", Decimal(0))
        facts.setdefault("currency", settings.CURRENCY)
        return {"charge": kind.charge, **facts, **dict(kind.fixed)}

    @property
    def valid_from(self) -> datetime | None:
        """Return the moment at which the price would begin; None is now."""
        return begin_of(self.cleaned_data.get(DAY), self.at)

    def refuse(self, refused: Refusal) -> None:
        """Show why a verb refused, at the field that it names or above the form."""
        field = DAY if refused.field == "valid_from" else refused.field
        self.add_error(field if field in self.fields else None, refused.detail)

    def layout(self) -> dict[str, Any]:
        """Return the fields as they stand on the page, each with the kinds that it belongs to."""
        groups = []
        for title, names in _GROUPS:
            fields = [self._placed(name) for name in names]
            kinds = {kind for place in fields for kind in place["when"].split()}
            is_open = any(place["bound"].errors or place["is_filled"] for place in fields)
            groups.append(
                {"title": title, "fields": fields, "when": " ".join(kinds), "is_open": is_open}
            )
        return {
            "main": [self._placed(name) for name in _MAIN],
            "flags": [self._placed(name) for name in _CHECKED],
            "groups": groups,
        }

    def _placed(self, name: str) -> dict[str, Any]:
        when = " ".join(key for key, kind in KINDS.items() if name in kind.fields)
        value = self[name].value()
        is_filled = value not in (None, "", False) and value != _PLAIN.get(name)
        return {"bound": self[name], "when": when, "is_filled": is_filled}


def of_price(price: OfferingPrice) -> dict[str, Any]:
    """Return the form's initial values for another version of a price, with its `rows`."""
    kind = kind_of(price)
    plain = {"block_size": 1, "pack_periods": 1, "tax_category": "", "name": price.offering.name}
    initial: dict[str, Any] = {"kind": kind}
    for name in KINDS[kind].fields:
        if name not in ("tiers", "bands"):
            value = getattr(price, name)
            is_plain = value in (None, 0) or value == plain.get(name)
            if not is_plain or name == "amount":
                initial[name] = value
    for name, value in initial.items():
        if isinstance(value, Decimal):
            initial[name] = f"{value.normalize():f}"
    if price.pack_for:
        initial["pack_for"] = price.pack_for.code
    return {"initial": initial, "rows": {"tiers": price.tiers, "bands": _band_rows(price.bands)}}


def _band_rows(bands: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [band | {"free_of_allowance": not band["counts"]} for band in bands]
