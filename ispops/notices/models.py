"""What we write to subscribers: the operator's wording, each letter, and who agreed to SMS."""

from typing import ClassVar

from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models import Q
from django.utils.text import Truncator

from ispops.db import EncryptedTextField, PublicIdModel
from ispops.jobs import LeasedRow
from ispops.notices.wording import conceal
from ispops.parties.models import Subscriber


class Channel(models.TextChoices):
    EMAIL = "email", "E-mail"
    SMS = "sms", "SMS"


class NoticeTemplate(models.Model):
    """The operator's own words for one kind of notice by one channel: one row for each edit.

    The highest version holds; one that `is_default` has no words and means those of the product.
    PostgreSQL refuses to change or delete a version.
    """

    kind = models.CharField(max_length=40)
    channel = models.CharField(max_length=5, choices=Channel)
    version = models.PositiveIntegerField()
    is_default = models.BooleanField(default=False)
    subject = models.CharField(max_length=200, blank=True, default="")
    body = models.TextField(blank=True, default="")
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "channel", "version"], name="notice_template_version_once"
            ),
            models.CheckConstraint(
                condition=Q(is_default=True, subject="", body="")
                | Q(is_default=False) & ~Q(body=""),
                name="notice_template_has_words",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} by {self.channel}, version {self.version}"


class Notice(PublicIdModel, LeasedRow):
    """One letter or SMS to somebody, as it was written when its cause happened.

    There is one for each kind, cause, recipient and channel, so that a cause that is told of twice
    writes once. The words stay as they are (a trigger); a secret in them is kept apart, encrypted,
    until the message is sent.
    """

    PREFIX: ClassVar[str] = "ntc"

    class State(models.TextChoices):
        PENDING = "pending", "Waiting to be sent"
        SENT = "sent", "Sent"
        PARKED = "parked", "Needs a person"

    class Report(models.TextChoices):
        NONE = "", "Nothing reported"
        DELIVERED = "delivered", "Delivered"
        UNDELIVERED = "undelivered", "Not delivered"

    kind = models.CharField(max_length=40)
    # What it tells of: "ord_0190..." or "event:4711".
    cause = models.CharField(max_length=120)
    channel = models.CharField(max_length=5, choices=Channel)
    # The public id of the subscriber; of a member of staff, the login: "user_7".
    recipient = models.CharField(max_length=60)
    subscriber = models.ForeignKey(
        Subscriber, on_delete=models.PROTECT, null=True, blank=True, related_name="notices"
    )
    # The words it was made of; None is those of the product.
    template = models.ForeignKey(
        NoticeTemplate, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    address = models.CharField(max_length=254)
    subject = models.CharField(max_length=200, blank=True, default="")
    body = models.TextField()
    # What in the body leads somewhere, for the HTML part of a letter.
    links = models.JSONField(default=list, encoder=DjangoJSONEncoder)
    secrets = EncryptedTextField(blank=True, default="")
    state = models.CharField(max_length=8, choices=State, default=State.PENDING)
    created_at = models.DateTimeField()
    sent_at = models.DateTimeField(null=True, blank=True)
    last_error = models.CharField(max_length=500, blank=True, default="")
    # What the SMS gateway calls it, and what became of it there.
    gateway_id = models.CharField(max_length=200, blank=True, default="")
    report = models.CharField(max_length=11, choices=Report, blank=True, default="")
    reported_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        permissions = [("retry_notice", "Can send a parked notice again")]
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "cause", "recipient", "channel"], name="notice_once_a_cause"
            ),
            models.CheckConstraint(
                condition=Q(state="pending", next_attempt_at__isnull=False, sent_at__isnull=True)
                | Q(state="sent", next_attempt_at__isnull=True, sent_at__isnull=False, secrets="")
                | Q(state="parked", next_attempt_at__isnull=True, sent_at__isnull=True),
                name="only_a_waiting_notice_is_due",
            ),
            models.CheckConstraint(
                condition=Q(report="", reported_at__isnull=True)
                | ~Q(report="") & Q(reported_at__isnull=False, state="sent"),
                name="only_a_sent_notice_is_reported_on",
            ),
        ]
        indexes = [
            models.Index(
                fields=["channel", "next_attempt_at"],
                condition=Q(state="pending"),
                name="notice_due",
            ),
            models.Index(
                fields=["channel", "leased_until"],
                condition=Q(state="pending", leased_until__isnull=False),
                name="notice_leased",
            ),
            models.Index(fields=["subscriber", "-created_at"], name="notice_by_subscriber"),
            models.Index(
                fields=["address", "created_at"],
                condition=Q(kind="number_code"),
                name="notice_code_to_number",
            ),
            models.Index(fields=["gateway_id"], condition=~Q(gateway_id=""), name="notice_gateway"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} to {self.address}"

    @property
    def opening(self) -> str:
        """The first words, for what has no subject."""
        return Truncator(" ".join(conceal(self.body).split())).chars(100)


class ContactChoice(models.Model):
    """By what else than e-mail a subscriber agreed to be written to; no number is no SMS.

    A number is written to when somebody has entered the code that was sent to it, so that nobody
    has a stranger's telephone ring. Of the code there is a digest.
    """

    subscriber = models.OneToOneField(
        Subscriber, on_delete=models.PROTECT, primary_key=True, related_name="contact_choice"
    )
    sms_number = models.CharField(max_length=16, blank=True, default="")
    changed_at = models.DateTimeField()
    confirmed_at = models.DateTimeField(null=True, blank=True)
    code_digest = models.CharField(max_length=64, blank=True, default="")
    code_sent_at = models.DateTimeField(null=True, blank=True)
    code_tries = models.PositiveSmallIntegerField(default=0)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(confirmed_at__isnull=True) | ~Q(sms_number="") & Q(code_digest=""),
                name="confirmed_number_has_no_code",
            ),
            models.CheckConstraint(
                condition=Q(sms_number="") | Q(sms_number__regex=r"^\+[1-9][0-9]{6,14}$"),
                name="sms_number_is_e164",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.subscriber_id}: {self.sms_number or 'no SMS'}"


class NoticeChannel(models.Model):
    """The way out for one channel, which rests after the far end was away."""

    channel = models.CharField(max_length=5, choices=Channel, unique=True)
    failures = models.PositiveIntegerField(default=0)
    rests_until = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return self.channel
