"""Use that is reported, at a price of every model: the charges, what is given back, and why."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from ispops.catalog import publishing
from ispops.catalog.models import OfferingPrice, ProductOffering
from ispops.parties.models import Subscriber
from provisioning import services
from provisioning.models import Service
from rating import billing, by_meter, closing, posting, purchases, queries
from rating.models import Charge, RatedUsage, Usage, UsageClosing, UsagePack, UsedPrice
from rating.packs import NothingToTopUp
from tests.rating.ground import (
    JUNE,
    MAY,
    NOON,
    Shop,
    buy,
    charges,
    event,
    execute,
    product,
    rate,
    refused,
    report,
    subscribed,
    total,
)
from tests.small_isp import LAUNCH

pytestmark = pytest.mark.django_db
D = Decimal
VOLUME = [{"up_to": 100, "amount": "0.10"}, {"up_to": None, "amount": "0.05"}]
NIGHT = {"name": "Night", "days": list(range(7)), "start": "22:00", "end": "06:00"}


def sold(shop: Shop, at: datetime = LAUNCH, **price: Any) -> ProductOffering:
    """A partner's product, priced by the minute as a test wants it; the partner gets 70 %."""
    offering = product("hours", "Game hours", shop.films, at, is_subscription=True)
    terms = {"basis": "percent_of_net", "percent": D(70)} | price.pop("terms", {})
    publishing.set_settlement_term(
        offering=offering, role="bsp", partner=shop.films, at=at, **terms
    )
    given = {"amount": D("0.10"), "unit": "minute"} | price
    publishing.set_price(offering=offering, charge="usage", at=at, **given)
    return offering


def used(
    shop: Shop, line: Service, offering: ProductOffering, *quantities: int, **other: Any
) -> None:
    for quantity in quantities:
        told = event(line, offering, quantity, **other)
        [result] = report(shop.films, told, at=JUNE.end)
        assert result.status == "accepted", result
        rate(at=JUNE.end)
        posting.save(posting.due(subscriber=line.subscriber))


def newest() -> RatedUsage:
    return RatedUsage.objects.latest("step")


def why(charge: Charge) -> str:
    return str(queries.why(charge)["arithmetic"])


