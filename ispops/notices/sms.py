"""Telephone numbers, and how many parts an SMS has (3GPP TS 23.038 and 23.040)."""

from dataclasses import dataclass

import phonenumbers

from ispops.errors import InvalidInput

# The basic character set takes one septet each, the extension two.
_BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENSION = frozenset("\f^{}\\[~]|€")
# Characters of one part alone, and of each of several, which carry a header.
_SEPTETS, _UNITS = (160, 153), (70, 67)


@dataclass(frozen=True, slots=True)
class Length:
    """How long a text is for the network that carries it; `odd` are what makes it UCS-2."""

    encoding: str
    used: int
    segments: int
    odd: str = ""


def length(text: str) -> Length:
    """Count a text in the units of its encoding: GSM 7-bit where that can write it, else UCS-2."""
    odd = "".join(dict.fromkeys(c for c in text if c not in _BASIC and c not in _EXTENSION))
    if odd:
        sizes, limits, encoding = [1 + (ord(c) > 0xFFFF) for c in text], _UNITS, "UCS-2"
    else:
        sizes, limits, encoding = [1 + (c in _EXTENSION) for c in text], _SEPTETS, "GSM-7"
    used = sum(sizes)
    segments = 1 if used <= limits[0] else _segments(sizes, limits[1])
    return Length(encoding, used, segments if text else 0, odd)


def _segments(sizes: list[int], most: int) -> int:
    """Fill part after part; a character of two units is never cut in two."""
    count, room = 0, 0
    for size in sizes:
        if size > room:
            count, room = count + 1, most
        room -= size
    return count


def e164(text: str, *, region: str, field: str = "phone") -> str:
    """Return a telephone number in its international form, `+18025550117`.

    `region` is the country of numbers that are written without one, such as "US".

    Raises:
        InvalidInput: on `field`; this is no number that could be called.
    """
    try:
        number = phonenumbers.parse(text, region.upper())
    except phonenumbers.NumberParseException as error:
        raise InvalidInput(_NOT_A_NUMBER, field=field) from error
    if number.extension or not phonenumbers.is_possible_number(number):
        raise InvalidInput(_NOT_A_NUMBER, field=field)
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


_NOT_A_NUMBER = (
    "Enter a telephone number with its area code, such as 802 555 0117, or with + and the country "
    "code, such as +44 20 7946 0018."
)
