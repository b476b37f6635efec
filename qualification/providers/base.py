"""What every adapter promises, whatever its provider speaks.

An adapter asks a question, or looks whether an earlier one has been answered. It writes no row, and
it is never called inside a transaction. What it brings back was checked for type, range and
size, and is about the place that was asked about.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Protocol

from ispops.catalog.models import Technology
from ispops.errors import InvalidInput, PermanentFault, TransientFault
from qualification import countries

MOST_LINES = 20
FASTEST_KBPS = 100_000_000
LONGEST_INSTALL_DAYS = 365
LONGEST_CONSTRUCTION_DAYS = 3_650
HIGHEST_FEE = Decimal(1_000_000)
LONGEST_REFERENCE = 200
LONGEST_REASON = 300
_YES = {"true", "yes", "y", "1"}
_NO = {"false", "no", "n", "0"}
_TECHNOLOGIES = {label.casefold(): value for value, label in Technology.choices}


class Unusable(TransientFault):
    """The provider answered, and nothing can be done with what it said."""


class QuestionLost(TransientFault):
    """The provider ended our question, or does not know it any more: it must be put anew."""


class WrongAddress(PermanentFault):
    """The provider answered for another address than the one that was asked about."""


@dataclass(frozen=True, slots=True)
class Place:
    """The premises that a question is about; coordinates may be those of its area.

    `match_key` is the address in the form by which places are found, without the unit.
    """

    id: str
    location_id: str
    street: str
    unit: str
    city: str
    region: str
    postal_code: str
    match_key: str
    latitude: Decimal | None = None
    longitude: Decimal | None = None
    is_located: bool = False


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: `inquiry` is the same for every attempt, so a repeat can be told as one.

    `reference` is the provider's own name for our question, once it has taken it in.
    """

    inquiry: str
    place: Place
    subscriber_kind: str
    reference: str = ""


@dataclass(frozen=True, slots=True)
class Deliverable:
    """One line that the provider can deliver; speeds in kilobits a second, amounts net of tax."""

    technology: int
    max_download_kbps: int
    max_upload_kbps: int
    low_latency: bool = True
    install_days: int = 0
    construction_fee: Decimal = Decimal(0)
    construction_days: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """What a provider said of a place: the lines, or none and why."""

    lines: tuple[Deliverable, ...]
    reference: str = ""
    reason: str = ""
    valid_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """The provider has our question under this reference, and has not answered it yet."""

    reference: str


class Provider(Protocol):
    """A provider that can be asked."""

    def ask(self, question: Question) -> Answer | Waiting:
        """Ask, or look after the question under its reference.

        Raises:
            TransientFault: no usable answer this time; `QuestionLost` when it must be put anew.
            PermanentFault: asking again changes nothing; `WrongAddress` is one.
        """


def deliverable(facts: Mapping[str, Any]) -> Deliverable:
    """Check what a provider said of one line; keys are the fields of `Deliverable`.

    Raises:
        Unusable: a value is missing or makes no sense; it is named.
    """
    return Deliverable(
        technology=_technology(facts.get("technology")),
        max_download_kbps=whole(facts, "max_download_kbps", 1, FASTEST_KBPS),
        max_upload_kbps=whole(facts, "max_upload_kbps", 1, FASTEST_KBPS),
        low_latency=flag(facts, "low_latency", otherwise=True),
        install_days=whole(facts, "install_days", 0, LONGEST_INSTALL_DAYS, otherwise=0),
        construction_fee=_fee(facts.get("construction_fee")),
        construction_days=whole(
            facts, "construction_days", 0, LONGEST_CONSTRUCTION_DAYS, otherwise=0
        ),
    )


def whole(
    facts: Mapping[str, Any], name: str, least: int, most: int, otherwise: int | None = None
) -> int:
    """Read a whole number, or digits; `otherwise` stands for one that was not given."""
    value = facts.get(name)
    if value in (None, "") and otherwise is not None:
        return otherwise
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    digits = text.strip()
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 12):
        raise Unusable(f"{name} is no whole number.")
    if not least <= int(digits) <= most:
        raise Unusable(f"{name} is {int(digits):,}; it must be from {least:,} to {most:,}.")
    return int(digits)


def flag(facts: Mapping[str, Any], name: str, otherwise: bool | None = None) -> bool:
    """Read yes or no; `otherwise` stands for one that was not given."""
    value = facts.get(name)
    if value in (None, "") and otherwise is not None:
        return otherwise
    if isinstance(value, bool):
        return value
    text = value.strip().casefold() if isinstance(value, str) else ""
    if text not in _YES | _NO:
        raise Unusable(f"{name} is neither yes nor no.")
    return text in _YES


def earliest(ends: Iterable[datetime | None], at: datetime) -> datetime | None:
    """Return the first of the moments at which parts of an answer end; None where none does.

    Raises:
        Unusable: it is over already.
    """
    end = min((end for end in ends if end is not None), default=None)
    if end is not None and end <= at:
        raise Unusable(f"The answer was good until {end:%Y-%m-%d %H:%M} only.")
    return end


def words(value: Any, longest: int = LONGEST_REASON) -> str:
    """Return what somebody wrote as one line for people; empty for anything but text."""
    if not isinstance(value, str):
        return ""
    seen = (letter if letter.isprintable() else " " for letter in value[: 4 * longest])
    return " ".join("".join(seen).split())[:longest]


def check_address(place: Place, *, street: Any, unit: Any, city: Any, postal_code: Any) -> None:
    """Make sure that an answer is about the place that was asked about.

    The names of cities may differ, as one place has several of them; all else may not.

    Raises:
        WrongAddress: it is about another place.
        Unusable: it cannot be told which place it is about.
    """
    parts = [words(part, 200) for part in (street, unit, city, postal_code)]
    try:
        told = countries.here().from_fields(
            street=parts[0],
            unit=parts[1],
            city=parts[2] or place.city,
            region=place.region,
            postal_code=parts[3],
        )
    except InvalidInput as refusal:
        raise Unusable(
            f"It is not clear which address the answer is for: {refusal.field}: {refusal.detail}"
        ) from refusal
    asked = place.match_key.partition(", ")[0]
    if (told.street, told.unit, told.postal_code) != (asked, place.unit, place.postal_code):
        about = " ".join(filter(None, parts))
        raise WrongAddress(f"The answer is for another address: {about}.")


def _technology(value: Any) -> int:
    """Read a technology: its code in the FCC's broadband data collection, or its name."""
    if isinstance(value, str) and value.strip().casefold() in _TECHNOLOGIES:
        return _TECHNOLOGIES[value.strip().casefold()]
    code = whole({"technology": value}, "technology", 0, 99)
    if code not in Technology.values:
        raise Unusable(f"technology {code} is not known.")
    return code


def _fee(value: Any) -> Decimal:
    if value in (None, ""):
        return Decimal(0)
    if isinstance(value, bool) or not isinstance(value, int | str | Decimal):
        raise Unusable("construction_fee is no amount.")
    try:
        fee = Decimal(str(value).strip())
    except InvalidOperation:
        raise Unusable("construction_fee is no amount.") from None
    if not fee.is_finite() or not 0 <= fee <= HIGHEST_FEE or fee != round(fee, 2):
        raise Unusable(f"construction_fee must be from 0 to {HIGHEST_FEE:,}, in whole cents.")
    return fee