class TestModels:
    def test_volume_tiers_give_back_by_an_adjustment(
        self, shop: Shop, line: Service, ada: Subscriber
    ) -> None:
        games = sold(shop, amount=D(0), model="volume", tiers=VOLUME)
        subscribed(line, games)
        used(shop, line, games, 100, 10)
        first, second = charges(ada, offering=games)
        assert (first.kind, first.amount_net) == ("usage", D(10))
        assert (second.kind, second.amount_net, second.amount_tax) == (
            "adjustment", D("-4.50"), D("-0.45"),
        )  # fmt: skip
        assert (second.bsp_share, second.isp_share) == (D("-3.15"), D("-1.35"))
        assert second.reverses is None
        assert "4.50 is given back" in why(second)
        bill = billing.issue_bill(subscriber=ada, period=MAY, at=MAY.end)
        lines = bill.lines.filter(offering=games).order_by("position")
        assert [row.amount_net for row in lines] == [D(10), D("-4.50")]

    def test_the_database_refuses_a_use_that_gives_back_and_is_no_adjustment(
        self, shop: Shop, line: Service, ada: Subscriber
    ) -> None:
        games = sold(shop, amount=D(0), model="volume", tiers=VOLUME)
        subscribed(line, games)
        used(shop, line, games, 100, 10)
        with refused("only_an_adjustment_gives_back"):
            execute(
                "INSERT INTO rating_charge SELECT (jsonb_populate_record(c, jsonb_build_object("
                "'id', left(c.id::text, 24) || 'aaaaaaaaaaaa', 'cause', 'usage:0', "
                "'kind', 'usage'))).* "
                "FROM rating_charge c WHERE c.kind = 'adjustment'"
            )

    def test_stairsteps(self, shop: Shop, line: Service, ada: Subscriber) -> None:
        steps = [{"up_to": 60, "amount": "3"}, {"up_to": None, "amount": "5"}]
        games = sold(shop, amount=D(0), model="stairstep", tiers=steps)
        subscribed(line, games)
        used(shop, line, games, 10, 40, 20)
        assert [c.amount_net for c in charges(ada, offering=games)] == [D(3), D(0), D(2)]

    def test_each_event_at_one_price(self, shop: Shop, line: Service, ada: Subscriber) -> None:
        games = sold(shop, amount=D("0.25"), counts_events=True, allowance=1)
        subscribed(line, games)
        used(shop, line, games, 500, 7)
        assert [c.amount_net for c in charges(ada, offering=games)] == [D(0), D("0.25")]
        assert newest().units_after == 2

    def test_a_percentage_of_the_value(self, shop: Shop, line: Service, ada: Subscriber) -> None:
        games = sold(
            shop, unit="cent", amount=D("0.01"), model="percentage", percent=D("2.5"),
            event_minimum=D("0.20"), event_maximum=D(2),
        )  # fmt: skip
        subscribed(line, games)
        used(shop, line, games, 100, 2_000, 100_000, unit="cent")
        found = charges(ada, offering=games)
        assert [c.amount_net for c in found] == [D("0.20"), D("0.50"), D(2)]
        assert why(found[0]) == "2.5 % of 1.00, at least 0.20 = 0.20"
        assert newest().events_after == D("2.70")

    def test_hours_with_a_price_of_their_own(
        self, shop: Shop, line: Service, ada: Subscriber
    ) -> None:
        games = sold(shop, bands=[NIGHT | {"amount": "0.01", "counts": False}], allowance=30)
        subscribed(line, games)
        # From 21:00 to 23:00 in New York: an hour of the evening and one of the night.
        used(
            shop, line, games, 120, started_at="2026-05-05T01:00:00Z",
            ended_at="2026-05-05T03:00:00Z",
        )  # fmt: skip
        [charge] = charges(ada, offering=games)
        assert charge.amount_net == D("3.00") + D("0.60")
        assert why(charge) == (
            "120 minutes after 0 in the period: 30 included + 30 x 0.10 + 60 x 0.01 in Night; "
            "3.60 - 0.00 = 3.60"
        )
        assert (newest().units_after, newest().band_1) == (120, 60)

    def test_never_more_than_the_most_of_a_period(
        self, shop: Shop, line: Service, ada: Subscriber
    ) -> None:
        games = sold(shop, period_maximum=D(5))
        subscribed(line, games)
        used(shop, line, games, 40, 40)
        used(shop, line, games, 10, started_at=JUNE.start.isoformat())
        found = charges(ada, offering=games)
        assert [c.amount_net for c in found] == [D(4), D(1), D(1)]
        assert [c.bsp_share for c in found] == [D("2.8"), D("0.7"), D("0.7")]

    def test_a_discount_for_the_first_periods(
        self, shop: Shop, line: Service, ada: Subscriber
    ) -> None:
        games = sold(shop, discount_percent=D(50), discount_periods=1)
        subscribed(line, games)
        used(shop, line, games, 10)
        used(shop, line, games, 10, started_at=JUNE.start.isoformat())
        found = charges(ada, offering=games)
        assert [c.amount_net for c in found] == [D("0.50"), D(1)]
        assert "50 % off" in why(found[0])


