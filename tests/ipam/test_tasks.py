"""The sweeps: each calls its verb with the time of now, and may run twice."""

from datetime import UTC, datetime

import pytest
import time_machine
from django.conf import settings

from ipam import tasks
from ipam.models import (
    Allocation,
    BlockRequest,
    FreeExtent,
    OverallocationRequest,
    PoolSample,
)
from tests.ipam.ground import Isp, after, mac
from tests.ipam.growing import a_town

pytestmark = pytest.mark.django_db


def at(moment: datetime) -> time_machine.travel:
    return time_machine.travel(moment.astimezone(UTC), tick=False)


def test_beat_names_the_sweeps() -> None:
    scheduled = {entry["task"] for entry in settings.CELERY_BEAT_SCHEDULE.values()}
    assert {
        tasks.expire_addresses.name,
        tasks.check_pools.name,
        tasks.expire_overallocation_requests.name,
        tasks.sample_pools.name,
        tasks.watch_pools.name,
        tasks.grow_pools.name,
        tasks.move_holders.name,
        tasks.write_to_csrs.name,
        tasks.read_due_block_imports.name,
        tasks.delete_old_block_imports.name,
    } <= scheduled


def test_leases_run_out_rest_and_become_free(isp: Isp) -> None:
    isp.ask(mac(1))
    with at(after(hours=23)):
        tasks.expire_addresses()
    assert Allocation.objects.filter(state="active").count() == 2
    with at(after(hours=24)):
        tasks.expire_addresses()
        tasks.expire_addresses()
    assert Allocation.objects.filter(state="quarantined").count() == 2
    with at(after(hours=24, minutes=10)):
        tasks.expire_addresses()
    assert not Allocation.objects.exists()
    free = FreeExtent.objects.filter(pool=isp.dynamic)
    assert sum(extent.last - extent.first + 1 for extent in free) == 254


def test_a_pool_that_does_not_add_up_is_told(isp: Isp, caplog: pytest.LogCaptureFixture) -> None:
    isp.ask(mac(1))
    tasks.check_pools()
    assert not caplog.records
    FreeExtent.objects.filter(pool=isp.dynamic).first().delete()  # type: ignore[union-attr]
    tasks.check_pools()
    assert [isp.dynamic.name in record.getMessage() for record in caplog.records] == [True]


def test_unanswered_requests_are_closed(isp: Isp) -> None:
    isp.ask(mac(1))
    isp.ask(mac(2))
    isp.ask(mac(3))
    with at(after(hours=24)):
        tasks.expire_overallocation_requests()
        tasks.expire_overallocation_requests()
    states = OverallocationRequest.objects.values_list("state", "decided_by")
    assert set(states) == {("expired", "clock")}


def test_a_pool_that_fills_gets_its_block_by_the_sweeps_alone(db: None) -> None:
    town = a_town()
    town.fill(0.9)
    with at(after(minutes=1)):
        for _ in range(2):
            tasks.sample_pools()
            tasks.watch_pools()
            tasks.grow_pools()
    request = BlockRequest.objects.get()
    assert (request.state, request.made.grown_from) == ("confirmed", town.pool)
    assert PoolSample.objects.get(pool=town.pool, grain="day").peak == 13
