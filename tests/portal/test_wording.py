"""How the portal says things."""

from datetime import UTC, datetime, timedelta

import pytest

from ipam.models import OverallocationRequest
from ispops.portal import wording
from ispops.portal.icons import ICONS
from provisioning.models import OrderTask, ProductOrder, Service
from qualification.models import ServiceQualification
from rating.models import Purchase

NOW = datetime(2025, 11, 23, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("kbps", "said"),
    [
        (None, ""),
        (640, "640 kbit/s"),
        (1_000, "1 Mbit/s"),
        (1_500, "1.5 Mbit/s"),
        (940_000, "940 Mbit/s"),
        (999_999, "1,000 Mbit/s"),
        (1_000_000, "1 Gbit/s"),
        (1_250_000, "1.25 Gbit/s"),
        (10_000_000, "10 Gbit/s"),
    ],
)
def test_speeds_are_said_as_the_trade_does(kbps: int | None, said: str) -> None:
    assert wording.speed(kbps) == said


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (None, "0 bytes"),
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1_000, "1 kB"),
        (999_600, "1 MB"),
        (4_294_967_296, "4.29 GB"),
        (12_340_000_000, "12.3 GB"),
        (1_500_000_000_000_000, "1,500 TB"),
    ],
)
def test_volumes_have_three_figures_and_a_unit(count: int | None, said: str) -> None:
    assert wording.bytes_in_words(count) == said


@pytest.mark.parametrize(
    ("count", "unit", "said"),
    [
        (1, "minute", "1 minute"),
        (90, "minute", "90 minutes"),
        (2_000, "", "2,000"),
        (1_000_000_000, "byte", "1 GB"),
    ],
)
def test_quantities_name_their_unit(count: int, unit: str, said: str) -> None:
    assert wording.quantity(count, unit) == said


@pytest.mark.parametrize(
    ("shift", "said"),
    [
        (timedelta(), "just now"),
        (timedelta(seconds=-59), "just now"),
        (timedelta(seconds=30), "in a moment"),
        (timedelta(minutes=-1), "1 minute ago"),
        (timedelta(hours=-5), "5 hours ago"),
        (timedelta(days=3), "in 3 days"),
        (timedelta(days=-29), "29 days ago"),
        (timedelta(days=-70), "2 months ago"),
        (timedelta(days=800), "in 2 years"),
    ],
)
def test_times_are_said_from_now(shift: timedelta, said: str) -> None:
    assert wording.ago(NOW + shift, NOW) == said


@pytest.mark.parametrize(
    "model", [ProductOrder, OrderTask, Service, Purchase, OverallocationRequest]
)
def test_every_state_has_a_word_and_a_shape(model: type) -> None:
    for state in model.State.values:  # type: ignore[attr-defined]
        known = wording._LOOKS[model.__name__][state]
        assert known.word
        assert known.icon in ICONS


def test_states_of_one_kind_differ_in_more_than_colour() -> None:
    for looks in wording._LOOKS.values():
        words = [(look.word, look.icon) for look in looks.values()]
        assert len(set(words)) == len(words)


def test_an_unknown_state_is_shown_by_its_name() -> None:
    assert wording.look("Bill", "written_off").word == "Written off"


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "0 days"), (1, "1 day"), (20, "20 days"), (21, "3 weeks"), (45, "6 weeks")],
)
def test_days(count: int, words: str) -> None:
    assert wording.days(count) == words


@pytest.mark.parametrize("confidence", ServiceQualification.Confidence.values)
def test_every_level_of_confidence_has_words(confidence: str) -> None:
    assert wording.sureness(confidence).endswith(".")
