"""What the page of demand shows: what was asked for, the table, and the map that goes with it."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self
from urllib.parse import urlencode

import h3
from django.http import QueryDict

from ispops.console import hexmap
from qualification import cells, demand
from qualification.demand import Area, Filters

# By resolution: about how far across a cell is.
SIZES = {3: "120 km", 4: "45 km", 5: "17 km", 6: "6 km", 7: "2.5 km", 8: "1 km"}
KINDS = {
    demand.ALL: "Waiting or turned away",
    demand.WAITING: "Waiting",
    demand.ASKED: "Turned away",
}
# More shapes than this are a blot, and too much for a phone.
MOST_ON_MAP = 800
MOST_BEHIND = 6_000
MOST_WORDS = 30
# Of a file, so many rows are made at a time.
PIECE = 500
_WHOLE_COUNTRY, _ONE_STATE = 3, 5
_SORTS: dict[str, Callable[[Area], Any]] = {
    "area": lambda area: (area.region, area.city, area.postal_code),
    "places": lambda area: area.places,
    "waiting": lambda area: area.waiting,
    "asked": lambda area: area.asked,
    "first": lambda area: area.first_asked_at,
}
COLUMNS = (
    ("area", "Area"),
    ("places", "Places"),
    ("waiting", "Waiting"),
    ("asked", "Turned away"),
    ("first", "First asked"),
)


@dataclass(frozen=True, slots=True)
class Asked:
    """What the address of the page asks for; whatever cannot be used counts as not there."""

    filters: Filters
    resolution: int
    sort: str
    descending: bool

    @classmethod
    def read(cls, query: QueryDict) -> Self:
        region, area = query.get("region", "").upper(), query.get("area", "")
        kind = query.get("kind", "")
        filters = Filters(
            region=region if len(region) == 2 and region.isalpha() and region.isascii() else "",
            area=area if cells.is_cell(area) else "",
            kind=kind if kind in KINDS else demand.ALL,
        )
        size, sort = query.get("size", ""), query.get("sort", "-places")
        if sort.removeprefix("-") not in _SORTS:
            sort = "-places"
        return cls(
            filters=filters,
            resolution=int(size) if size in map(str, SIZES) else _usual_resolution(filters),
            sort=sort.removeprefix("-"),
            descending=sort.startswith("-"),
        )

    def link(self, **changes: str) -> str:
        """Return the address of this page with some of what is asked for changed."""
        usual = self.resolution == _usual_resolution(self.filters)
        asked = {
            "region": self.filters.region,
            "area": self.filters.area,
            "kind": "" if self.filters.kind == demand.ALL else self.filters.kind,
            "size": "" if usual else str(self.resolution),
            "sort": "" if self.order == "-places" else self.order,
        }
        return "?" + urlencode({name: value for name, value in (asked | changes).items() if value})

    @property
    def order(self) -> str:
        return f"-{self.sort}" if self.descending else self.sort

    def sorted(self, areas: Iterable[Area]) -> list[Area]:
        return sorted(areas, key=_SORTS[self.sort], reverse=self.descending)


def _usual_resolution(filters: Filters) -> int:
    """Return the size of cells that suits what is looked at: a country, a state, or a cell."""
    if filters.area:
        return min(h3.get_resolution(filters.area) + 2, cells.RESOLUTION)
    return _ONE_STATE if filters.region else _WHOLE_COUNTRY


def summary(areas: Iterable[Area], asked: Asked) -> str:
    """Say in a line how much there is of what was asked for."""
    count = sum(area.places for area in areas)
    turned_away = f"we turned somebody away in the last {demand.ASKED_WITHIN.days} days"
    what = {
        demand.WAITING: "somebody waits",
        demand.ASKED: turned_away,
    }.get(asked.filters.kind, f"somebody waits or {turned_away}")
    return f"{count:,} place{'' if count == 1 else 's'} where {what}"


def headings(asked: Asked) -> list[dict[str, str]]:
    """Return the columns that can be sorted by, each with the link that does it."""
    found = []
    for name, title in COLUMNS:
        chosen = name == asked.sort
        # A first press puts the most on top, and names in order.
        down = not asked.descending if chosen else name not in {"area", "first"}
        found.append(
            {
                "title": title,
                "href": asked.link(sort=f"-{name}" if down else name),
                "sorted": ("descending" if asked.descending else "ascending") if chosen else "",
                "is_number": "1" if name in {"places", "waiting", "asked"} else "",
            }
        )
    return found


def rows(areas: Sequence[Area], asked: Asked) -> list[dict[str, Any]]:
    """Return what a table says of some areas, with the networks around them."""
    near = demand.near(area.cell for area in areas if area.cell)
    cities = demand.cities(area.cell for area in areas if area.cell and not area.city)
    found = []
    for area in areas:
        city, region, postal_code = cities.get(
            area.cell, (area.city, area.region, area.postal_code)
        )
        around = near.get(area.cell, demand.Near())
        closer = area.cell and asked.resolution < cells.RESOLUTION
        found.append(
            {
                "area": area,
                "key": key_of(area),
                "place": place_words(city, region, postal_code),
                "city": city,
                "region": region,
                "postal_code": postal_code,
                "providers": around.providers,
                "planned_date": around.planned_date,
                "closer": asked.link(area=area.cell, size="") if closer else "",
            }
        )
    return found


def key_of(area: Area) -> str:
    """Return the name of an area's row on the page."""
    return f"area-{area.cell}" if area.cell else f"zip-{area.postal_code or 'unknown'}"


