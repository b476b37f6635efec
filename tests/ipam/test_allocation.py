"""Figure 10: a device of a service asks its address server, and gets a definite answer."""

from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.test.utils import CaptureQueriesContext

from ipam import allocation, overallocation
from ipam.models import (
    AddressHolder,
    AddressServer,
    Allocation,
    AllocationHistory,
    ExtraAddress,
    FreeExtent,
    OverallocationRequest,
    Pool,
)
from ispops.errors import InvalidInput
from ispops.models import Event
from tests.ipam.ground import (
    NOON,
    SECRET,
    Isp,
    Policy,
    Purpose,
    a_plan,
    a_pool,
    a_server,
    after,
    an_isp,
    mac,
)

pytestmark = pytest.mark.django_db
ACTIVE, QUARANTINED = Allocation.State.ACTIVE, Allocation.State.QUARANTINED
LEASE: timedelta = settings.ADDRESS_LEASE
QUARANTINE = timedelta(minutes=10)


def free_slots(pool: Pool) -> int:
    return sum(extent.last - extent.first + 1 for extent in FreeExtent.objects.filter(pool=pool))


def stays(device: str) -> list[tuple[str, Any, str | None]]:
    """The history of a device's IPv4 addresses: until when, and why it ended."""
    rows = AllocationHistory.objects.filter(device=device, pool__family=4).order_by("held_from")
    return [(row.address, row.held_to, row.ended_because) for row in rows]


# --- The first request --------------------------------------------------------------------------


def test_a_device_gets_an_address_and_a_prefix_in_one_answer(isp: Isp) -> None:
    answer = isp.ask("02-00-00-00-00-01")
    assert answer.outcome == "granted"
    assert answer.ipv4 is not None
    assert answer.ipv4.startswith("192.0.2.")
    assert answer.ipv6_prefix is not None
    assert answer.ipv6_prefix.endswith("::/56")
    assert (answer.lease_seconds, answer.request, answer.reason) == (86_400, None, "")
    four, six = Allocation.objects.order_by("family")
    assert (four.address, six.address) == (f"{answer.ipv4}/32", answer.ipv6_prefix)
    assert {four.device, six.device} == {"02:00:00:00:00:01"}
    assert (four.state, four.counts, four.expires_at) == (ACTIVE, True, NOON + LEASE)
    assert (free_slots(isp.dynamic), free_slots(isp.prefixes)) == (253, 255)


def test_a_stay_in_the_history_is_opened_with_it(isp: Isp) -> None:
    answer = isp.ask(mac(1))
    stay = AllocationHistory.objects.get(pool=isp.dynamic)
    assert (stay.address, stay.device, stay.service_ref) == (
        f"{answer.ipv4}/32",
        mac(1),
        isp.service,
    )
    assert (stay.subscriber, stay.held_from, stay.held_to) == (isp.subscriber, NOON, None)


def test_a_plan_without_ipv6_gets_none_and_the_other_way_round(db: None) -> None:
    isp = an_isp(ipv6_prefixes=0)
    answer = isp.ask(mac(1))
    assert answer.ipv4
    assert answer.ipv6_prefix is None
    isp.holder.plan.address_entitlement.delete()
    plan = a_plan("six", ipv4_addresses=0)
    allocation.open_holder(service_ref="svc_6", subscriber=isp.subscriber, plan=plan, at=NOON)
    answer = isp.ask(mac(1), service_ref="svc_6")
    assert answer.outcome == "granted"
    assert answer.ipv4 is None
    assert answer.ipv6_prefix


def test_a_server_without_prefixes_gives_what_it_can(isp: Isp) -> None:
    south = a_server("aaa-south")
    a_pool("203.0.113.0/28", server=south)
    answer = isp.ask(mac(1), server=south)
    assert (answer.outcome, answer.ipv6_prefix) == ("granted", None)
    assert isp.ask(mac(1), server=south).ipv4 == answer.ipv4


def test_a_plan_that_says_nothing_has_one_of_each(isp: Isp) -> None:
    isp.plan.address_entitlement.delete()
    assert isp.ask(mac(1)).outcome == "granted"
    assert isp.ask(mac(2)).outcome == "denied"


