"""Pools that grow together: the first one and what was cut for it later, read as one."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db.models import F, Max, Q, QuerySet, Sum
from django.db.models.functions import Coalesce

from ipam import forecast, queries, selection
from ipam.forecast import Exhaustion, Growth
from ipam.models import Pool, PoolPolicy, PoolReport, PoolSample
from ipam.queries import PoolUse

# What a server said longer ago than this says nothing of now.
REPORT_COUNTS_FOR = timedelta(minutes=15)
WEEK = timedelta(days=8)
LIVE = (Pool.State.PENDING, Pool.State.ACTIVE, Pool.State.DRAINING)


class Day(NamedTuple):
    """A day of a group: the most that was in use, and what there was at its end."""

    starts_at: datetime
    peak: int
    held: int
    total: int
    lines: int


@dataclass(frozen=True, slots=True)
class GroupUse:
    """How full a group is now, in units, and what the days before say of the days to come."""

    pools: list[PoolUse]
    used: int
    total: int
    grows: Growth | None
    ends: Exhaustion

    @property
    def first(self) -> Pool:
        return self.pools[0].pool

    @property
    def percent(self) -> float:
        return 100 * self.used / self.total if self.total else 100.0


def is_single(pool: Pool) -> bool:
    """Say whether a pool hands out single IPv4 addresses, of which two of a network are lost."""
    return pool.family == selection.IPv4 and pool.unit_length == 32


def first_of(pool: Pool) -> Pool:
    """Return the pool that has the policy of a pool's group."""
    return pool.grown_from or pool


def members(first: Pool) -> QuerySet[Pool]:
    """Return the pools of a group that have a block, the first one first."""
    return Pool.objects.filter(Q(pk=first.pk) | Q(grown_from=first), state__in=LIVE).order_by("pk")


def policies() -> QuerySet[PoolPolicy]:
    """Return the policies of all groups, with their pools."""
    return PoolPolicy.objects.select_related("pool__server", "pool__block").order_by("pk")


def use_of(first: Pool, *, at: datetime) -> GroupUse:
    """Return how full a group is, by what is held here or by what its server counts."""
    pools = [queries.use_of(pool) for pool in queries.with_free_slots(members(first))]
    giving = [use for use in pools if use.pool.state != Pool.State.DRAINING]
    used = sum(use.taken for use in giving)
    reported = _reported([use.pool for use in giving], at)
    used, total = max(used, reported), sum(use.total for use in giving)
    grows = forecast.growth(daily_peaks(first, at=at))
    return GroupUse(
        pools=pools,
        used=used,
        total=total,
        grows=grows,
        ends=forecast.exhaustion(used=used, total=total, grows=grows),
    )


def _reported(pools: Iterable[Pool], at: datetime) -> int:
    heard = PoolReport.objects.filter(
        pool__in=[pool.pk for pool in pools], reported_at__gt=at - REPORT_COUNTS_FOR
    )
    return heard.aggregate(all=Coalesce(Sum(F("assigned") + F("declined")), 0))["all"]


def days_of(first: Pool, *, since: datetime) -> list[Day]:
    """Return the days of a group, the oldest first."""
    rows = PoolSample.objects.filter(
        Q(pool=first) | Q(pool__grown_from=first), grain=PoolSample.Grain.DAY, starts_at__gte=since
    )
    summed = rows.values_list("starts_at").annotate(
        Sum("peak"), Sum("held"), Sum("total"), Max("lines")
    )
    return [Day(*row) for row in summed.order_by("starts_at")]


def daily_peaks(first: Pool, *, at: datetime) -> list[forecast.Point]:
    """Return the most that was in use on each of the last days, as `forecast.growth` takes it.

    Today is left out: it is not over, and its peak may be still to come.
    """
    since = at - timedelta(days=forecast.MOST_DAYS + 1)
    today = at.date()
    days = days_of(first, since=since)
    return [(day.starts_at.toordinal(), day.peak) for day in days if day.starts_at.date() < today]


def overbooking(policy: PoolPolicy, *, at: datetime) -> str:
    """Say what is wrong with how many lines share a group's addresses; empty when nothing is.

    By the last week's peak, so that a quiet night does not hide a busy evening.
    """
    if policy.lines_per_address is None:
        return ""
    days = days_of(policy.pool, since=at - WEEK)
    return overbooked(policy, days, total=days[-1].total, at=at) if days else ""


def overbooked(policy: PoolPolicy, days: list[Day], *, total: int, at: datetime) -> str:
    """Say the same of days that were read, with what there is now: a block may have come since."""
    week = [day for day in days if day.starts_at >= at - WEEK]
    if policy.lines_per_address is None or not week:
        return ""
    return forecast.overbooking_warning(
        lines=week[-1].lines,
        total=total,
        peak=max(day.peak for day in week),
        ratio=float(policy.lines_per_address),
    )