class TestIncluded:
    def test_units_are_carried_and_late_use_takes_them_back(
        self, shop: Shop, line: Service, ada: Subscriber
    ) -> None:
        games = sold(shop, allowance=100, rollover_periods=1)
        subscribed(line, games)
        used(shop, line, games, 20)
        used(shop, line, games, 190, started_at=JUNE.start.isoformat())
        assert total(charges(ada, offering=games)) == 1
        used(shop, line, games, 30)
        late = charges(ada, offering=games)[-1]
        assert late.amount_net == D(3)
        assert "30 fewer carried into the period from 2026-06-04: 4.00 - 1.00 = 3.00" in why(late)
        assert late.period_start in MAY

    @pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)], ids=str)
    def test_the_sum_of_all_periods_does_not_depend_on_when_use_is_reported(
        self, shop: Shop, line: Service, ada: Subscriber, order: tuple[int, ...]
    ) -> None:
        games = sold(shop, allowance=100, rollover_periods=2, rollover_most=60)
        subscribed(line, games)
        told = [(20, NOON), (190, JUNE.start), (100, JUNE.end - timedelta(hours=1))]
        for number in order:
            quantity, started = told[number]
            used(shop, line, games, quantity, started_at=started.isoformat())
        # 60 of 80 are carried into June: 290 - 160 are charged there.
        assert total(charges(ada, offering=games)) == D(13)

    def test_a_pack_covers_what_is_used_after_it_was_bought(
        self, shop: Shop, line: Service, ada: Subscriber
    ) -> None:
        games = sold(shop, allowance=10)
        watching = subscribed(line, games)
        pack = product("hour-pack", "Ten more minutes", shop.films, LAUNCH)
        publishing.set_price(
            offering=pack, charge="one_off", amount=D(1), at=LAUNCH,
            pack_for=games, pack_unit="minute", pack_units=10,
        )  # fmt: skip
        used(shop, line, games, 15)
        purchase = buy(line, pack, at=NOON + timedelta(hours=2))
        assert not UsagePack.objects.exists()
        for _ in range(2):
            purchases.complete_purchase(
                service_order_id=purchase.service_order_id,  # type: ignore[arg-type]
                at=NOON + timedelta(hours=2),
            )
        granted = UsagePack.objects.get()
        assert (granted.service, granted.after, granted.units) == (watching, 5, 10)
        used(shop, line, games, 8, 8)
        of_use = charges(ada, offering=games)
        assert [c.amount_net for c in of_use] == [D("0.5"), D(0), D("0.6")]
        assert "8 included" in why(of_use[1])

    def test_a_pack_needs_what_it_is_for(self, shop: Shop, line: Service, ada: Subscriber) -> None:
        games = sold(shop)
        pack = product("hour-pack", "Ten more minutes", shop.films, LAUNCH)
        publishing.set_price(
            offering=pack, charge="one_off", amount=D(1), at=LAUNCH,
            pack_for=games, pack_unit="minute", pack_units=10,
        )  # fmt: skip
        with pytest.raises(NothingToTopUp) as refusal:
            buy(line, pack)
        assert refusal.value.detail == (
            "Ten more minutes is for Game hours, which this line does not have."
        )
        assert not charges(ada)

    def test_a_pack_is_taken_back_when_what_it_is_for_went_meanwhile(
        self, shop: Shop, line: Service, ada: Subscriber
    ) -> None:
        games = sold(shop)
        watching = subscribed(line, games)
        pack = product("hour-pack", "Ten more minutes", shop.films, LAUNCH)
        publishing.set_price(
            offering=pack, charge="one_off", amount=D(1), at=LAUNCH,
            pack_for=games, pack_unit="minute", pack_units=10,
        )  # fmt: skip
        purchase = buy(line, pack)
        services.cease(service=watching, at=NOON)
        done = purchases.complete_purchase(
            service_order_id=purchase.service_order_id,  # type: ignore[arg-type]
            at=NOON,
        )
        assert done is not None
        assert (done.state, "does not have" in done.reason) == ("reversed", True)
        assert sum(charge.amount_net for charge in charges(ada, offering=pack)) == 0
        assert not UsagePack.objects.exists()

    def test_the_parts_of_an_aggregated_plan_share_its_allowance(
        self, shop: Shop, line: Service, ada: Subscriber
    ) -> None:
        games, plan = sold(shop), shop.isp.bundle
        publishing.set_price(
            offering=plan, charge="usage", amount=D(1), unit="minute", allowance=100, at=LAUNCH
        )
        for offering in (games, shop.minutes):
            part = subscribed(line, offering)
            part.bundle = plan
            part.save()
            part.periods.update(bundle=plan)
        used(shop, line, games, 70)
        used(shop, line, shop.minutes, 50)
        found = charges(ada, kind="usage")
        assert [c.amount_net for c in found] == [D(0), D(20)]
        assert {c.bundle for c in found} == {plan}
        assert found[1].bsp_share == D(14)
        assert (newest().service, newest().step, newest().units_after) == (line, 2, 120)


