"""The mail that a demonstration sends, on a page: there is no mail server to send it by."""

import email
import email.policy
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
    """One message as its reader sees it."""

    to: str
    sender: str
    subject: str
    text: str
    sent_at: datetime | None


@require_safe
@never_cache
def inbox(request: HttpRequest) -> HttpResponse:
    """Show the newest mails, or with `?to=` those to one address; an address is matched whole."""
    to = request.GET.get("to", "").strip().lower()
    mails = [mail for mail in newest(Path(settings.EMAIL_FILE_PATH)) if to in {"", mail.to.lower()}]
    return render(request, "demo/mail.html", {"mails": mails[:NEWEST], "to": to})


def newest(folder: Path) -> Iterator[Mail]:
    """Yield the mails of a folder, the newest first, reading only as many files as are asked."""
    files = sorted(folder.glob("*.log"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    for path in files:
        yield from reversed(list(_read(path)))


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