def place_words(city: str, region: str, postal_code: str) -> str:
    """Write where an area is: `Anchorage, AK 99501`."""
    state = " ".join(part for part in (region, postal_code) if part)
    return ", ".join(part for part in (city, state) if part) or "Somewhere unknown"


@dataclass(frozen=True, slots=True)
class Map:
    """The drawing with its links, the legend of its shades, and what was left out."""

    drawing: hexmap.Drawing
    shapes: list[dict[str, Any]]
    legend: list[dict[str, Any]]
    left_out: int
    unlocated: int


def draw(ordered: Sequence[Area], asked: Asked, *, page: int, per_page: int) -> Map:
    """Draw the areas that have a cell; each leads to its row, on this page or another one."""
    where = {area.cell: number // per_page + 1 for number, area in enumerate(ordered) if area.cell}
    most_first = sorted((area for area in ordered if area.cell), key=lambda area: -area.places)
    shown = most_first[:MOST_ON_MAP]
    drawing = hexmap.draw(
        [area.cell for area in shown],
        background=_reached_around([area.cell for area in shown], asked.resolution),
        words={area.cell: area.city for area in shown[:MOST_WORDS]},
    )
    highest = hexmap.shades(max((area.places for area in shown), default=0))
    shapes = [
        {
            "path": shape.path,
            "shade": hexmap.shade_of(area.places, highest),
            "href": _row_link(area, asked, here=where[area.cell] == page, page=where[area.cell]),
            "title": _title(area),
        }
        for shape, area in zip(drawing.shapes, shown, strict=True)
    ]
    return Map(
        drawing=drawing,
        shapes=shapes,
        legend=_legend(highest),
        left_out=len(most_first) - len(shown),
        unlocated=sum(area.places for area in ordered if not area.cell),
    )


def _reached_around(shown: Sequence[str], resolution: int) -> list[str]:
    """Return the cells that the networks reach around what is shown, as fine as can be drawn."""
    if not shown:
        return []
    near = cells.around(shown, resolution=max(resolution - 2, 0))
    for size in range(resolution, resolution - 3, -1):
        found = demand.reached(near, resolution=size, limit=MOST_BEHIND)
        if len(found) <= MOST_BEHIND:
            return found
    return []


def _row_link(area: Area, asked: Asked, *, here: bool, page: int) -> str:
    return f"{'' if here else asked.link(page=str(page))}#{key_of(area)}"


def _title(area: Area) -> str:
    where = place_words(area.city, area.region, area.postal_code)
    places = f"{area.places:,} place{'' if area.places == 1 else 's'}"
    return f"{where}: {places}, {area.waiting:,} waiting, {area.asked:,} turned away"


def _legend(highest: Sequence[int]) -> list[dict[str, Any]]:
    """Say in words what each shade stands for: `2 to 4 places`."""
    found, lowest = [], 1
    for shade, limit in enumerate(highest, start=1):
        span = f"{lowest:,}" if lowest == limit else f"{lowest:,} to {limit:,}"
        found.append({"shade": shade, "words": f"{span} place{'' if limit == 1 else 's'}"})
        lowest = limit + 1
    return found


def csv_rows(areas: Sequence[Area], asked: Asked, at: datetime) -> Iterable[list[str]]:
    """Yield the header and the rows of the table as a file, in the order of the page, in pieces."""
    yield [
        "h3_cell", "resolution", "city", "state", "postal_code", "places", "waiting",
        f"turned_away_{demand.ASKED_WITHIN.days}_days", "first_asked_at", "networks_near",
        "planned_date", "as_of",
    ]  # fmt: skip
    pieces = (areas[start : start + PIECE] for start in range(0, len(areas), PIECE))
    for row in (row for piece in pieces for row in rows(piece, asked)):
        area: Area = row["area"]
        yield [
            area.cell, str(asked.resolution) if area.cell else "", row["city"], row["region"],
            row["postal_code"], str(area.places), str(area.waiting), str(area.asked),
            area.first_asked_at.isoformat(), "; ".join(row["providers"]),
            row["planned_date"].isoformat() if row["planned_date"] else "", at.isoformat(),
        ]  # fmt: skip
