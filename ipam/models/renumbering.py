"""Moving the holders of one pool into another: the plan, how far it is, and how it ended."""

from django.db import models
from django.db.models import Q

from ipam.models.pools import Pool
from ispops.db import PublicIdModel
from ispops.parties.models import User


class Renumbering(PublicIdModel):
    """Who holds an address of the one pool gets one of the other at the next request."""

    PREFIX = "rnb"

    class State(models.TextChoices):
        RUNNING = "running", "Under way"
        PAUSED = "paused", "Paused"
        ROLLING_BACK = "rolling_back", "Being taken back"
        ROLLED_BACK = "rolled_back", "Taken back"
        FINISHED = "finished", "Finished"

    OPEN_STATES = (State.RUNNING, State.PAUSED, State.ROLLING_BACK)

    source = models.ForeignKey(Pool, on_delete=models.PROTECT, related_name="renumberings")
    target = models.ForeignKey(Pool, on_delete=models.PROTECT, related_name="renumberings_into")
    state = models.CharField(max_length=12, choices=State, default=State.RUNNING)
    reason = models.CharField(max_length=300)
    # What the source held when it began: what the progress is counted from.
    held_at_start = models.PositiveBigIntegerField()
    # Whether all that the target holds came by this plan, so that it can all go back.
    target_was_empty = models.BooleanField()
    # From then on who still holds an address of the source loses it.
    deadline_at = models.DateTimeField()
    started_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["source"],
                condition=Q(state__in=["running", "paused", "rolling_back"]),
                name="one_open_renumbering_from_a_pool",
            ),
            models.UniqueConstraint(
                fields=["target"],
                condition=Q(state__in=["running", "paused", "rolling_back"]),
                name="one_open_renumbering_into_a_pool",
            ),
            models.CheckConstraint(
                condition=Q(state__in=["running", "paused", "rolling_back"], ended_at__isnull=True)
                | Q(state__in=["rolled_back", "finished"], ended_at__isnull=False),
                name="ended_renumbering_says_when",
            ),
            models.CheckConstraint(
                condition=~Q(source=models.F("target")), name="renumbering_leads_elsewhere"
            ),
        ]
        # The migration keeps the plan as it was made, and the states on their table.

    def __str__(self) -> str:
        return f"{self.source} into {self.target}"
