"""Buying from partners: authorised, charged, asked for, and settled by what the partner says."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from ispops.catalog import publishing
from ispops.catalog.models import ProductOffering
from ispops.errors import InvalidInput, Refusal
from ispops.models import Event
from ispops.parties.models import AuditEntry, Subscriber
from provisioning import partner_orders, services
from provisioning.models import Service, ServiceOrder
from rating import purchases, spending
from rating.models import Charge, Purchase
from rating.purchases import (
    AlreadySubscribed,
    NotInGoodStanding,
    OfferingNotCarried,
    OfferingWithdrawn,
    PurchaseKeyReused,
)
from rating.spending import SpendingLimitReached
from tests import factories
from tests.rating.ground import (
    MAY,
    NOON,
    Shop,
    buy,
    charges,
    event,
    product,
    rate,
    report,
    subscribed,
    total,
)
from tests.small_isp import LAUNCH, priced

pytestmark = pytest.mark.django_db
LATER = NOON + timedelta(minutes=1)


def counts() -> tuple[int, ...]:
    return tuple(
        model.objects.count() for model in (Purchase, Charge, ServiceOrder, Service, Event)
    )


class TestPlacing:
    def test_a_film_is_charged_with_its_shares_and_asked_for(
        self, shop: Shop, line: Service, ada: Subscriber
    ) -> None:
        purchase = buy(line, shop.film, placed_by=ada.users.get())
        [charge] = charges(ada)
        assert (charge.kind, charge.amount_net, charge.amount_tax) == (
            "one_off",
            Decimal("4.99"),
            Decimal("0.499"),
        )
        assert (charge.bsp, charge.bsp_share, charge.isp_share) == (
            shop.films,
            Decimal("3.493"),
            Decimal("1.497"),
        )
        assert charge.network_provider is None
        assert (charge.cause, charge.price.offering) == (
            f"purchase:{purchase.public_id}:one_off",
            shop.film,
        )
        assert charge.explanation["arithmetic"] == "one price of 4.99"
        asked = purchase.service_order
        assert (asked.partner, asked.cause, asked.state) == (
            shop.films,
            purchase.public_id,
            "acknowledged",
        )
        assert (purchase.state, purchase.service.state, purchase.service.line) == (
            "pending",
            "reserved",
            line,
        )
        event = Event.objects.get(kind="purchase.placed")
        assert event.subject == purchase.public_id
        assert Decimal(event.payload["amount_net"]) == Decimal("4.99")
        audit = AuditEntry.objects.get(action="purchase.placed")
        assert (audit.subject, audit.actor, audit.subscriber) == (
            purchase.public_id,
            ada.users.get(),
            ada,
        )

    def test_a_subscription_is_charged_for_the_rest_of_the_period(
        self, shop: Shop, line: Service, ada: Subscriber
    ) -> None:
        buy(line, shop.storage)
        [charge] = charges(ada)
        assert (charge.kind, charge.period_start, charge.period_end) == ("recurring", NOON, MAY.end)
        seconds, whole = (MAY.end - NOON).total_seconds(), (MAY.end - MAY.start).total_seconds()
        assert abs(charge.amount_net - Decimal(3) * int(seconds) / int(whole)) < Decimal("0.000001")
        assert charge.isp_share + charge.bsp_share == charge.amount_net

    def test_what_is_paid_by_use_is_bought_without_a_charge(
        self, shop: Shop, line: Service, ada: Subscriber
    ) -> None:
        purchase = buy(line, shop.minutes)
        assert charges(ada) == []
        assert purchase.service_order.offering == shop.minutes

    def test_the_price_and_the_share_are_those_of_the_moment(
        self, shop: Shop, line: Service, ada: Subscriber
    ) -> None:
        soon = NOON + timedelta(hours=1)
        publishing.set_price(
            offering=shop.film, charge="one_off", amount=Decimal(6), valid_from=soon, at=NOON
        )
        buy(line, shop.film, at=soon - timedelta(microseconds=1))
        buy(line, shop.film, at=soon)
        assert [charge.amount_net for charge in charges(ada)] == [Decimal("4.99"), Decimal(6)]

    def test_the_same_key_gives_the_first_purchase_and_changes_nothing(
        self, shop: Shop, line: Service
    ) -> None:
        first = buy(line, shop.film, key="once")
        before = counts()
        assert buy(line, shop.film, key="once", at=LATER) == first
        assert counts() == before

    def test_a_key_is_for_one_purchase(self, shop: Shop, line: Service) -> None:
        buy(line, shop.film, key="once")
        with pytest.raises(PurchaseKeyReused):
            buy(line, shop.storage, key="once")

    @pytest.mark.parametrize("key", ["", "k" * 201])
    def test_a_purchase_needs_a_key(self, shop: Shop, line: Service, key: str) -> None:
        with pytest.raises(InvalidInput) as refused:
            buy(line, shop.film, idempotency_key=key)
        assert refused.value.field == "idempotency_key"


class TestRefusing:
    """Whatever is refused leaves nothing behind."""

    def refuses(
        self, error: type[Refusal], line: Service, offering: ProductOffering, **other: Any
    ) -> Refusal:
        before = counts()
        with pytest.raises(error) as refused:
            buy(line, offering, **other)
        assert counts() == before
        return refused.value

    @pytest.mark.parametrize("standing", ["restricted", "closed"])
    def test_an_account_that_is_not_in_good_standing(
        self, shop: Shop, line: Service, ada: Subscriber, standing: str
    ) -> None:
        Subscriber.objects.filter(pk=ada.pk).update(standing=standing)
        self.refuses(NotInGoodStanding, line, shop.film)

    def test_a_line_of_somebody_else(self, shop: Shop, line: Service, bob: Subscriber) -> None:
        refusal = self.refuses(InvalidInput, line, shop.film, subscriber=bob)
        assert refusal.field == "line"

    def test_a_line_that_is_not_active(self, shop: Shop, line: Service) -> None:
        services.suspend(service=line, reason="test", at=NOON)
        self.refuses(InvalidInput, line, shop.film)

    def test_a_product_on_a_product(self, shop: Shop, line: Service) -> None:
        carried = subscribed(line, shop.storage)
        self.refuses(InvalidInput, carried, shop.film)

    def test_a_product_that_is_not_sold(self, shop: Shop, line: Service) -> None:
        publishing.withdraw_offering(offering=shop.film, at=NOON)
        shop.film.refresh_from_db()
        refusal = self.refuses(OfferingWithdrawn, line, shop.film)
        assert refusal.field == "offering"
        self.refuses(OfferingWithdrawn, line, shop.isp.extra_address)

    def test_a_product_of_a_partner_that_has_left(self, shop: Shop, line: Service) -> None:
        type(shop.films).objects.filter(pk=shop.films.pk).update(active=False)
        shop.film.refresh_from_db()
        self.refuses(OfferingWithdrawn, line, shop.film)

    def test_a_product_without_a_price(self, shop: Shop, line: Service) -> None:
        gift = product("gift", "Gift", shop.films, LAUNCH)
        self.refuses(OfferingWithdrawn, line, gift)

    def test_a_product_that_is_too_fast_for_the_line(self, shop: Shop, line: Service) -> None:
        game = product("game", "Game", shop.films, LAUNCH, needs_download_kbps=600_000)
        priced(game, "1", LAUNCH)
        refusal = self.refuses(OfferingNotCarried, line, game)
        assert "600 Mbit/s" in refusal.detail
        assert refusal.facts == {"reason_code": "line_too_slow"}

    def test_a_product_for_businesses(self, shop: Shop, line: Service) -> None:
        suite = product("suite", "Suite", shop.films, LAUNCH, subscriber_kind="business")
        priced(suite, "1", LAUNCH)
        self.refuses(OfferingNotCarried, line, suite)

    def test_a_second_subscription_to_one_product(self, shop: Shop, line: Service) -> None:
        subscribed(line, shop.storage)
        self.refuses(AlreadySubscribed, line, shop.storage)
        buy(line, shop.film)
        buy(line, shop.film)


class TestTheSpendingLimit:
    def limit(self, ada: Subscriber, amount: str) -> None:
        Subscriber.objects.filter(pk=ada.pk).update(spending_limit=Decimal(amount))
        ada.refresh_from_db()

    def test_it_may_be_reached_to_the_cent_and_not_passed(
        self, shop: Shop, line: Service, ada: Subscriber
    ) -> None:
        # 4.99 and 10 % tax, twice, is 10.978.
        self.limit(ada, "10.978")
        buy(line, shop.film)
        buy(line, shop.film)
        with pytest.raises(SpendingLimitReached) as refused:
            buy(line, shop.film)
        assert "USD 0.00 of the spending limit" in refused.value.detail
        assert len(charges(ada)) == 2

    def test_just_below_is_refused(self, shop: Shop, line: Service, ada: Subscriber) -> None:
        self.limit(ada, "5.488999")
        with pytest.raises(SpendingLimitReached):
            buy(line, shop.film)

    def test_what_was_taken_back_may_be_spent_again(
        self, shop: Shop, line: Service, ada: Subscriber
    ) -> None:
        self.limit(ada, "6")
        first = buy(line, shop.film)
        purchases.reverse_purchase(service_order_id=first.service_order_id, because="No.", at=LATER)
        assert spending.third_party_spend(ada, LATER) == 0
        buy(line, shop.film, at=LATER)

    def test_each_period_has_its_own(self, shop: Shop, line: Service, ada: Subscriber) -> None:
        self.limit(ada, "6")
        buy(line, shop.film)
        buy(line, shop.film, at=MAY.end)

    def test_subscriptions_that_are_not_yet_charged_count(
        self, shop: Shop, line: Service, ada: Subscriber
    ) -> None:
        subscribed(line, shop.storage, at=NOON)
        june_5 = MAY.end + timedelta(days=4)
        assert spending.third_party_spend(ada, june_5) == Decimal("3.30")
        self.limit(ada, "8")
        with pytest.raises(SpendingLimitReached):
            buy(line, shop.film, at=june_5)

    def test_use_that_is_rated_and_not_yet_charged_counts(
        self, shop: Shop, line: Service, ada: Subscriber
    ) -> None:
        subscribed(line, shop.minutes)
        report(shop.films, event(line, shop.minutes, 200))
        rate()
        assert spending.third_party_spend(ada, LATER) == Decimal("2.20")
        self.limit(ada, "7")
        with pytest.raises(SpendingLimitReached):
            buy(line, shop.film, at=LATER)

    def test_the_isps_own_charges_do_not(self, shop: Shop, line: Service, ada: Subscriber) -> None:
        assert spending.third_party_spend(ada, NOON) == 0


class TestSettling:
    def test_a_confirmed_subscription_is_active(self, shop: Shop, line: Service) -> None:
        purchase = buy(line, shop.storage)
        partner_orders.complete(
            service_order_id=purchase.service_order_id, partner=shop.backup, at=LATER
        )
        factories.deliver_events(at=LATER)
        purchase.refresh_from_db()
        assert (purchase.state, purchase.settled_at) == ("completed", LATER)
        assert purchase.service.state == "active"
        assert list(purchase.service.periods.values_list("started_at", "ended_at")) == [
            (LATER, None)
        ]
        assert Event.objects.filter(kind="purchase.completed").count() == 1

    def test_a_delivered_film_is_over(self, shop: Shop, line: Service, ada: Subscriber) -> None:
        purchase = buy(line, shop.film)
        partner_orders.complete(
            service_order_id=purchase.service_order_id, partner=shop.films, at=LATER
        )
        factories.deliver_events(at=LATER)
        purchase.refresh_from_db()
        assert (purchase.state, purchase.service.state) == ("completed", "ceased")
        assert purchase.service_order.state == "completed"
        assert len(charges(ada)) == 1

    @pytest.mark.parametrize("how", ["refused", "late", "withdrawn"])
    def test_what_is_not_delivered_is_taken_back_by_new_charges(
        self, shop: Shop, line: Service, ada: Subscriber, how: str
    ) -> None:
        purchase = buy(line, shop.storage)
        before = list(Charge.objects.values())
        at = LATER
        if how == "refused":
            partner_orders.fail(
                service_order_id=purchase.service_order_id,
                partner=shop.backup,
                reason="Sold out.",
                at=at,
            )
        elif how == "late":
            at = purchase.service_order.answer_by
            assert partner_orders.time_out_due(at=at - timedelta(microseconds=1)) == 0
            assert partner_orders.time_out_due(at=at) == 1
        else:
            services.cease(service=line, at=at)
        factories.deliver_events(at=at)
        purchase.refresh_from_db()
        assert (purchase.state, purchase.service.state) == ("reversed", "ceased")
        assert purchase.reason
        first, back = charges(ada)
        assert list(Charge.objects.filter(pk=first.pk).values()) == before
        assert (back.kind, back.reverses, back.period_start) == ("adjustment", first, at)
        for part in ("amount_net", "amount_tax", "isp_share", "bsp_share"):
            assert total([first, back], part) == 0
        assert back.explanation["because"] == purchase.reason
        assert not purchase.service.periods.exists()

    def test_the_first_answer_counts_and_repeats_change_nothing(
        self, shop: Shop, line: Service, ada: Subscriber
    ) -> None:
        purchase = buy(line, shop.storage)
        key = purchase.service_order_id
        for _ in range(2):
            purchases.complete_purchase(service_order_id=key, at=LATER)
        purchases.reverse_purchase(service_order_id=key, because="No.", at=LATER)
        purchase.refresh_from_db()
        assert (purchase.state, len(charges(ada))) == ("completed", 1)
        other = buy(line, shop.film)
        for _ in range(2):
            purchases.reverse_purchase(
                service_order_id=other.service_order_id, because="No.", at=LATER
            )
        purchases.complete_purchase(service_order_id=other.service_order_id, at=LATER)
        other.refresh_from_db()
        assert (other.state, len(charges(ada))) == ("reversed", 3)

    def test_a_service_that_ended_meanwhile_is_not_revived(self, shop: Shop, line: Service) -> None:
        purchase = buy(line, shop.storage)
        purchases.complete_purchase(service_order_id=purchase.service_order_id, at=LATER)
        again = buy(line, shop.film)
        services.cease(service=again.service, at=LATER)
        purchases.complete_purchase(service_order_id=again.service_order_id, at=LATER)
        again.refresh_from_db()
        assert (again.state, again.service.state) == ("completed", "ceased")

    def test_an_order_that_is_no_purchases_is_left_alone(self, shop: Shop, line: Service) -> None:
        carried = services.create_carried_service(line=line, offering=shop.storage, at=NOON)
        asked = partner_orders.request_entitlement(
            line=line, service=carried, offering=shop.storage, cause="task:1:1", at=NOON
        )
        assert purchases.complete_purchase(service_order_id=asked.pk, at=NOON) is None
        assert purchases.reverse_purchase(service_order_id=asked.pk, because="", at=NOON) is None
