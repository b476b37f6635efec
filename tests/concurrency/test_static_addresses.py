"""Static addresses that several want, and lines that change or end meanwhile; with controls."""

from __future__ import annotations

from collections import Counter

import pytest
from django.db import IntegrityError, connection, transaction

from ipam import allocation, blocks, extents, returning, static_addresses
from ipam.models import Allocation, FreeExtent, Pool, StaticAddress
from ispops.errors import Refusal
from tests.concurrency.test_allocation import (
    ASKERS,
    at_once,
    free_slots,
    no_answer,
    services,
    take_without_lock,
    while_open,
)
from tests.concurrency.test_renumbering import unlock_holders
from tests.ipam.ground import NOON, Isp, Purpose, Tier, a_plan, a_pool, after, an_isp, mac

pytestmark = pytest.mark.django_db(transaction=True)


def ground(network: str = "203.0.113.0/31") -> tuple[Isp, Pool]:
    isp = an_isp(policy="deny", ipv6_prefixes=0)
    return isp, a_pool(network, server=isp.server, purpose=Purpose.STATIC, name="static")


def assign(service_ref: str, cause: str = "") -> str:
    try:
        kept = static_addresses.assign_static(
            service_ref=service_ref, cause_ref=cause or f"addon-{service_ref}", at=NOON
        )
    except (Refusal, IntegrityError) as refused:
        return type(refused).__name__
    return str(kept)


def kept() -> int:
    return StaticAddress.objects.filter(released_at__isnull=True).count()


def test_lines_that_want_the_last_ones_get_one_each_and_the_others_hear_why() -> None:
    isp, pool = ground()
    refs = services(isp, ASKERS)
    answers = Counter(at_once(lambda n: assign(refs[n])))
    size = len(free_slots(pool)) + kept()
    assert answers.pop("AddressPoolExhausted") == ASKERS - size
    assert set(answers.values()) == {1}
    assert kept() == size


def test_without_lock_and_key_lines_share_a_static_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative control; with the key alone, one of them has it."""
    isp, _ = ground("203.0.113.0/29")
    refs = services(isp, ASKERS)
    take_without_lock(monkeypatch)
    first = Counter(at_once(lambda n: assign(refs[n])))
    assert first["IntegrityError"] == ASKERS - 1
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT indexdef FROM pg_indexes WHERE indexname = 'one_line_a_static_address'"
        )
        (definition,) = cursor.fetchone()
        cursor.execute("DROP INDEX one_line_a_static_address")
        try:
            shared = Counter(at_once(lambda n: assign(refs[n], f"again-{n}")))
            assert shared.most_common(1)[0][1] > 1
        finally:
            cursor.execute("TRUNCATE ipam_staticaddress CASCADE")
            cursor.execute(definition)


def test_one_add_on_that_comes_many_times_keeps_one_address() -> None:
    isp, _ = ground()
    assert len(set(at_once(lambda _: assign(isp.service)))) == 1
    assert kept() == 1


def test_another_plan_and_a_static_address_at_once_are_both_kept() -> None:
    isp, _ = ground()
    other = a_plan("other", policy="deny")

    def act(number: int) -> None:
        if number % 2:
            allocation.change_plan(service_ref=isp.service, plan=other, at=NOON)
        else:
            assign(isp.service)

    at_once(act)
    isp.holder.refresh_from_db()
    assert (isp.holder.plan, kept()) == (other, 1)
    assert isp.ask(mac(1)).ipv4 == str(StaticAddress.objects.get())


def test_a_line_that_ends_while_an_address_is_assigned_keeps_none() -> None:
    isp, pool = ground()
    free = len(free_slots(pool))
    answer = while_open(
        lambda: allocation.close_holder(service_ref=isp.service, at=after(seconds=1)),
        lambda: assign(isp.service),
    )
    assert (answer, kept(), len(free_slots(pool))) == ("NotFound", 0, free)
    refs = services(isp, 1)
    while_open(
        lambda: no_answer(assign(refs[0])),
        lambda: allocation.close_holder(service_ref=refs[0], at=after(seconds=1)),
    )
    assert (kept(), len(free_slots(pool))) == (0, free)


def test_without_the_holders_lock_an_ended_line_keeps_an_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The negative control: nobody would ever give it back."""
    isp, _ = ground()
    unlock_holders(monkeypatch)
    with transaction.atomic():
        allocation.close_holder(service_ref=isp.service, at=after(seconds=1))
        at_once(lambda n: assign(isp.service) if n == 3 else "")
    isp.holder.refresh_from_db()
    assert isp.holder.ended_at is not None
    assert kept() == 1


def test_a_release_while_quarantines_end_frees_the_address_once() -> None:
    """It is released by one, and what its device left of it is given back by others."""
    isp, pool = ground("203.0.113.0/29")
    for turn in range(3):
        cause, at = f"addon-{turn}", after(days=turn)
        assign(isp.service, cause)
        isp.ask(mac(1), at=at)
        isp.release(mac(1), at=at)
        late = after(days=turn, hours=1)

        def act(number: int, cause: str = cause, late: object = late) -> None:
            if number == 3:
                static_addresses.release_static(
                    service_ref=isp.service,
                    cause_ref=cause,
                    at=late,  # type: ignore[arg-type]
                )
            else:
                extents.give_back(pool=pool, at=late)  # type: ignore[arg-type]

        at_once(act)
        allocation.expire_due(at=after(days=turn, hours=2))
        assert sorted(free_slots(pool)) == list(range(1, 7))


# --- The block of static addresses that goes back -----------------------------------------------


def a_further(pool: Pool) -> Pool:
    """A further pool of the same kind, which holds nothing yet."""
    block = blocks.create_block(network="203.0.113.128/29", tier=Tier.ALLOCATION, at=NOON)
    cut = blocks.create_block(network="203.0.113.128/29", tier=Tier.POOL, parent=block, at=NOON)
    made = blocks.create_pool(
        name="static-2", server=pool.server, block=cut, purpose=Purpose.STATIC, at=NOON
    )
    made.grown_from = pool
    made.save(update_fields=["grown_from"])
    FreeExtent.objects.filter(pool=pool).delete()
    return made


def test_a_block_with_a_static_address_in_it_does_not_go_back() -> None:
    """Its line may be offline, so nothing of it is in use, and still it is promised."""
    isp, pool = ground()
    further = a_further(pool)
    assert assign(isp.service).startswith("203.0.113.1")
    with pytest.raises(returning.StaticAddressesKept, match="1 static address"):
        returning.begin(pool=further, cause="now", at=NOON)
    static_addresses.release_static(
        service_ref=isp.service, cause_ref=f"addon-{isp.service}", at=NOON
    )
    assert returning.begin(pool=further, cause="now", at=NOON).state == "draining"


def test_a_static_address_that_is_assigned_while_its_block_is_drained_stays() -> None:
    isp, pool = ground()
    further = a_further(pool)
    row = while_open(
        lambda: no_answer(assign(isp.service)),
        lambda: returning.begin(pool=further, cause="now", at=NOON),
    )
    returning.go_on_due(at=after(minutes=1))
    row.refresh_from_db()
    assert row.state == "draining"
    static_addresses.release_static(
        service_ref=isp.service, cause_ref=f"addon-{isp.service}", at=after(minutes=2)
    )
    for minute in (3, 4):
        returning.go_on_due(at=after(minutes=minute))
    row.refresh_from_db()
    assert row.state == "returned"
    assert not Allocation.objects.exists()
