"""The outbox: an event exists exactly when its cause does, and every handler hears of it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction
from pytest_django import DjangoCaptureOnCommitCallbacks

from ispops import events, jobs, tasks
from ispops.errors import IllegalTransition
from ispops.models import Event, EventDelivery, WorkerHeartbeat

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(days=1)
pytestmark = pytest.mark.django_db


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Register two handlers of one kind, and one of another, in an empty registry."""
    monkeypatch.setattr(events, "_handlers", {})
    calls: list[Any] = []

    @events.on("tea.ready", name="tests.first")
    def first(event: Event) -> None:
        calls.append(("first", event.subject))

    @events.on("tea.ready", name="tests.second")
    def second(event: Event) -> None:
        calls.append(("second", event.subject))
        WorkerHeartbeat.objects.create(name=event.payload["cup"], beat_at=event.occurred_at)

    @events.on("tea.cold", name="tests.other")
    def other(event: Event) -> None:
        calls.append(("other", event.subject))

    return calls


def publish(cup: str = "blue", kind: str = "tea.ready") -> Event:
    event: Event = events.publish(kind, subject="cup_1", at=NOW, cup=cup)
    return event


def delivery_to(handler: str) -> EventDelivery:
    return EventDelivery.objects.get(handler=f"tests.{handler}")


def test_an_event_is_queued_for_each_handler_of_its_kind(heard: list[Any]) -> None:
    event = publish()
    assert (event.kind, event.subject, event.payload) == ("tea.ready", "cup_1", {"cup": "blue"})
    assert event.occurred_at == NOW
    queued = EventDelivery.objects.filter(event=event).values_list("handler", flat=True)
    assert set(queued) == {"tests.first", "tests.second"}
    assert heard == []


def test_an_event_that_nobody_handles_is_kept_all_the_same(heard: list[Any]) -> None:
    publish(kind="tea.spilled")
    assert Event.objects.filter(kind="tea.spilled").count() == 1
    assert not EventDelivery.objects.exists()


def test_a_handler_s_name_is_taken_once(heard: list[Any]) -> None:
    with pytest.raises(ValueError, match=r"tests\.first"):
        events.on("tea.cold", name="tests.first")(lambda event: None)


