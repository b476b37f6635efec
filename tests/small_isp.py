"""A small ISP for tests, made by the same verbs as a real one.

Two networks and one partner: Fast Fibre (on-net) and Old Copper (DSL) reach Oak Street in Barre,
VT; Films sells a subscription. Elm Street in the same town has only copper, and nothing reaches
Stowe.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

import h3

from ispops.catalog import publishing
from ispops.catalog.models import OfferingPrice, ProductOffering, Technology
from ispops.parties import partners
from ispops.parties.models import Partner
from qualification import coverage
from qualification.models import AccessNode, Premises

LAUNCH = datetime(2026, 1, 1, tzinfo=UTC)
OAK = {"city": "Barre", "region": "VT", "postal_code": "05641"}
OAK_POINT = (44.197, -72.502)
ELM_POINT = (44.230, -72.480)
STOWE_POINT = (44.465, -72.687)


@dataclass(frozen=True, slots=True)
class SmallIsp:
    fibre: Partner
    copper: Partner
    films: Partner
    fibre_node: AccessNode
    oak_1: Premises
    elm_1: Premises
    stowe: Premises
    oak_cell: str
    fast: ProductOffering
    office: ProductOffering
    dsl: ProductOffering
    slow_dsl: ProductOffering
    streaming: ProductOffering
    extra_address: ProductOffering
    bundle: ProductOffering


def make_small_isp(*, fibre_ports: int = 4, at: datetime = LAUNCH) -> SmallIsp:
    fibre = make_partner("fast-fibre", "Fast Fibre", Partner.Kind.NETWORK_PROVIDER, at, on_net=True)
    copper = make_partner("old-copper", "Old Copper", Partner.Kind.NETWORK_PROVIDER, at)
    films = make_partner("films", "Films", Partner.Kind.BSP, at)
    node = coverage.create_node(
        provider=fibre, name="barre-1", technology=Technology.FIBRE, ports=fibre_ports, at=at
    )
    oak_cell, elm_cell = cell_of(OAK_POINT), cell_of(ELM_POINT)
    make_places(at)
    coverage.import_coverage(
        provider=fibre,
        at=at,
        rows=[
            {
                "technology": Technology.FIBRE,
                "h3_res8": oak_cell,
                "max_download_kbps": 1_000_000,
                "max_upload_kbps": 1_000_000,
                "install_days": 5,
                "node": node,
            }
        ],
    )
    copper_row = {
        "technology": Technology.COPPER,
        "max_download_kbps": 50_000,
        "max_upload_kbps": 10_000,
        "install_days": 10,
    }
    coverage.import_coverage(
        provider=copper,
        at=at,
        rows=[
            copper_row | {"h3_res8": oak_cell, "loop_length_m": 900},
            copper_row | {"h3_res8": elm_cell, "loop_length_m": 3_000},
        ],
    )
    return SmallIsp(
        fibre=fibre,
        copper=copper,
        films=films,
        fibre_node=node,
        oak_1=place("1 OAK ST"),
        elm_1=place("1 ELM ST"),
        stowe=place("1 ALPINE RD"),
        oak_cell=oak_cell,
        **make_offerings(fibre, copper, films, at),
    )


def make_partner(code: str, name: str, kind: str, at: datetime, *, on_net: bool = False) -> Partner:
    return partners.create_partner(code=code, name=name, kind=kind, is_on_net=on_net, at=at)


def make_places(at: datetime) -> None:
    def point(where: tuple[float, float]) -> dict[str, float]:
        return {"latitude": where[0], "longitude": where[1]}

    stowe = {"city": "Stowe", "region": "VT", "postal_code": "05672"}
    report = coverage.import_premises(
        at=at,
        rows=[
            {"street": "1 Oak Street", **OAK, **point(OAK_POINT)},
            {"street": "3 Oak Street", **OAK, **point(OAK_POINT)},
            {"street": "5 Oak Street", "unit": "Apt 1", **OAK, **point(OAK_POINT)},
            {"street": "5 Oak Street", "unit": "Apt 2", **OAK, **point(OAK_POINT)},
            {"street": "1 Elm Street", **OAK, **point(ELM_POINT)},
            {"street": "1 Alpine Road", **stowe, **point(STOWE_POINT)},
        ],
    )
    assert not report.rejected


def make_offerings(
    fibre: Partner, copper: Partner, films: Partner, at: datetime
) -> dict[str, ProductOffering]:
    def plan(code: str, provider: Partner, technology: int, down: int, up: int, price: str,
             **facts: str) -> ProductOffering:  # fmt: skip
        offering = publishing.create_offering(
            code=code, name=code.replace("-", " ").title(), kind="access", provider=provider,
            technology=technology, download_kbps=down, upload_kbps=up, at=at, **facts,
        )  # fmt: skip
        return priced(offering, price, at)

    fast = plan("fibre-500", fibre, Technology.FIBRE, 500_000, 500_000, "60", )  # fmt: skip
    publishing.set_price(
        offering=fast, charge="one_off", amount=Decimal("49.00"), name="Activation", at=at
    )
    publishing.set_price(
        offering=fast, charge="usage", amount=Decimal(10), unit="byte", block_size=50 * 10**9,
        counts_started_blocks=True, allowance=10**12, at=at,
    )  # fmt: skip
    office = plan(
        "fibre-office", fibre, Technology.FIBRE, 900_000, 900_000, "150",
        subscriber_kind="business",
    )  # fmt: skip
    dsl = plan("dsl-25", copper, Technology.COPPER, 25_000, 3_000, "45")
    slow_dsl = plan("dsl-6", copper, Technology.COPPER, 6_000, 700, "30")
    streaming = publishing.create_offering(
        code="films-streaming", name="Films", kind="bsp", provider=films, is_subscription=True,
        needs_download_kbps=25_000, at=at,
    )  # fmt: skip
    priced(streaming, "12", at)
    extra = publishing.create_offering(
        code="extra-address", name="Extra address", kind="addon", addon_type="extra_address", at=at
    )
    priced(extra, "5", at)
    bundle = publishing.create_offering(
        code="fibre-and-films", name="Fibre and films", kind="bundle", at=at
    )
    publishing.define_bundle(bundle=bundle, components=[(fast, 60), (streaming, 12)], at=at)
    priced(bundle, "68", at)
    publishing.set_entitlement(offering=fast, policy="ask_subscriber", extra_address=extra, at=at)
    return {
        "fast": fast,
        "office": office,
        "dsl": dsl,
        "slow_dsl": slow_dsl,
        "streaming": streaming,
        "extra_address": extra,
        "bundle": bundle,
    }


def priced(offering: ProductOffering, amount: str, at: datetime) -> ProductOffering:
    publishing.set_price(
        offering=offering, charge=OfferingPrice.Charge.RECURRING, amount=Decimal(amount), at=at
    )
    return offering


def place(street: str) -> Premises:
    return Premises.objects.get(match_key__startswith=f"{street}, ")


def cell_of(point: tuple[float, float]) -> str:
    return h3.latlng_to_cell(*point, 8)
