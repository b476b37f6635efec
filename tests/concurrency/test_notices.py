"""Workers and events at the same moment: one letter a cause, and a server that hangs stops few."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.core.mail.backends.smtp import EmailBackend
from django.db import connection, transaction
from django.utils import timezone

from ispops import events, jobs
from ispops.models import EventDelivery
from ispops.notices import catalogue, delivery, editing, notify
from ispops.notices.catalogue import Wording
from ispops.notices.models import Notice, NoticeTemplate
from ispops.parties import roles
from ispops.parties.models import Subscriber
from tests import factories
from tests.small_isp import SmallIsp, make_small_isp

pytestmark = pytest.mark.django_db(transaction=True)
WORKERS = 8


@pytest.fixture
def ada() -> Subscriber:
    return factories.subscriber(at=timezone.now(), email="ada@example.com")


def write(subscriber: Subscriber, cause: str = "event:1") -> list[Notice]:
    with transaction.atomic():
        return notify.send(
            kind="line_resumed", subscriber=subscriber, cause=cause, at=timezone.now(),
            plan="Fiber 500", premises="1 Oak Street", date="today",
        )  # fmt: skip


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


def drain(_: int = 0) -> None:
    while delivery.deliver_next(channel="email", at=timezone.now()):
        pass


def test_one_cause_that_is_told_eight_times_at_once_is_one_letter(ada: Subscriber) -> None:
    written = at_once(lambda _: write(ada))
    assert sorted(map(len, written)) == [0] * 7 + [1]
    at_once(drain)
    drain()
    assert len(mail.outbox) == 1


def test_without_a_common_cause_it_would_be_eight(ada: Subscriber) -> None:
    """The negative control: only what is unique in the database keeps them to one."""
    written = at_once(lambda number: write(ada, f"event:{number}"))
    assert sum(map(len, written)) == WORKERS


def test_an_event_handled_by_several_workers_writes_once(ada: Subscriber) -> None:
    isp: SmallIsp = make_small_isp(at=timezone.now() - timedelta(days=1))
    order = factories.order(ada, isp.oak_1, isp.fast.code, at=timezone.now())
    rows = EventDelivery.objects.filter(handler="provisioning.write_order_received")
    delivery_id = rows.values_list("pk", flat=True).get()
    # A lease that runs out at once: every worker may take it, as after a worker that was lost.
    at_once(lambda _: events.deliver(delivery_id=delivery_id, at=timezone.now()))
    rows.update(delivered_at=None, next_attempt_at=timezone.now(), leased_until=None)
    at_once(lambda _: events.deliver(delivery_id=delivery_id, at=timezone.now()))
    assert Notice.objects.filter(kind="order_received", cause=order.public_id).count() == 1


def test_eight_workers_send_twenty_letters_once_each(ada: Subscriber) -> None:
    for number in range(20):
        write(ada, f"event:{number}")
    at_once(drain)
    drain()
    assert len(mail.outbox) == 20
    assert Notice.objects.filter(state="sent").count() == 20


def test_without_the_claim_several_send_the_same_letter(
    ada: Subscriber, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control: the race is real, and the claim is what prevents it."""
    write(ada)
    monkeypatch.setattr(jobs, "claim", lambda rows, *, at, **_: list(jobs.due(rows, at=at)[:1]))
    all_have_claimed = threading.Barrier(WORKERS)
    send = mail.EmailMultiAlternatives.send

    def wait(self: mail.EmailMultiAlternatives) -> int:
        all_have_claimed.wait(timeout=10)
        return send(self)

    monkeypatch.setattr(mail.EmailMultiAlternatives, "send", wait)
    at_once(lambda _: delivery.deliver_next(channel="email", at=timezone.now()))
    assert len(mail.outbox) == WORKERS


def test_eight_editors_make_one_version() -> None:
    otto = factories.staff(roles.OPERATIONS, at=timezone.now())

    def save(number: int) -> bool:
        try:
            editing.reword(
                kind=catalogue.get("welcome"), channel="email", based_on=0, actor=otto,
                words=Wording("Mine", f"Mine {number}"), at=timezone.now(),
            )  # fmt: skip
        except editing.TextWasChanged:
            return False
        return True

    assert at_once(save).count(True) == 1
    assert NoticeTemplate.objects.count() == 1


@pytest.fixture
def hanging_server() -> Iterator[int]:
    """A mail server that takes the call and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=32) as listener:
        yield listener.getsockname()[1]


def test_a_server_that_hangs_holds_two_workers_for_one_time_out(
    ada: Subscriber, hanging_server: int, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", hanging_server
    settings.EMAIL_TIMEOUT = 1
    calls: list[float] = []
    open_ = EmailBackend.open

    def count(self: EmailBackend) -> Any:
        calls.append(time.monotonic())
        return open_(self)

    monkeypatch.setattr(EmailBackend, "open", count)
    for number in range(20):
        write(ada, f"event:{number}")
    started = time.monotonic()
    at_once(drain)
    assert len(calls) == delivery.AT_ONCE
    assert time.monotonic() - started < 4
    assert Notice.objects.filter(attempts=0).count() == 20 - delivery.AT_ONCE
    drain()
    assert len(calls) == delivery.AT_ONCE, "the channel rests"
    assert "timed out" in Notice.objects.filter(attempts=1)[0].last_error
