"""Holders move while others ask, release and take the plan back; each guard with its control."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from ipam import extents, leases, renumbering, statements
from ipam.models import Allocation, AllocationHistory, FreeExtent, Pool, Renumbering
from ispops.db import Prepared
from ispops.errors import Refusal
from tests.concurrency.test_allocation import (
    ASKERS,
    at_once,
    free_slots,
    no_answer,
    services,
    while_open,
)
from tests.ipam.ground import NOON, Isp, a_pool, after, an_isp, mac

pytestmark = pytest.mark.django_db(transaction=True)
ACTIVE = Allocation.State.ACTIVE
LATER = after(hours=13)
"""In the second half of a lease, when a device is given an address of the target."""


def ground(**entitlement: Any) -> tuple[Isp, Pool]:
    isp = an_isp(dynamic="192.0.2.0/28", ipv6_prefixes=0, **entitlement)
    return isp, a_pool("203.0.113.0/28", server=isp.server, name="new")


def start(isp: Isp, target: Pool) -> Renumbering:
    return renumbering.start(
        source=isp.dynamic, target=target, deadline_at=after(days=3), reason="It goes back",
        actor=isp.user, at=NOON,
    )  # fmt: skip


def take_back(isp: Isp, row: Renumbering) -> None:
    renumbering.roll_back(renumbering_id=row.pk, actor=isp.user, reason="No", at=LATER)


def held(pool: Pool) -> int:
    return Allocation.objects.filter(pool=pool, state=ACTIVE).count()


def unlock_holders(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody holds the line whose addresses are looked at, nor the addresses."""
    for name, lock in (("_LOCK_HOLDER", "FOR NO KEY UPDATE OF holder"),
                       ("_LOCK_ALLOCATIONS", "FOR UPDATE")):  # fmt: skip
        known = getattr(statements, name)
        assert lock in known.statement
        types = ("bigint",) if name == "_LOCK_ALLOCATIONS" else ("text",)
        bare = Prepared(f"unlocked{name.lower()}", types, known.statement.replace(lock, ""))
        monkeypatch.setattr(statements, name, bare)


# --- Two moves of one address -------------------------------------------------------------------


def test_a_device_that_asks_many_times_at_once_moves_once() -> None:
    isp, target = ground()
    isp.ask(mac(1))
    start(isp, target)
    answers = at_once(lambda _: isp.ask(mac(1), at=LATER).ipv4)
    assert len(set(answers)) == 1
    assert (held(isp.dynamic), held(target)) == (0, 1)
    assert AllocationHistory.objects.count() == 2


def test_without_the_locks_only_the_key_keeps_a_device_from_two_addresses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The negative control: with the key, too, off, the device has one for each request."""
    isp, target = ground(ipv4_addresses=ASKERS)
    isp.ask(mac(1))
    start(isp, target)
    unlock_holders(monkeypatch)

    def move(_: int) -> bool:
        try:
            return isp.ask(mac(1), at=LATER).outcome == "granted"
        except IntegrityError:
            return False

    read, everybody_has_read = leases.lock_allocations, threading.Barrier(ASKERS)

    def read_together(*asked: Any, **values: Any) -> Any:
        rows = read(*asked, **values)
        everybody_has_read.wait(timeout=10)
        return rows

    monkeypatch.setattr(leases, "lock_allocations", read_together)
    with connection.cursor() as cursor:
        cursor.execute("SELECT indexdef FROM pg_indexes WHERE indexname = 'one_address_a_device'")
        (definition,) = cursor.fetchone()
        assert sum(at_once(move)) == 1
        Allocation.objects.filter(pool=target).delete()
        cursor.execute("DROP INDEX one_address_a_device")
        try:
            assert sum(at_once(move)) > 1
            assert held(target) > 1
        finally:
            cursor.execute("TRUNCATE ipam_allocation CASCADE")
            cursor.execute(definition)


def test_two_plans_of_one_pool_at_once_are_one() -> None:
    isp, _ = ground()
    targets = [a_pool(f"203.0.113.{16 * n}/28", server=isp.server, name=f"t-{n}") for n in (1, 2)]

    def begin(number: int) -> str:
        try:
            return start(isp, targets[number % 2]).state
        except Refusal as refusal:
            return refusal.code

    answers = Counter(at_once(begin))
    assert answers["running"] == Renumbering.objects.count() == 1
    assert answers.keys() <= {"running", "already_renumbered", "pools_do_not_fit"}


def test_without_the_pools_locks_the_key_refuses_the_second_plan(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The negative control: without the key there would be two plans for one pool."""
    isp, target = ground()
    monkeypatch.setattr(renumbering, "_require_fitting", lambda *_: None)
    start(isp, target)
    with pytest.raises(renumbering.AlreadyRenumbered):
        start(isp, target)
    keys = ("one_open_renumbering_from_a_pool", "one_open_renumbering_into_a_pool")
    with connection.cursor() as cursor:
        cursor.execute("SELECT indexdef FROM pg_indexes WHERE indexname = ANY(%s)", [list(keys)])
        definitions = [row[0] for row in cursor.fetchall()]
        for key in keys:
            cursor.execute(f"DROP INDEX {key}")
        try:
            start(isp, target)
            assert Renumbering.objects.filter(state="running").count() == 2
        finally:
            cursor.execute("TRUNCATE ipam_renumbering CASCADE")
            for definition in definitions:
                cursor.execute(definition)


