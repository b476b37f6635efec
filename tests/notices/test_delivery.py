"""Sending: outside transactions, again after faults, given up on, and with the same Message-ID."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from smtplib import SMTPDataError, SMTPRecipientsRefused, SMTPSenderRefused, SMTPServerDisconnected
from typing import Any

import pytest
from django.core import mail
from django.core.mail import EmailMultiAlternatives

from ispops.errors import IllegalTransition
from ispops.notices import delivery
from ispops.notices.models import Notice, NoticeChannel
from ispops.parties import roles
from ispops.parties.models import AuditEntry, Subscriber
from tests import factories
from tests.notices.test_notify import resume

pytestmark = pytest.mark.django_db


@pytest.fixture
def notice(ada: Subscriber, at: datetime) -> Notice:
    return resume(ada, at)[0]


@pytest.fixture
def fail_with(monkeypatch: pytest.MonkeyPatch) -> Callable[[Exception], None]:
    def fail(fault: Exception) -> None:
        def send(self: EmailMultiAlternatives) -> int:
            raise fault

        monkeypatch.setattr(EmailMultiAlternatives, "send", send)

    return fail


def send_one(at: datetime) -> bool:
    return delivery.deliver_next(channel="email", at=at)


def test_a_letter_as_it_leaves(notice: Notice, at: datetime) -> None:
    later = at + timedelta(seconds=3)
    assert send_one(later)
    assert not send_one(later)
    (letter,) = mail.outbox
    assert (letter.to, letter.subject) == (["ada@example.com"], notice.subject)
    assert letter.body == notice.body
    message = letter.message()
    assert message["Message-ID"] == f"<{notice.public_id}@harbor.example>"
    assert message["Auto-Submitted"] == "auto-generated"
    html = letter.alternatives[0][0]  # type: ignore[attr-defined]
    assert "<p>Hello Ada Lovelace,</p>" in html
    notice.refresh_from_db()
    assert (notice.state, notice.sent_at, notice.leased_until) == ("sent", later, None)


def test_a_hostile_name_begins_no_header_and_no_markup(at: datetime) -> None:
    eve = factories.subscriber(
        at=at, name="Eve <b>\u2028Bcc: all@isp.example", email="eve@example.com"
    )
    resume(eve, at, premises="1 Oak\r\nBcc: all@isp.example\r\n\r\n<script>alert(1)</script>")
    send_one(at)
    (letter,) = mail.outbox
    message = letter.message()
    assert message["Bcc"] is None
    assert "Bcc: all@isp.example" in message["Subject"]
    assert "<script>" not in letter.alternatives[0][0]  # type: ignore[attr-defined]
    assert letter.recipients() == ["eve@example.com"]


def test_a_server_that_is_away_rests_and_costs_one_attempt(
    ada: Subscriber, notice: Notice, fail_with: Callable[[Exception], None], at: datetime
) -> None:
    others = [resume(ada, at, cause=f"event:{number}")[0] for number in range(2, 20)]
    fail_with(ConnectionRefusedError("nobody there"))
    assert send_one(at)
    assert not send_one(at), "the channel rests, whatever waits"
    way = NoticeChannel.objects.get(channel="email")
    assert way.rests_until is not None
    assert at < way.rests_until <= at + delivery.SHORTEST_REST
    assert send_one(way.rests_until)
    assert not send_one(way.rests_until)
    assert Notice.objects.filter(attempts=0).count() == len(others) + 1 - 2
    notice.refresh_from_db()
    assert notice.last_error == "ChannelAway: ConnectionRefusedError: nobody there"
    assert notice.next_attempt_at is not None
    assert at < notice.next_attempt_at <= at + delivery.FIRST_PAUSE


def test_it_is_all_sent_when_the_server_is_back(
    ada: Subscriber,
    notice: Notice,
    fail_with: Callable[[Exception], None],
    monkeypatch: pytest.MonkeyPatch,
    at: datetime,
) -> None:
    resume(ada, at, cause="event:2")
    fail_with(SMTPServerDisconnected("gone"))
    send_one(at)
    monkeypatch.undo()
    later = at + timedelta(minutes=2)
    assert factories.send_notices(at=later) == 2
    assert len(mail.outbox) == 2
    assert set(Notice.objects.values_list("state", "last_error")) == {("sent", "")}
    assert NoticeChannel.objects.get(channel="email").failures == 0


def test_pauses_grow_and_then_a_person_has_to_look(
    notice: Notice,
    fail_with: Callable[[Exception], None],
    monkeypatch: pytest.MonkeyPatch,
    at: datetime,
) -> None:
    fail_with(TimeoutError("the server hangs"))
    moment = at
    for _ in range(delivery.MOST_ATTEMPTS):
        assert send_one(moment)
        moment += delivery.LONGEST_PAUSE
    assert not send_one(moment)
    notice.refresh_from_db()
    assert (notice.state, notice.next_attempt_at) == ("parked", None)
    assert "TimeoutError: the server hangs" in notice.last_error
    monkeypatch.undo()
    cara = factories.staff(roles.CSR, at=at)
    delivery.send_again(notice_id=notice.pk, actor=cara, at=moment, reason="It is back")
    assert send_one(moment)
    assert len(mail.outbox) == 1
    entry = AuditEntry.objects.get(action="notice.retried")
    assert (entry.actor, entry.subject, entry.reason) == (cara, notice.public_id, "It is back")
    with pytest.raises(IllegalTransition):
        delivery.send_again(notice_id=notice.pk, actor=cara, at=moment)


@pytest.mark.parametrize(
    ("fault", "state", "rests"),
    [
        (SMTPRecipientsRefused({"ada@example.com": (550, b"no such user")}), "parked", False),
        (SMTPRecipientsRefused({"ada@example.com": (450, b"greylisted")}), "pending", False),
        (SMTPDataError(554, b"looks like spam"), "parked", False),
        (SMTPDataError(451, b"try later"), "pending", False),
        (SMTPSenderRefused(530, b"log in first", "service@harbor.example"), "pending", True),
        (ValueError("our own"), "pending", False),
    ],
)
def test_what_the_server_says_decides(
    notice: Notice,
    fail_with: Callable[[Exception], None],
    at: datetime,
    fault: Exception,
    state: str,
    rests: bool,
) -> None:
    fail_with(fault)
    assert send_one(at)
    notice.refresh_from_db()
    assert (notice.state, notice.attempts, notice.leased_until) == (state, 1, None)
    assert str(fault)[:20] in notice.last_error
    assert (NoticeChannel.objects.get().rests_until is not None) is rests


def test_a_worker_that_dies_after_sending_is_the_only_way_to_a_second(
    notice: Notice, monkeypatch: pytest.MonkeyPatch, settings: Any, at: datetime
) -> None:
    send = EmailMultiAlternatives.send

    def die(self: EmailMultiAlternatives) -> int:
        send(self)
        raise SystemExit

    with monkeypatch.context() as dying:
        dying.setattr(EmailMultiAlternatives, "send", die)
        with pytest.raises(SystemExit):
            send_one(at)
    assert not send_one(at), "the lease is still running"
    over = at + settings.TASK_LEASE
    assert not send_one(over), "the channel rests, in case the far end held the worker"
    assert send_one(over + delivery.FIRST_PAUSE)
    first, second = (letter.message()["Message-ID"] for letter in mail.outbox)
    assert first == second
    assert not send_one(at + timedelta(days=1))


def test_a_worker_that_comes_back_after_its_lease_notes_nothing(
    notice: Notice, monkeypatch: pytest.MonkeyPatch, settings: Any, at: datetime
) -> None:
    def slow(self: EmailMultiAlternatives) -> int:
        monkeypatch.undo()
        assert not send_one(at + settings.TASK_LEASE)
        assert send_one(at + settings.TASK_LEASE + delivery.FIRST_PAUSE)
        raise TimeoutError("too late")

    monkeypatch.setattr(EmailMultiAlternatives, "send", slow)
    send_one(at)
    notice.refresh_from_db()
    assert (notice.state, notice.last_error) == ("sent", "")


def test_a_letter_that_is_the_end_of_every_worker_is_given_up_on(
    notice: Notice, monkeypatch: pytest.MonkeyPatch, settings: Any, at: datetime
) -> None:
    """The far end drips until the worker is ended from outside, each time anew."""

    def die(self: EmailMultiAlternatives) -> int:
        raise SystemExit

    monkeypatch.setattr(EmailMultiAlternatives, "send", die)
    moment, lost = at, 0
    while lost < delivery.MOST_ATTEMPTS:
        with pytest.raises(SystemExit):
            send_one(moment)
        lost += 1
        moment += settings.TASK_LEASE
        assert not send_one(moment)
        moment += delivery.LONGEST_REST
    assert send_one(moment)
    notice.refresh_from_db()
    assert (notice.state, notice.attempts) == ("parked", delivery.MOST_ATTEMPTS + 1)
    assert "Every worker that took this was lost." in notice.last_error
