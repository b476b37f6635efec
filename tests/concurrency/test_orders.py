"""Orders at the same moment: one key, one port, one worker a step; and the same without guards."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.db import connection
from django.db.models import TextField
from django.db.models.functions import Cast
from django.utils import timezone
from pytest_django import Settings

from ispops import jobs
from ispops.models import Event
from ispops.parties.models import Subscriber
from provisioning import execution, orders, partner_orders, statements, steps
from provisioning.models import (
    AaaCredential,
    OrderTask,
    ProductOrder,
    Service,
    ServiceOrder,
    TaskAttempt,
)
from qualification.models import AccessPort
from qualification.ports import NoFreePort
from tests import factories
from tests.small_isp import LAUNCH, SmallIsp, make_small_isp

pytestmark = pytest.mark.django_db(transaction=True)
MANY = 8
AT = LAUNCH + timedelta(days=1)


def at_once(work: Callable[[int], Any], *, many: int = MANY) -> list[Any]:
    """Do the work in threads with connections of their own, released together."""
    start = threading.Barrier(many)

    def one(number: int) -> Any:
        try:
            start.wait(timeout=20)
            return work(number)
        finally:
            connection.close()

    with ThreadPoolExecutor(many) as pool:
        return list(pool.map(one, range(many)))


def make_isp(ports: int = MANY) -> tuple[SmallIsp, Subscriber]:
    isp = make_small_isp(fibre_ports=ports)
    return isp, factories.subscriber(at=AT)


def placing(isp: SmallIsp, ada: Subscriber, key: str) -> Callable[[int], ProductOrder]:
    """Place the order for a fibre line under a key; `{}` in it is the number of the asker."""
    qualification = factories.qualified(isp.oak_1, at=AT)

    def place(number: int) -> ProductOrder:
        return orders.place_order(
            subscriber=ada,
            qualification=qualification,
            offering_codes=["fibre-500"],
            channel="portal",
            placed_by=None,
            idempotency_key=key.format(number),
            at=AT,
        )

    return place


class TestOneKey:
    def test_eight_times_the_same_key_is_one_order(self) -> None:
        isp, ada = make_isp()
        placed = at_once(placing(isp, ada, "form-1"))
        assert len({order.pk for order in placed}) == 1
        assert ProductOrder.objects.count() == Service.objects.count() == 1
        assert AccessPort.objects.filter(service_ref__isnull=False).count() == 1
        assert OrderTask.objects.count() == 5

    def test_eight_keys_are_eight_orders(self) -> None:
        """The control: nothing but the key makes them one."""
        isp, ada = make_isp()
        placed = at_once(placing(isp, ada, "form-{}"))
        assert len({order.pk for order in placed}) == ProductOrder.objects.count() == MANY

    def test_without_the_constraint_the_same_key_is_many_orders(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The negative control: looking before writing is not enough."""
        isp, ada = make_isp()
        place, look = placing(isp, ada, "form-1"), orders._placed_before
        looked, arrived = threading.Barrier(MANY), set[int]()

        def look_together(*given: Any) -> ProductOrder | None:
            found = look(*given)
            if threading.get_ident() not in arrived:
                arrived.add(threading.get_ident())
                looked.wait(timeout=20)
            return found

        def attempt(number: int) -> None:
            # Whoever comes last finds several orders where one is expected.
            with contextlib.suppress(ProductOrder.MultipleObjectsReturned):
                place(number)

        monkeypatch.setattr(orders, "_placed_before", look_together)
        with without_the_key_constraint():
            at_once(attempt)
            assert ProductOrder.objects.count() > 1
            ProductOrder.objects.update(idempotency_key=Cast("id", TextField()))


@contextlib.contextmanager
def without_the_key_constraint() -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE provisioning_productorder DROP CONSTRAINT order_placed_once")
    yield
    with connection.cursor() as cursor:
        cursor.execute(
            "ALTER TABLE provisioning_productorder ADD CONSTRAINT order_placed_once "
            "UNIQUE (subscriber_id, idempotency_key)"
        )