# --- A move against a release -------------------------------------------------------------------


def test_a_release_that_comes_while_a_device_moves_ends_what_it_moved_to() -> None:
    isp, target = ground()
    isp.ask(mac(1))
    start(isp, target)
    ended = while_open(
        lambda: no_answer(isp.ask(mac(1), at=LATER)),
        lambda: isp.release(mac(1), at=LATER),
    )
    assert ended == 1
    assert (held(isp.dynamic), held(target)) == (0, 0)


def test_without_the_locks_the_release_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative control: it sees the address that is being left, and ends that again."""
    isp, target = ground()
    isp.ask(mac(1))
    start(isp, target)
    unlock_holders(monkeypatch)
    end = statements.end_stays

    def end_moves(rows: Any, *, because: str, **values: Any) -> None:
        """What has moved is ended, and would keep the release waiting."""
        if because != "session_ended":
            end(rows, because=because, **values)

    monkeypatch.setattr(statements, "end_stays", end_moves)
    with transaction.atomic():
        isp.ask(mac(1), at=LATER)
        assert at_once(lambda n: isp.release(mac(1), at=LATER) if n == 3 else 0)[3] == 1
    assert held(target) == 1, "the session has ended, and its address is held"


# --- Taking back against a move -----------------------------------------------------------------


def test_taking_back_waits_for_who_moves_and_closes_what_is_left() -> None:
    isp, target = ground()
    isp.ask(mac(1))
    row = start(isp, target)
    while_open(lambda: no_answer(isp.ask(mac(1), at=LATER)), lambda: take_back(isp, row))
    assert (held(target), free_slots(target)) == (1, [])
    back = isp.ask(mac(1), at=after(hours=26)).ipv4
    assert str(back).startswith("192.0.2.")
    renumbering.go_on(at=after(hours=27))
    assert Renumbering.objects.get().state == "rolled_back"
    assert sorted(free_slots(target)) == list(range(1, 15))


def test_who_moves_while_it_is_taken_back_is_not_told_that_all_is_full() -> None:
    """It has read which pools give, and those have changed when it is its turn."""
    isp, target = ground()
    row = start(isp, target)
    answer = while_open(lambda: take_back(isp, row), lambda: isp.ask(mac(1), at=LATER))
    assert answer.outcome == "granted"
    assert str(answer.ipv4).startswith("192.0.2.")


def test_without_the_wait_a_closed_pool_keeps_free_addresses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The negative control: what an asker held is left over, and the plan can never be closed."""
    isp, target = ground()
    isp.ask(mac(1))
    row = start(isp, target)

    def take_unlocked(pool: Pool) -> None:
        rows = FreeExtent.objects.filter(pool=pool).select_for_update(skip_locked=True)
        FreeExtent.objects.filter(pk__in=[each.pk for each in rows]).delete()

    monkeypatch.setattr(extents, "take_all", take_unlocked)
    with transaction.atomic():
        isp.ask(mac(1), at=LATER)
        at_once(lambda n: take_back(isp, row) if n == 3 else None)
    assert free_slots(target)
    isp.ask(mac(1), at=after(hours=26))
    renumbering.go_on(at=after(hours=27))
    assert Renumbering.objects.get().state == "rolling_back"


def test_asking_releasing_pausing_and_taking_back_lose_no_address() -> None:
    isp, target = ground(ipv4_addresses=1)
    refs = services(isp, ASKERS)
    row = start(isp, target)

    def live(number: int) -> None:
        for turn in range(4):
            now = after(hours=13 * turn, seconds=number)
            isp.ask(mac(number), service_ref=refs[number], at=now)
            if turn % 2:
                isp.release(mac(number), service_ref=refs[number], at=now)
            if number == 3:
                verb = (renumbering.pause, renumbering.resume, renumbering.roll_back)[turn % 3]
                # Once nobody is left in the source the plan is done.
                with contextlib.suppress(Refusal):
                    verb(renumbering_id=row.pk, actor=isp.user, reason="So", at=now)
            renumbering.go_on(at=now)

    at_once(live)
    renumbering.go_on(at=after(days=9))
    for pool in (isp.dynamic, target):
        taken = Allocation.objects.filter(pool=pool).values_list("slot", flat=True)
        pool.refresh_from_db()
        if pool.state == "active":
            assert sorted([*taken, *free_slots(pool)]) == list(range(1, 15))
