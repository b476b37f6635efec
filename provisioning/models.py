"""Orders, the work they cause, the services that come of it, and the lines' network facts."""

from django.db import models
from django.db.models import F, Q

from ipam.models import AddressServer
from ispops.catalog.models import ProductOffering
from ispops.db import EncryptedTextField, PublicIdModel
from ispops.jobs import LeasedRow
from ispops.parties.models import Partner, Subscriber, User
from qualification.models import Premises, QualifiedOffer, ServiceQualification


class ProductOrder(PublicIdModel):
    """What a subscriber asked for and was promised. TM Forum: ProductOrder (TMF622)."""

    PREFIX = "ord"

    class State(models.TextChoices):
        ACKNOWLEDGED = "acknowledged", "Received"
        IN_PROGRESS = "in_progress", "In progress"
        HELD = "held", "Needs attention"
        COMPLETED = "completed", "Completed"
        FAILED = "failed", "Failed"
        CANCELLED = "cancelled", "Cancelled"

    class Channel(models.TextChoices):
        PORTAL = "portal", "Portal"
        CLIENT = "client", "Client software"
        CSR = "csr", "CSR"
        PARTNER = "partner", "Partner API"

    subscriber = models.ForeignKey(Subscriber, on_delete=models.PROTECT, related_name="orders")
    qualification = models.ForeignKey(
        ServiceQualification, on_delete=models.PROTECT, related_name="orders"
    )
    channel = models.CharField(max_length=8, choices=Channel)
    placed_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")
    idempotency_key = models.CharField(max_length=200)
    state = models.CharField(max_length=12, choices=State, default=State.ACKNOWLEDGED)
    placed_at = models.DateTimeField()
    expected_at = models.DateTimeField()
    completed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        permissions = [("work_fallout", "Can retry, skip and cancel order tasks")]
        constraints = [
            models.UniqueConstraint(
                fields=["subscriber", "idempotency_key"], name="order_placed_once"
            ),
            models.CheckConstraint(
                condition=Q(state="completed", completed_at__isnull=False)
                | ~Q(state="completed") & Q(completed_at__isnull=True),
                name="completed_order_says_when",
            ),
        ]

    def __str__(self) -> str:
        return self.public_id


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

    def __str__(self) -> str:
        return f"{self.offering} ({self.get_state_display()})"


class ServicePeriod(models.Model):
    """A span during which a service was in one state: the fact that charging reads.

    Only `active` and `suspended` spans are kept. Spans of one service never overlap (a GiST
    exclusion in the migration), and at most one is open.
    """

    service = models.ForeignKey(Service, on_delete=models.PROTECT, related_name="periods")
    offering = models.ForeignKey(ProductOffering, on_delete=models.PROTECT, related_name="+")
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


class ProductOrderItem(models.Model):
    """One line of an order: add one offering, and the service that comes of it."""

    class Action(models.TextChoices):
        ADD = "add", "Add"
        MODIFY = "modify", "Change"
        DELETE = "delete", "Remove"

    order = models.ForeignKey(ProductOrder, on_delete=models.CASCADE, related_name="items")
    action = models.CharField(max_length=6, choices=Action, default=Action.ADD)
    offering = models.ForeignKey(ProductOffering, on_delete=models.PROTECT, related_name="+")
    # The promise that the item rests on; a bundle's components share the bundle's.
    offer = models.ForeignKey(QualifiedOffer, on_delete=models.PROTECT, related_name="+")
    bundle = models.ForeignKey(
        ProductOffering, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    service = models.ForeignKey(
        Service, on_delete=models.PROTECT, null=True, related_name="order_items"
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["order", "offering"], name="offering_once_an_order")
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.offering}"