class TestTheEndOfAPeriod:
    def test_the_least_is_made_up_for_once_and_late_use_is_in_it(
        self, shop: Shop, line: Service, ada: Subscriber
    ) -> None:
        games = sold(shop, period_minimum=D(31), proration="day")
        subscribed(line, games)
        used(shop, line, games, 10)
        preview = billing.running_bill(subscriber=ada, at=NOON)
        bill = billing.issue_bill(subscriber=ada, period=MAY, at=MAY.end)
        assert preview.amount_due == bill.amount_due
        [closed] = [c for c in charges(ada, offering=games) if c.cause.startswith("minimum:")]
        assert (closed.amount_net, closed.kind) == (D(30), "usage")
        assert (closed.bsp_share, closed.isp_share) == (D(21), D(9))
        assert (
            queries.why(closed)["rule"] == "What use costs at least in a period, less what it cost"
        )
        assert why(closed) == "at least 31.00 is due for the period, and 1.00 was charged: 30.00"
        used(shop, line, games, 290)
        assert charges(ada, offering=games)[-1].amount_net == 0
        used(shop, line, games, 20)
        assert charges(ada, offering=games)[-1].amount_net == 1
        assert closing.close_use(subscriber=ada, period=MAY, at=MAY.end) == []

    def test_the_least_of_a_part_is_not_due_where_the_plan_has_a_price_of_its_own(
        self, shop: Shop, line: Service, ada: Subscriber
    ) -> None:
        games, plan = sold(shop, period_minimum=D(31)), shop.isp.bundle
        publishing.set_price(
            offering=plan, charge="usage", amount=D(1), unit="minute", at=LAUNCH,
            period_minimum=D(5), proration="day",
        )  # fmt: skip
        part = subscribed(line, games)
        part.bundle = plan
        part.save()
        part.periods.update(bundle=plan)
        line.periods.update(bundle=plan)
        closing.close_use(subscriber=ada, period=MAY, at=MAY.end)
        [closed] = charges(ada, cause__startswith="minimum:")
        assert closed.amount_net == D(5)

    def test_a_partner_gets_what_it_is_guaranteed(
        self, shop: Shop, line: Service, ada: Subscriber
    ) -> None:
        games = sold(shop, proration="day", terms={"minimum": D(5)})
        subscribed(line, games)
        used(shop, line, games, 10)
        closing.close_use(subscriber=ada, period=MAY, at=MAY.end)
        [closed] = charges(ada, cause__startswith="minimum:")
        assert (closed.amount_net, closed.bsp_share, closed.isp_share) == (0, D("4.3"), D("-4.3"))

    def test_a_closed_counter_stays_closed(
        self, shop: Shop, line: Service, ada: Subscriber
    ) -> None:
        games = sold(shop, period_minimum=D(31))
        subscribed(line, games)
        closing.close_use(subscriber=ada, period=MAY, at=MAY.end)
        closed = UsageClosing.objects.get()
        with refused("append-only"):
            UsageClosing.objects.update(part=1)
        closed.pk = None
        with refused("closed_once"):
            closed.save(force_insert=True)


class TestTerms:
    def test_a_wholesale_price_counts_every_unit(
        self, shop: Shop, line: Service, ada: Subscriber
    ) -> None:
        terms = {"basis": "wholesale", "percent": D(0), "amount": D("0.60"), "block_size": 60}
        games = sold(shop, allowance=100, terms=terms)
        subscribed(line, games)
        used(shop, line, games, 90, 30)
        found = charges(ada, offering=games)
        assert [c.bsp_share for c in found] == [D("0.9"), D("0.3")]
        assert [c.isp_share for c in found] == [D("-0.9"), D("1.7")]

    def test_a_tiered_share_grows_with_the_period(
        self, shop: Shop, line: Service, ada: Subscriber
    ) -> None:
        tiers = [{"up_to": "5", "percent": "10"}, {"up_to": None, "percent": "50"}]
        games = sold(shop, terms={"basis": "tiered", "percent": D(0), "tiers": tiers})
        subscribed(line, games)
        used(shop, line, games, 40, 40)
        assert [c.bsp_share for c in charges(ada, offering=games)] == [D("0.4"), D("1.6")]

    def test_a_share_of_the_price_before_discounts(
        self, shop: Shop, line: Service, ada: Subscriber
    ) -> None:
        terms = {"basis": "percent_of_retail", "percent": D(50)}
        games = sold(shop, terms=terms, discount_percent=D(50))
        subscribed(line, games)
        used(shop, line, games, 10)
        [charge] = charges(ada, offering=games)
        assert (charge.amount_net, charge.bsp_share, charge.isp_share) == (D("0.5"), D("0.5"), 0)

    def test_a_price_may_be_taxed_by_a_category_of_its_own(
        self, shop: Shop, line: Service, ada: Subscriber
    ) -> None:
        publishing.set_tax_rate(category="games", percent=D(20), at=LAUNCH)
        games = sold(shop, tax_category="games")
        subscribed(line, games)
        used(shop, line, games, 10)
        [charge] = charges(ada, offering=games)
        assert charge.amount_tax == D("0.2")


