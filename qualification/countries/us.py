"""US addresses: from what people write to the one form by which a premises is found.

The form follows USPS Publication 28. The parser, usaddress-scourgify, separates what people run
together; the words are then put into the standard's form one by one, so that a place has the same
key however it was written. An `AddressFormat`; pure.
"""

import re
from dataclasses import replace

from scourgify import normalize_address_record
from scourgify.address_constants import (
    DIRECTIONAL_REPLACEMENTS,
    OCCUPANCY_TYPE_ABBREVIATIONS,
    STATE_ABBREVIATIONS,
    STREET_TYPE_ABBREVIATIONS,
)
from scourgify.exceptions import AddressNormalizationError

from qualification.addresses import (
    Address,
    AddressUnparseable,
    Beginning,
    clean,
    leading_part,
)

_ORDINALS = (
    *("FIRST", "SECOND", "THIRD", "FOURTH", "FIFTH", "SIXTH", "SEVENTH", "EIGHTH", "NINTH"),
    *("TENTH", "ELEVENTH", "TWELFTH"),
)
POSTAL_CODE = "ZIP code"
MOST_READINGS = 16
STATES = frozenset(STATE_ABBREVIATIONS.values())
# Of two words for one thing, the key has the shorter. Saint and street share theirs, as in print.
SHORT_WORDS = (
    STREET_TYPE_ABBREVIATIONS
    | DIRECTIONAL_REPLACEMENTS
    | {"SAINT": "ST"}
    | {
        word: f"{number}{'TH' if number > 3 else ('ST', 'ND', 'RD')[number - 1]}"
        for number, word in enumerate(_ORDINALS, start=1)
    }
)
STREET_TYPES = frozenset(STREET_TYPE_ABBREVIATIONS) | frozenset(STREET_TYPE_ABBREVIATIONS.values())
DIRECTIONS = frozenset(DIRECTIONAL_REPLACEMENTS.values())
_STREET_ENDS = STREET_TYPES | DIRECTIONS
# A number after one of these is the name of the road, not a flat in it.
_NUMBERED_ROADS = frozenset({"HWY", "HIGHWAY", "RTE", "ROUTE", "RD", "ROAD", "LOOP", "TRL"})
# Words for a part of a building that say nothing but that a number follows.
_PLAIN_UNITS = frozenset({"APT", "UNIT", "STE", "RM", "NO", "NUM"})
_UNIT_WORDS = (
    {word: short for word, short in OCCUPANCY_TYPE_ABBREVIATIONS.items() if word != "#"}
    | {short: short for short in OCCUPANCY_TYPE_ABBREVIATIONS.values() if short != "#"}
    | {"NO": "NO", "NUM": "NO", "SP": "SPC", "APART": "APT", "FLR": "FL", "BLD": "BLDG"}
)  # fmt: skip
# Too common as names of streets to be taken for a part of a building without a comma before.
_DOUBTFUL_UNIT_WORDS = frozenset({"KEY", "PIER", "SIDE", "SLIP", "STOP", "FRONT", "LOWER", "UPPER"})
_UNIT_AT_END = re.compile(
    r"^(?P<street>.*\S)[ ,]+(?P<unit>(?:(?P<word>"
    + "|".join(sorted(set(_UNIT_WORDS) - _DOUBTFUL_UNIT_WORDS, key=len, reverse=True))
    + r")\b\.? *#? *|# *)(?P<number>[A-Z0-9][A-Z0-9-]*(?: [A-Z0-9])?))$"
)
_NOT_IN_STREETS = re.compile(r"[^A-Z0-9#&/-]+")
_NOT_IN_NAMES = re.compile(r"[^A-Z0-9-]+")
_ZIP_AT_END = re.compile(r"^(?:(?P<rest>.*?)[ ,]+)?(?P<zip>\d{5})(?:[- ]?\d{4})?$")
_ZIP_FIRST = re.compile(r"(?P<zip>\d{5})(?:-\d{4})?(?:[ ,]+(?P<rest>.*))?$")
_PO_BOX = re.compile(r"\b(?:P ?O ?(?:BOX|BX)|POST(?:AL)? OFFICE BOX|POB)\b *#?\d*")
_COUNTRY_AT_END = re.compile(r"[ ,]+(?:USA|UNITED STATES(?: OF AMERICA)?)$")
_WORDS_FOR_PARTS = {
    "house_number": "the street number",
    "street": "the street",
    "city": "the city and state, or the ZIP code",
    "region": "the state, or the ZIP code",
    "postal_code": "the ZIP code",
}


