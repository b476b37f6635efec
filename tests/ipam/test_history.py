"""Who had it when: every way to ask, a page at a time, by an index, and given out with a trace."""

import hashlib
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection

from ipam import disclosure, history
from ipam.models import AllocationHistory
from ispops.errors import InvalidInput, Refusal
from ispops.parties.models import AuditEntry
from tests.ipam.ground import NOON, Isp, a_subscriber, after, mac

pytestmark = pytest.mark.django_db


def devices(**asked: Any) -> list[str]:
    return [row.device for row in history.every(history.Search(**asked))]


@pytest.fixture
def told(isp: Isp) -> list[str]:
    """One address, held by two devices one after the other; the second one still has it."""
    first = isp.ask(mac(1)).ipv4
    isp.release(mac(1), at=after(hours=1))
    AllocationHistory.objects.create(
        address=f"{first}/32", pool=isp.dynamic, service_ref="svc_2",
        subscriber=a_subscriber(email="bob@example.com"), device=mac(2),
        held_from=after(hours=2),
    )  # fmt: skip
    return [str(first)]


def test_each_moment_has_its_holder(told: list[str]) -> None:
    for moment, holders in [
        (after(minutes=-1), []),
        (NOON, [mac(1)]),
        (after(minutes=59), [mac(1)]),
        (after(minutes=61), []),
        (after(hours=2), [mac(2)]),
        (after(days=900), [mac(2)]),
    ]:
        assert devices(address=told[0], start=moment, end=moment) == holders, moment
    assert devices(address=told[0], start=NOON, end=after(hours=3)) == [mac(2), mac(1)]
    assert devices(address="192.0.2.0/24") == [mac(2), mac(1)]
    assert devices(address=told[0], vrf=7) == []


def test_every_way_to_ask_finds_its_stays(isp: Isp, told: list[str]) -> None:
    assert devices(service_ref="svc_2") == [mac(2)]
    assert devices(device=mac(2).upper()) == [mac(2)]
    assert devices(subscriber=isp.subscriber) == [mac(1), mac(1)]
    assert len(devices()) == 3


def test_times_alone_find_what_was_held_already_and_what_began(isp: Isp, told: list[str]) -> None:
    """Bob has the address from two o'clock on, Ada had it and a prefix until one."""
    for start, end, found in [
        (after(minutes=1), after(minutes=2), [mac(1), mac(1)]),
        (after(minutes=1), after(days=1), [mac(2), mac(1), mac(1)]),
        (after(hours=1), after(hours=2), []),
        (after(hours=1), after(hours=3), [mac(2)]),
        (after(days=900), after(days=900), [mac(2)]),
        (NOON, NOON, [mac(1), mac(1)]),
        (after(hours=5), None, [mac(2)]),
    ]:
        assert devices(start=start, end=end) == found, (start, end)
    assert devices(end=after(hours=1)) == [mac(1), mac(1)]


def test_pages_go_over_from_what_began_to_what_was_held_already(isp: Isp) -> None:
    fill(isp, 130)
    start, end = after(minutes=100), after(minutes=120)
    search, seen, mark = history.Search(start=start, end=end), list[int](), ""
    while True:
        rows, mark = history.page_of(search, after=mark, most=7)
        seen += [row.pk for row in rows]
        if not mark:
            break
    held = AllocationHistory.objects.filter(held_from__lt=end, held_to__gt=start)
    # 20 begin in the span, and those that began in the 29 minutes before it are still held.
    assert len(seen) == 49
    assert seen == [row.pk for row in held.order_by("-held_from", "-pk")]


def test_pages_follow_each_other_without_gap_or_repeat(isp: Isp) -> None:
    fill(isp, 130)
    search, seen, mark = history.Search(service_ref="svc_9"), [], ""
    while True:
        rows, mark = history.page_of(search, after=mark)
        seen += [row.pk for row in rows]
        if not mark:
            break
    assert len(seen) == len(set(seen)) == 130
    assert seen == [row.pk for row in history.every(search)]


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"address": "nowhere"}, "address"),
        ({"address": "192.0.2.1/24"}, "address"),
        ({"device": "\x01"}, "device"),
        ({"start": after(days=1), "end": NOON}, "end"),
    ],
    ids=["no address", "host bits", "no device", "turned around"],
)
def test_what_cannot_be_looked_for_is_refused(asked: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        history.parts(history.Search(**asked))
    assert refused.value.field == field


@pytest.mark.parametrize("mark", ["x", "_1", "2026-05-04_1", f"{NOON.isoformat()}_{2**64}", "_"])
def test_a_made_up_mark_is_refused(db: None, mark: str) -> None:
    with pytest.raises(InvalidInput):
        history.page_of(history.Search(), after=mark)


def fill(isp: Isp, count: int) -> None:
    """Write stays of many addresses, devices and services; every hundredth is of `svc_9`."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO ipam_allocationhistory
                (vrf, address, pool_id, service_ref, subscriber_id, device, held_from, held_to,
                 ended_because)
            SELECT 0, set_masklen('10.0.0.0'::cidr + n, 32), %(pool)s,
                CASE WHEN %(count)s < 1000 THEN 'svc_9' ELSE 'svc_' || n %% 100 END,
                %(subscriber)s, 'device-' || n %% 500, %(noon)s + n * interval '1 minute',
                %(noon)s + (n + 30) * interval '1 minute', 'lease_expired'
            FROM generate_series(1, %(count)s) AS n
            """,
            {"pool": isp.dynamic.pk, "subscriber": isp.subscriber.pk, "noon": NOON, "count": count},
        )


