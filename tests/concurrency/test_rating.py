"""Money and use at the same moment: one charge, one count, one bill; and the same without guards.

The negative controls take one guard away and show that the race is real. What then still stands is
the database's own constraint, and the caller gets an error instead of an answer.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import IntegrityError, connection, models, transaction

from ipam.models import AddressServer
from ispops import db
from ispops.catalog import publishing
from ispops.parties.models import Subscriber, WebhookDelivery
from provisioning import waiting
from provisioning.models import AccountingRecord, Service, ServiceOrder
from rating import (
    billing,
    by_meter,
    interims,
    metering,
    posting,
    purchases,
    spending,
    stepping,
    storing,
    taking,
    usage,
)
from rating.models import Charge, CustomerBill, MeteredSession, Purchase, RatedUsage, Usage
from rating.spending import SpendingLimitReached
from tests import factories
from tests.rating.ground import JUNE, MAY, NOON, Shop, buy, event, make_shop, report, subscribed
from tests.rating.test_sessions import told
from tests.small_isp import LAUNCH, make_small_isp

pytestmark = pytest.mark.django_db(transaction=True)
MANY = 8


def at_once(work: Callable[[int], Any], *, many: int = MANY) -> list[Any]:
    """Do the work in threads with connections of their own, released together; what a thread
    raises is its answer."""
    start = threading.Barrier(many)

    def one(number: int) -> Any:
        try:
            start.wait(timeout=20)
            return work(number)
        except Exception as error:
            return error
        finally:
            connection.close()

    with ThreadPoolExecutor(many) as pool:
        return list(pool.map(one, range(many)))


def kinds(answers: list[Any]) -> Counter[str]:
    return Counter(type(answer).__name__ for answer in answers)


@pytest.fixture
def shop(transactional_db: None) -> Shop:
    return make_shop(make_small_isp(fibre_ports=12))


@pytest.fixture
def ada(shop: Shop) -> Subscriber:
    return factories.subscriber(at=NOON)


@pytest.fixture
def line(shop: Shop, ada: Subscriber) -> Service:
    return factories.live_line(shop.isp, ada, at=NOON)


@pytest.fixture
def without_row_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the guard of purchases and bills away: rows are read and not held."""
    monkeypatch.setattr(db, "lock", lambda model, pk: model.objects.get(pk=pk))


