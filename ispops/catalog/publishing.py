"""Verbs for the catalogue: the only writers of offerings, prices, terms, taxes and entitlements.

Prices, settlement terms and tax rates take effect at a moment and are never edited afterwards: a
new one ends the one before. Setting what is in force already changes nothing.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db import transaction

from ispops import db
from ispops.catalog.effective import put_in_force
from ispops.catalog.models import (
    AddressEntitlement,
    BundleComponent,
    OfferingPrice,
    ProductOffering,
    SettlementTerm,
    TaxRate,
)
from ispops.catalog.price_checks import (
    check_together,
    checked_amount,
    checked_bands,
    checked_parts,
    checked_percent,
    checked_share_tiers,
    checked_tiers,
)
from ispops.errors import InvalidInput, Refusal
from ispops.parties import audit
from ispops.parties.models import Partner, User

_PLAIN = (
    "charge", "name", "currency", "tax_category", "unit", "model", "block_size", "allowance",
    "rollover_periods", "rollover_most", "discount_periods", "proration", "pack_unit",
    "pack_units", "pack_periods",
)  # fmt: skip
_AMOUNTS = (
    "amount", "event_fee", "event_minimum", "event_maximum", "discount_amount", "period_minimum",
    "period_maximum",
)  # fmt: skip
_FLAGS = ("counts_started_blocks", "counts_events")
_PRICE_FACTS = {
    *_PLAIN, *_AMOUNTS, *_FLAGS, "percent", "discount_percent", "tiers", "bands", "pack_for",
} - {"charge", "amount"}  # fmt: skip
# What makes one price, or one term, another one than that before it.
PRICE_TERMS = (
    *_AMOUNTS, *_FLAGS, "percent", "discount_percent", "tiers", "bands", "pack_for_id",
    "tax_category", "model", "block_size", "allowance", "rollover_periods", "rollover_most",
    "discount_periods", "proration", "pack_unit", "pack_units", "pack_periods",
)  # fmt: skip
TERM_TERMS = ("partner_id", "basis", "percent", "amount", "block_size", "tiers", "minimum")


class OfferingCodeTaken(Refusal):
    code = "offering_code_taken"
    title = "Another offering has this code"


class BundleDefined(Refusal):
    code = "bundle_defined"
    title = "The aggregated plan has its parts already"


@transaction.atomic
def create_offering(
    *,
    code: str,
    name: str,
    kind: str,
    at: datetime,
    provider: Partner | None = None,
    sold_from: datetime | None = None,
    actor: User | None = None,
    **facts: Any,
) -> ProductOffering:
    """Put something on sale, from now or from a later moment; it needs a price to be sold.

    `facts` are further fields of `ProductOffering`: the line of an access plan, what a partner
    product needs of a line, the type of an add-on.

    Raises:
        InvalidInput: a value cannot be used, or one that the kind needs is missing.
        OfferingCodeTaken: there is an offering with this code.
    """
    offering = ProductOffering(
        code=code, name=name, kind=kind, provider=provider, sold_from=sold_from or at, **facts
    )
    db.check_fields(offering, "code", "name", "kind", "subscriber_kind", "tax_category")
    db.check_fields(offering, "technology", "addon_type", *_needed(offering))
    if ProductOffering.objects.filter(code=code).exists():
        raise OfferingCodeTaken(f"There is an offering {code} already.", field="code")
    offering.save(force_insert=True)
    _note("offering.created", offering, actor, at, kind=kind)
    return offering


@transaction.atomic
def withdraw_offering(
    *, offering: ProductOffering, at: datetime, reason: str = "", actor: User | None = None
) -> ProductOffering:
    """Stop selling an offering; what was sold goes on."""
    row = db.lock(ProductOffering, offering.pk)
    if row.sold_to is None or row.sold_to > at:
        if row.sold_from >= at:
            raise InvalidInput("It is not on sale yet.", field="sold_to")
        row.sold_to = at
        row.save(update_fields=["sold_to"])
        _note("offering.withdrawn", row, actor, at, reason=reason)
    return row


@transaction.atomic
def set_price(
    *,
    offering: ProductOffering,
    charge: str,
    amount: Decimal,
    at: datetime,
    valid_from: datetime | None = None,
    actor: User | None = None,
    **facts: Any,
) -> OfferingPrice:
    """Set a price from `valid_from` (or now) on, which ends the price of the same charge and unit.

    Amounts are net of tax. `facts` are further fields of `OfferingPrice`, which says what they
    mean: the unit and the model of a price by use, its tiers, bands and allowance, discounts,
    limits, and the pack of units that is bought with a one-off price.

    Raises:
        InvalidInput: a value cannot be used, or does not go with the others.
        ChangePlanned, InForceAlready: see `effective`.
    """
    price = checked_price(offering, charge, amount, valid_from or at, **facts)
    db.lock(ProductOffering, offering.pk)
    same = OfferingPrice.objects.filter(
        offering=offering, charge=charge, unit=price.unit, currency=price.currency
    )
    row, is_new = put_in_force(same, price, PRICE_TERMS, at)
    if is_new:
        amount_text = str(price.amount)
        _note("price.set", offering, actor, at, charge=charge, amount=amount_text, unit=price.unit)
    return row


def checked_price(
    offering: ProductOffering, charge: str, amount: Decimal, valid_from: datetime, **facts: Any
) -> OfferingPrice:
    """Make a price that is not saved, each value checked by itself and with the others.

    Raises:
        InvalidInput: see `set_price`.
    """
    unknown = sorted(set(facts) - _PRICE_FACTS)
    if unknown:
        raise InvalidInput("A price has no such field.", field=unknown[0])
    price = OfferingPrice(
        offering=offering, charge=charge, amount=amount, valid_from=valid_from, **facts
    )
    price.name = price.name or offering.name[:120]
    price.currency = price.currency or settings.CURRENCY
    for field in _AMOUNTS:
        value = getattr(price, field)
        if value is not None:
            setattr(price, field, checked_amount(_exact(value), field))
    for field in ("percent", "discount_percent"):
        setattr(price, field, checked_percent(_exact(getattr(price, field)), field))
    db.check_fields(price, *_PLAIN)
    price.tiers = checked_tiers(price.tiers)
    price.bands = checked_bands(price.bands)
    if price.block_size < 1:
        raise InvalidInput("A block holds at least one unit.", field="block_size")
    check_together(price)
    return price


def _exact(value: Any) -> Any:
    """Turn a whole number, such as a field's default, into a decimal one; leave all else."""
    return Decimal(value) if type(value) is int else value


