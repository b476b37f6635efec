"""Months of usage: made before they come, closed when nothing waits, and detached."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from ispops.parties.models import Subscriber
from provisioning.models import Service
from rating import partitions, posting
from rating.models import Charge
from tests.rating.ground import JUNE, NOON, Shop, charges, event, rate, report, subscribed

pytestmark = pytest.mark.django_db
LATER = JUNE.end + timedelta(days=60)


@pytest.fixture
def use(shop: Shop, line: Service) -> None:
    subscribed(line, shop.minutes)
    report(shop.films, event(line, shop.minutes, 150))


def months() -> list[str]:
    """The open months until then: a month that any test made stays for all tests."""
    return [f"{month:%Y-%m}" for month in partitions.open_months() if month < LATER]


def listed() -> str:
    out = StringIO()
    call_command("usage_months", stdout=out)
    return out.getvalue()


def test_the_next_is_made_and_what_waits_keeps_its_month_open(use: None) -> None:
    assert partitions.tend_months(at=LATER) == []
    assert months()[0] == "2026-05"
    assert f"{LATER + timedelta(days=31):%Y-%m}" in listed()
    rate()
    assert partitions.tend_months(at=LATER) == []
    posting.post_rated_usage(until=LATER)
    assert partitions.tend_months(at=LATER) == [datetime(2026, 5, 1, tzinfo=UTC)]
    assert "2026-05" not in months()
    assert partitions.tend_months(at=LATER) == []


def test_what_a_closed_month_holds_is_not_charged_again(use: None, ada: Subscriber) -> None:
    rate()
    posting.post_rated_usage(until=LATER)
    partitions.close_month(month=NOON, at=LATER)
    before = charges(ada, kind="usage")
    assert posting.due(subscriber=ada) == []
    posting.post_rated_usage(until=LATER)
    assert charges(ada, kind="usage") == before


def test_the_command_lists_and_says_what_hinders(use: None) -> None:
    assert "2026-05  open\n" in listed()
    out = StringIO()
    with pytest.raises(CommandError, match="waits to be rated"):
        call_command("usage_months", "--close", "2026-05", stdout=out)
    with pytest.raises(CommandError, match="Detach this month after"):
        call_command("usage_months", "--detach", "2026-05", stdout=out)


def test_a_step_that_was_timed_before_the_one_it_follows_is_charged_with_it(
    shop: Shop, line: Service, ada: Subscriber
) -> None:
    """Two workers' clocks, or one that waited for its lane, may differ from the order of steps."""
    subscribed(line, shop.minutes)
    for quantity, hours in ((150, 5), (100, 4)):
        report(shop.films, event(line, shop.minutes, quantity))
        rate(at=NOON + timedelta(hours=hours))
    posting.post_rated_usage(until=NOON + timedelta(hours=4, minutes=30))
    [charge] = charges(ada, kind="usage")
    assert (charge.step_before, charge.step_after, charge.quantity) == (0, 2, 250)
    assert charge.charged_at < NOON + timedelta(hours=4, minutes=30)
    posting.post_rated_usage(until=NOON + timedelta(hours=6))
    assert Charge.objects.filter(kind="usage").count() == 1