class TestTheLastPort:
    def test_it_goes_to_one_of_eight_orders(self) -> None:
        isp, ada = make_isp(ports=1)
        place = placing(isp, ada, "form-{}")

        def attempt(number: int) -> ProductOrder | None:
            try:
                return place(number)
            except NoFreePort:
                return None

        placed = [order for order in at_once(attempt) if order]
        assert len(placed) == 1
        assert ProductOrder.objects.count() == Service.objects.count() == 1
        line = placed[0].items.get().service
        assert line is not None
        assert AccessPort.objects.get().service_ref == line.public_id


class TestOneWorker:
    def order(self, *codes: str) -> ProductOrder:
        isp, ada = make_isp()
        return factories.order(ada, isp.oak_1, *(codes or ["fibre-500"]), at=AT)

    def test_eight_workers_run_a_step_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        order = self.order()
        task = order.tasks.get(kind="create_credentials")
        ran = _counting(monkeypatch, "create_credentials")
        at_once(lambda _: execution.run_task(task_id=task.pk, at=AT))
        assert ran["create_credentials"] == 1
        assert TaskAttempt.objects.get(task=task).outcome == "done"

    def test_eight_sweeps_do_all_the_work_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        order = self.order()
        ran = _counting(monkeypatch, *steps.INSIDE)
        at_once(lambda _: execution.run_due(at=AT, limit=20))
        # A sweep that found nothing due leaves before others make more; the next one finds it.
        execution.run_due(at=AT, limit=20)
        order.refresh_from_db()
        assert order.state == "completed"
        assert set(ran.values()) == {1}
        assert TaskAttempt.objects.count() == 5
        assert set(TaskAttempt.objects.values_list("outcome", flat=True)) == {"done"}

    def test_without_a_lease_two_run_it_and_one_counts(
        self, monkeypatch: pytest.MonkeyPatch, settings: Settings
    ) -> None:
        """The negative control: the race is real. The attempt still lets one outcome through."""
        settings.TASK_LEASE = timedelta(0)
        monkeypatch.setattr(jobs, "pulse", lambda task, lease: contextlib.nullcontext())
        order = self.order()
        task = order.tasks.get(kind="create_credentials")
        both_run = threading.Barrier(2)
        ran: Counter[str] = Counter()

        def step(of: OrderTask, at: Any) -> steps.Outcome:
            ran[of.kind] += 1
            both_run.wait(timeout=20)
            return steps.create_credentials(of, at)

        monkeypatch.setitem(steps.OUTSIDE, "create_credentials", step)
        at_once(lambda _: _until_it_ran(task), many=2)
        assert ran["create_credentials"] == 2
        outcomes = TaskAttempt.objects.filter(task=task).order_by("number")
        assert list(outcomes.values_list("outcome", flat=True)) == ["lost", "done"]
        assert AaaCredential.objects.count() == 1

    def test_a_slow_worker_that_lives_keeps_its_step(
        self, monkeypatch: pytest.MonkeyPatch, settings: Settings
    ) -> None:
        """The call takes longer than the lease, which is renewed meanwhile."""
        settings.TASK_LEASE = timedelta(seconds=1)
        task = self.order().tasks.get(kind="create_credentials")
        ran, over = Counter[str](), threading.Event()

        def slow(of: OrderTask, at: Any) -> steps.Outcome:
            ran[of.kind] += 1
            over.wait(timeout=2.5)
            return steps.create_credentials(of, at)

        def work(number: int) -> None:
            until = time.monotonic() + 2.2
            while time.monotonic() < until:
                execution.run_task(task_id=task.pk, at=timezone.now())
                time.sleep(0.05)

        monkeypatch.setitem(steps.OUTSIDE, "create_credentials", slow)
        at_once(work, many=2)
        assert ran["create_credentials"] == 1
        assert TaskAttempt.objects.get(task=task).outcome == "done"

    def test_the_last_two_steps_before_going_live_wake_it_once(self) -> None:
        """Both end at once; each must see the other's end, or nobody would go on."""
        isp, ada = make_isp()
        for _ in range(5):
            order = factories.order(ada, isp.oak_1, "fibre-500", at=AT)
            ready = list(order.tasks.filter(state="ready").order_by("pk"))
            taken = [
                execution._take(partial(statements.due_task, task.pk), at=AT, limit=1)
                for task in ready
            ]
            execution._perform(taken.pop(), at=AT)
            at_once(lambda n, taken=taken: execution._perform(taken[n], at=AT), many=2)
            going_live = order.tasks.get(kind="go_live")
            assert (going_live.state, going_live.next_attempt_at) == ("ready", AT)