@transaction.atomic
def set_settlement_term(
    *,
    offering: ProductOffering,
    role: str,
    partner: Partner,
    basis: str,
    at: datetime,
    percent: Decimal = Decimal(0),
    amount: Decimal = Decimal(0),
    block_size: int = 1,
    tiers: Sequence[dict[str, Any]] = (),
    minimum: Decimal = Decimal(0),
    valid_from: datetime | None = None,
    actor: User | None = None,
) -> SettlementTerm:
    """Set what a partner gets of each charge of an offering, from `valid_from` (or now) on.

    See `SettlementTerm` for what each basis means.

    Raises:
        InvalidInput: a value cannot be used, or does not fit the basis.
        ChangePlanned, InForceAlready: see `effective`.
    """
    term = checked_term(
        offering, role, partner, basis, valid_from or at,
        percent=percent, amount=amount, block_size=block_size, tiers=tiers, minimum=minimum,
    )  # fmt: skip
    db.lock(ProductOffering, offering.pk)
    same = SettlementTerm.objects.filter(offering=offering, role=role)
    row, is_new = put_in_force(same, term, TERM_TERMS, at)
    if is_new:
        _note("settlement_term.set", offering, actor, at, partner=partner.code, role=role)
    return row


def checked_term(
    offering: ProductOffering,
    role: str,
    partner: Partner,
    basis: str,
    valid_from: datetime,
    *,
    percent: Decimal,
    amount: Decimal,
    block_size: int,
    tiers: Sequence[dict[str, Any]],
    minimum: Decimal,
) -> SettlementTerm:
    """Make a settlement term that is not saved, each value checked by itself and with the others.

    Raises:
        InvalidInput: see `set_settlement_term`.
    """
    term = SettlementTerm(
        offering=offering,
        role=role,
        partner=partner,
        basis=basis,
        percent=checked_percent(percent),
        amount=checked_amount(amount),
        block_size=block_size,
        tiers=checked_share_tiers(tiers),
        minimum=checked_amount(minimum, "minimum"),
        valid_from=valid_from,
    )
    db.check_fields(term, "role", "basis", "block_size")
    _check_basis(term)
    return term


def _check_basis(term: SettlementTerm) -> None:
    basis = SettlementTerm.Basis
    fits = {
        "percent": {basis.PERCENT_OF_NET, basis.PERCENT_OF_RETAIL},
        "amount": {basis.FIXED, basis.WHOLESALE},
        "tiers": {basis.TIERED},
    }
    for field, bases in fits.items():
        if getattr(term, field) and term.basis not in bases:
            raise InvalidInput("This does not go with the basis.", field=field)
    if term.basis == basis.TIERED and not term.tiers:
        raise InvalidInput("Give the tiers of the percentage.", field="tiers")
    if term.block_size < 1:
        raise InvalidInput("A block holds at least one unit.", field="block_size")
    if term.block_size != 1 and term.basis != basis.WHOLESALE:
        raise InvalidInput("Only a wholesale price is for a block of units.", field="block_size")


@transaction.atomic
def set_tax_rate(
    *,
    category: str,
    percent: Decimal,
    at: datetime,
    valid_from: datetime | None = None,
    actor: User | None = None,
) -> TaxRate:
    """Set the tax on a category of goods, from `valid_from` (or now) on.

    Raises:
        InvalidInput: the category is no slug, or the percentage is not within 0 and 100.
        ChangePlanned, InForceAlready: see `effective`.
    """
    rate = TaxRate(category=category, percent=checked_percent(percent), valid_from=valid_from or at)
    db.check_fields(rate, "category")
    # There is no row above the rates to lock, so two changes at once are refused by the database.
    row, is_new = put_in_force(TaxRate.objects.filter(category=category), rate, ("percent",), at)
    if is_new:
        audit.record(
            actor=actor,
            actor_name="" if actor else "system",
            action="tax_rate.set",
            subject=f"tax_{category}",
            at=at,
            percent=str(percent),
        )
    return row


