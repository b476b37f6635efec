"""What happens minutes after use was rated: notices of thresholds, and fair use."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from pytest_django import DjangoAssertNumQueries

from ispops.catalog import fair_use, publishing
from ispops.notices.models import Notice
from ispops.parties.models import Subscriber
from provisioning import services, slowing
from provisioning.models import Service, Slowdown
from rating import tasks, watching
from rating.models import PassedThreshold, UsageLook
from rating.recent_use import lines_near_a_limit
from tests import factories
from tests.provisioning import later
from tests.rating.ground import JUNE, MAY, NOON, Shop, buy, event, rate, report, subscribed
from tests.rating.plenty import GB, SLOW, TB, data_pack, look, moderate, top_up, use

pytestmark = pytest.mark.django_db
PLAN = (500_000, 500_000)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def letters(kind: str = "usage_threshold") -> list[str]:
    """The subjects of what was written, in order."""
    factories.deliver_events(at=NOON + 400 * DAY)
    return list(Notice.objects.filter(kind=kind).order_by("pk").values_list("subject", flat=True))


def percents() -> list[str]:
    return [subject.split(": ")[1].split()[0] for subject in letters()]


class TestThresholds:
    def test_each_is_told_once(self, line: Service) -> None:
        for gigabytes, settled in (
            (499, 0),
            (1, 1),
            (100, 0),
            (200, 1),
            (199, 0),
            (1, 1),
            (500, 0),
        ):
            use(line, gigabytes * GB)
            assert look() == settled, gigabytes
        assert percents() == ["50", "80", "100"]
        assert list(PassedThreshold.objects.order_by("pk").values_list("used", flat=True)) == [
            500 * GB, 800 * GB, 1000 * GB,
        ]  # fmt: skip

    def test_of_several_at_once_the_highest_is_told(self, line: Service) -> None:
        use(line, 900 * GB)
        look()
        assert percents() == ["80"]
        use(line, 200 * GB)
        look()
        assert percents() == ["80", "100"]

    def test_what_is_told(self, line: Service) -> None:
        use(line, 800 * GB)
        look()
        text = Notice.objects.get(kind="usage_threshold").body
        assert "you have used 800 GB of the 1 TB that Fibre 500 includes" in text
        assert "After that, it costs USD" in text
        assert "June 4, 2026" in text

    def test_the_next_period_begins_anew(self, line: Service) -> None:
        use(line, TB)
        look()
        use(line, 600 * GB, at=JUNE.start + DAY)
        look(JUNE.start + DAY)
        assert percents() == ["100", "50"]

    def test_use_of_a_period_that_is_over_is_told_to_nobody(self, line: Service) -> None:
        use(line, TB, at=MAY.end - HOUR)
        assert look(JUNE.start + HOUR) == 0
        assert percents() == []

    def test_after_a_pack_what_is_passed_again_is_told_again(
        self, shop: Shop, line: Service
    ) -> None:
        pack = data_pack(shop.isp.fast)
        use(line, TB)
        look()
        top_up(line, pack)
        assert look() == 0
        use(line, 99 * GB)
        assert look() == 0
        use(line, GB)
        look()
        assert percents() == ["100", "100"]
        assert [row.packs for row in PassedThreshold.objects.filter(percent=100)] == [0, 1]

    def test_a_partners_product_has_thresholds_too(self, shop: Shop, line: Service) -> None:
        subscribed(line, shop.minutes)
        report(shop.films, event(line, shop.minutes, 85))
        rate()
        look(NOON + 3 * HOUR)
        assert letters() == ["Streaming: 80 % of what is included are used"]

    def test_an_aggregated_plan_is_told_of_once_for_its_parts(
        self, shop: Shop, line: Service
    ) -> None:
        plan = shop.isp.bundle
        publishing.set_price(
            offering=plan, charge="usage", amount=Decimal(1), unit="minute", allowance=100, at=NOON
        )
        parts = [line, subscribed(line, shop.minutes), subscribed(line, shop.isp.streaming)]
        for part in parts:
            part.bundle = plan
            part.save()
            part.periods.update(bundle=plan)
        for product in (shop.minutes, shop.isp.streaming):
            report(shop.films, event(line, product, 30))
        rate()
        look(NOON + 3 * HOUR)
        assert letters() == [f"{plan}: 50 % of what is included are used"]
        assert PassedThreshold.objects.get().service == line

    def test_what_is_rated_later_is_not_overlooked(self, line: Service) -> None:
        """Two looks while use waits to be rated, and then it is."""
        use(line, 10 * GB)
        look()
        use(line, 500 * GB, at=NOON + HOUR)
        seen = UsageLook.objects.get().looked_until
        look(NOON + 2 * HOUR)
        assert UsageLook.objects.get().looked_until > seen
        assert percents() == ["50"]

    def test_a_look_that_died_is_made_up_for(self, line: Service) -> None:
        use(line, 600 * GB)
        UsageLook.objects.create(pk=1, looked_until=NOON, taken_until=NOON + watching.LEASE)
        assert look() == 0
        assert look(NOON + watching.LEASE) == 1
        assert UsageLook.objects.get().taken_until is None

    def test_a_line_that_cannot_be_settled_does_not_keep_the_others(
        self, line: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        use(line, 600 * GB)
        monkeypatch.setattr(watching.telling, "threshold_passed", lambda **_: 1 // 0)
        assert look() == 0
        assert "could not be settled" in caplog.text
        assert not PassedThreshold.objects.exists()
        assert UsageLook.objects.get().looked_until == NOON

    def test_a_look_that_finds_nothing_to_do_costs_few_queries(
        self, line: Service, django_assert_max_num_queries: DjangoAssertNumQueries
    ) -> None:
        use(line, GB)
        with django_assert_max_num_queries(13):
            assert look() == 0

    def test_only_lines_near_a_limit_are_looked_at(self, shop: Shop, line: Service) -> None:
        """Whoever is far from one, or was told of it, costs no more than the one statement."""

        def near() -> set[Any]:
            return lines_near_a_limit(NOON - HOUR, NOON)

        moderate(shop.isp.fast, 600 * GB)
        for gigabytes, is_near, is_near_when_told in (
            (499, False, False),
            (1, True, False),
            (100, True, True),  # It is slow from here on.
        ):
            use(line, gigabytes * GB)
            assert near() == ({line.pk} if is_near else set()), gigabytes
            look()
            assert near() == ({line.pk} if is_near_when_told else set()), gigabytes
        assert lines_near_a_limit(NOON + HOUR, NOON + 2 * HOUR) == set()
        assert lines_near_a_limit(NOON - HOUR, JUNE.end + DAY) == set()
        top_up(line, data_pack(shop.isp.fast))
        assert near() == {line.pk}


class TestSpendingLimit:
    def limit(self, ada: Subscriber, amount: str) -> None:
        ada.spending_limit = Decimal(amount)
        ada.save()

    def test_purchases_and_use_count_and_each_threshold_is_told_once(
        self, shop: Shop, line: Service, ada: Subscriber
    ) -> None:
        self.limit(ada, "12")
        line.subscriber = ada
        subscribed(line, shop.minutes)
        buy(line, shop.film)
        assert letters("spending_limit") == []
        report(shop.films, event(line, shop.minutes, 310))
        rate()
        for _ in range(2):
            look(NOON + 3 * HOUR)
        assert letters("spending_limit") == ["80 % of your spending limit is reached"]
        text = Notice.objects.get(kind="spending_limit").body
        assert "come to USD 10.11 in this billing period" in text
        report(shop.films, event(line, shop.minutes, 200), at=NOON + 4 * HOUR)
        rate(NOON + 4 * HOUR)
        look(NOON + 4 * HOUR)
        assert letters("spending_limit")[1:] == ["100 % of your spending limit is reached"]

    def test_a_purchase_alone_is_told_of_with_its_event(
        self, shop: Shop, line: Service, ada: Subscriber
    ) -> None:
        self.limit(ada, "6")
        line.subscriber = ada
        buy(line, shop.film)
        assert letters("spending_limit") == ["80 % of your spending limit is reached"]

    def test_without_a_limit_nothing_is_said(self, shop: Shop, line: Service) -> None:
        buy(line, shop.film)
        assert letters("spending_limit") == []


class TestFairUse:
    @pytest.fixture(autouse=True)
    def _moderate(self, shop: Shop) -> None:
        moderate(shop.isp.fast, TB + 500 * GB)

    def test_beyond_it_a_line_is_slow_until_the_next_period(self, line: Service) -> None:
        use(line, TB + 499 * GB)
        look()
        assert later.speed(line) == PLAN
        use(line, GB)
        look()
        assert later.speed(line) == SLOW
        row = Slowdown.objects.get()
        assert (row.holds_until, row.ended_at) == (MAY.end, None)
        assert letters("line_slowed") == ["Fibre 500 is slower until June 4, 2026"]
        assert look() == 0
        assert slowing.end_next(at=MAY.end)
        assert look(MAY.end) == 0
        assert later.speed(line) == PLAN
        assert letters("line_restored") == ["Fibre 500 is as fast as before"]

    def test_a_pack_makes_it_fast_at_once_and_slow_again_when_it_is_used(
        self, shop: Shop, line: Service
    ) -> None:
        pack = data_pack(shop.isp.fast)
        use(line, 2 * TB)
        look()
        assert later.speed(line) == SLOW
        top_up(line, pack, at=NOON + HOUR)
        factories.deliver_events(at=NOON + HOUR)
        assert later.speed(line) == PLAN
        assert Slowdown.objects.get().ended_for == "room"
        use(line, 99 * GB, at=NOON + 2 * HOUR)
        look(NOON + 2 * HOUR)
        assert later.speed(line) == PLAN
        use(line, GB, at=NOON + 3 * HOUR)
        look(NOON + 3 * HOUR)
        assert later.speed(line) == SLOW
        body = Notice.objects.filter(kind="line_slowed").first().body
        assert "8 Mbit/s down, 2 Mbit/s up" in body
        assert "More data from your account makes it fast again at once." in body

    def test_what_is_left_of_a_pack_makes_room_in_the_next_period(
        self, shop: Shop, line: Service
    ) -> None:
        pack = data_pack(shop.isp.fast, pack_periods=2)
        use(line, 2 * TB)
        top_up(line, pack)
        use(line, 40 * GB)
        look()
        at = JUNE.start + DAY
        use(line, TB + 559 * GB, at=at)
        look(at)
        assert later.speed(line) == PLAN
        use(line, GB, at=at)
        look(at)
        assert later.speed(line) == SLOW

    def test_another_plan_has_its_own_rule_or_none(self, shop: Shop, line: Service) -> None:
        use(line, 2 * TB)
        look()
        services.change(service=line, offering=later.faster(shop.isp), bundle=None, at=NOON + HOUR)
        factories.deliver_events(at=NOON + HOUR)
        assert later.speed(line) == (1_000_000, 1_000_000)
        assert Slowdown.objects.get().ended_for == "plan"
        assert letters("line_restored") == []

    def test_a_rule_that_is_ended_lets_go(self, shop: Shop, line: Service) -> None:
        use(line, 2 * TB)
        look()
        fair_use.end_fair_use(offering=shop.isp.fast, at=NOON + HOUR)
        assert look(NOON + 2 * HOUR) == 1
        assert later.speed(line) == PLAN

    def test_lifted_by_hand_it_stays_fast_until_the_next_period(
        self, line: Service, ada: Subscriber
    ) -> None:
        clerk = factories.staff("CSR", at=NOON)
        use(line, 2 * TB)
        look()
        slowing.lift(line=line, actor=clerk, reason="A mistake of ours", at=NOON)
        use(line, TB)
        look()
        assert later.speed(line) == PLAN
        at = JUNE.start + DAY
        use(line, 2 * TB, at=at)
        look(at)
        assert later.speed(line) == SLOW

    def test_a_paused_line_is_settled_and_one_that_ended_is_left_alone(self, line: Service) -> None:
        use(line, 2 * TB)
        services.open_suspension(line=line, reason="abuse", treatment="block", note="", at=NOON)
        look()
        assert Slowdown.objects.get().ended_at is None
        services.cease(service=line, at=NOON + HOUR)
        watching.settle(line_id=line.pk, at=NOON + HOUR)
        assert Slowdown.objects.get().ended_for == "line"

    def test_free_hours_do_not_count(self, shop: Shop, line: Service) -> None:
        plan = shop.isp.fast
        plan.prices.filter(charge="usage").update(valid_to=NOON)
        night = {"name": "Night", "days": list(range(7)), "start": "00:00", "end": "06:00",
                 "amount": "0", "counts": False}  # fmt: skip
        publishing.set_price(
            offering=plan, charge="usage", amount=Decimal(0), unit="byte", bands=[night], at=NOON
        )
        use(line, 2 * TB, at=NOON + 17 * HOUR)
        look(NOON + 18 * HOUR)
        assert later.speed(line) == PLAN
        use(line, 2 * TB, at=NOON + 30 * HOUR)
        look(NOON + 31 * HOUR)
        assert later.speed(line) == SLOW


def test_rating_sends_for_a_look(line: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Any] = []
    monkeypatch.setattr(tasks.jobs, "send", sent.append)
    tasks.rate_stored_usage()
    assert sent == []
    use_waiting(line)
    tasks.rate_stored_usage()
    assert sent == [tasks.watch_usage]
    tasks.watch_usage()
    assert UsageLook.objects.exists()


def use_waiting(line: Service) -> None:
    """Something that is metered and not rated yet."""
    from rating import usage
    from tests.rating.test_sessions import told

    told(factories.address_server(at=NOON), line, down=GB)
    usage.meter_accounting(at=NOON)


class TestTheRule:
    @pytest.mark.parametrize(
        ("facts", "field"),
        [
            ({"threshold": 0}, "threshold_bytes"),
            ({"download_kbps": 0}, "download_kbps"),
            ({"upload_kbps": -1}, "upload_kbps"),
            ({"threshold": 2**70}, "threshold_bytes"),
        ],
        ids=["no bytes", "no speed", "below nothing", "too many"],
    )
    def test_bad_input(self, shop: Shop, facts: dict[str, Any], field: str) -> None:
        with pytest.raises(publishing.InvalidInput) as caught:
            moderate(shop.isp.fast, **facts)
        assert caught.value.field == field

    def test_it_is_for_plans_whose_use_is_counted(self, shop: Shop) -> None:
        for offering in (shop.film, later.faster(shop.isp)):
            with pytest.raises(publishing.InvalidInput) as caught:
                moderate(offering)
            assert caught.value.field == "offering"
        assert not shop.isp.fast.fair_use_rules.exists()

    def test_a_new_one_ends_the_one_before(self, shop: Shop, ada: Subscriber) -> None:
        first = moderate(shop.isp.fast)
        assert moderate(shop.isp.fast, at=NOON) == first
        second = moderate(shop.isp.fast, 2 * TB, at=NOON)
        first.refresh_from_db()
        assert (first.valid_to, second.valid_to) == (NOON, None)
        assert not fair_use.end_fair_use(offering=shop.isp.fast, at=NOON)
        assert fair_use.end_fair_use(offering=shop.isp.fast, at=NOON + DAY)
        assert fair_use.fair_use_at(NOON + DAY, [shop.isp.fast.pk]) == {}
