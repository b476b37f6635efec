"""Static addresses: kept for a line, given to its device, released; never anybody else's."""

from datetime import timedelta

import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from ipam import allocation, extents, static_addresses
from ipam.models import Allocation, AllocationHistory, FreeExtent, Pool, StaticAddress
from ispops.catalog.models import AddressEntitlement
from ispops.errors import NotFound
from ispops.models import Event
from tests.ipam.ground import NOON, Isp, Purpose, a_pool, a_server, after, an_isp, mac

pytestmark = pytest.mark.django_db


@pytest.fixture
def isp() -> Isp:
    return an_isp(policy="deny")


@pytest.fixture
def pool(isp: Isp) -> Pool:
    return a_pool("203.0.113.0/30", server=isp.server, purpose=Purpose.STATIC)


def assign(isp: Isp, cause: str = "svc_addon", service: str = "") -> str:
    row = static_addresses.assign_static(
        service_ref=service or isp.service, cause_ref=cause, at=NOON
    )
    return str(row)


def release(isp: Isp, cause: str = "svc_addon", hours: float = 1) -> int:
    at = after(hours=hours)
    return static_addresses.release_static(service_ref=isp.service, cause_ref=cause, at=at)


def free(pool: Pool) -> int:
    rows = FreeExtent.objects.filter(pool=pool)
    return sum(extent.last - extent.first + 1 for extent in rows)


def test_the_line_gets_its_static_address_and_the_prefix_beside_it(isp: Isp, pool: Pool) -> None:
    address = assign(isp)
    assert assign(isp) == address
    assert (StaticAddress.objects.count(), free(pool)) == (1, 1)
    answer = isp.ask(mac(1))
    assert (answer.outcome, answer.ipv4) == ("granted", address)
    assert answer.ipv6_prefix is not None
    assert isp.ask(mac(1), at=after(hours=13)).ipv4 == address
    assert AllocationHistory.objects.get(address=f"{address}/32").device == mac(1)


def test_it_is_beside_what_the_plan_includes(isp: Isp, pool: Pool) -> None:
    static = assign(isp)
    assert isp.ask(mac(1)).ipv4 == static
    second = isp.ask(mac(2))
    # The plan's one prefix is in use, so the second device is beyond it as ever.
    assert second.outcome == "denied"
    isp.plan.address_entitlement.ipv6_prefixes = 2
    isp.plan.address_entitlement.save()
    assert str(isp.ask(mac(2)).ipv4).startswith("192.0.2.")
    assert isp.ask(mac(3)).outcome == "denied"


def test_a_new_router_has_the_same_address_and_it_outlives_its_rest(isp: Isp, pool: Pool) -> None:
    static = assign(isp)
    isp.ask(mac(1))
    isp.release(mac(1), at=after(hours=1))
    assert isp.ask(mac(2), at=after(hours=1, minutes=1)).ipv4 == static
    isp.release(mac(2), at=after(hours=2))
    allocation.expire_due(at=after(days=9))
    assert (Allocation.objects.filter(pool=pool).count(), free(pool)) == (0, 1)
    assert isp.ask(mac(3), at=after(days=9)).ipv4 == static


def test_who_has_an_address_of_the_plan_changes_when_asking_next(isp: Isp, pool: Pool) -> None:
    dynamic = isp.ask(mac(1)).ipv4
    static = assign(isp)
    assert isp.ask(mac(1), at=after(hours=1)).ipv4 == dynamic
    assert isp.ask(mac(1), at=after(hours=13)).ipv4 == static
    stay = AllocationHistory.objects.get(address=f"{dynamic}/32")
    assert stay.ended_because == "static_address_given"


def test_it_is_released_with_what_pays_for_it(isp: Isp, pool: Pool) -> None:
    address = assign(isp)
    assert (release(isp), release(isp)) == (1, 0)
    assert free(pool) == 2
    address = assign(isp, "svc_other")
    isp.ask(mac(1))
    release(isp, "svc_other")
    stay = AllocationHistory.objects.get(address=f"{address}/32")
    assert (stay.held_to, stay.ended_because) == (after(hours=1), "static_address_ended")
    allocation.expire_due(at=after(hours=2))
    assert free(pool) == 2
    assert str(isp.ask(mac(1), at=after(hours=2)).ipv4).startswith("192.0.2.")
    kinds = Event.objects.filter(kind__startswith="address.static").values_list("kind", flat=True)
    assert sorted(kinds) == ["address.static_assigned"] * 2 + ["address.static_released"] * 2


