"""What a subscriber is told about a device beyond the plan: that it asks, its grant, its end."""

from __future__ import annotations

import pytest

from ipam import overallocation
from ipam.models import ExtraAddress
from ispops import events
from ispops.notices.models import Notice
from tests.ipam.ground import Isp, Policy, after, an_isp, mac

pytestmark = pytest.mark.django_db


def deliver() -> list[str]:
    for delivery in events.due_deliveries(at=after(days=1), limit=100):
        assert events.deliver(delivery_id=delivery, at=after(days=1))
    return list(Notice.objects.order_by("pk").values_list("kind", flat=True))


def test_the_subscriber_hears_of_the_request_its_grant_and_its_end(isp: Isp) -> None:
    isp.ask(mac(1))
    asked = isp.ask(mac(2)).request
    assert asked is not None
    assert deliver() == ["address_asked"]
    text = Notice.objects.get().body
    assert mac(2) in text
    assert "Say yes or no on this page" in text
    assert "/devices/" in text

    overallocation.accept(request_id=asked.pk, actor=isp.user, at=after(minutes=1))
    overallocation.end_extra(extra_id=ExtraAddress.objects.get().pk, at=after(minutes=2))
    assert deliver() == ["address_asked", "extra_address_granted", "extra_address_ended"]
    assert deliver() == ["address_asked", "extra_address_granted", "extra_address_ended"]


def test_where_a_csr_decides_the_subscriber_need_do_nothing(db: None) -> None:
    isp = an_isp(policy=Policy.ASK_CSR)
    isp.ask(mac(1))
    isp.ask(mac(2))
    deliver()
    assert "you need not do anything" in Notice.objects.get().body
