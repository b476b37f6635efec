"""How full a pool was: what is written down, what is kept, and what is thrown away."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from ipam import allocation, groups, live, policies, sampling
from ipam.models import PoolReport, PoolSample
from ispops.errors import InvalidInput
from tests.ipam.ground import Isp, a_pool, a_server, after, mac
from tests.ipam.growing import a_town, a_week

pytestmark = pytest.mark.django_db


def kept(isp: Isp, grain: str) -> list[tuple[Any, ...]]:
    rows = PoolSample.objects.filter(pool=isp.dynamic, grain=grain).order_by("starts_at")
    return list(rows.values_list("total", "held", "resting", "peak"))


def lines(isp: Isp, count: int, at: datetime) -> list[str]:
    made = [
        allocation.open_holder(
            service_ref=f"svc_l{number}", subscriber=isp.subscriber, plan=isp.plan, at=at
        ).service_ref
        for number in range(count)
    ]
    for number, ref in enumerate(made):
        isp.ask(mac(number), service_ref=ref, at=at)
    return made


def test_the_peak_since_the_last_look_is_seen_though_it_is_over(isp: Isp) -> None:
    """Five at once, then three of them gone, one of which came and went between two looks."""
    refs = lines(isp, 4, after(seconds=10))
    sampling.sample(at=after(minutes=1))
    isp.ask(mac(9), at=after(minutes=6))
    for device, ref in ((mac(9), isp.service), (mac(0), refs[0]), (mac(1), refs[1])):
        isp.release(device, service_ref=ref, at=after(minutes=7))
    sampling.sample(at=after(minutes=8))

    assert kept(isp, "moment") == [(254, 4, 0, 4), (254, 2, 3, 5)]
    assert kept(isp, "hour") == kept(isp, "day") == [(254, 2, 3, 5)]


def test_a_look_twice_in_a_span_is_one_row(isp: Isp) -> None:
    lines(isp, 2, after(seconds=10))
    sampling.sample(at=after(minutes=1))
    sampling.sample(at=after(minutes=2))
    assert kept(isp, "moment") == [(254, 2, 0, 2)]


def test_years_are_a_row_a_day(isp: Isp) -> None:
    for day in range(3):
        for hour in (0, 5):
            sampling.sample(at=after(days=day, hours=hour))
    sampling.forget(at=after(days=61, hours=3))
    assert (len(kept(isp, "moment")), len(kept(isp, "hour")), len(kept(isp, "day"))) == (0, 3, 3)


def test_what_the_server_counts_is_the_peak_while_it_is_fresh(isp: Isp) -> None:
    sampling.report_use(server=isp.server, pool=isp.dynamic, assigned=40, at=after())
    sampling.sample(at=after(minutes=5))
    sampling.sample(at=after(hours=2))
    assert [row[3] for row in kept(isp, "moment")] == [40, 0]
    assert groups.use_of(isp.dynamic, at=after(minutes=14)).used == 40
    assert groups.use_of(isp.dynamic, at=after(minutes=15)).used == 0


def test_a_report_is_of_one_s_own_pool_and_fits_it(isp: Isp) -> None:
    report = {"server": isp.server, "pool": isp.dynamic, "assigned": 1, "at": after(hours=1)}
    sampling.report_use(**report)
    with pytest.raises(sampling.NotYourPool):
        sampling.report_use(**report | {"server": a_server("other")})
    for wrong in ({"assigned": -1}, {"assigned": 255}, {"assigned": 250, "declined": 5}):
        with pytest.raises(InvalidInput):
            sampling.report_use(**report | wrong)
    sampling.report_use(**report | {"assigned": 9, "at": after()})
    assert PoolReport.objects.get().assigned == 1, "an older word changes nothing"


@pytest.mark.parametrize("assigned", [-1, 255])
def test_a_server_that_counts_wrongly_is_passed_over(
    isp: Isp, monkeypatch: pytest.MonkeyPatch, assigned: int
) -> None:
    other = a_pool("10.20.0.0/24", server=isp.server, purpose="leased")
    pools = [isp.dynamic, other]
    counts = [live.Count(isp.dynamic, assigned, 0), live.Count(other, 7, 0)]
    monkeypatch.setattr(live, "counting", lambda: [(isp.server, pools)])
    monkeypatch.setattr(live, "counts", lambda _, at: counts)
    assert sampling.hear(at=after()) == 1
    assert PoolReport.objects.get().pool == other


def test_lines_count_where_they_had_an_address_last(isp: Isp) -> None:
    policies.set_policy(pool=isp.dynamic, lines_per_address=Decimal("1.5"), at=after())
    refs = lines(isp, 3, after(seconds=10))
    allocation.close_holder(service_ref=refs[0], at=after(minutes=1))
    sampling.sample(at=after(minutes=2))
    assert PoolSample.objects.get(pool=isp.dynamic, grain="day").lines == 2
    assert groups.overbooking(isp.dynamic.policy, at=after(minutes=3)) == ""


def test_overbooking_is_watched_against_the_week_s_peak(db: None) -> None:
    town = a_town(lines_per_address=Decimal(2))
    a_week(town.pool, first=4, a_day=1, days=10)
    sampling.keep_day(
        pool=town.pool, day=after().replace(hour=0) - timedelta(days=1), total=14, peak=13, lines=20
    )
    words = groups.overbooking(town.pool.policy, at=after())
    assert words == "13 of 14 addresses were in use at once, by 20 lines."
    # What was granted since is there already, though no day has counted it.
    days = groups.days_of(town.pool, since=after() - timedelta(days=60))
    assert groups.overbooked(town.pool.policy, days, total=100, at=after()) == ""
