"""Files that are worked off in the background: coverage that comes in, addresses to qualify."""

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from ispops.db import PublicIdModel
from ispops.jobs import LeasedRow
from ispops.parties.models import Partner, Subscriber


class CoverageImport(PublicIdModel, LeasedRow):
    """One file that says where a network delivers, or which places there are.

    It is checked and previewed, and then applied or thrown away; coverage that was applied can be
    taken back. Its rows wait in a table of their own meanwhile; see `staging`.
    """

    PREFIX = "imp"

    class Format(models.TextChoices):
        FCC_FILING = "fcc_filing", "FCC availability, as filed (8 columns)"
        FCC_PUBLIC = "fcc_public", "FCC availability, as published (12 columns)"
        LOCATIONS = "locations", "Coverage by location, address or H3 cell"
        PREMISES = "premises", "Places: the Fabric, or a list of addresses"

    class State(models.TextChoices):
        QUEUED = "queued", "Waiting"
        CHECKING = "checking", "Being checked"
        PREVIEWED = "previewed", "Checked, not applied yet"
        APPLYING = "applying", "Being applied"
        APPLIED = "applied", "Applied"
        DISCARDED = "discarded", "Discarded"
        ROLLING_BACK = "rolling_back", "Being rolled back"
        ROLLED_BACK = "rolled_back", "Rolled back"
        FAILED = "failed", "Failed"

    # A list of places is nobody's.
    provider = models.ForeignKey(
        Partner,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="coverage_imports",
    )
    format = models.CharField(max_length=10, choices=Format)
    state = models.CharField(max_length=12, choices=State, default=State.QUEUED)
    file = models.FileField(upload_to="coverage/%Y/%m/")
    file_name = models.CharField(max_length=200)
    # The list is all there is: what it does not name, of the technologies in it, ends.
    is_complete = models.BooleanField(default=False)
    # Published rows name the H3 cell, too: whether it stands for a location that is not known here.
    use_cells = models.BooleanField(default=False)
    rejects = models.FileField(upload_to="coverage/%Y/%m/", blank=True)
    error = models.CharField(max_length=300, blank=True, default="")
    rows_total = models.PositiveBigIntegerField(null=True, blank=True)
    rows_done = models.PositiveBigIntegerField(default=0)
    added = models.PositiveBigIntegerField(default=0)
    changed = models.PositiveBigIntegerField(default=0)
    removed = models.PositiveBigIntegerField(default=0)
    unchanged = models.PositiveBigIntegerField(default=0)
    rejected = models.PositiveBigIntegerField(default=0)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+"
    )
    # What people look at before they apply it: samples, reasons, and counts by technology.
    summary = models.JSONField(default=dict, blank=True)
    # The last change of the provider's coverage that the preview knows of.
    basis = models.PositiveBigIntegerField(default=0)
    created_at = models.DateTimeField()
    applied_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(format="premises", provider__isnull=True, is_complete=False)
                | ~Q(format="premises") & Q(provider__isnull=False),
                name="coverage_import_has_a_provider",
            ),
            models.CheckConstraint(
                condition=Q(
                    state__in=["queued", "checking", "applying", "rolling_back"],
                    next_attempt_at__isnull=False,
                )
                | ~Q(state__in=["queued", "checking", "applying", "rolling_back"])
                & Q(next_attempt_at__isnull=True, leased_until__isnull=True),
                name="only_a_working_import_is_due",
            ),
        ]
        indexes = [
            models.Index(
                fields=["next_attempt_at"],
                condition=Q(next_attempt_at__isnull=False),
                name="coverage_import_due",
            )
        ]

    def __str__(self) -> str:
        return f"{self.file_name} of {self.provider}" if self.provider else self.file_name


class BulkQualification(PublicIdModel, LeasedRow):
    """A file of addresses that is qualified in the background, and the file of the answers."""

    PREFIX = "blk"

    class State(models.TextChoices):
        QUEUED = "queued", "Waiting"
        RUNNING = "running", "Running"
        COMPLETED = "completed", "Completed"
        CANCELLED = "cancelled", "Cancelled"
        FAILED = "failed", "Failed"

    # Who may see it, as `queries.asker_of` names them.
    asker = models.CharField(max_length=80)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+"
    )
    subscriber_kind = models.CharField(
        max_length=10, choices=Subscriber.Kind, default=Subscriber.Kind.CONSUMER
    )
    state = models.CharField(max_length=10, choices=State, default=State.QUEUED)
    file = models.FileField(upload_to="bulk/%Y/%m/")
    file_name = models.CharField(max_length=200)
    result = models.FileField(upload_to="bulk/%Y/%m/", blank=True)
    error = models.CharField(max_length=300, blank=True, default="")
    rows_total = models.PositiveBigIntegerField(default=0)
    rows_done = models.PositiveBigIntegerField(default=0)
    # Where to go on after a worker died: bytes of the file that are done, and bytes of the result.
    bytes_read = models.PositiveBigIntegerField(default=0)
    bytes_written = models.PositiveBigIntegerField(default=0)
    # How many rows came out how, such as {"qualified": 12}.
    outcomes = models.JSONField(default=dict)
    created_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(rows_done__lte=F("rows_total")), name="bulk_done_within_total"
            )
        ]
        indexes = [models.Index(fields=["asker", "-id"], name="bulk_by_asker")]

    def __str__(self) -> str:
        return self.file_name