class TestAUsedPrice:
    def test_it_is_never_changed_even_before_it_is_in_force(
        self, shop: Shop, line: Service, ada: Subscriber
    ) -> None:
        games = sold(shop)
        subscribed(line, games)
        used(shop, line, games, 10)
        used_price = OfferingPrice.objects.get(offering=games)
        # The database's clock is not ours: planned means planned by its own.
        planned = OfferingPrice.objects.create(
            offering=games, charge="usage", name="Later", currency="USD", amount=D(1),
            unit="hour", valid_from=LAUNCH + timedelta(days=36_500),
        )  # fmt: skip
        OfferingPrice.objects.filter(pk=planned.pk).update(amount=D(2))
        UsedPrice.objects.create(price=planned)
        with refused("was used"):
            OfferingPrice.objects.filter(pk=planned.pk).update(amount=D(3))
        with refused("foreign key", "is still referenced"):
            execute("DELETE FROM catalog_offeringprice WHERE id = %s", planned.pk)
        for change in (
            {"amount": D(9)},
            {"tiers": []},
            {"period_minimum": D(1)},
            {"model": "volume"},
        ):
            if getattr(used_price, next(iter(change))) != next(iter(change.values())):
                with refused("append-only", "was used"):
                    OfferingPrice.objects.filter(pk=used_price.pk).update(**change)

    def test_a_pack_is_never_edited(self, shop: Shop, line: Service, ada: Subscriber) -> None:
        games = sold(shop)
        watching = subscribed(line, games)
        UsagePack.objects.create(
            service=watching, price=OfferingPrice.objects.get(offering=games),
            purchase=watching.purchase, period_start=MAY.start, after=0, units=5, granted_at=NOON,
        )  # fmt: skip
        with refused("append-only"):
            UsagePack.objects.update(units=500)
        with refused("append-only"):
            UsagePack.objects.all()._raw_delete("default")


def test_rating_twice_changes_nothing(shop: Shop, line: Service, ada: Subscriber) -> None:
    games = sold(shop, amount=D(0), model="volume", tiers=VOLUME)
    subscribed(line, games)
    used(shop, line, games, 100, 10)
    before = [(c.pk, c.amount_net) for c in charges(ada)]
    assert rate(at=JUNE.end) == 0
    assert [(c.pk, c.amount_net) for c in charges(ada)] == before
    assert Usage.objects.with_state().filter(state="rated").count() == 2


def test_explanations_hold_no_floats(shop: Shop, line: Service, ada: Subscriber) -> None:
    games = sold(shop, discount_percent=D("12.5"), period_maximum=D(5))
    subscribed(line, games)
    used(shop, line, games, 33)
    [charge] = charges(ada, offering=games)

    def refuse(text: str) -> float:
        raise AssertionError(text)

    json.loads(json.dumps(charge.explanation), parse_float=refuse)


def test_uses_of_one_meter_stay_together_in_a_large_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(by_meter, "_ROWS_AT_ONCE", 2)
    rows: Any = [SimpleNamespace(meter=meter) for meter in "aaabccd"]
    pieces = ["".join(row.meter for row in piece) for piece in by_meter._pieces(rows)]
    assert pieces == ["aaa", "bcc", "d"]