def slow(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> None:
    """Let a step take long enough for the others to overtake."""
    usual = getattr(module, name)

    def after_a_while(*given: Any, **named: Any) -> Any:
        result = usual(*given, **named)
        time.sleep(0.2)
        return result

    monkeypatch.setattr(module, name, after_a_while)


class TestOnePurchaseKey:
    def test_eight_times_is_one_purchase_and_one_charge(self, shop: Shop, line: Service) -> None:
        answers = at_once(lambda _: buy(line, shop.film, key="same"))
        assert len({answer.pk for answer in answers}) == 1
        assert (Purchase.objects.count(), Charge.objects.count()) == (1, 1)
        assert ServiceOrder.objects.filter(cause=answers[0].public_id).count() == 1
        assert line.carried.count() == 1
        assert WebhookDelivery.objects.filter(kind="service_order.created").count() <= 1

    @pytest.mark.usefixtures("without_row_locks")
    def test_without_the_lock_the_others_get_an_error(
        self, shop: Shop, line: Service, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        slow(monkeypatch, purchases, "_authorise")
        answers = at_once(lambda _: buy(line, shop.film, key="same"))
        assert kinds(answers) == {"Purchase": 1, "IntegrityError": MANY - 1}
        assert Charge.objects.count() == 1


class TestTheSpendingLimit:
    @pytest.fixture(autouse=True)
    def limit(self, ada: Subscriber) -> None:
        """Two films and no third: each is 5.489 with tax."""
        Subscriber.objects.update(spending_limit=Decimal(12))

    def test_eight_at_once_do_not_pass_it(self, shop: Shop, line: Service) -> None:
        answers = at_once(lambda n: buy(line, shop.film, key=f"film-{n}"))
        assert kinds(answers) == {"Purchase": 2, SpendingLimitReached.__name__: MANY - 2}
        assert Charge.objects.count() == 2

    @pytest.mark.usefixtures("without_row_locks")
    def test_without_the_lock_they_do(
        self, shop: Shop, line: Service, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        slow(monkeypatch, spending, "require_room")
        answers = at_once(lambda n: buy(line, shop.film, key=f"film-{n}"))
        assert kinds(answers)["Purchase"] > 2


class TestOneEvent:
    @pytest.fixture(autouse=True)
    def watching(self, shop: Shop, line: Service) -> Service:
        return subscribed(line, shop.minutes)

    def test_eight_times_is_counted_once(self, shop: Shop, line: Service) -> None:
        rows = [event(line, shop.minutes, 150) for _ in range(20)]
        answers = at_once(lambda n: report(shop.films, *(rows if n % 2 else rows[::-1])))
        statuses = Counter(result.status for answer in answers for result in answer)
        assert statuses == {"accepted": 20, "duplicate": 20 * (MANY - 1)}
        assert Usage.objects.count() == 20

    def test_with_other_content_each_time_one_of_them_stays(
        self, shop: Shop, line: Service
    ) -> None:
        one = event(line, shop.minutes)
        answers = at_once(lambda n: report(shop.films, one | {"quantity": n + 1}))
        statuses = Counter(result.status for answer in answers for result in answer)
        assert statuses == {"accepted": 1, "conflict": MANY - 1}
        [kept] = [n + 1 for n, answer in enumerate(answers) if answer[0].status == "accepted"]
        assert Usage.objects.get().quantity == kept

    def test_without_the_guard_the_others_get_an_error(
        self, shop: Shop, line: Service, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        careless = storing._KEYS.replace("ON CONFLICT (digest) DO NOTHING", "")
        monkeypatch.setattr(storing, "_KEYS", careless)
        told_once = event(line, shop.minutes)
        answers = at_once(lambda _: report(shop.films, told_once))
        assert kinds(answers) == {"list": 1, "IntegrityError": MANY - 1}


class TestTwoWorkers:
    EVENTS = 400

    @pytest.fixture(autouse=True)
    def stored(self, shop: Shop, line: Service) -> None:
        subscribed(line, shop.minutes)
        one = event(line, shop.minutes)
        report(
            shop.films,
            *[one | {"event_id": f"n{n}", "quantity": n + 1} for n in range(self.EVENTS)],
        )

    def rate(self, _: int) -> int:
        done = 0
        while count := usage.rate_usage(at=NOON + timedelta(hours=3), limit=25):
            done += count
        return done

    def test_eight_workers_rate_each_event_once(self, shop: Shop) -> None:
        answers = at_once(self.rate)
        assert sum(answers) == self.EVENTS
        rows = list(RatedUsage.objects.order_by("units_after"))
        assert len(rows) == self.EVENTS
        used = sum(range(1, self.EVENTS + 1))
        assert rows[-1].units_after == used
        # 100 are included, 500 cost 0.02 each and the rest 0.01.
        net = Decimal("10") + Decimal(used - 600) / 100
        assert sum(row.amount_net for row in rows) == net
        assert sum(row.bsp_share for row in rows) == net * 70 / 100

    def test_when_only_what_waits_is_locked_two_take_one_step(
        self, shop: Shop, line: Service, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Then the key of steps refuses the second, and its use stays in the queue."""
        for _ in range(20):
            report(shop.films, event(line, shop.minutes))
        unheld(monkeypatch)
        slow(monkeypatch, stepping, "_counters")
        answers = at_once(self.rate, many=2)
        assert any(isinstance(answer, IntegrityError) for answer in answers)

    def test_charges_gather_each_use_once_however_many_post(
        self, shop: Shop, line: Service, ada: Subscriber
    ) -> None:
        def work(number: int) -> Any:
            done = self.rate(number)
            posting.post_rated_usage(until=NOON + timedelta(days=1))
            posting.save(posting.due(subscriber=ada))
            return done

        answers = at_once(work)
        assert not [answer for answer in answers if isinstance(answer, Exception)]
        posting.post_rated_usage(until=NOON + timedelta(days=1))
        charges = Charge.objects.filter(kind="usage")
        assert sum(charge.quantity for charge in charges) == sum(range(1, self.EVENTS + 1))

    def test_buying_and_rating_do_not_stand_in_each_others_way(
        self, shop: Shop, line: Service
    ) -> None:
        def work(number: int) -> Any:
            if number % 2:
                return self.rate(number)
            return [buy(line, shop.film, key=f"{number}-{n}") for n in range(10)]

        answers = at_once(work)
        assert not [answer for answer in answers if isinstance(answer, Exception)]
        assert RatedUsage.objects.count() == self.EVENTS
        assert Charge.objects.count() == 10 * MANY // 2


class TestPeriodsThatHangTogether:
    """80 of 100 minutes of May are used, and 130 of June: 20 are carried, and 10 are charged."""

    @pytest.fixture(autouse=True)
    def told(self, shop: Shop, line: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        publishing.set_price(
            offering=shop.minutes, charge="usage", amount=Decimal("0.10"), unit="turn",
            allowance=100, rollover_periods=1, at=LAUNCH,
        )  # fmt: skip
        subscribed(line, shop.minutes)
        for quantity, started in ((80, NOON), (130, JUNE.start)):
            told = event(line, shop.minutes, quantity, unit="turn", started_at=started.isoformat())
            [result] = report(shop.films, told, at=JUNE.end)
            assert result.status == "accepted"
        slow(monkeypatch, by_meter, "_added")

    def rated(self) -> Decimal:
        for _ in range(2):
            at_once(lambda _: usage.rate_usage(at=JUNE.end, limit=1), many=2)
        assert RatedUsage.objects.count() == 2
        return sum((row.amount_net for row in RatedUsage.objects.all()), Decimal(0))

    def test_two_workers_rate_them_as_one_would(self) -> None:
        assert self.rated() == Decimal(1)

    def test_without_the_lane_they_do_not_see_each_other(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        unheld(monkeypatch)
        assert self.rated() == Decimal(0)


def unheld(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lock what waits, and not the lane of the subscriber."""
    monkeypatch.setattr(taking, "_LANES", "SELECT id FROM rating_ratinglane")
    held = "LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED"
    monkeypatch.setattr(taking, "_TAKE", taking._TAKE.replace("LIMIT 20000", held))


class TestOneSession:
    @pytest.fixture(autouse=True)
    def inbox(self, line: Service) -> None:
        server = factories.address_server(at=NOON)
        for number in range(1, 41):
            for session in ("u1", "u2", "u3"):
                told(server, line, age=number * 10, down=number * 1_000, unique_session_id=session)

    def meter(self, _: int) -> int:
        done = 0
        while count := usage.meter_accounting(at=NOON, limit=7):
            done += count
        return done

    def test_eight_workers_count_each_octet_once(self) -> None:
        answers = at_once(self.meter)
        assert not [answer for answer in answers if isinstance(answer, Exception)]
        assert sum(answers) == AccountingRecord.objects.count() == 120
        rows = Usage.objects.all()
        assert sum(use.attributes["download_bytes"] for use in rows) == 3 * 40_000
        assert MeteredSession.objects.count() == 3

    @pytest.mark.parametrize("limit", [3, 6])
    def test_without_the_locks_they_count_the_same_octets(
        self, monkeypatch: pytest.MonkeyPatch, limit: int
    ) -> None:
        """Three messages are of three sessions, which are counted as columns; six are not."""
        usage.meter_accounting(at=NOON, limit=3)
        monkeypatch.setattr(models.QuerySet, "select_for_update", lambda rows, **_: rows)
        monkeypatch.setattr(interims, "_HOLD", "SELECT 1")
        slow(monkeypatch, interims, "_goes_on")
        slow(monkeypatch, metering, "cut")
        broken: list[list[waiting.Range]] = []
        usual = waiting.halves

        def halves(ranges: list[waiting.Range]) -> Any:
            broken.append(ranges)
            return usual(ranges)

        monkeypatch.setattr(waiting, "halves", halves)
        at_once(lambda _: usage.meter_accounting(at=NOON, limit=limit), many=4)
        assert broken

    def test_a_message_with_a_lower_id_may_be_committed_later(self, line: Service) -> None:
        while self.meter(0):
            pass
        server, stored, metered = AddressServer.objects.get(), threading.Event(), threading.Event()

        def work(number: int) -> int:
            if number:
                stored.wait(timeout=20)
                told(server, line, age=900, down=90_000, unique_session_id="u2")
                done = self.meter(0)
                metered.set()
                return done
            with transaction.atomic():
                told(server, line, age=900, down=90_000)
                stored.set()
                metered.wait(timeout=20)
            return self.meter(0)

        assert at_once(work, many=2) == [1, 1]
        newest = AccountingRecord.objects.order_by("-pk")[:2]
        assert [message.unique_session_id for message in newest] == ["u2", "u1"]
        rows = Usage.objects.filter(attributes__download_bytes=50_000)
        assert rows.count() == 2


class TestBills:
    def test_two_runs_make_one_bill(self, line: Service, ada: Subscriber) -> None:
        answers = at_once(lambda _: billing.issue_bill(subscriber=ada, period=MAY, at=JUNE.start))
        assert len({answer.pk for answer in answers}) == 1
        assert CustomerBill.objects.get().number == 1
        assert Charge.objects.filter(kind="recurring").count() == 1

    @pytest.mark.usefixtures("without_row_locks")
    def test_without_the_lock_the_others_get_an_error(
        self, line: Service, ada: Subscriber, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        slow(monkeypatch, billing.accrual, "due")
        answers = at_once(lambda _: billing.issue_bill(subscriber=ada, period=MAY, at=JUNE.start))
        assert kinds(answers) == {"CustomerBill": 1, "NothingToBill": MANY - 1}

    def customers(self, shop: Shop) -> list[Subscriber]:
        people = [factories.subscriber(at=NOON, name=f"Person {n}") for n in range(MANY)]
        for person in people:
            subscribed(factories.live_line(shop.isp, person, at=NOON), shop.storage)
        return people

    def test_numbers_have_no_gaps_and_no_doubles_when_one_in_two_fails(
        self, shop: Shop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        people = self.customers(shop)
        usual = billing._post

        def post(bill: CustomerBill, *given: Any) -> None:
            if people.index(bill.subscriber) % 2:
                raise ZeroDivisionError
            usual(bill, *given)

        monkeypatch.setattr(billing, "_post", post)
        answers = at_once(
            lambda n: billing.issue_bill(subscriber=people[n], period=MAY, at=JUNE.start)
        )
        assert kinds(answers) == {"CustomerBill": MANY // 2, "ZeroDivisionError": MANY // 2}
        numbers = sorted(CustomerBill.objects.values_list("number", flat=True))
        assert numbers == list(range(1, MANY // 2 + 1))

    def test_counting_the_bills_instead_gives_one_number_twice(
        self, shop: Shop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        people = self.customers(shop)
        monkeypatch.setattr(billing, "_next_number", lambda: CustomerBill.objects.count() + 1)
        slow(monkeypatch, billing, "_next_number")
        answers = at_once(
            lambda n: billing.issue_bill(subscriber=people[n], period=MAY, at=JUNE.start)
        )
        assert any(isinstance(answer, IntegrityError) for answer in answers)
