"""A draft on past use: what is in force changes nothing, and what is published rates as tried."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from hypothesis import given
from hypothesis import strategies as st

from ispops.catalog import drafts, publishing
from ispops.catalog.models import PriceDraft, ProductOffering
from ispops.errors import InvalidInput
from ispops.money import from_micros
from ispops.parties.models import AuditEntry, Subscriber
from provisioning.models import Service
from rating import billing, purchases, simulations
from rating.differences import Parts, Tally, bar_names, bar_of
from rating.models import Charge, RatedUsage, SimulatedUse, Simulation
from tests import factories
from tests.rating.ground import (
    JUNE,
    MAY,
    NOON,
    Shop,
    buy,
    charges,
    event,
    posted,
    product,
    rate,
    report,
    subscribed,
    total,
)
from tests.rating.test_priced_use import sold, used
from tests.small_isp import LAUNCH

D = Decimal
NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
# Use may be reported so late, and not much later.
LATER = datetime(2026, 8, 20, tzinfo=UTC)
TIERS = [{"up_to": 100, "amount": "0.10", "flat": "1"}, {"up_to": None, "amount": "0.05"}]
NIGHT = {"name": "Night", "days": list(range(7)), "start": "10:00", "end": "14:00",
         "amount": "0.01", "counts": False}  # fmt: skip
# Of every kind that the catalogue has, and what goes with each.
KINDS: dict[str, dict[str, Any]] = {
    "flat": {"counts_events": True, "amount": D("0.25")},
    "unit": {"amount": D("0.07"), "block_size": 3, "period_maximum": D(4)},
    "package": {"amount": D(2), "block_size": 60, "counts_started_blocks": True},
    "graduated": {"amount": D(0), "tiers": TIERS, "allowance": 30, "discount_percent": D(10)},
    "volume": {"amount": D(0), "tiers": TIERS, "model": "volume", "allowance": 10},
    "stairstep": {"amount": D(0), "tiers": [
        {"up_to": 100, "amount": "5"}, {"up_to": None, "amount": "9"}], "model": "stairstep"},
    "percentage": {"amount": D("0.01"), "model": "percentage", "percent": D("12.5"),
                   "event_minimum": D("0.02"), "event_fee": D("0.01")},
    "bands": {"amount": D("0.10"), "bands": [NIGHT], "allowance": 20},
    "rollover": {"amount": D("0.10"), "allowance": 120, "rollover_periods": 2,
                 "rollover_most": 60},
    "discount": {"amount": D("0.10"), "discount_amount": D(1), "discount_periods": 1},
    "minimum": {"amount": D("0.01"), "period_minimum": D(9), "proration": "day"},
}  # fmt: skip
USES = ((40, 1), (75, 5), (7, 6), (90, 24 * 40))


def tried(draft: PriceDraft, **other: Any) -> Simulation:
    """A draft that was tried on May and June until nothing was left to do."""
    asked = {"first_month": date(2026, 5, 1), "last_month": date(2026, 6, 1)} | other
    row = simulations.simulate_draft(draft=draft, actor=draft.created_by, at=NOW, **asked)
    while simulations.simulate_next(simulation_id=row.pk, at=NOW):
        pass
    row.refresh_from_db()
    return row


def drafted(offering: ProductOffering, price: dict[str, Any], shop: Shop) -> PriceDraft:
    actor = factories.staff("Catalogue manager", at=NOON)
    given = {"charge": "usage", "unit": "minute"} | price
    return drafts.save_draft(offering=offering, title="Tried", actor=actor, at=NOON, **given)


def report_all(shop: Shop, line: Service, offering: ProductOffering, later: timedelta) -> None:
    for quantity, hours in USES:
        began = NOON + timedelta(hours=hours) + later
        ended = began + timedelta(minutes=quantity)
        told = event(
            line, offering, quantity, started_at=began.isoformat(), ended_at=ended.isoformat()
        )
        [answer] = report(shop.films, told, at=LATER)
        assert answer.status == "accepted", answer
        rate(at=LATER)


def tally(row: Simulation) -> Tally:
    return Tally.read(row.summary)


@pytest.mark.django_db
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_in_force_comes_to_exactly_what_was_charged(
    kind: str, shop: Shop, line: Service, ada: Subscriber
) -> None:
    games = sold(shop, terms={"minimum": D(1)}, **KINDS[kind])
    subscribed(line, games)
    publishing.set_settlement_term(
        offering=games, role="bsp", partner=shop.films, basis="percent_of_retail",
        percent=D(33), at=NOON + timedelta(hours=3),
    )  # fmt: skip
    report_all(shop, line, games, timedelta())
    billing.issue_bill(subscriber=ada, period=MAY, at=MAY.end)
    posted(ada)
    before = list(Charge.objects.order_by("pk").values())
    row = tried(drafted(games, KINDS[kind], shop))
    assert (row.state, row.error) == ("completed", "")
    found = tally(row)
    paid = charges(ada, offering=games)
    paid_for = ("amount_net", "isp_share", "bsp_share", "network_provider_share", "amount_tax")
    assert [from_micros(part) for part in found.paid] == [total(paid, part) for part in paid_for]
    assert found.paid == found.would
    assert found.paid.net > 0
    assert (found.same, found.more, found.less) == (1, 0, 0)
    results = list(row.results.order_by("period_start"))
    assert [result.period_start for result in results] == [MAY.start, JUNE.start]
    assert all(result.paid_net == result.would_net for result in results)
    assert list(Charge.objects.order_by("pk").values()) == before


@pytest.mark.django_db
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("minimum", "discount")])
def test_what_is_published_rates_as_it_was_tried(
    kind: str, shop: Shop, line: Service, ada: Subscriber
) -> None:
    games = sold(shop, amount=D("0.03"))
    subscribed(line, games)
    report_all(shop, line, games, timedelta())
    draft = drafted(games, KINDS[kind], shop)
    found = tally(tried(draft))
    assert found.paid.net == 212 * 30_000
    # Two periods later the same use comes again, at the price that the draft has become.
    later = timedelta(days=61)
    begin = datetime(2026, 7, 4, 4, tzinfo=UTC)
    price = drafts.publish_draft(draft=draft, valid_from=begin, actor=draft.created_by, at=NOON)
    report_all(shop, line, games, later)
    steps = list(RatedUsage.objects.filter(price=price))
    assert len(steps) == len(USES)
    assert from_micros(found.would.net) == total(steps)
    assert from_micros(found.would.bsp) == total(steps, "bsp_share")
    assert from_micros(found.would.tax) == total(steps, "amount_tax")
    assert (found.more, found.less) == ((1, 0) if found.would.net > found.paid.net else (0, 1))


@pytest.mark.django_db
class TestPacksAndPlans:
    def test_packs_that_were_bought_count(self, shop: Shop, line: Service, ada: Subscriber) -> None:
        price = {"amount": D("0.10"), "allowance": 10}
        games = sold(shop, **price)
        subscribed(line, games)
        pack = product("hour-pack", "Ten more minutes", shop.films, LAUNCH)
        publishing.set_price(
            offering=pack, charge="one_off", amount=D(1), at=LAUNCH,
            pack_for=games, pack_unit="minute", pack_units=10, pack_periods=2,
        )  # fmt: skip
        used(shop, line, games, 15)
        purchase = buy(line, pack, at=NOON + timedelta(hours=2))
        assert purchase.service_order_id is not None
        purchases.complete_purchase(service_order_id=purchase.service_order_id, at=NOON)
        used(shop, line, games, 8, 8)
        found = tally(tried(drafted(games, price, shop)))
        assert found.paid == found.would
        june_only = tally(tried(drafted(games, price, shop), first_month=date(2026, 6, 1)))
        assert june_only.accounts == 0

    def test_an_aggregated_plan_is_tried_with_its_parts_together(
        self, shop: Shop, line: Service, ada: Subscriber
    ) -> None:
        games, plan = sold(shop), shop.isp.bundle
        price = {"amount": D(1), "allowance": 100}
        publishing.set_price(offering=plan, charge="usage", unit="minute", at=LAUNCH, **price)
        for offering in (games, shop.minutes):
            part = subscribed(line, offering)
            part.bundle = plan
            part.save()
            part.periods.update(bundle=plan)
        used(shop, line, games, 70)
        used(shop, line, shop.minutes, 50)
        row = tried(drafted(plan, price, shop))
        assert tally(row).paid == tally(row).would
        assert tally(row).paid.net == 20_000_000
        result = row.results.get()
        assert (result.service, result.quantity) == (line, 120)
        # The part's own price did not rate that use, and does not when it is tried.
        assert tally(tried(drafted(games, price, shop))).accounts == 0

    def test_what_is_included_today_would_be_paid_for(
        self, shop: Shop, line: Service, ada: Subscriber
    ) -> None:
        games = product("games", "Games", shop.films, LAUNCH, is_subscription=True)
        publishing.set_price(offering=games, charge="recurring", amount=D(3), at=LAUNCH)
        subscribed(line, games)
        used(shop, line, games, 50)
        found = tally(tried(drafted(games, {"amount": D("0.10")}, shop)))
        assert (found.paid.net, found.would.net, found.more) == (0, 5_000_000, 1)


@pytest.mark.django_db
class TestTheWork:
    @pytest.fixture
    def draft(self, shop: Shop, line: Service, bob: Subscriber) -> PriceDraft:
        """Three accounts with a line each, of whom two have used something."""
        games = sold(shop)
        self.carol = factories.subscriber(at=NOON, name="Carol", email="carol@example.com")
        for owner in (bob, self.carol):
            other = factories.live_line(shop.isp, owner, at=NOON)
            subscribed(other, games)
            used(shop, other, games, 50 if owner == bob else 500)
        subscribed(line, games)
        return drafted(games, {"amount": D("0.05"), "period_maximum": D(4)}, shop)

    def test_a_worker_that_dies_is_gone_on_behind_and_nothing_counts_twice(
        self, draft: PriceDraft, monkeypatch: pytest.MonkeyPatch, bob: Subscriber
    ) -> None:
        monkeypatch.setattr(simulations, "ACCOUNTS_AT_ONCE", 1)
        row = simulations.simulate_draft(
            draft=draft, actor=draft.created_by, at=NOW,
            first_month=date(2026, 5, 1), last_month=date(2026, 5, 1),
        )  # fmt: skip
        assert row.accounts_total == 3
        whole = simulations._Turn._simulate
        calls: list[int] = []

        def dies(turn: Any, *arguments: Any) -> None:
            calls.append(1)
            if len(calls) == 3:
                raise KeyboardInterrupt
            whole(turn, *arguments)

        monkeypatch.setattr(simulations._Turn, "_simulate", dies)
        with pytest.raises(KeyboardInterrupt):
            simulations.simulate_next(simulation_id=row.pk, at=NOW)
        row.refresh_from_db()
        assert (row.accounts_done, row.state) == (2, "running")
        assert not simulations.simulate_next(simulation_id=row.pk, at=NOW)
        assert simulations.simulate_next(at=NOW + timedelta(hours=1))
        row.refresh_from_db()
        assert (row.state, row.accounts_done) == ("completed", 3)
        found = tally(row)
        assert (found.accounts, found.less) == (2, 2)
        assert (found.paid.net, found.would.net) == (55_000_000, 2_500_000 + 4_000_000)
        assert sum(result.would_net for result in row.results.all()) == D("6.5")
        one = row.results.filter(subscriber=bob).values()[0]
        del one["id"]
        with pytest.raises(IntegrityError, match="simulated_once"), transaction.atomic():
            SimulatedUse.objects.create(**one)

    def test_whoever_lost_the_lease_writes_nothing(
        self, draft: PriceDraft, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        row = simulations.simulate_draft(
            draft=draft, actor=draft.created_by, at=NOW,
            first_month=date(2026, 5, 1), last_month=date(2026, 5, 1),
        )  # fmt: skip
        whole = simulations.Trial.simulate

        def slow(trial: Any, batch: Any) -> Any:
            Simulation.objects.filter(pk=row.pk).update(leased_until=NOW + timedelta(days=1))
            return whole(trial, batch)

        monkeypatch.setattr(simulations.Trial, "simulate", slow)
        assert simulations.simulate_next(simulation_id=row.pk, at=NOW)
        row.refresh_from_db()
        assert (row.accounts_done, row.summary, row.results.count()) == (0, {}, 0)

    def test_only_the_accounts_that_were_named(self, draft: PriceDraft, bob: Subscriber) -> None:
        row = tried(draft, accounts=[bob])
        assert (row.accounts_total, tally(row).accounts) == (1, 1)
        assert row.results.get().subscriber == bob

    def test_what_cannot_be_stored_ends_it_and_says_why(
        self, draft: PriceDraft, shop: Shop, line: Service
    ) -> None:
        used(shop, line, draft.offering, 2_000)
        draft.facts |= {"amount": "1000000000", "period_maximum": None}
        draft.save()
        row = tried(draft)
        assert (row.state, row.results.count()) == ("failed", 0)
        assert row.error == (
            "It stopped after 0 of 3 accounts: 2000 minute cost more than can be stored; "
            "lower the amounts."
        )

    def test_the_draft_may_change_meanwhile(self, draft: PriceDraft) -> None:
        row = simulations.simulate_draft(
            draft=draft, actor=draft.created_by, at=NOW,
            first_month=date(2026, 5, 1), last_month=date(2026, 5, 1),
        )  # fmt: skip
        drafts.save_draft(
            offering=draft.offering, title="Other", draft=draft, charge="usage", unit="minute",
            amount=D(9), actor=draft.created_by, at=NOW,
        )  # fmt: skip
        simulations.simulate_next(simulation_id=row.pk, at=NOW)
        row.refresh_from_db()
        assert tally(row).would.net == 6_500_000
        assert AuditEntry.objects.filter(action="price_draft.simulated").count() == 1

    @pytest.mark.parametrize(
        ("first", "last", "field"),
        [
            (date(2026, 6, 1), date(2026, 5, 1), "last_month"),
            (date(2024, 1, 1), date(2026, 5, 1), "last_month"),
            (date(2026, 5, 1), date(2026, 12, 1), "last_month"),
            (date(1, 1, 1), date(1, 1, 1), "last_month"),
        ],
        ids=str,
    )
    def test_months_that_cannot_be_tried(
        self, draft: PriceDraft, first: date, last: date, field: str
    ) -> None:
        with pytest.raises(InvalidInput) as refused:
            tried(draft, first_month=first, last_month=last)
        assert refused.value.field == field
        assert not Simulation.objects.exists()

    def test_only_a_price_by_use_can_be_tried(self, shop: Shop) -> None:
        actor = factories.staff("Catalogue manager", at=NOON)
        once = drafts.save_draft(
            offering=shop.film, title="Film", charge="one_off", amount=D(5), actor=actor, at=NOON
        )
        with pytest.raises(InvalidInput):
            tried(once)


AMOUNTS = st.builds(Parts, *[st.integers(-(10**9), 10**9)] * 5)


@given(st.lists(st.tuples(AMOUNTS, AMOUNTS)), st.integers(0, 20))
def test_a_tally_adds_up_whenever_it_was_put_down(
    accounts: list[tuple[Parts, Parts]], cut: int
) -> None:
    kept = Tally()
    for number, (paid, would) in enumerate(accounts):
        if number == cut:
            kept = Tally.read(kept.written())
        kept.add(paid, would)
    assert kept.accounts == len(accounts) == sum(kept.bars)
    assert list(kept.paid) == [sum(paid[part] for paid, _ in accounts) for part in range(5)]
    assert list(kept.would) == [sum(would[part] for _, would in accounts) for part in range(5)]
    middle = len(kept.bars) // 2
    assert sum(kept.bars[:middle]) == kept.less
    assert kept.bars[middle] == kept.same
    assert len(bar_names()) == len(kept.bars)


@pytest.mark.parametrize(
    ("difference", "name"),
    [
        (0, "0"),
        (1, "+1"),
        (1_000_000, "+1"),
        (1_000_001, "+5"),
        (-50_000_000, "-50"),
        (-50_000_001, "-50+"),
        (10**15, "+50+"),
    ],
)
def test_a_difference_has_its_bar(difference: int, name: str) -> None:
    assert bar_names()[bar_of(difference)] == name
