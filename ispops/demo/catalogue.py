"""What the demo ISP sells: plans on three networks, three partners' products, add-ons, a bundle."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from ispops.catalog import publishing
from ispops.catalog.models import (
    AddressEntitlement,
    OfferingPrice,
    ProductOffering,
    SettlementTerm,
    Technology,
)
from ispops.parties.models import Partner

Kind, Charge = ProductOffering.Kind, OfferingPrice.Charge
Policy, Role, Basis = AddressEntitlement.Policy, SettlementTerm.Role, SettlementTerm.Basis
MBPS = 1_000
GB, TB = 10**9, 10**12

# code, name, provider, technology, Mbit/s down and up, a month, once, wholesale a month
PLANS = (
    ("fiber-300", "Harbor Fiber 300", "harbor-fiber", Technology.FIBRE, 300, 300, "49", "0", "0"),
    (
        "fiber-1000", "Harbor Fiber Gig", "harbor-fiber", Technology.FIBRE,
        1000, 1000, "69", "0", "0",
    ),
    (
        "fiber-business", "Harbor Fiber Business", "harbor-fiber", Technology.FIBRE,
        2000, 2000, "189", "99", "0",
    ),
    ("cable-200", "Cable 200", "tidewater-cable", Technology.CABLE, 200, 10, "45", "50", "27.50"),
    ("cable-1000", "Cable Gig", "tidewater-cable", Technology.CABLE, 1000, 35, "75", "50", "48"),
    ("dsl-25", "DSL 25", "copperline", Technology.COPPER, 25, 3, "34", "35", "21"),
    ("dsl-100", "DSL 100", "copperline", Technology.COPPER, 100, 20, "44", "35", "28"),
)  # fmt: skip


def load(*, at: datetime) -> None:
    """Publish the catalogue, once."""
    if ProductOffering.objects.filter(code=PLANS[0][0]).exists():
        return
    publishing.set_tax_rate(category="telecom", percent=Decimal("6.35"), at=at)
    publishing.set_tax_rate(category="digital-goods", percent=Decimal("1"), at=at)
    partners = {partner.code: partner for partner in Partner.objects.all()}
    extra_address = _addons(at)
    plans = {plan[0]: _plan(plan, partners, extra_address, at) for plan in PLANS}
    products = _partner_products(partners, at)
    bundle = publishing.create_offering(
        code="harbor-home",
        name="Harbor Home",
        kind=Kind.BUNDLE,
        description="Gigabit fiber, protection for every device and backup, in one price.",
        at=at,
    )
    publishing.define_bundle(
        bundle=bundle,
        components=[
            (plans["fiber-1000"], 6900),
            (products["shieldwall-family"], 599),
            (products["cloudvault-home"], 499),
        ],
        at=at,
    )
    _recurring(bundle, "74.99", at)


def _addons(at: datetime) -> ProductOffering:
    extra = publishing.create_offering(
        code="extra-address",
        name="Extra IP address",
        kind=Kind.ADDON,
        addon_type=ProductOffering.Addon.EXTRA_ADDRESS,
        description="One more public address, for one more device.",
        at=at,
    )
    _recurring(extra, "3", at)
    static = publishing.create_offering(
        code="static-address",
        name="Static IP address",
        kind=Kind.ADDON,
        addon_type=ProductOffering.Addon.STATIC_ADDRESS,
        description="An address that never changes, for a server of your own.",
        at=at,
    )
    _recurring(static, "5", at)
    return extra


def _plan(
    plan: tuple[Any, ...],
    partners: dict[str, Partner],
    extra_address: ProductOffering,
    at: datetime,
) -> ProductOffering:
    code, name, provider, technology, down, up, month, once, wholesale = plan
    is_business = code.endswith("business")
    offering = publishing.create_offering(
        code=code,
        name=name,
        kind=Kind.ACCESS,
        provider=partners[provider],
        technology=technology,
        download_kbps=down * MBPS,
        upload_kbps=up * MBPS,
        subscriber_kind="business" if is_business else "",
        at=at,
    )
    _recurring(offering, month, at)
    if Decimal(once):
        _price(offering, Charge.ONE_OFF, once, "Installation", at)
    if technology == Technology.CABLE:
        _price(
            offering,
            Charge.USAGE,
            "10",
            "Data beyond 1 TB",
            at,
            unit="byte",
            allowance=TB,
            block_size=50 * GB,
            counts_started_blocks=True,
        )
    if Decimal(wholesale):
        publishing.set_settlement_term(
            offering=offering,
            role=Role.NETWORK_PROVIDER,
            partner=partners[provider],
            basis=Basis.FIXED,
            amount=Decimal(wholesale),
            at=at,
        )
    publishing.set_entitlement(
        offering=offering,
        policy=Policy.GRANT_AND_CHARGE if is_business else Policy.ASK_SUBSCRIBER,
        ipv4_addresses=5 if is_business else 1,
        extra_address=extra_address,
        at=at,
    )
    return offering


def _partner_products(partners: dict[str, Partner], at: datetime) -> dict[str, ProductOffering]:
    shieldwall = _product(
        "shieldwall-family",
        "ShieldWall Family",
        "Protection against malware and fraud for every device at home.",
        partners["shieldwall"],
        "70",
        at,
        is_subscription=True,
    )
    _recurring(shieldwall, "5.99", at)
    film = _product(
        "cinebox-film",
        "Cinebox film",
        "One film tonight, in 4K, for 48 hours.",
        partners["cinebox"],
        "80",
        at,
        needs_download_kbps=15 * MBPS,
    )
    _price(film, Charge.ONE_OFF, "4.99", "One film", at)
    stream = _product(
        "cinebox-stream",
        "Cinebox by the minute",
        "Series and sport, paid by the minute: the more you watch, the less a minute costs.",
        partners["cinebox"],
        "80",
        at,
        is_subscription=True,
        needs_download_kbps=8 * MBPS,
    )
    _price(
        stream,
        Charge.USAGE,
        "0.02",
        "Minutes watched",
        at,
        unit="minute",
        allowance=30,
        tiers=[{"up_to": 600, "amount": "0.02"}, {"up_to": None, "amount": "0.01"}],
    )
    vault = _product(
        "cloudvault-home",
        "CloudVault Home",
        "Backup of your computers: 50 GB included, more as you need it.",
        partners["cloudvault"],
        "65",
        at,
        is_subscription=True,
        needs_download_kbps=2 * MBPS,
    )
    _recurring(vault, "4.99", at)
    _price(
        vault,
        Charge.USAGE,
        "0.50",
        "Storage beyond 50 GB",
        at,
        unit="gigabyte",
        allowance=50,
        block_size=10,
        counts_started_blocks=True,
    )
    return {product.code: product for product in (shieldwall, film, stream, vault)}


def _product(
    code: str,
    name: str,
    description: str,
    bsp: Partner,
    percent: str,
    at: datetime,
    **facts: Any,
) -> ProductOffering:
    offering = publishing.create_offering(
        code=code,
        name=name,
        kind=Kind.BSP,
        provider=bsp,
        description=description,
        tax_category="digital-goods",
        at=at,
        **facts,
    )
    publishing.set_settlement_term(
        offering=offering,
        role=Role.BSP,
        partner=bsp,
        basis=Basis.PERCENT_OF_NET,
        percent=Decimal(percent),
        at=at,
    )
    return offering


def _recurring(offering: ProductOffering, amount: str, at: datetime) -> None:
    _price(offering, Charge.RECURRING, amount, "Every month", at)


def _price(
    offering: ProductOffering, charge: str, amount: str, name: str, at: datetime, **facts: Any
) -> None:
    publishing.set_price(
        offering=offering, charge=charge, amount=Decimal(amount), name=name, at=at, **facts
    )
