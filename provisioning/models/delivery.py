"""Network providers that take orders by an API of their own, and what was said to and by them."""

import hashlib
from typing import ClassVar

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models import Q

from ispops.db import EncryptedTextField
from ispops.jobs import LeasedRow
from ispops.parties.models import Partner
from provisioning.models.services import ServiceOrder


class DeliveryConnection(models.Model):
    """How one network provider takes our orders: where, how fast, and whether it is answering.

    Its circuit breaker is here, in the row that all workers share; see `ispops.breaker`.
    A partner without one is told by webhook and answers through our API.
    """

    partner = models.OneToOneField(
        Partner, on_delete=models.PROTECT, related_name="delivery_connection"
    )
    base_url = models.URLField()
    token = EncryptedTextField(blank=True, default="")
    # Of the token by which the provider calls us; empty where it calls nobody and is looked at.
    callback_digest = models.CharField(max_length=64, blank=True, default="")
    # How many calls it gets at the same time.
    at_once = models.PositiveSmallIntegerField(default=2)
    timeout_seconds = models.DecimalField(max_digits=5, decimal_places=2, default=10)
    # How often an order is looked at of which nothing was heard.
    look_every_seconds = models.PositiveIntegerField(default=900)
    breaker_threshold = models.PositiveSmallIntegerField(default=5)
    breaker_pause_seconds = models.PositiveIntegerField(default=60)
    failures = models.PositiveIntegerField(default=0)
    open_until = models.DateTimeField(null=True, blank=True)
    last_error = models.CharField(max_length=300, blank=True, default="")
    active = models.BooleanField(default=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(timeout_seconds__gt=0, breaker_threshold__gt=0, at_once__gt=0)
                & Q(look_every_seconds__gt=0),
                name="delivery_limits_positive",
            ),
            models.UniqueConstraint(
                fields=["callback_digest"],
                condition=~Q(callback_digest=""),
                name="callback_token_of_one_partner",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.partner} (TMF641)"

    @staticmethod
    def digest_of(token: str) -> str:
        """Return what is kept of a token that is as random as a key."""
        return hashlib.sha256(token.encode()).hexdigest()


class Delivery(LeasedRow):
    """One of our orders at a provider that has an API: what we want there, and how far it is.

    The row is the queue: a worker places the order, looks after it, or takes it back.
    """

    class State(models.TextChoices):
        TO_PLACE = "to_place", "To be placed"
        PLACED = "placed", "At the provider"
        TO_CANCEL = "to_cancel", "To be taken back"
        CANCELLING = "cancelling", "Being taken back"
        CLOSED = "closed", "Closed"
        PARKED = "parked", "Needs a person"

    OPEN: ClassVar[tuple[str, ...]] = ("to_place", "placed", "to_cancel", "cancelling")

    service_order = models.OneToOneField(
        ServiceOrder, on_delete=models.PROTECT, related_name="delivery"
    )
    connection = models.ForeignKey(
        DeliveryConnection, on_delete=models.PROTECT, related_name="deliveries"
    )
    state = models.CharField(max_length=10, choices=State, default=State.TO_PLACE)
    # The provider's own id of our order and of the line, and the last state that it told.
    reference = models.CharField(max_length=200, blank=True, default="")
    service_reference = models.CharField(max_length=200, blank=True, default="")
    provider_state = models.CharField(max_length=40, blank=True, default="")
    # When the provider says that the last thing of its order happened.
    told_at = models.DateTimeField(null=True, blank=True)
    # Until when it is tried to take the order back.
    cancel_by = models.DateTimeField(null=True, blank=True)
    last_error = models.CharField(max_length=300, blank=True, default="")

    class Meta:
        verbose_name_plural = "deliveries"
        constraints = [
            models.CheckConstraint(
                condition=Q(
                    state__in=["to_place", "placed", "to_cancel", "cancelling"],
                    next_attempt_at__isnull=False,
                )
                | Q(state__in=["closed", "parked"], next_attempt_at__isnull=True),
                name="only_an_open_delivery_is_due",
            ),
            models.CheckConstraint(
                condition=~Q(state__in=["placed", "cancelling"]) | ~Q(reference=""),
                name="placed_delivery_has_its_reference",
            ),
            models.CheckConstraint(
                condition=~Q(state__in=["to_cancel", "cancelling"]) | Q(cancel_by__isnull=False),
                name="cancelling_delivery_ends",
            ),
            models.UniqueConstraint(
                fields=["connection", "reference"],
                condition=~Q(reference=""),
                name="provider_reference_once",
            ),
        ]
        indexes = [
            models.Index(
                fields=["next_attempt_at"],
                condition=Q(next_attempt_at__isnull=False),
                name="delivery_due",
            )
        ]

    def __str__(self) -> str:
        return f"{self.service_order_id} at {self.connection}"


class DeliveryAttempt(models.Model):
    """One visit to a provider for one of our orders: its calls, and what came of it."""

    class Outcome(models.TextChoices):
        TOLD = "told", "Answered"
        REFUSED = "refused", "Refused"
        FAILED = "failed", "No usable answer"
        LOST = "lost", "The worker did not come back"
        LATE = "late", "Came back too late"

    delivery = models.ForeignKey(Delivery, on_delete=models.CASCADE, related_name="tries")
    number = models.PositiveIntegerField()
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    # Empty while it runs.
    outcome = models.CharField(max_length=8, choices=Outcome, blank=True, default="")
    detail = models.CharField(max_length=300, blank=True, default="")
    # Each call as {"call", "sent", "status", "answer"}, secrets masked.
    calls = models.JSONField(default=list, encoder=DjangoJSONEncoder)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["delivery", "number"], name="delivery_attempt_once")
        ]

    def __str__(self) -> str:
        return f"attempt {self.number}"


class DeliveryNotice(models.Model):
    """What a provider told us of our order without being asked, each of its events once."""

    class Outcome(models.TextChoices):
        TAKEN = "taken", "Taken"
        IGNORED = "ignored", "Older than what is known"
        REFUSED = "refused", "Too late"

    connection = models.ForeignKey(
        DeliveryConnection, on_delete=models.PROTECT, related_name="notices"
    )
    delivery = models.ForeignKey(Delivery, on_delete=models.CASCADE, related_name="notices")
    event_id = models.CharField(max_length=200)
    kind = models.CharField(max_length=80)
    # When it happened, by the provider's clock.
    happened_at = models.DateTimeField(null=True, blank=True)
    received_at = models.DateTimeField()
    outcome = models.CharField(max_length=8, choices=Outcome)
    detail = models.CharField(max_length=300, blank=True, default="")
    body = models.JSONField(encoder=DjangoJSONEncoder)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["connection", "event_id"], name="provider_event_once")
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.event_id}"
