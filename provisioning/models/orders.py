"""Orders, what they are made of, and the steps of the work that they cause."""

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models import F, Q

from ispops.catalog.models import ProductOffering
from ispops.db import PublicIdModel
from ispops.jobs import LeasedRow
from ispops.parties.models import Subscriber, SubscriberCheck, User
from provisioning.models.services import Service, ServiceSuspension
from qualification.models import Premises, QualifiedOffer, ServiceQualification


class ProductOrder(PublicIdModel):
    """What a subscriber asked for and was promised. TM Forum: ProductOrder (TMF622).

    A first order makes a line; every later one names the `line` that it changes (figure 7).
    """

    PREFIX = "ord"

    class State(models.TextChoices):
        ACKNOWLEDGED = "acknowledged", "Received"
        PENDING = "pending", "Waiting for its day"
        IN_PROGRESS = "in_progress", "In progress"
        HELD = "held", "Needs attention"
        COMPLETED = "completed", "Completed"
        PARTIAL = "partial", "Completed in part"
        FAILED = "failed", "Failed"
        CANCELLED = "cancelled", "Cancelled"

    class Intent(models.TextChoices):
        NEW = "new", "New line"
        CHANGE = "change", "Change of plan or add-ons"
        SUSPEND = "suspend", "Suspension"
        RESUME = "resume", "End of a suspension"
        MOVE = "move", "Move to another address"
        PROVIDER_CHANGE = "provider_change", "Change of network"
        CEASE = "cease", "End of the line"

    class Channel(models.TextChoices):
        PORTAL = "portal", "Portal"
        CLIENT = "client", "Client software"
        CSR = "csr", "CSR"
        PARTNER = "partner", "Partner API"

    subscriber = models.ForeignKey(Subscriber, on_delete=models.PROTECT, related_name="orders")
    intent = models.CharField(max_length=16, choices=Intent, default=Intent.NEW)
    # The promise that the order rests on; None where nothing new is delivered.
    qualification = models.ForeignKey(
        ServiceQualification, on_delete=models.PROTECT, null=True, blank=True, related_name="orders"
    )
    line = models.ForeignKey(
        Service, on_delete=models.PROTECT, null=True, blank=True, related_name="change_orders"
    )
    # Nothing of it takes effect before; None is at once.
    wanted_from = models.DateTimeField(null=True, blank=True)
    reason = models.CharField(max_length=300, blank=True, default="")
    # What a suspension is for and how it is carried out, or what is lifted; else empty.
    suspension = models.CharField(
        max_length=12, choices=ServiceSuspension.Reason, blank=True, default=""
    )
    treatment = models.CharField(
        max_length=14, choices=ServiceSuspension.Treatment, blank=True, default=""
    )
    # What was asked for, as it came: so that a repeat is told from another order with its key.
    asked = models.JSONField(default=dict, blank=True, encoder=DjangoJSONEncoder)
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
                condition=Q(state__in=["completed", "partial"], completed_at__isnull=False)
                | ~Q(state__in=["completed", "partial"]) & Q(completed_at__isnull=True),
                name="completed_order_says_when",
            ),
            models.CheckConstraint(
                condition=Q(intent="new", line__isnull=True)
                | ~Q(intent="new") & Q(line__isnull=False),
                name="later_order_names_its_line",
            ),
            # A change may only take something away; what it adds, its items say who promised it.
            models.CheckConstraint(
                condition=Q(intent__in=["change", "suspend", "resume", "cease"])
                | Q(qualification__isnull=False),
                name="order_rests_on_a_promise",
            ),
            models.CheckConstraint(
                condition=Q(intent="suspend") & ~Q(suspension="") & ~Q(treatment="")
                | Q(intent="resume", treatment="") & ~Q(suspension="")
                | ~Q(intent__in=["suspend", "resume"]) & Q(suspension="", treatment=""),
                name="suspension_says_what_for",
            ),
            # Suspending and resuming are not among them: they must never wait for a stuck change.
            models.UniqueConstraint(
                fields=["line"],
                condition=Q(
                    intent__in=["change", "move", "provider_change", "cease"],
                    state__in=["acknowledged", "pending", "in_progress", "held"],
                ),
                name="one_open_change_a_line",
            ),
        ]

    def __str__(self) -> str:
        return self.public_id

    @property
    def premises(self) -> Premises | None:
        """Where it is delivered, or where the line is that it is about."""
        if self.qualification:
            return self.qualification.premises
        return self.line.premises if self.line else None


