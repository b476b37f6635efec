"""What a CSR types to name a place: one box that tells what it was given, or a field for each."""

import re
from collections.abc import Mapping
from typing import Any

from ispops.errors import InvalidInput, NotFound
from provisioning.models import Service
from qualification import countries
from qualification.models import Premises

ADDRESS_FIELDS = {
    "street": "Street and number",
    "unit": "Unit",
    "city": "City",
    "region": "State",
    "postal_code": "ZIP code",
}
OTHER_FIELDS = {
    "latitude": "Latitude",
    "longitude": "Longitude",
    "location_id": "Location id",
    "premises_id": "Premises id",
    "service_id": "Service id",
}
_DEGREES = r"(?P<{0}>[-+]?\d+(?:\.\d*)?) ?°? ?(?P<{0}_side>[{1}])?"
_POINT = re.compile(
    rf"{_DEGREES.format('latitude', 'NSns')}[ ,;]+{_DEGREES.format('longitude', 'EWew')}"
)
_POSTAL_CODE = re.compile(r"\d{5}(?:-\d{4})?")


def place_asked(given: Mapping[str, str]) -> dict[str, Any]:
    """Return the place that a form names, as `qualify_address` is told of it.

    Raises:
        InvalidInput: nothing is given, or more than one thing; a coordinate is no number.
        NotFound: there is no service of this id.
    """
    box = given.get("address", "").strip()
    filled = _filled(given)
    if box and filled:
        raise InvalidInput("Use the box or the fields, but not both.", field="address")
    place = _by_fields(filled) if filled else recognised(box)
    if service_id := place.pop("service_id", ""):
        return {"premises_id": _of_service(service_id)}
    if "text" in place:
        place["as_written"] = bool(given.get("as_written"))
    return place


def fields(given: Mapping[str, str]) -> list[list[tuple[str, str, str]]]:
    """Return name, label and value of each field, those of an address in a row of their own."""
    return [
        [(name, label, given.get(name, "")) for name, label in row.items()]
        for row in (ADDRESS_FIELDS, OTHER_FIELDS)
    ]


def is_by_fields(given: Mapping[str, str]) -> bool:
    return bool(_filled(given))


def recognised(text: str) -> dict[str, Any]:
    """Tell what somebody has typed: an id by its prefix, two numbers, one word, or an address."""
    if text.startswith(f"{Premises.PREFIX}_"):
        return {"premises_id": text}
    if text.startswith(f"{Service.PREFIX}_"):
        return {"service_id": text}
    if point := _POINT.fullmatch(text):
        return {
            name: float(point[name]) * (-1 if (point[f"{name}_side"] or "N") in "SsWw" else 1)
            for name in ("latitude", "longitude")
        }
    # A ZIP code alone is the beginning of an address.
    is_one_word = text.isascii() and not re.search(r"[\s,]", text) and re.search(r"\d", text)
    if is_one_word and not _POSTAL_CODE.fullmatch(text):
        return {"location_id": text}
    return {"text": text}


def _filled(given: Mapping[str, str]) -> dict[str, str]:
    names = ADDRESS_FIELDS | OTHER_FIELDS
    return {name: value for name in names if (value := given.get(name, "").strip())}


def _by_fields(filled: dict[str, str]) -> dict[str, Any]:
    ways = {"text" if name in ADDRESS_FIELDS else _way(name) for name in filled}
    if len(ways) > 1:
        raise InvalidInput("Name the place once, by one kind of field.", field=list(filled)[-1])
    if ways == {"text"}:
        parts = {name: filled.get(name, "") for name in ADDRESS_FIELDS}
        return {"text": countries.here().one_line(**parts)}
    if ways == {"point"}:
        return {name: _number(filled.get(name)) for name in ("latitude", "longitude")}
    return dict(filled)


def _way(name: str) -> str:
    return "point" if name in ("latitude", "longitude") else name


def _number(text: str | None) -> Any:
    """Return a number, or what the verb refuses in its own words."""
    try:
        return float(text or "")
    except ValueError:
        return text


def _of_service(service_id: str) -> str:
    key = Service.key_of(service_id)
    service = Service.objects.filter(pk=key).select_related("premises").first() if key else None
    if service is None:
        raise NotFound("There is no service with this id.", field="service_id")
    return service.premises.public_id
