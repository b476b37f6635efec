"""Consent under fire: what was agreed to once is bought once, and nothing without it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.db import connection

from ispops import db
from ispops.parties.models import Subscriber
from provisioning import partner_orders
from provisioning.models import Service
from rating import consents, offers, standing
from rating.models import Charge, Purchase, PurchaseConsent, PurchaseRequest
from tests import factories
from tests.concurrency.test_rating import MANY, at_once, kinds, slow
from tests.rating.ground import NOON, Shop, make_shop
from tests.small_isp import make_small_isp

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def shop(transactional_db: None) -> Shop:
    return make_shop(make_small_isp())


@pytest.fixture
def ada(shop: Shop) -> Subscriber:
    return factories.subscriber(at=NOON)


@pytest.fixture(autouse=True)
def line(shop: Shop, ada: Subscriber) -> Service:
    return factories.live_line(shop.isp, ada, at=NOON)


def ask(shop: Shop, ada: Subscriber, key: str) -> PurchaseRequest:
    return consents.request_purchase(
        partner=shop.films,
        subscriber_ref=partner_orders.reference_of(partner=shop.films, subscriber=ada),
        offering_code="film", idempotency_key=key, at=NOON,
    )  # fmt: skip


def answer(request: PurchaseRequest, number: int) -> Any:
    user = request.subscriber.users.get()
    if number % 2:
        return consents.decline(request_id=request.pk, user=user, at=NOON)
    shown = offers.offer(
        subscriber=request.subscriber, line=request.line, offering=request.offering, at=NOON
    )
    return consents.agree(
        request_id=request.pk, user=user, channel="portal", digest=shown.digest, at=NOON
    )


def test_yes_and_no_at_once_are_one_answer(shop: Shop, ada: Subscriber) -> None:
    request = ask(shop, ada, "one")
    answers = at_once(lambda n: answer(request, n))
    request.refresh_from_db()
    agreed = int(request.state == "agreed")
    assert request.state in {"agreed", "declined"}
    assert kinds(answers)["IllegalTransition"] == MANY // 2
    assert (Purchase.objects.count(), Charge.objects.count()) == (agreed, agreed)


def test_without_the_lock_of_the_request_the_database_allows_one_consent(
    shop: Shop, ada: Subscriber, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = ask(shop, ada, "one")
    monkeypatch.setattr(
        consents, "_hold", lambda key: PurchaseRequest.objects.filter(pk=key).first()
    )
    slow(monkeypatch, consents, "_require_open")
    answers = at_once(lambda _: answer(request, 0))
    assert kinds(answers) == {"Purchase": 1, "IntegrityError": MANY - 1}
    assert (PurchaseConsent.objects.count(), Charge.objects.count()) == (1, 1)


class TestTheStandingConsent:
    """12 a month: two films of 5.489 and no third."""

    @pytest.fixture(autouse=True)
    def given(
        self, shop: Shop, ada: Subscriber, monkeypatch: pytest.MonkeyPatch
    ) -> standing.StandingConsent:
        monkeypatch.setattr(consents, "MOST_WAITING", MANY)
        partner_orders.reference_of(partner=shop.films, subscriber=ada)
        return standing.give(
            subscriber=ada, partner=shop.films, monthly_limit=Decimal(12), user=ada.users.get(),
            at=NOON,
        )  # fmt: skip

    def test_eight_requests_at_once_do_not_pass_it(self, shop: Shop, ada: Subscriber) -> None:
        answers = at_once(lambda n: ask(shop, ada, f"n{n}"))
        assert kinds(answers) == {"PurchaseRequest": MANY}
        assert sorted(a.state for a in answers).count("agreed") == 2
        assert Charge.objects.count() == 2

    @pytest.fixture
    def without_row_locks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(db, "lock", lambda model, pk: model.objects.get(pk=pk))
        slow(monkeypatch, consents, "left_of_month")

    @pytest.mark.usefixtures("without_row_locks")
    def test_without_the_locks_the_database_refuses(self, shop: Shop, ada: Subscriber) -> None:
        answers = at_once(lambda n: ask(shop, ada, f"n{n}"))
        assert kinds(answers)["IntegrityError"] > 0
        assert Charge.objects.count() == 2

    @pytest.mark.usefixtures("without_row_locks")
    def test_without_both_guards_it_is_passed(self, shop: Shop, ada: Subscriber) -> None:
        trigger = "ALTER TABLE rating_purchaseconsent {} TRIGGER consent_is_given"
        with connection.cursor() as cursor:
            cursor.execute(trigger.format("DISABLE"))
        try:
            at_once(lambda n: ask(shop, ada, f"n{n}"))
            assert Charge.objects.count() > 2
        finally:
            with connection.cursor() as cursor:
                cursor.execute(trigger.format("ENABLE"))
