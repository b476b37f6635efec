"""What is shown of use and money, and to whom."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import pytest

from ispops.parties.models import Subscriber
from provisioning.models import PartnerSubscriber, Service
from rating import billing, purchases, queries, usage
from rating.models import Charge
from tests import factories
from tests.rating.ground import (
    JUNE,
    MAY,
    NOON,
    Shop,
    buy,
    event,
    posted,
    rate,
    report,
    subscribed,
)
from tests.rating.test_sessions import told

pytestmark = pytest.mark.django_db


class TestTraffic:
    @pytest.fixture
    def used(self, shop: Shop, line: Service) -> None:
        server = factories.address_server(at=NOON)
        told(server, line, age=300, up=10, down=100)
        # In New York, 3:00 UTC is still the day before.
        for day, hour in ((2, 15), (3, 15)):
            told(
                server,
                line,
                age=60,
                down=7,
                start=NOON + timedelta(days=day, hours=hour),
                unique_session_id=f"{day}",
            )
        usage.meter_accounting(at=NOON + timedelta(days=5))

    @pytest.mark.usefixtures("used")
    def test_days_are_days_where_the_isp_is_and_none_is_left_out(
        self, line: Service, ada: Subscriber
    ) -> None:
        days = queries.usage_by_day(ada, line, MAY)
        assert [(d.day, d.download_bytes, d.upload_bytes, d.total_bytes) for d in days] == [
            (date(2026, 5, 4), 100, 10, 110),
            (date(2026, 5, 5), 0, 0, 0),
            (date(2026, 5, 6), 7, 0, 7),
            (date(2026, 5, 7), 7, 0, 7),
        ]
        assert queries.usage_by_day(ada, line, JUNE) == []


class TestWhy:
    def test_a_purchase(
        self, shop: Shop, line: Service, ada: Subscriber, django_assert_num_queries
    ) -> None:
        purchase = buy(line, shop.film)
        [charge] = queries.charges_of(ada)
        with django_assert_num_queries(0):
            told_why = queries.why(charge)
        assert told_why == {
            "rule": "A price that is paid once",
            "price": f"A film ({charge.price_id} from 2026-01-01)",
            "arithmetic": "one price of 4.99",
            "bundle": "",
            "tax": "10 % of 4.99 = 0.499",
            "because": "",
            "shares": ["Harbor Broadband: USD 1.497", "Films: USD 3.493"],
            "caused_by": "The purchase",
            "cause_id": purchase.public_id,
        }

    def test_every_kind_is_explained(self, shop: Shop, line: Service, ada: Subscriber) -> None:
        film = buy(line, shop.film)
        purchases.reverse_purchase(service_order_id=film.service_order_id, because="No.", at=NOON)
        subscribed(line, shop.minutes)
        report(shop.films, event(line, shop.minutes, 150))
        rate()
        billing.issue_bill(subscriber=ada, period=MAY, at=JUNE.start)
        told = {why["caused_by"]: why for why in map(queries.why, queries.charges_of(ada))}
        assert set(told) == {
            "The purchase",
            "The charge that was taken back",
            "The use",
            "What was active",
            "What became active",
        }
        assert all(why["rule"] and why["arithmetic"] for why in told.values())
        assert told["The use"]["arithmetic"] == (
            "150 minutes after 0 in the period: 100 included + 50 x 0.02; 1.00 - 0.00 = 1.00"
        )

    def test_charges_of_one_period(self, shop: Shop, line: Service, ada: Subscriber) -> None:
        for at in (NOON, MAY.end):
            buy(line, shop.film, at=at)
        assert queries.charges_of(ada).count() == 2
        assert [c.period_start for c in queries.charges_of(ada, JUNE)] == [MAY.end]


class TestWhatAPartnerSees:
    def test_its_own_shares_by_its_own_names(
        self, shop: Shop, line: Service, ada: Subscriber
    ) -> None:
        buy(line, shop.film)
        buy(line, shop.storage)
        billing.issue_bill(subscriber=ada, period=MAY, at=JUNE.start)
        [film] = queries.partner_charges(shop.films)
        reference = PartnerSubscriber.objects.get(partner=shop.films, subscriber=ada).reference
        assert (film.share, film.subscriber_ref) == (Decimal("3.493"), reference)
        assert {c.share for c in queries.partner_charges(shop.isp.fibre)} == {
            c.network_provider_share for c in Charge.objects.filter(offering=shop.isp.fast)
        }
        assert queries.partner_charges(shop.isp.copper).count() == 0

    def test_the_retail_amount_is_not_even_read(self, shop: Shop, line: Service) -> None:
        buy(line, shop.film)
        [film] = queries.partner_charges(shop.films)
        secret = {"amount_net", "amount_tax", "isp_share", "network_provider_share", "explanation"}
        assert secret <= film.get_deferred_fields()

    def test_one_that_is_both_gets_both_parts(self, shop: Shop, line: Service) -> None:
        buy(line, shop.film)
        charge = Charge.objects.get()
        Charge.objects.create(
            subscriber=charge.subscriber,
            offering=shop.film,
            kind="one_off",
            cause="test:both",
            period_start=NOON,
            currency="USD",
            amount_net=Decimal(5),
            isp_share=Decimal(1),
            bsp_share=Decimal(3),
            network_provider_share=Decimal(1),
            amount_tax=Decimal(0),
            bsp=shop.backup,
            network_provider=shop.backup,
            charged_at=NOON,
        )
        assert queries.partner_charges(shop.backup).get().share == Decimal(4)

    def test_its_own_purchases_and_reports(self, shop: Shop, line: Service) -> None:
        buy(line, shop.film)
        subscribed(line, shop.minutes)
        subscribed(line, shop.storage)
        report(shop.films, event(line, shop.minutes, 150))
        rate()
        report(shop.films, event(line, shop.minutes, unit="hour"))
        report(shop.backup, event(line, shop.storage, unit="gigabyte"))
        assert {p.offering for p in queries.partner_purchases(shop.films)} == {
            shop.film,
            shop.minutes,
        }
        assert not any(u.is_charged for u in queries.partner_usage(shop.films))
        posted(line.subscriber)
        assert [u.is_charged for u in queries.partner_usage(shop.films)] == [False, True]
        assert queries.partner_usage(shop.backup).count() == 1
