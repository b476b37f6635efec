"""A CSR, the subscriber and the clock decide of one request at the same moment; with a control."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from django.db import IntegrityError, connection

from ipam import overallocation
from ipam.models import ExtraAddress, OverallocationRequest
from ispops.errors import Refusal
from ispops.models import Event
from ispops.parties.models import AuditEntry
from tests.concurrency.test_allocation import ASKERS, at_once, services
from tests.ipam.ground import Isp, a_user, after, an_isp, mac

pytestmark = pytest.mark.django_db(transaction=True)
Act = Callable[[], str]


def asked(isp: Isp, service_ref: str) -> OverallocationRequest:
    isp.ask(mac(1), service_ref=service_ref)
    request = isp.ask(mac(2), service_ref=service_ref).request
    assert request is not None
    return request


def answering(request: OverallocationRequest, verb: Any, **who: Any) -> Act:
    def answer() -> str:
        try:
            return str(verb(request_id=request.pk, at=after(minutes=1), **who).state)
        except Refusal as refusal:
            return refusal.code
        except IntegrityError:
            return "not kept"

    return answer


def sweeping(request: OverallocationRequest) -> Act:
    def sweep() -> str:
        late = request.answer_by
        return "swept" if overallocation.expire_due_requests(at=late) else "nothing due"

    return sweep


def test_there_is_one_decision_and_nobody_hears_of_another() -> None:
    isp = an_isp()
    csr = {"actor": a_user("csr@isp.example", is_staff=True), "decided_by": "csr"}
    subscriber = {"actor": isp.user}
    for service_ref in services(isp, 5):
        request = asked(isp, service_ref)
        acts = [
            sweeping(request),
            answering(request, overallocation.accept, **csr),
            answering(request, overallocation.decline, **subscriber),
            answering(request, overallocation.decline, **csr),
            answering(request, overallocation.accept, **subscriber),
            sweeping(request),
            answering(request, overallocation.accept, **csr),
            answering(request, overallocation.decline, **subscriber),
        ]
        heard = Counter(at_once(lambda n, acts=acts: acts[n]()))  # type: ignore[misc]
        request.refresh_from_db()
        told = {"granted": "granted", "denied": "denied", "expired": "swept"}[request.state]
        assert heard.keys() & {"granted", "denied", "swept"} == {told}
        assert heard["request_closed"] > 0
        extras = ExtraAddress.objects.filter(request=request).count()
        assert extras == (request.state == "granted")
        by_people = AuditEntry.objects.filter(subject=request.public_id).count()
        assert by_people == (request.decided_by != "clock")
    granted = Event.objects.filter(kind="address.extra_granted").count()
    assert granted == ExtraAddress.objects.count()


def test_without_the_locks_yes_and_no_are_both_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative control. The database's own table of states keeps the first of them even so."""
    isp = an_isp()
    first, second = (asked(isp, ref) for ref in services(isp, 2))
    everybody_has_read = threading.Barrier(ASKERS)

    def read(request_id: Any, *_: Any) -> OverallocationRequest:
        request = OverallocationRequest.objects.select_related(
            "holder__subscriber", "holder__plan__address_entitlement", "addon"
        ).get(pk=request_id)
        everybody_has_read.wait(timeout=10)
        return request

    monkeypatch.setattr(overallocation, "_lock_request", read)

    def decide(request: OverallocationRequest) -> Counter[str]:
        verbs = (overallocation.accept, overallocation.decline)
        acts = [answering(request, verb, actor=isp.user) for verb in verbs] * (ASKERS // 2)
        return Counter(at_once(lambda n: acts[n]()))

    assert len(decide(first).keys() & {"granted", "denied"}) == 1
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE ipam_overallocationrequest DISABLE TRIGGER decided_once")
        try:
            heard = decide(second)
        finally:
            cursor.execute("ALTER TABLE ipam_overallocationrequest ENABLE TRIGGER decided_once")
    assert heard["granted"] == 1
    assert heard["denied"] == ASKERS // 2
