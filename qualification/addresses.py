"""Addresses as every country has them: their parts, the key of a place, and what is none.

How people write them is each country's own: an `AddressFormat`, in a module of
`qualification.countries`. Pure: no Django, no clock, no I/O.
"""

import re
import unicodedata
from dataclasses import dataclass
from typing import Protocol

from rapidfuzz.distance import OSA

from ispops.errors import InvalidInput

LONGEST = 300
_HOUSE_NUMBER = re.compile(r"\d+[A-Z]?(?:[-.]\w*)?(?= |$)")
_APOSTROPHES = "'`\N{RIGHT SINGLE QUOTATION MARK}"
_COMMAS = re.compile(r" *,[ ,]*")
_ASCII = str.maketrans(".;", "  ", "'`")


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


@dataclass(frozen=True, slots=True)
class Beginning:
    """How the key of an address begins that somebody is still typing.

    Without a street number it is the key of a street, which is all of the key but the number.
    """

    key: str
    has_number: bool
    # How the unit begins, and the postal code, where they were typed before the rest.
    unit: str = ""
    postal_code: str = ""


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

    def beginnings(self, text: str) -> list[Beginning]:
        """Return how the key of the address may begin that somebody is still typing.

        There may be several, the likeliest first; none when there is nothing to look for.
        """

    def essence(self, street_name: str) -> str:
        """Return a street's name without the words that people leave out or mix up."""

    def lacking(self, part: str) -> AddressUnparseable:
        """Return the error that says that a part of an address is missing, and how to write one."""

    def display_form(self, street: str) -> str:
        """Write a street of the standard's form, with its number, as it is on an envelope."""

    def without_number(self, street: str) -> str:
        """Return a street, as people have it, without the street number."""

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


def number_range(house_number: str) -> range | None:
    """Return the numbers that a range such as `10-14` means; None for any other number.

    Both ends even, or both odd, is one side of the street.
    """
    ends = re.fullmatch(r"(\d{1,6})-(\d{1,6})", house_number)
    if not ends or int(ends[1]) >= int(ends[2]):
        return None
    first, last = int(ends[1]), int(ends[2])
    return range(first, last + 1, 2 if (last - first) % 2 == 0 else 1)


def natural_order(text: str) -> list[tuple[int, str]]:
    """Return what to sort by, so that #2 comes before #10."""
    return [(int(part or 0), rest) for part, rest in re.findall(r"(\d*)(\D*)", text)]


def likeness(asked: str, known: str) -> float:
    """Say how much one name is like another that may be meant by it: 1 the same, 0 not at all.

    One slip of the keyboard is forgiven in a short name and two in a longer one, which may be a
    wrong, a missing, a doubled letter or two in the wrong order. Digits must agree: 11th Street is
    not 12th Street.
    """
    if re.sub(r"\D", "", asked) != re.sub(r"\D", "", known):
        return 0
    shorter = min(len(asked), len(known))
    forgiven = 0 if shorter < 3 else 1 if shorter < 7 else 2
    slips = OSA.distance(asked, known, score_cutoff=forgiven)
    return 1 - slips / (shorter + 1) if slips <= forgiven else 0


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
    plain = text.translate(_ASCII) if text.isascii() and text.isprintable() else _plain(text)
    cleaned = _COMMAS.sub(", ", " ".join(plain.upper().split())).strip(" ,")
    if not any(letter.isalnum() for letter in cleaned):
        raise AddressUnparseable(empty, field="address", missing="street")
    return cleaned


def _plain(text: str) -> str:
    """Return the letters, digits and marks of any text, letter by letter.

    Of one in ASCII without control characters nothing is left to decide: there `_ASCII` does the
    same in a hundredth of the time, which counts where a file has many addresses.
    """
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
    return "".join(plain)