def parse(text: str) -> list[Address]:
    """Read an address that a person wrote, on one line or several, with commas or without.

    Returns every way in which it can be read, the likeliest first and at most `MOST_READINGS`:
    the places that are known decide whether `8 Holland Ct D` is a flat or a street. A street
    number that is missing is not refused here, because a few places have none.

    Raises:
        AddressUnparseable: on the field `address`; it says what is missing or what is wrong.
    """
    body = _clean(text)
    if _PO_BOX.search(body):
        raise AddressUnparseable(
            "A PO box cannot be connected. Enter the street address of the place.",
            field="address",
            missing="street",
        )
    body, region, postal_code = _take_region_and_zip(_COUNTRY_AT_END.sub("", body))
    found = [
        Address(street_form(street), unit, _short_form(city), region, postal_code)
        for street, unit, city in _splits(body, region, postal_code)
    ]
    usable = [address for address in dict.fromkeys(found) if not _missing(address)]
    if not usable:
        raise lacking(_missing(found[0]) if found else "street")
    return usable[:MOST_READINGS]


def lacking(part: str) -> AddressUnparseable:
    """Return the error that says that a part of an address is missing, and how to write one."""
    return AddressUnparseable(
        f"The address lacks {_WORDS_FOR_PARTS[part]}. Write it like "
        "“108 East 11th Avenue #2, Anchorage, AK 99501”.",
        field="address",
        missing=part,
    )


def from_fields(*, street: str, unit: str, city: str, region: str, postal_code: str) -> Address:
    """Read an address that comes in separate fields, as in a location list.

    Raises:
        AddressUnparseable: on the field that cannot be used.
    """
    parts = {"street": street, "city": city, "region": region, "postal_code": postal_code}
    for name, value in parts.items():
        if not value.strip():
            raise AddressUnparseable("This part of the address is empty.", field=name)
    state = STATE_ABBREVIATIONS.get(_clean(region), _clean(region))
    if state not in STATES:
        raise AddressUnparseable("This is not the code of a US state.", field="region")
    code = _ZIP_AT_END.match(_clean(postal_code))
    if not code or code["rest"]:
        raise AddressUnparseable("A ZIP code has five digits, or nine.", field="postal_code")
    line, found = _take_unit(_clean(street))
    if not unit and not found:
        line, found = _unit_by_parser(line)
    own_unit = unit_form(_clean(unit)) if unit.strip() else found
    return Address(street_form(line), own_unit, _short_form(_clean(city)), state, code["zip"])


def street_form(line: str) -> str:
    """Put a street line into the standard's form: `108 East 11 Avenue` is `108 E 11TH AVE`."""
    words = _NOT_IN_STREETS.sub(" ", line.upper()).split()
    if not words:
        return ""
    for place in range(1, len(words)):
        following = words[place + 1] if place + 1 < len(words) else ""
        if words[place].isdigit() and following in STREET_TYPES:
            words[place] += _ordinal_ending(int(words[place]))
    return " ".join([words[0], *(SHORT_WORDS.get(word, word) for word in words[1:])])


def unit_form(unit: str) -> str:
    """Put a unit into the standard's form: `Apt 000002`, `##2` and `2` are `#2`."""
    words = _NOT_IN_NAMES.sub(" ", unit.upper()).split()
    kind = _UNIT_WORDS.get(words[0], "") if words else ""
    if kind and len(words) > 1:
        words = words[1:]
    elif kind:
        return kind
    number = "".join(words).lstrip("0") or ("0" if words else "")
    if not number:
        return ""
    return f"#{number}" if kind in _PLAIN_UNITS or not kind else f"{kind} {number}"


def display_form(street: str) -> str:
    """Write a street of the standard's form for people: `108 E 11TH AVE` is `108 E 11th Ave`."""
    return " ".join(word if word in DIRECTIONS else word.capitalize() for word in street.split())


def without_number(street: str) -> str:
    """Return a street as people have it without its number: `Oak Street`."""
    number, _, name = street.partition(" ")
    return name if name and leading_part(number.upper()) else street


