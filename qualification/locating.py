"""Finding the premises that an asker means: known, one of several, or made up from neighbours."""

from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from statistics import median

from ispops.errors import NotFound
from qualification import addresses, countries, queries
from qualification.addresses import Address, AddressUnparseable
from qualification.models import Premises, ServiceQualification

Confidence = ServiceQualification.Confidence
_REVIEW = "We will confirm the address with you before we install anything."


@dataclass(frozen=True, slots=True)
class Place:
    """What is known of where the asker means: a premises, or candidates, or neither.

    The premises may be one that was made up and is not stored; `store` does that.
    """

    premises: Premises | None = None
    candidates: list[Premises] = field(default_factory=list)
    confidence: str = Confidence.GREEN
    remark: str = ""


def by_id(premises_id: str) -> Place:
    """Return the place with a public id.

    Raises:
        NotFound: there is no premises with this id.
    """
    key = Premises.key_of(premises_id)
    premises = Premises.objects.filter(pk=key).first() if key else None
    if premises is None:
        raise NotFound("There is no place with this id.", field="premises_id")
    return known(premises)


def by_text(text: str, at: datetime) -> Place:
    """Find the place that an address means, or make one up from its neighbours; writes nothing.

    Raises:
        AddressUnparseable: the text is no usable address; says what is missing.
    """
    readings = countries.here().parse(text)
    found = queries.premises_matching(readings)
    if found:
        return _among(found, readings, at)
    asked = readings[0]
    if not asked.house_number:
        raise countries.here().lacking("house_number")
    if not asked.postal_code:
        raise AddressUnparseable(
            f"We do not know this address. Add the {countries.here().POSTAL_CODE}, so that we can "
            "check the area.",
            field="address",
            missing="postal_code",
        )
    if alike := queries.near_misses(asked):
        return Place(
            candidates=alike, remark="We do not know this address. Did you mean one of these?"
        )
    return _by_neighbours(asked, queries.neighbours(asked), at)


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


def _among(found: list[Premises], readings: list[Address], at: datetime) -> Place:
    """Choose among known places of the same street and number, the best of them first."""
    for reading in readings:
        here = [row for row in found if _fits(row, reading)]
        exact = [row for row in here if row.unit == reading.unit]
        if len(exact) == 1 and (reading.unit or len(here) == 1):
            return known(exact[0])
    asked = readings[0]
    building = [row for row in found if _fits(row, asked)]
    if asked.unit and len({row.match_key for row in building}) == 1:
        remark = f"We know the building, but not {asked.unit} in it. {_REVIEW}"
        place = _new_premises(asked, building[0], at)
        return Place(place, confidence=Confidence.YELLOW, remark=remark)
    remark = ""
    if not any(_fits(row, reading) for row in found for reading in readings):
        name = countries.here().POSTAL_CODE
        remark = f"The {name} is another one. Did you mean one of these?"
    if len(found) > queries.MOST_CANDIDATES:
        remark = "There are more. Add the unit, such as #12, to the address."
    return Place(candidates=found[: queries.MOST_CANDIDATES], remark=remark)


def _fits(row: Premises, reading: Address) -> bool:
    on_street = row.match_key.startswith(f"{reading.street}, ")
    return on_street and reading.postal_code in ("", row.postal_code)


def known(premises: Premises) -> Place:
    """Return a place that is stored, with what is to be said where nobody has listed it."""
    if premises.source == Premises.Source.IMPORTED:
        return Place(premises)
    remark = f"This address is not on our list yet; the area's coverage was taken. {_REVIEW}"
    return Place(premises, confidence=Confidence.YELLOW, remark=remark)


def _by_neighbours(asked: Address, near: list[Premises], at: datetime) -> Place:
    """Accept an unknown address where a listed neighbour of its ZIP code is covered."""
    near = [row for row in near if f", {asked.city}, " in row.match_key] or near
    on_street = [row for row in near if f" {asked.street_name}, " in row.match_key]
    guide = _nearest_number(asked, on_street) if on_street else _middle(near)
    if guide is None or not queries.coverage_at(None, guide.h3_res8, at):
        return Place(remark=f"We do not deliver at unlisted addresses in {asked.postal_code} yet.")
    what = f"near {guide.street}" if on_street else f"in the middle of {asked.postal_code}"
    return Place(
        _new_premises(asked, guide, at),
        confidence=Confidence.YELLOW,
        remark=f"We do not have this address on our list. We took the coverage {what}. {_REVIEW}",
    )


def _nearest_number(asked: Address, rows: list[Premises]) -> Premises:
    def away(row: Premises) -> int:
        number = addresses.leading_number(row.match_key)
        return abs(number - addresses.leading_number(asked.street))

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


def _new_premises(asked: Address, guide: Premises, at: datetime) -> Premises:
    """Make up a place for an address that is on no list, in the area of a place that is.

    It gets no coordinates, because nobody has measured them.
    """
    key = f"{asked.street}, {guide.match_key.partition(', ')[2]}"
    return Premises(
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
