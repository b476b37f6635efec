"""Steps that call the outside: kept apart, parked in an outage, let come when it is over."""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

import pytest

from ispops.errors import InvalidInput, PermanentFault, TransientFault
from ispops.parties.models import AuditEntry, Subscriber, User
from provisioning import execution, outside, statements, steps
from provisioning.models import OrderTask, OutsideSystem, ProductOrder
from tests import factories
from tests.provisioning import ground
from tests.small_isp import SmallIsp, place

HOUSES = ("1 OAK ST", "3 OAK ST")
Fail = Callable[[Exception | None], None]


@pytest.fixture
def calls() -> list[OrderTask]:
    """Which steps called the outside."""
    return []


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch, calls: list[OrderTask]) -> Fail:
    """Let the last step of each order call a system outside, which works or fails like this."""
    now: list[Exception | None] = [None]

    def call(task: OrderTask, at: datetime) -> steps.Outcome:
        calls.append(task)
        if now[0] is not None:
            raise now[0]
        return steps.Outcome("told", request={"login": "x", "token": "abc123"}, reply={"ok": True})

    monkeypatch.setitem(steps.OUTSIDE, "welcome", call)

    def say(fault: Exception | None) -> None:
        now[0] = fault

    return say


@pytest.fixture
def ordered(isp: SmallIsp, ada: Subscriber, at: datetime) -> list[ProductOrder]:
    """Two orders, of which only the step that calls the outside is left to do."""
    placed = [factories.order(ada, place(house), "fibre-500", at=at) for house in HOUSES]
    for order in placed:
        execution._run_order(partial(execution._next_of, order.pk), at=at, limit=4)
        assert ground.step(order, "welcome").state == "ready"
    return placed


def system() -> OutsideSystem:
    return OutsideSystem.objects.get(key="welcome")


def welcomes() -> list[OrderTask]:
    return list(OrderTask.objects.filter(kind="welcome").order_by("pk"))


def fail_until_open(at: datetime) -> datetime:
    """Run what is due until the system is left alone; returns until when."""
    now = at
    for _ in range(20):
        execution.run_due(at=now, limit=10)
        if system().open_until is not None:
            return now
        now += timedelta(seconds=60)
    raise AssertionError("the breaker never opened")


def test_what_was_said_is_kept_without_its_secrets(
    ordered: list[ProductOrder], answer: Fail, at: datetime
) -> None:
    execution.run_due(at=at, limit=10)
    said = ground.last_try(ground.step(ordered[0], "welcome"))
    assert (said.outcome, said.request, said.reply) == (
        "done", {"login": "x", "token": "•••"}, {"ok": True},
    )  # fmt: skip
    assert system().failures == 0


def test_what_was_said_in_vain_is_kept_too(
    ordered: list[ProductOrder], answer: Fail, at: datetime
) -> None:
    answer(PermanentFault("no", request={"password": "pw"}, reply="whsec_abc refused"))
    execution.run_due(at=at, limit=10)
    task = ground.step(ordered[0], "welcome")
    said = ground.last_try(task)
    assert (task.state, said.request, said.reply) == (
        "fallout", {"password": "•••"}, "••• refused",
    )  # fmt: skip
    assert system().failures == 0, "a system that refuses is there"


def test_an_outage_parks_and_fails_nothing_however_long_it_lasts(
    ordered: list[ProductOrder], answer: Fail, calls: list[OrderTask], at: datetime
) -> None:
    answer(TransientFault("away"))
    now = fail_until_open(at)
    assert system().failing_from is not None
    assert system().last_error == "away"
    before = len(calls)
    for _ in range(40):
        now += timedelta(seconds=31)
        execution.run_due(at=now, limit=10)
    probes = len(calls) - before
    assert 10 <= probes <= 45, "each pause ends with one probe"
    assert {task.state for task in welcomes()} == {"ready"}
    assert max(task.attempts for task in welcomes()) < execution.MOST_ATTEMPTS
    answer(None)
    now += timedelta(seconds=100)
    for _ in range(5):
        execution.run_due(at=now, limit=10)
        now += timedelta(seconds=61)
    assert {task.state for task in welcomes()} == {"completed"}
    assert (system().failures, system().open_until, system().failing_from) == (0, None, None)


