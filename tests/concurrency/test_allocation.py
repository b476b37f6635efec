"""Many connections ask for addresses at the same moment.

Nobody gets what somebody else has, nobody gets more than the plan includes, and *full* is said
only when it is true. Each promise is also shown to break when its guard is off.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from typing import Any, TypeVar

import pytest
from django.db import IntegrityError, connection, transaction

from ipam import allocation, extents, leases, overallocation, statements, static_addresses
from ipam.models import (
    AddressHolder,
    Allocation,
    AllocationHistory,
    ExtraAddress,
    FreeExtent,
    OverallocationRequest,
    Pool,
    StaticAddress,
)
from ispops.db import Prepared
from ispops.models import Event
from tests.ipam.ground import NOON, Isp, Policy, a_pool, after, an_isp, mac

pytestmark = pytest.mark.django_db(transaction=True)
ASKERS = 8
ACTIVE = Allocation.State.ACTIVE
T = TypeVar("T")


def at_once(work: Callable[[int], T], times: int = ASKERS) -> list[T]:
    """Do the work `times` over from eight connections, which begin together."""
    together = threading.Barrier(ASKERS)

    def one(number: int) -> list[T]:
        try:
            together.wait(timeout=10)
            return [work(each) for each in range(number, times, ASKERS)]
        finally:
            connection.close()

    with ThreadPoolExecutor(ASKERS) as pool:
        return [done for share in pool.map(one, range(ASKERS)) for done in share]


def services(isp: Isp, count: int) -> list[str]:
    """Open so many services of the ISP's subscriber."""
    return [
        allocation.open_holder(
            service_ref=f"svc_{number}x", subscriber=isp.subscriber, plan=isp.plan, at=NOON
        ).service_ref
        for number in range(count)
    ]


def free_slots(pool: Pool) -> list[int]:
    return [
        slot
        for extent in FreeExtent.objects.filter(pool=pool)
        for slot in range(extent.first, extent.last + 1)
    ]


def while_open(first: Callable[[], None], then: Callable[[], T], *, commit: bool = True) -> T:
    """Do `then` on another connection while the transaction that did `first` is open.

    The transaction ends when the other connection waits for it.
    """

    def other() -> T:
        try:
            return then()
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            first()
            answer = pool.submit(other)
            wait_until_blocked(answer)
            transaction.set_rollback(not commit)
        return answer.result(timeout=10)


def wait_until_blocked(answer: Future[Any]) -> None:
    """Wait until the other connection waits for ours; an answer without waiting is wrong."""
    with connection.cursor() as cursor:
        for _ in range(1000):
            cursor.execute(
                "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted "
                "AND pg_backend_pid() = ANY (pg_blocking_pids(pid)))"
            )
            if cursor.fetchone()[0]:
                return
            assert not answer.done(), f"answered without waiting: {answer.result()}"
            time.sleep(0.01)
    raise AssertionError("nobody waited")


# --- Two askers never get the same address ------------------------------------------------------


@pytest.mark.parametrize(
    ("dynamic", "slots"), [("192.0.2.0/24", 254), ("192.0.2.0/27", 30), ("192.0.2.0/29", 6)]
)
def test_every_address_is_given_once_and_full_is_said_only_when_it_is(
    dynamic: str, slots: int
) -> None:
    """Also with one shard, where every asker finds the only extent locked by another."""
    isp = an_isp(dynamic=dynamic)
    refs = services(isp, 48)
    answers = at_once(lambda n: isp.ask(mac(1), service_ref=refs[n]), times=48)
    granted = [answer for answer in answers if answer.outcome == "granted"]
    assert len(granted) == min(48, slots)
    assert len({answer.ipv4 for answer in granted}) == len(granted)
    assert len({answer.ipv6_prefix for answer in granted}) == len(granted)
    assert all("No address is free" in a.reason for a in answers if a not in granted)
    held = Allocation.objects.filter(pool=isp.dynamic).values_list("slot", flat=True)
    assert sorted([*held, *free_slots(isp.dynamic)]) == list(range(1, slots + 1))


def test_one_device_that_asks_many_times_at_once_holds_one_address() -> None:
    isp = an_isp()
    answers = at_once(lambda _: isp.ask(mac(1)))
    assert len({(answer.ipv4, answer.ipv6_prefix) for answer in answers}) == 1
    assert Allocation.objects.count() == AllocationHistory.objects.count() == 2


