"""Reads that find places among all that are known: by address, street, city or point.

A network knows a million places, so each query is answered from an index and reads no more rows
than a street, a building or a neighbourhood has. Only what the location lists hold is found, so
that nobody learns which addresses others have asked for.
"""

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

import h3
from django.db import connection
from django.db.models import Case, FloatField, IntegerField, Q, QuerySet, When
from django.db.models.functions import Cast, Power

from qualification import countries
from qualification.addresses import Address, Beginning, likeness, natural_order
from qualification.models import Premises

# Less has been typed than anything can be told from.
LEAST_TYPED = 3
# So many places are offered to pick from; more than anybody reads.
MOST_CANDIDATES = 100
# A city of more postal codes has too many streets to look for a misspelt one in all of them.
MOST_POSTAL_CODES = 8
_MOST_STREETS = 2_000
_MOST_ON_A_STREET = 1_000
_RESOLUTION = 8
_METRES_OF_A_DEGREE = 111_000

# Streets, cities and postal codes are read off the indexes from one to the next, without the
# places of each: a thousand times fewer steps. Each found street comes with one of its places.
_STREETS: Final = """
WITH RECURSIVE street(begun, key) AS (
    SELECT begun, (SELECT street_key FROM qualification_premises
                   WHERE source = 'imported' AND street_key >= begun
                   ORDER BY street_key LIMIT 1)
    FROM unnest(%(begun)s::text[]) AS begun
    UNION ALL
    SELECT begun, (SELECT street_key FROM qualification_premises
                   WHERE source = 'imported' AND street_key > key
                   ORDER BY street_key LIMIT 1)
    FROM street WHERE starts_with(key, begun)
)
SELECT place.* FROM (SELECT key FROM street WHERE starts_with(key, begun) LIMIT %(most)s) found
CROSS JOIN LATERAL (SELECT * FROM qualification_premises
                    WHERE source = 'imported' AND street_key = key
                    LIMIT 1) place
"""
_STREETS_THERE: Final = """
WITH RECURSIVE street(code, key) AS (
    SELECT code, (SELECT street_key FROM qualification_premises
                  WHERE postal_code = code AND source = 'imported' AND street_key >= %(begun)s
                  ORDER BY street_key LIMIT 1)
    FROM unnest(%(codes)s::text[]) AS code
    UNION ALL
    SELECT code, (SELECT street_key FROM qualification_premises
                  WHERE postal_code = code AND source = 'imported' AND street_key > key
                  ORDER BY street_key LIMIT 1)
    FROM street WHERE starts_with(key, %(begun)s)
)
SELECT place.* FROM
    (SELECT code, key FROM street WHERE starts_with(key, %(begun)s) LIMIT %(most)s) found
CROSS JOIN LATERAL (SELECT * FROM qualification_premises
                    WHERE postal_code = code AND source = 'imported' AND street_key = key
                    LIMIT 1) place
"""
_LOCALITIES: Final = """
WITH RECURSIVE locality(key) AS (
    SELECT (SELECT locality_key FROM qualification_premises
            WHERE source = 'imported' AND locality_key >= %(begun)s
            ORDER BY locality_key LIMIT 1)
    UNION ALL
    SELECT (SELECT locality_key FROM qualification_premises
            WHERE source = 'imported' AND locality_key > key
            ORDER BY locality_key LIMIT 1)
    FROM locality WHERE starts_with(key, %(begun)s)
)
SELECT key FROM locality WHERE starts_with(key, %(begun)s) LIMIT %(most)s
"""

