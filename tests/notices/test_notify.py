"""Writing to a subscriber: once, with the words that hold, kept as they were."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction

from ispops.notices import notify
from ispops.notices.models import Notice
from ispops.parties.models import Subscriber
from tests import factories

pytestmark = pytest.mark.django_db


def resume(subscriber: Subscriber, at: datetime, **other: Any) -> list[Notice]:
    return notify.send(
        **{
            "kind": "line_resumed",
            "subscriber": subscriber,
            "cause": "event:1",
            "at": at,
            "plan": "Fiber 500",
            "premises": "1 Oak Street",
            "date": "May 4, 2026",
        }
        | other
    )


def test_a_notice_is_written_with_its_words_and_waits(ada: Subscriber, at: datetime) -> None:
    (notice,) = resume(ada, at)
    notice.refresh_from_db()
    assert (notice.kind, notice.channel, notice.state) == ("line_resumed", "email", "pending")
    assert (notice.recipient, notice.subscriber) == (ada.public_id, ada)
    assert (notice.address, notice.template) == ("ada@example.com", None)
    assert (notice.created_at, notice.next_attempt_at, notice.sent_at) == (at, at, None)
    assert notice.subject == "Your line at 1 Oak Street is on again"
    assert "Hello Ada Lovelace,\n\nyour line Fiber 500 at 1 Oak Street is on" in notice.body


def test_the_same_cause_is_written_of_once(ada: Subscriber, at: datetime) -> None:
    first = resume(ada, at)
    assert resume(ada, at + timedelta(hours=1)) == []
    assert list(Notice.objects.all()) == first
    assert len(resume(ada, at, cause="event:2")) == 1
    bob = factories.subscriber(at=at, name="Bob")
    assert len(resume(bob, at)) == 1


def test_an_address_that_changes_meanwhile_makes_no_second_letter(
    ada: Subscriber, at: datetime
) -> None:
    resume(ada, at)
    ada.email = "new@example.com"
    assert resume(ada, at) == []


def test_what_a_caller_owes(ada: Subscriber, at: datetime) -> None:
    with pytest.raises(ValueError, match="no notice is called nothing"):
        resume(ada, at, kind="nothing")
    with pytest.raises(ValueError, match="do not agree about \\['colour'\\]"):
        resume(ada, at, colour="red")
    with pytest.raises(ValueError, match="do not agree about \\['expected_date'"):
        notify.send(kind="order_received", subscriber=ada, cause="x", at=at)
    assert not Notice.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_notice_belongs_to_the_transaction_of_its_cause(ada: Subscriber, at: datetime) -> None:
    with pytest.raises(RuntimeError):
        resume(ada, at)
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        resume(ada, at)
        raise ZeroDivisionError
    assert not Notice.objects.exists()


def test_a_secret_is_not_kept_in_clear(ada: Subscriber, at: datetime) -> None:
    secret = "https://my.isp.example/invitation/0123456789/"
    notify.send(
        kind="invitation", subscriber=ada, cause=ada.public_id, at=at,
        invitation_url=secret, valid_until="May 11, 2026",
    )  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_jsonb(row)::text FROM notices_notice row")
        (kept,) = cursor.fetchone()
    assert "invitation/" not in kept
    factories.send_notices(at=at)
    from django.core import mail

    (letter,) = mail.outbox
    assert secret in letter.body
    assert f'<a href="{secret}">' in letter.alternatives[0][0]  # type: ignore[attr-defined]
    notice = Notice.objects.get()
    assert (notice.state, notice.secrets) == ("sent", "")
    assert secret not in notice.body


@pytest.mark.parametrize(
    "change", [{"body": "Something else"}, {"subject": "x"}, {"address": "x@example.com"}]
)
def test_what_was_written_stays_as_it_was(
    ada: Subscriber, at: datetime, change: dict[str, str]
) -> None:
    (notice,) = resume(ada, at)
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        Notice.objects.filter(pk=notice.pk).update(**change)
    assert Notice.objects.filter(pk=notice.pk).update(last_error="seen") == 1


@pytest.mark.parametrize(
    "change",
    [
        {"state": "sent"},
        {"state": "parked"},
        {"next_attempt_at": None},
        {"report": "delivered"},
    ],
)
def test_the_database_refuses_what_cannot_be(
    ada: Subscriber, at: datetime, change: dict[str, Any]
) -> None:
    (notice,) = resume(ada, at)
    with pytest.raises(DatabaseError), transaction.atomic():
        Notice.objects.filter(pk=notice.pk).update(**change)