def test_asking_releasing_and_giving_back_lose_no_slot() -> None:
    isp = an_isp(dynamic="192.0.2.0/28", ipv6_prefixes=0)
    refs = services(isp, ASKERS)

    def live(number: int) -> None:
        ref = refs[number % ASKERS]
        for turn in range(6):
            now = after(hours=number // ASKERS * 10 + turn)
            isp.ask(mac(number), service_ref=ref, at=now)
            isp.release(mac(number), service_ref=ref, at=now)
            extents.give_back(pool=isp.dynamic, at=now)

    at_once(live, times=3 * ASKERS)
    allocation.expire_due(at=after(days=9))
    assert not Allocation.objects.exists()
    layout = FreeExtent.objects.filter(pool=isp.dynamic).order_by("first")
    assert sorted(free_slots(isp.dynamic)) == list(range(1, 15))
    assert list(layout.values_list("first", "last")) == [(1, 7), (8, 14)]


# --- Full is said only when it is true ----------------------------------------------------------


def one_shard() -> tuple[Isp, list[str]]:
    """Six addresses in a single free extent, and services that ask for them."""
    isp = an_isp(dynamic="192.0.2.0/29", ipv6_prefixes=0)
    return isp, services(isp, 3)


def test_an_asker_waits_for_the_only_extent() -> None:
    isp, refs = one_shard()
    answer = while_open(
        lambda: no_answer(isp.ask(mac(1), service_ref=refs[0])),
        lambda: isp.ask(mac(1), service_ref=refs[1]),
    )
    assert (answer.outcome, answer.ipv4) == ("granted", "192.0.2.2")


def test_the_last_address_is_free_again_when_its_asker_fails() -> None:
    isp, refs = one_shard()
    FreeExtent.objects.filter(pool=isp.dynamic).update(first=6)
    answer = while_open(
        lambda: no_answer(isp.ask(mac(1), service_ref=refs[0])),
        lambda: isp.ask(mac(1), service_ref=refs[1]),
        commit=False,
    )
    assert (answer.outcome, answer.ipv4) == ("granted", "192.0.2.6")


def test_an_asker_finds_the_extent_that_was_joined_while_it_waited() -> None:
    """The extent it waited for is gone, and the one that took its place is a new row."""
    isp, refs = one_shard()
    isp.ask(mac(1), service_ref=refs[0])
    isp.release(mac(1), service_ref=refs[0])
    answer = while_open(
        lambda: no_answer(extents.give_back(pool=isp.dynamic, at=after(hours=1))),
        lambda: isp.ask(mac(1), service_ref=refs[1]),
    )
    assert (answer.outcome, answer.ipv4) == ("granted", "192.0.2.1")


def test_two_that_give_back_join_what_the_other_left() -> None:
    isp, refs = one_shard()
    isp.ask(mac(1), service_ref=refs[0])
    isp.release(mac(1), service_ref=refs[0])
    isp.ask(mac(1), service_ref=refs[1])
    isp.release(mac(1), service_ref=refs[1], at=after(hours=1))
    assert [free_slots(isp.dynamic)] == [[3, 4, 5, 6]]
    while_open(
        lambda: no_answer(extents.give_back(pool=isp.dynamic, at=after(minutes=30))),
        lambda: extents.give_back(pool=isp.dynamic, at=after(hours=2)),
    )
    extent = FreeExtent.objects.get(pool=isp.dynamic)
    assert (extent.first, extent.last) == (1, 6)


def no_answer(_: object) -> None:
    """What was done counts, and not what it answered."""


# --- Two askers, without the guards -------------------------------------------------------------


@contextmanager
def without_keys(*names: str) -> Iterator[None]:
    """Take constraints away, and put them back over empty tables."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT conrelid::regclass, conname, pg_get_constraintdef(oid) FROM pg_constraint "
            "WHERE conname = ANY(%s)",
            [list(names)],
        )
        found = cursor.fetchall()
        assert len(found) == len(names)
        for table, name, _ in found:
            cursor.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
        try:
            yield
        finally:
            cursor.execute("TRUNCATE ipam_allocation, ipam_allocationhistory CASCADE")
            for table, name, definition in found:
                cursor.execute(f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}")


def take_without_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let all askers look for an extent, without locking it, before the first one cuts it."""
    everybody_has_looked = threading.Barrier(ASKERS)
    cut = extents._write_without

    def cut_late(*args: Any) -> None:
        everybody_has_looked.wait(timeout=10)
        cut(*args)

    unlocked = extents._STEP_OVER_LOCKED.replace("FOR UPDATE SKIP LOCKED", "")
    monkeypatch.setattr(extents, "_STEP_OVER_LOCKED", unlocked)
    monkeypatch.setattr(extents, "_write_without", cut_late)


def ask_or_fail(isp: Isp, service_ref: str) -> str | None:
    try:
        return isp.ask(mac(1), service_ref=service_ref).ipv4
    except IntegrityError:
        return None


def test_without_lock_and_keys_everybody_gets_the_same_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The negative control: the race is real."""
    isp = an_isp(dynamic="192.0.2.0/29", ipv6_prefixes=0)
    refs = services(isp, ASKERS)
    take_without_lock(monkeypatch)
    with without_keys("one_live_allocation_a_slot", "one_holder_of_an_address_at_a_time"):
        got = at_once(lambda n: ask_or_fail(isp, refs[n]))
        assert Counter(got).most_common(1) == [("192.0.2.1", ASKERS)]
        assert Allocation.objects.filter(slot=1).count() == ASKERS


@pytest.mark.parametrize(
    "missing", ["one_live_allocation_a_slot", "one_holder_of_an_address_at_a_time"]
)
def test_without_the_lock_either_key_lets_only_one_through(
    monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    isp = an_isp(dynamic="192.0.2.0/29", ipv6_prefixes=0)
    refs = services(isp, ASKERS)
    take_without_lock(monkeypatch)
    with without_keys(missing):
        got = at_once(lambda n: ask_or_fail(isp, refs[n]))
        assert Counter(got) == {"192.0.2.1": 1, None: ASKERS - 1}
        assert Allocation.objects.count() == AllocationHistory.objects.count() == 1


# --- The plan is never exceeded -----------------------------------------------------------------


def test_eight_devices_share_a_plan_of_two() -> None:
    isp = an_isp(policy=Policy.DENY, ipv4_addresses=2, ipv6_prefixes=3, most_requests_an_hour=99)
    answers = at_once(lambda n: isp.ask(mac(n)))
    assert Counter(answer.outcome for answer in answers) == {"granted": 2, "denied": 6}
    assert Counter(Allocation.objects.values_list("family", flat=True)) == {4: 2, 6: 2}
    assert OverallocationRequest.objects.count() == 6


def test_extras_are_granted_and_charged_up_to_their_number() -> None:
    isp = an_isp(policy=Policy.GRANT_AND_CHARGE, most_extra_addresses=3)
    answers = at_once(lambda n: isp.ask(mac(n)))
    assert Counter(answer.outcome for answer in answers) == {"granted": 4, "denied": 4}
    assert ExtraAddress.objects.count() == 3
    assert Event.objects.filter(kind="address.extra_granted").count() == 3


def test_a_flood_at_once_is_limited_too() -> None:
    isp = an_isp(policy=Policy.DENY, most_requests_an_hour=5)
    isp.ask(mac(0))
    at_once(lambda n: isp.ask(mac(n + 1)), times=40)
    assert OverallocationRequest.objects.count() == 5
    assert AddressHolder.objects.get().refused_by_limit == 35


def test_without_the_holders_lock_the_plan_is_exceeded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative control: every asker counts before any other has written."""
    isp = an_isp(policy=Policy.DENY, ipv4_addresses=2)
    everybody_has_counted = threading.Barrier(ASKERS)
    hold = leases.hold

    def hold_late(**values: Any) -> Any:
        everybody_has_counted.wait(timeout=10)
        return hold(**values)

    locked = statements._LOCK_HOLDER.statement
    assert "FOR NO KEY UPDATE OF holder" in locked
    unlocked = Prepared("unlocked", ("text",), locked.replace("FOR NO KEY UPDATE OF holder", ""))
    monkeypatch.setattr(statements, "_LOCK_HOLDER", unlocked)
    monkeypatch.setattr(leases, "hold", hold_late)
    answers = at_once(lambda n: isp.ask(mac(n)))
    assert Counter(answer.outcome for answer in answers) == {"granted": ASKERS}
    assert Allocation.objects.filter(family=4, state=ACTIVE).count() == ASKERS


# --- A plan's static addresses ------------------------------------------------------------------


def with_static(number: int) -> Isp:
    isp = an_isp(static_addresses=number)
    a_pool("203.0.113.0/27", server=isp.server, purpose=Pool.Purpose.STATIC)
    return isp


def follow_plan(isp: Isp) -> int:
    try:
        return len(static_addresses.follow_plan(service_ref=isp.service, at=NOON))
    except IntegrityError:
        return 0


@contextmanager
def without_index(name: str) -> Iterator[None]:
    """Take the key of static addresses away, and put it back over an empty table."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT indexdef FROM pg_indexes WHERE indexname = %s", [name])
        (definition,) = cursor.fetchone()
        cursor.execute(f"DROP INDEX {name}")
        try:
            yield
        finally:
            cursor.execute("TRUNCATE ipam_staticaddress CASCADE")
            cursor.execute(definition)


def test_a_line_keeps_as_many_as_its_plan_includes_whoever_asks() -> None:
    isp = with_static(2)
    assert at_once(lambda _: follow_plan(isp)) == [2] * ASKERS
    assert StaticAddress.objects.filter(released_at=None).count() == 2


@pytest.mark.parametrize("with_key", [True, False])
def test_without_the_holders_lock_a_line_keeps_too_many_but_for_the_key(
    monkeypatch: pytest.MonkeyPatch, with_key: bool
) -> None:
    isp = with_static(1)
    everybody_has_counted = threading.Barrier(ASKERS)
    take = extents.take

    def take_late(*values: Any, **more: Any) -> Any:
        everybody_has_counted.wait(timeout=10)
        return take(*values, **more)

    unlocked = statements._LOCK_HOLDER.statement.replace("FOR NO KEY UPDATE OF holder", "")
    monkeypatch.setattr(statements, "_LOCK_HOLDER", Prepared("unlocked", ("text",), unlocked))
    monkeypatch.setattr(extents, "take", take_late)
    with nullcontext() if with_key else without_index("one_static_address_a_place"):
        at_once(lambda _: follow_plan(isp))
        kept = StaticAddress.objects.count()
    assert kept == (1 if with_key else ASKERS)


# --- Answers ------------------------------------------------------------------------------------


def test_eight_clicks_on_accept_grant_one_extra() -> None:
    isp = an_isp()
    isp.ask(mac(1))
    request = isp.ask(mac(2)).request
    assert request is not None
    at_once(
        lambda _: overallocation.accept(
            request_id=request.public_id, actor=isp.user, at=after(minutes=1)
        )
    )
    assert ExtraAddress.objects.count() == 1
    assert Event.objects.filter(kind="address.extra_granted").count() == 1


def test_accepting_and_expiring_at_once_give_one_decision() -> None:
    isp = an_isp()
    isp.ask(mac(1))
    requests = [isp.ask(mac(n)).request for n in (2, 3, 4, 5)]
    late = max(request.answer_by for request in requests if request)

    def act(number: int) -> str:
        request = requests[number // 2]
        assert request is not None
        if number % 2:
            overallocation.expire_due_requests(at=late)
            return "swept"
        try:
            overallocation.accept(request_id=request.pk, actor=isp.user, at=after(minutes=1))
        except overallocation.RequestClosed:
            return "closed"
        return "granted"

    outcome = Counter(at_once(act))
    overallocation.expire_due_requests(at=late)
    states = Counter(OverallocationRequest.objects.values_list("state", flat=True))
    assert states["granted"] == outcome["granted"] == ExtraAddress.objects.count()
    assert states["expired"] == outcome["closed"]
    assert states["pending"] == 0


def test_closing_a_service_while_its_devices_ask_leaves_nothing_held() -> None:
    isp = an_isp(ipv4_addresses=ASKERS, ipv6_prefixes=ASKERS)

    def act(number: int) -> None:
        if number == 3:
            allocation.close_holder(service_ref=isp.service, at=after(seconds=1))
        else:
            isp.ask(mac(number))

    at_once(act)
    assert not Allocation.objects.filter(state=ACTIVE).exists()
    assert not AllocationHistory.objects.filter(held_to__isnull=True).exists()


def test_a_device_that_asks_while_its_question_is_closed_asks_anew() -> None:
    isp = an_isp()
    isp.ask(mac(1))
    request = isp.ask(mac(2)).request
    assert request is not None
    late = request.answer_by
    isp.ask(mac(1), at=late - timedelta(hours=1))
    answer = while_open(
        lambda: no_answer(overallocation.expire_due_requests(at=late)),
        lambda: isp.ask(mac(2), at=late + timedelta(seconds=1)),
    )
    assert answer.outcome == "walled_garden"
    assert answer.request != request
    states = OverallocationRequest.objects.order_by("asked_at").values_list("state", flat=True)
    assert list(states) == ["expired", "pending"]


def test_two_answers_at_once_do_not_pass_the_most_extras() -> None:
    isp = an_isp(most_extra_addresses=2)
    isp.ask(mac(1))
    first, second = (isp.ask(mac(n)).request for n in (2, 3))
    isp.plan.address_entitlement.most_extra_addresses = 1
    isp.plan.address_entitlement.save()

    def accept(request: OverallocationRequest | None) -> str:
        assert request is not None
        try:
            at = after(minutes=1)
            return overallocation.accept(request_id=request.pk, actor=isp.user, at=at).state
        except overallocation.TooManyExtraAddresses:
            return "too many"

    assert while_open(lambda: no_answer(accept(first)), lambda: accept(second)) == "too many"
    assert ExtraAddress.objects.count() == 1