@pytest.mark.parametrize(
    ("asked", "index"),
    [
        ({"address": "10.0.0.9"}, "one_holder_of_an_address_at_a_time"),
        ({"address": "10.0.0.8/30", "start": NOON}, "one_holder_of_an_address_at_a_time"),
        ({"device": "device-7"}, "stays_by_device"),
        ({"service_ref": "svc_7", "device": "device-7"}, "stays_"),
        ({"service_ref": "svc_7"}, "stays_of_a_device"),
        ({"start": NOON + timedelta(hours=9), "end": NOON + timedelta(hours=10)}, "stays_by_time"),
        ({"end": NOON + timedelta(hours=1)}, "stays_by_time"),
        ({}, "stays_by_time"),
    ],
    ids=["address", "network", "device", "both", "service", "time", "until", "all"],
)
def test_every_search_is_a_range_of_an_index(
    isp: Isp, asked: dict[str, datetime], index: str
) -> None:
    fill(isp, 5000)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE ipam_allocationhistory")
    first, *held_already = history.parts(history.Search(**asked))  # type: ignore[arg-type]
    plan = first[: history.PER_PAGE].explain()
    assert index in plan
    for found in held_already:
        plan += found[: history.PER_PAGE].explain()
        assert "stays_by_span" in plan, plan
    assert "Seq Scan on ipam_allocationhistory" not in plan


# --- Given out ----------------------------------------------------------------------------------


def test_a_lawful_request_is_answered_and_leaves_its_trace(isp: Isp, told: list[str]) -> None:
    given = disclosure.export_for_request(
        search=history.Search(address=told[0], start=NOON, end=NOON),
        reference="AZ 12/2026", reason="Order of the court", actor=isp.user, at=after(days=3),
    )  # fmt: skip
    header, line = given.content.decode().splitlines()
    assert header.endswith("subscriber_email,subscriber_phone")
    assert line.startswith(f"{told[0]}/32,0,2026-05-04T12:00:00+00:00,2026-05-04T13:00:00+00:00")
    assert "ada@example.com" in line
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.actor, entry.reason) == (
        "history.disclosed", isp.user, "Order of the court",
    )  # fmt: skip
    assert entry.detail["sha256"] == hashlib.sha256(given.content).hexdigest() == given.digest
    assert (entry.detail["reference"], entry.detail["rows"]) == ("AZ 12/2026", 1)
    assert entry.detail["asked"]["address"] == told[0]


@pytest.mark.parametrize(
    ("changes", "asked", "field"),
    [
        ({"reference": " "}, {}, "reference"),
        ({"reason": ""}, {}, "reason"),
        ({"reason": "x" * 301}, {}, "reason"),
        ({}, {"address": ""}, "address"),
        ({}, {"start": None}, "start"),
    ],
)
def test_nothing_is_given_out_without_its_grounds(
    isp: Isp, told: list[str], changes: dict[str, str], asked: dict[str, Any], field: str
) -> None:
    search = history.Search(**{"address": told[0], "start": NOON, "end": NOON, **asked})
    with pytest.raises(Refusal) as refused:
        disclosure.export_for_request(
            search=search, actor=isp.user, at=NOON,
            **{"reference": "AZ 1", "reason": "Order", **changes},
        )  # fmt: skip
    assert refused.value.field == field
    assert not AuditEntry.objects.exists()


def test_too_much_is_not_given_out(isp: Isp, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(isp, 20)
    monkeypatch.setattr(disclosure, "MOST_ROWS", 19)
    with pytest.raises(disclosure.TooMuchAsked):
        disclosure.export(search=history.Search(service_ref="svc_9"), actor=isp.user, at=NOON)
    assert not AuditEntry.objects.exists()
    with pytest.raises(InvalidInput):
        disclosure.export(search=history.Search(), actor=isp.user, at=NOON)