# --- Stickiness ---------------------------------------------------------------------------------


def test_the_same_device_gets_the_same_addresses_again(isp: Isp) -> None:
    first = isp.ask(mac(1))
    again = isp.ask("0200.0000.0001", at=after(hours=1))
    assert (again.ipv4, again.ipv6_prefix) == (first.ipv4, first.ipv6_prefix)
    assert again.lease_seconds == 86_400 - 3_600
    assert Allocation.objects.count() == AllocationHistory.objects.count() == 2


def test_a_lease_is_renewed_in_its_second_half(isp: Isp) -> None:
    first = isp.ask(mac(1))
    again = isp.ask(mac(1), at=after(hours=13))
    assert (again.ipv4, again.lease_seconds) == (first.ipv4, 86_400)
    assert set(Allocation.objects.values_list("expires_at", flat=True)) == {after(hours=13) + LEASE}
    assert AllocationHistory.objects.filter(held_to__isnull=True).count() == 2


def test_a_device_that_comes_back_soon_gets_its_resting_address(isp: Isp) -> None:
    first = isp.ask(mac(1))
    assert isp.release(mac(1), at=after(hours=1)) == 2
    assert isp.ask(mac(2), at=after(hours=1, minutes=1)).ipv4 != first.ipv4
    isp.release(mac(2), at=after(hours=1, minutes=2))
    again = isp.ask(mac(1), at=after(hours=1, minutes=3))
    assert (again.ipv4, again.ipv6_prefix) == (first.ipv4, first.ipv6_prefix)
    assert stays(mac(1)) == [
        (f"{first.ipv4}/32", after(hours=1), "session_ended"),
        (f"{first.ipv4}/32", None, None),
    ]


def test_a_device_that_comes_back_late_gets_its_old_address_if_it_is_free(isp: Isp) -> None:
    first = isp.ask(mac(1))
    isp.release(mac(1))
    allocation.expire_due(at=after(days=1))
    assert not Allocation.objects.exists()
    assert free_slots(isp.dynamic) == 254
    again = isp.ask(mac(1), at=after(days=40))
    assert (again.ipv4, again.ipv6_prefix) == (first.ipv4, first.ipv6_prefix)


def test_an_old_address_that_somebody_else_has_is_not_given_twice(db: None) -> None:
    isp = an_isp(dynamic="192.0.2.0/30", ipv6_prefixes=0)
    first = isp.ask(mac(1))
    isp.release(mac(1))
    allocation.expire_due(at=after(days=1))
    other = open_service(isp, "svc_2")
    taken = {isp.ask(mac(9), service_ref=other, at=after(days=1)).ipv4}
    while first.ipv4 not in taken:
        other = open_service(isp, f"svc_{len(taken) + 2}")
        taken.add(isp.ask(mac(9), service_ref=other, at=after(days=1)).ipv4)
    again = isp.ask(mac(1), at=after(days=2, minutes=-1))
    assert again.ipv4 not in taken


def open_service(isp: Isp, service_ref: str) -> str:
    holder = allocation.open_holder(
        service_ref=service_ref, subscriber=isp.subscriber, plan=isp.plan, at=NOON
    )
    return holder.service_ref


def test_a_late_message_cannot_begin_a_stay_before_the_last_one_ended(isp: Isp) -> None:
    """A request that waited for the lock behind a release carries the older time."""
    first = isp.ask(mac(1))
    isp.release(mac(1), at=after(minutes=1))
    again = isp.ask(mac(1), at=after(seconds=59))
    assert again.ipv4 == first.ipv4
    assert stays(mac(1))[-1][1] is None
    assert isp.release(mac(1), at=after(seconds=58)) == 2
    assert stays(mac(1))[-1][1] == after(minutes=1)


def test_a_clock_that_is_set_back_hinders_nobody(db: None) -> None:
    isp = an_isp(dynamic="192.0.2.0/32", ipv6_prefixes=0)
    isp.ask(mac(1))
    isp.release(mac(1), at=after(minutes=1))
    allocation.expire_due(at=after(minutes=12))
    assert isp.ask(mac(2), at=after(minutes=-30)).ipv4 == "192.0.2.0"
    assert AllocationHistory.objects.get(device=mac(2)).held_from == after(minutes=1)


