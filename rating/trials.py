"""Simulations: a draft of a price that is tried on past use, and what came out of it."""

from django.db import models
from django.db.models import CASCADE, PROTECT, CheckConstraint, F, ForeignKey, Q, UniqueConstraint

from ispops.catalog.models import PriceDraft
from ispops.db import PublicIdModel
from ispops.jobs import LeasedRow
from ispops.money import AmountField
from ispops.parties.models import Subscriber, User
from provisioning.models import Service


class Simulation(PublicIdModel, LeasedRow):
    """What past use would have cost at a draft: worked out account by account in the background.

    `facts` are the draft's as they were then. The billing periods are those that begin in the
    months from the first to the last; `accounts` are the ids of those that are meant, none for
    all. `summary` is the tally so far; see `rating.differences`. Nothing is charged by it, unless
    it is a re-rating: then it `posts` the differences that another one showed, as they are now.
    """

    PREFIX = "sim"

    class State(models.TextChoices):
        QUEUED = "queued", "Waiting for a worker"
        RUNNING = "running", "Running"
        COMPLETED = "completed", "Completed"
        FAILED = "failed", "Failed"
        CANCELLED = "cancelled", "Cancelled"

    draft = ForeignKey(PriceDraft, PROTECT, related_name="simulations")
    posts = ForeignKey("self", PROTECT, null=True, blank=True, related_name="reratings")
    facts = models.JSONField()
    first_month_date = models.DateField()
    last_month_date = models.DateField()
    accounts = models.JSONField(default=list)
    state = models.CharField(max_length=10, choices=State, default=State.QUEUED)
    accounts_total = models.PositiveIntegerField(default=0)
    accounts_done = models.PositiveIntegerField(default=0)
    last_account = ForeignKey(Subscriber, PROTECT, null=True, related_name="+", db_index=False)
    summary = models.JSONField(default=dict)
    error = models.CharField(max_length=300, blank=True, default="")
    created_by = ForeignKey(User, PROTECT, related_name="+")
    created_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)
    # Until when use was looked for that came late into the months of a re-rating.
    followed_until = models.DateTimeField(null=True, blank=True)

    class Meta:
        permissions = [("post_simulation", "Can post the differences of a simulation")]
        constraints = [
            CheckConstraint(
                condition=Q(last_month_date__gte=F("first_month_date")),
                name="simulation_months_in_order",
            ),
            CheckConstraint(
                condition=Q(accounts_done__lte=F("accounts_total")),
                name="simulation_does_not_overrun",
            ),
        ]
        indexes = [
            models.Index(
                fields=["next_attempt_at"],
                condition=Q(next_attempt_at__isnull=False),
                name="simulation_due",
            ),
            models.Index(
                fields=["created_at"], condition=Q(posts__isnull=False), name="rerating_by_time"
            ),
        ]

    @property
    def is_rerating(self) -> bool:
        return self.posts_id is not None

    def __str__(self) -> str:
        return f"{self.draft} from {self.first_month_date:%Y-%m} to {self.last_month_date:%Y-%m}"


class SimulatedUse(models.Model):
    """What a service's use of a billing period was charged, and what it would have cost."""

    simulation = ForeignKey(Simulation, CASCADE, related_name="results", db_index=False)
    subscriber = ForeignKey(Subscriber, PROTECT, related_name="+", db_index=False)
    service = ForeignKey(Service, PROTECT, related_name="+", db_index=False)
    period_start = models.DateTimeField()
    quantity = models.DecimalField(max_digits=24, decimal_places=0)
    paid_net = AmountField()
    paid_isp = AmountField()
    paid_bsp = AmountField()
    paid_network_provider = AmountField()
    paid_tax = AmountField()
    would_net = AmountField()
    would_isp = AmountField()
    would_bsp = AmountField()
    would_network_provider = AmountField()
    would_tax = AmountField()

    class Meta:
        constraints = [
            # Two workers cannot count one account twice.
            UniqueConstraint(
                fields=["simulation", "subscriber", "service", "period_start"],
                name="simulated_once",
            )
        ]

    def __str__(self) -> str:
        return f"{self.service_id} from {self.period_start:%Y-%m-%d}"
