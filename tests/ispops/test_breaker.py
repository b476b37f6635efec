"""The breaker: closed, open, one probe, closed again."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from ispops.breaker import CLOSED, HALF_OPEN, OPEN, Breaker

AT = datetime(2026, 5, 1, tzinfo=UTC)
PAUSE = timedelta(seconds=60)


def breaker(failures: int = 0, open_until: datetime | None = None) -> Breaker:
    return Breaker(failures=failures, open_until=open_until, threshold=3, pause=PAUSE)


def test_it_opens_at_the_threshold_and_not_before() -> None:
    twice = breaker().after_failure(AT).after_failure(AT)
    assert twice.state(AT) == CLOSED
    thrice = twice.after_failure(AT)
    assert thrice.state(AT) == OPEN
    assert thrice.state(AT + PAUSE - timedelta(microseconds=1)) == OPEN
    assert thrice.state(AT + PAUSE) == HALF_OPEN


def test_a_success_in_between_starts_the_count_anew() -> None:
    found = breaker(failures=2).after_success().after_failure(AT)
    assert (found.failures, found.state(AT)) == (1, CLOSED)


def test_one_probe_closes_it_or_opens_it_for_another_pause() -> None:
    after_pause = AT + PAUSE
    probing = breaker(failures=3, open_until=after_pause).probing(AT + 2 * PAUSE)
    assert probing.state(after_pause) == OPEN, "the others wait for the probe"
    assert probing.after_success() == breaker()
    again = probing.after_failure(after_pause)
    assert again.open_until == after_pause + PAUSE
    # A worker that died in the middle of a probe holds it no longer than its lease.
    assert probing.state(AT + 2 * PAUSE) == HALF_OPEN


@given(st.lists(st.booleans(), max_size=30))
def test_it_is_open_exactly_after_enough_failures_in_a_row(answers: list[bool]) -> None:
    found = breaker()
    for answered in answers:
        found = found.after_success() if answered else found.after_failure(AT)
    in_a_row = 0
    for answered in reversed(answers):
        if answered:
            break
        in_a_row += 1
    assert found.failures == in_a_row
    assert (found.state(AT) == OPEN) == (in_a_row >= 3)
