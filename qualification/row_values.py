"""Single values of the lists that operators send, as COPY reads them. Pure.

Every function takes the text of one value and the name of its column, and returns text without
anything that COPY would take for something else.

Raises, all of them:
    InvalidInput: the value cannot be used; names the column.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal, InvalidOperation
from functools import lru_cache

import h3

from ispops.errors import InvalidInput
from qualification import cells

NULL = "\\N"
_MOST = {"install_days": 3_650, "construction_days": 3_650, "loop_length_m": 100_000}
_YES = frozenset({"1", "true", "yes", "t", "y"})
_NO = frozenset({"0", "false", "no", "f", "n"})
# COPY takes them for something else, and no id, name or address has them.
_UNUSABLE = re.compile(r"[\\\x00-\x1f\x7f]")


def whole(value: str, name: str) -> str:
    digits = value.removeprefix("-")
    if not (digits.isascii() and digits.isdecimal()):
        raise InvalidInput("This is not a whole number.", field=name)
    most = _MOST.get(name, 10**9)
    if value != digits or len(digits) > 12 or int(digits) > most:
        raise InvalidInput(f"The number is from 0 to {most:,}.", field=name)
    return str(int(digits))


def kbps_of_mbps(value: str, name: str) -> str:
    """Return a speed in kilobits a second that is written in megabits."""
    speed = _decimal(value, name, "This is not a speed in Mbit/s.") * 1_000
    if not 0 <= speed <= 10**9:
        raise InvalidInput("The speed is from 0 to 1,000,000 Mbit/s.", field=name)
    if speed != int(speed):
        raise InvalidInput("Up to three decimals are possible.", field=name)
    return str(int(speed))


def yes_or_no(value: str, name: str) -> str:
    word = value.lower()
    if word not in _YES and word not in _NO:
        raise InvalidInput("This is 1 or 0.", field=name)
    return "true" if word in _YES else "false"


def fee(value: str, name: str) -> str:
    """Return an amount in whole micro-units, as the database has it."""
    amount = _decimal(value, name, "This is no amount of money.")
    if not 0 <= amount <= 10**7:
        raise InvalidInput("The fee is from 0 to 10,000,000.", field=name)
    return str(int(amount * 1_000_000))


def length(value: str, name: str) -> str:
    """Return a copper length in metres; zero is none."""
    metres = whole(value, name)
    return NULL if metres == "0" else metres


def day(value: str, name: str) -> str:
    try:
        return date.fromisoformat(value).isoformat()
    except ValueError as error:
        raise InvalidInput("This is no day such as 2027-03-31.", field=name) from error


def node(value: str, name: str) -> str:
    if len(value) > 80 or _UNUSABLE.search(value):
        raise InvalidInput("The provider has no node of this name.", field=name)
    return value


def location(value: str, name: str) -> str:
    if not value or len(value) > 40 or not (value.isalnum() or not _UNUSABLE.search(value)):
        raise InvalidInput("A location id has 1 to 40 characters.", field=name)
    return value


def degrees(value: str, name: str, most: int) -> str:
    """Return an angle with six decimals, which is a tenth of a metre."""
    angle = _decimal(value, name, "This is not a number of degrees.")
    if not -most <= angle <= most:
        raise InvalidInput(f"Degrees are from -{most} to {most}.", field=name)
    return str(angle.quantize(Decimal("0.000001")))


@lru_cache(maxsize=100_000)
def is_cell(value: str) -> bool:
    """Say whether this is an H3 cell of the resolution that coverage is kept in."""
    return cells.is_cell(value) and h3.get_resolution(value) == cells.RESOLUTION


def cell_at(latitude: str, longitude: str) -> str:
    """Return the H3 cell that holds a point."""
    return cells.of_point(Decimal(latitude), Decimal(longitude))


def harmless(text: str) -> str:
    """Return our own words, which may quote what was sent, on one line."""
    return _UNUSABLE.sub(" ", text)


def text(value: str, name: str, most: int) -> str:
    if len(value) > most:
        raise InvalidInput(f"Up to {most} characters are possible.", field=name)
    return harmless(value)


def our_names(columns: Sequence[str], others: Mapping[str, str]) -> dict[str, int]:
    """Return where each column is, by our name for it; `others` are names that others use.

    Raises:
        InvalidInput: two columns say the same, or a column without a name is not the last.
    """
    found: dict[str, int] = {}
    for place, written in enumerate(columns):
        plain = written.strip().lower().replace(" ", "_")
        name = others.get(plain, plain)
        if name in found:
            raise InvalidInput(
                f"The header has two columns for {name}: {columns[found[name]]} and {written}.",
                field="file",
            )
        found[name] = place
    return found


def _decimal(value: str, name: str, words: str) -> Decimal:
    try:
        number = Decimal(value)
    except InvalidOperation as error:
        raise InvalidInput(words, field=name) from error
    if not number.is_finite() or number.adjusted() > 12:
        raise InvalidInput(words, field=name)
    return number
