"""Eight connections want the last free port at the same moment: one of them gets it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest
from django.db import connection, transaction

from qualification import ports
from qualification.models import AccessNode, AccessPort, ServiceQualification
from tests import factories
from tests.small_isp import LAUNCH, SmallIsp, make_small_isp

pytestmark = pytest.mark.django_db(transaction=True)
ASKERS = 8
AT = LAUNCH + timedelta(days=1)


def reserve(isp: SmallIsp, service_ref: str) -> AccessPort | None:
    return ports.reserve_port(
        premises=isp.oak_1, provider=isp.fibre, technology=50, service_ref=service_ref, at=AT
    )


def at_once(work: Callable[[int], str | None]) -> list[str | None]:
    """Do the work in threads with connections of their own, released together."""
    start = threading.Barrier(ASKERS)

    def one(number: int) -> str | None:
        try:
            start.wait(timeout=10)
            return work(number)
        finally:
            connection.close()

    with ThreadPoolExecutor(ASKERS) as pool:
        return list(pool.map(one, range(ASKERS)))


def try_for_port(isp: SmallIsp) -> Callable[[int], str | None]:
    def work(number: int) -> str | None:
        try:
            reserve(isp, f"svc_{number}")
        except ports.NoFreePort:
            return None
        return f"svc_{number}"

    return work


def test_last_free_port_goes_to_one_of_eight() -> None:
    isp = make_small_isp(fibre_ports=1)
    winners = [winner for winner in at_once(try_for_port(isp)) if winner]
    assert len(winners) == 1
    assert AccessPort.objects.get().service_ref == winners[0]


def test_eight_askers_get_eight_ports_when_there_are_as_many() -> None:
    isp = make_small_isp(fibre_ports=ASKERS)
    winners = at_once(try_for_port(isp))
    assert None not in winners
    held = AccessPort.objects.values_list("service_ref", flat=True)
    assert sorted(held) == sorted(winners)


def test_without_the_lock_several_believe_they_have_the_last_port(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The negative control: the race is real, and the lock is what prevents it."""
    isp = make_small_isp(fibre_ports=1)
    all_have_looked = threading.Barrier(ASKERS)

    def look_without_lock(node: AccessNode, at: datetime) -> AccessPort | None:
        port = AccessPort.objects.filter(node=node).free(at).first()
        all_have_looked.wait(timeout=10)
        return port

    monkeypatch.setattr(ports, "_lock_free_port", look_without_lock)
    winners = [winner for winner in at_once(try_for_port(isp)) if winner]
    assert len(winners) > AccessPort.objects.count()


def test_one_service_that_asks_eight_times_at_once_gets_one_port() -> None:
    isp = make_small_isp(fibre_ports=ASKERS)
    numbers = at_once(lambda _: str(reserve(isp, "svc_same")))
    assert len(set(numbers)) == 1
    assert AccessPort.objects.filter(service_ref="svc_same").count() == 1


def test_port_that_another_gives_up_is_taken_and_not_called_full() -> None:
    """Skipping locked rows can find nothing although a port is about to be free again."""
    isp = make_small_isp(fibre_ports=1)
    locked, waiting = threading.Event(), threading.Event()

    def hold_and_give_up() -> None:
        with transaction.atomic():
            reserve(isp, "svc_given_up")
            locked.set()
            # The other one is now on its way to the lock; half a second lets it arrive.
            waiting.wait(timeout=10)
            threading.Event().wait(0.5)
            transaction.set_rollback(True)
        connection.close()

    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(hold_and_give_up)
        assert locked.wait(timeout=10)
        waiting.set()
        port = reserve(isp, "svc_patient")
        other.result(timeout=10)
    assert port is not None
    assert AccessPort.objects.get().service_ref == "svc_patient"


def try_to_hold(isp: SmallIsp, answers: list[ServiceQualification]) -> Callable[[int], str | None]:
    def work(number: int) -> str | None:
        try:
            port = ports.hold_port(
                qualification=answers[number], provider=isp.fibre, technology=50,
                until=AT + timedelta(minutes=30), at=AT,
            )  # fmt: skip
        except (ports.NoFreePort, ports.TooManyHolds):
            return None
        return str(port)

    return work


def answers_for(isp: SmallIsp) -> list[ServiceQualification]:
    return [factories.qualified(isp.oak_1, at=AT) for _ in range(ASKERS)]


def test_eight_who_would_hold_at_once_keep_to_the_limit() -> None:
    isp = make_small_isp(fibre_ports=30)
    held = [port for port in at_once(try_to_hold(isp, answers_for(isp))) if port]
    assert len(set(held)) == len(held) == 3
    assert AccessPort.objects.held(AT).count() == 3


def test_without_the_lock_of_the_node_more_are_held_than_may_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The negative control of the limit: all have counted before the first one holds."""
    isp = make_small_isp(fibre_ports=30)
    answers = answers_for(isp)
    all_have_counted = threading.Barrier(ASKERS)
    count = ports._refuse_too_many

    def count_together(node: AccessNode, at: datetime) -> None:
        count(node, at)
        all_have_counted.wait(timeout=10)

    monkeypatch.setattr(ports, "_refuse_too_many", count_together)
    monkeypatch.setattr(ports.db, "lock", lambda model, pk: model.objects.get(pk=pk))
    held = [port for port in at_once(try_to_hold(isp, answers)) if port]
    assert len(held) == ASKERS
    assert AccessPort.objects.held(AT).count() > 3


def test_holder_and_seven_others_order_at_once_and_the_holder_gets_the_held_port() -> None:
    isp = make_small_isp(fibre_ports=1)
    answers = answers_for(isp)
    assert try_to_hold(isp, answers)(5)

    def order(number: int) -> str | None:
        try:
            ports.reserve_port(
                premises=isp.oak_1, provider=isp.fibre, technology=50, at=AT,
                service_ref=f"svc_{number}", qualification=answers[number],
            )  # fmt: skip
        except ports.NoFreePort:
            return None
        return f"svc_{number}"

    assert [winner for winner in at_once(order) if winner] == ["svc_5"]
    assert AccessPort.objects.get().service_ref == "svc_5"


def test_hold_and_order_at_once_never_share_the_last_port() -> None:
    isp = make_small_isp(fibre_ports=1)
    answers = answers_for(isp)
    hold, order = try_to_hold(isp, answers), try_for_port(isp)
    got = at_once(lambda number: hold(number) if number % 2 else order(number))
    assert len([one for one in got if one]) == 1
    port = AccessPort.objects.get()
    assert (port.service_ref is None) != (port.held_for is None)
