"""Dutch addresses, as small as they can be: a second country, to be plugged in by a test.

Everything is elsewhere than in the USA: the number stands after the street, the postal code before
the city, and there are no regions.
"""

import re

from qualification.addresses import Address, AddressUnparseable, Beginning, clean

POSTAL_CODE = "postcode"
_LINE = re.compile(r"(?P<name>\D+?) (?P<number>\d+)(?: (?P<unit>[A-Z0-9]{1,4}))?")
_PLACE = re.compile(r"(?:(?P<code>\d{4} ?[A-Z]{2})\b)? ?(?P<city>.*)")


def parse(text: str) -> list[Address]:
    street, _, place = clean(text, empty="Vul een adres in.").partition(", ")
    line, found = _LINE.fullmatch(street), _PLACE.fullmatch(place)
    if line is None:
        raise lacking("house_number")
    if found is None or not place:
        raise lacking("postal_code")
    code = (found["code"] or "").replace(" ", "")
    return [Address(_key(line), line["unit"] or "", found["city"], "", code)]


def from_fields(*, street: str, unit: str, city: str, region: str, postal_code: str) -> Address:
    (whole,) = parse(f"{street}, {postal_code} {city}")
    return Address(whole.street, unit or whole.unit, whole.city, "", whole.postal_code)


def beginnings(text: str) -> list[Beginning]:
    line = _LINE.match(text.upper())
    if line:
        return [Beginning(_key(line), has_number=True)]
    return [Beginning(text.upper(), has_number=False)] if text else []


def essence(street_name: str) -> str:
    return street_name


def lacking(part: str) -> AddressUnparseable:
    return AddressUnparseable(f"Het adres mist: {part}.", field="address", missing=part)


def display_form(street: str) -> str:
    number, _, name = street.partition(" ")
    return f"{name.title()} {number}"


def without_number(street: str) -> str:
    return street.rstrip("0123456789 ")


def one_line(*, street: str, unit: str, city: str, region: str, postal_code: str) -> str:
    return f"{' '.join(filter(None, (street, unit)))}, {postal_code} {city}"


def _key(line: re.Match[str]) -> str:
    return f"{line['number']} {line['name']}"
