"""What was used: as it was reported, where it waits, and what it came to.

Use comes by the million, so these tables hold no index that nobody reads by and no foreign key that
PostgreSQL would look up row by row; each is written by one module only. `Usage` and `RatedUsage`
are partitioned by the month of receipt, which is in the id; see `rating.partitions`.
"""

from typing import Any, ClassVar, Self, TypeVar

from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models import (
    DO_NOTHING,
    PROTECT,
    Case,
    CheckConstraint,
    Exists,
    F,
    ForeignKey,
    Index,
    OuterRef,
    Q,
    UniqueConstraint,
    Value,
    When,
)

from ispops.catalog.models import OfferingPrice, ProductOffering
from ispops.money import AmountField
from ispops.parties.models import Partner, Subscriber
from provisioning.models import Service

M = TypeVar("M", bound=models.Model)


def _fact(to: type[M], *, null: bool = False) -> ForeignKey[Any, Any]:
    """Return a reference that is written by the thousand: no check by PostgreSQL, and no index."""
    return ForeignKey(
        to, DO_NOTHING, related_name="+", null=null, db_constraint=False, db_index=False
    )


class UsageQuerySet(models.QuerySet["Usage"]):
    def with_state(self) -> Self:
        """Add `state`: how far each use is, one of `Usage.State`."""
        waits = WaitingUsage.objects.filter(first__lte=OuterRef("pk"), last__gte=OuterRef("pk"))
        return self.annotate(
            state=Case(
                When(~Q(error_code=""), then=Value(Usage.State.ERROR)),
                When(Exists(waits), then=Value(Usage.State.RECEIVED)),
                default=Value(Usage.State.RATED),
            )
        )


class Usage(models.Model):
    """A use of a service, counted once: a partner's event, or a slice of a network session.

    `source` is the partner's code, or "network". Quantities are whole units of `unit`. A fact is
    never changed; only who used what may be filled in where the source's names could not be
    resolved at first. TM Forum: Usage (TMF635).
    """

    class State(models.TextChoices):
        RECEIVED = "received", "Waiting to be rated"
        RATED = "rated", "Rated"
        ERROR = "error", "Cannot be rated"

    # When it came, which batch, and where in it; see `rating.storing`.
    id = models.BigIntegerField(primary_key=True)
    source = models.CharField(max_length=50)
    event_id = models.CharField(max_length=120)
    # Whom and what the source named: a partner's reference or an AAA user name, and a product.
    subscriber_ref = models.CharField(max_length=250)
    product_ref = models.CharField(max_length=50, blank=True, default="")
    subscriber = _fact(Subscriber, null=True)
    service = _fact(Service, null=True)
    offering = _fact(ProductOffering, null=True)
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    quantity = models.PositiveBigIntegerField()
    unit = models.CharField(max_length=20)
    # Download and upload bytes of a network slice, and whether a cut at a period's end estimated
    # them; a partner's own attributes of an event.
    attributes = models.JSONField(default=dict)
    received_at = models.DateTimeField()
    error_code = models.CharField(max_length=40, blank=True, default="")
    error = models.CharField(max_length=300, blank=True, default="")

    objects = UsageQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "usage"
        constraints = [
            CheckConstraint(
                condition=~Q(error_code="") | Q(subscriber__isnull=False, offering__isnull=False),
                name="usage_is_guided_or_in_error",
            ),
            CheckConstraint(
                condition=Q(ended_at__isnull=True) | Q(ended_at__gte=F("started_at")),
                name="usage_ends_after_it_starts",
            ),
        ]
        indexes = [
            Index(fields=["id"], condition=~Q(error_code=""), name="usage_in_error"),
            Index(fields=["source", "id"], name="usage_by_source"),
            Index(fields=["subscriber", "-started_at"], name="usage_by_subscriber"),
        ]

    def __str__(self) -> str:
        return f"{self.source} {self.event_id}"


class UsageKey(models.Model):
    """The id that a source gave a use, for ever: so it counts once, when its month is long gone.

    Both are digests: of source and event id, and of all that the source said of the use, so that
    the same id with other content is seen as a conflict.
    """

    digest = models.UUIDField(primary_key=True)
    content = models.UUIDField()
    usage_id = models.BigIntegerField()

    def __str__(self) -> str:
        return str(self.digest)


class WaitingUsage(models.Model):
    """The queue: uses of one batch and lane that wait to be rated, from the first id to the last.

    A row a batch and not a row a use, because to write and delete one for each use costs more than
    rating it.
    """

    first = models.BigIntegerField(primary_key=True)
    last = models.BigIntegerField()
    lane = models.PositiveSmallIntegerField()

    class Meta:
        verbose_name_plural = "waiting usage"
        constraints = [
            CheckConstraint(condition=Q(last__gte=F("first")), name="waiting_usage_is_a_range")
        ]
        indexes = [Index(fields=["lane", "first"], name="waiting_by_lane")]

    def __str__(self) -> str:
        return f"{self.first} to {self.last}"


class RatingLane(models.Model):
    """A share of the subscribers. Whoever rates one holds its row, so no counter moves twice."""

    COUNT: ClassVar[int] = 16

    id = models.PositiveSmallIntegerField(primary_key=True)
    rated_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return str(self.id)


