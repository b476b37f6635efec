"""What FreeRADIUS leaves for us: accounting messages as it wrote them, not read yet."""

from django.db import models
from django.db.models.functions import Now


def _said() -> models.TextField:
    """Text as FreeRADIUS wrote it, empty when the message did not say it."""
    return models.TextField(blank=True, default="", db_default="")


class AccountingInbox(models.Model):
    """One accounting message that FreeRADIUS has stored and acknowledged, and no worker has read.

    FreeRADIUS writes it by a role that may only insert here; all columns are text and none has a
    limit, so that no message is refused for what it says. In them, `=41` stands for a character
    that is not safe in SQL. A worker makes an `AccountingRecord` of the row and removes it; with a
    `fault` it stays until a person has looked at it.
    """

    # The name of the address server that FreeRADIUS is, and where the packet came from.
    server = _said()
    source = _said()
    received_at = models.DateTimeField(db_default=Now(), editable=False)
    status_type = _said()
    session_id = _said()
    session_class = _said()
    username = _said()
    nas_ip = _said()
    nas_ipv6 = _said()
    nas_identifier = _said()
    calling_station_id = _said()
    framed_ip = _said()
    session_seconds = _said()
    input_octets = _said()
    output_octets = _said()
    input_gigawords = _said()
    output_gigawords = _said()
    terminate_cause = _said()
    delay_seconds = _said()
    # Seconds since 1970, as FreeRADIUS counts.
    event_timestamp = _said()
    original_timestamp = _said()
    # Why it could not be read; the only column that changes.
    fault = _said()

    class Meta:
        verbose_name = "unread accounting message"
        indexes = [
            models.Index(fields=["-id"], condition=~models.Q(fault=""), name="inbox_unreadable")
        ]

    def __str__(self) -> str:
        return f"{self.status_type or 'Message'} {self.session_id}".strip()
