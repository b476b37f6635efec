"""Rows as a queue: due, claimed once, held for a lease, found again when a worker dies."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone
from kombu.exceptions import OperationalError
from redis.exceptions import ConnectionError as RedisAway

from ispops import jobs
from ispops.celery import app
from ispops.models import Event, EventDelivery

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LEASE = timedelta(seconds=60)
MINUTE = timedelta(minutes=1)
pytestmark = pytest.mark.django_db


def make_due(*offsets: timedelta | None) -> list[EventDelivery]:
    """Make one row for each time, relative to now, at which it is due; None is never."""
    event = Event.objects.create(kind="k", subject="s", occurred_at=NOW)
    return [
        EventDelivery.objects.create(
            event=event,
            handler=f"h{number}",
            next_attempt_at=None if offset is None else NOW + offset,
        )
        for number, offset in enumerate(offsets)
    ]


def test_due_are_those_whose_time_has_come_and_that_nobody_holds() -> None:
    past, present, future, never = make_due(-MINUTE, timedelta(0), MINUTE, None)
    assert set(jobs.due(EventDelivery.objects.all(), at=NOW)) == {past, present}
    EventDelivery.objects.filter(pk=past.pk).update(leased_until=NOW + MINUTE)
    EventDelivery.objects.filter(pk=present.pk).update(leased_until=NOW)
    assert list(jobs.due(EventDelivery.objects.all(), at=NOW)) == [present]
    assert never not in jobs.due(EventDelivery.objects.all(), at=NOW + timedelta(days=999))
    assert future in jobs.due(EventDelivery.objects.all(), at=NOW + MINUTE)


def test_claim_takes_the_oldest_and_counts_the_attempt() -> None:
    newer, older, oldest = make_due(-MINUTE, -2 * MINUTE, -3 * MINUTE)
    taken = jobs.claim(EventDelivery.objects.all(), at=NOW, lease=LEASE, limit=2)
    assert taken == [oldest, older]
    oldest.refresh_from_db()
    assert (oldest.attempts, oldest.leased_until) == (1, NOW + LEASE)
    assert (taken[0].attempts, taken[0].leased_until) == (1, NOW + LEASE)
    assert jobs.claim(EventDelivery.objects.all(), at=NOW, lease=LEASE, limit=9) == [newer]
    assert jobs.claim(EventDelivery.objects.all(), at=NOW, lease=LEASE, limit=9) == []


def test_a_dead_worker_s_row_is_found_after_its_lease_and_not_before() -> None:
    [row] = make_due(timedelta(0))
    jobs.claim(EventDelivery.objects.all(), at=NOW, lease=LEASE)
    just_before = NOW + LEASE - timedelta(microseconds=1)
    assert jobs.claim(EventDelivery.objects.all(), at=just_before, lease=LEASE) == []
    assert jobs.claim(EventDelivery.objects.all(), at=NOW + LEASE, lease=LEASE) == [row]
    row.refresh_from_db()
    assert row.attempts == 2


@pytest.mark.django_db(transaction=True)
def test_many_workers_share_the_rows_without_meeting() -> None:
    make_due(*[timedelta(0)] * 40)
    taken = [row.pk for rows in at_once(8, _claim_five) for row in rows]
    assert len(taken) == len(set(taken)) == 40
    assert set(EventDelivery.objects.values_list("attempts", flat=True)) == {1}


@pytest.mark.django_db(transaction=True)
def test_without_the_lock_workers_do_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative control: reading without locking gives several workers the same rows."""
    make_due(*[timedelta(0)] * 40)
    everybody_read = threading.Barrier(8)

    def read_then_write() -> list[EventDelivery]:
        rows = list(jobs.due(EventDelivery.objects.order_by("pk"), at=NOW)[:5])
        everybody_read.wait(timeout=10)
        EventDelivery.objects.filter(pk__in=[r.pk for r in rows]).update(leased_until=NOW + LEASE)
        return rows

    taken = [row.pk for rows in at_once(8, read_then_write) for row in rows]
    assert len(set(taken)) == 5
    assert len(taken) == 40


@pytest.mark.django_db(transaction=True)
def test_a_row_that_another_transaction_holds_is_skipped_and_not_waited_for() -> None:
    held, free = make_due(-MINUTE, timedelta(0))
    with transaction.atomic():
        EventDelivery.objects.select_for_update().get(pk=held.pk)
        [[taken]] = at_once(1, lambda: jobs.claim(EventDelivery.objects.all(), at=NOW, lease=LEASE))
    assert taken == free


def test_pauses_double_up_to_a_limit_and_scatter() -> None:
    base, most = timedelta(seconds=1), timedelta(minutes=5)
    for attempts in range(40):
        pauses = {jobs.backoff(attempts, base=base, most=most) for _ in range(50)}
        full = min(base * 2 ** min(attempts, 16), most)
        assert max(pauses) <= full
        assert min(pauses) >= full / 2
        assert len(pauses) > 25


