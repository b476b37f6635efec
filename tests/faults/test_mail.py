"""A mail server takes the connection and says nothing: no page waits, and no letter is lost."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from datetime import timedelta
from email import message_from_string
from typing import TYPE_CHECKING

import pytest
from django.core import mail
from django.test import Client
from django.utils import timezone

from ispops.notices.models import Notice, NoticeChannel
from ispops.parties.models import Subscriber
from qualification import letters, waitlist
from qualification.models import WaitlistEntry
from tests import databases, factories
from tests.faults import mail_server
from tests.faults.mail_server import MailServer
from tests.qualification import waiting
from tests.small_isp import SmallIsp

if TYPE_CHECKING:
    from pytest_django import Settings

pytestmark = pytest.mark.faults
# What sends letters, all of it called by workers alone.
SENDS = re.compile(r"from django\.core(\.mail import| import mail)|import smtplib")
CODE = re.compile(r"[A-Z0-9]{3,4}-?[A-Z0-9]{3,4}")
SENDERS = {"ispops/notices/gateways/mail.py", "qualification/letters.py"}


@pytest.fixture
def silent(settings: Settings) -> Iterator[MailServer]:
    with mail_server.running(greets=False) as server:
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", server.port
        settings.EMAIL_USE_TLS, settings.EMAIL_TIMEOUT = False, 1
        mail.outbox = []
        yield server


def test_nothing_else_sends_letters() -> None:
    found = {
        str(path.relative_to(databases.REPOSITORY))
        for app in ("ispops", "ipam", "qualification", "provisioning", "rating")
        for path in (databases.REPOSITORY / app).rglob("*.py")
        if re.search(
            r"from django\.core(\.mail import| import mail)|import smtplib", path.read_text()
        )
    }
    assert found == SENDERS


def test_pages_answer_and_their_letters_come_later(silent: MailServer, ada: Subscriber) -> None:
    began = time.monotonic()
    signed_up = Client().post(
        "/accounts/signup/", {"email": "new@example.com", "password1": "a-quiet-harbour-1843"}
    )
    again = Client().post(
        "/accounts/signup/", {"email": ada.email, "password1": "a-quiet-harbour-1843"}
    )
    forgot = Client().post("/accounts/password/reset/", {"email": ada.email})
    assert time.monotonic() - began < 10
    assert silent.calls == 0, "no page calls a mail server"
    assert [answer.status_code for answer in (signed_up, again, forgot)] == [302] * 3
    assert Notice.objects.filter(state="pending", kind="login").count() == 3

    now = timezone.now()
    factories.send_notices(at=now)
    assert silent.calls == 1, "after a fault the channel rests: not each letter waits for silence"
    assert NoticeChannel.objects.get(channel="email").rests_until > now  # type: ignore[operator]
    silent.greets.set()
    silent.answers.set()
    factories.send_notices(at=now + timedelta(hours=1))
    assert len(silent.letters) == 3
    assert {notice.state for notice in Notice.objects.all()} == {"sent"}
    texts = [message_from_string(letter).get_payload(0) for letter in silent.letters]
    read = [part.get_payload(decode=True).decode() for part in texts]  # type: ignore[union-attr]
    assert sum(any(map(CODE.fullmatch, text.splitlines())) for text in read) == 1


def test_the_letters_of_the_waitlist_wait(silent: MailServer, isp: SmallIsp) -> None:
    now = timezone.now()
    for who in ("eve", "bob"):
        waiting.join(f"{who}@example.com", at=now)
    waiting.cover(isp, at=now)
    while waitlist.look_again(at=now) is not None:
        pass
    began = time.monotonic()
    assert not letters.send_next(at=now), "nobody else is tried in this sweep"
    assert time.monotonic() - began < 10
    assert WaitlistEntry.objects.exclude(last_error="").count() == 1
    silent.greets.set()
    silent.answers.set()
    while letters.send_next(at=now + timedelta(days=1)):
        pass
    assert len(silent.letters) == 2
