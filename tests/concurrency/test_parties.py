"""Two tabs, two workers, two messages at once: accounts, webhooks and their numbers."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from pytest_django import Settings

from ispops.models import Event
from ispops.parties import accounts, partners, terms, webhooks
from ispops.parties.models import AuditEntry, Partner, Subscriber, User, WebhookDelivery
from tests.receiver import Receiver, listening

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
AT_ONCE = 8
pytestmark = pytest.mark.django_db(transaction=True)


def at_once(work: Callable[[], Any], workers: int = AT_ONCE) -> list[Any]:
    """Do the same in threads with connections of their own, released together.

    Returns what each returned, or the error that it raised.
    """
    start = threading.Barrier(workers)

    def one(_: int) -> Any:
        try:
            start.wait(timeout=10)
            return work()
        except Exception as error:
            return error
        finally:
            connection.close()

    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(one, range(workers)))


@pytest.fixture
def receiver(settings: Settings) -> Iterator[Receiver]:
    settings.WEBHOOKS_MAY_STAY_LOCAL = True
    with listening() as found:
        yield found


@pytest.fixture
def partner(receiver: Receiver) -> Partner:
    return partners.create_partner(
        code="films", name="Films", kind="bsp", webhook_url=receiver.url, at=NOW
    )


def queue(partner: Partner) -> WebhookDelivery | None:
    with transaction.atomic():
        made = webhooks.queue_webhook(partner=partner, kind="k", subject="s", data={}, at=NOW)
        time.sleep(0.05)  # so that the transactions overlap
        return made


def test_messages_about_one_object_are_numbered_without_gap(partner: Partner) -> None:
    at_once(lambda: queue(partner))
    numbers = WebhookDelivery.objects.order_by("sequence").values_list("sequence", flat=True)
    assert list(numbers) == list(range(1, AT_ONCE + 1))


def test_without_the_lock_they_would_collide(
    partner: Partner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control: the constraint then refuses all but one of each number."""

    def unlocked(partner: Partner, subject: str) -> int:
        return WebhookDelivery.objects.filter(partner=partner, subject=subject).count() + 1

    monkeypatch.setattr(webhooks, "_next_sequence", unlocked)
    answers = at_once(lambda: queue(partner))
    assert any(isinstance(answer, IntegrityError) for answer in answers)


def test_many_workers_send_one_message_once(partner: Partner, receiver: Receiver) -> None:
    delivery = queue(partner)
    assert delivery is not None
    receiver.before_answer = lambda: time.sleep(0.2)
    sent = at_once(lambda: webhooks.deliver(delivery_id=delivery.pk, at=NOW))
    assert sorted(sent) == [False] * (AT_ONCE - 1) + [True]
    assert len(receiver.requests) == 1


def test_many_workers_keep_the_order(partner: Partner, receiver: Receiver) -> None:
    for _ in range(5):
        queue(partner)
    keys = list(WebhookDelivery.objects.values_list("pk", flat=True))

    def worker() -> None:
        deadline = time.monotonic() + 20
        while WebhookDelivery.objects.exclude(state="delivered").exists():
            assert time.monotonic() < deadline
            for key in keys:
                webhooks.deliver(delivery_id=key, at=NOW)

    assert at_once(worker) == [None] * AT_ONCE
    ids = [request.headers["webhook-id"] for request in receiver.requests]
    in_order = WebhookDelivery.objects.order_by("sequence")
    assert ids == [delivery.public_id for delivery in in_order]


def new_login() -> User:
    return accounts.create_login(email="ada@example.com", at=NOW)


def test_one_login_in_two_tabs_opens_one_account() -> None:
    ada = new_login()
    opened = at_once(
        lambda: accounts.register_subscriber(
            user=ada, name="Ada", terms_version=terms.FIRST_VERSION, at=NOW
        )
    )
    assert {account.pk for account in opened} == {Subscriber.objects.get().pk}
    assert Event.objects.filter(kind="subscriber.registered").count() == 1
    assert AuditEntry.objects.filter(action="subscriber.registered").count() == 1


def test_without_the_lock_two_tabs_open_two_accounts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative control: nothing else keeps the two apart."""
    ada = new_login()
    everybody_read = threading.Barrier(AT_ONCE)

    def unlocked(model: type[User], pk: int) -> User:
        found = model.objects.get(pk=pk)
        first = found.subscribers.order_by("created_at").first()
        with contextlib.suppress(threading.BrokenBarrierError):
            everybody_read.wait(timeout=5)
        assert first is None
        return found

    monkeypatch.setattr(accounts.db, "lock", unlocked)
    at_once(
        lambda: accounts.register_subscriber(
            user=ada, name="Ada", terms_version=terms.FIRST_VERSION, at=NOW
        )
    )
    assert Subscriber.objects.count() > 1


def test_one_address_gets_one_login() -> None:
    made = at_once(new_login)
    assert sum(isinstance(answer, User) for answer in made) == 1
    refused = [answer for answer in made if not isinstance(answer, User)]
    assert {type(answer) for answer in refused} == {accounts.EmailTaken}
    assert User.objects.count() == 1
