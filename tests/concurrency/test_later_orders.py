"""Later orders at the same moment: one change a line, one state a suspension, one last port."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection

from ispops.errors import Refusal
from provisioning import (
    amending,
    changing,
    execution,
    later_orders,
    moving,
    orders,
    placing,
    services,
    suspending,
)
from provisioning.models import OrderTask, ProductOrder, Service, ServicePeriod, ServiceSuspension
from qualification.models import AccessPort
from tests import factories
from tests.concurrency.test_orders import AT, MANY, at_once, make_isp
from tests.concurrency.test_orders import placing as placing_orders
from tests.provisioning import later
from tests.small_isp import SmallIsp, place

pytestmark = pytest.mark.django_db(transaction=True)
Verb = Callable[[int], Any]


def make_line(ports: int = MANY) -> tuple[SmallIsp, Service]:
    isp, ada = make_isp(ports)
    later.faster(isp)
    return isp, factories.live_line(isp, ada, at=AT)


def refusing(verb: Verb) -> Verb:
    """What a verb returns, or the code of its refusal."""

    def tried(number: int) -> Any:
        try:
            return verb(number)
        except Refusal as refusal:
            return refusal.code

    return tried


def upgrade(line: Service) -> Verb:
    answer = factories.qualified(line.premises, at=AT)
    wanted = [
        later.asked(line, AT, qualification=answer, plan_code="fibre-1000") for _ in range(MANY)
    ]
    return lambda number: changing.change_line(**wanted[number])


class TestOneChangeALine:
    def test_of_eight_upgrades_one_is_taken(self) -> None:
        _, line = make_line()
        said = Counter(str(one)[:12] for one in at_once(refusing(upgrade(line))))
        assert said["change_under"] == MANY - 1
        assert ProductOrder.objects.filter(intent="change").count() == 1
        factories.work(at=AT)
        assert list(ServicePeriod.objects.values_list("offering__code", flat=True).order_by("pk")) \
            == ["fibre-500", "fibre-1000"]  # fmt: skip

    def test_cease_against_upgrade_is_one_of_them(self) -> None:
        _, line = make_line()
        up, end = upgrade(line), [later.asked(line, AT) for _ in range(MANY)]

        def either(number: int) -> Any:
            return up(number) if number % 2 else suspending.cease_line(**end[number])

        at_once(refusing(either))
        order = ProductOrder.objects.get(line=line)
        factories.work(at=AT)
        line.refresh_from_db()
        assert (order.intent, line.state) in {("change", "active"), ("cease", "ceased")}

    def test_without_looking_the_database_still_refuses(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The last guard: neither the lock nor the look is needed for there to be only one."""
        _, line = make_line()
        monkeypatch.setattr(placing, "require_no_open_change", lambda line: None)
        monkeypatch.setattr(placing.db, "lock", lambda model, pk: model.objects.get(pk=pk))
        said = Counter(str(one)[:12] for one in at_once(refusing(upgrade(line))))
        assert said["change_under"] == MANY - 1

    def test_without_any_guard_there_are_many(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The negative control."""
        _, line = make_line()
        monkeypatch.setattr(placing, "require_no_open_change", lambda line: None)
        with without("provisioning_productorder", "one_open_change_a_line"):
            at_once(refusing(upgrade(line)))
            assert ProductOrder.objects.filter(intent="change").count() > 1


@contextlib.contextmanager
def without(table: str, index: str) -> Iterator[None]:
    """Take a unique index away for a time; what it would have refused is ended before."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT indexdef FROM pg_indexes WHERE indexname = %s", [index])
        (definition,) = cursor.fetchone()
        cursor.execute(f"DROP INDEX {index}")
    yield
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {table} SET state = 'cancelled' WHERE intent <> 'new'")
        cursor.execute(definition)


class TestSuspendingAndResuming:
    def test_whoever_wins_the_state_is_that_of_the_reasons(self) -> None:
        _, line = make_line()
        services.open_suspension(line=line, reason="abuse", treatment="block", note="", at=AT)

        def race(number: int) -> None:
            at = AT + timedelta(seconds=number)
            if number % 2:
                services.close_suspension(line=line, reason="abuse", at=at)
            else:
                services.open_suspension(
                    line=line, reason="non_payment", treatment="block", note="", at=at
                )

        at_once(race)
        line.refresh_from_db()
        open_ones = ServiceSuspension.objects.filter(service=line, ended_at__isnull=True)
        assert list(open_ones.values_list("reason", flat=True)) == ["non_payment"]
        assert line.state == "suspended"

    def test_by_orders_too(self) -> None:
        _, line = make_line()
        for at in (AT + timedelta(hours=hour) for hour in range(3)):
            wanted = [later.asked(line, at, reason="requested") for _ in range(MANY)]

            def race(n: int, wanted: Any = wanted, at: Any = at) -> Any:
                if n >= MANY - 2:
                    return execution.run_due(at=at, limit=9)
                return (suspending.suspend_line, suspending.resume_line)[n % 2](**wanted[n])

            at_once(refusing(race))
            factories.work(at=at)
            line.refresh_from_db()
            is_open = line.suspensions.filter(ended_at__isnull=True).exists()
            assert line.state == ("suspended" if is_open else "active")
        assert not OrderTask.objects.exclude(state="completed").exists()

    def test_the_database_refuses_a_line_that_is_active_and_suspended(self) -> None:
        """The last guard, against two that read before either wrote."""
        _, line = make_line()
        services.open_suspension(line=line, reason="abuse", treatment="block", note="", at=AT)
        with pytest.raises(IntegrityError, match="open suspension"):
            Service.objects.filter(pk=line.pk).update(state="active")


