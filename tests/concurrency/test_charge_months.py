"""Charges at the same moment, while their months come and go: each cause once, none lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from django.db import connection
from django.utils import timezone

from ispops.parties.models import Subscriber
from provisioning.models import Service
from rating import charge_months, months
from rating.models import Charge, ChargeKey, Purchase
from tests import factories
from tests.concurrency.test_rating import MANY, at_once, kinds
from tests.rating.ground import NOON, Shop, buy, make_shop
from tests.rating.test_guards import a_charge
from tests.small_isp import make_small_isp

pytestmark = pytest.mark.django_db(transaction=True)
GUARD = "ALTER TABLE rating_charge {} TRIGGER charged_once"


@pytest.fixture
def shop(transactional_db: None) -> Shop:
    return make_shop(make_small_isp())


@pytest.fixture
def ada(shop: Shop) -> Subscriber:
    return factories.subscriber(at=NOON)


@pytest.fixture
def line(shop: Shop, ada: Subscriber) -> Service:
    return factories.live_line(shop.isp, ada, at=NOON)


def execute(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


class TestOneCause:
    def test_eight_times_is_charged_once(self, shop: Shop, ada: Subscriber) -> None:
        answers = at_once(lambda _: a_charge(shop, ada, cause="purchase:1").save(force_insert=True))
        assert kinds(answers) == {"NoneType": 1, "IntegrityError": MANY - 1}
        assert (Charge.objects.count(), ChargeKey.objects.count()) == (1, 1)

    def test_without_the_guard_it_is_charged_each_time(self, shop: Shop, ada: Subscriber) -> None:
        execute(GUARD.format("DISABLE"))
        try:
            at_once(lambda _: a_charge(shop, ada, cause="purchase:1").save(force_insert=True))
        finally:
            execute(GUARD.format("ENABLE"))
        assert Charge.objects.count() == MANY


class TestAMonthThatGoesAndComes:
    @pytest.fixture
    def month(self, transactional_db: None) -> Iterator[datetime]:
        """The coming month, closed; nobody writes to it yet."""
        month = months.after(months.month_of(timezone.now()))
        charge_months.close_month(month=month, at=months.after(month) + timedelta(days=62))
        yield month
        execute(f"DROP TRIGGER month_is_closed ON {months.name_of('rating_charge', month)}")

    def test_while_films_are_bought(self, shop: Shop, line: Service, month: datetime) -> None:
        over = threading.Event()

        def work(number: int) -> int:
            bought = 0
            while number and not over.is_set():
                buy(line, shop.film, key=f"film-{number}-{bought}")
                bought += 1
                time.sleep(0.2)
            try:
                for _ in range(0 if number else 2):
                    charge_months.detach_month(month=month, at=month + timedelta(days=900))
                    charge_months.attach_month(month=month)
            finally:
                over.set()
            return bought

        answers = at_once(work, many=2)
        assert all(isinstance(answer, int) for answer in answers), answers
        assert sum(answers) > 0
        assert Charge.objects.count() == Purchase.objects.count() == sum(answers)
