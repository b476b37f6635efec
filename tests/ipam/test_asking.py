"""Figure 11, the question: what the plan's policy does with a device beyond the plan."""

from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings

from ipam import allocation, overallocation
from ipam.models import (
    AddressHolder,
    Allocation,
    AllocationHistory,
    ExtraAddress,
    FreeExtent,
    OverallocationRequest,
)
from ispops.models import Event
from ispops.parties.models import Subscriber
from tests.ipam.ground import NOON, Isp, Policy, a_server, after, an_isp, mac

pytestmark = pytest.mark.django_db
DAY: timedelta = settings.OVERALLOCATION_ANSWERED_WITHIN


def events() -> list[tuple[str, str]]:
    return list(Event.objects.order_by("pk").values_list("kind", "subject"))


def asked() -> list[tuple[str, str, str]]:
    """Every request: its device, its state and who decided."""
    rows = OverallocationRequest.objects.order_by("asked_at")
    return [(row.device, row.state, row.decided_by) for row in rows]


def filled(**entitlement: Any) -> Isp:
    """An ISP whose subscriber's first device holds what the plan includes."""
    isp = an_isp(**entitlement)
    assert isp.ask(mac(1)).outcome == "granted"
    return isp


# --- Deny ---------------------------------------------------------------------------------------


def test_deny_is_a_clear_no_and_is_kept(db: None) -> None:
    isp = filled(policy=Policy.DENY)
    answer = isp.ask(mac(2))
    assert answer.outcome == "denied"
    assert answer.reason == "The plan includes no further address."
    request = OverallocationRequest.objects.get()
    assert request == answer.request
    assert (request.state, request.decided_by, request.decided_at) == ("denied", "policy", NOON)
    assert (request.policy, request.server, request.device) == ("deny", isp.server, mac(2))
    assert not Allocation.objects.filter(device=mac(2)).exists()
    assert events() == []


def test_a_device_that_goes_on_asking_leaves_one_row_an_hour(db: None) -> None:
    isp = filled(policy=Policy.DENY)
    for minute in range(0, 120, 10):
        assert isp.ask(mac(2), at=after(minutes=minute)).outcome == "denied"
    rows = OverallocationRequest.objects.order_by("asked_at")
    assert list(rows.values_list("asked_at", "last_asked_at")) == [
        (NOON, after(minutes=50)),
        (after(minutes=60), after(minutes=110)),
    ]


# --- Grant and charge ---------------------------------------------------------------------------


def test_grant_and_charge_gives_the_address_and_opens_the_extra(db: None) -> None:
    isp = filled(policy=Policy.GRANT_AND_CHARGE)
    answer = isp.ask(mac(2), at=after(seconds=7))
    assert answer.outcome == "granted"
    assert answer.ipv4
    assert answer.ipv6_prefix
    extra = ExtraAddress.objects.get()
    assert (extra.device, extra.granted_at, extra.ended_at) == (mac(2), after(seconds=7), None)
    assert (extra.addon.code, extra.holder) == ("extra-address", isp.holder)
    assert asked() == [(mac(2), "granted", "policy")]
    assert events() == [("address.extra_granted", extra.public_id)]
    assert Event.objects.get().payload == {
        "request": extra.request.public_id,
        "subscriber": isp.subscriber.public_id,
        "service": isp.service,
        "device": mac(2),
        "offering": "extra-address",
        "decided_by": "policy",
    }


def test_a_granted_device_keeps_its_right(db: None) -> None:
    isp = filled(policy=Policy.GRANT_AND_CHARGE)
    first = isp.ask(mac(2))
    isp.release(mac(2), at=after(hours=2))
    assert isp.ask(mac(2), at=after(hours=2, minutes=1)).ipv4 == first.ipv4
    assert ExtraAddress.objects.count() == 1
    assert len(asked()) == 1


def test_the_plan_itself_is_counted_without_the_devices_that_pay(db: None) -> None:
    isp = filled(policy=Policy.GRANT_AND_CHARGE)
    isp.ask(mac(2))
    isp.release(mac(1), at=after(minutes=1))
    assert isp.ask(mac(3), at=after(minutes=2)).outcome == "granted"
    assert ExtraAddress.objects.count() == 1


def test_nothing_is_charged_when_the_pool_is_full(db: None) -> None:
    isp = filled(policy=Policy.GRANT_AND_CHARGE, dynamic="192.0.2.0/32")
    answer = isp.ask(mac(2))
    assert answer.outcome == "denied"
    assert "No address is free" in answer.reason
    assert not ExtraAddress.objects.exists()
    assert events() == []
    assert FreeExtent.objects.filter(pool=isp.prefixes).exists()
    assert not Allocation.objects.filter(device=mac(2)).exists()


