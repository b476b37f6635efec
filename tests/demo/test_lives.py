"""The demonstration's past: two households by the product's verbs, once, on any day of the year."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest
from django.db import transaction
from django.test import override_settings

from ispops.demo import household

if TYPE_CHECKING:
    from ispops.parties.models import Subscriber

OPENED = datetime(2025, 1, 1, tzinfo=UTC)
# A start on which the period before is short, and ends with a month.
NOW = datetime(2026, 3, 21, 15, 30, tzinfo=UTC)
NEW_YORK = ZoneInfo("America/New_York")


@pytest.fixture(scope="module")
def nora(
    django_db_setup: None, django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Subscriber]:
    folder: Path = tmp_path_factory.mktemp("demo")
    with (
        django_db_blocker.unblock(),
        override_settings(DEMO=True, DATA_DIR=folder),
        transaction.atomic(),
    ):
        from ispops.demo import catalogue, coverage, lives, network, people, places
        from ispops.parties.models import Subscriber

        people.load(at=NOW)
        for part in (places, coverage, catalogue):
            part.load(at=OPENED)
        network.load(at=NOW)
        lives.live(at=NOW)
        yield Subscriber.objects.get(email=people.LIVING.email)
        transaction.set_rollback(True)


def test_seven_tenths_of_the_allowance_are_used(nora: Subscriber) -> None:
    from ispops.portal import consumption
    from provisioning.models import Service

    line = Service.objects.get(subscriber=nora, line=None)
    now, before = consumption.periods_of(line, NOW)[:2]

    used = consumption.usage_of(line, nora, NOW)
    assert used.period == now
    assert used.standing is not None
    assert 66 <= (used.standing.percent or 0) <= 74
    assert used.forecast is not None
    assert used.forecast.beyond
    assert all(day.total for day in used.days), "every day has some use"

    was = consumption.usage_of(line, nora, before.end - timedelta(seconds=1))
    assert was.standing is not None
    assert was.standing.beyond, "some of it was charged before the pack was bought"
    assert was.standing.packs == 200 * 10**9


def test_last_month_is_billed_and_paid(nora: Subscriber) -> None:
    from rating import ledger
    from rating.models import CustomerBill

    [bill] = CustomerBill.objects.filter(subscriber=nora)
    names = set(bill.lines.values_list("description", flat=True))
    assert {"Harbor Fiber 300", "Harbor Fiber 300, use", "200 GB more, once"} <= names
    assert "Cinebox film, given back" in names
    owed = ledger.account(ledger.Kind.RECEIVABLE, nora.currency, subscriber=nora)
    assert sum(entry.amount for entry in owed.entries.all()) == 0


def test_something_waits_for_everybody(nora: Subscriber) -> None:
    from ipam.models import Allocation, OverallocationRequest
    from ispops.catalog.models import PriceDraft
    from provisioning.models import AccessSession, Appointment
    from rating import reported
    from rating.models import Dispute, Purchase, Reservation, Simulation, UsageConflict

    codes = set(reported.in_error().values_list("error_code", flat=True))
    assert codes == {"unknown_subscriber", "unknown_offering"}
    assert UsageConflict.objects.count() == 1
    assert Dispute.objects.get().state == "open"
    assert OverallocationRequest.objects.get(state="pending").device == "02:00:5e:10:a1:03"
    assert Reservation.objects.filter(released_at=None, held_until__gt=NOW).count() == 1
    assert not Purchase.objects.exclude(state="completed").exists()
    assert PriceDraft.objects.get().published_at is None
    assert Simulation.objects.get().accounts_total == 2
    held = Allocation.objects.filter(holder__subscriber=nora, state="active", counts=True)
    assert set(held.values_list("device", flat=True)) == {
        "02:00:5e:10:a1:01", "02:00:5e:10:a1:02"
    }  # fmt: skip
    assert Appointment.objects.filter(state="done").count() == 2
    assert AccessSession.objects.filter(service__subscriber=nora, ended_at=None).count() == 1


def test_loading_again_changes_nothing(nora: Subscriber) -> None:
    from ispops.demo import lives
    from ispops.models import Event
    from rating.models import Charge, Usage

    def counts() -> list[int]:
        return [model.objects.count() for model in (Event, Charge, Usage)]

    before = counts()
    lives.live(at=NOW + timedelta(days=1))
    assert counts() == before


@pytest.mark.parametrize("day", [NOW + timedelta(days=number) for number in range(0, 730, 13)])
def test_the_weeks_fit_on_any_day(day: datetime) -> None:
    from ispops.demo.lives import Times

    times = Times.of(day)
    assert times.before.end == times.running.start <= day < times.running.end
    assert 20 <= (day - times.running.start).days <= 24
    began = times.before.start.astimezone(NEW_YORK)
    assert began.day == times.running.start.astimezone(NEW_YORK).day <= 28


def test_a_session_tells_what_was_used_in_it() -> None:
    began = datetime(2026, 3, 6, 21, tzinfo=UTC)
    told = list(household.readings(began, began + timedelta(days=1), 10.0, NEW_YORK))
    assert [one.kind for one in told] == ["Start", *["Interim-Update"] * 2, "Stop"]
    totals = [one.downloaded + one.uploaded for one in told]
    assert totals == sorted(totals)
    cut = list(household.readings(began, began + timedelta(hours=5), 10.0, NEW_YORK))
    assert [one.kind for one in cut] == ["Start", *["Interim-Update"] * 2]
    assert cut[-1].at == began + timedelta(hours=5)
    assert totals[1] < cut[-1].downloaded + cut[-1].uploaded < totals[2]


def test_a_weekend_has_more_use_than_a_working_day() -> None:
    saturday = datetime(2026, 3, 7, tzinfo=NEW_YORK)
    tuesday = datetime(2026, 3, 10, tzinfo=NEW_YORK)
    day = timedelta(days=1)
    assert household.total_weight(saturday, saturday + day) > household.total_weight(
        tuesday, tuesday + day
    )
