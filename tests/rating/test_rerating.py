"""Re-rating: the differences are charged and given back, once, and nothing when nothing changed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from ispops.catalog import publishing
from ispops.parties.models import AuditEntry, Subscriber
from provisioning.models import Service
from rating import billing, queries, refunds, rerating, simulations
from rating.models import Charge, Simulation
from rating.simulations import NotSimulated
from tests import factories
from tests.rating.ground import (
    JUNE,
    MAY,
    Shop,
    charges,
    event,
    posted,
    product,
    rate,
    report,
    subscribed,
)
from tests.rating.test_priced_use import sold
from tests.rating.test_simulations import KINDS, LATER, drafted, report_all, tally, tried
from tests.small_isp import LAUNCH

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


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "rollover"])
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
        "100 minutes of the period: USD 4.00 at the price “Tried”, and USD 10.00 was charged: "
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
    rate(at=LATER + timedelta(minutes=30))
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


def test_what_went_back_by_hand_is_not_given_back_again(
    shop: Shop, line: Service, ada: Subscriber
) -> None:
    games = sold(shop, amount=D("0.10"))
    subscribed(line, games)
    report(shop.films, event(line, games, 100))
    rate()
    [charge] = posted(ada)
    refunds.refund_charge(
        charge_id=charge.pk, because="Wrong price", idempotency_key="r", at=NOW, percent=D(30)
    )
    shown = tried(drafted(games, {"amount": D("0.04")}, shop))
    rerated(shown)
    assert [row.amount_net for row in adjustments(ada)] == [D(-3), D(-3)]
    assert "of which USD 3.00 went back before" in queries.why(adjustments(ada)[-1])["arithmetic"]
    rerated(shown)
    assert len(adjustments(ada)) == 2


def test_after_a_rerating_only_what_is_left_can_be_refunded(
    shop: Shop, line: Service, ada: Subscriber
) -> None:
    games = sold(shop, amount=D("0.10"))
    subscribed(line, games)
    report(shop.films, event(line, games, 100))
    rate()
    [charge] = posted(ada)
    rerated(tried(drafted(games, {"amount": D("0.04")}, shop)))
    with pytest.raises(refunds.RefundTooLarge):
        refunds.refund_charge(
            charge_id=charge.pk, because="All of it", idempotency_key="a", at=NOW, percent=D(90)
        )
    refunds.refund_charge(charge_id=charge.pk, because="The rest", idempotency_key="b", at=NOW)
    assert sum(row.amount_net + row.amount_tax for row in charges(ada, offering=games)) == 0


def test_use_that_had_no_price_is_charged_once(shop: Shop, line: Service, ada: Subscriber) -> None:
    games = product("free", "Free games", shop.films, LAUNCH, is_subscription=True)
    publishing.set_price(offering=games, charge="recurring", amount=D(1), at=LAUNCH)
    subscribed(line, games)
    report(shop.films, event(line, games, 100))
    rate()
    shown = tried(drafted(games, {"amount": D("0.04")}, shop))
    for _ in range(2):
        rerated(shown)
    assert [row.amount_net for row in adjustments(ada)] == [D(4)]


def test_units_that_are_carried_over_are_not_put_right_by_months(shop: Shop, line: Service) -> None:
    games = sold(shop, allowance=10, rollover_periods=1)
    subscribed(line, games)
    shown = tried(drafted(games, {"amount": D("0.04")}, shop))
    with pytest.raises(NotSimulated, match="carried over"):
        rerated(shown)
