"""Finding the premises that an asker means: known, one of several, or made up from neighbours."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal, InvalidOperation
from statistics import median
from typing import Any
from uuid import uuid4

from ispops.errors import InvalidInput, NotFound
from qualification import addresses, cells, countries, gazetteer, queries
from qualification.addresses import Address, AddressUnparseable
from qualification.gazetteer import MOST_CANDIDATES, Nearby
from qualification.models import Premises, ServiceQualification

Confidence = ServiceQualification.Confidence
# A point means the one place on it, or else the one place close to it.
ON_SPOT_M = 5
CLOSE_M = 40
# So many places around a point are offered to pick from, first of those that can be seen from it.
MOST_NEARBY = 20
IN_SIGHT_M = 250
_REVIEW = "We will confirm the address with you before we install anything."
_MEANT = "Did you mean one of these?"


@dataclass(frozen=True, slots=True)
class Place:
    """What is known of where the asker means: a premises, or candidates, or neither.

    The premises may be one that was made up and is not stored; `store` does that. Candidates that
    are not what was asked for, but alike or close, are `yellow`.
    """

    premises: Premises | None = None
    candidates: list[Premises] = field(default_factory=list)
    # From the point that was asked for, in the order of the candidates; else empty.
    distances_m: list[int] = field(default_factory=list)
    confidence: str = Confidence.GREEN
    remark: str = ""
    # How an address was read that no premises could be found or made up for.
    unknown: Address | None = None
    asked_text: str = ""
    latitude: Decimal | None = None
    longitude: Decimal | None = None

    @property
    def columns(self) -> dict[str, Any]:
        """Where it is, as far as it is known, as an answer keeps it."""
        where = self.premises or self.unknown
        cell = self.premises.h3_res8 if self.premises else ""
        if not where and self.latitude is not None and self.longitude is not None:
            cell = cells.of_point(self.latitude, self.longitude)
        return {
            "h3_res8": cell,
            "city": (self.premises.city if self.premises else where.city.title()) if where else "",
            "region": where.region if where else "",
            "postal_code": where.postal_code if where else "",
            "latitude": self.latitude,
            "longitude": self.longitude,
        }

    @property
    def to_choose_from(self) -> list[dict[str, str | int]]:
        """The candidates as an answer keeps them."""
        rows: list[dict[str, str | int]] = [
            {"id": row.public_id, "address": str(row)} for row in self.candidates
        ]
        for row, metres in zip(rows, self.distances_m, strict=False):
            row["distance_m"] = metres
        return rows


def find(
    *,
    text: str | None = None,
    premises_id: str | None = None,
    location_id: str | None = None,
    latitude: Any = None,
    longitude: Any = None,
    as_written: bool = False,
    at: datetime,
) -> Place:
    """Find the place that is named in one way of several; writes nothing.

    Raises:
        InvalidInput: none of them or several are given, or a value cannot be used.
        AddressUnparseable: the text is no usable address; says what is missing.
        NotFound: there is no place with this id.
    """
    by_point_given = latitude is not None or longitude is not None
    ways = (text is not None, premises_id is not None, location_id is not None, by_point_given)
    if sum(ways) != 1:
        raise InvalidInput(
            "Give one of these: an address, coordinates, a location id or a premises id.",
            field="address",
        )
    if text is not None:
        found = by_text(text, at, as_written=as_written)
        return replace(found, asked_text=" ".join(text.split()))
    if premises_id is not None:
        return by_id(premises_id)
    if location_id is not None:
        return by_location(location_id)
    return by_point(latitude, longitude)


def by_id(premises_id: str) -> Place:
    """Return the place with a public id.

    Raises:
        NotFound: there is no premises with this id.
    """
    key = Premises.key_of(premises_id)
    premises = Premises.objects.filter(pk=key).first() if key else None
    if premises is None:
        raise NotFound("There is no place with this id.", field="premises_id")
    return replace(known(premises), asked_text=str(premises))


def by_location(location_id: str) -> Place:
    """Return the place with a location id of the FCC's fabric, or of the operator's own list.

    Raises:
        NotFound: there is no such place.
    """
    wanted = location_id.strip()
    usable = 0 < len(wanted) <= 40 and wanted.isprintable()
    premises = Premises.objects.filter(location_id=wanted).first() if usable else None
    if premises is None:
        raise NotFound("We know no place with this location id.", field="location_id")
    return replace(known(premises), asked_text=f"Location {wanted}")


def by_point(latitude: Any, longitude: Any) -> Place:
    """Return the place at a point, or those around it to choose from; degrees of WGS 84.

    Raises:
        InvalidInput: a coordinate is missing, is no number, or lies outside the Earth.
    """
    north, east = degrees(latitude, "latitude", 90), degrees(longitude, "longitude", 180)
    return replace(
        _at_point(north, east), asked_text=f"{north}, {east}", latitude=north, longitude=east
    )


def degrees(value: Any, name: str, most: int) -> Decimal:
    """Return a coordinate with the six decimals that are stored, some ten centimetres.

    Raises:
        InvalidInput: it is no number, or not from `-most` to `most`; names the field.
    """
    wrong = InvalidInput(f"Give the {name} in degrees from -{most} to {most}.", field=name)
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise wrong
    try:
        number = Decimal(str(value))
        if not (number.is_finite() and -most <= number <= most):
            raise wrong
        return number.quantize(Decimal("0.000001"))
    except InvalidOperation as error:
        raise wrong from error


def by_text(text: str, at: datetime, *, as_written: bool = False) -> Place:
    """Find the place that an address means, or make one up from its neighbours; writes nothing.

    Where a known place is spelt nearly so, it is offered; `as_written` says that the address is
    right as it is. Whether somebody has asked for the address before makes no difference: a place
    that is on no list is made up anew, and `store` finds that it is there.

    Raises:
        AddressUnparseable: the text is no usable address; says what is missing.
    """
    readings = countries.here().parse(text)
    return meant(readings, gazetteer.premises_matching(readings), at, as_written=as_written)


def meant(
    readings: Sequence[Address], found: Sequence[Premises], at: datetime, *, as_written: bool
) -> Place:
    """Choose among the known places that an address may mean, or go by its neighbours.

    Raises:
        AddressUnparseable: a part is missing that is needed where no place is known.
    """
    if found and (place := _among(found, readings, at, as_written=as_written)):
        return place
    asked = readings[0]
    if not asked.house_number:
        raise countries.here().lacking("house_number")
    if not asked.postal_code:
        return _without_postal_code(asked, as_written=as_written)
    street = gazetteer.on_street(asked)
    if street:
        return _in_range(asked, street) or _by_neighbours(asked, street, at)
    streets = gazetteer.streets_of([asked.postal_code])
    alike = gazetteer.spelt_alike(asked, streets)
    if alike and not as_written and (candidates := gazetteer.at_number(asked, alike)):
        return _guessed(candidates)
    # Where no place has the number, the street that is meant still tells the area.
    near = gazetteer.of_street(alike[0]) if alike else []
    return _by_neighbours(asked, near or streets, at)


def store(place: Place) -> Place:
    """Keep a place that was made up, so that an answer can rest on it.

    Two askers of one new address at once get one place.
    """
    made_up = place.premises
    if made_up is None or not made_up._state.adding:
        return place
    Premises.objects.bulk_create([made_up], ignore_conflicts=True)
    stored = Premises.objects.get(match_key=made_up.match_key, unit=made_up.unit)
    return replace(place, premises=stored)


def _guessed(candidates: Sequence[Premises], why: str = "We do not know this address.") -> Place:
    return Place(
        candidates=list(candidates[:MOST_CANDIDATES]),
        confidence=Confidence.YELLOW,
        remark=f"{why} {_MEANT}",
    )


def _among(
    found: Sequence[Premises], readings: Sequence[Address], at: datetime, *, as_written: bool
) -> Place | None:
    """Choose among listed places of the same street and number, the best of them first.

    None when they are of another postal code, and the asker insists on theirs.
    """
    for reading in readings:
        if just_this := exactly(found, reading):
            return just_this
    asked = readings[0]
    building = [row for row in found if _fits(row, asked)]
    if asked.unit and len({row.match_key for row in building}) == 1:
        remark = f"We know the building, but not {asked.unit} in it. {_REVIEW}"
        place = _new_premises(asked, building[0], at)
        return Place(place, confidence=Confidence.YELLOW, remark=remark)
    if not any(_fits(row, reading) for row in found for reading in readings):
        name = countries.here().POSTAL_CODE
        return None if as_written else _guessed(found, f"The {name} is another one.")
    remark = ""
    if len(found) > MOST_CANDIDATES:
        remark = "There are more. Add the unit, such as #12, to the address."
    return Place(candidates=list(found[:MOST_CANDIDATES]), remark=remark)


def exactly(found: Sequence[Premises], reading: Address) -> Place | None:
    """Return the one place among those that were found that is just what a reading says."""
    here = [row for row in found if _fits(row, reading)]
    exact = [row for row in here if row.unit == reading.unit]
    return Place(exact[0]) if len(exact) == 1 and (reading.unit or len(here) == 1) else None


def _fits(row: Premises, reading: Address) -> bool:
    on_street = row.match_key.startswith(f"{reading.street}, ")
    return on_street and reading.postal_code in ("", row.postal_code)


def known(premises: Premises) -> Place:
    """Return a place that is stored, with what is to be said where nobody has listed it."""
    if premises.source == Premises.Source.IMPORTED:
        return Place(premises)
    remark = f"This address is not on our list yet; the area's coverage was taken. {_REVIEW}"
    return Place(premises, confidence=Confidence.YELLOW, remark=remark)


def _without_postal_code(asked: Address, *, as_written: bool) -> Place:
    """Look for what a city's name or a street's name, if misspelt, may mean; else ask for more."""
    if not as_written:
        if elsewhere := gazetteer.in_other_cities(asked):
            return _guessed(elsewhere)
        streets = gazetteer.streets_of(gazetteer.postal_codes_of(asked))
        if alike := gazetteer.at_number(asked, gazetteer.spelt_alike(asked, streets)):
            return _guessed(alike)
    raise AddressUnparseable(
        f"We do not know this address. Add the {countries.here().POSTAL_CODE}, so that we can "
        "check the area.",
        field="address",
        missing="postal_code",
    )


def _at_point(latitude: Decimal, longitude: Decimal) -> Place:
    close = gazetteer.near(latitude, longitude, within_m=CLOSE_M, limit=MOST_CANDIDATES)
    for reach in (ON_SPOT_M, CLOSE_M):
        within = [place for place in close if place.distance_m <= reach]
        if len(within) == 1:
            return _closest(within[0])
    around = (
        close
        or gazetteer.near(latitude, longitude, within_m=IN_SIGHT_M, limit=MOST_NEARBY)
        or gazetteer.near(latitude, longitude, within_m=None, limit=MOST_NEARBY)
    )
    if not around:
        return Place(remark="We know no address within a kilometer of this point.")
    return Place(
        candidates=[place.premises for place in around],
        distances_m=[place.distance_m for place in around],
        confidence=Confidence.YELLOW,
        remark="These are the addresses closest to the point. Which one is it?",
    )


def _closest(place: Nearby) -> Place:
    if place.distance_m <= ON_SPOT_M:
        return Place(place.premises)
    remark = f"This is the one address close to the point, {place.distance_m} m from it."
    return Place(place.premises, remark=remark)


def _in_range(asked: Address, street: list[Premises]) -> Place | None:
    """Understand a range of numbers, as `10-14`: in what was asked for, or on the list."""
    number = addresses.leading_number(asked.street)
    if over := addresses.number_range(asked.house_number):
        within = [
            row
            for row in street
            if addresses.leading_number(row.match_key) in over
            and not addresses.number_range(addresses.leading_part(row.match_key))
        ]
        if within:
            within.sort(key=lambda row: addresses.natural_order(f"{row.match_key} {row.unit}"))
            return _guessed(within, "We know single addresses there.")
    for row in street:
        over = addresses.number_range(addresses.leading_part(row.match_key))
        if over and number in over and row.unit == asked.unit:
            remark = f"We know this place as {row.street}. {_REVIEW}"
            return Place(row, confidence=Confidence.YELLOW, remark=remark)
    return None


def _by_neighbours(asked: Address, near: list[Premises], at: datetime) -> Place:
    """Accept an unknown address where a listed neighbour of its postal code is covered.

    `near` are places of its street, or of one spelt alike, or else one of each street around.
    """
    near = [row for row in near if row.h3_res8]
    near = [row for row in near if row.locality_key.startswith(f"{asked.city}, ")] or near
    on_street = len({row.street_key for row in near}) == 1
    guide = _nearest_number(asked, near) if on_street else _middle(near)
    if guide is None or not queries.coverage_at(None, guide.h3_res8, at):
        remark = f"We do not deliver at unlisted addresses in {asked.postal_code} yet."
        return Place(unknown=asked, remark=remark)
    what = f"near {guide.street}" if on_street else f"in the middle of {asked.postal_code}"
    return Place(
        _new_premises(asked, guide, at),
        confidence=Confidence.YELLOW,
        remark=f"We do not have this address on our list. We took the coverage {what}. {_REVIEW}",
    )


def _nearest_number(asked: Address, rows: Iterable[Premises]) -> Premises:
    """Return the nearest neighbour; of two as near, that on the same side of the street."""
    wanted = addresses.leading_number(asked.street)

    def away(row: Premises) -> tuple[int, bool, str]:
        number = addresses.leading_number(row.match_key)
        return abs(number - wanted), number % 2 != wanted % 2, row.match_key

    return min(rows, key=away)


def _middle(rows: list[Premises]) -> Premises | None:
    """Return the place that is closest to the middle of all of them."""
    located = [row for row in rows if row.latitude is not None and row.longitude is not None]
    if not located:
        return rows[0] if rows else None
    latitude = median(row.latitude or Decimal(0) for row in located)
    longitude = median(row.longitude or Decimal(0) for row in located)
    return min(
        located,
        key=lambda row: abs((row.latitude or 0) - latitude) + abs((row.longitude or 0) - longitude),
    )


# What the columns hold of a place that is made up: an address can have more of either.
_LONGEST = {"street": 200, "unit": 40, "match_key": 300}


def _new_premises(asked: Address, guide: Premises, at: datetime) -> Premises:
    """Make up a place for an address that is on no list, in the area of a place that is.

    It gets no coordinates, because nobody has measured them; and an id that does not tell, as
    others do, since when it is there: that would be since when somebody has asked for it.

    Raises:
        AddressUnparseable: the street or the unit is longer than any is.
    """
    key = f"{asked.street}, {guide.match_key.partition(', ')[2]}"
    made_up = Premises(
        id=uuid4(),
        street=countries.here().display_form(asked.street),
        unit=asked.unit,
        city=guide.city,
        region=guide.region,
        postal_code=guide.postal_code,
        match_key=key,
        h3_res8=guide.h3_res8,
        source=Premises.Source.ASKED,
        created_at=at,
    )
    for name, most in _LONGEST.items():
        if len(getattr(made_up, name)) > most:
            raise AddressUnparseable(
                f"The {'unit' if name == 'unit' else 'street'} is longer than any that we know.",
                field="address",
            )
    return made_up
