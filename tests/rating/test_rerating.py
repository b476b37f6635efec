"""Re-rating: the differences are charged and given back, once, and nothing when nothing changed."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

import pytest
from django.conf import settings

from ispops.catalog import publishing
from ispops.catalog.models import ProductOffering
from ispops.notices.models import Notice
from ispops.parties.models import AuditEntry, Subscriber
from provisioning import partner_orders
from provisioning.models import Service
from rating import billing, cancelling, posting, queries, refunds, rerating, simulations
from rating.models import Charge, Simulation
from rating.simulations import NotSimulated
from tests import factories
from tests.rating.ground import (
    JUNE,
    MAY,
    NOON,
    Shop,
    buy,
    charges,
    event,
    package,
    posted,
    product,
    rate,
    report,
    subscribed,
    total,
)
from tests.rating.test_priced_use import sold, used
from tests.rating.test_simulations import KINDS, LATER, drafted, report_all, tally, tried
from tests.small_isp import LAUNCH, priced

pytestmark = pytest.mark.django_db
D = Decimal
NOW = datetime(2026, 11, 27, tzinfo=UTC)
PARTS = ("amount_net", "isp_share", "bsp_share", "network_provider_share", "amount_tax")


def rerated(simulation: Simulation, at: datetime = NOW) -> Simulation:
    """The simulation's differences, posted until nothing was left to do."""
    actor = factories.staff("Finance", at=NOW)
    row = simulations.rerate(simulation=simulation, actor=actor, reason="Wrong price", at=at)
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
        "100 minutes of the period: USD 4.00 at the price that is right, and USD 10.00 "
        "was charged: USD -6.00"
    )
    assert why["rule"].startswith("What use comes to at the right price")
    assert why["price"] == ""
    told = Notice.objects.get(kind="price_put_right")
    assert (told.subscriber, told.address) == (ada, ada.email)
    assert "We have put that right. You get USD 6.60 back." in " ".join(told.body.split())
    assert back.public_id in told.body + str(told.links)
    assert back.bill_line is None
    later = billing.issue_bill(subscriber=ada, period=JUNE, at=JUNE.end)
    back.refresh_from_db()
    assert back.bill_line is not None
    assert (back.bill_line.bill, bill.pk != later.pk) == (later, True)
    assert AuditEntry.objects.get(action="price.rerated").reason == "Wrong price"


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
    # Each of the two told its own sum, with tax.
    [before, after] = Notice.objects.filter(kind="price_put_right").order_by("pk")
    assert "You get USD 6.60 back." in " ".join(before.body.split())
    assert "You get USD 3.30 back." in " ".join(after.body.split())


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
        simulations.rerate(simulation=done, actor=actor, reason="Again", at=NOW)
    Simulation.objects.filter(pk=shown.pk).update(state="failed")
    shown.refresh_from_db()
    with pytest.raises(NotSimulated):
        simulations.rerate(simulation=shown, actor=actor, reason="Again", at=NOW)


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


def test_use_of_a_bundle_that_never_came_is_left_out(
    shop: Shop, line: Service, ada: Subscriber
) -> None:
    games = sold(shop)
    priced(games, "3", LAUNCH)
    made = package("both", (games, 1), (shop.storage, 1), is_subscription=True)
    publishing.set_price(offering=made, charge="recurring", amount=D(4), at=LAUNCH)
    whole = buy(line, made)
    granted = NOON + timedelta(minutes=1)
    part = whole.parts.get(offering=games)
    partner_orders.complete(
        service_order_id=part.service_order_id, partner=games.provider, at=granted
    )
    factories.deliver_events(at=granted)
    used(shop, line, games, 30, started_at=(granted + timedelta(minutes=1)).isoformat())
    cancelling.cancel_purchase(purchase_id=whole.pk, reason="No.", at=NOON + timedelta(hours=9))
    shown = tried(drafted(games, {"amount": D("0.04"), "period_minimum": D(9)}, shop))
    assert (tally(shown).accounts, tally(shown).would.net) == (0, 0)
    before = len(charges(ada))
    rerated(shown)
    assert len(charges(ada)) == before


class TestUnitsThatAreCarriedOver:
    """Ten a month were included by mistake, and twelve are right; what is left is good for one
    month more. Five were used in May, so five or seven were carried into June."""

    RIGHT: ClassVar[dict[str, Any]] = {"amount": D("0.10"), "allowance": 12, "rollover_periods": 1}
    ALL: ClassVar[dict[str, Any]] = {
        "first_month": date(2025, 12, 1), "last_month": date(2026, 6, 1)
    }  # fmt: skip

    @pytest.fixture
    def games(self, shop: Shop, line: Service) -> ProductOffering:
        games = sold(shop, allowance=10, rollover_periods=1)
        subscribed(line, games)
        used(shop, line, games, 5)
        used(shop, line, games, 20, started_at=(JUNE.start + timedelta(hours=1)).isoformat())
        return games

    def test_all_months_of_the_price_are_put_right_together(
        self, shop: Shop, line: Service, ada: Subscriber, games: ProductOffering
    ) -> None:
        since = datetime(2026, 7, 1, tzinfo=ZoneInfo(settings.BILLING_TIME_ZONE))
        publishing.set_price(offering=games, charge="usage", unit="minute", at=since, **self.RIGHT)
        posted(ada)
        assert total(charges(ada, offering=games), "amount_net") == D("0.50")
        shown = tried(drafted(games, self.RIGHT, shop), **self.ALL)
        for _ in range(2):
            rerated(shown)
        [back] = adjustments(ada)
        assert (back.amount_net, back.period_start) == (D("-0.40"), JUNE.start)
        # What is told only now of May was not left over for June.
        report(shop.films, event(line, games, 6), at=NOW)
        rate(at=NOW + timedelta(hours=2))
        posting.save(posting.due(subscriber=ada))
        assert simulations.follow_reratings(at=NOW + timedelta(days=1)) == 1
        worked(Simulation.objects.order_by("created_at").last(), NOW + timedelta(days=1))
        assert total(charges(ada, offering=games), "amount_net") == D("0.70")

    @pytest.mark.parametrize(
        ("months", "words"),
        [
            ({"first_month": date(2026, 5, 1)}, "from December 2025 on"),
            ({"last_month": date(2026, 5, 1)}, "Publish the right price"),
        ],
    )
    def test_not_some_of_them(
        self, shop: Shop, games: ProductOffering, months: dict[str, date], words: str
    ) -> None:
        since = datetime(2026, 7, 1, tzinfo=ZoneInfo(settings.BILLING_TIME_ZONE))
        publishing.set_price(offering=games, charge="usage", unit="minute", at=since, **self.RIGHT)
        shown = tried(drafted(games, self.RIGHT, shop), **(self.ALL | months))
        with pytest.raises(NotSimulated, match=words):
            rerated(shown)

    def test_nor_while_the_price_is_in_force(self, shop: Shop, games: ProductOffering) -> None:
        shown = tried(drafted(games, self.RIGHT, shop), **self.ALL)
        with pytest.raises(NotSimulated, match="Publish the right price"):
            rerated(shown)