def one_line(*, street: str, unit: str, city: str, region: str, postal_code: str) -> str:
    """Write an address on one line: `1 Oak Street #2, Barre, VT 05641`.

    A bare `2` is marked as the unit that it is, and a ZIP code gets back the zeros that it lost
    in a spreadsheet, which took it for a number.
    """
    unit = f"#{unit}" if unit.isalnum() else unit
    if postal_code.isdecimal() and len(postal_code) in (3, 4):
        postal_code = postal_code.zfill(5)
    return f"{' '.join(filter(None, (street, unit)))}, {city}, {region} {postal_code}"


def essence(street_name: str) -> str:
    """Return a street's name without its directions and its kind: `E OAK ST` is `OAK`."""
    words = street_name.split()
    for left_out in (DIRECTIONS, STREET_TYPES):
        if len(words) > 1 and words[-1] in left_out:
            words.pop()
    if len(words) > 1 and words[0] in DIRECTIONS:
        words.pop(0)
    return " ".join(words)


def beginnings(text: str) -> list[Beginning]:
    """Return how the key of the address may begin that somebody is still typing.

    The last word may be half a word, the comma between street and city may be left out, the ZIP
    code may come first and the street number may still lack, so there are several beginnings.
    """
    try:
        typed = _clean(text)
    except AddressUnparseable:
        return []
    found = _beginnings(typed)
    if first := _ZIP_FIRST.match(typed):
        there = _beginnings(first["rest"] or "")
        # A number alone begins too many keys to be looked for in one place.
        if not any(" " in begun.key or not begun.has_number for begun in there):
            there = [Beginning("", has_number=False)]
        found += [replace(begun, postal_code=first["zip"]) for begun in there]
    return found


def _beginnings(typed: str) -> list[Beginning]:
    street, comma, rest = typed.partition(",")
    street, unit = _take_unit(street)
    has_number = bool(leading_part(street))
    if not has_number:
        street = f"1 {street}"  # What follows is then put into form as a street is.
    words = street_form(street).split()
    if not typed or (len(words) < 2 and not has_number):
        return []
    if comma:
        parts = [_short_form(part) for part in rest.split(",")]
        # The unit may stand between street and city, so the last part may be the city alone.
        endings = dict.fromkeys((", ".join(parts), parts[-1]))
        keys = [f"{' '.join(words)}, {ending}" for ending in endings]
    else:
        keys = _keys_without_comma(words, street.split()[-1])
    return [
        Beginning(key if has_number else key.removeprefix("1 "), has_number, unit) for key in keys
    ]


def _keys_without_comma(words: list[str], last: str) -> list[str]:
    """Return the keys that may be meant when the comma before the city may still come, or lack."""
    begun = " ".join(words[:-1])
    found = [f"{begun} {end}".strip() for end in sorted({words[-1], *_completions(last)})][:4]
    commas = range(max(2, len(words) - 4), len(words))
    return found + [f"{' '.join(words[:cut])}, {' '.join(words[cut:])}" for cut in commas]


def _clean(text: str) -> str:
    """Return the text as `addresses.clean` does, with units written in one way."""
    cleaned = clean(
        text, empty="Enter an address: street number and street, city, state and ZIP code."
    )
    if "#" not in cleaned:
        return cleaned
    # Publication 28 writes a unit as "#2" or as "APT 2", never as both.
    return re.sub(r"#[# ]*(?=[A-Z]{3})", "", re.sub(r"#[# ]+", "#", cleaned))


def _take_region_and_zip(body: str) -> tuple[str, str, str]:
    """Take state and ZIP code off the end; a part that is not there is empty."""
    postal_code = ""
    if (found := _ZIP_AT_END.match(body)) and found["rest"]:
        body, postal_code = found["rest"].strip(" ,"), found["zip"]
    words = body.split()
    for count in (3, 2, 1):
        name = " ".join(words[-count:]).strip(",")
        state = name if name in STATES else STATE_ABBREVIATIONS.get(name, "")
        # CT is Connecticut and a court: without a ZIP code or a comma, a city must precede.
        sure = postal_code or (len(words) > count and words[-count - 1].endswith(","))
        if state and "," not in name and (sure or len(words) - count >= 4):
            return " ".join(words[:-count]).strip(" ,"), state, postal_code
    return body, "", postal_code


