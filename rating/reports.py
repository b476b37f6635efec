"""What came in with reports of use: files of it, and events that contradict what is known."""

from django.conf import settings
from django.db import models
from django.db.models import PROTECT, CheckConstraint, F, ForeignKey, Index, Q, UniqueConstraint

from ispops.db import PublicIdModel
from ispops.jobs import LeasedRow
from ispops.parties.models import Partner


class UsageFile(PublicIdModel, LeasedRow):
    """One file of use: a partner's events (figure 9A), or records of the network (figure 9B).

    `ispops.filework` says how workers read it. Of the rows that were read, each is counted once.
    """

    PREFIX = "ufl"

    class Format(models.TextChoices):
        CSV = "csv", "Events of a partner, CSV"
        NDJSON = "ndjson", "Events of a partner, one JSON object a line"
        IPDR = "ipdr", "Network records, IPDR (DOCSIS SAMIS, XML)"
        NETWORK_CSV = "network_csv", "Network records, CSV"

    class State(models.TextChoices):
        QUEUED = "queued", "Waiting"
        RUNNING = "running", "Being read"
        COMPLETED = "completed", "Completed"
        CANCELLED = "cancelled", "Cancelled"
        FAILED = "failed", "Failed"

    # Records of the network are the ISP's own.
    partner = ForeignKey(Partner, PROTECT, null=True, blank=True, related_name="usage_files")
    format = models.CharField(max_length=12, choices=Format)
    state = models.CharField(max_length=10, choices=State, default=State.QUEUED)
    file = models.FileField(upload_to="usage/%Y/%m/")
    file_name = models.CharField(max_length=200)
    # Of what is in it, so that the same file is known by whatever name it comes again.
    digest = models.CharField(max_length=64)
    same_as = ForeignKey("self", PROTECT, null=True, blank=True, related_name="+")
    # The rows that were not taken as they are, each with the reason.
    rejects = models.FileField(upload_to="usage/%Y/%m/", blank=True)
    rows_total = models.PositiveBigIntegerField()
    rows_done = models.PositiveBigIntegerField(default=0)
    # How far the file is read, and how much of `rejects` is written.
    bytes_read = models.PositiveBigIntegerField(default=0)
    bytes_written = models.PositiveBigIntegerField(default=0)
    accepted = models.PositiveBigIntegerField(default=0)
    duplicates = models.PositiveBigIntegerField(default=0)
    conflicts = models.PositiveBigIntegerField(default=0)
    # Kept and waiting for what is missing; and not kept.
    in_error = models.PositiveBigIntegerField(default=0)
    rejected = models.PositiveBigIntegerField(default=0)
    error = models.CharField(max_length=300, blank=True, default="")
    created_by = ForeignKey(settings.AUTH_USER_MODEL, PROTECT, null=True, related_name="+")
    created_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            CheckConstraint(
                condition=Q(format__in=["csv", "ndjson"], partner__isnull=False)
                | Q(format__in=["ipdr", "network_csv"], partner__isnull=True),
                name="usage_file_is_a_partners_or_the_networks",
            ),
            CheckConstraint(
                condition=Q(state__in=["queued", "running"], next_attempt_at__isnull=False)
                | ~Q(state__in=["queued", "running"])
                & Q(next_attempt_at__isnull=True, leased_until__isnull=True),
                name="only_an_open_usage_file_is_due",
            ),
            CheckConstraint(
                condition=Q(
                    rows_done=F("accepted")
                    + F("duplicates")
                    + F("conflicts")
                    + F("in_error")
                    + F("rejected")
                ),
                name="each_row_of_a_usage_file_is_counted_once",
            ),
        ]
        indexes = [
            Index(
                fields=["next_attempt_at"],
                condition=Q(next_attempt_at__isnull=False),
                name="usage_file_due",
            ),
            Index(fields=["digest"], name="usage_file_by_digest"),
        ]

    def __str__(self) -> str:
        return self.file_name

    @property
    def not_taken(self) -> int:
        """How many rows are in the file of rejects."""
        return self.conflicts + self.in_error + self.rejected


class UsageConflict(models.Model):
    """An event id that came again with other content; what came first counts.

    `kept` and `told` are what was said first and what was said then.
    """

    source = models.CharField(max_length=50)
    event_id = models.CharField(max_length=120)
    # Of `told`, so that the same contradiction is one row however often it comes.
    digest = models.CharField(max_length=64)
    kept = models.JSONField()
    told = models.JSONField()
    times = models.PositiveIntegerField(default=1)
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()

    class Meta:
        constraints = [
            UniqueConstraint(
                fields=["source", "event_id", "digest"], name="one_row_a_contradiction"
            )
        ]
        indexes = [Index(fields=["-last_at", "-id"], name="usage_conflict_newest")]

    def __str__(self) -> str:
        return f"{self.source} {self.event_id}"


class MeteredInterval(models.Model):
    """Octets that a meter of the network counted for a name in a span of time (figure 9B).

    The database refuses a span of one meter and name that overlaps another, so an octet counts
    once whatever files tell of it. Here `meter` is what counted, such as an access server's name.
    """

    meter = models.CharField(max_length=64)
    username = models.CharField(max_length=120)
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField()
    download_bytes = models.PositiveBigIntegerField()
    upload_bytes = models.PositiveBigIntegerField()

    class Meta:
        constraints = [
            CheckConstraint(
                condition=Q(ended_at__gt=F("started_at")), name="metered_interval_has_a_length"
            )
        ]

    def __str__(self) -> str:
        return f"{self.username} at {self.meter}"