# Every city with its postal codes; what a place of it has is one step for each of them.
_CITIES: Final = """
WITH RECURSIVE city(key) AS (
    SELECT (SELECT locality_key FROM qualification_premises
            WHERE source = 'imported' ORDER BY locality_key LIMIT 1)
    UNION ALL
    SELECT (SELECT locality_key FROM qualification_premises
            WHERE source = 'imported' AND locality_key > key ORDER BY locality_key LIMIT 1)
    FROM city WHERE key IS NOT NULL
)
SELECT key, (SELECT postal_code FROM qualification_premises
             WHERE source = 'imported' AND locality_key = key LIMIT 1)
FROM city WHERE key IS NOT NULL
"""
# What finding a place needs of it, which is a quarter of the work of reading all.
_NEEDED = (
    "id", "location_id", "street", "unit", "city", "region", "postal_code", "match_key", "h3_res8",
    "source",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Localities:
    """The ends of all keys, as `BARRE, VT 05641`: those of a postal code, and all in order.

    With them the keys of all places that `premises_matching` looks for are known, so that many
    addresses can be looked up by whole keys in one query.
    """

    of_code: dict[str, list[str]]
    ordered: list[str]

    def keys_of_code(self, reading: Address) -> list[str]:
        """Return the keys of all places of a reading's street, number and postal code."""
        return [f"{reading.street}, {end}" for end in self.of_code.get(reading.postal_code, ())]

    def keys(self, reading: Address) -> Iterator[str]:
        """Yield the keys that places have which a reading may mean."""
        yield from self.keys_of_code(reading)
        if reading.city:
            begun = reading.key_before_postal_code.removeprefix(f"{reading.street}, ")
            for ending in self.ordered[bisect_left(self.ordered, begun) :]:
                if not ending.startswith(begun):
                    return
                yield f"{reading.street}, {ending}"


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A place to choose while typing, or a street whose number still lacks and has no id."""

    text: str
    premises_id: str = ""


@dataclass(frozen=True, slots=True)
class Nearby:
    """A place and how far it is from the point that was asked for."""

    premises: Premises
    distance_m: int


def suggest(text: str, limit: int = 8) -> list[Suggestion]:
    """Return how an address may go on that somebody is typing, places before streets."""
    begun = countries.here().beginnings(text)
    found = [Suggestion(str(row), row.public_id) for row in _begun_places(begun, limit)]
    if len(found) < limit:
        found += [Suggestion(_street_in_words(row)) for row in _begun_streets(begun, limit)]
    return found[:limit]


def beginning_with(begun: Beginning) -> Q:
    """Return the condition that the key of a place, or of its street, begins so."""
    key = "match_key__startswith" if begun.has_number else "street_key__startswith"
    condition = Q(**{key: begun.key})
    if begun.unit:
        condition &= Q(unit__startswith=begun.unit)
    if begun.postal_code:
        condition &= Q(postal_code=begun.postal_code)
    return condition


def premises_matching(readings: Sequence[Address]) -> list[Premises]:
    """Return the known places that an address may mean, best first; empty when there is none.

    The street must be one of the readings' streets, and the ZIP code or the city must be theirs;
    so a city by another of its names is found by its ZIP code, and a wrong ZIP code by the city.
    One query.
    """
    place = Q()
    for reading in readings:
        begins = Q(match_key__startswith=f"{reading.street}, ")
        if reading.postal_code:
            place |= begins & Q(postal_code=reading.postal_code)
        if reading.city:
            place |= Q(match_key__startswith=reading.key_before_postal_code)
    units = {reading.unit for reading in readings if reading.unit}
    found = (
        _listed()
        .filter(place)
        .annotate(
            other_unit=Case(When(unit__in=units, then=0), default=1, output_field=IntegerField())
        )
    )
    rows = found.order_by("other_unit", "match_key", "unit")[: MOST_CANDIDATES + 1]
    return _ranked(list(rows), readings)


def localities() -> Localities:
    """Read the ends of all keys of listed places; some ten milliseconds for a thousand."""
    of_code: defaultdict[str, list[str]] = defaultdict(list)
    with connection.cursor() as cursor:
        cursor.execute(_CITIES)
        found = cursor.fetchall()
    for ending, postal_code in found:
        of_code[postal_code].append(ending)
    return Localities(of_code, sorted(ending for ending, _ in found))


def premises_matching_each(
    asked: Sequence[Sequence[Address]], known: Localities
) -> list[list[Premises]]:
    """Return for each of many addresses what `premises_matching` does, in one query for all.

    A place in a city that `known` does not have is not found.
    """
    keys = [{key for reading in readings for key in known.keys(reading)} for readings in asked]
    places = _by_key(set().union(*keys))
    return [
        _ranked([row for key in wanted for row in places.get(key, ())], readings)
        for wanted, readings in zip(keys, asked, strict=True)
    ]


def first_matching_each(asked: Sequence[Address], known: Localities) -> list[list[Premises]]:
    """Return for each of many addresses the places of its street, number and postal code."""
    keys = [list(known.keys_of_code(reading)) for reading in asked]
    places = _by_key({key for wanted in keys for key in wanted})
    return [[row for key in wanted for row in places.get(key, ())] for wanted in keys]


def _by_key(keys: set[str]) -> dict[str, list[Premises]]:
    places: defaultdict[str, list[Premises]] = defaultdict(list)
    for row in _listed().filter(match_key__one_of=keys).only(*_NEEDED):
        places[row.match_key].append(row)
    return places


def on_street(address: Address) -> list[Premises]:
    """Return the places of the address's street in its postal code that have an area."""
    rows = _listed().filter(
        postal_code=address.postal_code, street_key__startswith=f"{address.street_name}, "
    )
    # A street is some hundred places, and to read these takes as long as to read all else.
    rows = rows.defer("latitude", "longitude", "created_at")
    return list(rows.exclude(h3_res8="").order_by("street_key")[:_MOST_ON_A_STREET])


def of_street(row: Premises) -> list[Premises]:
    """Return the listed places of the street of one of them that have an area."""
    rows = _listed().filter(street_key=row.street_key).exclude(h3_res8="")
    return list(rows[:_MOST_ON_A_STREET])


def streets_of(postal_codes: Iterable[str], begun: str = "") -> list[Premises]:
    """Return one place of each street of some postal codes, in the order of the streets."""
    parameters = {"codes": list(postal_codes), "begun": begun, "most": _MOST_STREETS}
    return list(Premises.objects.raw(_STREETS_THERE, parameters))


def postal_codes_of(address: Address) -> list[str]:
    """Return the postal codes of the address's city; none when it has more than a few."""
    begun = address.key_before_postal_code.removeprefix(f"{address.street}, ")
    with connection.cursor() as cursor:
        cursor.execute(_LOCALITIES, {"begun": begun, "most": MOST_POSTAL_CODES + 1})
        found = [key.removeprefix(begun) for (key,) in cursor.fetchall()]
    return found if len(found) <= MOST_POSTAL_CODES else []


def spelt_alike(address: Address, streets: Iterable[Premises]) -> list[Premises]:
    """Return those of the streets whose name the address may mean, the likeliest first."""
    essence = countries.here().essence
    wanted = essence(address.street_name)
    alike = []
    for row in streets:
        name = row.street_key.partition(", ")[0]
        if found := likeness(wanted, essence(name)):
            alike.append((-found, -likeness(address.street_name, name), row.street_key, row))
    return [row for *_, row in sorted(alike, key=lambda entry: entry[:3])]


def at_number(address: Address, streets: Sequence[Premises]) -> list[Premises]:
    """Return the places of the address's number on streets, in the order of the streets."""
    keys = [f"{address.house_number} {row.street_key}" for row in streets]
    rows = _listed().filter(match_key__in=keys).order_by("match_key", "unit")[:MOST_CANDIDATES]
    rank = {key: place for place, key in enumerate(keys)}
    return sorted(
        rows,
        key=lambda row: (rank[row.match_key], row.unit != address.unit, natural_order(row.unit)),
    )


def in_other_cities(address: Address) -> list[Premises]:
    """Return places of this street and number in a city spelt alike, or of its name elsewhere."""
    rows = _listed().filter(match_key__startswith=f"{address.street}, ")
    alike = []
    for row in rows.order_by("match_key", "unit")[:_MOST_ON_A_STREET]:
        city = row.locality_key.partition(", ")[0]
        found = likeness(address.city, city)
        if found == 1 or (found and row.region == address.region):
            alike.append((row.region != address.region, -found, row.match_key, row))
    ranked = sorted(alike, key=lambda entry: (*entry[:3], natural_order(entry[3].unit)))
    return [row for *_, row in ranked[:MOST_CANDIDATES]]


def near(
    latitude: Decimal, longitude: Decimal, *, within_m: int | None, limit: int
) -> list[Nearby]:
    """Return the places around a point, the closest first.

    Without a distance those of the point's H3 cell and its neighbours, which is about a kilometre;
    a distance must be less than 400 m, so that these cells hold all of it.
    """
    point = (float(latitude), float(longitude))
    rows = _listed().filter(h3_res8__in=h3.grid_disk(h3.latlng_to_cell(*point, _RESOLUTION), 1))
    if within_m is not None:
        reach = Decimal(within_m) / _METRES_OF_A_DEGREE
        rows = rows.filter(latitude__range=(latitude - reach, latitude + reach))
    found = [Nearby(row, _metres(point, row)) for row in _closest_first(rows, point)[:limit]]
    found.sort(key=lambda place: (place.distance_m, natural_order(place.premises.unit)))
    return [place for place in found if within_m is None or place.distance_m <= within_m]


def _listed() -> QuerySet[Premises]:
    return Premises.objects.filter(source=Premises.Source.IMPORTED)


def _begun_places(begun: Iterable[Beginning], limit: int) -> list[Premises]:
    """Return places whose key begins so: a few of each beginning, in the order of the index."""
    few = [
        _listed().filter(beginning_with(key)).order_by("match_key", "unit")[:limit]
        for key in begun
        if key.has_number
    ]
    if not few:
        return []
    rows = few[0].union(*few[1:], all=True) if len(few) > 1 else few[0]
    order = {row.pk: row for row in rows}.values()
    return sorted(order, key=lambda row: (row.match_key, natural_order(row.unit)))[:limit]


def _begun_streets(begun: Iterable[Beginning], limit: int) -> list[Premises]:
    """Return one place of each street whose key begins so."""
    there = [key for key in begun if not key.has_number]
    anywhere = [key.key for key in there if not key.postal_code]
    found: list[Premises] = []
    if anywhere:
        found += Premises.objects.raw(_STREETS, {"begun": anywhere, "most": limit * len(anywhere)})
    for key in there:
        if key.postal_code:
            found += streets_of([key.postal_code], key.key)[:limit]
    once = {row.street_key: row for row in found}
    return sorted(once.values(), key=lambda row: row.street_key)


def _street_in_words(row: Premises) -> str:
    here = countries.here()
    return here.one_line(
        street=here.without_number(row.street), unit="", city=row.city, region=row.region,
        postal_code=row.postal_code,
    )  # fmt: skip


def _closest_first(rows: QuerySet[Premises], point: tuple[float, float]) -> QuerySet[Premises]:
    """Order places by the square of their distance from a point, on a plane that is true there."""
    narrower = math.cos(math.radians(point[0]))
    north = Cast("latitude", FloatField()) - point[0]
    east = (Cast("longitude", FloatField()) - point[1]) * narrower
    return rows.order_by(Power(north, 2) + Power(east, 2), "match_key", "unit")


def _metres(point: tuple[float, float], row: Premises) -> int:
    where = (float(row.latitude or 0), float(row.longitude or 0))
    return round(h3.great_circle_distance(point, where, unit="m"))


def _ranked(rows: list[Premises], readings: Sequence[Address]) -> list[Premises]:
    """Put places into order, the best first, and leave out those that nobody would read."""
    if len(rows) > MOST_CANDIDATES + 1:
        units = {reading.unit for reading in readings if reading.unit}
        rows.sort(key=lambda row: (row.unit not in units, row.match_key, row.unit))
        del rows[MOST_CANDIDATES + 1 :]
    if len(rows) > 1:
        rows.sort(key=lambda row: (_distance(row, readings), natural_order(row.unit)))
    return rows


def _distance(row: Premises, readings: Sequence[Address]) -> tuple[int, ...]:
    """Rank a place: first by the parts that differ from a reading, then by the reading's rank."""
    street = row.match_key.partition(", ")[0]
    return min(
        (
            int(bool(reading.postal_code) and reading.postal_code != row.postal_code),
            int(reading.unit != row.unit),
            int(not row.match_key.startswith(f"{street}, {reading.city}, ")),
            rank,
        )
        for rank, reading in enumerate(readings)
        if reading.street == street
    )