def test_it_ends_with_the_line(isp: Isp, pool: Pool) -> None:
    assign(isp)
    allocation.close_holder(service_ref=isp.service, at=after(hours=1))
    assert free(pool) == 2
    assert StaticAddress.objects.get().released_at == after(hours=1)
    with pytest.raises(NotFound):
        assign(isp)


def test_where_nothing_is_left_nobody_is_given_anything(isp: Isp, pool: Pool) -> None:
    assert len({assign(isp, "svc_a"), assign(isp, "svc_b")}) == 2
    with pytest.raises(extents.AddressPoolExhausted):
        assign(isp, "svc_c")
    assert StaticAddress.objects.count() == 2
    with pytest.raises(NotFound):
        assign(isp, "svc_d", service="svc_nobody")


def test_at_another_server_the_plan_counts(isp: Isp, pool: Pool) -> None:
    elsewhere = a_server("elsewhere")
    a_pool("198.18.0.0/24", server=elsewhere, name="there")
    assign(isp)
    assert str(isp.ask(mac(1), server=elsewhere).ipv4).startswith("198.18.")


def test_the_database_gives_an_address_to_one_line(isp: Isp, pool: Pool) -> None:
    assign(isp)
    row = StaticAddress.objects.get()
    with pytest.raises(IntegrityError), transaction.atomic():
        StaticAddress.objects.create(
            holder=row.holder, pool=pool, slot=row.slot, address=row.address,
            cause_ref="svc_else", assigned_at=NOON,
        )  # fmt: skip
    with pytest.raises(IntegrityError), transaction.atomic():
        StaticAddress.objects.filter(pk=row.pk).update(address="203.0.113.2/32")
    with pytest.raises(IntegrityError), transaction.atomic():
        StaticAddress.objects.filter(pk=row.pk).update(released_at=NOON - timedelta(seconds=1))


def include(isp: Isp, number: int) -> None:
    AddressEntitlement.objects.filter(offering=isp.plan).update(static_addresses=number)


def follow(isp: Isp, hours: float = 0) -> list[str]:
    kept = static_addresses.follow_plan(service_ref=isp.service, at=after(hours=hours))
    return [str(static) for static in kept]


def test_a_plan_has_its_own_and_an_addon_comes_beside_them(isp: Isp, pool: Pool) -> None:
    assert follow(isp) == []
    include(isp, 1)
    own = follow(isp)
    assert (follow(isp), len(own), free(pool)) == (own, 1, 1)
    assert StaticAddress.objects.get().is_of_plan
    bought = assign(isp)
    assert {bought, *own} == {"203.0.113.1", "203.0.113.2"}
    include(isp, 0)
    assert (follow(isp, hours=1), free(pool)) == ([], 1)
    assert [str(each) for each in StaticAddress.objects.filter(released_at=None)] == [bought]


def test_a_plan_that_has_no_more_left_changes_nothing(isp: Isp, pool: Pool) -> None:
    include(isp, 3)
    with pytest.raises(extents.AddressPoolExhausted):
        follow(isp)
    assert (StaticAddress.objects.count(), free(pool)) == (0, 2)
    include(isp, 2)
    assert len(set(follow(isp))) == 2
    include(isp, 1)
    assert len(follow(isp, hours=1)) == 1
    assert StaticAddress.objects.get(released_at=None).place == 1


def test_what_somebody_had_rests_before_another_line_has_it(isp: Isp, pool: Pool) -> None:
    include(isp, 1)
    [own] = follow(isp)
    isp.ask(mac(1))
    isp.release(mac(1), at=after(hours=1))
    allocation.expire_due(at=after(days=9))
    assert not Allocation.objects.filter(pool=pool).exists()
    include(isp, 0)
    follow(isp, hours=24 * 10)
    resting = Allocation.objects.get(pool=pool)
    assert (resting.address, resting.state) == (f"{own}/32", "quarantined")
    assert resting.expires_at == after(days=10) + pool.quarantine
    assert free(pool) == 1
    allocation.expire_due(at=resting.expires_at)
    assert free(pool) == 2


def test_a_line_without_one_asks_no_more_where_there_is_a_pool(isp: Isp) -> None:
    """The question is part of the lock, so those who keep nothing pay nothing for it."""
    with CaptureQueriesContext(connection) as before:
        isp.ask(mac(1))
    other = allocation.open_holder(
        service_ref="svc_2", subscriber=isp.subscriber, plan=isp.plan, at=NOON
    )
    a_pool("203.0.113.0/30", server=isp.server, purpose=Purpose.STATIC)
    with CaptureQueriesContext(connection) as with_pool:
        isp.ask(mac(2), service_ref=other.service_ref)
    assert len(with_pool) == len(before)
