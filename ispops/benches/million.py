"""A network of up to a million places and more, made from the demonstration's real ones.

Every street of the demonstration gets further numbers, some of them buildings with units, within
the H3 cells of its real places; so streets, cities, ZIP codes, cells and coverage are as unevenly
spread as in life. They go in past the verbs, by COPY, because they are not what is measured.
"""

import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import count as counting
from itertools import islice

import h3
from django.db import connection

from ispops import bulk
from ispops.catalog.models import Technology
from ispops.db import uuid7
from ispops.demo import catalogue, coverage, people, places
from ispops.parties import partners
from ispops.parties.models import Partner
from qualification.models import Premises

# FCC location ids have ten digits; a place that was made up has the first one plus its number.
FIRST_LOCATION = 1_000_000_000
UNITS_OF_A_BUILDING = 4
_COLUMNS = (
    "id", "location_id", "street", "unit", "city", "region", "postal_code", "match_key",
    "latitude", "longitude", "h3_res8", "source", "created_at",
)  # fmt: skip
_AREA_COLUMNS = (
    "provider_id", "technology", "premises_id", "h3_res8", "max_download_kbps", "max_upload_kbps",
    "low_latency", "install_days", "construction_fee", "construction_days", "valid_from",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Street:
    """A street of the demonstration, in one ZIP code, with its real places."""

    name: str
    key: str
    city: str
    region: str
    postal_code: str


def load(count: int, *, at: datetime) -> None:
    """Make the demonstration's network, and places until there are `count`.

    One in ten of those made up has fiber of its own by a location list, where the network of its
    H3 cell is another; so answers rest on both kinds of coverage.
    """
    load_demo(at=at)
    wanted = count - Premises.objects.count()
    _copy(Premises._meta.db_table, _COLUMNS, islice(_places(at), max(0, wanted)))
    _list_fiber(at)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def load_demo(*, at: datetime) -> None:
    """Make the demonstration's partners, places, coverage and catalogue, without its people."""
    for planned in people.PARTNERS:
        partners.create_partner(
            code=planned.code, name=planned.name, kind=planned.kind, is_on_net=planned.is_on_net,
            at=at,
        )  # fmt: skip
    for part in (places, coverage, catalogue):
        part.load(at=at)


def some(count: int) -> list[Premises]:
    """Return so many of the places that were made up, evenly spread over all of them.

    There are fewer where there are not so many.
    """
    made = Premises.objects.filter(location_id__startswith="1").count()
    step = max(1, made // count)
    wanted = [str(FIRST_LOCATION + number) for number in range(0, made, step)][:count]
    return list(Premises.objects.filter(location_id__in=wanted).order_by("location_id"))


def _streets() -> list[tuple[_Street, list[Premises]]]:
    grouped: dict[_Street, list[Premises]] = defaultdict(list)
    for place in Premises.objects.exclude(h3_res8="").order_by("match_key", "unit"):
        number, _, name = place.street.partition(" ")
        line, _, rest = place.match_key.partition(", ")
        if number.isdigit():
            key = f"{line.partition(' ')[2]}, {rest}"
            street = _Street(name, key, place.city, place.region, place.postal_code)
            grouped[street].append(place)
    return list(grouped.items())


def _places(at: datetime) -> Iterator[tuple[object, ...]]:
    """Yield rows of new places for ever, one number of every street in turn."""
    chance = random.Random(1)
    streets = _streets()
    taken = {place.match_key for _, real in streets for place in real}
    locations = counting(FIRST_LOCATION)
    for number in counting(1):
        for street, real in streets:
            key = f"{number} {street.key}"
            if key in taken:
                continue
            guide = real[number % len(real)]
            units = UNITS_OF_A_BUILDING if number % 20 == 0 else 0
            for unit in range(1, units + 1) if units else (0,):
                latitude, longitude = _near(guide, chance)
                yield (
                    uuid7(), next(locations), f"{number} {street.name}", f"#{unit}" if unit else "",
                    street.city, street.region, street.postal_code, key, latitude, longitude,
                    guide.h3_res8, Premises.Source.IMPORTED, at,
                )  # fmt: skip


def _near(guide: Premises, chance: random.Random) -> tuple[float, float]:
    """Return a point within some fifty meters of a place, in its cell."""
    latitude, longitude = float(guide.latitude or 0), float(guide.longitude or 0)
    for _ in range(3):
        point = (
            round(latitude + chance.uniform(-0.0005, 0.0005), 6),
            round(longitude + chance.uniform(-0.0005, 0.0005), 6),
        )
        if h3.latlng_to_cell(*point, 8) == guide.h3_res8:
            return point
    return latitude, longitude


def _list_fiber(at: datetime) -> None:
    fiber = Partner.objects.get(code=coverage.FIBER)
    made = Premises.objects.filter(location_id__startswith="1")
    made = made.exclude(region__in=coverage.FIBER_STATES)
    keys = made.filter(location_id__endswith="7").order_by("pk").values_list("pk", flat=True)
    facts = ("", 1_000_000, 1_000_000, True, 5, 0, 0, at)
    rows = ((fiber.pk, int(Technology.FIBRE), key, *facts) for key in keys)
    _copy("qualification_coveragearea", _AREA_COLUMNS, rows)


def _copy(table: str, columns: tuple[str, ...], rows: Iterator[tuple[object, ...]]) -> None:
    while portion := list(islice(rows, 50_000)):
        bulk.copy_rows(table, columns, portion)
