"""The demonstration's mail on a page: readable, newest first, harmless, and only there."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from django.core.mail import EmailMessage, EmailMultiAlternatives, get_connection
from django.test import Client, RequestFactory
from django.urls import NoReverseMatch, reverse
from pytest_django import Settings

from ispops.demo import mail
from ispops.notices.gateways.base import Message
from ispops.notices.gateways.files import FileGateway

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def folder(settings: Settings, tmp_path: Path) -> Path:
    settings.EMAIL_FILE_PATH = tmp_path
    settings.EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
    return tmp_path


def send(to: str = "ada@example.com", subject: str = "Your code", body: str = "1234") -> None:
    connection = get_connection("django.core.mail.backends.filebased.EmailBackend")
    EmailMessage(subject, body, "isp@isp.example", [to], connection=connection).send()


def page(**query: str) -> str:
    request = RequestFactory().get("/mail/", query)
    request.user = None  # type: ignore[assignment]
    response = mail.inbox(request)
    assert response.status_code == 200
    return response.content.decode()


def test_mail_is_read_as_it_was_written(folder: Path) -> None:
    send(body="Grüße ☂\n\nhttps://isp.example/confirm/" + "x" * 200)
    [found] = mail.newest(folder)
    assert (found.to, found.sender) == ("ada@example.com", "isp@isp.example")
    assert found.subject == "Your code"
    assert found.text == "Grüße ☂\n\nhttps://isp.example/confirm/" + "x" * 200
    assert found.sent_at is not None


def test_the_newest_is_first(folder: Path) -> None:
    for number in range(3):
        before = set(folder.glob("*.log"))
        send(subject=f"Mail {number}")
        # The clock of a file system ticks more slowly than this program runs.
        for path in set(folder.glob("*.log")) - before:
            os.utime(path, (number, number))
    assert [found.subject for found in mail.newest(folder)] == ["Mail 2", "Mail 1", "Mail 0"]


def test_several_mails_of_one_connection_are_apart(folder: Path) -> None:
    with get_connection("django.core.mail.backends.filebased.EmailBackend") as connection:
        for number in range(3):
            EmailMessage(
                f"Mail {number}", "text\n" + "-" * 79, "a@b.example", ["c@d.example"],
                connection=connection,
            ).send()  # fmt: skip
    assert [found.subject for found in mail.newest(folder)] == ["Mail 2", "Mail 1", "Mail 0"]


def test_html_mail_is_shown_by_its_text(folder: Path) -> None:
    connection = get_connection("django.core.mail.backends.filebased.EmailBackend")
    message = EmailMultiAlternatives("s", "plain", to=["a@b.example"], connection=connection)
    message.attach_alternative("<b>html</b>", "text/html")
    message.send()
    [found] = mail.newest(folder)
    assert found.text == "plain"


def test_the_page_has_links_and_no_script_of_a_stranger() -> None:
    send(subject="<script>alert(1)</script>", body="See https://isp.example/a?b=1&c=2 <img src=x>")
    shown = page()
    assert '<a href="https://isp.example/a?b=1&amp;c=2"' in shown
    assert "<script>alert" not in shown
    assert "<img src=x>" not in shown


def test_only_one_address_can_be_shown() -> None:
    send(to="ada@example.com", subject="For Ada")
    send(to="bob@example.com", subject="For Bob")
    shown = page(to="ADA@example.com")
    assert "For Ada" in shown
    assert "For Bob" not in shown


def test_no_mail_and_no_folder_say_what_to_do(settings: Settings, tmp_path: Path) -> None:
    settings.EMAIL_FILE_PATH = tmp_path / "not yet"
    assert "No mail yet" in page()


def test_outside_a_demonstration_there_is_no_such_page(client: Client) -> None:
    with pytest.raises(NoReverseMatch):
        reverse("demo_mail")
    assert client.get("/mail/").status_code == 404


def test_a_code_can_be_read_off_the_page() -> None:
    send(body="Your code is\n\nAB12-CD34\n\nIt is good for 15 minutes.")
    assert re.search(r"\b[A-Z0-9]{4}-[A-Z0-9]{4}\b", page())


def test_messages_stand_among_the_mails(settings: Settings, tmp_path: Path) -> None:
    settings.SMS_FILE_PATH, settings.SMS_SENDER = tmp_path / "sms", ""
    send(subject="A mail")
    FileGateway().send(Message("ntc_1", "+18025550117", "", "It is <b>on</b> again.\n"))
    html = page()
    assert "A mail" in html
    assert "It is &lt;b&gt;on&lt;/b&gt; again." in html
    only = page(to="+18025550117")
    assert "<h2>SMS</h2>" in only
    assert "A mail" not in only
