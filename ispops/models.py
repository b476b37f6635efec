"""Rows that belong to no one department: events, repeated writes, the workers' pulse."""

from django.db import models
from django.db.models import Q

from ispops.jobs import LeasedRow


class Event(models.Model):
    """Something that happened in the business, kept for ever, in the order of its writing."""

    kind = models.CharField(max_length=80)
    subject = models.CharField(max_length=80)
    payload = models.JSONField(default=dict)
    occurred_at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["subject", "id"], name="event_by_subject")]

    def __str__(self) -> str:
        return f"{self.kind} {self.subject}"


class EventDelivery(LeasedRow):
    """One event on its way to one handler; parked when it has no next attempt and no delivery."""

    event = models.ForeignKey(Event, on_delete=models.PROTECT, related_name="deliveries")
    handler = models.CharField(max_length=80)
    delivered_at = models.DateTimeField(null=True, blank=True)
    last_error = models.TextField(default="", blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["event", "handler"], name="event_handled_once")
        ]
        indexes = [
            models.Index(
                fields=["next_attempt_at", "id"],
                condition=Q(delivered_at__isnull=True),
                name="event_delivery_due",
            )
        ]

    def __str__(self) -> str:
        return f"{self.event_id} to {self.handler}"


class IdempotentAnswer(models.Model):
    """The first answer to a write that carried an Idempotency-Key, given again to every repeat."""

    caller = models.CharField(max_length=80)
    key = models.CharField(max_length=200)
    fingerprint = models.CharField(max_length=64)
    status = models.PositiveSmallIntegerField(null=True)
    # JSON as text, because jsonb would not keep the order of the members.
    body = models.TextField(default="")
    # Location and ETag, which belong to the answer as much as its body.
    headers = models.JSONField(default=dict)
    created_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["caller", "key"], name="one_answer_per_key")]

    def __str__(self) -> str:
        return f"{self.caller} {self.key}"


class WorkerHeartbeat(models.Model):
    """When a worker was last seen alive, for `/readyz`."""

    name = models.CharField(max_length=80, unique=True)
    beat_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.name} at {self.beat_at:%H:%M:%S}"
