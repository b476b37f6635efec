"""SMS: who gets them, a real gateway of HTTP, its reports, and files where there is none."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings

from ispops.errors import InvalidInput
from ispops.notices import contacts, delivery
from ispops.notices.gateways import http
from ispops.notices.models import ContactChoice, Notice
from ispops.parties.models import AuditEntry, Subscriber
from tests import factories
from tests.notices.test_notify import resume

pytestmark = pytest.mark.django_db
TOKEN = "report-token"


@dataclass
class Gateway:
    """Somebody else's SMS gateway, which answers as it is told."""

    url: str = ""
    got: list[tuple[dict[str, str], dict[str, Any]]] = field(default_factory=list)
    status: int = 200
    answer: bytes = b'{"messages": [{"id": "gw-1"}]}'


@contextlib.contextmanager
def running(gateway: Gateway) -> Iterator[None]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            gateway.got.append((dict(self.headers), json.loads(body)))
            self.send_response(gateway.status)
            self.send_header("Content-Length", str(len(gateway.answer)))
            self.end_headers()
            self.wfile.write(gateway.answer)

        def log_message(self, *_: object) -> None:
            """Be quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    gateway.url = f"http://127.0.0.1:{server.server_address[1]}/v1/messages"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def gateway(settings: Settings) -> Iterator[Gateway]:
    started = Gateway()
    with running(started):
        settings.SMS_GATEWAY = "http"
        settings.SMS_GATEWAY_URL = started.url
        settings.SMS_SENDER = "Harbor"
        settings.SMS_GATEWAY_HEADERS = {"Authorization": "App key-1"}
        settings.SMS_GATEWAY_BODY = {
            "messages": [{"destinations": [{"to": "{to}"}], "from": "{sender}", "text": "{text}"}],
            "reference": "{reference}",
            "notifyUrl": "{callback}?token=x",
            "flash": False,
        }
        settings.SMS_GATEWAY_ID_FIELD = "messages.0.id"
        settings.SMS_REPORT_TOKEN = TOKEN
        yield started


def agree(subscriber: Subscriber, at: datetime, number: str = "(802) 555-0117") -> str:
    return factories.sms_to(subscriber, number, at=at)


def send_sms(ada: Subscriber, at: datetime, **other: Any) -> Notice:
    """Write to Ada by both ways, and try the SMS once."""
    by_sms = resume(ada, at, **other)[1]
    assert delivery.deliver_next(channel="sms", at=at)
    by_sms.refresh_from_db()
    return by_sms


class TestWhoGetsThem:
    def test_nobody_without_having_agreed(
        self, ada: Subscriber, gateway: Gateway, at: datetime
    ) -> None:
        assert ada.phone
        assert [notice.channel for notice in resume(ada, at)] == ["email"]

    def test_who_agreed_until_they_change_their_mind(
        self, ada: Subscriber, gateway: Gateway, at: datetime
    ) -> None:
        assert agree(ada, at) == "+18025550117"
        email, sms = resume(ada, at)
        assert (email.channel, sms.channel) == ("email", "sms")
        assert (sms.address, sms.subject) == ("+18025550117", "")
        assert sms.body == "Harbor Broadband: your line Fiber 500 is on again.\n"
        contacts.refuse_sms(subscriber=ada, actor=ada.users.get(), at=at)
        assert [notice.channel for notice in resume(ada, at, cause="event:2")] == ["email"]
        actions = AuditEntry.objects.filter(subscriber=ada, action__startswith="contact.")
        assert [entry.action for entry in actions.order_by("pk")] == [
            "contact.sms_agreed", "contact.sms_confirmed", "contact.sms_refused"
        ]  # fmt: skip

    def test_agreeing_twice_is_agreeing_once(self, ada: Subscriber, at: datetime) -> None:
        agree(ada, at)
        contacts.agree_to_sms(
            subscriber=ada, number="+1 802 555 0117", actor=ada.users.get(),
            at=at + timedelta(days=1),
        )  # fmt: skip
        assert not Notice.objects.exists()
        assert ContactChoice.objects.get().changed_at == at
        contacts.refuse_sms(subscriber=ada, actor=ada.users.get(), at=at)
        contacts.refuse_sms(subscriber=ada, actor=ada.users.get(), at=at)
        assert AuditEntry.objects.filter(action__startswith="contact.").count() == 3

    @pytest.mark.parametrize("number", ["", "12", "5" * 41, "+1 802 555 0117; DROP"])
    def test_a_number_that_is_none(self, ada: Subscriber, at: datetime, number: str) -> None:
        with pytest.raises(InvalidInput) as refused:
            agree(ada, at, number)
        assert refused.value.field == "number"
        assert not ContactChoice.objects.exists()

    def test_no_kind_without_words_for_it(
        self, ada: Subscriber, gateway: Gateway, at: datetime
    ) -> None:
        from ispops.notices import notify

        agree(ada, at)
        written = notify.send(
            kind="line_ceased", subscriber=ada, cause="x", at=at, plan="p", premises="q", date="d"
        )
        assert [notice.channel for notice in written] == ["email"]

    def test_nobody_where_there_is_no_gateway(
        self, ada: Subscriber, settings: Settings, at: datetime
    ) -> None:
        settings.SMS_GATEWAY = ""
        agree(ada, at)
        assert [notice.channel for notice in resume(ada, at)] == ["email"]


class TestHttp:
    def test_a_message_in_the_gateways_own_shape(
        self, ada: Subscriber, gateway: Gateway, at: datetime
    ) -> None:
        agree(ada, at)
        sent = send_sms(ada, at, plan='Fiber "{to}" {reference} é')
        assert (sent.state, sent.gateway_id) == ("sent", "gw-1")
        ((headers, body),) = gateway.got
        assert headers["Authorization"] == "App key-1"
        assert body == {
            "messages": [
                {
                    "destinations": [{"to": "+18025550117"}],
                    "from": "Harbor",
                    "text": 'Harbor Broadband: your line Fiber "{to}" {reference} é is on again.',
                }
            ],
            "reference": sent.public_id,
            "notifyUrl": "http://127.0.0.1:8000/sms/reports?token=x",
            "flash": False,
        }

    @pytest.mark.parametrize(
        ("status", "state"),
        [(400, "parked"), (422, "parked"), (401, "pending"), (429, "pending"), (500, "pending"),
         (302, "pending")],
    )  # fmt: skip
    def test_what_the_gateway_says_decides(
        self, ada: Subscriber, gateway: Gateway, at: datetime, status: int, state: str
    ) -> None:
        gateway.status, gateway.answer = status, b'{"error": "bad number"}'
        agree(ada, at)
        tried = send_sms(ada, at)
        assert tried.state == state
        assert f"The gateway answered {status}" in tried.last_error
        assert "bad number" in tried.last_error
        assert delivery.deliver_next(channel="email", at=at), "mail goes on meanwhile"

    def test_a_gateway_that_is_away(
        self, ada: Subscriber, gateway: Gateway, settings: Settings, at: datetime
    ) -> None:
        settings.SMS_GATEWAY_URL = "http://127.0.0.1:9/"
        agree(ada, at)
        tried = send_sms(ada, at)
        assert (tried.state, tried.attempts) == ("pending", 1)
        assert "ChannelAway" in tried.last_error
        settings.SMS_GATEWAY_URL = gateway.url
        assert tried.next_attempt_at is not None
        assert delivery.deliver_next(channel="sms", at=tried.next_attempt_at)
        assert len(gateway.got) == 1

    @pytest.mark.parametrize("answer", [b"", b"OK", b"[]", b'{"messages": []}', b"x" * 500_000])
    def test_what_it_took_is_sent_whatever_it_answers(
        self, ada: Subscriber, gateway: Gateway, at: datetime, answer: bytes
    ) -> None:
        gateway.answer = answer
        agree(ada, at)
        sent = send_sms(ada, at)
        assert (sent.state, sent.gateway_id) == ("sent", "")

    def test_values_are_filled_in_once(self) -> None:
        places = {"{to}": "{text}", "{text}": "{to}"}
        assert http.filled(["{to}{text}", {"a": "{x}", "b": 1}], places) == [
            "{text}{to}",
            {"a": "{x}", "b": 1},
        ]


class TestReports:
    @pytest.fixture
    def sent(self, ada: Subscriber, gateway: Gateway, at: datetime) -> Notice:
        agree(ada, at)
        return send_sms(ada, at)

    def report(self, token: str = TOKEN, **said: Any) -> Any:
        return Client().post(
            "/sms/reports",
            json.dumps(said),
            content_type="application/json",
            headers={"Authorization": f"Bearer {token}"},
        )

    def test_a_message_that_arrived(self, sent: Notice) -> None:
        assert self.report(id="gw-1", status="DELIVERED").status_code == 204
        sent.refresh_from_db()
        assert (sent.report, sent.last_error) == ("delivered", "")
        assert sent.reported_at is not None

    def test_a_message_that_did_not_and_who_says_otherwise_later(self, sent: Notice) -> None:
        assert self.report(id=sent.public_id, status="undelivered").status_code == 204
        assert self.report(id=sent.public_id, status="undelivered").status_code == 204
        assert self.report(id="gw-1", status="delivered").status_code == 204
        sent.refresh_from_db()
        assert (sent.report, sent.last_error) == (
            "undelivered",
            "The gateway reported: undelivered",
        )

    def test_a_state_on_the_way_is_no_news(self, sent: Notice) -> None:
        assert self.report(id="gw-1", status="queued").status_code == 204
        sent.refresh_from_db()
        assert sent.report == ""

    def test_as_a_form_with_the_token_in_the_address(self, sent: Notice) -> None:
        asked = {"id": "gw-1", "status": "delivered"}
        assert Client().post(f"/sms/reports?token={TOKEN}", asked).status_code == 204
        sent.refresh_from_db()
        assert sent.report == "delivered"

    @pytest.mark.parametrize("token", ["", "wrong", TOKEN + "x", "\u00fc"])
    def test_who_does_not_know_the_token_changes_nothing(self, sent: Notice, token: str) -> None:
        refused = Client().post(
            "/sms/reports", {"id": "gw-1", "status": "delivered"}, query_params={"token": token}
        )
        assert refused.status_code == 401
        sent.refresh_from_db()
        assert sent.report == ""

    def test_nobody_may_report_where_no_token_is_set(
        self, sent: Notice, settings: Settings
    ) -> None:
        settings.SMS_REPORT_TOKEN = ""
        assert self.report(token="", id="gw-1", status="delivered").status_code == 401

    @pytest.mark.parametrize(
        ("body", "status"),
        [
            (b"", 400),
            (b"[1]", 400),
            (b"{", 400),
            (b"[" * 50_000, 400),
            (b'{"id": "gw-1"}', 400),
            (b'{"status": "delivered"}', 400),
            (b'{"id": "gw-1\\u0000", "status": "delivered\\u0000"}', 204),
            (b'{"id": "other", "status": "delivered"}', 404),
            (b'{"id": "\\ud800", "status": "delivered"}', 404),
            (b'{"id": {"a": 1}, "status": ["delivered"]}', 204),
            (b'"' + b"x" * 70_000 + b'"', 400),
        ],
    )
    def test_reports_that_say_nothing(self, sent: Notice, body: bytes, status: int) -> None:
        answer = Client().post(
            "/sms/reports",
            body,
            content_type="application/json",
            headers={"Authorization": f"Bearer {TOKEN}"},
        )
        assert answer.status_code == status
        assert Client().get("/sms/reports").status_code == 405

    def test_an_email_is_not_reported_on(self, sent: Notice, at: datetime) -> None:
        factories.send_notices(at=at)
        letter = Notice.objects.get(channel="email")
        assert letter.state == "sent"
        assert self.report(id=letter.public_id, status="delivered").status_code == 404


def test_files_where_there_is_no_gateway(
    ada: Subscriber, settings: Settings, tmp_path: Path, at: datetime
) -> None:
    settings.SMS_GATEWAY, settings.SMS_FILE_PATH = "files", tmp_path / "sms"
    agree(ada, at)
    sent = send_sms(ada, at)
    (path,) = (tmp_path / "sms").iterdir()
    said = json.loads(path.read_text())
    assert said["to"] == "+18025550117"
    assert said["text"] == sent.body
    assert sent.gateway_id == sent.public_id