class OrderTask(LeasedRow):
    """One step of an order's work. The row is the queue: see `ispops.jobs`.

    A step that waits for a partner names the partner's order, and only a ready step is due; the
    database refuses a step that nothing would ever take up again.
    """

    class State(models.TextChoices):
        PENDING = "pending", "Waiting for earlier steps"
        READY = "ready", "Ready"
        AWAITING = "awaiting", "Waiting for a partner"
        COMPLETED = "completed", "Done"
        SKIPPED = "skipped", "Skipped"
        FALLOUT = "fallout", "Needs a person"
        CANCELLED = "cancelled", "Cancelled"

    order = models.ForeignKey(ProductOrder, on_delete=models.CASCADE, related_name="tasks")
    item = models.ForeignKey(
        ProductOrderItem, on_delete=models.CASCADE, null=True, related_name="tasks"
    )
    # A name from `provisioning.plan`, such as "reserve_port".
    kind = models.CharField(max_length=40)
    position = models.PositiveSmallIntegerField()
    depends_on = models.ManyToManyField("self", symmetrical=False, related_name="dependents")
    state = models.CharField(max_length=10, choices=State, default=State.PENDING)
    # Why a person is needed: the code of the refusal, such as "partner_refused".
    cause = models.CharField(max_length=40, blank=True, default="")
    service_order = models.OneToOneField(
        "ServiceOrder", on_delete=models.PROTECT, null=True, blank=True, related_name="task"
    )
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["order", "position"], name="task_position_once"),
            models.UniqueConstraint(
                fields=["item", "kind"], name="task_kind_once_an_item", nulls_distinct=True
            ),
            models.CheckConstraint(
                condition=Q(state="ready", next_attempt_at__isnull=False)
                | ~Q(state="ready") & Q(next_attempt_at__isnull=True),
                name="task_is_due_when_ready",
            ),
            models.CheckConstraint(
                condition=~Q(state="awaiting") | Q(service_order__isnull=False),
                name="task_awaits_a_service_order",
            ),
            models.CheckConstraint(
                condition=Q(state="fallout") & ~Q(cause="") | ~Q(state="fallout") & Q(cause=""),
                name="task_in_fallout_has_a_cause",
            ),
        ]
        indexes = [
            models.Index(
                fields=["next_attempt_at", "id"],
                condition=Q(next_attempt_at__isnull=False),
                name="order_task_due",
            ),
            models.Index(fields=["state"], name="order_task_state"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} of {self.order_id}"


class TaskAttempt(models.Model):
    """One try at a task: when, with what outcome, and what was said to and by the outside.

    The attempt without an outcome is the one that runs; whoever ends it may write the task's
    outcome, and nobody else, so that a worker that comes back after its lease changes nothing.
    """

    class Outcome(models.TextChoices):
        RUNNING = "", "Running"
        DONE = "done", "Done"
        AWAITING = "awaiting", "Asked the partner"
        RETRY = "retry", "Will be tried again"
        FALLOUT = "fallout", "Needs a person"
        SKIPPED = "skipped", "Skipped"
        LOST = "lost", "Worker lost"
        CANCELLED = "cancelled", "Cancelled"
        UNDONE = "undone", "Undone"

    task = models.ForeignKey(OrderTask, on_delete=models.CASCADE, related_name="tries")
    number = models.PositiveIntegerField()
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    outcome = models.CharField(max_length=12, choices=Outcome, blank=True, default="")
    detail = models.TextField(blank=True, default="")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["task", "number"], name="task_attempt_number_once"),
            models.UniqueConstraint(
                fields=["task"], condition=Q(outcome=""), name="task_run_by_one_worker"
            ),
        ]

    def __str__(self) -> str:
        return f"attempt {self.number} of {self.task_id}"


class ServiceOrder(PublicIdModel):
    """What a partner is asked to deliver: a network provider's line, or a BSP's entitlement.

    The partner hears of it by webhook and answers through the API; it knows the subscriber only
    by `subscriber_ref`, which is different for each partner. TM Forum: ServiceOrder (TMF641).
    """

    PREFIX = "sor"

    class Kind(models.TextChoices):
        LINE = "line", "Access line"
        ENTITLEMENT = "entitlement", "Entitlement"

    class State(models.TextChoices):
        ACKNOWLEDGED = "acknowledged", "Sent to the partner"
        COMPLETED = "completed", "Confirmed"
        FAILED = "failed", "Refused by the partner"
        TIMED_OUT = "timed_out", "No answer in time"
        CANCELLED = "cancelled", "Cancelled"

    partner = models.ForeignKey(Partner, on_delete=models.PROTECT, related_name="service_orders")
    kind = models.CharField(max_length=12, choices=Kind)
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


class AaaCredential(models.Model):
    """The name and secret with which a line's equipment logs in to the network."""

    service = models.OneToOneField(Service, on_delete=models.PROTECT, related_name="credential")
    username = models.CharField(max_length=120, unique=True)
    secret = EncryptedTextField()
    enabled = models.BooleanField(default=False)

    def __str__(self) -> str:
        return self.username


class AccessServer(models.Model):
    """A network access server (BNG, CMTS, OLT) whose sessions are accounted."""

    name = models.SlugField(unique=True)
    nas_ip = models.GenericIPAddressField(unique=True)
    # Many devices count the subscriber's download as Acct-Input-Octets, against RFC 2866.
    counters_reversed = models.BooleanField(default=False)

    def __str__(self) -> str:
        return self.name


class AccountingRecord(models.Model):
    """One RADIUS accounting message as it came, kept before it was acknowledged (RFC 2866).

    `status_type` is FreeRADIUS's word: Start, Interim-Update, Stop, Accounting-On, Accounting-Off.
    """

    server = models.ForeignKey(AddressServer, on_delete=models.PROTECT, related_name="+")
    status_type = models.CharField(max_length=20)
    session_id = models.CharField(max_length=120)
    unique_session_id = models.CharField(max_length=64)
    # The Class that we gave when we let the session in: the service's id and a random part.
    session_class = models.CharField(max_length=80, blank=True, default="")
    username = models.CharField(max_length=250, blank=True, default="")
    nas_ip = models.GenericIPAddressField(null=True)
    calling_station_id = models.CharField(max_length=130, blank=True, default="")
    framed_ip = models.GenericIPAddressField(null=True)
    session_seconds = models.PositiveBigIntegerField(default=0)
    input_octets = models.PositiveBigIntegerField(default=0)
    output_octets = models.PositiveBigIntegerField(default=0)
    # None when the device does not send the wrap words at all.
    input_gigawords = models.PositiveBigIntegerField(null=True)
    output_gigawords = models.PositiveBigIntegerField(null=True)
    terminate_cause = models.CharField(max_length=40, blank=True, default="")
    delay_seconds = models.PositiveIntegerField(default=0)
    event_at = models.DateTimeField()
    received_at = models.DateTimeField()
    # Written once, by metering, in the transaction that turns the record into usage.
    metered_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [
            models.Index(
                fields=["id"], condition=Q(metered_at__isnull=True), name="accounting_to_meter"
            ),
            models.Index(fields=["username", "-id"], name="accounting_by_user"),
        ]

    def __str__(self) -> str:
        return f"{self.status_type} {self.session_id}"
