"""What the pages of prices show: an offering's prices in time, and what a price would cost."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from itertools import groupby
from typing import Any
from zoneinfo import ZoneInfo

from django import forms
from django.conf import settings

from ispops.catalog import drafts
from ispops.catalog.models import OfferingPrice, ProductOffering, SettlementTerm
from ispops.catalog.queries import quantity_words, usage_words
from ispops.console import charts
from ispops.console.price_fields import QuantityField
from ispops.money import format_money, from_micros, to_micros
from ispops.periods import billing_period
from rating import examples, rules
from rating.amounts import AmountTooLarge, percent_words, words
from rating.examples import Example
from rating.pricing import NO_DISCOUNT, Priced, Terms, UsagePrice
from rating.tariff import Tariff
from rating.usage_words import discount_words

Charge = OfferingPrice.Charge
MOST_QUANTITIES = 10
# What is just below and just above a limit of bytes, which nobody counts one by one.
_STEPS = {"byte": 10**9}
WIDTH, HEIGHT = 320, 150


@dataclass(frozen=True, slots=True)
class Version:
    """A row that takes effect in time: `state` is in_force, to_come or past."""

    row: Any
    state: str
    words: str


@dataclass(frozen=True, slots=True)
class Line:
    """The versions of one price, the newest first; `latest` is what another one is made of."""

    title: str
    versions: list[Version]

    @property
    def latest(self) -> Version:
        return self.versions[0]


@dataclass(frozen=True, slots=True)
class Case:
    """A worked example as it is shown; `before` is what it costs at the price in force."""

    case: str
    quantity: str
    net: Decimal
    before: Decimal | None
    parts: list[tuple[str, str]]
    why: str

    @property
    def is_dearer(self) -> bool:
        return self.before is not None and self.net > self.before

    @property
    def is_cheaper(self) -> bool:
        return self.before is not None and self.net < self.before


@dataclass(frozen=True, slots=True)
class Chart:
    """Cost against quantity: paths of the new and the present price, and what the axes end at."""

    new: str
    present: str
    right: str
    top: str
    rows: list[tuple[str, Decimal, Decimal | None]]


@dataclass(slots=True)
class Preview:
    """What a price means, in examples; or `error`, why nothing can be said."""

    currency: str = ""
    words: str = ""
    cases: list[Case] = field(default_factory=list)
    present: OfferingPrice | None = None
    chart: Chart | None = None
    error: str = ""

    @property
    def waits(self) -> bool:
        """Whether running billing periods stay with the price in force; see `rating.versions`."""
        present = self.present
        return present is not None and present.charge == Charge.USAGE and present.counts_by_period


def price_words(price: OfferingPrice) -> str:
    """Say any price in words."""
    if price.charge == Charge.USAGE:
        return usage_words(price)
    said = format_money(price.amount, price.currency)
    if price.charge == Charge.RECURRING:
        said += " every billing period"
    if price.pack_units:
        units = quantity_words(price.pack_units, price.pack_unit)
        said += f" for {units}, good for {quantity_words(price.pack_periods, 'period')}"
    return said + _discount(price)


def words_of_facts(offering: ProductOffering, facts: dict[str, Any], at: datetime) -> str:
    """Say what a draft costs, by the facts that are kept of it."""
    return price_words(drafts.price_of(offering, facts, at))


def _discount(price: OfferingPrice) -> str:
    taken = discount_words(rules.discount(price))
    if not taken:
        return ""
    periods = price.discount_periods
    until = f" in the first {quantity_words(periods, 'period')}" if periods else ""
    return f", less {taken}{until}"


def term_words(term: SettlementTerm) -> str:
    """Say what a partner gets by a term."""
    basis, unit = SettlementTerm.Basis, format_money(term.amount, settings.CURRENCY)
    said = {
        basis.FIXED: f"{unit} of every charge",
        basis.WHOLESALE: f"{unit} for every {quantity_words(term.block_size, 'unit')} of use",
        basis.PERCENT_OF_NET: f"{percent_words(rules.milli(term.percent))} of the net amount",
        basis.PERCENT_OF_RETAIL: (
            f"{percent_words(rules.milli(term.percent))} of the price before discounts"
        ),
        basis.TIERED: "of the period's net amount "
        + ", ".join(
            f"{tier['percent']} % " + (f"up to {tier['up_to']}" if tier["up_to"] else "beyond")
            for tier in term.tiers
        ),
    }[basis(term.basis)]
    return said + (
        f", at least {format_money(term.minimum, settings.CURRENCY)}" if term.minimum else ""
    )


def state_of(row: Any, at: datetime) -> str:
    if row.valid_from > at:
        return "to_come"
    return "past" if row.valid_to and row.valid_to <= at else "in_force"


def price_lines(offering: ProductOffering, at: datetime) -> list[Line]:
    """Return every price of an offering there ever was, by what it is a price of."""

    def key(price: OfferingPrice) -> tuple[str, str, str]:
        return (price.charge, price.unit, price.currency)

    prices = offering.prices.select_related("pack_for", "offering").order_by("-valid_from")
    found = []
    for (charge, unit, currency), rows in groupby(sorted(prices, key=key), key):
        title = f"{Charge(charge).label}" + (f", by the {unit}" if unit else "")
        versions = [Version(row, state_of(row, at), price_words(row)) for row in rows]
        found.append(Line(f"{title}, in {currency}", versions))
    return found


def term_lines(offering: ProductOffering, at: datetime) -> list[Line]:
    """Return the settlement terms of an offering by role."""
    found = []
    terms = offering.settlement_terms.select_related("partner").order_by("role", "-valid_from")
    for role, rows in groupby(terms, lambda term: term.role):
        versions = [Version(row, state_of(row, at), term_words(row)) for row in rows]
        found.append(Line(str(SettlementTerm.Role(role).label), versions))
    return found


def read_quantities(text: str) -> list[int]:
    """Return the quantities that somebody wants to see, separated by commas or semicolons.

    Raises:
        ValidationError: one is no quantity, or there are too many.
    """
    pieces = [piece.strip() for piece in text.replace(";", ",").split(",") if piece.strip()]
    if len(pieces) > MOST_QUANTITIES:
        raise forms.ValidationError(f"Enter {MOST_QUANTITIES} quantities at most.")
    found = [QuantityField().clean(piece) for piece in pieces]
    return [quantity for quantity in found if quantity]


def preview(price: OfferingPrice, *, at: datetime, own: Iterable[int] = ()) -> Preview:
    """Work examples of a price that may not be saved, beside the price in force then."""
    offering = price.offering
    tariff = Tariff([offering.pk], [price.tax_category] if price.tax_category else [])
    moment = max(price.valid_from, at)
    terms = tariff.parties(offering.pk, moment, price.tax_category).terms
    seen = Preview(currency=price.currency, words=price_words(price))
    same = (
        OfferingPrice.objects.at(moment)
        .select_related("offering", "pack_for")
        .filter(offering=offering, charge=price.charge, unit=price.unit, currency=price.currency)
    )
    seen.present = same.exclude(pk=price.pk).first()
    try:
        if price.charge == Charge.USAGE:
            _preview_use(seen, price, terms, own, moment)
        else:
            new = _plain_examples(price, terms, moment)
            old = _plain_examples(seen.present, terms, moment) if seen.present else []
            seen.cases = _cases(new, old, price, terms)
    except AmountTooLarge as too_large:
        seen.error = f"{too_large}. Lower the amounts."
    return seen


def _plain_examples(price: OfferingPrice, terms: Terms, at: datetime) -> list[Example]:
    known: dict[str, Any] = {
        "amount": to_micros(price.amount),
        "version": rules.version(price),
        "discount": rules.discount(price),
        "terms": terms,
    }
    if price.charge == Charge.ONE_OFF:
        return examples.of_purchase(**known)
    zone = settings.BILLING_TIME_ZONE
    return examples.of_period(
        **known,
        later_discount=NO_DISCOUNT if price.discount_periods else rules.discount(price),
        proration=rules.proration(price),
        period=billing_period(at, anchor_day=1, zone=zone),
        zone=zone,
    )


def _preview_use(
    seen: Preview, price: OfferingPrice, terms: Terms, own: Iterable[int], at: datetime
) -> None:
    rule = rules.usage_rule(price)
    step = _STEPS.get(price.unit, 1)
    was = rules.usage_rule(seen.present) if seen.present else None
    if was is not None and (was.event_price is None) != (rule.event_price is None):
        was = None
    # What the price in force changes at is compared, too: beyond the draft's own limits it may be
    # the cheaper one.
    cases = dict.fromkeys(examples.limits(was) if was else (), "at a limit of the price in force")
    cases |= {quantity: case for case, quantity in examples.telling(rule, step)}
    cases |= dict.fromkeys(own, "yours")
    wanted = [(case, quantity) for quantity, case in sorted(cases.items())]
    new = examples.of_use(rule, terms, wanted)
    old = examples.of_use(was, terms, wanted) if was else []
    seen.cases = _cases(new, old, price, terms)
    zone = settings.BILLING_TIME_ZONE
    day = at.astimezone(ZoneInfo(zone)).replace(hour=0, minute=0, second=0, microsecond=0)
    further = examples.in_bands(rule, terms, zone, day)
    further += [nothing] if (nothing := examples.of_nothing(rule, terms)) else []
    seen.cases += _cases(further, [], price, terms)
    seen.chart = _chart(rule, was, max(cases) * 5 // 4, price)


def _cases(
    new: list[Example], old: list[Example], price: OfferingPrice, terms: Terms
) -> list[Case]:
    before = {(example.case, example.quantity): example.priced.net for example in old}
    unit = "use" if price.counts_events else price.unit
    is_value = price.model == OfferingPrice.Model.PERCENTAGE
    return [
        Case(
            case=example.case,
            quantity=_quantity(example.quantity, "unit of value" if is_value else unit),
            net=from_micros(example.priced.net),
            before=(
                from_micros(before[example.case, example.quantity])
                if (example.case, example.quantity) in before
                else None
            ),
            parts=parts(example.priced, terms),
            why=str(example.priced.explanation.get("arithmetic", "")),
        )
        for example in new
    ]


def _quantity(quantity: int | None, unit: str) -> str:
    if quantity is None:
        return ""
    return quantity_words(quantity, unit).replace("unit of values", "units of value")


def parts(priced: Priced, terms: Terms) -> list[tuple[str, str]]:
    """Return who gets what of a charge; partners only where a term gives them something."""
    found = [("ISP", priced.isp)]
    if terms.bsp is not None:
        found.append(("BSP", priced.bsp))
    if terms.network_provider is not None:
        found.append(("Network", priced.network_provider))
    found.append(("Tax on top", priced.tax))
    return [(name, words(micros)) for name, micros in found]


def _chart(rule: UsagePrice, was: UsagePrice | None, up_to: int, price: OfferingPrice) -> Chart:
    new = examples.curve(rule, up_to)
    old = examples.curve(was, up_to) if was else []
    drawn = charts.lines([new, old], width=WIDTH, height=HEIGHT)
    before = dict(old)
    every = max(len(new) // 12, 1)
    unit = "use" if price.counts_events else price.unit
    top = max((cost for _, cost in [*new, *old]), default=0)
    return Chart(
        new=drawn[0],
        present=drawn[1],
        right=quantity_words(max((x for x, _ in [*new, *old]), default=0), unit),
        top=format_money(from_micros(top).quantize(Decimal("0.01")), price.currency),
        rows=[
            (
                quantity_words(quantity, unit),
                from_micros(cost),
                from_micros(before[quantity]) if quantity in before else None,
            )
            for quantity, cost in new[::every]
        ],
    )
