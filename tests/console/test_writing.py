"""How the console writes states, times, sizes and ids."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.apps import apps
from django.db import models
from pytest_django import Settings

from ispops.console import tones
from ispops.console.templatetags import console

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
ID = "ord_" + "0190" * 8
# What is over, or has not begun, and asks nothing of anybody.
QUIET = {
    "abandoned", "cancelled", "ceased", "closed", "discarded", "ended", "kept", "moved",
    "removed", "returned", "reversed", "rolled_back", "skipped", "withdrawn",
}  # fmt: skip


def states() -> set[str]:
    """Every state of every object of the product."""
    return {
        value
        for model in apps.get_models()
        for field in model._meta.fields
        if field.name in {"state", "standing"} and isinstance(field, models.CharField)
        for value, _ in field.choices or ()
    }


def test_every_state_has_a_tone_that_somebody_chose() -> None:
    unknown = {state for state in states() if tones.tone_of(state) == "idle"}

    assert unknown == QUIET


def test_a_state_is_a_word_a_shape_and_a_colour() -> None:
    written = console.state("failed", "Refused by the partner")

    assert "Refused by the partner" in written
    assert tones.SHAPES["bad"] in written
    assert "c-bad" in written


def test_shapes_differ_so_that_colour_is_not_needed() -> None:
    assert len(set(tones.SHAPES.values())) == len(tones.SHAPES)


@pytest.mark.parametrize(
    ("off", "words"),
    [
        (timedelta(0), "now"),
        (timedelta(seconds=-1), "1 second ago"),
        (timedelta(minutes=-59, seconds=-59), "59 minutes ago"),
        (timedelta(hours=-1), "1 hour ago"),
        (timedelta(days=4, hours=21), "in 4 days"),
        (timedelta(days=-45), "1 month ago"),
        (timedelta(days=800), "in 2 years"),
    ],
)
def test_times_are_relative_with_the_exact_one_on_hover(off: timedelta, words: str) -> None:
    with time_machine.travel(NOW, tick=False):
        written = console.ago(NOW + off)

    assert f">{words}<" in written
    assert re.search(r'title="[^"]+ E[SD]T"', written)


def test_times_of_a_table_are_those_of_the_isp_s_clock(settings: Settings) -> None:
    written = console.exact(NOW)
    assert 'title="23 Nov 2026 07:00:00 EST">23 Nov 07:00<' in written
    settings.BILLING_TIME_ZONE = "Europe/Berlin"
    assert 'title="23 Nov 2026 13:00:00 CET">23 Nov 13:00<' in console.exact(NOW)


def test_a_billing_period_begins_on_a_day_of_the_isps_time_zone() -> None:
    midnight = datetime(2026, 11, 23, 5, 0, tzinfo=UTC)

    assert ">23 Nov 2026<" in console.billing_day(midnight)
    assert ">22 Nov 2026<" in console.billing_day(midnight - timedelta(seconds=1))


def test_no_time_is_a_dash() -> None:
    assert console.ago(None) == console.exact(None) == "—"


@pytest.mark.parametrize(
    ("size", "words"),
    [(None, "—"), (0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (5_000_000_000, "5.0 GB"),
     (7 * 10**15, "7000.0 TB")],
)  # fmt: skip
def test_volumes(size: int | None, words: str) -> None:
    assert console.volume(size) == words


@pytest.mark.parametrize(
    ("kbps", "words"),
    [(None, "—"), (700, "700 kbit/s"), (25_000, "25 Mbit/s"), (1_000_000, "1 Gbit/s"),
     (2_500_000, "2.5 Gbit/s")],
)  # fmt: skip
def test_speeds(kbps: int | None, words: str) -> None:
    assert console.speed(kbps) == words


def test_ids_are_short_with_the_whole_one_to_copy() -> None:
    assert console.short(ID) == "ord_…900190"
    assert f'data-copy="{ID}"' in console.ref(ID)
    assert console.short("worker") == "worker"


def test_what_people_wrote_is_never_markup() -> None:
    hostile: Any = "<script>alert(1)</script>"

    for written in (
        console.state("failed", hostile), console.said(hostile), console.subject(hostile),
        console.ref(hostile), console.meter(5, hostile),
    ):  # fmt: skip
        assert "<script>" not in written


def test_ids_inside_a_text_are_shortened_there() -> None:
    assert console.said(f"Asked: {ID}.") == f'Asked: <span title="{ID}">ord_…900190</span>.'


def test_addresses_lose_the_length_that_only_says_so() -> None:
    assert console.address("100.64.0.9/32") == "100.64.0.9"
    assert console.address("2001:db8::/56") == "2001:db8::/56"


@pytest.mark.parametrize(
    ("quantity", "unit", "written"),
    [
        (3_100_000_000, "byte", "3.1 GB"),
        (1, "minute", "1 minute"),
        (1_300, "minute", "1,300 minutes"),
    ],
)
def test_use_is_counted_in_its_unit(quantity: int, unit: str, written: str) -> None:
    assert console.counted(quantity, unit) == written


def test_an_end_that_is_far_off_is_a_day() -> None:
    with time_machine.travel(NOW, tick=False):
        assert ">in 2 days<" in console.until(NOW + timedelta(days=2))
        assert ">20 Nov 2036<" in console.until(NOW + timedelta(days=3_650))
        assert console.until(None) == "—"
