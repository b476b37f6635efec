"""The broadband labels of what is sold: the catalogue's prices, the labels' own facts, the ISP."""

from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db.models import Q, QuerySet

from ispops.catalog import labels
from ispops.catalog.labels import Fee, Introduction, Label, Links, Overage
from ispops.catalog.models import (
    BroadbandLabel,
    BundleComponent,
    OfferingPrice,
    ProductOffering,
    TaxRate,
)
from ispops.catalog.queries import sold_at
from ispops.money import from_micros, round_to_minor_unit, split_micros, to_micros

_CHARGE = OfferingPrice.Charge
# The shortest time before a plan was withdrawn: then its last label was in force.
_INSTANT = timedelta(microseconds=1)
# 47 CFR 8.1: a label is kept for two years after its plan was last sold.
KEPT_FOR = timedelta(days=2 * 366)


def labels_at(at: datetime, plans: QuerySet[ProductOffering] | None = None) -> list[Label]:
    """Return the label of each plan on sale at a moment that has one and a price, the cheapest
    first, in four queries. `plans` leaves out others."""
    on_sale = sold_at(at) if plans is None else plans
    rows = BroadbandLabel.objects.at(at).filter(offering__in=on_sale).select_related("offering")
    listed = list(rows.order_by("offering__kind", "offering__code"))
    catalogue = _Catalogue.read([row.offering for row in listed], at)
    found = [_label(row, catalogue, at) for row in listed if catalogue.has_price(row.offering_id)]
    return sorted(found, key=lambda label: label.price_now)


def label_of(code: str, at: datetime) -> Label | None:
    """Return the label of one plan at a moment; of a plan that is no longer sold, its last one."""
    plan = ProductOffering.objects.filter(code=code, sold_from__lte=at).first()
    if plan is None:
        return None
    withdrawn_at = plan.sold_to if plan.sold_to and plan.sold_to <= at else None
    moment = withdrawn_at - _INSTANT if withdrawn_at else at
    found = labels_at(moment, ProductOffering.objects.filter(pk=plan.pk))
    return replace(found[0], withdrawn_at=withdrawn_at) if found else None


def withdrawn_plans(at: datetime) -> QuerySet[ProductOffering]:
    """Return the plans that had a label and are no longer sold, as long as it must be kept."""
    gone = ProductOffering.objects.filter(sold_to__lte=at, sold_to__gt=at - KEPT_FOR)
    return gone.filter(fcc_plan_code__isnull=False).order_by("-sold_to", "name")


def unlabelled_plans(at: datetime) -> QuerySet[ProductOffering]:
    """Return the plans on sale that lack the label they must be sold with."""
    plans = sold_at(at).filter(kind=ProductOffering.Kind.ACCESS)
    return plans.exclude(pk__in=BroadbandLabel.objects.at(at).values("offering"))


@dataclass(slots=True)
class _Catalogue:
    """The prices, the taxes and the parts of some plans, read at once."""

    at: datetime
    prices: dict[tuple[int, str], list[OfferingPrice]]
    taxes: dict[str, Decimal]
    parts: dict[int, list[BundleComponent]] = field(default_factory=dict)

    @classmethod
    def read(cls, plans: list[ProductOffering], at: datetime) -> "_Catalogue":
        parts: defaultdict[int, list[BundleComponent]] = defaultdict(list)
        components = BundleComponent.objects.filter(bundle__in=plans).select_related("component")
        for part in components.order_by("pk"):
            parts[part.bundle_id].append(part)
        keys = [plan.pk for plan in plans]
        keys += [part.component_id for rows in parts.values() for part in rows]
        prices: defaultdict[tuple[int, str], list[OfferingPrice]] = defaultdict(list)
        later = OfferingPrice.objects.filter(Q(valid_to__isnull=True) | Q(valid_to__gt=at))
        in_currency = later.filter(offering__in=keys, currency=settings.CURRENCY)
        for price in in_currency.order_by("valid_from"):
            prices[price.offering_id, price.charge].append(price)
        taxes = {rate.category: rate.percent for rate in TaxRate.objects.at(at)}
        return cls(at, prices, taxes, parts)

    def in_force(self, offering: int, charge: str, unit: str = "") -> OfferingPrice | None:
        found = self.prices.get((offering, charge), [])
        return next((p for p in found if p.unit == unit and p.valid_from <= self.at), None)

    def has_price(self, offering: int) -> bool:
        return any(
            price.valid_from <= self.at
            for charge in _CHARGE
            for price in self.prices.get((offering, charge), [])
        )

    def introduction(self, price: OfferingPrice) -> tuple[Introduction | None, Decimal]:
        """Return the introduction that a price is, and the price after it.

        It is one when a higher price is fixed to follow it: whoever subscribes now pays the lower
        one until then, because a price of the catalogue is the same for everybody.
        """
        follows = self.prices[price.offering_id, _CHARGE.RECURRING]
        after = next((p for p in follows if p.valid_from == price.valid_to), None)
        if price.valid_to is None or after is None or after.amount <= price.amount:
            return None, _paid(price.amount)
        zone = ZoneInfo(settings.BILLING_TIME_ZONE)
        months = labels.whole_months(
            self.at.astimezone(zone).date(), price.valid_to.astimezone(zone).date()
        )
        return Introduction(_paid(price.amount), price.valid_to, months), _paid(after.amount)

    def tax(self, plan: ProductOffering, amount: Decimal) -> Decimal | None:
        """Return the tax on a month's price; of a bundle, each part by its own category.

        None where no rate is set for a category: then it is not ours to say.
        """
        shares = self._shares(plan, amount)
        if any(category not in self.taxes for category, _ in shares):
            return None
        return _paid(sum((part * self.taxes[name] / 100 for name, part in shares), Decimal(0)))

    def _shares(self, plan: ProductOffering, amount: Decimal) -> list[tuple[str, Decimal]]:
        parts = self.parts.get(plan.pk)
        if not parts:
            return [(plan.tax_category, amount)]
        amounts = split_micros(to_micros(amount), [part.revenue_weight for part in parts])
        return [
            (part.component.tax_category, from_micros(micros))
            for part, micros in zip(parts, amounts, strict=True)
        ]

    def traffic(self, plan: ProductOffering) -> OfferingPrice | None:
        """Return the price of data; the line in a bundle is charged by its own."""
        keys = [plan.pk, *(part.component_id for part in self.parts.get(plan.pk, []))]
        found = (self.in_force(key, _CHARGE.USAGE, "byte") for key in keys)
        return next((price for price in found if price), None)


