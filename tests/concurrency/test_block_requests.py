"""Many workers go on with a further block at the same moment, and devices ask meanwhile.

One request makes one block, a block that is drained gives nothing more, and each promise is shown
to break when its guards are off.
"""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from django.db import connection, transaction

from ipam import allocation, block_steps, extents, growing, returning, sampling, stepping
from ipam.models import Allocation, BlockRequest, FreeExtent, Pool, PoolReport
from tests.concurrency.test_allocation import ASKERS, at_once, while_open
from tests.ipam.ground import NOON, a_user, after, mac
from tests.ipam.growing import Town, a_town

pytestmark = pytest.mark.django_db(transaction=True)
State = BlockRequest.State


def further(town: Town) -> int:
    return Pool.objects.filter(grown_from=town.pool).count()


def test_many_askers_are_one_request_and_many_workers_one_block() -> None:
    town = a_town()
    town.fill(0.9)

    def ask_and_work(number: int) -> Any:
        asked = town.ask(server=town.pool.server, reference=f"r-{number}")
        block_steps.go_on_due(at=after(seconds=number))
        return asked.pk

    assert len(set(at_once(ask_and_work))) == 1
    block_steps.go_on_due(at=after(minutes=5))
    assert BlockRequest.objects.get().state == State.CONFIRMED
    assert further(town) == 1


def a_granted(town: Town) -> BlockRequest:
    town.ask()
    BlockRequest.objects.update(state=State.GRANTED, next_attempt_at=NOON)
    return BlockRequest.objects.select_related("pool__block__parent", "pool__server").get()


def carve(row: BlockRequest) -> bool:
    """Do what a worker does that believes it has the row."""
    try:
        block_steps._carve(row, NOON)
    except Exception:
        connection.close()
        return False
    return True


@pytest.fixture
def own_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every worker chooses another name, so that it is not the names that keep them apart."""
    numbers = itertools.count(2)
    monkeypatch.setattr(block_steps, "_free_name", lambda first: f"town-{next(numbers)}")


@pytest.mark.usefixtures("own_names")
def test_two_workers_that_both_believe_to_have_a_request_cut_once() -> None:
    town = a_town()
    row = a_granted(town)
    assert sum(at_once(lambda _: carve(row))) == 1
    assert further(town) == 1


@pytest.fixture
def unguarded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody looks whose row it is, and the database lets a request change as it likes."""
    monkeypatch.setattr(stepping, "hold", lambda row: BlockRequest.objects.get(pk=row.pk))
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE ipam_blockrequest DISABLE TRIGGER moves")


@pytest.fixture
def guarded_again() -> Any:
    yield
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE ipam_blockrequest ENABLE TRIGGER moves")


@pytest.mark.usefixtures("own_names", "guarded_again", "unguarded")
def test_without_the_guards_a_request_is_cut_twice() -> None:
    """The negative control of the one before."""
    town = a_town()
    row = a_granted(town)
    done = at_once(lambda _: carve(row))
    assert sum(done) > 1
    assert further(town) > 1


def test_a_grant_and_a_refusal_at_once_are_one_decision() -> None:
    town = a_town(decision="csr")
    town.fill(0.9)
    growing.watch(at=NOON)
    block_steps.go_on_due(at=NOON)
    request = BlockRequest.objects.get()
    users = [a_user(f"csr{number}@isp.example") for number in range(ASKERS)]

    def decide(number: int) -> bool:
        verb = growing.grant if number % 2 else growing.refuse
        try:
            verb(request_id=request.pk, actor=users[number], reason="So", at=NOON)  # type: ignore[operator]
        except growing.BlockRequestClosed:
            return False
        return True

    assert sum(at_once(decide)) == 1


def a_further_pool(town: Town) -> Pool:
    town.fill(0.9)
    growing.watch(at=NOON)
    block_steps.go_on_due(at=NOON)
    FreeExtent.objects.filter(pool=town.pool).delete()
    return Pool.objects.get(grown_from=town.pool)