@transaction.atomic
def set_entitlement(
    *,
    offering: ProductOffering,
    policy: str,
    at: datetime,
    ipv4_addresses: int = 1,
    ipv6_prefixes: int = 1,
    static_addresses: int = 0,
    extra_address: ProductOffering | None = None,
    most_extra_addresses: int = 4,
    most_requests_an_hour: int = 10,
    actor: User | None = None,
) -> AddressEntitlement:
    """Set how many addresses a plan includes, and what happens when a device asks for more.

    Raises:
        InvalidInput: the offering is no access plan, or the policy grants and names no add-on.
    """
    if offering.kind != ProductOffering.Kind.ACCESS:
        raise InvalidInput("Only an access plan includes addresses.", field="offering")
    if policy != AddressEntitlement.Policy.DENY and extra_address is None:
        raise InvalidInput("Name the add-on that an extra address is.", field="extra_address")
    if extra_address and extra_address.addon_type != ProductOffering.Addon.EXTRA_ADDRESS:
        raise InvalidInput("This is not an extra dynamic address.", field="extra_address")
    row, _ = AddressEntitlement.objects.select_for_update().get_or_create(
        offering=offering, defaults={"policy": policy, "extra_address": extra_address}
    )
    row.policy, row.extra_address = policy, extra_address
    row.ipv4_addresses, row.ipv6_prefixes = ipv4_addresses, ipv6_prefixes
    row.static_addresses = static_addresses
    row.most_extra_addresses = most_extra_addresses
    row.most_requests_an_hour = most_requests_an_hour
    db.check_fields(
        row, "policy", "ipv4_addresses", "ipv6_prefixes", "static_addresses",
        "most_extra_addresses",
    )  # fmt: skip
    row.save()
    _note(
        "entitlement.set", offering, actor, at, policy=policy, ipv4_addresses=ipv4_addresses,
        static_addresses=static_addresses,
    )  # fmt: skip
    return row


@transaction.atomic
def define_bundle(
    *,
    bundle: ProductOffering,
    components: Iterable[tuple[ProductOffering, int]],
    at: datetime,
    actor: User | None = None,
) -> list[BundleComponent]:
    """Say what an aggregated plan, or a bundle of partners' products, is made of, each part with
    its weight in the one price.

    It is said once, because every charge of the bundle is divided by it.

    Raises:
        InvalidInput: not exactly one access plan, a bundle inside, a part twice, a weight below 1;
            in a bundle of partners' products also anything else, or what lasts in another way.
        BundleDefined: it has other parts already.
    """
    parts = list(components)
    checked_parts(bundle, parts)
    db.lock(ProductOffering, bundle.pk)
    wanted = {(part.pk, weight) for part, weight in parts}
    existing = list(bundle.components.order_by("pk"))
    if existing:
        if {(part.component_id, part.revenue_weight) for part in existing} != wanted:
            raise BundleDefined("Make a new aggregated plan and withdraw this one.")
        return existing
    made = BundleComponent.objects.bulk_create(
        BundleComponent(bundle=bundle, component=part, revenue_weight=weight)
        for part, weight in parts
    )
    _note("bundle.defined", bundle, actor, at, components=[part.code for part, _ in parts])
    return made


def _needed(offering: ProductOffering) -> list[str]:
    """Return the fields that the offering's kind cannot be without; raises for the missing ones."""
    needed = {
        ProductOffering.Kind.ACCESS: ["provider", "technology", "download_kbps", "upload_kbps"],
        ProductOffering.Kind.BSP: ["provider"],
        ProductOffering.Kind.ADDON: ["addon_type"],
    }.get(ProductOffering.Kind(offering.kind), [])
    if offering.addon_type == ProductOffering.Addon.SPEED_BOOST:
        needed += ["download_kbps", "upload_kbps"]
    for name in needed:
        if getattr(offering, name) in (None, "", 0):
            raise InvalidInput("This kind of offering needs it.", field=name)
    kind = Partner.Kind.BSP if offering.kind == "bsp" else Partner.Kind.NETWORK_PROVIDER
    if offering.provider and offering.provider.kind != kind:
        raise InvalidInput(f"The provider is no {kind.label}.", field="provider")
    return [name for name in needed if name.endswith("_kbps")]


def _note(
    action: str, offering: ProductOffering, actor: User | None, at: datetime, **detail: Any
) -> None:
    reason = detail.pop("reason", "")
    audit.record(
        actor=actor,
        actor_name="" if actor else "system",
        action=action,
        subject=f"offering_{offering.code}",
        reason=reason,
        at=at,
        **detail,
    )