def test_workers_are_told_after_the_commit(
    heard: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    sent: list[Any] = []
    monkeypatch.setattr(jobs, "send", lambda task, **kwargs: sent.append((task, kwargs)))
    with django_capture_on_commit_callbacks(execute=True):
        publish()
        assert sent == []
    assert sorted(kwargs["delivery_id"] for _, kwargs in sent) == sorted(
        EventDelivery.objects.values_list("pk", flat=True)
    )
    assert {task for task, _ in sent} == {tasks.deliver_event}


def test_delivery_hands_the_event_over_once(heard: list[Any]) -> None:
    publish()
    delivery = delivery_to("second")
    assert events.deliver(delivery_id=delivery.pk, at=NOW)
    assert not events.deliver(delivery_id=delivery.pk, at=LATER)
    assert heard == [("second", "cup_1")]
    delivery.refresh_from_db()
    assert (delivery.delivered_at, delivery.attempts) == (NOW, 1)
    assert delivery.next_attempt_at is delivery.leased_until is None
    assert WorkerHeartbeat.objects.get().name == "blue"


def test_the_sweep_makes_all_that_is_due(heard: list[Any]) -> None:
    publish()
    publish("red")
    EventDelivery.objects.filter(handler="tests.first").update(next_attempt_at=None)
    assert len(events.due_deliveries(at=NOW, limit=9)) == 2
    assert len(events.due_deliveries(at=NOW, limit=1)) == 1
    assert events.due_deliveries(at=NOW - timedelta(seconds=1), limit=9) == []
    tasks.deliver_due_events()
    assert heard == [("second", "cup_1")] * 2


def test_a_failing_handler_leaves_nothing_but_its_reason(
    heard: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(event: Event) -> None:
        WorkerHeartbeat.objects.create(name="half done", beat_at=NOW)
        raise ZeroDivisionError("by zero")

    monkeypatch.setitem(events._handlers, "tests.first", ("tea.ready", breaks))
    publish()
    delivery = delivery_to("first")
    assert not events.deliver(delivery_id=delivery.pk, at=NOW)
    delivery.refresh_from_db()
    assert not WorkerHeartbeat.objects.exists()
    assert (delivery.delivered_at, delivery.attempts) == (None, 1)
    assert delivery.last_error == "ZeroDivisionError: by zero"
    assert delivery.leased_until is None
    assert NOW < delivery.next_attempt_at <= NOW + timedelta(seconds=2)


def test_a_handler_that_breaks_the_transaction_is_tried_again(
    heard: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database error leaves the handler's transaction useless; the note is written after it."""

    def breaks(event: Event) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 / 0")

    monkeypatch.setitem(events._handlers, "tests.first", ("tea.ready", breaks))
    publish()
    delivery = delivery_to("first")
    assert not events.deliver(delivery_id=delivery.pk, at=NOW)
    delivery.refresh_from_db()
    assert "division by zero" in delivery.last_error
    assert delivery.next_attempt_at > NOW


def test_a_handler_that_is_no_longer_there_is_tried_again(heard: list[Any]) -> None:
    publish()
    delivery = delivery_to("first")
    EventDelivery.objects.filter(pk=delivery.pk).update(handler="tests.renamed")
    assert not events.deliver(delivery_id=delivery.pk, at=NOW)
    delivery.refresh_from_db()
    assert "tests.renamed" in delivery.last_error
    assert delivery.next_attempt_at > NOW


def test_a_handler_that_always_fails_is_parked_and_can_be_taken_up_again(
    heard: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    mended = events._handlers["tests.first"]
    monkeypatch.setitem(events._handlers, "tests.first", ("tea.ready", lambda event: 1 / 0))
    publish()
    delivery = delivery_to("first")
    at = NOW
    for attempt in range(1, events.MOST_ATTEMPTS + 1):
        assert not events.deliver(delivery_id=delivery.pk, at=at)
        delivery.refresh_from_db()
        assert delivery.attempts == attempt
        at = delivery.next_attempt_at or at
    assert delivery.next_attempt_at is None
    assert delivery.pk not in events.due_deliveries(at=LATER, limit=9)
    assert not events.deliver(delivery_id=delivery.pk, at=LATER)

    monkeypatch.setitem(events._handlers, "tests.first", mended)
    events.retry(delivery_id=delivery.pk, at=LATER)
    assert events.deliver(delivery_id=delivery.pk, at=LATER)
    assert heard == [("first", "cup_1")]
    with pytest.raises(IllegalTransition):
        events.retry(delivery_id=delivery.pk, at=LATER)


def test_a_worker_that_lost_its_lease_writes_nothing(
    heard: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was too slow to begin: its successor has the row, and the rows are written once."""
    publish()
    delivery = delivery_to("second")
    claim = jobs.claim

    def claim_then_sleep(*args: Any, **kwargs: Any) -> Any:
        claimed = claim(*args, **kwargs)
        EventDelivery.objects.filter(pk=delivery.pk).update(leased_until=LATER)
        return claimed

    monkeypatch.setattr(jobs, "claim", claim_then_sleep)
    assert not events.deliver(delivery_id=delivery.pk, at=NOW)
    assert heard == []
    delivery.refresh_from_db()
    assert (delivery.delivered_at, delivery.leased_until) == (None, LATER)


def test_an_event_may_lead_to_another(heard: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def pours(event: Event) -> None:
        events.publish("tea.cold", subject=event.subject, at=NOW)

    monkeypatch.setitem(events._handlers, "tests.first", ("tea.ready", pours))
    publish()
    assert events.deliver(delivery_id=delivery_to("first").pk, at=NOW)
    assert events.deliver(delivery_id=delivery_to("other").pk, at=NOW)
    assert heard == [("other", "cup_1")]


@pytest.mark.django_db(transaction=True)
def test_no_event_without_its_cause(heard: list[Any]) -> None:
    with pytest.raises(RuntimeError, match="inside the transaction"):
        publish()
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        publish()
        raise ZeroDivisionError
    assert not Event.objects.exists()
    assert not EventDelivery.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_an_inner_change_that_fails_takes_only_its_own_events(
    heard: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Any] = []
    monkeypatch.setattr(jobs, "send", lambda task, **kwargs: sent.append(kwargs["delivery_id"]))
    with transaction.atomic():
        publish("outer", kind="tea.cold")
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            publish("inner", kind="tea.cold")
            raise ZeroDivisionError
    [kept] = Event.objects.all()
    assert kept.payload == {"cup": "outer"}
    assert sent == [EventDelivery.objects.get().pk]


@pytest.mark.parametrize(
    "attack",
    [
        "UPDATE ispops_event SET payload = '{}'",
        "UPDATE ispops_event SET occurred_at = now()",
        "DELETE FROM ispops_event",
    ],
)
def test_raw_sql_cannot_change_what_happened(attack: str) -> None:
    Event.objects.create(kind="k", subject="s", payload={"a": 1}, occurred_at=NOW)
    with (
        pytest.raises(DatabaseError, match="append-only"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(attack)


def test_the_database_refuses_a_second_delivery_to_one_handler(heard: list[Any]) -> None:
    event = publish()
    with pytest.raises(IntegrityError, match="event_handled_once"), transaction.atomic():
        EventDelivery.objects.create(event=event, handler="tests.first")