def _until_it_ran(task: OrderTask) -> None:
    """Take a step; a row that another worker is just taking is passed over, so ask again."""
    while not execution.run_task(task_id=task.pk, at=AT):
        threading.Event().wait(0.01)


def _counting(monkeypatch: pytest.MonkeyPatch, *kinds: str) -> Counter[str]:
    """Count how often each of these steps is begun."""
    ran: Counter[str] = Counter()

    def counted(kind: str, step: steps.Step) -> steps.Step:
        def run(task: OrderTask, at: Any) -> steps.Outcome:
            ran[kind] += 1
            return step(task, at)

        return run

    for kind in kinds:
        monkeypatch.setitem(steps.INSIDE, kind, counted(kind, steps.INSIDE[kind]))
    return ran


class TestPartnersAnswers:
    def waiting(self) -> ServiceOrder:
        isp, ada = make_isp()
        factories.order(ada, isp.oak_1, "fibre-and-films", at=AT)
        execution.run_due(at=AT, limit=10)
        return ServiceOrder.objects.select_related("partner").get()

    def test_yes_and_no_at_once_is_one_of_them(self) -> None:
        asked = self.waiting()

        def answer(number: int) -> str:
            mine = {"service_order_id": asked.pk, "partner": asked.partner, "at": AT}
            try:
                if number % 2:
                    return partner_orders.complete(**mine).state
                return partner_orders.fail(**mine, reason="No").state
            except partner_orders.ServiceOrderClosed:
                return "closed"

        said = Counter(at_once(answer))
        asked.refresh_from_db()
        assert said == {asked.state: MANY // 2, "closed": MANY // 2}

    def test_an_answer_in_the_last_moment_and_the_clock(self) -> None:
        asked = self.waiting()

        def answer(number: int) -> None:
            if number % 2:
                partner_orders.time_out_due(at=asked.answer_by)
                return
            try:
                partner_orders.complete(
                    service_order_id=asked.pk, partner=asked.partner, at=asked.answer_by
                )
            except partner_orders.ServiceOrderClosed:
                return

        at_once(answer)
        asked.refresh_from_db()
        assert asked.state in {"completed", "timed_out"}
        ends = Event.objects.filter(subject=asked.public_id).values_list("kind", flat=True)
        assert list(ends) == [f"service_order.{asked.state}"]


class TestCancelling:
    def test_cancelling_while_workers_run_leaves_nothing_held(self) -> None:
        isp, ada = make_isp()
        for _ in range(5):
            order = factories.order(ada, isp.oak_1, "fibre-and-films", at=AT)

            def work(number: int, order: ProductOrder = order) -> bool:
                if number:
                    execution.run_due(at=AT, limit=20)
                    return False
                orders.cancel_order(order_id=order.pk, actor=None, reason="Race", at=AT)
                return True

            at_once(work, many=4)
            order.refresh_from_db()
            assert order.state == "cancelled"
            assert set(order.tasks.values_list("state", flat=True)) == {"cancelled"}
        assert not AccessPort.objects.filter(service_ref__isnull=False).exists()
        assert not AaaCredential.objects.filter(enabled=True).exists()
        assert not ServiceOrder.objects.filter(state="acknowledged").exists()
        assert not TaskAttempt.objects.filter(outcome="").exists()
