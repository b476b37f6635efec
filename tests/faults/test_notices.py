"""A worker dies while it hands a letter over: the letter comes again, under the same name."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from django.db import transaction
from django.utils import timezone

from ispops.models import WorkerHeartbeat
from ispops.notices import notify
from ispops.notices.models import Notice, NoticeChannel
from ispops.parties.models import Subscriber
from tests.faults.mail_server import MailServer
from tests.faults.mail_server import running as mail_server_running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.stack import Stack

pytestmark = pytest.mark.faults


@pytest.fixture
def mail_server() -> Iterator[MailServer]:
    with mail_server_running() as server:
        yield server


def test_a_letter_whose_worker_is_killed_comes_again_with_the_same_name(
    live: Stack, ada: Subscriber, mail_server: MailServer
) -> None:
    live.environment |= {
        "EMAIL_HOST": "127.0.0.1", "EMAIL_PORT": str(mail_server.port), "EMAIL_USE_TLS": "0"
    }  # fmt: skip
    live.start("worker", "beat")
    live.until(WorkerHeartbeat.objects.exists, "the worker reports")
    with transaction.atomic():
        (notice,) = notify.send(
            kind="line_resumed", subscriber=ada, cause="event:1", at=timezone.now(),
            plan="Fibre 500", premises="1 Oak Street", date="today",
        )  # fmt: skip
    live.until(lambda: bool(mail_server.letters), "the worker has handed the letter over")
    live.kill("worker")
    mail_server.answers.set()
    notice.refresh_from_db()
    assert (notice.state, notice.attempts) == ("pending", 1)

    live.start("worker")
    live.until(NoticeChannel.objects.filter(failures=1).exists, "the loss is seen")
    Notice.objects.update(next_attempt_at=timezone.now())
    NoticeChannel.objects.update(rests_until=timezone.now())
    live.until(Notice.objects.filter(state="sent").exists, "the letter is sent")
    assert len(mail_server.letters) == 2
    names = {re.findall("Message-ID: (.*)", letter)[0].strip() for letter in mail_server.letters}
    assert names == {f"<{notice.public_id}@harbor.example>"}
    assert NoticeChannel.objects.get(channel="email").failures == 0
