"""Another country is another module: the verbs do not change."""

from datetime import timedelta

import h3
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from qualification import countries, coverage, gazetteer, qualify
from qualification.addresses import AddressUnparseable
from qualification.models import Premises
from tests.small_isp import LAUNCH, SmallIsp, make_small_isp

AT = LAUNCH + timedelta(days=1)
UTRECHT = (52.0907, 5.1214)

pytestmark = pytest.mark.django_db


@pytest.fixture
def isp(settings: object) -> SmallIsp:
    made = make_small_isp()
    settings.ADDRESS_COUNTRY = "tests.qualification.dutch"  # type: ignore[attr-defined]
    place = {"city": "Utrecht", "postal_code": "3512 AB", "latitude": UTRECHT[0]}
    report = coverage.import_premises(
        at=AT,
        rows=[
            {"street": "Dorpsstraat 12", **place, "longitude": UTRECHT[1]},
            {"street": "Dorpsstraat 14", "unit": "A", **place, "longitude": UTRECHT[1]},
            {"street": "Dorpsstraat 14", "unit": "B", **place, "longitude": UTRECHT[1]},
        ],
    )
    assert not report.rejected
    cell = h3.latlng_to_cell(*UTRECHT, 8)
    speed = {"technology": 50, "max_download_kbps": 500_000, "max_upload_kbps": 500_000}
    coverage.import_coverage(provider=made.fibre, at=AT, rows=[speed | {"h3_res8": cell}])
    return made


def ask(text: str) -> qualify.ServiceQualification:
    return qualify.qualify_address(text=text, channel="portal", at=AT)


def test_the_same_verb_answers_for_addresses_of_another_country(isp: SmallIsp) -> None:
    answer = ask("Dorpsstraat 12, 3512ab Utrecht")
    assert (answer.state, answer.address) == ("qualified", "Dorpsstraat 12, 3512AB Utrecht")
    assert ask("dorpsstraat 12, Utrecht").premises == answer.premises
    several = ask("Dorpsstraat 14, 3512 AB Utrecht")
    assert [entry["address"] for entry in several.candidates] == [
        "Dorpsstraat 14 A, 3512AB Utrecht",
        "Dorpsstraat 14 B, 3512AB Utrecht",
    ]


def test_every_outcome_is_there_in_another_country(isp: SmallIsp) -> None:
    misspelt = ask("Dorpstraat 12, 3512 AB Utrecht")
    assert [entry["address"] for entry in misspelt.candidates] == ["Dorpsstraat 12, 3512AB Utrecht"]
    unlisted = ask("Dorpsstraat 16, 3512 AB Utrecht")
    assert (unlisted.state, unlisted.confidence) == ("qualified", "yellow")
    assert (unlisted.premises.source, unlisted.premises.street) == (
        Premises.Source.ASKED, "Dorpsstraat 16",
    )  # fmt: skip
    assert ask("Damrak 1, 1012 LG Amsterdam").state == "out_of_footprint"
    with pytest.raises(AddressUnparseable, match="mist: house_number"):
        ask("Utrecht")
    with pytest.raises(AddressUnparseable, match="Add the postcode"):
        ask("Singel 9, Utrecht")


def test_suggestions_are_written_as_the_country_writes(isp: SmallIsp) -> None:
    for typed, found in (
        ("Dorpsstraat 12", "Dorpsstraat 12, 3512AB Utrecht"),
        ("dorps", "Dorpsstraat, 3512AB Utrecht"),
    ):
        assert [entry.text for entry in gazetteer.suggest(typed)] == [found]


@pytest.mark.parametrize("name", ["xx", "tests.qualification.nowhere"])
def test_a_country_that_is_not_known_is_said_in_words(name: str) -> None:
    with (
        override_settings(ADDRESS_COUNTRY=name),
        pytest.raises(ImproperlyConfigured, match="Use one of us"),
    ):
        countries.here()
