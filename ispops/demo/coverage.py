"""Where the demo ISP's three networks reach: different by area, and with ports that run out.

Like a real footprint it has a network of the ISP's own in some cities, a cable network in others,
copper nearly everywhere, and places that nobody reaches. All of it is by H3 cell; a stable hash of
the cell stands for what a survey would have found there.
"""

import zlib
from collections.abc import Iterable, Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any

from ispops.catalog.models import Technology
from ispops.parties.models import Partner
from qualification import coverage
from qualification.models import Premises

FIBER_REGIONS = frozenset({"CT", "MA", "VT", "MD", "DC", "VA", "PA"})
CABLE_REGIONS = frozenset({"CT", "MA", "MD", "DC", "TN", "KY", "GA", "FL", "AL", "OK", "IN"})
DSL_REGIONS = CABLE_REGIONS | frozenset({"VT", "AR", "NC", "SC", "LA", "OH", "NM"})
# Cities whose only fiber node is small or full, so that a port can be the last one or missing.
SMALL_NODES = {"Annapolis": 2, "Glen Burnie": 0}
PORTS_A_CITY = 400

Cell = tuple[str, str, str]


def load(*, at: datetime) -> None:
    """Import nodes, ports and coverage as each provider would send them."""
    places = Premises.objects.exclude(h3_res8="").order_by("region", "city", "h3_res8")
    cells = list(places.values_list("h3_res8", "region", "city").distinct())
    _load("harbor-fiber", Technology.FIBRE, FIBER_REGIONS, cells, _fiber, at)
    _load("tidewater-cable", Technology.CABLE, CABLE_REGIONS, cells, _cable, at)
    _load("copperline", Technology.COPPER, DSL_REGIONS, cells, _dsl, at)


def _load(
    code: str,
    technology: int,
    regions: frozenset[str],
    cells: Iterable[Cell],
    facts: Any,
    at: datetime,
) -> None:
    provider = Partner.objects.get(code=code)
    reached: dict[str, Cell] = {}
    for cell in cells:
        # A cell on a city's border is listed once, for the first city that it is found in.
        if cell[1] in regions:
            reached.setdefault(cell[0], cell)
    for name, city in sorted({(_node(cell), cell[2]) for cell in reached.values()}):
        ports = SMALL_NODES.get(city, PORTS_A_CITY) if code == "harbor-fiber" else PORTS_A_CITY
        coverage.create_node(
            provider=provider, name=name, technology=technology, ports=ports, at=at
        )
    rows = _rows(technology, reached.values(), facts)
    coverage.import_coverage(rows=rows, provider=provider, at=at)


def _rows(technology: int, cells: Iterable[Cell], facts: Any) -> Iterator[dict[str, Any]]:
    for cell in cells:
        yield {
            "technology": technology,
            "h3_res8": cell[0],
            "node": _node(cell),
            **facts(zlib.crc32(cell[0].encode())),
        }


def _node(cell: Cell) -> str:
    return f"{cell[1]} {cell[2]} 1"


def _fiber(chance: int) -> dict[str, Any]:
    facts = {
        "max_download_kbps": 2_000_000,
        "max_upload_kbps": 2_000_000,
        "low_latency": True,
        "install_days": 5,
    }
    if chance % 7 == 0:
        facts |= {"construction_fee": Decimal(350), "construction_days": 45}
    return facts


def _cable(chance: int) -> dict[str, Any]:
    fast = chance % 5 != 0
    return {
        "max_download_kbps": 1_200_000 if fast else 300_000,
        "max_upload_kbps": 35_000 if fast else 10_000,
        "low_latency": True,
        "install_days": 3,
    }


def _dsl(chance: int) -> dict[str, Any]:
    return {
        "max_download_kbps": 100_000,
        "max_upload_kbps": 40_000,
        "low_latency": True,
        "install_days": 8,
        "loop_length_m": 250 + chance % 5_000,
    }