def test_while_it_is_left_alone_nobody_calls(
    ordered: list[ProductOrder], answer: Fail, calls: list[OrderTask], at: datetime
) -> None:
    answer(TransientFault("away"))
    now = fail_until_open(at)
    before = len(calls)
    OrderTask.objects.filter(kind="welcome").update(next_attempt_at=now)
    assert execution.run_due(at=now, limit=10) == 0
    assert len(calls) == before
    assert {task.next_attempt_at for task in welcomes()} == {system().open_until}


def test_trying_now_lets_one_through_and_the_rest_follow(
    ordered: list[ProductOrder], answer: Fail, calls: list[OrderTask], otto: User, at: datetime
) -> None:
    answer(TransientFault("away"))
    now = fail_until_open(at)
    answer(None)
    outside.try_now(system_id=system().pk, actor=otto, at=now)
    execution.run_due(at=now, limit=10)
    execution.run_due(at=now + timedelta(seconds=1), limit=10)
    assert {task.state for task in welcomes()} == {"completed"}
    assert AuditEntry.objects.get(action="outside_system.tried").actor == otto
    with pytest.raises(outside.SystemIsWell):
        outside.try_now(system_id=system().pk, actor=otto, at=now)


def test_a_fault_of_ours_says_nothing_of_the_system(
    ordered: list[ProductOrder], answer: Fail, at: datetime
) -> None:
    answer(ZeroDivisionError("ours"))
    execution.run_due(at=at, limit=10)
    assert {task.cause for task in welcomes()} == {"internal_error"}
    assert system().failures == 0


def test_calls_beyond_the_rate_come_when_it_is_their_turn(
    ordered: list[ProductOrder], answer: Fail, calls: list[OrderTask], at: datetime
) -> None:
    OutsideSystem.objects.create(
        key="welcome", name="Welcome", per_minute=1, next_free_at=at + timedelta(minutes=3)
    )
    assert execution.run_due(at=at, limit=10) == 0
    first, second = (task.next_attempt_at for task in welcomes())
    assert {first, second} == {at + timedelta(minutes=4), at + timedelta(minutes=5)}
    execution.run_due(at=at + timedelta(minutes=4), limit=10)
    assert len(calls) == 1
    execution.run_due(at=at + timedelta(minutes=5), limit=10)
    assert len(calls) == 2


def test_no_more_workers_call_at_a_time_than_may(
    ordered: list[ProductOrder], answer: Fail, calls: list[OrderTask], at: datetime
) -> None:
    OutsideSystem.objects.create(key="welcome", name="Welcome", at_once=1)
    held = execution._take(partial(statements.due_task, welcomes()[0].pk), at=at, limit=1)
    assert held
    assert execution.run_due(at=at, limit=10) == 0
    assert not calls
    execution._run_outside(held[0], at=at)
    execution.run_due(at=at + timedelta(seconds=2), limit=10)
    assert len(calls) == 2


def test_limits_are_changed_by_a_person_and_checked(
    ordered: list[ProductOrder], answer: Fail, otto: User, at: datetime
) -> None:
    execution.run_due(at=at, limit=10)
    outside.set_limits(system_id=system().pk, actor=otto, at=at, at_once=2, per_minute=30)
    assert (system().at_once, system().per_minute) == (2, 30)
    assert AuditEntry.objects.get(action="outside_system.limited").detail["now"] == {
        "at_once": 2, "per_minute": 30,
    }  # fmt: skip
    with pytest.raises(InvalidInput) as refused:
        outside.set_limits(system_id=system().pk, actor=otto, at=at, at_once=0)
    assert refused.value.field == "at_once"