@pytest.mark.parametrize("policy", [Policy.GRANT_AND_CHARGE, Policy.ASK_SUBSCRIBER, Policy.ASK_CSR])
def test_an_account_in_arrears_gets_nothing_that_costs(policy: str) -> None:
    isp = filled(policy=policy)
    Subscriber.objects.update(standing=Subscriber.Standing.RESTRICTED)
    answer = isp.ask(mac(2))
    assert (answer.outcome, answer.reason) == ("denied", "The account is not in good standing.")
    Subscriber.objects.update(standing=Subscriber.Standing.GOOD)
    assert isp.ask(mac(2), at=after(minutes=1)).outcome != "denied"
    assert len(asked()) == 2


def test_extra_addresses_have_an_end(db: None) -> None:
    isp = filled(policy=Policy.GRANT_AND_CHARGE, most_extra_addresses=2)
    outcomes = [isp.ask(mac(n)).outcome for n in (2, 3, 4)]
    assert outcomes == ["granted", "granted", "denied"]
    extra = ExtraAddress.objects.get(device=mac(2))
    overallocation.end_extra(extra_id=extra.public_id, at=after(minutes=1))
    assert isp.ask(mac(4), at=after(minutes=2)).outcome == "granted"


# --- Ask ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "whom"),
    [(Policy.ASK_SUBSCRIBER, "the subscriber"), (Policy.ASK_CSR, "customer service")],
)
def test_asking_gives_a_short_lease_in_the_walled_garden(policy: str, whom: str) -> None:
    isp = filled(policy=policy)
    answer = isp.ask(mac(2))
    assert (answer.outcome, answer.lease_seconds, answer.ipv6_prefix) == (
        "walled_garden",
        300,
        None,
    )
    assert answer.ipv4 is not None
    assert answer.ipv4.startswith("198.51.100.")
    assert answer.reason == f"Waiting for {whom} to decide."
    request = OverallocationRequest.objects.get()
    assert request == answer.request
    assert (request.state, request.answer_by) == ("pending", NOON + DAY)
    assert (request.decided_by, request.decided_at) == ("", None)
    held = Allocation.objects.get(device=mac(2))
    assert (held.counts, held.expires_at) == (False, after(minutes=5))
    assert events() == [("address.requested", request.public_id)]
    payload = Event.objects.get().payload
    assert payload["policy"] == policy
    assert payload["answer_by"] == (NOON + DAY).isoformat()


def test_a_device_that_asks_again_stays_and_nobody_is_asked_twice(db: None) -> None:
    isp = filled()
    first = isp.ask(mac(2))
    again = isp.ask(mac(2), at=after(minutes=4))
    assert (again.outcome, again.ipv4, again.request) == (
        "walled_garden",
        first.ipv4,
        first.request,
    )
    assert again.lease_seconds == 300
    assert len(events()) == 1
    assert OverallocationRequest.objects.get().last_asked_at == after(minutes=4)


def test_a_stay_that_ran_out_goes_on_with_the_same_address(db: None) -> None:
    isp = filled()
    first = isp.ask(mac(2))
    again = isp.ask(mac(2), at=after(minutes=6))
    assert (again.outcome, again.ipv4) == ("walled_garden", first.ipv4)
    assert AllocationHistory.objects.filter(device=mac(2)).count() == 2


def test_a_stay_in_the_garden_takes_no_place_of_the_plan(db: None) -> None:
    isp = filled()
    isp.ask(mac(2))
    isp.release(mac(1), at=after(minutes=1))
    assert isp.ask(mac(3), at=after(minutes=2)).outcome == "granted"


def test_a_device_leaves_the_garden_when_a_place_of_the_plan_is_free(db: None) -> None:
    isp = filled()
    isp.ask(mac(2))
    isp.release(mac(1), at=after(minutes=1))
    answer = isp.ask(mac(2), at=after(minutes=2))
    assert answer.outcome == "granted"
    assert answer.ipv4 is not None
    assert answer.ipv4.startswith("192.0.2.")
    stay = AllocationHistory.objects.get(pool=isp.garden)
    assert (stay.held_to, stay.ended_because) == (after(minutes=2), "left_walled_garden")


def test_a_full_garden_denies_but_the_question_stays(db: None) -> None:
    isp = filled(garden="198.51.100.0/32")
    isp.ask(mac(2))
    answer = isp.ask(mac(3))
    assert (answer.outcome, answer.ipv4) == ("denied", None)
    assert answer.request is not None
    assert answer.request.state == "pending"
    assert answer.reason == (
        "Waiting for the subscriber to decide. "
        "Meanwhile: No address is free in walled_garden-198-51-100-0."
    )


