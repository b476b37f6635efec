"""A new version of a price by use within a billing period: nothing is included twice."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from ispops.catalog import publishing
from ispops.catalog.models import OfferingPrice, ProductOffering
from ispops.parties.models import Subscriber
from provisioning import partner_orders
from provisioning.models import Service
from rating import billing, closing, posting, purchases
from rating.differences import Tally
from rating.models import RatedUsage, UsageClosing
from rating.standings import standings
from tests import factories
from tests.rating.ground import (
    JUNE,
    MAY,
    NOON,
    Shop,
    buy,
    charges,
    package,
    posted,
    product,
    rated,
    subscribed,
    total,
)
from tests.rating.test_priced_use import sold, used
from tests.rating.test_simulations import drafted, tried
from tests.small_isp import LAUNCH

pytestmark = pytest.mark.django_db
D = Decimal
CHANGE = NOON + timedelta(days=6)
BEFORE, AFTER, NEXT = (
    at.isoformat()
    for at in (NOON + timedelta(days=1), CHANGE + timedelta(days=1), JUNE.start + timedelta(days=1))
)
# The first is priced as columns of numbers, the others through their meters.
INCLUDED: dict[str, dict[str, Any]] = {
    "plain": {"allowance": 100},
    "capped": {"allowance": 100, "period_maximum": D(500)},
    "volume": {"allowance": 100, "model": "volume", "tiers": [{"up_to": None, "amount": "0.10"}]},
}


def again(games: ProductOffering, at: datetime = CHANGE, **price: Any) -> OfferingPrice:
    """Another version of a product's price, from a day within May's period on."""
    given = {"amount": D("0.20"), "unit": "minute"} | price
    return publishing.set_price(offering=games, charge="usage", at=LAUNCH, valid_from=at, **given)


@pytest.mark.parametrize("kind", INCLUDED)
@pytest.mark.parametrize("order", [(BEFORE, AFTER), (AFTER, BEFORE)], ids=["in order", "late"])
def test_what_is_included_is_given_once_in_a_period(
    kind: str, order: tuple[str, str], shop: Shop, line: Service, ada: Subscriber
) -> None:
    games = sold(shop, **INCLUDED[kind])
    subscribed(line, games)
    new = again(games, allowance=150)
    for at in order:
        used(shop, line, games, 80, started_at=at)
    assert total(charges(ada, offering=games)) == D(6)
    used(shop, line, games, 200, started_at=NEXT)
    # The next period is all the new one's.
    assert total(charges(ada, offering=games)) == D(16)
    assert {use.price_id for use in rated(ada) if use.period_start == JUNE.start} == {new.pk}


def test_the_charge_and_the_standing_say_which_version_counts(
    shop: Shop, line: Service, ada: Subscriber
) -> None:
    games = sold(shop, allowance=100)
    service = subscribed(line, games)
    again(games)
    used(shop, line, games, 80, 80, started_at=AFTER)
    said = str(charges(ada, offering=games)[-1].explanation["arithmetic"])
    assert said.endswith("the price from 2026-05-10 counts from the next billing period on")
    [now] = standings([service], CHANGE + timedelta(days=2))
    assert (now.included, now.used, now.price.amount) == (100, 160, D("0.10"))
    [later] = standings([service], JUNE.start)
    assert (later.included, later.used, later.price.amount) == (0, 0, D("0.20"))


def test_a_price_of_each_unit_alone_changes_at_once(
    shop: Shop, line: Service, ada: Subscriber
) -> None:
    games = sold(shop)
    subscribed(line, games)
    again(games)
    used(shop, line, games, 10, started_at=AFTER)
    used(shop, line, games, 10, started_at=BEFORE)
    assert sorted(row.amount_net for row in charges(ada, offering=games)) == [D(1), D(2)]


def test_whoever_begins_after_the_change_has_the_new_price_at_once(
    shop: Shop, line: Service, ada: Subscriber
) -> None:
    """They have never seen the one before."""
    games = sold(shop, allowance=100)
    new = again(games, allowance=10)
    service = subscribed(line, games, at=CHANGE + timedelta(hours=1))
    used(shop, line, games, 30, started_at=AFTER)
    assert total(charges(ada, offering=games)) == D(4)
    assert RatedUsage.objects.get().price_id == new.pk
    assert standings([service], CHANGE + timedelta(days=2))[0].price == new


def test_the_least_of_a_period_is_due_once(shop: Shop, line: Service, ada: Subscriber) -> None:
    games = sold(shop, period_minimum=D(9), proration="day")
    subscribed(line, games, at=MAY.start)
    again(games, period_minimum=D(20))
    billing.issue_bill(subscriber=ada, period=MAY, at=MAY.end)
    [least] = charges(ada, offering=games, cause__startswith="minimum:")
    assert least.amount_net == D(9)
    assert UsageClosing.objects.count() == 1
    closing.close_use(subscriber=ada, period=JUNE, at=JUNE.end)
    assert charges(ada, offering=games, period_start=JUNE.start)[0].amount_net == D(20)


def test_nothing_is_carried_out_of_a_period_that_the_price_before_had(
    shop: Shop, line: Service
) -> None:
    """Or what was included in May would be given again in June."""
    games = sold(shop, allowance=100, rollover_periods=1)
    service = subscribed(line, games)
    again(games, allowance=100, rollover_periods=1)
    used(shop, line, games, 100, started_at=AFTER)
    assert standings([service], JUNE.start)[0].included == 100
    used(shop, line, games, 110, started_at=NEXT)
    assert total(charges(line.subscriber, offering=games)) == D(2)


@pytest.mark.parametrize("kind", ["plain", "capped", "rollover"])
def test_what_was_in_force_tried_on_that_period_changes_nothing(
    kind: str, shop: Shop, line: Service, ada: Subscriber
) -> None:
    price = INCLUDED.get(kind, {"allowance": 100, "rollover_periods": 1})
    games = sold(shop, **price)
    subscribed(line, games)
    again(games, **price)
    used(shop, line, games, 80, 80, started_at=AFTER)
    used(shop, line, games, 130, started_at=NEXT)
    posted(ada)
    old = {"amount": D("0.10")} | price
    may = tried(drafted(games, old, shop), last_month=MAY.start.date())
    assert Tally.read(may.summary).paid.net == Tally.read(may.summary).would.net == 6_000_000
    new = {"amount": D("0.20")} | price
    june = tried(drafted(games, new, shop), first_month=JUNE.start.date())
    assert Tally.read(june.summary).paid.net == Tally.read(june.summary).would.net == 6_000_000
    assert posting.due(subscriber=ada) == []


def sold_in(how: str, games: ProductOffering, line: Service, shop: Shop) -> Service:
    """A product on a line from an hour after the change on: bought alone, or in a package."""
    at = CHANGE + timedelta(hours=1)
    if how == "alone":
        return subscribed(line, games, at=at)
    whole = package("evening", (games, 1), (shop.storage, 1), is_subscription=True)
    publishing.set_price(offering=whole, charge="recurring", amount=D(4), at=LAUNCH)
    bought = buy(line, whole, at=at)
    for part in bought.parts.order_by("pk"):
        partner_orders.complete(
            service_order_id=part.service_order_id, partner=part.offering.provider, at=at
        )
    factories.deliver_events(at=at)
    return bought.parts.get(offering=games).service


def priced_plan(shop: Shop) -> None:
    """An aggregated plan that nobody has, with a price by use."""
    plan = publishing.create_offering(code="family", name="Family", kind="bundle", at=LAUNCH)
    parts = (shop.isp.fast, 1), (shop.storage, 1)
    publishing.define_bundle(bundle=plan, components=parts, at=LAUNCH)
    publishing.set_price(offering=plan, charge="usage", unit="gigabyte", amount=D(1), at=LAUNCH)


@pytest.mark.parametrize("how", ["alone", "package", "package beside a plan"])
def test_what_is_bought_after_the_change_has_one_price_for_all_who_ask(
    how: str, shop: Shop, line: Service, ada: Subscriber
) -> None:
    """Whatever it was sold in, and whatever plans others have: its use, its packs, its standing."""
    if how == "package beside a plan":
        priced_plan(shop)
    games = sold(shop, allowance=100)
    new = again(games, allowance=10)
    service = sold_in(how, games, line, shop)
    assert standings([service], CHANGE + timedelta(days=2))[0].price == new
    more = product("more", "More hours", shop.films, LAUNCH)
    publishing.set_price(
        offering=more, charge="one_off", amount=D(5), pack_for=games, pack_unit="minute",
        pack_units=400, pack_periods=3, at=LAUNCH,
    )  # fmt: skip
    pack = buy(line, more, at=CHANGE + timedelta(hours=2))
    purchases.complete_purchase(service_order_id=pack.service_order_id, at=pack.placed_at)
    used(shop, line, games, 420, started_at=AFTER)
    assert total(charges(ada, offering=games, kind="usage")) == D(2)


@pytest.mark.parametrize("how", ["alone", "package", "package beside a plan"])
def test_the_least_is_due_at_the_price_that_its_use_had(
    how: str, shop: Shop, line: Service, ada: Subscriber
) -> None:
    if how == "package beside a plan":
        priced_plan(shop)
    games = sold(shop, period_minimum=D(9), proration="day")
    again(games, period_minimum=D(9), proration="day")
    sold_in(how, games, line, shop)
    used(shop, line, games, 100, started_at=AFTER)
    billing.issue_bill(subscriber=ada, period=MAY, at=MAY.end)
    assert [row.amount_net for row in charges(ada, offering=games, kind="usage")] == [D(20)]


def test_a_part_of_a_plan_keeps_the_version_that_it_had_before(
    shop: Shop, line: Service, ada: Subscriber
) -> None:
    """Joining a plan without a price of its own gives nothing a second time."""
    games = sold(shop, allowance=100)
    service = subscribed(line, games)
    again(games, allowance=100)
    plan = publishing.create_offering(code="family", name="Family", kind="bundle", at=LAUNCH)
    publishing.define_bundle(bundle=plan, components=((line.offering, 1), (games, 1)), at=LAUNCH)
    joined = CHANGE + timedelta(hours=1)
    for one in (line, service):
        one.periods.filter(ended_at=None).update(ended_at=joined)
        one.periods.create(offering=one.offering, bundle=plan, state="active", started_at=joined)
        one.bundle = plan
        one.save()
    used(shop, line, games, 100, started_at=BEFORE)
    used(shop, line, games, 10, started_at=AFTER)
    assert total(charges(ada, offering=games, kind="usage")) == D(1)
    assert standings([service], CHANGE + timedelta(days=2))[0].used == 110
