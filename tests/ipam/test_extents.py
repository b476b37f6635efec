"""Taking slots and giving them back, on the rows themselves."""

import itertools
from datetime import datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ipam import allocation, extents
from ipam.models import Allocation, AllocationHistory, FreeExtent, Pool
from tests.ipam.ground import NOON, Isp, a_pool, a_server, after, an_isp

pytestmark = pytest.mark.django_db
# Every example of hypothesis has a VRF to itself, since all of them share one transaction.
NUMBERS = itertools.count(1)


def layout(pool: Pool) -> list[tuple[int, int]]:
    rows = FreeExtent.objects.filter(pool=pool).order_by("first")
    return list(rows.values_list("first", "last"))


def take(pool: Pool, wish: int | None = None, asker: str = "a", at: datetime = NOON) -> int:
    wishes = {} if wish is None else {pool.pk: wish}
    return extents.take([pool], asker=asker, wishes=wishes, at=at).number


@pytest.fixture
def pool(db: None) -> Pool:
    """Sixteen slots of two shards, of which 1 to 14 may be handed out."""
    return a_pool("192.0.2.0/28", server=a_server())


def rest(isp: Isp, pool: Pool, *slots: int) -> None:
    """Put slots of a pool, taken from its extents before, into quarantine until now."""
    for slot in slots:
        address = extents.Slot(pool, slot).address
        stay = AllocationHistory.objects.create(
            vrf=pool.block.vrf,
            address=address,
            pool=pool,
            service_ref=isp.service,
            subscriber=isp.subscriber,
            device=f"d{slot}",
            held_from=NOON,
            held_to=NOON,
            ended_because="test",
        )
        Allocation.objects.create(
            pool=pool,
            slot=slot,
            address=address,
            holder=isp.holder,
            device=f"d{slot}",
            family=4,
            stay=stay,
            state=Allocation.State.QUARANTINED,
            allocated_at=NOON,
            expires_at=NOON,
        )


def test_a_wish_is_cut_out_of_the_middle(pool: Pool) -> None:
    assert layout(pool) == [(1, 7), (8, 14)]
    assert take(pool, wish=4) == 4
    assert layout(pool) == [(1, 3), (5, 7), (8, 14)]


def test_a_wish_that_is_gone_gets_a_neighbour(pool: Pool) -> None:
    take(pool, wish=4)
    assert take(pool, wish=4) in range(1, 4)


def test_without_a_wish_an_extent_is_used_from_its_front(pool: Pool) -> None:
    slot = take(pool)
    assert slot in (1, 8)
    assert take(pool) == slot + 1
    assert len(layout(pool)) == 2


def test_every_slot_is_handed_out_once_and_then_the_pool_is_full(pool: Pool) -> None:
    taken = [take(pool, asker=str(n)) for n in range(14)]
    assert sorted(taken) == list(range(1, 15))
    assert layout(pool) == []
    with pytest.raises(extents.AddressPoolExhausted, match="dynamic-192-0-2-0"):
        take(pool)


def test_what_touches_is_joined_inside_its_shard(db: None) -> None:
    isp = an_isp(dynamic="192.0.2.0/28")
    for slot in (3, 4, 7, 8, 12):
        take(isp.dynamic, wish=slot)
    assert layout(isp.dynamic) == [(1, 2), (5, 6), (9, 11), (13, 14)]
    rest(isp, isp.dynamic, 4, 7, 8)
    assert extents.give_back(pool=isp.dynamic, at=NOON) == 3
    assert layout(isp.dynamic) == [(1, 2), (4, 7), (8, 11), (13, 14)]
    rest(isp, isp.dynamic, 3, 12)
    assert extents.give_back(pool=isp.dynamic, at=NOON) == 2
    assert layout(isp.dynamic) == [(1, 7), (8, 14)]
    assert not Allocation.objects.exists()


def test_what_still_rests_is_not_given_back(isp: Isp) -> None:
    isp.ask("00:00:00:00:00:01")
    isp.release("00:00:00:00:00:01")
    assert extents.give_back(pool=isp.dynamic, at=after(minutes=9)) == 0
    assert Allocation.objects.count() == 2


def test_a_pool_that_cannot_be_freed_does_not_keep_the_others(isp: Isp) -> None:
    other = a_pool("192.0.2.0/28", server=isp.server, vrf=9, name="other")
    rest(isp, isp.dynamic, 4)  # free as well, so it would be free twice
    take(other, wish=5)
    rest(isp, other, 5)
    assert extents.unaccounted(isp.dynamic) == -1
    allocation.expire_due(at=NOON)
    assert Allocation.objects.get().pool == isp.dynamic
    assert extents.unaccounted(other) == 0


def test_what_nobody_has_is_free_again(isp: Isp) -> None:
    pool = a_pool("192.0.2.0/28", server=isp.server, vrf=9, name="other")
    for slot in (1, 7, 8, 12):
        take(pool, wish=slot)
        rest(isp, pool, slot)
    before = layout(pool)
    extents.take_all(pool)
    assert layout(pool) == []
    extents.free_again(pool)
    assert layout(pool) == before == [(2, 6), (9, 11), (13, 14)]


@given(st.lists(st.integers(1, 14), max_size=40))
@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_free_and_held_always_make_the_whole(isp: Isp, wishes: list[int]) -> None:
    """A wish that is free is taken; one that is held rests and is given back."""
    number = next(NUMBERS)
    pool = a_pool("192.0.2.0/28", server=isp.server, vrf=number, name=f"pool-{number}")
    held = set[int]()
    for wish in wishes:
        if wish in held:
            rest(isp, pool, wish)
            extents.give_back(pool=pool, at=NOON)
            held.remove(wish)
        else:
            assert take(pool, wish=wish) == wish
            held.add(wish)
        free = [slot for first, last in layout(pool) for slot in range(first, last + 1)]
        assert len(free) == len(set(free))
        assert sorted([*free, *held]) == list(range(1, 15))
    rest(isp, pool, *held)
    extents.give_back(pool=pool, at=NOON)
    assert layout(pool) == [(1, 7), (8, 14)]
