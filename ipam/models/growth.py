"""How pools fill, and what is done about it: samples, policies, further blocks and their return.

A pool with those that were cut for it later is a *group*: the first one has the policy, and the
others name it as `grown_from`. An address server hands out all of a group in turn.
"""

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q

from ipam.models.networks import NetworkField
from ipam.models.pools import AddressServer, Pool
from ispops.db import PublicIdModel
from ispops.jobs import LeasedRow
from ispops.parties.models import User


class PoolSample(models.Model):
    """How full a pool was: at moments of the last days, by hour for weeks, by day for ever.

    Days begin at midnight UTC. `held` and `resting` are those of the last moment of the span.
    """

    class Grain(models.TextChoices):
        MOMENT = "moment", "Moment"
        HOUR = "hour", "Hour"
        DAY = "day", "Day"

    pool = models.ForeignKey(Pool, on_delete=models.PROTECT, related_name="samples")
    grain = models.CharField(max_length=6, choices=Grain)
    starts_at = models.DateTimeField()
    total = models.BigIntegerField()
    held = models.BigIntegerField()
    resting = models.BigIntegerField()
    # The most that were in use at one moment of the span, by our rows or the server's own count.
    peak = models.BigIntegerField()
    # The open lines that have had an address here; only whole groups are looked at by it.
    lines = models.BigIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["pool", "grain", "starts_at"], name="one_sample_a_span")
        ]
        # What is thrown away is found by its age.
        indexes = [models.Index(fields=["grain", "starts_at"], name="samples_by_age")]

    def __str__(self) -> str:
        return f"{self.pool} {self.grain} {self.starts_at:%Y-%m-%d %H:%M}"


class PoolReport(models.Model):
    """What an address server counts itself in a pool: the last that was heard of it."""

    pool = models.OneToOneField(Pool, on_delete=models.PROTECT, related_name="report")
    assigned = models.BigIntegerField(validators=[MinValueValidator(0)])
    # Addresses that the server will not give, because somebody else was seen to use them.
    declined = models.BigIntegerField(default=0, validators=[MinValueValidator(0)])
    reported_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.pool}: {self.assigned} at {self.reported_at:%Y-%m-%d %H:%M}"


class PoolPolicy(models.Model):
    """When a pool gets a further block, how large, who decides, and when it is given back."""

    class Decision(models.TextChoices):
        AUTOMATIC = "automatic", "Automatic"
        CSR = "csr", "A CSR decides"

    pool = models.OneToOneField(Pool, on_delete=models.PROTECT, related_name="policy")
    threshold_percent = models.PositiveSmallIntegerField(
        default=85, validators=[MinValueValidator(1), MaxValueValidator(100)]
    )
    # A block is asked for when the pool will be full in fewer days; None looks at use alone.
    least_days = models.PositiveSmallIntegerField(default=14, null=True, blank=True)
    decision = models.CharField(max_length=9, choices=Decision, default=Decision.CSR)
    # The largest block, in units, that needs nobody's word.
    largest_automatic = models.PositiveBigIntegerField(default=1024)
    horizon_days = models.PositiveSmallIntegerField(
        default=90, validators=[MinValueValidator(1), MaxValueValidator(1000)]
    )
    # A further block goes back when it was unused for so long and the rest is used less than this.
    low_water_percent = models.PositiveSmallIntegerField(
        default=40, validators=[MaxValueValidator(99)]
    )
    unused_days = models.PositiveSmallIntegerField(default=30, validators=[MinValueValidator(1)])
    # A lease is stale when nothing was heard of its device for so long; None is never.
    stale_hours = models.PositiveSmallIntegerField(
        default=None, null=True, blank=True, validators=[MinValueValidator(1)]
    )
    # How many lines may share one address; None says nothing of it.
    lines_per_address = models.DecimalField(
        max_digits=6, decimal_places=2, null=True, blank=True, validators=[MinValueValidator(1)]
    )

    # What the last look found about how many lines share the addresses; empty where all is well.
    warning = models.CharField(max_length=300, blank=True, default="")

    class Meta:
        verbose_name_plural = "pool policies"
        constraints = [
            models.CheckConstraint(
                condition=Q(threshold_percent__range=(1, 100))
                & Q(low_water_percent__lt=F("threshold_percent")),
                name="low_water_is_under_the_threshold",
                violation_error_message="Choose a low water under the threshold, or a block would "
                "be given back and asked for again.",
            ),
        ]

    def __str__(self) -> str:
        return f"policy of {self.pool}"


