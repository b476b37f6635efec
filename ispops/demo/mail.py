"""The mail and the SMS that a demonstration sends, on a page: there is nobody to send them by."""

import email
import email.policy
import heapq
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from email.utils import parsedate_to_datetime
from pathlib import Path

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

NEWEST = 30
# Django's file backend writes this line after each message of a file; a text may hold one too.
_END = re.compile(rb"\n-{79}\n(?=Content-Type: |\Z)")


@dataclass(frozen=True, slots=True)
class Mail:
    """One message as its reader sees it; an SMS has no subject."""

    to: str
    sender: str
    subject: str
    text: str
    sent_at: datetime | None


@require_safe
@never_cache
def inbox(request: HttpRequest) -> HttpResponse:
    """Show the newest, or with `?to=` those to one address or number, which is matched whole."""
    to = request.GET.get("to", "").strip().lower()
    both = heapq.merge(
        newest(Path(settings.EMAIL_FILE_PATH)),
        newest_sms(Path(settings.SMS_FILE_PATH)),
        key=_sent_at,
        reverse=True,
    )
    mails = [mail for mail in both if to in {"", mail.to.lower()}]
    return render(request, "demo/mail.html", {"mails": mails[:NEWEST], "to": to})


def newest(folder: Path) -> Iterator[Mail]:
    """Yield the mails of a folder, the newest first, reading only as many files as are asked."""
    files = sorted(folder.glob("*.log"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    for path in files:
        yield from reversed(list(_read(path)))


def newest_sms(folder: Path) -> Iterator[Mail]:
    """Yield the messages of a folder, the newest first, as its gateway wrote them."""
    files = sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    for path in files:
        said = json.loads(path.read_text())
        yield Mail(
            to=said["to"],
            sender=settings.SMS_SENDER or settings.ISP_NAME,
            subject="",
            text=said["text"].strip(),
            sent_at=datetime.fromisoformat(said["sent_at"]),
        )


def _sent_at(mail: Mail) -> float:
    return mail.sent_at.timestamp() if mail.sent_at else 0.0


def _read(path: Path) -> Iterator[Mail]:
    for raw in _END.split(path.read_bytes()):
        if raw.strip():
            message = email.message_from_bytes(raw, policy=email.policy.default)
            if isinstance(message, EmailMessage):
                yield _mail(message)


def _mail(message: EmailMessage) -> Mail:
    body = message.get_body(preferencelist=("plain", "html"))
    try:
        sent_at = parsedate_to_datetime(str(message["Date"]))
    except ValueError:
        sent_at = None
    return Mail(
        to=str(message["To"] or ""),
        sender=str(message["From"] or ""),
        subject=str(message["Subject"] or ""),
        text=str(body.get_content()).strip() if body else "",
        sent_at=sent_at,
    )
