"""Off-net network providers that are asked whether they deliver at a place."""

from django.db import models
from django.db.models import Q

from ispops.db import EncryptedTextField, PublicIdModel
from ispops.jobs import LeasedRow
from ispops.parties.models import Partner
from qualification.models.answers import ServiceQualification
from qualification.models.places import Premises


class ProviderConnection(models.Model):
    """How one network provider is asked: its adapter, its limits, and whether it is answering.

    The circuit breaker is here, in the row that all workers share: after `failures` in a row
    reach `breaker_threshold`, the provider is left alone until `open_until`, and then asked one
    question to see whether it is back; see `ispops.breaker`.
    """

    class Adapter(models.TextChoices):
        TMF645 = "tmf645", "REST, TM Forum TMF645"
        FILES = "files", "Files, exchanged through a folder"

    partner = models.OneToOneField(
        Partner, on_delete=models.PROTECT, related_name="qualification_connection"
    )
    adapter = models.CharField(max_length=8, choices=Adapter)
    # Where its API is; unused by the file exchange.
    base_url = models.URLField(blank=True, default="")
    token = EncryptedTextField(blank=True, default="")
    # The folder of the file exchange, below the one that settings allow.
    folder = models.CharField(max_length=100, blank=True, default="")
    # Asked about every place, and not only where its coverage lists say that it may reach.
    asked_everywhere = models.BooleanField(default=False)
    # How many questions it is asked at the same time.
    at_once = models.PositiveSmallIntegerField(default=2)
    timeout_seconds = models.DecimalField(max_digits=5, decimal_places=2, default=5)
    # How long an answer is taken for the place without asking again.
    answer_valid_seconds = models.PositiveIntegerField(default=86_400)
    # How long after the question it is given up on.
    give_up_after_seconds = models.PositiveIntegerField(default=300)
    breaker_threshold = models.PositiveSmallIntegerField(default=5)
    breaker_pause_seconds = models.PositiveIntegerField(default=60)
    failures = models.PositiveIntegerField(default=0)
    open_until = models.DateTimeField(null=True, blank=True)
    last_error = models.CharField(max_length=300, blank=True, default="")
    active = models.BooleanField(default=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(adapter="tmf645") & ~Q(base_url="")
                | Q(adapter="files") & ~Q(folder=""),
                name="connection_names_its_address",
            ),
            models.CheckConstraint(
                condition=Q(timeout_seconds__gt=0, breaker_threshold__gt=0, at_once__gt=0),
                name="connection_limits_positive",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.partner} ({self.get_adapter_display()})"


class ProviderAnswer(models.Model):
    """What a provider said of a place: kept, and taken again until it expires."""

    connection = models.ForeignKey(
        ProviderConnection, on_delete=models.PROTECT, related_name="answers"
    )
    premises = models.ForeignKey(Premises, on_delete=models.PROTECT, related_name="+")
    serviceable = models.BooleanField()
    # The lines it can deliver, as plain JSON of `eligibility.Line`'s fields; and its own reference.
    lines = models.JSONField(default=list)
    reference = models.CharField(max_length=100, blank=True, default="")
    reason = models.CharField(max_length=300, blank=True, default="")
    received_at = models.DateTimeField()
    expires_at = models.DateTimeField()

    class Meta:
        indexes = [
            models.Index(
                fields=["connection", "premises", "-expires_at"], name="provider_answer_latest"
            )
        ]

    def __str__(self) -> str:
        return f"{self.connection}: {'yes' if self.serviceable else 'no'}"


class ProviderInquiry(PublicIdModel, LeasedRow):
    """One question to one provider for one qualification, until it is answered or given up on."""

    PREFIX = "inq"

    class State(models.TextChoices):
        PENDING = "pending", "Waiting for the provider"
        ANSWERED = "answered", "Answered"
        GIVEN_UP = "given_up", "No usable answer"

    qualification = models.ForeignKey(
        ServiceQualification, on_delete=models.PROTECT, related_name="inquiries"
    )
    connection = models.ForeignKey(
        ProviderConnection, on_delete=models.PROTECT, related_name="inquiries"
    )
    state = models.CharField(max_length=8, choices=State, default=State.PENDING)
    answer = models.ForeignKey(
        ProviderAnswer, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    # The provider's own number of our question, where it answers later.
    reference = models.CharField(max_length=200, blank=True, default="")
    last_error = models.CharField(max_length=300, blank=True, default="")
    asked_at = models.DateTimeField()
    give_up_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "provider inquiries"
        constraints = [
            models.UniqueConstraint(
                fields=["qualification", "connection"], name="provider_asked_once"
            ),
            models.CheckConstraint(
                condition=Q(state="pending", closed_at__isnull=True, next_attempt_at__isnull=False)
                | ~Q(state="pending") & Q(closed_at__isnull=False, next_attempt_at__isnull=True),
                name="only_an_open_inquiry_is_due",
            ),
            models.CheckConstraint(
                condition=~Q(state="answered") | Q(answer__isnull=False),
                name="answered_inquiry_has_its_answer",
            ),
        ]
        indexes = [
            models.Index(
                fields=["next_attempt_at"], condition=Q(state="pending"), name="inquiry_due"
            )
        ]

    def __str__(self) -> str:
        return f"{self.connection} for {self.qualification_id}"


class InquiryAttempt(models.Model):
    """One call for an inquiry, or one look after it: when, how long, and what came of it."""

    class Outcome(models.TextChoices):
        ANSWERED = "answered", "Answered"
        WAITING = "waiting", "Taken in, not answered yet"
        FAILED = "failed", "No usable answer"
        LOST = "lost", "The worker did not come back"

    inquiry = models.ForeignKey(ProviderInquiry, on_delete=models.CASCADE, related_name="tries")
    number = models.PositiveIntegerField()
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    # Empty while it runs.
    outcome = models.CharField(max_length=8, choices=Outcome, blank=True, default="")
    detail = models.CharField(max_length=300, blank=True, default="")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["inquiry", "number"], name="inquiry_attempt_once")
        ]

    def __str__(self) -> str:
        return f"attempt {self.number}"