def _splits(body: str, region: str, postal_code: str) -> list[tuple[str, str, str]]:
    """Split what is left into street line, unit and city, in every way that makes sense."""
    parts = [part for part in body.split(", ") if part]
    numbered = [place for place, part in enumerate(parts) if leading_part(part)]
    if numbered:
        parts = parts[numbered[0] :]  # A name or a firm stands above the street.
    if not parts:
        return []
    if len(parts) == 1:
        return [
            _split_by_parser(parts[0], region, postal_code),
            *_splits_between_words(parts[0], bool(postal_code)),
        ]
    street, *middle, city = parts
    if _take_unit(f"1 X {city}")[1]:
        middle, city = [*middle, city], ""
    street, unit = _take_unit(street)
    if unit or middle:
        return [(street, unit or unit_form(" ".join(middle)), city)]
    guessed, guessed_unit = _unit_by_parser(street)
    return [(guessed, guessed_unit, city), (street, "", city), *_with_unit_at_end(street, city)]


def _splits_between_words(line: str, city_may_lack: bool) -> list[tuple[str, str, str]]:
    """Put the comma between street and city into every place where it can be, the last first."""
    words = line.split()
    found = []
    for cut in range(len(words) - (0 if city_may_lack else 1), 1, -1):
        street, unit = _take_unit(" ".join(words[:cut]))
        city = " ".join(words[cut:])
        found.append((street, unit, city))
        if not unit:
            found += _with_unit_at_end(street, city)
    return found


def _with_unit_at_end(street: str, city: str) -> list[tuple[str, str, str]]:
    """Read the last word of a street as a unit, as in `8 Holland Ct D`, if it can be one."""
    *begun, last = street.split()
    if len(begun) < 2 or last in STREET_TYPES or last in SHORT_WORDS or len(last) > 5:
        return []
    return [(" ".join(begun), unit_form(last), city)]


def _take_unit(line: str) -> tuple[str, str]:
    """Take a unit that is marked as one (`Apt 2`, `# 2`) off the end of a street line."""
    found = _UNIT_AT_END.match(line)
    if not found:
        return line, ""
    return found["street"].strip(" ,"), unit_form(found["unit"])


def _unit_by_parser(line: str) -> tuple[str, str]:
    """Take an unmarked unit (`4000 Carman Dr C47`) off a street line, if the parser sees one."""
    if SHORT_WORDS.get(line.split()[-1], "") in _STREET_ENDS:
        return line, ""  # The line ends as a street does, so there is nothing to take off.
    street, unit, city = _split_by_parser(f"{line}, AUSTIN", "TX", "78701")
    return (street, unit) if city == "AUSTIN" else (line, "")


def _split_by_parser(line: str, region: str, postal_code: str) -> tuple[str, str, str]:
    """Split street line, unit and city that no comma separates, as well as can be guessed."""
    try:
        found = normalize_address_record(f"{line}, {region or 'TX'} {postal_code or '78701'}")
    except (AddressNormalizationError, ValueError, KeyError, IndexError, TypeError):
        found = {}
    street, unit = found.get("address_line_1") or "", found.get("address_line_2") or ""
    if not street:
        return *_take_unit(line), ""
    last = street.split()[-1]
    if unit and not _take_unit(f"1 X {unit}")[1].startswith("#"):
        return street, unit_form(unit), found.get("city") or ""
    marked = "#" in line or _UNIT_AT_END.match(line)
    number = unit_form(unit).lstrip("#")
    if number.isdigit() and not marked and (last in _NUMBERED_ROADS or last not in STREET_TYPES):
        return f"{street} {number}", "", found.get("city") or ""
    return street, unit_form(unit), found.get("city") or ""


def _missing(address: Address) -> str:
    if not address.street_name:
        return "street"
    if address.postal_code:
        return ""
    return "" if address.city and address.region else "region" if address.city else "city"


def _short_form(words: str) -> str:
    cleaned = _NOT_IN_NAMES.sub(" ", words.upper())
    return " ".join(SHORT_WORDS.get(word, word) for word in cleaned.split())


def _ordinal_ending(number: int) -> str:
    if number % 100 in (11, 12, 13):
        return "TH"
    return {1: "ST", 2: "ND", 3: "RD"}.get(number % 10, "TH")


def _completions(begun: str) -> set[str]:
    """Return short forms that the half word may become: AVEN is on its way to AVE."""
    if len(begun) < 3:
        return set()
    return {short for word, short in SHORT_WORDS.items() if word.startswith(begun)}
