"""Letters to the waitlist: one each, truthful, and with a way out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.conf import settings
from django.core import mail
from django.core.mail import EmailMessage
from django.test import Client

from ispops.errors import IllegalTransition
from ispops.parties import roles
from ispops.parties.models import AuditEntry
from ispops.periods import day_in_words
from qualification import coverage, imports, letters, waitlist
from qualification.models import CoverageImport, WaitlistEntry
from tests import factories
from tests.qualification import lists
from tests.qualification.waiting import AT, LATER, UNLISTED, ask, cover, join, work
from tests.small_isp import STOWE_POINT, SmallIsp, cell_of, make_small_isp

pytestmark = pytest.mark.django_db


@pytest.fixture
def isp() -> SmallIsp:
    return make_small_isp()


@pytest.fixture(autouse=True)
def _clock() -> Iterator[None]:
    with time_machine.travel(LATER, tick=False):
        yield


@pytest.fixture
def found(isp: SmallIsp) -> WaitlistEntry:
    """Somebody for whom service was found, and who was not written to yet."""
    entry = join()
    cover(isp)
    while waitlist.look_again(at=LATER):
        pass
    entry.refresh_from_db()
    assert entry.state == "found"
    return entry


def test_the_letter_names_the_place_the_plan_the_price_and_until_when(
    isp: SmallIsp, found: WaitlistEntry
) -> None:
    assert letters.send_next(at=LATER)
    assert not letters.send_next(at=LATER)
    (sent,) = mail.outbox
    assert sent.to == ["eve@example.com"]
    assert sent.subject == "Good news for 1 Alpine Road, Stowe, VT 05672"
    assert found.found is not None
    for said in (
        "1 Alpine Road, Stowe, VT 05672",
        "Fibre 500, on the network of Fast Fibre",
        "500 Mbit/s down, 500 Mbit/s up",
        "USD 60.00 a month, USD 49.00 once to set it up, before tax",
        "Ready about 5 days after you order",
        f"/check/{found.found.public_id}/",
        f"until {day_in_words(found.found.expires_at, zone=settings.BILLING_TIME_ZONE)}",
        "+1 800 555 0142",
    ):
        assert said in sent.body, said
    assert "must be built" not in sent.body
    assert "\n\n\n" not in sent.body
    found.refresh_from_db()
    assert (found.state, found.notified_at, found.next_attempt_at) == ("notified", LATER, None)


def test_what_must_be_built_and_what_is_better_is_said_so(isp: SmallIsp) -> None:
    join(text="1 Elm St, Barre, VT 05641")
    cover(isp, cell=isp.elm_1.h3_res8, construction_fee="350", construction_days=45)
    work(at=LATER)
    (sent,) = mail.outbox
    assert "tell you when there is something better at" in sent.body
    assert "A line must be built first, for USD 350.00 once" in sent.body
    assert "Ready about 50 days after you order" in sent.body


def test_the_letter_opens_the_answer_and_the_way_out(
    client: Client, isp: SmallIsp, found: WaitlistEntry
) -> None:
    letters.send_next(at=LATER)
    (sent,) = mail.outbox
    answer, leave = re.findall(r"http://[^/]+(/\S+)", sent.body)
    assert b"you can be connected" in client.get(answer).content
    message = sent.message()
    assert message["List-Unsubscribe"] == f"<http://127.0.0.1:8000{leave}>"
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    other = join(text="1 Elm St, Barre, VT 05641", at=LATER)
    assert client.get(leave).status_code == 200
    other.refresh_from_db()
    assert other.state == "waiting"
    # As a mail program posts: without cookies, without a token of ours.
    strict = Client(enforce_csrf_checks=True)
    done = strict.post(leave, {"List-Unsubscribe": "One-Click"})
    assert done.status_code == 200
    other.refresh_from_db()
    assert other.state == "withdrawn"


def test_who_left_between_being_found_and_the_letter_gets_none(found: WaitlistEntry) -> None:
    waitlist.leave_waitlist(email=found.email, at=LATER)
    assert not letters.send_next(at=LATER)
    assert mail.outbox == []


def test_coverage_that_is_rolled_back_before_the_letter_is_not_written_of(
    isp: SmallIsp, found: WaitlistEntry
) -> None:
    soon = LATER + timedelta(minutes=1)
    coverage.end_coverage(provider=isp.fibre, technology=50, h3_res8=cell_of(STOWE_POINT), at=soon)
    factories.deliver_events(at=soon)
    work(at=soon)
    found.refresh_from_db()
    assert (found.state, found.found) == ("waiting", None)
    assert mail.outbox == []
    # It comes after all.
    day = LATER + timedelta(days=1)
    cover(isp, at=day)
    with time_machine.travel(day, tick=False):
        work(at=day)
    assert len(mail.outbox) == 1


def test_a_file_that_is_rolled_back_before_the_letter_is_not_written_of(
    isp: SmallIsp, settings: Any, tmp_path: Path
) -> None:
    """The whole way: a list is sent, checked, applied, taken back, and sent again."""
    settings.MEDIA_ROOT = tmp_path
    otto = factories.staff(roles.OPERATIONS, at=AT)
    entry = join()
    text = lists.csv_of(
        "h3_res8,technology,max_download_kbps,max_upload_kbps",
        (cell_of(STOWE_POINT), 50, 1_000_000, 1_000_000),
    )

    def apply(at: datetime) -> CoverageImport:
        row = lists.apply(lists.check(text, isp.fibre, at=at), at=at)
        assert (row.state, row.added) == ("applied", 1)
        factories.deliver_events(at=at)
        while waitlist.look_again(at=at):
            pass
        return row

    first = apply(LATER)
    entry.refresh_from_db()
    assert entry.state == "found"
    soon = LATER + timedelta(minutes=1)
    imports.roll_back_list(import_id=first.pk, actor=otto, reason="wrong list", at=soon)
    lists.work(first, at=soon)
    with time_machine.travel(soon, tick=False):
        factories.deliver_events(at=soon)
        work(at=soon)
    entry.refresh_from_db()
    assert (entry.state, entry.found) == ("waiting", None)
    assert mail.outbox == []
    later = LATER + timedelta(days=1)
    with time_machine.travel(later, tick=False):
        apply(later)
        work(at=later)
    assert len(mail.outbox) == 1


def test_coverage_that_changed_before_the_letter_is_asked_for_anew(
    isp: SmallIsp, found: WaitlistEntry
) -> None:
    soon = LATER + timedelta(minutes=1)
    cover(isp, at=soon, install_days=20)
    work(at=soon)
    (sent,) = mail.outbox
    assert "Ready about 20 days" in sent.body


def test_an_answer_that_expired_before_the_letter_is_asked_for_anew(
    isp: SmallIsp, found: WaitlistEntry
) -> None:
    assert found.found is not None
    late = found.found.expires_at
    work(at=late)
    (sent,) = mail.outbox
    found.refresh_from_db()
    assert found.found.expires_at > late
    assert found.found.public_id in sent.body


def test_a_letter_that_cannot_be_sent_is_tried_again_with_growing_pauses(
    found: WaitlistEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(self: EmailMessage, **_: Any) -> int:
        raise ConnectionRefusedError("nobody there")

    with monkeypatch.context() as broken:
        broken.setattr(EmailMessage, "send", away)
        assert not letters.send_next(at=LATER), "nobody else is tried in this sweep"
    found.refresh_from_db()
    assert (found.state, found.attempts, found.leased_until) == ("found", 1, None)
    assert found.last_error == "ConnectionRefusedError: nobody there"
    assert LATER < due(found) <= LATER + letters.FIRST_PAUSE
    assert not letters.send_next(at=LATER)
    assert letters.send_next(at=due(found))
    found.refresh_from_db()
    assert (found.state, found.last_error) == ("notified", "")
    assert len(mail.outbox) == 1


def due(entry: WaitlistEntry) -> datetime:
    assert entry.next_attempt_at is not None
    return entry.next_attempt_at


def test_a_letter_that_is_never_sent_waits_for_a_person(
    found: WaitlistEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(EmailMessage, "send", lambda self: 1 / 0)
    moment = LATER
    for _ in range(letters.MOST_ATTEMPTS):
        assert letters.send_next(at=moment)
        moment += letters.LONGEST_PAUSE
    assert moment - LATER < timedelta(days=4)
    found.refresh_from_db()
    assert (found.state, found.next_attempt_at) == ("found", None)
    assert not letters.send_next(at=moment)
    monkeypatch.undo()
    cara = factories.staff(roles.CSR, at=AT)
    # The answer is of the day on which it was found; the clock of this test has gone on since.
    letters.send_again(entry_id=found.pk, actor=cara, at=moment)
    assert letters.send_next(at=moment)
    assert len(mail.outbox) == 1
    assert AuditEntry.objects.filter(action="waitlist.letter_retried", actor=cara).count() == 1
    with pytest.raises(IllegalTransition):
        letters.send_again(entry_id=found.pk, actor=cara, at=moment)


def test_a_worker_that_dies_before_noting_the_letter_is_the_only_way_to_a_second(
    found: WaitlistEntry, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    send = EmailMessage.send

    def die(self: EmailMessage, **_: Any) -> int:
        send(self)
        raise SystemExit

    with monkeypatch.context() as dying:
        dying.setattr(EmailMessage, "send", die)
        with pytest.raises(SystemExit):
            letters.send_next(at=LATER)
    assert not letters.send_next(at=LATER), "the lease is still running"
    assert letters.send_next(at=LATER + settings.TASK_LEASE)
    first, second = (message.message() for message in mail.outbox)
    assert first["Message-ID"] == second["Message-ID"]
    assert not letters.send_next(at=LATER + timedelta(days=1))


def test_hostile_names_and_places_stay_out_of_headers_and_of_the_greeting(isp: SmallIsp) -> None:
    waitlist.join_waitlist(
        qualification=ask(UNLISTED),
        email="o'eve+x@example.com",
        name='WIN $$$ <a href="http://evil.example">now</a> {{ settings.SECRET_KEY }}',
        channel="portal",
        at=AT,
    )
    cover(isp)
    work(at=LATER)
    (sent,) = mail.outbox
    assert "evil" not in sent.body
    assert sent.body.startswith("Hello,\n")
    assert sent.message()["To"] == "o'eve+x@example.com"
