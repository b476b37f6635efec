"""Partners' usage: recorded once, guided, rated by a running total, and recycled."""

from __future__ import annotations

import itertools
from datetime import timedelta
from decimal import Decimal

import pytest

from ispops import jobs
from ispops.catalog import publishing
from ispops.catalog.models import OfferingPrice
from ispops.errors import InvalidInput
from ispops.parties.models import AuditEntry, Subscriber
from provisioning import services
from provisioning.models import PartnerSubscriber, Service
from rating import engine, pricing, stepping, tasks, usage
from rating.models import RatedUsage, Usage
from tests.rating.ground import (
    JUNE,
    MAY,
    NOON,
    Shop,
    event,
    posted,
    rate,
    rate_all,
    rated,
    report,
    share,
    subscribed,
    total,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def watching(shop: Shop, line: Service) -> Service:
    return subscribed(line, shop.minutes)


def one_use(**only: object) -> Usage:
    return Usage.objects.with_state().get(**only)


def states() -> list[tuple[str, str]]:
    return list(Usage.objects.with_state().order_by("pk").values_list("state", "error_code"))


class TestRecording:
    def test_an_event_is_guided_and_waits_to_be_rated(
        self, shop: Shop, line: Service, watching: Service, ada: Subscriber
    ) -> None:
        told = event(line, shop.minutes, attributes={"title": "Metropolis"})
        assert [r.status for r in report(shop.films, told)] == ["accepted"]
        use = one_use()
        assert (use.source, use.event_id, use.state) == ("films", told["event_id"], "received")
        assert (use.subscriber, use.service, use.offering) == (ada, watching, shop.minutes)
        assert (use.quantity, use.unit, use.attributes) == (10, "minute", {"title": "Metropolis"})

    def test_an_event_counts_once_for_ever(
        self, shop: Shop, line: Service, watching: Service, ada: Subscriber
    ) -> None:
        told = event(line, shop.minutes, 200)
        report(shop.films, told)
        rate()
        assert [r.status for r in report(shop.films, told, told)] == ["duplicate"] * 2
        assert rate() == 0
        assert (Usage.objects.count(), len(rated(ada))) == (1, 1)

    def test_the_same_id_with_other_content_is_a_conflict_and_the_first_stays(
        self, shop: Shop, line: Service, watching: Service
    ) -> None:
        told = event(line, shop.minutes, 10)
        other = told | {"quantity": 11}
        results = report(shop.films, told, other, told)
        assert [r.status for r in results] == ["accepted", "conflict", "duplicate"]
        assert [r.status for r in report(shop.films, other)] == ["conflict"]
        assert results[1].code == "event_id_reused"
        assert Usage.objects.get().quantity == 10

    def test_partners_may_use_the_same_ids(
        self, shop: Shop, line: Service, watching: Service
    ) -> None:
        subscribed(line, shop.storage)
        report(shop.films, event(line, shop.minutes, event_id="1"))
        stored = event(line, shop.storage, unit="gigabyte", event_id="1")
        assert report(shop.backup, stored)[0].status == "accepted"

    def test_good_rows_are_kept_whatever_the_others_are(
        self, shop: Shop, line: Service, watching: Service
    ) -> None:
        rows = [
            event(line, shop.minutes),
            {"event_id": "half"},
            "nonsense",
            event(line, shop.minutes, -1),
            event(line, shop.minutes),
        ]
        results = report(shop.films, *rows)
        assert [r.status for r in results] == ["accepted", "error", "error", "error", "accepted"]
        assert [r.event_id for r in results] == [
            rows[0]["event_id"],
            "half",
            "",
            rows[3]["event_id"],
            rows[4]["event_id"],
        ]
        assert (results[1].field, results[3].field) == ("started_at", "quantity")
        assert Usage.objects.count() == 2
        fixed = report(shop.films, rows[3] | {"quantity": 1})
        assert fixed[0].status == "accepted"

    @pytest.mark.parametrize("count", [0, 10_001])
    def test_a_report_has_a_size(self, shop: Shop, count: int) -> None:
        with pytest.raises(InvalidInput) as refused:
            report(shop.films, *[{}] * count)
        assert refused.value.field == "events"

    def test_a_large_report_takes_few_queries(
        self, shop: Shop, line: Service, watching: Service, django_assert_max_num_queries
    ) -> None:
        first = event(line, shop.minutes)
        rows = [first | {"event_id": f"n{n}"} for n in range(500)]
        with django_assert_max_num_queries(14):
            report(shop.films, *rows)
        assert Usage.objects.count() == 500

    def test_rating_is_asked_for_once_something_waits(
        self,
        shop: Shop,
        line: Service,
        watching: Service,
        monkeypatch: pytest.MonkeyPatch,
        django_capture_on_commit_callbacks,
    ) -> None:
        sent = []
        monkeypatch.setattr(jobs, "send", lambda task, **_: sent.append(task))
        told = event(line, shop.minutes)
        for _ in range(2):
            with django_capture_on_commit_callbacks(execute=True):
                report(shop.films, told)
        assert sent == [tasks.rate_stored_usage]


class TestGuiding:
    def kept(self, shop: Shop, told: dict[str, object], code: str) -> Usage:
        [result] = report(shop.films, told)
        assert (result.status, result.code, result.field) == ("error", code, "")
        use = one_use(event_id=told["event_id"])
        assert (use.state, use.error_code, use.error) == ("error", code, result.reason)
        return use

    def test_a_name_that_is_not_known(self, shop: Shop, line: Service, watching: Service) -> None:
        told = event(line, shop.minutes, subscriber_ref="psb_nobody")
        assert self.kept(shop, told, "unknown_subscriber").subscriber is None

    def test_the_name_that_another_partner_uses(
        self, shop: Shop, line: Service, watching: Service
    ) -> None:
        subscribed(line, shop.storage)
        theirs = PartnerSubscriber.objects.get(partner=shop.backup).reference
        told = event(line, shop.minutes, subscriber_ref=theirs)
        self.kept(shop, told, "unknown_subscriber")

    def test_another_partners_product(self, shop: Shop, line: Service, watching: Service) -> None:
        subscribed(line, shop.storage)
        told = event(line, shop.minutes) | {"offering": shop.storage.code}
        self.kept(shop, told, "unknown_offering")

    def test_a_product_that_the_subscriber_never_had(self, shop: Shop, line: Service) -> None:
        self.kept(shop, event(line, shop.minutes), "not_subscribed")

    def test_a_time_before_the_subscription(
        self, shop: Shop, line: Service, watching: Service
    ) -> None:
        early = (NOON - timedelta(minutes=6)).isoformat()
        self.kept(shop, event(line, shop.minutes, started_at=early), "not_subscribed")
        almost = (NOON - timedelta(minutes=5)).isoformat()
        told = event(line, shop.minutes, started_at=almost)
        assert report(shop.films, told)[0].status == "accepted"

    def test_a_time_after_the_subscription(
        self, shop: Shop, line: Service, watching: Service
    ) -> None:
        services.cease(service=watching, at=NOON + timedelta(minutes=30))
        self.kept(shop, event(line, shop.minutes), "not_subscribed")
        during = (NOON + timedelta(minutes=20)).isoformat()
        told = event(line, shop.minutes, started_at=during)
        assert report(shop.films, told)[0].status == "accepted"

    def test_what_was_bought_once_is_used_from_then_on(self, shop: Shop, line: Service) -> None:
        film = subscribed(line, shop.film)
        assert film.state == "ceased"
        assert report(shop.films, event(line, shop.film))[0].status == "accepted"
        early = (NOON - timedelta(hours=1)).isoformat()
        self.kept(shop, event(line, shop.film, started_at=early), "not_subscribed")


class TestRating:
    def test_the_allowance_comes_first_and_then_the_tiers(
        self, shop: Shop, line: Service, watching: Service, ada: Subscriber
    ) -> None:
        for quantity in (80, 40, 500):
            report(shop.films, event(line, shop.minutes, quantity))
        assert rate() == 3
        first, second, third = rated(ada)
        assert [c.amount_net for c in (first, second, third)] == [
            Decimal(0),
            Decimal("0.40"),
            Decimal("9.60") + Decimal("0.20"),
        ]
        assert (second.amount_tax, second.bsp_share, second.isp_share) == (
            Decimal("0.04"),
            Decimal("0.28"),
            Decimal("0.12"),
        )
        use = Usage.objects.order_by("pk")[1]
        assert (second.usage, second.service, second.bsp) == (use, watching, shop.films)
        assert (second.started_at, second.quantity) == (use.started_at, 40)
        assert [(c.units_after, c.period_start) for c in (first, second, third)] == [
            (80, MAY.start),
            (120, MAY.start),
            (620, MAY.start),
        ]
        assert {state for state, _ in states()} == {"rated"}

    @pytest.mark.parametrize("limit", [1, 2, 100])
    def test_totals_depend_on_neither_order_nor_batches(
        self, shop: Shop, line: Service, watching: Service, ada: Subscriber, limit: int
    ) -> None:
        quantities = [37, 1, 260, 99, 180, 3]
        for quantity in quantities[:: -1 if limit == 2 else 1]:
            report(shop.films, event(line, shop.minutes, quantity))
        while rate(limit=limit):
            pass
        rule = usage_price(shop)
        rows = rated(ada)
        net = rule.total(sum(quantities))
        assert total(rows) * 10**6 == net
        assert total(rows, "bsp_share") * 10**6 == net * 70 // 100
        assert total(rows, "isp_share") == total(rows) - total(rows, "bsp_share")

    def test_each_period_begins_anew(
        self, shop: Shop, line: Service, watching: Service, ada: Subscriber
    ) -> None:
        for started_at in (MAY.end - timedelta(microseconds=1), MAY.end):
            told = event(line, shop.minutes, 150, started_at=started_at.isoformat())
            report(shop.films, told, at=MAY.end)
        rate()
        assert [c.amount_net for c in rated(ada)] == [Decimal(1), Decimal(1)]
        assert [c.units_after for c in rated(ada)] == [150, 150]

    def test_the_terms_are_those_of_the_use_and_the_price_that_of_its_period(
        self, shop: Shop, line: Service, watching: Service, ada: Subscriber
    ) -> None:
        change = NOON + timedelta(minutes=30)
        publishing.set_price(
            offering=shop.minutes,
            charge="usage",
            amount=Decimal(1),
            unit="minute",
            valid_from=change,
            at=NOON,
        )
        share(shop.minutes, shop.films, "bsp", percent="10", at=change)
        old = (change - timedelta(seconds=1)).isoformat()
        report(shop.films, event(line, shop.minutes, 150, started_at=old))
        report(shop.films, event(line, shop.minutes, 5))
        june = JUNE.start.isoformat()
        report(shop.films, event(line, shop.minutes, 5, started_at=june), at=JUNE.start)
        rate()
        first, second, third = rated(ada)
        assert (first.amount_net, first.bsp_share) == (Decimal(1), Decimal("0.7"))
        assert (second.amount_net, second.bsp_share) == (Decimal("0.10"), Decimal("0.01"))
        assert (third.amount_net, third.bsp_share) == (Decimal(5), Decimal("0.5"))

    def test_use_of_what_has_no_price_by_use_is_included(
        self, shop: Shop, line: Service, ada: Subscriber
    ) -> None:
        subscribed(line, shop.storage)
        report(shop.backup, event(line, shop.storage, 7, unit="gigabyte"))
        assert rate() == 1
        assert one_use().state == "rated"
        assert rated(ada) == []

    def test_a_unit_without_a_price_waits_for_a_person(
        self, shop: Shop, line: Service, watching: Service, ada: Subscriber
    ) -> None:
        report(shop.films, event(line, shop.minutes, 7, unit="hour"))
        assert rate() == 1
        use = one_use()
        assert (use.state, use.error_code) == ("error", "no_price")
        assert use.error == "This product has no price by the unit of this use."
        assert rated(ada) == []

    def test_a_price_that_makes_no_sense_stops_nothing_else(
        self, shop: Shop, line: Service, watching: Service, ada: Subscriber
    ) -> None:
        OfferingPrice.objects.create(
            offering=shop.minutes,
            charge="usage",
            name="Broken",
            currency="USD",
            amount=Decimal(1),
            unit="hour",
            tiers=[{"up_to": 10, "amount": "1"}],
            valid_from=NOON,
        )
        report(shop.films, event(line, shop.minutes, 7, unit="hour"), event(line, shop.minutes))
        assert rate() == 2
        assert sorted(states()) == [
            ("error", "bad_price"),
            ("rated", ""),
        ]

    def test_a_use_that_breaks_its_batch_is_set_aside(
        self, shop: Shop, line: Service, watching: Service, ada: Subscriber
    ) -> None:
        OfferingPrice.objects.create(
            offering=shop.minutes,
            charge="usage",
            name="Gold",
            currency="USD",
            amount=Decimal(10**6),
            unit="bar",
            valid_from=NOON,
        )
        report(
            shop.films,
            event(line, shop.minutes, 200),
            event(line, shop.minutes, 10**15, unit="bar"),
            event(line, shop.minutes, 100),
        )
        assert rate_all() == 3
        assert states() == [
            ("rated", ""),
            ("error", "not_ratable"),
            ("rated", ""),
        ]
        assert [c.amount_net for c in rated(ada)] == [Decimal(2), Decimal(2)]
        assert not RatedUsage.objects.exclude(price__unit="minute").exists()

    def test_uses_that_are_too_much_are_set_aside_at_once_and_the_others_rated(
        self, shop: Shop, line: Service, watching: Service, ada: Subscriber
    ) -> None:
        huge = event(line, shop.minutes, 10**15, unit="minute")
        told = [huge | {"event_id": f"huge-{n}"} for n in range(2_000)]
        report(shop.films, event(line, shop.minutes, 200), *told)
        assert rate(limit=10_000) == 2_001
        assert Usage.objects.filter(error_code="not_ratable").count() >= 1_000
        assert rated(ada)[0].amount_net == Decimal(2)

    def test_a_counter_that_is_full_is_set_aside_too(
        self,
        shop: Shop,
        line: Service,
        watching: Service,
        ada: Subscriber,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        report(shop.films, event(line, shop.minutes, 200))
        rate()
        monkeypatch.setattr(stepping, "LARGEST", 200)
        report(shop.films, event(line, shop.minutes, 1))
        assert rate() == 1
        assert Usage.objects.latest("pk").error_code == "not_ratable"
        assert len(rated(ada)) == 1

    def test_a_crash_in_the_middle_leaves_nothing_half_done(
        self,
        shop: Shop,
        line: Service,
        watching: Service,
        ada: Subscriber,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        report(shop.films, event(line, shop.minutes, 150))

        def power_cut(errors: object) -> None:
            raise SystemExit

        with monkeypatch.context() as broken:
            broken.setattr(engine, "_put_aside", power_cut)
            with pytest.raises(SystemExit):
                rate()
        assert (one_use().state, rated(ada)) == ("received", [])
        assert rate() == 1
        assert total(rated(ada)) == Decimal(1)

    def test_late_use_counts_in_its_own_period(
        self, shop: Shop, line: Service, watching: Service, ada: Subscriber
    ) -> None:
        report(shop.films, event(line, shop.minutes, 150), at=MAY.end + timedelta(days=20))
        rate(at=MAY.end + timedelta(days=20))
        [use] = rated(ada)
        assert use.period_start == MAY.start

    def test_a_batch_takes_few_queries(
        self, shop: Shop, line: Service, watching: Service, django_assert_max_num_queries
    ) -> None:
        first = event(line, shop.minutes)
        report(shop.films, *[first | {"event_id": f"n{n}"} for n in range(300)])
        with django_assert_max_num_queries(22):
            assert rate() == 300

    def test_text_that_copy_could_trip_over(
        self, shop: Shop, line: Service, watching: Service, ada: Subscriber
    ) -> None:
        unit = 'mi\\n"ute'
        OfferingPrice.objects.create(
            offering=shop.minutes,
            charge="usage",
            name="Odd",
            currency="USD",
            amount=Decimal(1),
            unit=unit,
            valid_from=NOON,
        )
        report(shop.films, event(line, shop.minutes, 2, unit=unit))
        rate()
        [charge] = posted(ada)
        assert (charge.unit, charge.amount_net) == (unit, Decimal(2))
        assert unit in charge.explanation["arithmetic"]


class TestRecycling:
    def test_what_was_missing_is_found_later(
        self, shop: Shop, line: Service, ada: Subscriber
    ) -> None:
        report(shop.films, event(line, shop.minutes, 150))
        use = one_use()
        assert usage.recycle(usage_ids=[use.pk], actor=None, at=NOON) == 0
        use.refresh_from_db()
        assert use.error_code == "not_subscribed"
        watching = subscribed(line, shop.minutes)
        actor = ada.users.get()
        assert usage.recycle(usage_ids=[use.pk], actor=actor, at=NOON) == 1
        use = one_use()
        assert (use.state, use.error_code, use.error) == ("received", "", "")
        assert (use.subscriber, use.service) == (ada, watching)
        rate()
        assert total(rated(ada)) == Decimal(1)
        entry = AuditEntry.objects.filter(action="usage.recycled").latest("pk")
        assert (entry.actor, entry.detail) == (actor, {"outcome": "received"})

    def test_a_price_that_was_missing(
        self, shop: Shop, line: Service, watching: Service, ada: Subscriber
    ) -> None:
        report(shop.films, event(line, shop.minutes, 2, unit="hour"))
        rate()
        publishing.set_price(
            offering=shop.minutes, charge="usage", amount=Decimal(1), unit="hour", at=NOON
        )
        usage.recycle(usage_ids=Usage.objects.values_list("pk", flat=True), actor=None, at=NOON)
        rate()
        assert total(rated(ada)) == Decimal(2)

    def test_what_is_rated_stays_rated(
        self, shop: Shop, line: Service, watching: Service, ada: Subscriber
    ) -> None:
        report(shop.films, event(line, shop.minutes, 150))
        rate()
        assert usage.recycle(usage_ids=[Usage.objects.get().pk], actor=None, at=NOON) == 0
        assert rate() == 0
        assert AuditEntry.objects.filter(action="usage.recycled").count() == 0


def usage_price(shop: Shop) -> pricing.UsagePrice:
    return pricing.UsagePrice(
        version="",
        unit="minute",
        allowance=100,
        tiers=(pricing.Tier(500, 20_000), pricing.Tier(None, 10_000)),
    )


def test_the_tasks_empty_the_queue(
    shop: Shop, line: Service, watching: Service, ada: Subscriber, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "USES_A_BATCH", 2)
    for _ in range(5):
        report(shop.films, event(line, shop.minutes))
    tasks.rate_stored_usage()
    assert len(rated(ada)) == 5
    assert all(a.pk < b.pk for a, b in itertools.pairwise(rated(ada)))