class RatedUsage(models.Model):
    """What one use came to, with the shares of everybody who gets a part of it.

    Rows of one service, price and period are the steps of a counter, numbered from 1; the newest
    row is the counter. A step that was taken already is refused by a unique key, so nothing counts
    twice. Where an aggregated plan has the price, its parts are counted together, for the line.
    Charges gather rated usage; see `rating.posting`. TM Forum: ratedProductUsage (TMF635).
    """

    usage = models.OneToOneField(
        Usage, DO_NOTHING, primary_key=True, db_constraint=False, related_name="rated"
    )
    subscriber = _fact(Subscriber)
    service = _fact(Service)
    offering = _fact(ProductOffering)
    price = _fact(OfferingPrice)
    period_start = models.DateTimeField()
    step = models.PositiveBigIntegerField()
    started_at = models.DateTimeField()
    quantity = models.PositiveBigIntegerField()
    # What the counter stands at: units in all, and for the few prices that need more than that,
    # those in each band, how many are free, and the sum of what each event cost by itself.
    units_after = models.PositiveBigIntegerField()
    band_1 = models.PositiveBigIntegerField(null=True)
    band_2 = models.PositiveBigIntegerField(null=True)
    band_3 = models.PositiveBigIntegerField(null=True)
    free_after = models.PositiveBigIntegerField(null=True)
    events_after = AmountField(null=True)
    amount_net = AmountField()
    isp_share = AmountField()
    bsp_share = AmountField()
    network_provider_share = AmountField()
    amount_tax = AmountField()
    bsp = _fact(Partner, null=True)
    network_provider = _fact(Partner, null=True)
    # The arithmetic, where it does not follow from the price and the two steps alone.
    explanation = models.JSONField(null=True)
    rated_at = models.DateTimeField()

    class Meta:
        verbose_name_plural = "rated usage"
        constraints = [
            CheckConstraint(
                condition=Q(
                    amount_net=F("isp_share") + F("bsp_share") + F("network_provider_share")
                ),
                name="shares_add_up_to_the_use",
            ),
            CheckConstraint(
                condition=(Q(bsp_share=0) | Q(bsp__isnull=False))
                & (Q(network_provider_share=0) | Q(network_provider__isnull=False)),
                name="a_share_of_use_names_its_partner",
            ),
            CheckConstraint(condition=Q(step__gt=0), name="steps_begin_at_one"),
        ]
        # The key of service, price, period and step is each partition's own, because one of the
        # whole table would need the month in it.
        indexes = [BrinIndex(fields=["rated_at"], name="step_by_time", autosummarize=True)]

    def __str__(self) -> str:
        return f"{self.quantity} at {self.price_id}"


class UsageClosing(models.Model):
    """A counter whose bill has made up for the least that its period costs, and for how much of
    the period that was due. Use that is reported later is free until it passes what was paid for.
    `parts` say what partners were guaranteed in each part of the period, where their terms changed
    within it.
    """

    service = ForeignKey(Service, PROTECT, related_name="+", db_index=False)
    price = ForeignKey(OfferingPrice, PROTECT, related_name="+", db_index=False)
    period_start = models.DateTimeField()
    part = models.PositiveBigIntegerField()
    whole = models.PositiveBigIntegerField()
    parts = models.JSONField(default=list)
    closed_at = models.DateTimeField()

    class Meta:
        constraints = [
            UniqueConstraint(fields=["service", "price", "period_start"], name="closed_once"),
            CheckConstraint(
                condition=Q(whole__gt=0, part__lte=F("whole")), name="closing_is_for_a_part"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.part} of {self.whole}"


class UsedPrice(models.Model):
    """A price that something was counted at: from then on it is never changed, only ended."""

    price = models.OneToOneField(OfferingPrice, PROTECT, primary_key=True, related_name="+")

    def __str__(self) -> str:
        return str(self.price_id)


class UsagePosting(models.Model):
    """Until when all rated use is in charges: one row, locked while more is posted."""

    posted_until = models.DateTimeField()

    class Meta:
        constraints = [CheckConstraint(condition=Q(pk=1), name="one_row_of_usage_posting")]

    def __str__(self) -> str:
        return str(self.posted_until)


class UsageLook(models.Model):
    """Until when all rated use has been looked at for thresholds and fair use: one row."""

    looked_until = models.DateTimeField()
    # Somebody is looking, and is taken for dead after that.
    taken_until = models.DateTimeField(null=True)

    class Meta:
        constraints = [CheckConstraint(condition=Q(pk=1), name="one_row_of_looks")]

    def __str__(self) -> str:
        return str(self.looked_until)


class PassedThreshold(models.Model):
    """A part of what is included that a service has used up in a billing period, told once.

    A pack raises what is included, so what was passed before may be passed, and told, again: once
    for each number of `packs` that there are in the period.
    """

    service = ForeignKey(Service, PROTECT, related_name="passed_thresholds", db_index=False)
    price = ForeignKey(OfferingPrice, PROTECT, related_name="+", db_index=False)
    period_start = models.DateTimeField()
    percent = models.PositiveSmallIntegerField()
    packs = models.PositiveSmallIntegerField(default=0)
    used = models.PositiveBigIntegerField()
    included = models.PositiveBigIntegerField()
    passed_at = models.DateTimeField()

    class Meta:
        constraints = [
            UniqueConstraint(
                fields=["service", "price", "period_start", "percent", "packs"],
                name="threshold_passed_once",
            ),
            CheckConstraint(
                condition=Q(included__gt=0, percent__gt=0), name="threshold_is_of_something"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.percent} % of {self.included}"
