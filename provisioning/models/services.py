"""What subscribers have, since when, and what partners were asked to deliver for it."""

from django.db import models
from django.db.models import F, Q

from ispops.catalog.models import ProductOffering
from ispops.db import PublicIdModel
from ispops.parties.models import Partner, Subscriber
from qualification.models import Premises


class Service(PublicIdModel):
    """What a subscriber has: an access line, or a partner's product that a line carries.

    TM Forum: Service (TMF638).
    """

    PREFIX = "svc"

    class State(models.TextChoices):
        RESERVED = "reserved", "Being set up"
        ACTIVE = "active", "Active"
        SUSPENDED = "suspended", "Suspended"
        CEASED = "ceased", "Ceased"

    subscriber = models.ForeignKey(Subscriber, on_delete=models.PROTECT, related_name="services")
    offering = models.ForeignKey(ProductOffering, on_delete=models.PROTECT, related_name="+")
    # The aggregated plan it was sold in, and the line that carries it.
    bundle = models.ForeignKey(
        ProductOffering, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    line = models.ForeignKey(
        "self", on_delete=models.PROTECT, null=True, blank=True, related_name="carried"
    )
    premises = models.ForeignKey(Premises, on_delete=models.PROTECT, related_name="services")
    state = models.CharField(max_length=10, choices=State, default=State.RESERVED)
    created_at = models.DateTimeField()
    # When an add-on that was wanted for a time ends by itself; None is when somebody ends it.
    ends_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(ends_at__isnull=True) | Q(line__isnull=False),
                name="only_what_a_line_carries_ends_by_itself",
            )
        ]
        indexes = [
            models.Index(
                fields=["ends_at"],
                condition=Q(ends_at__isnull=False, state__in=["active", "suspended"]),
                name="service_ends_by_itself",
            )
        ]

    def __str__(self) -> str:
        return f"{self.offering} ({self.get_state_display()})"


class ServicePeriod(models.Model):
    """A span during which a service was in one state: the fact that charging reads.

    Only `active` and `suspended` spans are kept. Spans of one service never overlap (a GiST
    exclusion in the migration), and at most one is open.
    """

    service = models.ForeignKey(Service, on_delete=models.PROTECT, related_name="periods")
    offering = models.ForeignKey(ProductOffering, on_delete=models.PROTECT, related_name="+")
    # The aggregated plan that it was part of then.
    bundle = models.ForeignKey(
        ProductOffering, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    state = models.CharField(max_length=10, choices=Service.State)
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(ended_at__isnull=True) | Q(ended_at__gt=F("started_at")),
                name="service_period_ends_after_it_starts",
            ),
            models.CheckConstraint(
                condition=Q(state__in=["active", "suspended"]), name="service_period_state"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.service_id} {self.state} from {self.started_at:%Y-%m-%d}"


class ServiceSuspension(models.Model):
    """One reason for which a line is suspended, from when to when.

    A line is suspended while one of them is open, so that a payment does not lift what was done
    for abuse. At most one is open for each reason.
    """

    class Reason(models.TextChoices):
        REQUESTED = "requested", "Asked for by the subscriber"
        NON_PAYMENT = "non_payment", "Bills are not paid"
        ABUSE = "abuse", "Abuse"

    class Treatment(models.TextChoices):
        BLOCK = "block", "Not let in"
        WALLED_GARDEN = "walled_garden", "Sees only the page that says why"

    service = models.ForeignKey(Service, on_delete=models.PROTECT, related_name="suspensions")
    reason = models.CharField(max_length=12, choices=Reason)
    treatment = models.CharField(max_length=14, choices=Treatment)
    # For the subscriber's eyes: what to do.
    note = models.CharField(max_length=300, blank=True, default="")
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["service", "reason"],
                condition=Q(ended_at__isnull=True),
                name="one_open_suspension_a_reason",
            ),
            models.CheckConstraint(
                condition=Q(ended_at__isnull=True) | Q(ended_at__gte=F("started_at")),
                name="suspension_ends_after_it_starts",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.service_id} for {self.reason}"


