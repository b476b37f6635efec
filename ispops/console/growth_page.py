"""How a pool's group grows, arranged for its page: chart, forecast in words, what is asked."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ipam import groups, returning
from ipam.groups import Day, GroupUse
from ipam.models import BlockRequest, BlockReturn, Pool, PoolPolicy
from ispops.console import charts

SHOWN_DAYS, DAYS_AHEAD = 60, 30
WIDTH, HEIGHT = 320, 150
MOST_ROWS = 14


@dataclass(frozen=True, slots=True)
class Mark:
    """A value of the scale: how far up it stands, in percent of the height, and its words."""

    percent: int
    words: str


@dataclass(frozen=True, slots=True)
class Chart:
    """Three lines on one scale: what was used, what will be, and what there is."""

    used: str
    forecast: str
    capacity: str
    scale: list[Mark]
    # What there is at the end, beside its line.
    limit: Mark
    first_day: datetime
    last_day: datetime
    today_percent: int
    rows: list[tuple[datetime, int, int, int]]


def of(pool: Pool, *, at: datetime) -> dict[str, Any]:
    """Return what the page of a pool says about its growth."""
    first = groups.first_of(pool)
    use = groups.use_of(first, at=at)
    days = groups.days_of(first, since=at - timedelta(days=SHOWN_DAYS))
    policy = PoolPolicy.objects.filter(pool=first).first()
    members = [each.pool for each in use.pools]
    return {
        "group": use,
        "first": first,
        "others": [each for each in members if each.pk != pool.pk],
        "policy": policy,
        "warning": groups.overbooked(policy, days, total=use.total, at=at) if policy else "",
        "chart": _chart(days, use) if len(days) > 1 else None,
        "growth_words": growth_words(use),
        "ends_words": ends_words(use),
        "asked": list(
            first.block_requests.select_related("decided_by_user", "made").order_by("-asked_at")[:5]
        ),
        "is_open": first.block_requests.filter(state__in=BlockRequest.OPEN_STATES).exists(),
        "returning": BlockReturn.objects.filter(pool=pool, state__in=returning.OPEN).first(),
        "can_go_back": pool.grown_from_id is not None and pool.state == Pool.State.ACTIVE,
    }


def chart_of(pool: Pool, *, at: datetime) -> Chart | None:
    """Return the chart of a pool's group alone; None before the second day that was counted."""
    first = groups.first_of(pool)
    days = groups.days_of(first, since=at - timedelta(days=SHOWN_DAYS))
    return _chart(days, groups.use_of(first, at=at)) if len(days) > 1 else None


def growth_words(use: GroupUse) -> str:
    """Say how fast a group grows, with the range of the estimate."""
    if use.grows is None:
        return "Not known yet: it takes a week of days."
    low, likely, high = use.grows.low, use.grows.likely, use.grows.high
    return f"{likely:+.1f} a day ({low:+.1f} to {high:+.1f}, by {use.grows.days} days)"


def ends_words(use: GroupUse) -> str:
    """Say when a group is full, with the range of the estimate."""
    if use.ends.likely is None and use.ends.soonest is None:
        return "Not in sight"
    if use.used >= use.total:
        return "Now"
    likely = "not in sight" if use.ends.likely is None else f"in {use.ends.likely:.0f} days"
    latest = "never" if use.ends.latest is None else f"{use.ends.latest:.0f} days"
    return f"{likely} (from {use.ends.soonest or 0:.0f} days to {latest})"


def _mark(value: int, top: int) -> Mark:
    return Mark(charts.percent(value, top), charts.count_words(value))


def _chart(days: list[Day], use: GroupUse) -> Chart:
    first = days[0].starts_at
    used = [((day.starts_at - first).days, day.peak) for day in days]
    last, peak = used[-1]
    rate = use.grows.likely if use.grows else 0.0
    ahead = [(last + day, max(0, round(peak + rate * day))) for day in range(DAYS_AHEAD + 1)]
    capacity = [((day.starts_at - first).days, day.total) for day in days]
    # What there is now holds from today on, in a step where it has changed.
    capacity += [(last, use.total), (last + DAYS_AHEAD, use.total)]
    scale = charts.ticks(max(y for _, y in [*used, *ahead, *capacity]))
    top = scale[-1]
    drawn = charts.lines([used, ahead, capacity], width=WIDTH, height=HEIGHT, top=top)
    return Chart(
        used=drawn[0],
        forecast=drawn[1],
        capacity=drawn[2],
        scale=[_mark(value, top) for value in scale],
        limit=_mark(use.total, top),
        first_day=first,
        last_day=first + timedelta(days=last + DAYS_AHEAD),
        today_percent=charts.percent(last, last + DAYS_AHEAD),
        rows=[(day.starts_at, day.peak, day.held, day.total) for day in reversed(days)][:MOST_ROWS],
    )