def test_a_server_without_a_garden_denies_but_the_question_stays(db: None) -> None:
    isp = filled()
    isp.garden.server = a_server("aaa-other")
    isp.garden.save()
    answer = isp.ask(mac(2))
    assert answer.outcome == "denied"
    assert answer.request is not None
    assert answer.request.state == "pending"
    assert "aaa-test has no walled garden" in answer.reason


def test_no_more_is_asked_than_could_be_granted(db: None) -> None:
    isp = filled(most_extra_addresses=2)
    outcomes = [isp.ask(mac(n)).outcome for n in (2, 3, 4)]
    assert outcomes == ["walled_garden", "walled_garden", "denied"]
    assert len(events()) == 2


def test_an_unanswered_question_is_closed_and_asked_anew(db: None) -> None:
    isp = filled()
    first = isp.ask(mac(2)).request
    isp.ask(mac(1), at=after(hours=13))
    again = isp.ask(mac(2), at=NOON + DAY)
    assert again.outcome == "walled_garden"
    assert again.request != first
    assert asked() == [(mac(2), "expired", "clock"), (mac(2), "pending", "")]


# --- A person's no ------------------------------------------------------------------------------


def test_a_no_stands_for_an_hour_and_empties_the_garden(db: None) -> None:
    isp = filled()
    request = isp.ask(mac(2)).request
    assert request is not None
    overallocation.decline(
        request_id=request.public_id, actor=isp.user, at=after(minutes=1), reason="Not mine"
    )
    answer = isp.ask(mac(2), at=after(minutes=2))
    assert (answer.outcome, answer.request, answer.reason) == ("denied", request, "Not mine")
    assert not Allocation.objects.filter(device=mac(2), state="active").exists()
    assert isp.ask(mac(2), at=after(minutes=60)).outcome == "denied"
    assert isp.ask(mac(2), at=after(minutes=61)).outcome == "walled_garden"


# --- Floods -------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", list(Policy))
def test_a_flood_of_devices_leaves_few_rows_and_a_count(policy: str) -> None:
    isp = filled(policy=policy, most_requests_an_hour=10, most_extra_addresses=4)
    answers = [isp.ask(mac(n), at=after(seconds=n)) for n in range(2, 202)]
    assert all(answer.outcome == "denied" for answer in answers[10:])
    assert "More than 10 new devices" in answers[-1].reason
    assert answers[-1].request is None
    assert OverallocationRequest.objects.count() == 10
    assert ExtraAddress.objects.count() == (4 if policy == Policy.GRANT_AND_CHARGE else 0)
    assert Allocation.objects.filter(state="active").count() <= 2 + 8
    holder = AddressHolder.objects.get()
    assert (holder.refused_by_limit, holder.last_refused_by_limit_at) == (190, after(seconds=201))


def test_a_flood_does_not_touch_the_devices_that_are_known(db: None) -> None:
    isp = filled(most_requests_an_hour=3)
    isp.ask(mac(2))
    for number in range(10, 40):
        isp.ask(mac(number))
    assert isp.ask(mac(1)).outcome == "granted"
    assert isp.ask(mac(2)).outcome == "walled_garden"


def test_after_an_hour_new_devices_are_heard_again(db: None) -> None:
    isp = filled(policy=Policy.DENY, most_requests_an_hour=1)
    isp.ask(mac(2))
    assert isp.ask(mac(3), at=after(minutes=59)).request is None
    assert isp.ask(mac(3), at=after(minutes=60)).request is not None


def test_another_subscriber_is_not_limited(db: None) -> None:
    isp = filled(policy=Policy.DENY, most_requests_an_hour=1)
    isp.ask(mac(2))
    isp.ask(mac(3))
    other = allocation.open_holder(
        service_ref="svc_2", subscriber=isp.subscriber, plan=isp.plan, at=NOON
    )
    assert isp.ask(mac(3), service_ref=other.service_ref).outcome == "granted"


def test_who_holds_one_family_keeps_it_where_the_plan_has_no_other_left(db: None) -> None:
    isp = an_isp(ipv4_addresses=2, ipv6_prefixes=1)
    first = isp.ask(mac(1))
    Allocation.objects.filter(family=6).update(expires_at=after(minutes=1))
    isp.ask(mac(2), at=after(minutes=2))
    answer = isp.ask(mac(1), at=after(minutes=3))
    assert (answer.outcome, answer.ipv4, answer.ipv6_prefix) == ("granted", first.ipv4, None)
    assert asked() == []