class TestTheLastPort:
    def test_of_two_who_move_there_one_gets_it(self) -> None:
        isp, ada = make_isp(ports=3)
        bob = factories.subscriber(at=AT, name="Bob")
        lines = [factories.live_line(isp, who, at=AT) for who in (ada, bob)]
        answer = factories.qualified(place("3 OAK ST"), at=AT)
        wanted = [later.asked(line, AT, qualification=answer) for line in lines]
        said = at_once(refusing(lambda number: moving.move_line(**wanted[number])), many=2)
        assert [one for one in said if isinstance(one, str)] == ["no_free_port"]
        assert AccessPort.objects.filter(service_ref__isnull=False).count() == 3
        factories.work(at=AT)
        assert AccessPort.objects.filter(service_ref__isnull=False).count() == 2
        assert Service.objects.filter(state="active").count() == 2

    def test_those_who_only_look_keep_it_from_nobody(self) -> None:
        """A preview takes the port and gives it back; the order waits for that, and has it."""
        isp, ada = make_isp(ports=1)
        looking = placing_orders(isp, factories.subscriber(at=AT), "look-{}")
        ordering = placing_orders(isp, ada, "order-{}")

        def race(number: int) -> Any:
            if number == 0:
                return ordering(number)
            return later_orders.rehearse(lambda: looking(number), asker=None, at=AT)

        said = at_once(refusing(race))
        [order] = ProductOrder.objects.all()
        assert order in said
        assert AccessPort.objects.get().service_ref == order.items.get().service.public_id  # type: ignore[union-attr]


class TestCancellingAgainstTheWorker:
    def test_it_has_changed_or_it_was_cancelled_and_never_both(self) -> None:
        _, line = make_line()
        for round_ in range(4):
            at = AT + timedelta(hours=round_)
            before = Service.objects.get(pk=line.pk).offering.code
            target = "fibre-1000" if before == "fibre-500" else "fibre-500"
            order = later.change(line, at, plan_code=target)

            def race(number: int, order: ProductOrder = order, at: Any = at) -> Any:
                if number:
                    return execution.run_due(at=at, limit=9)
                return orders.cancel_order(order_id=order.pk, actor=None, reason="No", at=at)

            at_once(refusing(race), many=4)
            factories.work(at=at)
            order.refresh_from_db()
            line.refresh_from_db()
            assert (order.state, line.offering.code) in {
                ("cancelled", before), ("completed", target)
            }  # fmt: skip


class TestAmendingAgainstTheWorker:
    def test_it_is_done_as_first_or_as_last_asked(self) -> None:
        """The order is emptied and filled anew while workers take its steps."""
        isp, line = make_line()
        for round_ in range(4):
            at = AT + timedelta(hours=round_)
            order = later.change(line, at, add=["films-streaming"])

            def race(number: int, order: ProductOrder = order, at: Any = at) -> Any:
                if number:
                    return execution.run_due(at=at, limit=9)
                return amending.amend_order(
                    order_id=order.pk, plan_code="fibre-1000", actor=None, reason="", at=at
                )

            at_once(refusing(race), many=4)
            factories.work(at=at)
            order.refresh_from_db()
            line.refresh_from_db()
            assert (order.state, line.offering.code) == ("completed", "fibre-1000")
            assert not Service.objects.filter(offering=isp.streaming, state="active").exists()
            back = later.change(line, at, plan_code="fibre-500")
            factories.work(at=at)
            back.refresh_from_db()
            assert back.state == "completed"
            line.refresh_from_db()
        assert not OrderTask.objects.filter(state__in=["ready", "pending", "fallout"]).exists()


def test_steps_of_one_order_by_eight_workers_make_one_period() -> None:
    _, line = make_line()
    at = AT + timedelta(hours=1)
    later.change(line, at, plan_code="fibre-1000")
    at_once(lambda _: execution.run_due(at=at, limit=20))
    assert ServicePeriod.objects.filter(service=line).count() == 2
