"""Ten thousand new devices on one line (issue 6, *Bad input*): a clear answer each, few rows, and
nobody else waits. By the verb and over HTTP, with real transactions."""

from __future__ import annotations

import base64
import json
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from ipam import allocation
from ipam.models import (
    AddressHolder,
    AddressServer,
    Allocation,
    AllocationHistory,
    ExtraAddress,
    OverallocationRequest,
)
from ispops.models import Event
from provisioning.models import Service
from tests import factories
from tests.concurrency.test_allocation import while_open
from tests.ipam.ground import NOON, Policy, after, an_isp, mac
from tests.small_isp import make_small_isp

pytestmark = pytest.mark.django_db(transaction=True)
NEW_DEVICES, OVER_HTTP, A_HOUR = 10_000, 500, 10
TOO_MANY = f"More than {A_HOUR} new devices asked within an hour. Try again later."


def authorize(line: Service, device: str) -> tuple[int, str]:
    """Ask as FreeRADIUS does; returns the status, and the words of a refusal."""
    basic = base64.b64encode(f"north:{factories.SECRET}".encode()).decode()
    sent = {"User-Name": line.credential.username, "Calling-Station-Id": device}
    answer = Client().post(
        "/aaa/authorize",
        json.dumps({name: {"type": "string", "value": [value]} for name, value in sent.items()}),
        content_type="application/json",
        headers={"Authorization": f"Basic {basic}"},
    )
    said = answer.json().get("reply:Reply-Message", {"value": [""]})
    return answer.status_code, str(said["value"][0])


def flood(line: Service, server: AddressServer) -> Counter[Any]:
    """Ask for so many devices that were never seen: some over HTTP, the mass by the verb."""
    try:
        heard: Counter[Any] = Counter(authorize(line, mac(n)) for n in range(2, 2 + OVER_HTTP))
        for number in range(2 + OVER_HTTP, 2 + NEW_DEVICES):
            answer = allocation.request_addresses(
                service_ref=line.public_id, device=mac(number), server=server, at=timezone.now()
            )
            heard[answer.outcome, answer.reason] += 1
        return heard
    finally:
        connection.close()


def test_ten_thousand_new_devices_of_one_line_leave_ten_requests_and_a_count() -> None:
    isp, at = make_small_isp(), timezone.now()
    server = factories.address_server(at=at)
    line, other = (
        factories.live_line(isp, factories.subscriber(at=at, email=email), at=at)
        for email in ("ada@example.com", "bob@example.com")
    )
    assert authorize(line, mac(1))[0] == 200
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(flood, line, server)
        meanwhile = [(authorize(other, mac(1))[0], authorize(line, mac(1))[0])]
        while not running.done():
            time.sleep(0.2)
            meanwhile.append((authorize(other, mac(1))[0], authorize(line, mac(1))[0]))
        heard = running.result()

    assert heard.total() == NEW_DEVICES
    assert heard[401, TOO_MANY] + heard["denied", TOO_MANY] == NEW_DEVICES - A_HOUR
    assert len(meanwhile) > 5
    assert set(meanwhile) == {(200, 200)}, "another line's device is served, and the line's own"
    assert OverallocationRequest.objects.count() == A_HOUR
    assert not ExtraAddress.objects.exists()
    asked = OverallocationRequest.objects.filter(state="pending").count()
    assert Event.objects.filter(kind="address.requested").count() == asked
    assert Allocation.objects.filter(holder__service_ref=line.public_id).count() == 2 + asked
    assert AllocationHistory.objects.filter(service_ref=line.public_id).count() == 2 + asked
    holder = AddressHolder.objects.get(service_ref=line.public_id)
    assert holder.refused_by_limit == NEW_DEVICES - A_HOUR
    assert holder.last_refused_by_limit_at is not None
    assert AddressHolder.objects.exclude(pk=holder.pk).get().refused_by_limit == 0


def test_a_refused_device_costs_two_statements_however_many_came_before(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    isp = an_isp(policy=Policy.DENY, most_requests_an_hour=3)
    for number in range(1, 7):
        isp.ask(mac(number))
    with django_assert_num_queries(2):
        assert "More than 3 new devices" in isp.ask(mac(7)).reason


def test_in_a_flood_whoever_has_a_place_is_still_served() -> None:
    """The short way out is taken only where the long way would end in the same refusal."""
    isp = an_isp(policy=Policy.GRANT_AND_CHARGE, most_requests_an_hour=2)
    first, second = isp.ask(mac(1)), isp.ask(mac(2))
    for number in range(3, 9):
        isp.ask(mac(number))
    counted = AddressHolder.objects.get().refused_by_limit
    assert counted == 5

    soon = after(minutes=1)
    assert isp.ask(mac(1), at=soon).ipv4 == first.ipv4
    isp.release(mac(2), at=soon)
    assert isp.ask(mac(2), at=soon).ipv4 == second.ipv4, "it pays for its own"
    known = OverallocationRequest.objects.exclude(device=mac(2)).get()
    assert isp.ask(known.device, at=soon).outcome == "granted", "it was granted before"
    isp.release(mac(1), at=soon)
    assert isp.ask(mac(20), at=soon).outcome == "granted", "the plan has a place again"
    assert "More than 2" in isp.ask(mac(21), at=soon).reason
    assert AddressHolder.objects.get().refused_by_limit == counted + 1
    assert isp.ask(mac(22), at=after(hours=1)).outcome == "granted", "the hour is over"


def test_a_refusal_waits_for_who_gives_the_line_a_place() -> None:
    """It is counted once, and what was decided meanwhile is not lost."""
    isp = an_isp(policy=Policy.DENY, most_requests_an_hour=1)
    for number in (1, 2, 3):
        isp.ask(mac(number))

    def release() -> None:
        isp.release(mac(1), at=after(minutes=1))

    answer = while_open(release, lambda: isp.ask(mac(4), at=after(minutes=1)))
    assert answer.outcome == "denied"
    holder = AddressHolder.objects.get()
    assert (holder.refused_by_limit, holder.opened_at) == (2, NOON)
    assert isp.ask(mac(4), at=after(minutes=1)).outcome == "granted"
