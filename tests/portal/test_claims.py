"""What a subscriber does about what was bought: cancel it, dispute a charge, see what goes back."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from django.test import Client
from django.urls import reverse

from provisioning.models import Service
from rating import disputes, refunds
from rating.models import Charge, Dispute
from tests import factories
from tests.portal.pages import page
from tests.rating.ground import Shop, buy, make_shop, subscribed
from tests.small_isp import SmallIsp

pytestmark = pytest.mark.django_db


@pytest.fixture
def shop(isp: SmallIsp, before: datetime) -> Shop:
    return make_shop(isp, before)


@pytest.fixture
def film(shop: Shop, line: Service, now: datetime) -> Charge:
    buy(line, shop.film, at=now)
    return Charge.objects.get(offering=shop.film)


def test_a_dispute_is_taken_down_shown_and_answered(
    film: Charge, owner: Client, now: datetime
) -> None:
    ask = reverse("portal:dispute", args=[film.public_id])
    charge = reverse("portal:charge", args=[film.public_id])
    assert "Dispute this charge" in page(owner.get(charge)).text
    page(owner.get(ask))
    empty = page(owner.post(ask, {"words": " "}), 422)
    assert "Say what is wrong" in empty.text
    answer = owner.post(ask, {"words": "The film <b>stopped</b>."})
    assert (answer.status_code, answer.url) == (302, charge)
    owner.post(ask, {"words": "Again"})
    dispute = Dispute.objects.get()
    seen = page(owner.get(charge))
    assert "We are looking into it" in seen.text
    assert "&lt;b&gt;stopped" in seen.html
    assert "We are looking into it" in page(owner.get(reverse("portal:bill"))).text
    disputes.reject(
        dispute_id=dispute.pk, reason="Watched to the end.", at=now,
        actor=factories.staff("CSR", at=now),
    )  # fmt: skip
    seen = page(owner.get(charge))
    assert "Watched to the end." in seen.text
    assert "Dispute this charge again" in seen.text


def test_a_refund_explains_itself(film: Charge, owner: Client, now: datetime) -> None:
    back = refunds.refund_charge(
        charge_id=film.pk, because="It broke off.", idempotency_key="k", at=now
    )
    assert "given back" in page(owner.get(reverse("portal:charge", args=[film.public_id]))).text
    why = page(owner.get(reverse("portal:charge", args=[back.public_id])))
    assert "the same part of every share" in why.text
    assert "It broke off." in why.text
    assert reverse("portal:charge", args=[film.public_id]) in why.html
    assert "Dispute" not in why.text


def test_a_subscription_is_cancelled(
    shop: Shop, line: Service, owner: Client, now: datetime
) -> None:
    service = subscribed(line, shop.storage, at=now - timedelta(hours=1))
    seen = page(owner.get(reverse("portal:purchase", args=[service.purchase.public_id])))
    cancel = reverse("portal:cancel_purchase", args=[service.purchase.public_id])
    assert cancel in seen.html
    assert "still to come is given back" in page(owner.get(cancel)).text
    owner.post(cancel)
    seen = page(owner.post(cancel, follow=True))
    assert "This was cancelled." in seen.text
    assert cancel not in seen.html
    assert "given back in part" in seen.text


def test_of_others_there_is_nothing(film: Charge, stranger: Client) -> None:
    assert stranger.get(reverse("portal:dispute", args=[film.public_id])).status_code == 404
    purchase = film.service.purchase.public_id  # type: ignore[union-attr]
    assert stranger.post(reverse("portal:cancel_purchase", args=[purchase])).status_code == 404
