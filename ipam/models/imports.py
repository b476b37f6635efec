"""Files of blocks that are tried out, and then made."""

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from ispops.db import PublicIdModel
from ispops.jobs import LeasedRow


class BlockImport(PublicIdModel, LeasedRow):
    """A file of blocks on its way through the workers: tried out, or made as it was tried.

    `ispops.filework` says how workers read it. What is kept is not the file as it came but its rows
    in the order in which they can be made.
    """

    PREFIX = "bim"

    class State(models.TextChoices):
        QUEUED = "queued", "Waiting"
        RUNNING = "running", "Being read"
        COMPLETED = "completed", "Completed"
        CANCELLED = "cancelled", "Cancelled"
        FAILED = "failed", "Failed"

    # The trial of what this one makes; None of a trial. One trial is made once.
    trial = models.OneToOneField(
        "self", on_delete=models.PROTECT, null=True, blank=True, related_name="making"
    )
    state = models.CharField(max_length=10, choices=State, default=State.QUEUED)
    file = models.FileField(upload_to="blocks/%Y/%m/")
    file_name = models.CharField(max_length=200)
    # What became of each row.
    results = models.FileField(upload_to="blocks/%Y/%m/", blank=True)
    rows_total = models.PositiveIntegerField()
    rows_done = models.PositiveIntegerField(default=0)
    # How far the file is read, and how much of `results` is written.
    bytes_read = models.PositiveBigIntegerField(default=0)
    bytes_written = models.PositiveBigIntegerField(default=0)
    made = models.PositiveIntegerField(default=0)
    already = models.PositiveIntegerField(default=0)
    refused = models.PositiveIntegerField(default=0)
    error = models.CharField(max_length=300, blank=True, default="")
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=["queued", "running"], next_attempt_at__isnull=False)
                | ~Q(state__in=["queued", "running"])
                & Q(next_attempt_at__isnull=True, leased_until__isnull=True),
                name="only_an_open_block_import_is_due",
            ),
            models.CheckConstraint(
                condition=Q(rows_done=F("made") + F("already") + F("refused")),
                name="each_row_of_a_block_import_is_counted_once",
            ),
        ]
        indexes = [
            models.Index(
                fields=["next_attempt_at"],
                condition=Q(next_attempt_at__isnull=False),
                name="block_import_due",
            )
        ]

    def __str__(self) -> str:
        return self.file_name

    @property
    def is_trial(self) -> bool:
        return self.trial_id is None