def ask(town: Town, number: int) -> str:
    ref = f"svc_c{number}"
    allocation.open_holder(
        service_ref=ref, subscriber=town.isp.subscriber, plan=town.isp.plan, at=NOON
    )
    answer = allocation.request_addresses(
        service_ref=ref, device=mac(number), server=town.pool.server, at=NOON
    )
    return str(answer.outcome)


def test_a_pool_that_is_drained_gives_nothing_more_whoever_asks_at_that_moment() -> None:
    town = a_town()
    pool = a_further_pool(town)

    def drain_or_ask(number: int) -> Any:
        if number == 3:
            return returning.begin(pool=pool, cause="now", at=NOON).state
        return ask(town, number)

    at_once(drain_or_ask, times=2 * ASKERS)
    assert not FreeExtent.objects.filter(pool=pool).exists()
    held = Allocation.objects.filter(pool=pool).count()
    assert ask(town, 99) == "denied"
    assert Allocation.objects.filter(pool=pool).count() == held


def test_what_an_asker_splits_while_a_pool_is_drained_is_taken_too() -> None:
    """The asker leaves a new extent behind, which the drain's first round cannot see."""
    town = a_town()
    pool = a_further_pool(town)

    def drain() -> None:
        with transaction.atomic():
            extents.take_all(Pool.objects.select_for_update(no_key=True).get(pk=pool.pk))

    slot = FreeExtent.objects.filter(pool=pool).order_by("-last")[0].last - 2

    def split() -> None:
        extents.take([pool], asker="x", wishes={pool.pk: slot}, at=NOON)

    while_open(split, drain)
    assert not FreeExtent.objects.filter(pool=pool).exists()


def test_without_the_wait_a_drained_pool_still_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative control: an extent that somebody holds is passed over, and stays."""
    town = a_town()
    pool = a_further_pool(town)

    def take_unlocked(drained: Pool) -> None:
        rows = FreeExtent.objects.filter(pool=drained).select_for_update(skip_locked=True)
        FreeExtent.objects.filter(pk__in=[row.pk for row in rows]).delete()

    monkeypatch.setattr(extents, "take_all", take_unlocked)
    with transaction.atomic():
        extents.take([pool], asker="x", wishes={}, at=NOON)
        at_once(lambda n: returning.begin(pool=pool, cause="now", at=NOON) if n == 3 else None)
    assert FreeExtent.objects.filter(pool=pool).exists()
    slot = extents.take([pool], asker="y", wishes={}, at=NOON)
    assert slot.pool == pool, "an address of a block that is on its way back"


def test_a_block_that_goes_back_while_its_last_address_comes_alive_again_waits() -> None:
    """Its device asks again in the moment in which the quarantine ends."""
    town = a_town()
    pool = a_further_pool(town)
    ask(town, 1)
    row = Allocation.objects.get(pool=pool)
    allocation.release_address(service_ref="svc_c1", device=mac(1), at=NOON, because="x")
    late = after(hours=1)

    def again() -> None:
        allocation.request_addresses(
            service_ref="svc_c1", device=mac(1), server=town.pool.server, at=late
        )

    def drain() -> str:
        begun = returning.begin(pool=pool, cause="now", at=late)
        returning.go_on_due(at=late)
        begun.refresh_from_db()
        return str(begun.state)

    with transaction.atomic():
        again()
        assert at_once(lambda n: drain() if n == 3 else "")[3] == "draining"
    row.refresh_from_db()
    assert (row.state, row.pool.state) == ("active", "draining")
    returning.go_on_due(at=after(hours=2))
    assert Pool.objects.get(pk=pool.pk).block is not None


def test_reports_at_once_are_one_row() -> None:
    town = a_town()
    at_once(
        lambda number: sampling.report_use(
            server=town.pool.server, pool=town.pool, assigned=number, at=after(seconds=number)
        )
    )
    assert PoolReport.objects.get().assigned == ASKERS - 1