def _label(row: BroadbandLabel, catalogue: _Catalogue, at: datetime) -> Label:
    plan = row.offering
    monthly = catalogue.in_force(plan.pk, _CHARGE.RECURRING)
    introduction, price = catalogue.introduction(monthly) if monthly else (None, _paid(Decimal(0)))
    traffic = catalogue.traffic(plan)
    fee = row.early_termination_fee
    return Label(
        code=plan.code,
        unique_plan_id=labels.unique_plan_id(
            connection=labels.FIXED, frn=settings.ISP_FRN, plan_code=plan.fcc_plan_code or ""
        ),
        provider_name=settings.ISP_NAME,
        plan_name=plan.name,
        tier_name=row.tier_name,
        connection=labels.FIXED,
        currency=settings.CURRENCY,
        monthly_price=price,
        introduction=introduction,
        contract_months=row.contract_months,
        early_termination_fee=None if fee is None else _paid(fee),
        purchase_fees=(*_one_off(catalogue, plan), *_fees(row.purchase_fees)),
        monthly_fees=tuple(_fees(row.monthly_fees)),
        tax=catalogue.tax(plan, introduction.price if introduction else price),
        download_kbps=row.typical_download_kbps,
        upload_kbps=row.typical_upload_kbps,
        latency_ms=row.typical_latency_ms,
        allowance_bytes=traffic.allowance if traffic else None,
        overage=_overage(traffic) if traffic else None,
        links=_links(row),
        support_phone=settings.SUPPORT_PHONE,
    )


def _one_off(catalogue: _Catalogue, plan: ProductOffering) -> list[Fee]:
    price = catalogue.in_force(plan.pk, _CHARGE.ONE_OFF)
    return [Fee(price.name, _paid(price.amount))] if price and price.amount else []


def _fees(kept: list[dict[str, str]]) -> list[Fee]:
    return [Fee(fee["name"], _paid(Decimal(fee["amount"]))) for fee in kept]


def _overage(price: OfferingPrice) -> Overage:
    """Price further data; by its first step, where the price falls with use."""
    amount = Decimal(str(price.tiers[0]["amount"])) if price.tiers else price.amount
    found = labels.overage(amount=amount, block_bytes=price.block_size)
    return replace(found, price=_paid(found.price))


def _links(row: BroadbandLabel) -> Links:
    return Links(
        contract_terms=row.contract_terms_url or settings.CONTRACT_TERMS_URL,
        discounts=row.discounts_url or settings.DISCOUNTS_URL,
        data_allowance=row.data_allowance_url or settings.DATA_ALLOWANCE_URL,
        network_management=settings.NETWORK_MANAGEMENT_URL,
        privacy=settings.PRIVACY_URL,
        support=settings.SUPPORT_URL,
    )


def _paid(amount: Decimal) -> Decimal:
    return round_to_minor_unit(amount, settings.CURRENCY)
