"""What the catalogue says of some offerings, read at once and in whole micro-units.

Charging looks a price up for each event and each span of time, so the rows are read once for all
offerings at hand, and then answered from memory at any moment.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar

from ispops.catalog import catalogue
from ispops.catalog.models import (
    BundleComponent,
    OfferingPrice,
    ProductOffering,
    SettlementTerm,
    TaxRate,
)
from ispops.money import split_micros, to_micros
from ispops.periods import Period
from rating import rules, versions
from rating.pricing import NO_DISCOUNT, BundlePart, Discount, Terms, UsagePrice
from rating.versions import version_at


class _Dated(Protocol):
    valid_from: datetime
    valid_to: datetime | None


D = TypeVar("D", bound=_Dated)


@dataclass(frozen=True, slots=True)
class Parties:
    """The tax and shares of a charge, and the partners who get them; None where there is none."""

    terms: Terms
    bsp_id: int | None
    network_provider_id: int | None


@dataclass(frozen=True, slots=True)
class Rate:
    """An amount for a purchase or a period; for a bundle's component, its part of the plan's.

    `discount` is what is taken off it while there is a discount: of an amount, also its part.
    """

    price: OfferingPrice
    amount: int
    part: BundlePart | None = None
    discount: Discount = NO_DISCOUNT


class Tariff:
    """The prices, settlement terms, taxes and bundle parts of some offerings, at any moment."""

    def __init__(self, offering_ids: Iterable[int], categories: Iterable[str] = ()) -> None:
        """Read five tables once. Bundles must be among the offerings to be answered for.

        `categories` are tax categories that are asked for beside those of the catalogue's prices.
        """
        keys = set(offering_ids)
        self.offerings = ProductOffering.objects.select_related("provider").in_bulk(keys)
        prices: defaultdict[tuple[int, str, str, str], list[OfferingPrice]] = defaultdict(list)
        for price in OfferingPrice.objects.filter(offering__in=keys).order_by("valid_from"):
            key = (price.offering_id, price.charge, price.currency, price.unit)
            prices[key].append(price)
        terms: defaultdict[tuple[int, str], list[SettlementTerm]] = defaultdict(list)
        for term in SettlementTerm.objects.filter(offering__in=keys).order_by("valid_from"):
            terms[term.offering_id, term.role].append(term)
        taxes: defaultdict[str, list[TaxRate]] = defaultdict(list)
        categories = {*categories, *(row.tax_category for row in self.offerings.values())}
        categories |= {p.tax_category for rows in prices.values() for p in rows}
        for rate in TaxRate.objects.filter(category__in=categories).order_by("valid_from"):
            taxes[rate.category].append(rate)
        components: defaultdict[int, dict[int, int]] = defaultdict(dict)
        for part in BundleComponent.objects.filter(bundle__in=keys).order_by("pk"):
            components[part.bundle_id][part.component_id] = part.revenue_weight
        # Plain, so that looking something up never adds to them: several threads may share them.
        self._prices, self._terms = dict(prices), dict(terms)
        self._taxes, self._components = dict(taxes), dict(components)
        self._usage_prices: dict[tuple[int, bool], UsagePrice] = {}
        self._edges: dict[tuple[int, str], list[datetime]] = {}
        self._parties: dict[tuple[int, str, int], Parties] = {}

    @classmethod
    def of(
        cls, offering_ids: Iterable[int], revision: catalogue.Revision | None = None
    ) -> "Tariff":
        """Return the tariff of offerings, kept in memory until the catalogue changes.

        One small query, mostly, and none where the catalogue's `revision` was just read. Nobody
        may change what it holds.
        """
        keys = frozenset(offering_ids)
        revision = revision or catalogue.revision()
        kept = _kept.get(keys)
        if kept is not None and revision is not None and kept[0] == revision:
            return kept[1]
        found = cls(keys)
        if revision is not None and catalogue.revision() == revision:
            while len(_kept) >= _MOST_KEPT:
                _kept.pop(next(iter(_kept)), None)
            _kept[keys] = revision, found
        return found

    def rate(
        self, offering_id: int, charge: str, at: datetime, currency: str, *, bundle_id: int | None
    ) -> Rate | None:
        """Return what an offering costs once or a period; None when it costs nothing.

        Within a bundle that is its part, by revenue weight, of the one price of the bundle.
        """
        price = _in_force(self._prices.get((bundle_id or offering_id, charge, currency, "")), at)
        if price is None:
            return None
        whole = to_micros(price.amount)
        discount = rules.discount(price)
        if bundle_id is None:
            return Rate(price, whole, discount=discount)
        weights = self._components.get(bundle_id, {})
        if not weights.get(offering_id):
            return None
        place = list(weights).index(offering_id)
        amount = split_micros(whole, list(weights.values()))[place]
        off = split_micros(discount.amount, list(weights.values()))[place]
        part = BundlePart(whole, weights[offering_id], sum(weights.values()))
        return Rate(price, amount, part, Discount(discount.percent_milli, off))

    def usage_price(
        self,
        offering_id: int,
        at: datetime,
        currency: str,
        unit: str,
        *,
        since: datetime,
        plan: tuple[int, datetime] | None = None,
    ) -> OfferingPrice | None:
        """Return the price of a unit of use at a moment; None when there is none.

        `since` is when the billing period began or, within it, the service; see `versions`.
        `plan` is what the service is sold in, and since when its line has had that. Where an
        aggregated plan has a price by this unit, its parts are used at that price, together.
        """
        own = offering_id, since
        for key, begun in (plan, own) if plan else (own,):
            rows = self._prices.get((key, OfferingPrice.Charge.USAGE, currency, unit), [])
            found = version_at(rows, at, begun)
            if found is not None:
                return found
        return None

    def has_usage_price(self, offering_id: int, at: datetime, currency: str) -> bool:
        """Say whether any use of an offering is priced at a moment, in whatever unit."""
        return any(
            _in_force(prices, at) is not None
            for (offering, charge, in_currency, _), prices in self._prices.items()
            if (offering, charge, in_currency)
            == (offering_id, OfferingPrice.Charge.USAGE, currency)
        )

    def costs_again(self, offering_id: int, at: datetime, currency: str) -> bool:
        """Say whether an offering has, or will have, a price by the month or by use."""
        return any(
            price.valid_to is None or price.valid_to > at
            for (offering, charge, in_currency, _), prices in self._prices.items()
            if (offering, in_currency) == (offering_id, currency)
            and charge != OfferingPrice.Charge.ONE_OFF
            for price in prices
        )

    def usage_prices(self) -> Iterator[OfferingPrice]:
        """Return every price by use of the offerings, of any time."""
        for (_, charge, _, _), prices in self._prices.items():
            if charge == OfferingPrice.Charge.USAGE:
                yield from prices

    def changes(self) -> set[datetime]:
        """Return the moments from which a new price by use may have to wait for a period's end."""
        return {
            moment
            for (_, charge, _, _), prices in self._prices.items()
            if charge == OfferingPrice.Charge.USAGE
            for moment in versions.changes(prices)
        }

    def moments(self) -> set[datetime]:
        """Return the moments at which what a use costs, or who shares in it, may change."""
        dated: list[_Dated] = list(self.usage_prices())
        for terms in self._terms.values():
            dated += terms
        for taxes in self._taxes.values():
            dated += taxes
        return _edges(dated)

    def rule(self, price: OfferingPrice, *, is_discounted: bool = True) -> UsagePrice:
        """Return the running total's price that a usage price of the catalogue means.

        Raises:
            ValueError: the price in the catalogue makes no sense.
        """
        key = price.pk, is_discounted
        found = self._usage_prices.get(key)
        if found is None:
            rule = rules.usage_rule(price)
            found = self._usage_prices[key] = rule if is_discounted else rule.undiscounted()
        return found

    def parties(self, offering_id: int, at: datetime, category: str = "") -> Parties:
        """Return the tax on an offering and who shares its charges at a moment.

        `category` is the price's own tax category, where it has one.
        """
        category = category or self.offerings[offering_id].tax_category
        if (offering_id, category) not in self._edges:
            edges = _edges(self._shared_by(offering_id, category))
            self._edges[offering_id, category] = sorted(edges)
        # Between two edges the answer is the same; events come by the thousand.
        key = offering_id, category, bisect_right(self._edges[offering_id, category], at)
        found = self._parties.get(key)
        if found is None:
            found = self._parties[key] = self._parties_at(offering_id, at, category)
        return found

    def _parties_at(self, offering_id: int, at: datetime, category: str) -> Parties:
        offering, role = self.offerings[offering_id], SettlementTerm.Role
        bsp = _in_force(self._terms.get((offering_id, role.BSP)), at)
        network = _in_force(self._terms.get((offering_id, role.NETWORK_PROVIDER)), at)
        tax = _in_force(self._taxes.get(category), at)
        provider = offering.provider_id
        is_bsp = offering.kind == ProductOffering.Kind.BSP
        is_access = offering.kind == ProductOffering.Kind.ACCESS
        return Parties(
            terms=Terms(
                tax_milli=rules.milli(tax.percent) if tax else 0,
                bsp=rules.share(bsp) if bsp else None,
                network_provider=rules.share(network) if network else None,
            ),
            bsp_id=bsp.partner_id if bsp else provider if is_bsp else None,
            network_provider_id=network.partner_id if network else provider if is_access else None,
        )

    def _shared_by(self, offering_id: int, category: str) -> list[_Dated]:
        dated: list[_Dated] = list(self._taxes.get(category, []))
        for role in SettlementTerm.Role.values:
            dated += self._terms.get((offering_id, role), [])
        return dated

    def guarantees(self, offering_id: int, period: Period) -> bool:
        """Say whether a partner is guaranteed a minimum at some moment of a period."""
        return any(
            term.minimum and period.overlap(term.valid_from, term.valid_to) is not None
            for role in SettlementTerm.Role.values
            for term in self._terms.get((offering_id, role), [])
        )

    def edges_of_terms(self, offering_id: int, category: str = "") -> set[datetime]:
        """Return the moments at which `parties` may answer otherwise."""
        category = category or self.offerings[offering_id].tax_category
        return _edges(self._shared_by(offering_id, category))

    def edges(self, offering_id: int, bundle_id: int | None) -> set[datetime]:
        """Return the moments at which what a period of an offering costs may change."""
        dated = self._shared_by(offering_id, self.offerings[offering_id].tax_category)
        for (offering, charge, _, _), prices in self._prices.items():
            if offering == (bundle_id or offering_id) and charge == OfferingPrice.Charge.RECURRING:
                dated += prices
                for category in {price.tax_category for price in prices if price.tax_category}:
                    dated += self._taxes.get(category, [])
        return _edges(dated)


_MOST_KEPT = 256
_kept: dict[frozenset[int], tuple[catalogue.Revision, Tariff]] = {}


def _in_force(rows: list[D] | None, at: datetime) -> D | None:
    for row in reversed(rows or []):
        if row.valid_from <= at:
            return row if row.valid_to is None or at < row.valid_to else None
    return None


def _edges(rows: list[_Dated]) -> set[datetime]:
    edges = {row.valid_from for row in rows}
    return edges | {row.valid_to for row in rows if row.valid_to is not None}