class BlockRequest(PublicIdModel, LeasedRow):
    """An address server needs a further block: why, how large, who decided, and how far it is.

    While a worker has something to do it is due; see `ipam.transitions.BLOCK`.
    """

    PREFIX = "fbr"

    class State(models.TextChoices):
        OPEN = "open", "Being looked into"
        ASKED = "asked", "Waiting for a decision"
        GRANTED = "granted", "Granted"
        CARVED = "carved", "Cut from the parent"
        PUSHED = "pushed", "Told to the server"
        CONFIRMED = "confirmed", "In use"
        PARKED = "parked", "Stuck"
        REFUSED = "refused", "Refused"
        WITHDRAWN = "withdrawn", "Not needed any more"

    class Decider(models.TextChoices):
        POLICY = "policy", "The pool's policy"
        CSR = "csr", "A CSR"

    OPEN_STATES = ("open", "asked", "granted", "carved", "pushed", "parked")

    pool = models.ForeignKey(Pool, on_delete=models.PROTECT, related_name="block_requests")
    server = models.ForeignKey(AddressServer, on_delete=models.PROTECT, related_name="+")
    # A server's own name for its request: sent again, it is the same request.
    reference = models.CharField(max_length=80, blank=True, default="")
    asked_by_user = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")
    cause = models.CharField(max_length=300)
    state = models.CharField(max_length=9, choices=State, default=State.OPEN)
    asked_at = models.DateTimeField()
    # What was known when it was asked for, and how large a network that makes.
    used = models.BigIntegerField()
    total = models.BigIntegerField()
    growth_a_day = models.DecimalField(max_digits=22, decimal_places=3, null=True)
    days_left = models.DecimalField(max_digits=8, decimal_places=2, null=True)
    length = models.PositiveSmallIntegerField()
    # When the stale leases were put on notice, and how many of them were then ended.
    noticed_at = models.DateTimeField(null=True, blank=True)
    reclaimed = models.PositiveIntegerField(default=0)
    decided_at = models.DateTimeField(null=True, blank=True)
    decided_by = models.CharField(max_length=6, choices=Decider, blank=True, default="")
    decided_by_user = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")
    reason = models.CharField(max_length=500, blank=True, default="")
    # What would help where the parent has no room, one sentence each.
    help = models.JSONField(default=list, blank=True)
    made = models.OneToOneField(Pool, on_delete=models.PROTECT, null=True, related_name="made_for")
    confirmed_at = models.DateTimeField(null=True, blank=True)
    # A refusal is an alert until a person has seen it.
    seen_at = models.DateTimeField(null=True, blank=True)
    last_error = models.CharField(max_length=300, blank=True, default="")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["pool"],
                condition=Q(state__in=("open", "asked", "granted", "carved", "pushed", "parked")),
                name="one_open_block_request_a_pool",
            ),
            models.UniqueConstraint(
                fields=["server", "reference"],
                condition=~Q(reference=""),
                name="one_block_request_a_reference",
            ),
            models.CheckConstraint(
                condition=Q(
                    state__in=("carved", "pushed", "confirmed", "parked"), made__isnull=False
                )
                | ~Q(state__in=("carved", "pushed", "confirmed", "parked")) & Q(made__isnull=True),
                name="carved_request_names_its_pool",
            ),
        ]
        # The migration keeps the states on their table, and what was carved as it was.
        indexes = [
            models.Index(fields=["pool", "-asked_at"], name="block_requests_of_a_pool"),
            models.Index(
                fields=["next_attempt_at"],
                condition=Q(next_attempt_at__isnull=False),
                name="block_requests_due",
            ),
        ]

    def __str__(self) -> str:
        return f"/{self.length} for {self.pool}"


class BlockReturn(PublicIdModel, LeasedRow):
    """An unused further block goes back to its parent, once the server has let go of it."""

    PREFIX = "ret"

    class State(models.TextChoices):
        DRAINING = "draining", "Gives no new leases"
        REMOVED = "removed", "Taken from the server"
        RETURNED = "returned", "Back at the parent"
        PARKED = "parked", "Stuck"
        KEPT = "kept", "Kept after all"

    pool = models.ForeignKey(Pool, on_delete=models.PROTECT, related_name="returns")
    # The pool has no block any more when it is back.
    network = NetworkField()
    state = models.CharField(max_length=8, choices=State, default=State.DRAINING)
    cause = models.CharField(max_length=300)
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    last_error = models.CharField(max_length=300, blank=True, default="")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["pool"],
                condition=Q(state__in=("draining", "removed", "parked")),
                name="one_open_return_a_pool",
            ),
            models.CheckConstraint(
                condition=Q(state__in=("returned", "kept"), ended_at__isnull=False)
                | ~Q(state__in=("returned", "kept")) & Q(ended_at__isnull=True),
                name="ended_return_says_when",
            ),
        ]
        indexes = [
            models.Index(
                fields=["next_attempt_at"],
                condition=Q(next_attempt_at__isnull=False),
                name="block_returns_due",
            )
        ]

    def __str__(self) -> str:
        return f"{self.network} of {self.pool}"