# --- Release, expiry, quarantine ----------------------------------------------------------------


def test_a_released_address_rests_before_anybody_else_gets_it(isp: Isp) -> None:
    isp.ask(mac(1))
    assert isp.release(mac(1)) == 2
    row = Allocation.objects.get(family=4)
    assert (row.state, row.expires_at) == (QUARANTINED, NOON + QUARANTINE)
    assert allocation.expire_due(at=after(minutes=9, seconds=59)) == 0
    assert free_slots(isp.dynamic) == 253
    assert allocation.expire_due(at=after(minutes=10)) == 2
    assert free_slots(isp.dynamic) == 254


def test_releasing_twice_or_what_is_not_held_does_nothing(isp: Isp) -> None:
    isp.ask(mac(1))
    assert isp.release(mac(1)) == 2
    before = list(Allocation.objects.values())
    assert isp.release(mac(1), at=after(minutes=1)) == 0
    assert isp.release(mac(7)) == 0
    assert isp.release("\0") == 0
    assert allocation.release_address(service_ref="svc_9", device=mac(1), at=NOON, because="x") == 0
    assert list(Allocation.objects.values()) == before


def test_a_reason_from_the_network_is_cut_to_what_is_kept(isp: Isp) -> None:
    isp.ask(mac(1))
    assert isp.release(mac(1), because="x" * 253) == 2
    assert stays(mac(1))[0][2] == "x" * 40


def test_a_lease_that_runs_out_ends_the_stay(isp: Isp) -> None:
    first = isp.ask(mac(1))
    assert allocation.expire_due(at=NOON + LEASE - timedelta(seconds=1)) == 0
    assert allocation.expire_due(at=NOON + LEASE) == 2
    assert stays(mac(1)) == [(f"{first.ipv4}/32", NOON + LEASE, "lease_expired")]


def test_a_lease_that_ran_out_does_not_count_even_before_the_sweep(isp: Isp) -> None:
    isp.ask(mac(1))
    answer = isp.ask(mac(2), at=NOON + LEASE)
    assert answer.outcome == "granted"
    assert stays(mac(1))[0][2] == "lease_expired"


def test_a_released_place_in_the_plan_is_there_for_another_device(isp: Isp) -> None:
    isp.ask(mac(1))
    isp.release(mac(1))
    assert isp.ask(mac(2), at=after(seconds=1)).outcome == "granted"
    assert not OverallocationRequest.objects.exists()


def test_all_that_is_returned_is_joined_again(isp: Isp) -> None:
    whole = list(FreeExtent.objects.order_by("pool", "first").values_list("pool", "first", "last"))
    for number in range(40):
        isp.ask(mac(1), service_ref=open_service(isp, f"svc_x{number}"))
    for holder in AddressHolder.objects.all():
        allocation.close_holder(service_ref=holder.service_ref, at=after(hours=1))
    allocation.expire_due(at=after(hours=2))
    extents = FreeExtent.objects.order_by("pool", "first")
    assert list(extents.values_list("pool", "first", "last")) == whole


# --- Servers ------------------------------------------------------------------------------------


def test_a_device_that_moves_to_another_server_leaves_its_address_behind(isp: Isp) -> None:
    south = a_server("aaa-south")
    a_pool("203.0.113.0/28", server=south)
    isp.ask(mac(1))
    moved = isp.ask(mac(1), server=south, at=after(minutes=1))
    assert moved.outcome == "granted"
    assert moved.ipv4 is not None
    assert moved.ipv4.startswith("203.0.113.")
    assert stays(mac(1))[0][1:] == (after(minutes=1), "moved_to_other_server")
    assert set(Allocation.objects.filter(state=ACTIVE).values_list("pool__server", flat=True)) == {
        south.pk
    }


