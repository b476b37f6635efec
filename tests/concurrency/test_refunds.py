"""Giving back at the same moment: never more than was charged; and the same without the guards."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.db import connection

from ispops import db
from ispops.parties.models import Subscriber
from provisioning.models import Service
from rating import cancelling, charges, disputes, refunds
from rating.models import Charge, Dispute, Purchase
from rating.refunds import RefundTooLarge
from tests import factories
from tests.concurrency.test_rating import MANY, at_once, kinds, slow
from tests.rating.ground import NOON, Shop, buy, make_shop, subscribed, total
from tests.small_isp import make_small_isp

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def shop(transactional_db: None) -> Shop:
    return make_shop(make_small_isp())


@pytest.fixture
def ada(shop: Shop) -> Subscriber:
    return factories.subscriber(at=NOON)


@pytest.fixture
def line(shop: Shop, ada: Subscriber) -> Service:
    return factories.live_line(shop.isp, ada, at=NOON)


@pytest.fixture
def film(shop: Shop, line: Service) -> Charge:
    """5.489 with tax: two refunds of two dollars and no third."""
    buy(line, shop.film)
    return Charge.objects.get()


@pytest.fixture
def without_row_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(db, "lock", lambda model, pk: model.objects.get(pk=pk))
    slow(monkeypatch, charges, "left_of")


def refund(film: Charge, number: int) -> Charge:
    return refunds.refund_charge(
        charge_id=film.pk, amount=Decimal(2), because="It broke off.",
        idempotency_key=f"refund-{number}", at=NOON,
    )  # fmt: skip


def back(film: Charge) -> Decimal:
    rows = list(film.corrections.all())
    return -total(rows) - total(rows, "amount_tax")


def test_eight_refunds_at_once_do_not_pass_the_charge(film: Charge) -> None:
    answers = at_once(lambda n: refund(film, n))
    assert kinds(answers) == {"Charge": 2, RefundTooLarge.__name__: MANY - 2}
    assert back(film) == 4


def test_one_key_eight_times_is_one_refund(film: Charge) -> None:
    answers = at_once(lambda _: refund(film, 1))
    assert len({answer.pk for answer in answers}) == 1
    assert back(film) == 2


@pytest.mark.usefixtures("without_row_locks")
def test_without_the_row_lock_the_database_refuses_the_others(film: Charge) -> None:
    answers = at_once(lambda n: refund(film, n))
    assert kinds(answers) == {"Charge": 2, "IntegrityError": MANY - 2}
    assert back(film) == 4


@pytest.mark.usefixtures("without_row_locks")
def test_without_both_guards_more_goes_back_than_was_charged(film: Charge) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE rating_charge DISABLE TRIGGER takes_no_more_back")
    try:
        at_once(lambda n: refund(film, n))
        assert back(film) > Decimal("5.489")
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE rating_charge ENABLE TRIGGER takes_no_more_back")


def test_one_dispute_is_opened_and_answered_once(film: Charge) -> None:
    opened = at_once(lambda _: disputes.open_dispute(charge=film, words="I never saw it.", at=NOON))
    assert len({answer.pk for answer in opened}) == 1
    cara = factories.staff("CSR", at=NOON)

    def answer(number: int) -> Dispute:
        how = {"dispute_id": opened[0].pk, "reason": "Seen.", "actor": cara, "at": NOON}
        return (disputes.reject if number % 2 else disputes.uphold)(**how)

    answers = at_once(answer)
    assert kinds(answers) == {"Dispute": 1, "IllegalTransition": MANY - 1}
    assert film.corrections.count() == (Dispute.objects.get().state == "upheld")


def test_a_subscription_is_cancelled_once(shop: Shop, line: Service) -> None:
    subscribed(line, shop.storage)
    purchase = Purchase.objects.get()
    answers = at_once(
        lambda _: cancelling.cancel_purchase(purchase_id=purchase.pk, reason="Enough", at=NOON)
    )
    assert kinds(answers) == {"Purchase": MANY}
    assert Charge.objects.filter(corrects__isnull=False).count() == 1
