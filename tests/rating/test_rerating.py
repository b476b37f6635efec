"""Re-rating: the differences are charged and given back, once, and nothing when nothing changed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from ispops.parties.models import AuditEntry, Subscriber
from provisioning.models import Service
from rating import billing, queries, rerating, simulations
from rating.models import Charge, Simulation
from rating.simulations import NotSimulated
from tests import factories
from tests.rating.ground import JUNE, MAY, Shop, charges, event, posted, rate, report, subscribed
from tests.rating.test_priced_use import sold
from tests.rating.test_simulations import KINDS, LATER, drafted, report_all, tally, tried

pytestmark = pytest.mark.django_db
D = Decimal
NOW = datetime(2026, 11, 27, tzinfo=UTC)
PARTS = ("amount_net", "isp_share", "bsp_share", "network_provider_share", "amount_tax")


def rerated(simulation: Simulation, at: datetime = NOW) -> Simulation:
    """The simulation's differences, posted until nothing was left to do."""
    row = simulations.rerate(simulation=simulation, actor=factories.staff("Finance", at=NOW), at=at)
    return worked(row, at)


def worked(row: Simulation, at: datetime = NOW) -> Simulation:
    while simulations.simulate_next(simulation_id=row.pk, at=at):
        pass
    row.refresh_from_db()
    assert (row.state, row.error) == ("completed", "")
    return row


def adjustments(account: Subscriber) -> list[Charge]:
    return charges(account, kind="adjustment")


@pytest.mark.parametrize("kind", KINDS)
def test_the_sum_is_what_it_should_have_been_and_again_is_nothing(
    kind: str, shop: Shop, line: Service, ada: Subscriber
) -> None:
    games = sold(shop, amount=D("0.03"))
    subscribed(line, games)
    report_all(shop, line, games, timedelta())
    billing.issue_bill(subscriber=ada, period=MAY, at=MAY.end)
    posted(ada)
    shown = tried(drafted(games, KINDS[kind], shop))
    assert not adjustments(ada)
    done = rerated(shown)
    assert (tally(done).paid, tally(done).would) == (tally(shown).paid, tally(shown).would)
    paid = charges(ada, offering=games)
    would = tally(shown).would
    assert [sum(getattr(row, part) for row in paid) * 10**6 for part in PARTS] == list(would)
    assert all(row.bsp == shop.films for row in adjustments(ada))
    before = Charge.objects.count()
    again = rerated(shown)
    assert Charge.objects.count() == before
    assert (tally(again).same, tally(again).paid) == (1, would)


def test_it_explains_itself_and_the_next_bill_takes_it(
    shop: Shop, line: Service, ada: Subscriber
) -> None:
    games = sold(shop, amount=D("0.10"))
    subscribed(line, games)
    report(shop.films, event(line, games, 100))
    rate()
    bill = billing.issue_bill(subscriber=ada, period=MAY, at=MAY.end)
    rerated(tried(drafted(games, {"amount": D("0.04")}, shop)))
    [back] = adjustments(ada)
    assert (back.amount_net, back.amount_tax, back.bsp_share) == (D(-6), D("-0.6"), D("-4.2"))
    why = queries.why(back)
    assert why["arithmetic"] == (
        "100 minute of the period: USD 4.00 at the price “Tried”, and USD 10.00 was charged: "
        "USD -6.00"
    )
    assert why["rule"].startswith("What use comes to at the right price")
    assert back.bill_line is None
    later = billing.issue_bill(subscriber=ada, period=JUNE, at=JUNE.end)
    back.refresh_from_db()
    assert back.bill_line is not None
    assert (back.bill_line.bill, bill.pk != later.pk) == (later, True)
    assert AuditEntry.objects.filter(action="price.rerated").count() == 1


def test_use_that_comes_late_is_put_right_by_night(
    shop: Shop, line: Service, ada: Subscriber
) -> None:
    games = sold(shop, amount=D("0.10"))
    subscribed(line, games)
    report(shop.films, event(line, games, 100))
    rate()
    first = rerated(tried(drafted(games, {"amount": D("0.04")}, shop)), at=LATER)
    assert simulations.follow_reratings(at=LATER) == 0
    report(shop.films, event(line, games, 50), at=LATER)
    rate(at=LATER + timedelta(hours=1))
    assert simulations.follow_reratings(at=LATER + timedelta(hours=2)) == 1
    follow = Simulation.objects.filter(posts=first.posts).latest("created_at")
    assert follow.accounts == [str(ada.pk)]
    worked(follow)
    posted(ada)
    assert sum(row.amount_net for row in charges(ada, offering=games)) == 6
    assert simulations.follow_reratings(at=LATER + timedelta(hours=3)) == 0


def test_of_two_that_contradict_the_later_is_followed(
    shop: Shop, line: Service, ada: Subscriber
) -> None:
    games = sold(shop, amount=D("0.10"))
    subscribed(line, games)
    report(shop.films, event(line, games, 100))
    rate()
    rerated(tried(drafted(games, {"amount": D("0.04")}, shop)), at=NOW)
    last = rerated(
        tried(drafted(games, {"amount": D("0.05")}, shop)), at=NOW + timedelta(minutes=1)
    )
    posted(ada)
    assert sum(row.amount_net for row in charges(ada, offering=games)) == 5
    assert rerating.in_force(Simulation.objects.filter(posts__isnull=False)) == [last]


def test_only_what_was_shown_to_the_end_is_posted(shop: Shop, line: Service) -> None:
    games = sold(shop)
    subscribed(line, games)
    shown = tried(drafted(games, {"amount": D("0.04")}, shop))
    actor = factories.staff("Finance", at=NOW)
    done = rerated(shown)
    with pytest.raises(NotSimulated):
        simulations.rerate(simulation=done, actor=actor, at=NOW)
    Simulation.objects.filter(pk=shown.pk).update(state="failed")
    shown.refresh_from_db()
    with pytest.raises(NotSimulated):
        simulations.rerate(simulation=shown, actor=actor, at=NOW)