def test_a_server_is_registered_with_the_digest_of_its_secret() -> None:
    server = a_server()
    assert SECRET not in AddressServer.objects.values_list("secret_digest", flat=True)
    assert server.secret_digest == AddressServer.digest_of(SECRET)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"secret": "fifteen-chars.."}, "secret"),
        ({"kind": "abacus"}, "kind"),
        ({"name": "not a slug"}, "name"),
    ],
)
def test_a_server_that_cannot_be_used_is_refused(changes: dict[str, str], field: str) -> None:
    values = {"name": "aaa", "kind": "radius", "secret": SECRET, **changes}
    with pytest.raises(InvalidInput) as refused:
        allocation.create_server(**values)
    assert refused.value.field == field


def test_a_server_name_is_taken_once() -> None:
    a_server()
    with pytest.raises(allocation.ServerExists):
        a_server()


# --- Refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"service_ref": "svc_unknown"}, "not known"),
        ({"device": ""}, "no device"),
        ({"device": "ff:ff:ff:ff:ff:ff"}, "no device"),
        ({"device": "a\0b"}, "cannot be printed"),
        ({"device": "x" * 10_000}, "longer"),
    ],
)
def test_nonsense_is_denied_with_a_reason(isp: Isp, change: dict[str, str], reason: str) -> None:
    answer = isp.ask(**({"device": mac(1)} | change))
    assert (answer.outcome, answer.ipv4, answer.lease_seconds) == ("denied", None, 0)
    assert reason in answer.reason
    assert not Allocation.objects.exists()


def test_a_server_without_pools_denies(isp: Isp) -> None:
    answer = isp.ask(mac(1), server=a_server("aaa-empty"))
    assert answer.outcome == "denied"
    assert "aaa-empty has no pool" in answer.reason


def test_a_full_pool_denies_and_writes_nothing(db: None) -> None:
    isp = an_isp(dynamic="192.0.2.0/30")
    answers = [isp.ask(mac(1), service_ref=open_service(isp, f"svc_{n}")) for n in "234"]
    assert [answer.outcome for answer in answers] == ["granted", "granted", "denied"]
    assert "No address is free in dynamic-192-0-2-0" in answers[2].reason
    assert not Allocation.objects.filter(holder__service_ref="svc_4").exists()
    assert AllocationHistory.objects.count() == 4
    assert free_slots(isp.prefixes) == 254


def test_a_full_prefix_pool_takes_no_ipv4_address_either(db: None) -> None:
    isp = an_isp(prefixes="2001:db8::/56")
    isp.ask(mac(1))
    answer = isp.ask(mac(1), service_ref=open_service(isp, "svc_2"))
    assert answer.outcome == "denied"
    assert free_slots(isp.dynamic) == 253


def test_full_is_said_only_after_looking_at_what_has_rested_enough(db: None) -> None:
    isp = an_isp(dynamic="192.0.2.0/32", ipv6_prefixes=0)
    isp.ask(mac(1))
    isp.release(mac(1))
    other = open_service(isp, "svc_2")
    assert isp.ask(mac(2), service_ref=other, at=after(minutes=9)).outcome == "denied"
    assert isp.ask(mac(2), service_ref=other, at=after(minutes=10)).ipv4 == "192.0.2.0"


def test_the_next_pool_is_used_when_the_first_is_full(db: None) -> None:
    isp = an_isp(dynamic="192.0.2.0/32", ipv6_prefixes=0)
    a_pool("203.0.113.0/28", server=isp.server)
    isp.ask(mac(1))
    answer = isp.ask(mac(2), service_ref=open_service(isp, "svc_2"))
    assert answer.ipv4 is not None
    assert answer.ipv4.startswith("203.0.113.")


def test_static_and_walled_garden_pools_are_not_for_ordinary_devices(db: None) -> None:
    isp = an_isp(dynamic="192.0.2.0/32", ipv6_prefixes=0)
    a_pool("203.0.113.0/28", server=isp.server, purpose=Purpose.STATIC)
    isp.ask(mac(1))
    assert isp.ask(mac(2), service_ref=open_service(isp, "svc_2")).outcome == "denied"


# --- Opening and closing ------------------------------------------------------------------------