class ProductOrderItem(models.Model):
    """One line of an order: what happens to one offering, and the service that it is about."""

    class Action(models.TextChoices):
        ADD = "add", "Add"
        MODIFY = "modify", "Change"
        DELETE = "delete", "Remove"
        NO_CHANGE = "no_change", "Keep"

    order = models.ForeignKey(ProductOrder, on_delete=models.CASCADE, related_name="items")
    action = models.CharField(max_length=9, choices=Action, default=Action.ADD)
    offering = models.ForeignKey(ProductOffering, on_delete=models.PROTECT, related_name="+")
    # What a changed item was before.
    old_offering = models.ForeignKey(
        ProductOffering, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    # The promise that the item rests on; a bundle's components share the bundle's. None where
    # nothing new is delivered.
    offer = models.ForeignKey(
        QualifiedOffer, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    bundle = models.ForeignKey(
        ProductOffering, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    service = models.ForeignKey(
        Service, on_delete=models.PROTECT, null=True, related_name="order_items"
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["order", "action", "offering"], name="offering_once_an_order"
            ),
            models.CheckConstraint(
                condition=~Q(action__in=["add", "modify"]) | Q(offer__isnull=False),
                name="delivered_item_was_promised",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.offering}"


class OrderTask(LeasedRow):
    """One step of an order's work. The row is the queue: see `ispops.jobs`.

    A step that waits for a partner names the partner's order, and only a ready step is due; the
    database refuses a step that nothing would ever take up again. The visit that a step waits for
    is that of its order, which may be moved to another time and so be another row.
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
    # What a step waits for that waits for no partner.
    awaited_check = models.ForeignKey(
        SubscriberCheck, on_delete=models.PROTECT, null=True, blank=True, related_name="tasks"
    )
    service_order = models.OneToOneField(
        "ServiceOrder", on_delete=models.PROTECT, null=True, blank=True, related_name="task"
    )
    # It is not begun before: the day that was asked for, or on which the old line ends.
    begins_at = models.DateTimeField(null=True, blank=True)
    # The key of the OutsideSystem that its last try called, or that it waits for.
    system = models.CharField(max_length=80, blank=True, default="")
    # When it should be done, for the order to keep its date; late ones are in jeopardy.
    due_at = models.DateTimeField(null=True, blank=True)
    in_jeopardy_at = models.DateTimeField(null=True, blank=True)
    # Who works on it while it needs a person.
    assigned_to = models.ForeignKey(
        User, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
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
                condition=Q(begins_at__isnull=True)
                | Q(next_attempt_at__isnull=True)
                | Q(next_attempt_at__gte=F("begins_at")),
                name="task_keeps_its_day",
            ),
            models.CheckConstraint(
                condition=~Q(state="awaiting")
                | Q(service_order__isnull=False)
                | Q(awaited_check__isnull=False)
                | Q(kind="install_visit"),
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
            models.Index(
                fields=["system", "next_attempt_at"],
                condition=Q(next_attempt_at__isnull=False) & ~Q(system=""),
                name="order_task_of_system",
            ),
            models.Index(
                fields=["due_at"],
                condition=Q(in_jeopardy_at__isnull=True, finished_at__isnull=True),
                name="order_task_may_be_late",
            ),
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
        AWAITING = "awaiting", "Waiting"
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
    # What was said to the outside and what came back, secrets masked; None where nothing was.
    request = models.JSONField(null=True, blank=True, encoder=DjangoJSONEncoder)
    reply = models.JSONField(null=True, blank=True, encoder=DjangoJSONEncoder)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["task", "number"], name="task_attempt_number_once"),
            models.UniqueConstraint(
                fields=["task"], condition=Q(outcome=""), name="task_run_by_one_worker"
            ),
        ]

    def __str__(self) -> str:
        return f"attempt {self.number} of {self.task_id}"
