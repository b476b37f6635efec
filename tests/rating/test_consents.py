"""Partners ask, subscribers answer; what a standing consent covers; and never without either."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from ispops.catalog import publishing
from ispops.catalog.models import OfferingPrice, ProductOffering
from ispops.errors import IllegalTransition, InvalidInput, NotFound
from ispops.notices.models import Notice
from ispops.parties.models import AuditEntry, Subscriber, WebhookDelivery
from provisioning import partner_orders
from provisioning.models import Service
from rating import consents, offers, standing
from rating.models import Charge, Purchase, PurchaseConsent, PurchaseRequest
from rating.purchases import AlreadySubscribed, PurchaseKeyReused
from rating.spending import SpendingLimitReached
from tests import factories
from tests.rating.ground import NOON, Shop, buy, refused, subscribed
from tests.small_isp import LAUNCH

pytestmark = pytest.mark.django_db
LATER = NOON + timedelta(minutes=5)


@pytest.fixture(autouse=True)
def hooked(shop: Shop, line: Service, ada: Subscriber) -> None:
    """Both partners know Ada, and take webhooks."""
    for partner in (shop.films, shop.backup):
        partner.webhook_url = "http://127.0.0.1:9/hook"
        partner.save()
        partner_orders.reference_of(partner=partner, subscriber=ada)


def ask(shop: Shop, ada: Subscriber, code: str = "film", **how: object) -> PurchaseRequest:
    partner = how.pop("partner", shop.films)
    return consents.request_purchase(
        **{
            "partner": partner,
            "subscriber_ref": partner_orders.reference_of(partner=shop.films, subscriber=ada),
            "offering_code": code, "idempotency_key": "ask-1", "at": NOON, **how,
        }
    )  # fmt: skip


def digest(request: PurchaseRequest) -> str:
    return offers.offer(
        subscriber=request.subscriber, line=request.line, offering=request.offering, at=LATER
    ).digest


def agree(request: PurchaseRequest, **how: object) -> Purchase:
    return consents.agree(
        **{
            "request_id": request.pk, "user": request.subscriber.users.get(), "channel": "portal",
            "digest": digest(request), "at": LATER, **how,
        }
    )  # fmt: skip


def told(request: PurchaseRequest) -> list[str]:
    return list(
        WebhookDelivery.objects.filter(subject=request.public_id).values_list("kind", flat=True)
    )


class TestAsking:
    def test_it_waits_and_the_subscriber_is_told(self, shop: Shop, ada: Subscriber) -> None:
        request = ask(shop, ada, words="The one you looked for")
        assert (request.state, request.line.subscriber) == ("waiting", ada)
        assert ask(shop, ada) == request
        assert not Charge.objects.exists()
        factories.deliver_events(at=NOON)
        notice = Notice.objects.get(kind="purchase_asked_for")
        for words in ("USD 5.49 once, with tax", "The one you looked for", request.public_id):
            assert words in notice.body

    @pytest.mark.parametrize(
        ("how", "field"),
        [
            ({"subscriber_ref": "psb_x"}, "subscriber_ref"),
            ({"offering_code": "storage"}, "offering"),
            ({"service_ref": "svc_x"}, "service_ref"),
            ({"words": "x" * 301}, "words"),
            ({"idempotency_key": ""}, "idempotency_key"),
        ],
    )
    def test_only_own_products_and_own_subscribers(
        self, shop: Shop, ada: Subscriber, how: dict[str, str], field: str
    ) -> None:
        with pytest.raises(InvalidInput) as caught:
            ask(shop, ada, **how)
        assert caught.value.field == field
        assert not PurchaseRequest.objects.exists()

    def test_another_partners_reference_is_not_known(self, shop: Shop, ada: Subscriber) -> None:
        with pytest.raises(InvalidInput) as caught:
            ask(shop, ada, code="storage", partner=shop.backup)
        assert caught.value.field == "subscriber_ref"

    def test_what_cannot_be_bought_is_not_asked(
        self, shop: Shop, line: Service, ada: Subscriber
    ) -> None:
        subscribed(line, shop.minutes)
        with pytest.raises(AlreadySubscribed):
            ask(shop, ada, code="minutes")
        Subscriber.objects.filter(pk=ada.pk).update(standing="restricted")
        with pytest.raises(consents.PurchaseNotPossible) as caught:
            ask(shop, ada)
        assert "restricted" not in caught.value.detail

    def test_nobody_is_asked_without_end(self, shop: Shop, ada: Subscriber) -> None:
        for number in range(consents.MOST_WAITING):
            ask(shop, ada, idempotency_key=f"n{number}")
        with pytest.raises(consents.TooManyRequests):
            ask(shop, ada, idempotency_key="more")
        with pytest.raises(PurchaseKeyReused):
            ask(shop, ada, code="minutes", idempotency_key="n0")

    def test_nor_by_taking_it_back_and_asking_anew(self, shop: Shop, ada: Subscriber) -> None:
        for number in range(consents.MOST_A_DAY):
            asked = ask(shop, ada, idempotency_key=f"n{number}")
            consents.withdraw(request_id=asked.pk, partner=shop.films, at=NOON)
        with pytest.raises(consents.TooManyRequests):
            ask(shop, ada, idempotency_key="more", at=LATER)
        assert PurchaseRequest.objects.count() == consents.MOST_A_DAY
        agree(ask(shop, ada, idempotency_key="next", at=NOON + timedelta(days=1)),
              at=NOON + timedelta(days=1))  # fmt: skip

    def test_what_was_agreed_to_does_not_count(self, shop: Shop, ada: Subscriber) -> None:
        for number in range(consents.MOST_A_DAY + 1):
            agree(ask(shop, ada, idempotency_key=f"n{number}"))

    def test_a_no_is_heard_for_some_days(self, shop: Shop, ada: Subscriber) -> None:
        asked = ask(shop, ada)
        consents.decline(request_id=asked.pk, user=ada.users.get(), at=NOON)
        later = NOON + consents.DECLINED_FOR
        with pytest.raises(consents.DeclinedLately) as caught:
            ask(shop, ada, idempotency_key="again", at=later - timedelta(seconds=1))
        assert caught.value.field == "offering"
        assert ask(shop, ada, "minutes", idempotency_key="other").state == "waiting"
        assert ask(shop, ada, idempotency_key="late", at=later).state == "waiting"

    def test_a_standing_consent_after_a_no_is_a_yes(self, shop: Shop, ada: Subscriber) -> None:
        asked = ask(shop, ada)
        consents.decline(request_id=asked.pk, user=ada.users.get(), at=NOON)
        standing.give(
            subscriber=ada, partner=shop.films, monthly_limit=Decimal(12), user=ada.users.get(),
            at=LATER,
        )  # fmt: skip
        assert ask(shop, ada, idempotency_key="again", at=LATER).state == "agreed"


class TestAnswering:
    def test_yes_buys_what_was_shown_and_is_kept(self, shop: Shop, ada: Subscriber) -> None:
        request = ask(shop, ada)
        purchase = agree(request)
        assert (purchase.channel, purchase.state) == ("bsp", "pending")
        assert agree(request) == purchase
        consent = PurchaseConsent.objects.get()
        assert (consent.user, consent.given_at) == (ada.users.get(), LATER)
        assert (consent.shown["once_net"], consent.shown["name"]) == ("4.990000", "A film")
        assert told(request) == ["purchase_request.agreed"]
        delivery = WebhookDelivery.objects.get(subject=request.public_id)
        assert delivery.body["data"]["purchase"] == purchase.public_id
        assert AuditEntry.objects.filter(action="purchase_request.agreed").count() == 1
        assert Charge.objects.count() == 1

    def test_another_price_is_shown_first(self, shop: Shop, ada: Subscriber) -> None:
        request = ask(shop, ada)
        seen = digest(request)
        publishing.set_price(offering=shop.film, charge="one_off", amount=Decimal("9.99"), at=LATER)
        with pytest.raises(consents.OfferChanged):
            agree(request, digest=seen)
        assert not Charge.objects.exists()

    def test_the_part_of_a_month_may_shrink_meanwhile(self, shop: Shop, ada: Subscriber) -> None:
        reference = partner_orders.reference_of(partner=shop.backup, subscriber=ada)
        request = ask(shop, ada, "storage", partner=shop.backup, subscriber_ref=reference)
        seen = digest(request)
        assert agree(request, digest=seen, at=LATER + timedelta(days=1)).offering == shop.storage

    def test_no_is_no(self, shop: Shop, ada: Subscriber) -> None:
        request, user = ask(shop, ada), ada.users.get()
        for _ in range(2):
            consents.decline(request_id=request.pk, user=user, at=LATER)
        with pytest.raises(IllegalTransition):
            agree(request)
        assert told(request) == ["purchase_request.declined"]
        assert not Charge.objects.exists()

    def test_of_others_there_is_nothing(self, shop: Shop, ada: Subscriber, bob: Subscriber) -> None:
        request = ask(shop, ada)
        with pytest.raises(NotFound):
            agree(request, user=bob.users.get())
        with pytest.raises(NotFound):
            consents.withdraw(request_id=request.pk, partner=shop.backup, at=LATER)

    def test_it_expires_also_before_anybody_looks(self, shop: Shop, ada: Subscriber) -> None:
        request = ask(shop, ada)
        late = request.expires_at
        with pytest.raises(IllegalTransition, match="expired"):
            agree(request, at=late)
        assert consents.expire_due(at=late - timedelta(seconds=1)) == 0
        assert consents.expire_due(at=late) == 1
        request.refresh_from_db()
        assert (request.state, told(request)) == ("expired", ["purchase_request.expired"])

    def test_the_partner_takes_it_back(self, shop: Shop, ada: Subscriber) -> None:
        request = ask(shop, ada)
        consents.withdraw(request_id=request.pk, partner=shop.films, at=LATER)
        with pytest.raises(IllegalTransition):
            agree(request)

    def test_the_spending_limit_holds(self, shop: Shop, ada: Subscriber) -> None:
        request = ask(shop, ada)
        Subscriber.objects.filter(pk=ada.pk).update(spending_limit=Decimal(5))
        with pytest.raises(SpendingLimitReached):
            agree(request)
        request.refresh_from_db()
        assert (request.state, PurchaseConsent.objects.count()) == ("waiting", 0)


class TestStanding:
    def give(self, shop: Shop, ada: Subscriber, amount: str = "12.00") -> standing.StandingConsent:
        return standing.give(
            subscriber=ada, partner=shop.films, monthly_limit=Decimal(amount),
            user=ada.users.get(), at=NOON,
        )  # fmt: skip

    def test_two_films_and_the_third_waits(self, shop: Shop, ada: Subscriber) -> None:
        given = self.give(shop, ada)
        states = [ask(shop, ada, idempotency_key=f"n{n}").state for n in range(3)]
        assert states == ["agreed", "agreed", "waiting"]
        assert standing.left_of_month(given, NOON) == Decimal("1.022")
        assert standing.left_of_month(given, NOON + timedelta(days=31)) == 12
        factories.deliver_events(at=NOON)
        assert Notice.objects.filter(kind="bought_by_standing_consent").count() == 2

    def test_what_is_not_for_a_single_time_always_asks(self, shop: Shop, ada: Subscriber) -> None:
        self.give(shop, ada, "500")
        assert ask(shop, ada, "minutes").state == "waiting"

    @pytest.mark.parametrize("later", ["recurring", "usage", "subscription"])
    def test_what_costs_more_later_always_asks(
        self, shop: Shop, ada: Subscriber, later: str
    ) -> None:
        self.give(shop, ada)
        begins = NOON + timedelta(days=1)
        if later == "subscription":
            ProductOffering.objects.filter(pk=shop.film.pk).update(is_subscription=True)
        else:
            unit = {"unit": "minute"} if later == "usage" else {}
            publishing.set_price(
                offering=shop.film, charge=later, amount=Decimal(3), at=begins, **unit
            )
        assert ask(shop, ada).state == "waiting"

    def test_what_cost_more_before_does_not(self, shop: Shop, ada: Subscriber) -> None:
        self.give(shop, ada)
        publishing.set_price(offering=shop.film, charge="recurring", amount=Decimal(3), at=LAUNCH)
        OfferingPrice.objects.filter(offering=shop.film, charge="recurring").update(valid_to=NOON)
        assert ask(shop, ada).state == "agreed"

    def test_it_is_changed_and_withdrawn(self, shop: Shop, ada: Subscriber) -> None:
        first = self.give(shop, ada)
        assert self.give(shop, ada) == first
        ask(shop, ada)
        second = self.give(shop, ada, "6.00")
        assert standing.left_of_month(second, NOON) == Decimal("0.511")
        assert ask(shop, ada, idempotency_key="two").state == "waiting"
        for _ in range(2):
            standing.withdraw(consent_id=second.pk, user=ada.users.get(), at=LATER)
        assert AuditEntry.objects.filter(action="standing_consent.withdrawn").count() == 2

    @pytest.mark.parametrize("amount", ["0", "-1", "NaN", "1.005", "1e30"])
    def test_an_amount_is_an_amount(self, shop: Shop, ada: Subscriber, amount: str) -> None:
        with pytest.raises(InvalidInput) as caught:
            self.give(shop, ada, amount)
        assert caught.value.field == "monthly_limit"

    def test_where_it_cannot_be_bought_it_waits(self, shop: Shop, ada: Subscriber) -> None:
        self.give(shop, ada)
        Subscriber.objects.filter(pk=ada.pk).update(spending_limit=Decimal(5))
        request = ask(shop, ada)
        assert (request.state, PurchaseConsent.objects.count()) == ("waiting", 0)


class TestTheDatabase:
    def test_a_partner_sells_nothing_without_consent(self, shop: Shop, line: Service) -> None:
        with refused("what_a_partner_sells_is_agreed_to", "nobody agreed"):
            buy(line, shop.film, channel="bsp")

    def test_nor_with_the_consent_to_something_else(
        self, shop: Shop, line: Service, ada: Subscriber
    ) -> None:
        purchase = agree(ask(shop, ada))
        with refused("nobody agreed"):
            buy(line, shop.minutes, channel="bsp", consent=purchase.consent)
        with refused("consent_id"):
            buy(line, shop.film, channel="bsp", consent=purchase.consent)
        with refused("never changed"):
            Purchase.objects.update(channel="portal", consent=None)
        with refused("append-only"):
            PurchaseConsent.objects.update(amount=0)

    def consent(self, request: PurchaseRequest, **how: object) -> PurchaseConsent:
        return PurchaseConsent(
            **{
                "request": request, "subscriber": request.subscriber, "partner": request.partner,
                "user": request.subscriber.users.get(), "channel": "portal", "amount": 5,
                "month_start": standing.month_of(LATER), "shown": {}, "given_at": LATER, **how,
            }
        )  # fmt: skip

    def test_a_consent_is_by_the_account_and_in_time(
        self, shop: Shop, ada: Subscriber, bob: Subscriber
    ) -> None:
        request = ask(shop, ada)
        with refused("not by a login"):
            self.consent(request, user=bob.users.get()).save()
        with refused("cannot be agreed"):
            self.consent(request, given_at=request.expires_at).save()
        with refused("consent_is_given_by_somebody", "not by a login"):
            self.consent(request, user=None).save()
        with refused("nobody agreed"):
            PurchaseRequest.objects.update(state="agreed", answered_at=LATER)
        consents.decline(request_id=request.pk, user=ada.users.get(), at=LATER)
        with refused("cannot be agreed"):
            self.consent(request).save()
        with refused("what was answered stays"):
            PurchaseRequest.objects.update(state="waiting", answered_at=None)

    def test_a_standing_consent_covers_its_amount(self, shop: Shop, ada: Subscriber) -> None:
        request = ask(shop, ada)
        given = standing.give(
            subscriber=ada, partner=shop.films, monthly_limit=Decimal(4),
            user=ada.users.get(), at=NOON,
        )  # fmt: skip
        with refused("does not cover"):
            self.consent(request, user=None, standing=given).save()
        with refused("append-only"):
            type(given).objects.update(monthly_limit=100)


def test_accounts_are_those_of_the_login(shop: Shop, ada: Subscriber, bob: Subscriber) -> None:
    given = standing.give(
        subscriber=ada, partner=shop.films, monthly_limit=Decimal(4), user=ada.users.get(), at=NOON
    )
    with pytest.raises(NotFound):
        standing.withdraw(consent_id=given.pk, user=bob.users.get(), at=NOON)
