"""Where the demo ISP's three networks reach: different by area, and with ports that run out.

Like a real footprint it has the ISP's own fiber in some states, a cable network in others, copper
nearly everywhere, and states that nobody reaches. Most of it is by H3 cell, where a stable hash of
the cell stands for what a survey would have found; fiber outside its home states, and the houses
that it passes by, are by premises.
"""

import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from ispops.catalog.models import Technology
from ispops.demo import survey
from ispops.parties.models import Partner
from qualification import coverage, ports
from qualification.models import CoverageArea, Premises

FIBER, CABLE, DSL = "harbor-fiber", "tidewater-cable", "copperline"
FIBER_STATES = frozenset({"CT", "DC", "MA", "MD", "PA", "VA", "VT"})
DSL_STATES = frozenset(
    {"AL", "AR", "CA", "CO", "CT", "GA", "IL", "IN", "KY", "LA", "MD", "OH", "OK", "TN", "VT"}
)
# Nobody reaches AK, AZ, ID, MN, NM, OR and TX; in one of them fiber is to be built by that day.
PLANNED_STATE, PLANNED_DATE = "ID", date(2027, 9, 30)
# In these cities fiber goes to some buildings only.
FIBER_BUILDINGS = frozenset({("IN", "Bloomington"), ("OH", "Dublin")})
SMALLEST_CITY = 5
PORTS_OF_A_NODE = 48
# A node where two lines are left, and one whose ports were all taken before this system was.
SMALL_NODE = ("MD Annapolis", 2)
FULL_NODE = ("MD Glen Burnie", 4)


@dataclass(frozen=True, slots=True)
class _Cell:
    """An H3 cell with places in it, the state, and the node that serves it."""

    index: str
    region: str
    node: str

    @property
    def chance(self) -> int:
        return survey.chance(self.index)


def load(*, at: datetime) -> None:
    """Import nodes, ports and coverage as each network would send them; once."""
    if CoverageArea.objects.exists():
        return
    cells = _cells()
    _load_cells(FIBER, Technology.FIBRE, FIBER_STATES, cells, at)
    _load_cells(CABLE, Technology.CABLE, survey.CABLE_STATES, cells, at)
    _load_cells(DSL, Technology.COPPER, DSL_STATES, cells, at)
    fiber = Partner.objects.get(code=FIBER)
    coverage.import_coverage(rows=_fiber_by_premises(), provider=fiber, at=at)
    coverage.import_coverage(rows=_planned_fiber(cells), provider=fiber, at=at)
    _fill_node(fiber, at)


def _cells() -> list[_Cell]:
    """Return all cells with places; a city of some size has a node, the rest of a state one."""
    places = Premises.objects.exclude(h3_res8="").order_by("region", "city", "h3_res8")
    listed = list(places.values_list("h3_res8", "region", "city").distinct())
    sizes = Counter((region, city) for _, region, city in listed)
    first: dict[str, _Cell] = {}
    for index, region, city in listed:
        node = city if sizes[region, city] >= SMALLEST_CITY else "country"
        first.setdefault(index, _Cell(index, region, f"{region} {node}"))
    return list(first.values())


def _load_cells(
    code: str, technology: int, states: frozenset[str], cells: list[_Cell], at: datetime
) -> None:
    provider = Partner.objects.get(code=code)
    reached = [cell for cell in cells if cell.region in states and _facts(technology, cell)]
    # Only the ISP's own network tells how many ports it has; the others are asked by order.
    if code == FIBER:
        sizes = dict((SMALL_NODE, FULL_NODE))
        for name in sorted({cell.node for cell in reached}):
            coverage.create_node(
                provider=provider,
                name=name,
                technology=technology,
                ports=sizes.get(name, PORTS_OF_A_NODE),
                at=at,
            )
    rows = (
        {"technology": technology, "h3_res8": cell.index, **(_facts(technology, cell) or {})}
        | ({"node": cell.node} if code == FIBER else {})
        for cell in reached
    )
    coverage.import_coverage(rows=rows, provider=provider, at=at)


def _facts(technology: int, cell: _Cell) -> dict[str, Any] | None:
    """Return what a survey found in a cell; None where the network does not reach it."""
    surveys: dict[int, Callable[[_Cell], dict[str, Any] | None]] = {
        Technology.FIBRE: lambda cell: _fiber(cell.chance),
        Technology.CABLE: lambda cell: survey.cable(cell.region, cell.index),
        Technology.COPPER: lambda cell: _dsl(cell.chance),
    }
    return surveys[technology](cell)


def _fiber(chance: int) -> dict[str, Any] | None:
    if chance % 10 < 2:
        return None
    facts: dict[str, Any] = {
        "max_download_kbps": 2_000_000, "max_upload_kbps": 2_000_000, "install_days": 5,
    }  # fmt: skip
    if chance % 10 == 2:
        facts |= {"construction_fee": Decimal(350), "construction_days": 45}
    return facts


def _dsl(chance: int) -> dict[str, Any]:
    return {
        "max_download_kbps": 100_000,
        "max_upload_kbps": 40_000,
        "install_days": 10,
        "loop_length_m": 250 + chance % 4_500,
    }


def _fiber_by_premises() -> Iterator[dict[str, Any]]:
    """Yield the buildings away from home that have fiber, and houses at home that have none."""
    fiber = {"technology": Technology.FIBRE, "install_days": 5}
    gigabit = fiber | {"max_download_kbps": 1_000_000, "max_upload_kbps": 1_000_000}
    passed_by = fiber | {"max_download_kbps": 0, "max_upload_kbps": 0}
    for place in Premises.objects.filter(source=Premises.Source.IMPORTED).order_by("match_key"):
        if (place.region, place.city) in FIBER_BUILDINGS and place.unit:
            yield gigabit | {"premises": place}
        elif place.region == "VT" and zlib.crc32(place.match_key.encode()) % 9 == 0:
            yield passed_by | {"premises": place}


def _planned_fiber(cells: list[_Cell]) -> Iterator[dict[str, Any]]:
    """Yield what the ISP is going to build: nothing can be ordered on it yet."""
    for cell in cells:
        if cell.region == PLANNED_STATE:
            yield {
                "technology": Technology.FIBRE, "h3_res8": cell.index,
                "max_download_kbps": 2_000_000, "max_upload_kbps": 2_000_000,
                "planned_date": PLANNED_DATE,
            }  # fmt: skip


def _fill_node(fiber: Partner, at: datetime) -> None:
    """Take all ports of one node, for lines that are older than this system."""
    name, count = FULL_NODE
    area = CoverageArea.objects.filter(provider=fiber, node__name=name).first()
    place = Premises.objects.filter(h3_res8=area.h3_res8).first() if area else None
    if place is None:
        return
    for number in range(1, count + 1):
        ports.reserve_port(
            premises=place, provider=fiber, technology=Technology.FIBRE, at=at,
            service_ref=f"before-{number}",
        )  # fmt: skip
