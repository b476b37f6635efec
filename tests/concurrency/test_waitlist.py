"""Workers, events and imports at the same moment: everybody is found, and told once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.core import mail
from django.db import connection, transaction
from django.utils import timezone

from ispops import events, jobs
from ispops.models import EventDelivery
from qualification import letters, qualify, waitlist
from qualification.models import ServiceQualification, WaitlistEntry
from qualification.models.waiting import WaitlistEntries
from tests.qualification.waiting import ask, cover, join
from tests.small_isp import SmallIsp, make_small_isp

pytestmark = pytest.mark.django_db(transaction=True)
WORKERS = 8


@pytest.fixture
def yesterday() -> datetime:
    return timezone.now() - timedelta(days=1)


@pytest.fixture
def isp(yesterday: datetime) -> SmallIsp:
    return make_small_isp(at=yesterday)


@pytest.fixture
def found(isp: SmallIsp, yesterday: datetime) -> WaitlistEntry:
    entry = join(at=yesterday)
    cover(isp, at=yesterday + timedelta(hours=1))
    while waitlist.look_again(at=timezone.now()):
        pass
    entry.refresh_from_db()
    assert entry.state == "found"
    return entry


def at_once(work: Callable[[int], Any]) -> list[Any]:
    """Do the work in threads with connections of their own, released together."""
    start = threading.Barrier(WORKERS)

    def one(number: int) -> Any:
        try:
            start.wait(timeout=10)
            return work(number)
        finally:
            connection.close()

    with ThreadPoolExecutor(WORKERS) as pool:
        return list(pool.map(one, range(WORKERS)))


def test_eight_workers_write_one_letter(found: WaitlistEntry) -> None:
    wrote = at_once(lambda _: letters.send_next(at=timezone.now()))
    assert wrote.count(True) == 1
    assert len(mail.outbox) == 1


def test_without_the_claim_several_write_the_same_letter(
    found: WaitlistEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control: the race is real, and the claim is what prevents it."""
    all_have_looked = threading.Barrier(WORKERS)

    def look_without_lock(rows: Any, *, at: datetime, **_: Any) -> list[Any]:
        taken = list(jobs.due(rows, at=at)[:1])
        all_have_looked.wait(timeout=10)
        return taken

    monkeypatch.setattr(jobs, "claim", look_without_lock)
    at_once(lambda _: letters.send_next(at=timezone.now()))
    assert len(mail.outbox) > 1


def test_somebody_who_joins_eight_times_at_once_waits_once(isp: SmallIsp) -> None:
    answers = [ask(at=timezone.now()) for _ in range(WORKERS)]
    entries = at_once(lambda number: join(answer=answers[number], at=timezone.now()).pk)
    assert len(set(entries)) == 1
    assert WaitlistEntry.objects.count() == 1


def test_eight_events_and_eight_workers_find_and_tell_somebody_once(
    isp: SmallIsp, yesterday: datetime
) -> None:
    join(at=yesterday)
    cover(isp, at=yesterday + timedelta(hours=1), tell=False)
    with transaction.atomic():
        for _ in range(WORKERS):
            events.publish(
                "coverage.changed", subject="cov", at=timezone.now(), provider_id=isp.fibre.pk
            )
    calls = EventDelivery.objects.filter(handler="qualification.call_up_the_waitlist")
    deliveries = list(calls.values_list("pk", flat=True))
    before = ServiceQualification.objects.count()

    def hear_look_and_write(number: int) -> None:
        events.deliver(delivery_id=deliveries[number], at=timezone.now())
        while waitlist.look_again(at=timezone.now()):
            pass
        while letters.send_next(at=timezone.now()):
            pass

    at_once(hear_look_and_write)
    hear_look_and_write(0)
    assert len(mail.outbox) == 1
    assert ServiceQualification.objects.count() == before + 1
    assert WaitlistEntry.objects.get().state == "notified"


def come_during_a_look(
    isp: SmallIsp, yesterday: datetime, monkeypatch: pytest.MonkeyPatch
) -> WaitlistEntry:
    """Let a network come after a look has read the coverage and before it notes what it found."""
    entry = join(at=yesterday)
    cover(isp, at=yesterday + timedelta(hours=1), max_download_kbps=1_000, max_upload_kbps=1_000)
    has_read, has_come = threading.Event(), threading.Event()
    real = qualify.qualify_address

    def slow(**asked: Any) -> ServiceQualification:
        answer = real(**asked)
        has_read.set()
        assert has_come.wait(timeout=10)
        # The call is now on its way to the row; half a second lets it arrive.
        threading.Event().wait(0.5)
        return answer

    def come() -> None:
        assert has_read.wait(timeout=10)
        # An import that took long: in force from when it began, and seen only now.
        began = yesterday + timedelta(hours=2)
        cover(isp, at=began, tell=False)
        has_come.set()
        waitlist.call_up(provider_id=isp.fibre.pk, changed_at=began, at=timezone.now())
        connection.close()

    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(come)
        monkeypatch.setattr(qualify, "qualify_address", slow)
        waitlist.look_again(at=timezone.now())
        coming.result(timeout=10)
    monkeypatch.undo()
    while waitlist.look_again(at=timezone.now()):
        pass
    entry.refresh_from_db()
    return entry


def test_a_network_that_comes_during_a_look_is_not_overlooked(
    isp: SmallIsp, yesterday: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert come_during_a_look(isp, yesterday, monkeypatch).state == "found"


def test_without_the_lock_it_would_be_overlooked(
    isp: SmallIsp, yesterday: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control: the look's own note would put the row off for a month."""
    monkeypatch.setattr(WaitlistEntries, "select_for_update", lambda rows, **_: rows)
    assert come_during_a_look(isp, yesterday, monkeypatch).state == "waiting"
