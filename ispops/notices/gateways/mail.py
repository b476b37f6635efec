"""E-mail, by whatever Django is set to send it with."""

from smtplib import SMTPDataError, SMTPRecipientsRefused

from django.conf import settings
from django.core.mail import EmailMultiAlternatives

from ispops.errors import PermanentFault, TransientFault
from ispops.notices import wording
from ispops.notices.gateways.base import ChannelAway, Message


class MailGateway:
    """Writes a letter as plain text with an HTML part that says the same."""

    def send(self, message: Message) -> str:
        """See `Gateway`. The Message-ID is the same at every attempt (RFC 5322, 3.6.4)."""
        domain = settings.DEFAULT_FROM_EMAIL.rpartition("@")[2].rstrip(">")
        letter = EmailMultiAlternatives(
            subject=message.subject,
            body=message.body,
            to=[message.address],
            headers={
                "Message-ID": f"<{message.reference}@{domain}>",
                # Programs that answer by themselves leave it alone (RFC 3834).
                "Auto-Submitted": "auto-generated",
            },
        )
        letter.attach_alternative(wording.html_of(message.body, message.links), "text/html")
        try:
            letter.send()
        except SMTPRecipientsRefused as refused:
            codes = [code for code, _ in refused.recipients.values()]
            raise _by_code(min(codes, default=400), str(refused)) from refused
        except SMTPDataError as refused:
            raise _by_code(refused.smtp_code, str(refused)) from refused
        except OSError as away:
            raise ChannelAway(f"{type(away).__name__}: {away}") from away
        return ""


def _by_code(code: int, said: str) -> Exception:
    """A reply of 5xx is about this letter for good, one of 4xx for now (RFC 5321, 4.2.1)."""
    return PermanentFault(said) if code >= 500 else TransientFault(said)
