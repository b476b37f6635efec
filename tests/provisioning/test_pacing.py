"""How calls of an outside system are kept apart."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from provisioning import pacing

AT = datetime(2026, 5, 4, 12, tzinfo=UTC)


@given(per_minute=st.integers(1, 600), gaps=st.lists(st.floats(0, 5), max_size=200))
def test_there_are_never_more_calls_than_the_limit_and_the_burst(
    per_minute: int, gaps: list[float]
) -> None:
    apart, now, free = pacing.every(per_minute), AT, None
    made: list[datetime] = []
    for gap in gaps:
        now += timedelta(seconds=gap)
        if pacing.is_free(free, now, apart):
            made.append(now)
            free = pacing.after_call(free, now, apart)
    for first, begun in enumerate(made):
        within = [other for other in made[first:] if other < begun + timedelta(minutes=1)]
        assert len(within) <= per_minute + pacing.BURST


def test_whoever_waits_for_the_turn_gets_through() -> None:
    apart = pacing.every(60)
    free: datetime | None = None
    for _ in range(10):
        free = pacing.after_call(free, AT, apart)
    assert not pacing.is_free(free, AT, apart)
    assert free is not None
    assert pacing.is_free(free, free, apart)


def test_without_a_limit_there_is_no_distance() -> None:
    assert pacing.every(None) == timedelta(0)
    assert pacing.is_free(AT, AT, pacing.every(None))


@given(count=st.integers(0, 500), per_second=st.floats(0.1, 100))
def test_work_is_spread_evenly_and_begins_at_once(count: int, per_second: float) -> None:
    times = pacing.spread(count, AT, per_second)
    assert len(times) == count
    assert times == sorted(times)
    if count:
        assert times[0] == AT
        assert times[-1] - AT == timedelta(seconds=(count - 1) / per_second)
