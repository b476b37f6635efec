"""Orders, what they are made of, and the steps of the work that they cause."""

from django.db import models
from django.db.models import Q

from ispops.catalog.models import ProductOffering
from ispops.db import PublicIdModel
from ispops.jobs import LeasedRow
from ispops.parties.models import Subscriber, User
from provisioning.models.services import Service
from qualification.models import QualifiedOffer, ServiceQualification


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
