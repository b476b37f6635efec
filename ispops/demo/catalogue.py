"""What the demo ISP sells: plans on three networks, products of three partners, bundles."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from ispops.catalog import fair_use, labelling, publishing
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
FIBER, CABLE, DSL = "harbor-fiber", "tidewater-cable", "copperline"
GB, TB = 10**9, 10**12
TELECOM, DIGITAL = "telecom", "digital-goods"


@dataclass(frozen=True, slots=True)
class _Plan:
    """An access plan: speeds in megabits a second, amounts in dollars before tax.

    `typical` is what lines with the plan were measured to have: down, up and milliseconds.
    """

    code: str
    name: str
    provider: str
    down: int
    up: int
    month: str
    typical: tuple[int, int, int]
    once: str = "0"
    wholesale: str = "0"
    allowance_tb: int = 0
    for_business: bool = False
    policy: str = Policy.ASK_SUBSCRIBER
    addresses: int = 1
    static: int = 0
    contract_months: int = 0
    termination_fee: str = ""

    @property
    def technology(self) -> int:
        kinds = {FIBER: Technology.FIBRE, CABLE: Technology.CABLE, DSL: Technology.COPPER}
        return kinds[self.provider]


PLANS = (
    _Plan("fiber-300", "Harbor Fiber 300", FIBER, 300, 300, "49", (312, 309, 9), allowance_tb=1),
    _Plan("fiber-1000", "Harbor Fiber Gig", FIBER, 1000, 1000, "69", (942, 938, 8)),
    _Plan(
        "fiber-business", "Harbor Fiber Business", FIBER, 2000, 2000, "189", (1_960, 1_955, 8),
        once="99", for_business=True, policy=Policy.GRANT_AND_CHARGE, addresses=5,
        static=1,
        contract_months=12, termination_fee="150",
    ),
    _Plan(
        "cable-200", "Cable 200", CABLE, 200, 10, "45", (218, 11, 19), once="50",
        wholesale="27.50", allowance_tb=1,
    ),
    _Plan(
        "cable-1000", "Cable Gig", CABLE, 1000, 35, "75", (960, 36, 18), once="50",
        wholesale="48", allowance_tb=1, policy=Policy.GRANT_AND_CHARGE,
    ),
    _Plan(
        "cable-business", "Cable Business 500", CABLE, 500, 35, "119", (520, 36, 18), once="99",
        wholesale="71", for_business=True, policy=Policy.ASK_CSR, addresses=5,
    ),
    _Plan(
        "dsl-25", "DSL 25", DSL, 25, 3, "34", (24, 3, 34), once="35", wholesale="21",
        policy=Policy.DENY,
    ),
    _Plan("dsl-70", "DSL 70", DSL, 70, 20, "44", (66, 18, 29), once="35", wholesale="28"),
)  # fmt: skip


def load(*, at: datetime) -> None:
    """Publish the catalogue; once, so that what was changed in the console since stays."""
    if ProductOffering.objects.exists():
        return
    publishing.set_tax_rate(category=TELECOM, percent=Decimal("6.35"), at=at)
    publishing.set_tax_rate(category=DIGITAL, percent=Decimal("1"), at=at)
    partners = {partner.code: partner for partner in Partner.objects.all()}
    extra_address = _addons(at)
    plans = {plan.code: _access(plan, partners, extra_address, at) for plan in PLANS}
    _more_data(plans["fiber-300"], "9", at)
    _more_data(plans["cable-1000"], "12", at)
    fair_use.set_fair_use(
        offering=plans["cable-1000"], threshold_bytes=3 * TB, download_kbps=50_000,
        upload_kbps=10_000, at=at,
    )  # fmt: skip
    security = _security(partners["shieldwall"], at)
    _films(partners["cinebox"], at)
    backup = _backup(partners["cloudvault"], at)
    home = _bundle([(plans["fiber-1000"], 6_900), (security, 599), (backup, 499)], at)
    _package([(security, 599), (backup, 499)], at)
    for plan in PLANS:
        _label(plans[plan.code], plan, at)
    _label(home, next(plan for plan in PLANS if plan.code == "fiber-1000"), at)


def _addons(at: datetime) -> ProductOffering:
    extra = publishing.create_offering(
        code="extra-address",
        name="Extra IP address",
        kind=Kind.ADDON,
        addon_type=ProductOffering.Addon.EXTRA_ADDRESS,
        description="One more public address, for one more device.",
        tax_category=TELECOM,
        at=at,
    )
    _price(extra, Charge.RECURRING, "3", "Every month", at)
    static = publishing.create_offering(
        code="static-address",
        name="Static IP address",
        kind=Kind.ADDON,
        addon_type=ProductOffering.Addon.STATIC_ADDRESS,
        description="An address that never changes, for a server of your own.",
        tax_category=TELECOM,
        at=at,
    )
    _price(static, Charge.RECURRING, "9", "Every month", at)
    boost = publishing.create_offering(
        code="speed-boost",
        name="Speed boost",
        kind=Kind.ADDON,
        addon_type=ProductOffering.Addon.SPEED_BOOST,
        description="200 Mbit/s more down and 50 Mbit/s more up, for as long as you keep it.",
        download_kbps=200_000,
        upload_kbps=50_000,
        tax_category=TELECOM,
        at=at,
    )
    _price(boost, Charge.RECURRING, "10", "Every month", at)
    return extra


def _more_data(plan: ProductOffering, amount: str, at: datetime) -> None:
    """Sell 200 GB more for a plan, for what is left of the billing period."""
    pack = publishing.create_offering(
        code=f"{plan.code}-200-gb",
        name="200 GB more",
        kind=Kind.ADDON,
        addon_type=ProductOffering.Addon.DATA_PACK,
        description="For when a month needs more than usual. It is there at once.",
        tax_category=TELECOM,
        at=at,
    )
    _price(
        pack, Charge.ONE_OFF, amount, "200 GB more", at, pack_for=plan, pack_unit="byte",
        pack_units=200 * GB,
    )  # fmt: skip


def _access(
    plan: _Plan, partners: dict[str, Partner], extra_address: ProductOffering, at: datetime
) -> ProductOffering:
    provider = partners[plan.provider]
    offering = publishing.create_offering(
        code=plan.code,
        name=plan.name,
        kind=Kind.ACCESS,
        provider=provider,
        technology=plan.technology,
        download_kbps=plan.down * 1_000,
        upload_kbps=plan.up * 1_000,
        subscriber_kind="business" if plan.for_business else "",
        tax_category=TELECOM,
        at=at,
    )
    _price(offering, Charge.RECURRING, plan.month, "Every month", at)
    if Decimal(plan.once):
        _price(offering, Charge.ONE_OFF, plan.once, "Installation", at)
    if plan.allowance_tb:
        _price(
            offering, Charge.USAGE, "2", "Traffic beyond the allowance", at, unit="byte",
            allowance=plan.allowance_tb * TB, block_size=10 * GB, counts_started_blocks=True,
        )  # fmt: skip
    if Decimal(plan.wholesale):
        publishing.set_settlement_term(
            offering=offering,
            role=Role.NETWORK_PROVIDER,
            partner=provider,
            basis=Basis.FIXED,
            amount=Decimal(plan.wholesale),
            at=at,
        )
    publishing.set_entitlement(
        offering=offering,
        policy=plan.policy,
        ipv4_addresses=plan.addresses,
        static_addresses=plan.static,
        extra_address=None if plan.policy == Policy.DENY else extra_address,
        at=at,
    )
    return offering


def _security(shieldwall: Partner, at: datetime) -> ProductOffering:
    suite = _product(
        shieldwall, "70", at,
        code="shieldwall-family",
        name="ShieldWall Family",
        description="Protection against malware and fraud for every device at home.",
        is_subscription=True,
    )  # fmt: skip
    _price(suite, Charge.RECURRING, "5.99", "Every month", at)
    return suite


def _films(cinebox: Partner, at: datetime) -> None:
    film = _product(
        cinebox, "80", at,
        code="cinebox-film",
        name="Cinebox film",
        description="One film tonight, in 4K, for 48 hours.",
        needs_download_kbps=15_000,
    )  # fmt: skip
    _price(film, Charge.ONE_OFF, "4.99", "One film", at)
    stream = _product(
        cinebox, "80", at,
        code="cinebox-stream",
        name="Cinebox by the minute",
        description="Series and sport: the more you watch, the less a minute costs.",
        is_subscription=True,
        needs_download_kbps=8_000,
        needs_low_latency=True,
    )  # fmt: skip
    _price(
        stream, Charge.USAGE, "0.02", "Minutes watched", at, unit="minute", allowance=30,
        tiers=[
            {"up_to": 600, "amount": "0.02"},
            {"up_to": 1_800, "amount": "0.015"},
            {"up_to": None, "amount": "0.01"},
        ],
    )  # fmt: skip


def _backup(cloudvault: Partner, at: datetime) -> ProductOffering:
    vault = _product(
        cloudvault, "65", at,
        code="cloudvault-home",
        name="CloudVault Home",
        description="Backup of your computers: 50 GB included, more as you need it.",
        is_subscription=True,
        needs_download_kbps=2_000,
    )  # fmt: skip
    _price(vault, Charge.RECURRING, "4.99", "Every month", at)
    _price(
        vault, Charge.USAGE, "0.50", "Backup beyond 50 GB", at, unit="gigabyte", allowance=50,
        block_size=10, counts_started_blocks=True,
    )  # fmt: skip
    return vault


def _product(bsp: Partner, percent: str, at: datetime, **facts: Any) -> ProductOffering:
    """Publish a partner's product; the partner gets this percentage of what is paid for it."""
    offering = publishing.create_offering(
        kind=Kind.BSP, provider=bsp, tax_category=DIGITAL, at=at, **facts
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


def _bundle(components: list[tuple[ProductOffering, int]], at: datetime) -> ProductOffering:
    bundle = publishing.create_offering(
        code="harbor-home",
        name="Harbor Home",
        kind=Kind.BUNDLE,
        description="Gigabit fiber, protection for every device and backup, in one price.",
        tax_category=TELECOM,
        at=at,
    )
    publishing.define_bundle(bundle=bundle, components=components, at=at)
    _price(bundle, Charge.RECURRING, "74.99", "Every month", at)
    return bundle


def _package(components: list[tuple[ProductOffering, int]], at: datetime) -> None:
    """Sell products of two partners for a line that is there, at one price."""
    package = publishing.create_offering(
        code="safe-at-home",
        name="Safe at Home",
        kind=Kind.PACKAGE,
        description="Protection for every device and backup of your computers, in one price.",
        tax_category=DIGITAL,
        is_subscription=True,
        at=at,
    )
    publishing.define_bundle(bundle=package, components=components, at=at)
    _price(package, Charge.RECURRING, "8.99", "Every month", at)


def _label(offering: ProductOffering, line: _Plan, at: datetime) -> None:
    """Publish the broadband label of a plan, or of a bundle with that plan's line in it."""
    download, upload, latency = line.typical
    labelling.set_label(
        offering=offering,
        typical_download_kbps=download * 1_000,
        typical_upload_kbps=upload * 1_000,
        typical_latency_ms=latency,
        contract_months=line.contract_months,
        early_termination_fee=Decimal(line.termination_fee) if line.termination_fee else None,
        at=at,
    )


def _price(
    offering: ProductOffering, charge: str, amount: str, name: str, at: datetime, **facts: Any
) -> None:
    publishing.set_price(
        offering=offering, charge=charge, amount=Decimal(amount), name=name, at=at, **facts
    )
