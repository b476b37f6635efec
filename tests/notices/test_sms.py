"""Counting the parts of an SMS, and telephone numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ispops.errors import InvalidInput
from ispops.notices import sms


@pytest.mark.parametrize(
    ("text", "encoding", "used", "segments"),
    [
        ("", "GSM-7", 0, 0),
        ("x", "GSM-7", 1, 1),
        ("x" * 160, "GSM-7", 160, 1),
        ("x" * 161, "GSM-7", 161, 2),
        ("x" * 306, "GSM-7", 306, 2),
        ("x" * 307, "GSM-7", 307, 3),
        ("@£$¥èéùìòÇØøÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ¤¡ÄÖÑÜ§¿äöñüà\n\r", "GSM-7", 44, 1),
        ("€" * 80, "GSM-7", 160, 1),
        ("€" * 81, "GSM-7", 162, 2),
        # The second half of a character of two septets does not go over into the next part.
        ("x" * 152 + "€" + "x" * 152, "GSM-7", 306, 3),
        ("ж" * 70, "UCS-2", 70, 1),
        ("ж" * 71, "UCS-2", 71, 2),
        ("ж" * 134, "UCS-2", 134, 2),
        ("ж" * 135, "UCS-2", 135, 3),
        ("\U0001f600" * 35, "UCS-2", 70, 1),
        ("\U0001f600" * 36, "UCS-2", 72, 2),
        ("\U0001f600" * 67, "UCS-2", 134, 3),
        ("ç", "UCS-2", 1, 1),
    ],
)
def test_the_parts_of_a_message(text: str, encoding: str, used: int, segments: int) -> None:
    found = sms.length(text)
    assert (found.encoding, found.used, found.segments) == (encoding, used, segments)


def test_what_makes_a_message_dear_is_named() -> None:
    assert sms.length("It\u2019s \u201cready\u201d, it\u2019s").odd == "\u2019\u201c\u201d"
    assert sms.length("It's ready").odd == ""


@given(st.text(max_size=400))
def test_parts_hold_the_whole_text(text: str) -> None:
    found = sms.length(text)
    one, several = (160, 153) if found.encoding == "GSM-7" else (70, 67)
    assert found.used <= (one if found.segments < 2 else several * found.segments)
    assert (found.segments == 0) is (text == "")


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("802 555 0117", "+18025550117"),
        ("(802) 555-0117", "+18025550117"),
        ("+1 802 555 0117", "+18025550117"),
        ("+44 20 7946 0018", "+442079460018"),
        ("tel:+1-802-555-0117", "+18025550117"),
    ],
)
def test_a_number_in_its_international_form(text: str, number: str) -> None:
    assert sms.e164(text, region="us") == number


@pytest.mark.parametrize(
    "text", ["", "12", "call me", "+999 1", "802 555 0117 ext. 5", "1" * 300, "+1\n+44", "\0"]
)
def test_what_is_no_number_is_refused_on_its_field(text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        sms.e164(text, region="US", field="sms_number")
    assert refused.value.field == "sms_number"
