"""Addresses as every country has them: their parts, the key of a place, and what is none.

How people write them is each country's own: an `AddressFormat`, in a module of
`qualification.countries`. Pure: no Django, no clock, no I/O.
"""

import re
import unicodedata
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Protocol

from ispops.errors import InvalidInput

LONGEST = 300
_HOUSE_NUMBER = re.compile(r"\d+[A-Z]?(?:[-.]\w*)?(?= |$)")
_APOSTROPHES = "'`\N{RIGHT SINGLE QUOTATION MARK}"


class AddressUnparseable(InvalidInput):
    """The text is no address that can be served; `facts["missing"]` names a part that lacks."""

    code = "address_unparseable"
    title = "The address cannot be used"


@dataclass(frozen=True, slots=True)
class Address:
    """An address in its country's standard form, in capitals; a part that was not given is empty.

    `street` begins with the street number, except for the rare place that has none, and wherever
    the country writes it. `unit` is `#4`, or `BLDG 2` where the kind of unit matters. `region` is
    always empty where addresses have none.
    """

    street: str
    unit: str
    city: str
    region: str
    postal_code: str

    @property
    def house_number(self) -> str:
        return leading_part(self.street)

    @property
    def street_name(self) -> str:
        return self.street.removeprefix(self.house_number).strip()

    @property
    def match_key(self) -> str:
        """The key of a whole address without the unit, such as `1 MAIN ST, BARRE, VT 05641`."""
        return f"{self.key_before_postal_code}{self.postal_code}"

    @property
    def key_before_postal_code(self) -> str:
        """How the key begins of an address with a city: all of it but the postal code."""
        return " ".join(filter(None, (f"{self.street}, {self.city},", self.region))) + " "


class AddressFormat(Protocol):
    """How one country writes addresses; a module of its name in `qualification.countries`.

    Everything is pure, and texts come from anybody: a text that is no address is refused with
    `AddressUnparseable`, which names the field and, where one lacks, the part.
    """

    POSTAL_CODE: str
    """What people call the postal code."""

    def parse(self, text: str) -> list[Address]:
        """Read what a person wrote: every way in which it can be read, the likeliest first.

        Each has a street with a name, and a postal code, or a city and its region, or all.
        """

    def from_fields(
        self, *, street: str, unit: str, city: str, region: str, postal_code: str
    ) -> Address:
        """Read an address that comes in separate fields, as in a location list; it is whole."""

    def prefixes(self, text: str) -> list[str]:
        """Return how the key of the address may begin that somebody is still typing."""

    def lacking(self, part: str) -> AddressUnparseable:
        """Return the error that says that a part of an address is missing, and how to write one."""

    def display_form(self, street: str) -> str:
        """Write a street of the standard's form, with its number, as it is on an envelope."""

    def one_line(self, *, street: str, unit: str, city: str, region: str, postal_code: str) -> str:
        """Write the parts of an address, as people have them, on one line."""


def leading_part(street: str) -> str:
    """Return the street number with its letter, as `12A`; empty when there is none."""
    first = street.split(" ", 1)[0]
    return first if _HOUSE_NUMBER.match(first) else ""


def leading_number(street: str) -> int:
    """Return the street number as a number, to tell near from far; zero if there is none."""
    digits = re.match(r"\d+", street)
    return int(digits[0]) if digits else 0


def is_misspelling(one: str, other: str) -> bool:
    """Say whether two street names differ so little that one is the other, typed wrongly.

    Digits must agree: 11th Street is not 12th Street.
    """
    if re.sub(r"\D", "", one) != re.sub(r"\D", "", other):
        return False
    return one != other and SequenceMatcher(None, one, other).ratio() >= 0.85


def clean(text: str, *, empty: str) -> str:
    """Return the text in capitals on one line, without what only machines see.

    Letters with accents lose them. `empty` is what to say when there is no letter or digit in it.

    Raises:
        AddressUnparseable: it is empty, too long, or not in Latin letters.
    """
    if len(text) > LONGEST:
        raise AddressUnparseable(
            f"The address has {len(text):,} characters; up to {LONGEST} are possible.",
            field="address",
        )
    plain = []
    for letter in unicodedata.normalize("NFKD", re.sub(r"\s*[\r\n]+\s*", ", ", text)):
        kind = unicodedata.category(letter)
        if kind in {"Cc", "Cs", "Cn", "Co"} and letter != "\t":
            raise AddressUnparseable(
                "The address has control characters in it. Type it anew.", field="address"
            )
        if kind[0] in "LN" and not letter.isascii():
            raise AddressUnparseable(
                "Write the address in Latin letters and digits, as it is on an envelope.",
                field="address",
            )
        if kind[0] not in "CM" and letter not in _APOSTROPHES:
            plain.append(" " if kind[0] == "Z" or letter in "\t.;" else letter)
    cleaned = re.sub(r" *,[ ,]*", ", ", " ".join("".join(plain).upper().split())).strip(" ,")
    if not any(letter.isalnum() for letter in cleaned):
        raise AddressUnparseable(empty, field="address", missing="street")
    return cleaned
