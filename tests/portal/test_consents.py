"""What a partner asks for, on the subscriber's pages: its price, yes or no, and what is unasked."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from django.test import Client
from django.urls import reverse

from ispops.parties.models import Subscriber
from provisioning import partner_orders
from provisioning.models import Service
from rating import consents, reservations
from rating.models import Purchase, PurchaseConsent, PurchaseRequest, StandingConsent
from tests.portal.pages import page
from tests.rating.ground import Shop, make_shop
from tests.small_isp import SmallIsp

pytestmark = pytest.mark.django_db


@pytest.fixture
def shop(isp: SmallIsp, before: datetime) -> Shop:
    return make_shop(isp, before)


@pytest.fixture
def asked(shop: Shop, line: Service, ada: Subscriber, now: datetime) -> PurchaseRequest:
    return consents.request_purchase(
        partner=shop.films,
        subscriber_ref=partner_orders.reference_of(partner=shop.films, subscriber=ada),
        offering_code="film", words="The <i>one</i>", idempotency_key="ask", at=now,
    )  # fmt: skip


def address(asked: PurchaseRequest) -> str:
    return reverse("portal:purchase_request", args=[asked.public_id])


def test_the_price_is_shown_and_yes_buys(asked: PurchaseRequest, owner: Client) -> None:
    assert address(asked) in page(owner.get(reverse("portal:overview"))).html
    seen = page(owner.get(address(asked)))
    for words in ("USD 4.99", "USD 0.50", "USD 5.49", "It does not go on by itself", "&lt;i&gt;"):
        assert words in seen.html
    shown = seen.value("shown")
    old = page(owner.post(address(asked), {"answer": "yes", "shown": "x"}), 409)
    assert "The price has changed" in old.text
    assert not PurchaseConsent.objects.exists()
    for _ in range(2):
        answer = owner.post(address(asked), {"answer": "yes", "shown": shown})
        purchase = Purchase.objects.get()
        assert answer.url == reverse("portal:purchase", args=[purchase.public_id])
    assert PurchaseConsent.objects.get().channel == "portal"
    assert "You agreed" in page(owner.get(address(asked))).text


def test_no_is_no(asked: PurchaseRequest, owner: Client) -> None:
    seen = page(owner.post(address(asked), {"answer": "no"}, follow=True))
    assert "Nothing was charged." in seen.text
    assert address(asked) not in page(owner.get(reverse("portal:overview"))).html


def test_of_others_there_is_nothing(asked: PurchaseRequest, stranger: Client) -> None:
    assert stranger.get(address(asked)).status_code == 404
    assert stranger.post(address(asked), {"answer": "no"}).status_code == 404


def test_what_cannot_be_bought_says_why(
    asked: PurchaseRequest, owner: Client, ada: Subscriber
) -> None:
    Subscriber.objects.filter(pk=ada.pk).update(standing="restricted")
    assert "This account is restricted" in page(owner.get(address(asked))).text


def test_a_standing_consent_is_given_and_withdrawn(
    shop: Shop, line: Service, ada: Subscriber, owner: Client, stranger: Client, now: datetime
) -> None:
    listing = reverse("portal:consents")
    assert "Asks you each time." in page(owner.get(listing)).text
    give = reverse("portal:give_consent", args=[shop.films.code])
    assert "above zero" in page(owner.post(give, {"monthly_limit": "-1"}), 422).text
    assert "above zero" in page(owner.post(give, {"monthly_limit": "lots"}), 422).text
    seen = page(owner.post(give, {"monthly_limit": "20"}, follow=True))
    assert "USD 20.00 a month" in seen.text
    given = StandingConsent.objects.get()
    held = reservations.hold(
        partner=shop.films,
        subscriber_ref=partner_orders.reference_of(partner=shop.films, subscriber=ada),
        offering_code="film", net=Decimal(10), held_until=now + timedelta(hours=8),
        idempotency_key="hold", at=now,
    )  # fmt: skip
    reservations.use(
        partner=shop.films, reservation_id=held.pk, net=Decimal(4), idempotency_key="use", at=now
    )
    spent = " ".join(page(owner.get(listing)).text.split())
    assert "it charged USD 4.40 and holds USD 6.60 ; USD 9.00 are left" in spent
    assert "What it holds is released" in spent
    withdraw = reverse("portal:withdraw_consent", args=[given.public_id])
    assert stranger.post(withdraw).status_code == 404
    owner.post(withdraw)
    given.refresh_from_db()
    assert given.ended_at is not None
