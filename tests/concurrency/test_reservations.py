"""Holding at the same moment: what is held and spent never passes the limit; and without guards."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from threading import Event
from typing import Any

import pytest
from django.db import connection, transaction

from ispops import db
from ispops.parties import own_limits, roles
from ispops.parties.models import Subscriber
from provisioning import partner_orders
from rating import holding, prepaid, purchases, reservations, spending, standing
from rating.models import Charge, Reservation, ReservationUse, StandingConsent
from tests import factories
from tests.concurrency.test_rating import MANY, at_once, kinds, slow
from tests.rating.ground import NOON, Shop, buy, make_shop
from tests.small_isp import make_small_isp

pytestmark = pytest.mark.django_db(transaction=True)
FEW = 4


@pytest.fixture
def shop(transactional_db: None) -> Shop:
    return make_shop(make_small_isp())


@pytest.fixture
def ada(shop: Shop) -> Subscriber:
    """A limit of 25: two holds of 11 and no third."""
    ada = factories.subscriber(at=NOON)
    factories.live_line(shop.isp, ada, at=NOON)
    partner_orders.reference_of(partner=shop.films, subscriber=ada)
    standing.give(
        subscriber=ada, partner=shop.films, monthly_limit=Decimal(500), user=ada.users.get(),
        at=NOON,
    )  # fmt: skip
    Subscriber.objects.update(spending_limit=Decimal(25))
    return ada


def hold(shop: Shop, ada: Subscriber, key: str) -> Reservation:
    return reservations.hold(
        partner=shop.films,
        subscriber_ref=partner_orders.reference_of(partner=shop.films, subscriber=ada),
        offering_code="film", held_until=NOON + timedelta(hours=1), net=Decimal(10),
        idempotency_key=key, at=NOON,
    )  # fmt: skip


def assert_held(answers: list[Any], *, times: int) -> None:
    """So many are held, and the others refused: after some by the limit, for asking too often."""
    found = kinds(answers)
    assert found.pop("Reservation") == times
    assert found.keys() <= {"SpendingLimitReached", "RefusedTooOften"}


def test_eight_holds_do_not_pass_the_limit(shop: Shop, ada: Subscriber) -> None:
    assert_held(at_once(lambda n: hold(shop, ada, f"n{n}")), times=2)


def test_holding_and_buying_do_not_pass_it_together(shop: Shop, ada: Subscriber) -> None:
    line = ada.services.get()

    def work(number: int) -> Any:
        if number % 2:
            return buy(line, shop.film, key=f"film-{number}")
        return hold(shop, ada, f"n{number}")

    answers = at_once(work)
    assert spending.third_party_spend(ada, NOON) <= 25
    assert kinds(answers)["SpendingLimitReached"] > 0


def test_eight_holds_do_not_pass_a_limit_of_ones_own(shop: Shop, ada: Subscriber) -> None:
    own_limits.set_own_limit(subscriber=ada, amount=Decimal(12), user=ada.users.get(), at=NOON)
    assert_held(at_once(lambda n: hold(shop, ada, f"n{n}")), times=1)


@pytest.fixture
def without_row_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(db, "lock", lambda model, pk: model.objects.get(pk=pk))
    monkeypatch.setattr(holding, "lock_account", lambda *_: Subscriber.objects.get())
    slow(monkeypatch, spending, "require_room")


@pytest.fixture
def ahead(ada: Subscriber) -> Subscriber:
    """No limit, and 25 paid ahead."""
    Subscriber.objects.update(spending_limit=None)
    csr = factories.staff(roles.CSR, at=NOON)
    prepaid.set_prepaid(subscriber_id=ada.pk, is_prepaid=True, actor=csr, reason="Asked", at=NOON)
    prepaid.top_up(
        subscriber_id=ada.pk, amount=Decimal(25), reference="R1", actor=csr, at=NOON
    )  # fmt: skip
    ada.refresh_from_db()
    return ada


def test_holding_and_buying_do_not_pass_what_is_paid_ahead(shop: Shop, ahead: Subscriber) -> None:
    line = ahead.services.get()

    def work(number: int) -> Any:
        if number % 2:
            return buy(line, shop.film, key=f"film-{number}")
        return hold(shop, ahead, f"n{number}")

    answers = kinds(at_once(work))
    assert 0 <= spending.prepaid_of(ahead, NOON).left < 11
    assert answers["PrepaidBalanceTooLow"] > 0
    assert answers.keys() <= {"Reservation", "Purchase", "PrepaidBalanceTooLow", "RefusedTooOften"}


@pytest.mark.usefixtures("without_row_locks")
def test_without_the_row_lock_the_database_keeps_what_is_paid_ahead(
    shop: Shop, ahead: Subscriber
) -> None:
    answers = at_once(lambda n: hold(shop, ahead, f"n{n}"))
    assert kinds(answers) == {"Reservation": 2, "IntegrityError": MANY - 2}
    assert spending.prepaid_of(ahead, NOON).left == 3


@pytest.mark.usefixtures("without_row_locks")
def test_without_both_guards_more_is_held_than_is_paid_ahead(shop: Shop, ahead: Subscriber) -> None:
    trigger = "ALTER TABLE rating_reservation {} TRIGGER hold_within_prepaid"
    with connection.cursor() as cursor:
        cursor.execute(trigger.format("DISABLE"))
    try:
        at_once(lambda n: hold(shop, ahead, f"n{n}"))
        assert spending.prepaid_of(ahead, NOON).left < 0
    finally:
        with connection.cursor() as cursor:
            cursor.execute(trigger.format("ENABLE"))


@pytest.mark.usefixtures("without_row_locks")
def test_without_the_row_lock_the_database_refuses(shop: Shop, ada: Subscriber) -> None:
    answers = at_once(lambda n: hold(shop, ada, f"n{n}"))
    assert kinds(answers) == {"Reservation": 2, "IntegrityError": MANY - 2}


@pytest.mark.usefixtures("without_row_locks")
def test_without_both_guards_the_limit_is_passed(shop: Shop, ada: Subscriber) -> None:
    trigger = "ALTER TABLE rating_reservation {} TRIGGER holds_within_limits"
    with connection.cursor() as cursor:
        cursor.execute(trigger.format("DISABLE"))
    try:
        at_once(lambda n: hold(shop, ada, f"n{n}"))
        assert spending.third_party_spend(ada, NOON) > 25
    finally:
        with connection.cursor() as cursor:
            cursor.execute(trigger.format("ENABLE"))


def use_and_buy(shop: Shop, row: Reservation, when: Callable[[], Any]) -> None:
    """Use what is held while three films are bought, each of which would pass a limit of 15."""
    Subscriber.objects.update(spending_limit=Decimal(15))
    line = row.subscriber.services.get()

    def work(number: int) -> Any:
        if number:
            return buy(line, shop.film, key=f"film-{number}")
        when()
        return reservations.use(
            reservation_id=row.pk, partner=shop.films, idempotency_key="u", at=NOON
        )

    answers = at_once(work, many=FEW)
    assert isinstance(answers[0], ReservationUse)


def test_using_and_buying_do_not_pass_it_together(
    shop: Shop, ada: Subscriber, monkeypatch: pytest.MonkeyPatch
) -> None:
    row, usual, are_read = hold(shop, ada, "one"), spending._coming, Event()

    def coming(*given: Any) -> Decimal:
        are_read.set()
        time.sleep(0.3)
        return usual(*given)

    monkeypatch.setattr(spending, "_coming", coming)
    use_and_buy(shop, row, lambda: are_read.wait(timeout=20))
    assert spending.third_party_spend(ada, NOON) == 11


def test_without_the_lock_and_the_order_they_do(
    shop: Shop, ada: Subscriber, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The charges are read first, what is held second, and the use falls in between."""
    row, usual = hold(shop, ada, "one"), spending.third_party_spend
    are_read, is_used = Event(), Event()

    def charges_first(subscriber: Subscriber, at: datetime, **_: Any) -> Decimal:
        spent = usual(subscriber, at) - spending.spent_of(subscriber, at).reserved
        are_read.set()
        is_used.wait(timeout=20)
        return spent + spending.spent_of(subscriber, at).reserved

    def publish(*given: Any, **named: Any) -> None:
        transaction.on_commit(is_used.set)

    monkeypatch.setattr(db, "lock", lambda model, pk: model.objects.get(pk=pk))
    monkeypatch.setattr(spending, "third_party_spend", charges_first)
    monkeypatch.setattr(reservations.events, "publish", publish)
    monkeypatch.setattr(purchases, "_note", lambda *_: None)
    use_and_buy(shop, row, lambda: are_read.wait(timeout=20))
    assert usual(ada, NOON) > 15