@pytest.mark.django_db(transaction=True)
def test_a_message_goes_out_after_the_commit_only(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[int] = []
    monkeypatch.setattr(jobs, "send", lambda task, **kwargs: sent.append(kwargs["n"]))
    with transaction.atomic():
        jobs.send_on_commit(None, n=1)
        assert sent == []
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            jobs.send_on_commit(None, n=2)
            raise ZeroDivisionError
    assert sent == [1]


class Task:
    """A Celery task whose broker is away in one of the ways in which brokers are away."""

    name = "some.task"

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.asked = 0

    def apply_async(self, **_: Any) -> None:
        self.asked += 1
        if self.error:
            raise self.error


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin with a broker of which nothing bad is known."""
    monkeypatch.setattr(jobs, "_broker_is_away_until", 0.0)


@pytest.mark.parametrize(
    "away", [OperationalError("no"), ConnectionRefusedError("no"), RedisAway("no"), TimeoutError()]
)
def test_a_broker_that_is_away_costs_no_more_than_a_line_in_the_log(
    broker: None, away: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    jobs.send(Task(away), n=1)
    assert "the sweep will run some.task" in caplog.text


def test_our_own_mistakes_are_not_taken_for_a_broker_that_is_away(broker: None) -> None:
    with pytest.raises(TypeError):
        jobs.send(Task(TypeError("unexpected argument")), n=1)


def test_a_broker_that_is_away_is_left_alone_for_a_while(
    broker: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = Task(OperationalError("no"))
    for _ in range(10):
        jobs.send(task, n=1)
    assert task.asked == 1
    task.error = None
    monkeypatch.setattr(jobs, "_broker_is_away_until", time.monotonic() - 0.001)
    for _ in range(3):
        jobs.send(task, n=1)
    assert task.asked == 4


def test_a_real_broker_that_refuses_connections_is_noticed_at_once(broker: None) -> None:
    from ispops.tasks import deliver_event

    with app.connection_for_write("redis://127.0.0.1:9/0") as nowhere:
        sender = _With(deliver_event, producer=app.amqp.Producer(nowhere, auto_declare=False))
        started = time.monotonic()
        jobs.send(sender, delivery_id=1)
    assert time.monotonic() - started < 1
    assert jobs._broker_is_away_until > started


class _With:
    """A task that is sent with further arguments of Celery's own."""

    def __init__(self, task: Any, **options: Any) -> None:
        self.task, self.options, self.name = task, options, task.name

    def apply_async(self, **given: Any) -> None:
        self.task.apply_async(**given, **self.options)


def _claim_five() -> list[EventDelivery]:
    return jobs.claim(EventDelivery.objects.all(), at=NOW, lease=LEASE, limit=5)


def at_once(workers: int, work: Callable[[], Any]) -> list[Any]:
    """Do the same work in threads with connections of their own, released together."""
    start = threading.Barrier(workers)

    def one() -> Any:
        try:
            start.wait(timeout=10)
            return work()
        finally:
            connection.close()

    with ThreadPoolExecutor(workers) as pool:
        return [future.result(timeout=30) for future in [pool.submit(one) for _ in range(workers)]]


# --- A pulse: the lease of a long statement -----------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_a_pulse_renews_the_lease_and_tells_how_far_it_is() -> None:
    (row,) = make_due(timedelta(0))
    lease = timedelta(seconds=0.4)
    (claimed,) = jobs.claim(EventDelivery.objects.all(), at=timezone.now(), lease=lease)
    first = claimed.leased_until
    with jobs.pulse(claimed, lease=lease) as pulse:
        pulse.facts = {"last_error": "half of it"}
        with transaction.atomic():
            time.sleep(1.0)
            assert jobs.claim(EventDelivery.objects.all(), at=timezone.now(), lease=lease) == []
    row.refresh_from_db()
    assert row.last_error == "half of it"
    assert row.leased_until == claimed.leased_until > first


@pytest.mark.django_db(transaction=True)
def test_a_pulse_leaves_a_row_alone_that_another_worker_has() -> None:
    (row,) = make_due(timedelta(0))
    lease = timedelta(seconds=0.4)
    (claimed,) = jobs.claim(EventDelivery.objects.all(), at=timezone.now(), lease=lease)
    other = timezone.now() + timedelta(days=1)
    with jobs.pulse(claimed, lease=lease) as pulse:
        EventDelivery.objects.update(leased_until=other)
        pulse.facts = {"last_error": "mine"}
        time.sleep(0.5)
    row.refresh_from_db()
    assert (row.leased_until, row.last_error) == (other, "")
    assert claimed.leased_until != other