def test_opening_a_holder_twice_gives_the_same_one(isp: Isp) -> None:
    again = allocation.open_holder(
        service_ref=isp.service, subscriber=isp.subscriber, plan=isp.plan, at=after(days=1)
    )
    assert (again, again.opened_at) == (isp.holder, NOON)


def test_closing_ends_addresses_extras_and_questions(isp: Isp) -> None:
    isp.ask(mac(1))
    asked = isp.ask(mac(2)).request
    assert asked is not None
    overallocation.accept(request_id=asked.public_id, actor=isp.user, at=after(minutes=1))
    isp.ask(mac(2), at=after(minutes=2))
    isp.ask(mac(3), at=after(minutes=3))
    allocation.close_holder(service_ref=isp.service, at=after(minutes=4))
    allocation.close_holder(service_ref=isp.service, at=after(minutes=5))

    assert not Allocation.objects.filter(state=ACTIVE).exists()
    ended = AllocationHistory.objects.exclude(ended_because="left_walled_garden")
    assert set(ended.values_list("ended_because", "held_to")) == {
        ("service_ceased", after(minutes=4))
    }
    assert ExtraAddress.objects.get().ended_at == after(minutes=4)
    last = OverallocationRequest.objects.order_by("asked_at").last()
    assert last is not None
    assert (last.device, last.state, last.reason) == (mac(3), "denied", "The service has ended.")
    assert Event.objects.filter(kind="address.extra_ended").count() == 1
    assert AddressHolder.objects.get().ended_at == after(minutes=4)


def test_a_closed_holder_gets_nothing_more(isp: Isp) -> None:
    isp.ask(mac(1))
    allocation.close_holder(service_ref=isp.service, at=NOON)
    answer = isp.ask(mac(1))
    assert (answer.outcome, answer.reason) == ("denied", "The service has ended.")
    with pytest.raises(allocation.ServiceEnded):
        allocation.open_holder(
            service_ref=isp.service, subscriber=isp.subscriber, plan=isp.plan, at=NOON
        )


def test_closing_what_was_never_opened_is_harmless(db: None) -> None:
    allocation.close_holder(service_ref="svc_unknown", at=NOON)


# --- Cost ---------------------------------------------------------------------------------------


def test_the_usual_answer_costs_one_query(isp: Isp, django_assert_num_queries: Any) -> None:
    isp.ask(mac(1))
    with django_assert_num_queries(1):
        isp.ask(mac(1))


def test_a_new_device_costs_a_few_queries(isp: Isp, django_assert_max_num_queries: Any) -> None:
    with django_assert_max_num_queries(12):
        assert isp.ask(mac(1)).ipv6_prefix


def queries_of(isp: Isp, context: CaptureQueriesContext, device: str) -> int:
    before = len(context.captured_queries)
    assert isp.ask(device).outcome == "granted"
    return len(context.captured_queries) - before


@pytest.mark.parametrize(
    ("dynamic", "prefixes"), [("10.0.0.0/8", "2001:db8::/32"), ("192.0.0.0/22", "2001:db8::/46")]
)
def test_a_slash_8_costs_what_a_slash_22_costs(
    dynamic: str, prefixes: str, django_assert_num_queries: Any
) -> None:
    isp = an_isp(dynamic=dynamic, prefixes=prefixes)
    assert FreeExtent.objects.filter(pool__in=[isp.dynamic, isp.prefixes]).count() == 128
    with django_assert_num_queries(12):
        isp.ask(mac(1))
    assert FreeExtent.objects.filter(pool__in=[isp.dynamic, isp.prefixes]).count() == 128


@pytest.mark.parametrize("policy", list(Policy))
def test_a_device_beyond_the_plan_costs_a_few_queries_too(
    policy: str, django_assert_max_num_queries: Any
) -> None:
    isp = an_isp(policy=policy)
    isp.ask(mac(1))
    # A grant is told to the network, too: a line by DHCP has its addresses reserved.
    most = 21 if policy == Policy.GRANT_AND_CHARGE else 20
    with django_assert_max_num_queries(most):
        isp.ask(mac(2))