def test_nothing_is_used_after_the_consent_was_withdrawn(shop: Shop, ada: Subscriber) -> None:
    held, given = hold(shop, ada, "one"), StandingConsent.objects.get()
    user = ada.users.get()

    def work(number: int) -> Any:
        if number == 0:
            return standing.withdraw(consent_id=given.pk, user=user, at=NOON)
        return reservations.use(
            reservation_id=held.pk, partner=shop.films, net=Decimal(1),
            idempotency_key=f"u{number}", at=NOON,
        )  # fmt: skip

    answers = kinds(at_once(work, many=FEW))
    assert answers["StandingConsent"] == 1
    assert answers["ReservationUse"] + answers["NotConsented"] == FEW - 1
    held.refresh_from_db()
    assert (held.released_at, held.used_net) == (NOON, answers["ReservationUse"])


def test_eight_parts_of_one_reservation_are_no_more_than_it(shop: Shop, ada: Subscriber) -> None:
    held = hold(shop, ada, "one")
    answers = at_once(
        lambda n: reservations.use(
            reservation_id=held.pk,
            partner=shop.films,
            net=Decimal(3),
            idempotency_key=f"u{n}",
            at=NOON,
        )
    )
    assert kinds(answers) == {"ReservationUse": 3, "MoreThanHeld": MANY - 3}
    assert sum(charge.amount_net for charge in Charge.objects.all()) == 9