class Slowdown(models.Model):
    """A span in which a line is held to a speed below its plan's, because a lot was used.

    Who may slow it and by what rule is for later stages to know. It ends by itself at
    `holds_until`, the end of the billing period. At most one is open for a line.
    """

    class EndedFor(models.TextChoices):
        PERIOD = "period", "The billing period ended"
        ROOM = "room", "There is room again"
        PLAN = "plan", "The plan has another rule"
        STAFF = "staff", "Lifted by hand"
        LINE = "line", "The line ended"

    service = models.ForeignKey(Service, on_delete=models.PROTECT, related_name="slowdowns")
    download_kbps = models.PositiveBigIntegerField()
    upload_kbps = models.PositiveBigIntegerField()
    started_at = models.DateTimeField()
    holds_until = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    ended_for = models.CharField(max_length=6, choices=EndedFor, blank=True, default="")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["service"],
                condition=Q(ended_at__isnull=True),
                name="one_open_slowdown_a_line",
            ),
            models.CheckConstraint(
                condition=Q(download_kbps__gt=0, upload_kbps__gt=0), name="slow_is_not_blocked"
            ),
            models.CheckConstraint(
                condition=Q(holds_until__gt=F("started_at"))
                & (Q(ended_at__isnull=True) | Q(ended_at__gte=F("started_at"))),
                name="slowdown_ends_after_it_starts",
            ),
            models.CheckConstraint(
                condition=Q(ended_at__isnull=True, ended_for="")
                | Q(ended_at__isnull=False) & ~Q(ended_for=""),
                name="ended_slowdown_says_what_for",
            ),
        ]
        indexes = [
            models.Index(
                fields=["holds_until"], condition=Q(ended_at__isnull=True), name="slowdown_ends"
            ),
            models.Index(fields=["service", "-started_at"], name="slowdown_of_line"),
        ]

    def __str__(self) -> str:
        return f"{self.service_id} to {self.download_kbps}/{self.upload_kbps} kbit/s"


class PartnerSubscriber(models.Model):
    """The name by which one partner knows one subscriber, so that partners cannot compare."""

    partner = models.ForeignKey(Partner, on_delete=models.PROTECT, related_name="+")
    subscriber = models.ForeignKey(Subscriber, on_delete=models.PROTECT, related_name="+")
    reference = models.CharField(max_length=40, unique=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["partner", "subscriber"], name="one_reference_a_partner"
            )
        ]

    def __str__(self) -> str:
        return self.reference


class ServiceOrder(PublicIdModel):
    """What a partner is asked to deliver: a network provider's line, or a BSP's entitlement.

    The partner hears of it by webhook and answers through the API, or has an API of its own (see
    `Delivery`); it knows the subscriber only by `subscriber_ref`, which is different for each
    partner. TM Forum: ServiceOrder (TMF641).
    """

    PREFIX = "sor"

    class Kind(models.TextChoices):
        LINE = "line", "Access line"
        ENTITLEMENT = "entitlement", "Entitlement"

    class Action(models.TextChoices):
        ADD = "add", "Deliver"
        MODIFY = "modify", "Change"
        DELETE = "delete", "End"

    class State(models.TextChoices):
        ACKNOWLEDGED = "acknowledged", "Sent to the partner"
        COMPLETED = "completed", "Confirmed"
        FAILED = "failed", "Refused by the partner"
        TIMED_OUT = "timed_out", "No answer in time"
        CANCELLED = "cancelled", "Cancelled"

    class Progress(models.TextChoices):
        """How far the partner says that it is with an order that it has not closed."""

        UNKNOWN = "", "Nothing said yet"
        IN_PROGRESS = "in_progress", "Works on it"
        HELD = "held", "Paused it"

    partner = models.ForeignKey(Partner, on_delete=models.PROTECT, related_name="service_orders")
    kind = models.CharField(max_length=12, choices=Kind)
    action = models.CharField(max_length=6, choices=Action, default=Action.ADD)
    service = models.ForeignKey(Service, on_delete=models.PROTECT, related_name="service_orders")
    offering = models.ForeignKey(ProductOffering, on_delete=models.PROTECT, related_name="+")
    subscriber_ref = models.CharField(max_length=40)
    # What it was asked for, unique so that it is once: "task:12:1" for the first time that an
    # order's task asked, or a purchase's public id.
    cause = models.CharField(max_length=60, unique=True)
    state = models.CharField(max_length=12, choices=State, default=State.ACKNOWLEDGED)
    requested_at = models.DateTimeField()
    answer_by = models.DateTimeField()
    answered_at = models.DateTimeField(null=True, blank=True)
    partner_reference = models.CharField(max_length=100, blank=True, default="")
    reason = models.CharField(max_length=300, blank=True, default="")
    # What the partner said meanwhile: how far it is, in its own words, and by when it delivers.
    progress = models.CharField(max_length=12, choices=Progress, blank=True, default="")
    message = models.CharField(max_length=300, blank=True, default="")
    expected_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(state="acknowledged", answered_at__isnull=True)
                | ~Q(state="acknowledged") & Q(answered_at__isnull=False),
                name="closed_service_order_says_when",
            )
        ]
        indexes = [
            models.Index(
                fields=["answer_by"], condition=Q(state="acknowledged"), name="service_order_due"
            )
        ]

    def __str__(self) -> str:
        return self.public_id
