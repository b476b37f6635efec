"""A worker dies while it hands a letter over: the letter comes again, under the same name."""

from __future__ import annotations

import re
import socketserver
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from django.db import transaction
from django.utils import timezone

from ispops.models import WorkerHeartbeat
from ispops.notices import notify
from ispops.notices.models import Notice, NoticeChannel
from ispops.parties.models import Subscriber

if TYPE_CHECKING:
    from tests.stack import Stack

pytestmark = pytest.mark.faults


@dataclass
class MailServer:
    """A mail server of a few words (RFC 5321), which takes letters and may keep silent after."""

    port: int = 0
    letters: list[str] = field(default_factory=list)
    answers: threading.Event = field(default_factory=threading.Event)


@pytest.fixture
def mail_server() -> Iterator[MailServer]:
    class Conversation(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"220 here\r\n")
            for line in self.rfile:
                word = line.strip().upper()
                if word == b"DATA":
                    self.wfile.write(b"354 go on\r\n")
                    lines = iter(self.rfile.readline, b".\r\n")
                    found.letters.append(b"".join(lines).decode())
                    found.answers.wait(timeout=60)
                self.wfile.write(b"221 bye\r\n" if word == b"QUIT" else b"250 good\r\n")

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    found = MailServer()
    with Server(("127.0.0.1", 0), Conversation) as server:
        found.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield found
        found.answers.set()
        server.shutdown()


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
