"""Figure 11, the answer: accepting, declining, ending, and what nobody answers."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.conf import settings

from ipam import allocation, overallocation
from ipam.models import Allocation, AllocationHistory, ExtraAddress, OverallocationRequest
from ispops.db import uuid7
from ispops.errors import NotFound, Refusal
from ispops.models import Event
from ispops.parties.models import AuditEntry, Subscriber
from tests.ipam.ground import (
    NOON,
    Isp,
    Policy,
    a_plan,
    a_subscriber,
    a_user,
    after,
    an_isp,
    mac,
)

pytestmark = pytest.mark.django_db
DAY: timedelta = settings.OVERALLOCATION_ANSWERED_WITHIN
SOON = after(minutes=1)


def pending(isp: Isp, device: str = "", at: datetime = NOON) -> OverallocationRequest:
    """Let a device beyond the plan ask; return the question."""
    isp.ask(mac(1), at=at)
    request = isp.ask(device or mac(2), at=at).request
    assert request is not None
    return request


def accept(isp: Isp, request: OverallocationRequest, **changes: Any) -> OverallocationRequest:
    values = {"request_id": request.public_id, "actor": isp.user, "at": SOON, **changes}
    return overallocation.accept(**values)


def decline(isp: Isp, request: OverallocationRequest, **changes: Any) -> OverallocationRequest:
    values = {"request_id": request.public_id, "actor": isp.user, "at": SOON, **changes}
    return overallocation.decline(**values)


def events(kind: str) -> list[Event]:
    return list(Event.objects.filter(kind=kind).order_by("pk"))


# --- Accepting ----------------------------------------------------------------------------------


def test_the_next_request_after_acceptance_gets_a_real_address(isp: Isp) -> None:
    request = accept(isp, pending(isp))
    extra = ExtraAddress.objects.get()
    assert (extra.request, extra.device, extra.granted_at) == (request, mac(2), SOON)
    assert (request.state, request.decided_by, request.decided_by_user) == (
        "granted",
        "subscriber",
        isp.user,
    )
    assert (request.decided_at, request.reason) == (SOON, "Granted by the subscriber.")
    (granted,) = events("address.extra_granted")
    assert (granted.subject, granted.payload["decided_by"]) == (extra.public_id, "subscriber")

    answer = isp.ask(mac(2), at=after(minutes=2))
    assert answer.outcome == "granted"
    assert answer.ipv4 is not None
    assert answer.ipv4.startswith("192.0.2.")
    assert answer.ipv6_prefix
    assert isp.ask(mac(1), at=after(minutes=2)).outcome == "granted"
    assert Allocation.objects.filter(state="active", counts=True).count() == 4


def test_the_decision_is_in_the_audit_trail(isp: Isp) -> None:
    request = accept(isp, pending(isp), reason="My daughter's laptop")
    entry = AuditEntry.objects.get()
    assert (entry.actor, entry.action, entry.subject, entry.subscriber) == (
        isp.user,
        "address_request.granted",
        request.public_id,
        isp.subscriber,
    )
    assert (entry.reason, entry.at) == ("My daughter's laptop", SOON)


def test_accepting_twice_grants_once(isp: Isp) -> None:
    request = pending(isp)
    first = accept(isp, request)
    again = accept(isp, request, at=after(hours=1))
    assert (again.pk, again.decided_at) == (first.pk, SOON)
    assert ExtraAddress.objects.count() == len(events("address.extra_granted")) == 1
    assert AuditEntry.objects.count() == 1


def test_the_key_of_the_row_will_do_for_the_public_id(isp: Isp) -> None:
    request = pending(isp)
    assert accept(isp, request, request_id=request.pk).state == "granted"


def test_a_csr_answers_for_the_subscriber(isp: Isp) -> None:
    csr = a_user("cara@example.com", is_staff=True)
    request = accept(isp, pending(isp), actor=csr, decided_by="csr", reason="Asked by phone")
    assert (request.decided_by, request.decided_by_user, request.reason) == (
        "csr",
        csr,
        "Asked by phone",
    )


@pytest.mark.parametrize("answer", [accept, decline])
def test_where_the_plan_asks_a_csr_the_subscriber_cannot_answer(answer: Any) -> None:
    isp = an_isp(policy=Policy.ASK_CSR)
    request = pending(isp)
    with pytest.raises(overallocation.NotYoursToDecide):
        answer(isp, request)
    csr = a_user("cara@example.com", is_staff=True)
    assert answer(isp, request, actor=csr, decided_by="csr").state != "pending"


@pytest.mark.parametrize("answer", [accept, decline])
def test_a_stranger_cannot_know_of_the_request(isp: Isp, answer: Any) -> None:
    request = pending(isp)
    stranger, staff = a_user("eve@example.com"), a_user("otto@example.com", is_staff=True)
    a_subscriber(stranger, name="Eve")
    for change in (
        {"actor": stranger},
        {"actor": stranger, "decided_by": "csr"},
        {"actor": staff, "decided_by": "subscriber"},
        {"request_id": OverallocationRequest(pk=uuid7()).public_id},
        {"request_id": uuid7()},
        {"request_id": f"xad_{request.pk.hex}"},
        {"request_id": "oar_nonsense"},
        {"request_id": ""},
    ):
        with pytest.raises(NotFound):
            answer(isp, request, **change)
    assert OverallocationRequest.objects.get().state == "pending"


def test_no_more_is_granted_than_the_plan_can_have(db: None) -> None:
    isp = an_isp(most_extra_addresses=2)
    first, second = pending(isp), pending(isp, mac(3))
    accept(isp, first)
    isp.plan.address_entitlement.most_extra_addresses = 1
    isp.plan.address_entitlement.save()
    with pytest.raises(overallocation.TooManyExtraAddresses, match="1 extra"):
        accept(isp, second)
    assert ExtraAddress.objects.count() == 1


def test_an_account_in_arrears_adds_nothing(isp: Isp) -> None:
    request = pending(isp)
    Subscriber.objects.update(standing=Subscriber.Standing.RESTRICTED)
    with pytest.raises(overallocation.SubscriberNotInGoodStanding):
        accept(isp, request)
    assert not ExtraAddress.objects.exists()
    assert not AuditEntry.objects.exists()


@pytest.mark.parametrize(
    ("first", "then"), [(accept, decline), (decline, accept)], ids=["granted", "denied"]
)
def test_a_decision_stands(isp: Isp, first: Any, then: Any) -> None:
    request = first(isp, pending(isp))
    with pytest.raises(overallocation.RequestClosed, match=request.state):
        then(isp, request)
    assert OverallocationRequest.objects.get().state == request.state


@pytest.mark.parametrize("answer", [accept, decline])
def test_an_answer_that_comes_too_late_is_refused(isp: Isp, answer: Any) -> None:
    """Before the sweep has closed the request as well as after."""
    request = pending(isp)
    with pytest.raises(overallocation.RequestClosed, match="expired"):
        answer(isp, request, at=NOON + DAY)
    assert overallocation.expire_due_requests(at=NOON + DAY) == 1
    with pytest.raises(overallocation.RequestClosed, match="expired"):
        answer(isp, request, at=NOON + DAY)


def test_a_reason_that_is_too_long_is_refused_with_its_field(isp: Isp) -> None:
    with pytest.raises(Refusal) as refused:
        accept(isp, pending(isp), reason="x" * 301)
    assert refused.value.field == "reason"
    assert OverallocationRequest.objects.get().state == "pending"


def test_nobody_pays_for_a_device_that_the_plan_has_a_place_for(isp: Isp) -> None:
    request = pending(isp)
    isp.release(mac(1), at=SOON)
    assert isp.ask(mac(2), at=after(minutes=2)).outcome == "granted"
    request.refresh_from_db()
    assert (request.state, request.decided_by, request.reason) == (
        "denied",
        "not_needed",
        "The plan has a place for the device now.",
    )
    with pytest.raises(overallocation.RequestClosed):
        accept(isp, request, at=after(minutes=3))


def test_an_extra_is_not_sold_to_a_device_that_has_its_address(isp: Isp) -> None:
    """Even if the question was left open."""
    request = pending(isp)
    Allocation.objects.filter(device=mac(2)).update(counts=True)
    with pytest.raises(overallocation.ExtraNotNeeded):
        accept(isp, request)
    assert not ExtraAddress.objects.exists()


def test_a_place_that_is_free_by_now_is_not_sold(isp: Isp) -> None:
    request = pending(isp)
    isp.release(mac(1), at=after(seconds=30))
    with pytest.raises(overallocation.ExtraNotNeeded, match="a place"):
        accept(isp, request)
    assert isp.ask(mac(2), at=after(minutes=2)).outcome == "granted"
    assert not ExtraAddress.objects.exists()


# --- Declining ----------------------------------------------------------------------------------


def test_declining_keeps_who_when_and_why_and_grants_nothing(isp: Isp) -> None:
    request = decline(isp, pending(isp), reason="Unknown device")
    assert (request.state, request.decided_by, request.decided_at, request.reason) == (
        "denied",
        "subscriber",
        SOON,
        "Unknown device",
    )
    assert not ExtraAddress.objects.exists()
    assert not events("address.extra_granted")
    assert decline(isp, request, at=after(hours=1)).decided_at == SOON
    assert AuditEntry.objects.get().action == "address_request.denied"


# --- Ending -------------------------------------------------------------------------------------


def test_ending_an_extra_stops_the_charge_and_takes_the_address(isp: Isp) -> None:
    accept(isp, pending(isp))
    isp.ask(mac(2), at=after(minutes=2))
    extra = ExtraAddress.objects.get()
    ended = overallocation.end_extra(extra_id=extra.public_id, at=after(hours=3))
    again = overallocation.end_extra(extra_id=extra.pk, at=after(hours=4))
    assert ended.ended_at == again.ended_at == after(hours=3)
    (event,) = events("address.extra_ended")
    assert event.subject == extra.public_id
    assert event.payload["because"] == "extra_ended"
    assert not Allocation.objects.filter(device=mac(2), state="active").exists()
    ends = AllocationHistory.objects.filter(device=mac(2), ended_because="extra_ended")
    assert set(ends.values_list("held_to", flat=True)) == {after(hours=3)}
    assert isp.ask(mac(1), at=after(hours=3)).outcome == "granted"


def test_a_device_whose_extra_ended_asks_anew(isp: Isp) -> None:
    accept(isp, pending(isp))
    overallocation.end_extra(extra_id=ExtraAddress.objects.get().pk, at=after(minutes=2))
    answer = isp.ask(mac(2), at=after(minutes=3))
    assert answer.outcome == "walled_garden"
    assert OverallocationRequest.objects.count() == 2


def test_a_session_that_ends_does_not_end_the_extra(isp: Isp) -> None:
    accept(isp, pending(isp))
    first = isp.ask(mac(2), at=after(minutes=2))
    isp.release(mac(2), at=after(minutes=3))
    assert ExtraAddress.objects.get().ended_at is None
    assert isp.ask(mac(2), at=after(minutes=4)).ipv4 == first.ipv4


@pytest.mark.parametrize("extra_id", ["xad_nonsense", "oar_" + "0" * 32, "", uuid7()])
def test_an_unknown_extra_cannot_be_ended(extra_id: Any) -> None:
    with pytest.raises(NotFound):
        overallocation.end_extra(extra_id=extra_id, at=NOON)


# --- Nobody answers -----------------------------------------------------------------------------


def test_what_nobody_answers_in_time_is_closed_once(isp: Isp) -> None:
    request = pending(isp)
    assert overallocation.expire_due_requests(at=NOON + DAY - timedelta(seconds=1)) == 0
    assert overallocation.expire_due_requests(at=NOON + DAY) == 1
    assert overallocation.expire_due_requests(at=NOON + DAY) == 0
    request.refresh_from_db()
    assert (request.state, request.decided_by, request.decided_at) == (
        "expired",
        "clock",
        NOON + DAY,
    )
    assert not ExtraAddress.objects.exists()


def test_a_closed_service_leaves_no_question_open(isp: Isp) -> None:
    request = pending(isp)
    allocation.close_holder(service_ref=isp.service, at=SOON)
    with pytest.raises(overallocation.RequestClosed):
        accept(isp, request)


@pytest.mark.parametrize(
    ("four", "six", "still"), [(3, 3, 0), (2, 3, 1), (1, 1, 2), (3, 0, 0)], ids=str
)
def test_a_plan_with_more_places_ends_the_extras_that_it_covers(
    four: int, six: int, still: int, db: None
) -> None:
    isp = an_isp(policy=Policy.GRANT_AND_CHARGE, most_extra_addresses=2)
    had = {isp.ask(mac(number), at=after(minutes=number)).ipv4 for number in (1, 2, 3)}
    plan = a_plan("larger", ipv4_addresses=four, ipv6_prefixes=six)
    allocation.change_plan(service_ref=isp.service, plan=plan, at=after(hours=1))
    left = ExtraAddress.objects.filter(ended_at__isnull=True)
    assert set(left.values_list("device", flat=True)) == set([mac(3), mac(2)][:still])
    assert [event.payload["because"] for event in events("address.extra_ended")] == (
        ["plan_includes_it"] * (2 - still)
    )
    assert {isp.ask(mac(number), at=after(hours=2)).ipv4 for number in (1, 2, 3)} == had
