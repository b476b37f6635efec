"""Who waits for a network, and which cells the networks reach by now."""

from typing import Self

from django.conf import settings
from django.db import models
from django.db.models import Q

from ispops.jobs import LeasedRow
from ispops.parties.models import Partner
from qualification.models.answers import ServiceQualification

_IS_OPEN = Q(notified_at__isnull=True, withdrawn_at__isnull=True)


class WaitlistEntries(models.QuerySet["WaitlistEntry"]):
    """Entries by what has become of them; each is in exactly one of the four."""

    def waiting(self) -> Self:
        """Keep those for whom nothing was found yet."""
        return self.filter(_IS_OPEN, found__isnull=True)

    def found(self) -> Self:
        """Keep those for whom service was found and who are still to be told."""
        return self.filter(_IS_OPEN, found__isnull=False)

    def notified(self) -> Self:
        """Keep those who were told, and did not ask to be left alone later."""
        return self.filter(notified_at__isnull=False, withdrawn_at__isnull=True)

    def withdrawn(self) -> Self:
        """Keep those who asked to be taken off the list."""
        return self.filter(withdrawn_at__isnull=False)

    def open(self) -> Self:
        """Keep those for whom there is still something to do: waiting or found."""
        return self.filter(_IS_OPEN)


class WaitlistEntry(LeasedRow):
    """Somebody who wants service, or better service, until they are told that there is.

    The row is the queue of its own work. While nothing is found, `next_attempt_at` is when the
    place is looked at again; it is never empty, so that nobody is forgotten. Once service is
    found it is when the letter is to be sent, and empty when that was given up on.
    """

    # The answer that they were not content with.
    qualification = models.ForeignKey(
        ServiceQualification, on_delete=models.PROTECT, related_name="waitlist"
    )
    name = models.CharField(max_length=200, blank=True, default="")
    email = models.EmailField()
    # The public id of the premises or, where none was found, what was asked for, in capitals.
    place_key = models.CharField(max_length=500)
    # Where the place is, as far as it is known; where coverage must come for it to be looked at.
    h3_res8 = models.CharField(max_length=15, blank=True, default="", db_index=True)
    city = models.CharField(max_length=100, blank=True, default="")
    region = models.CharField(max_length=2, blank=True, default="")
    postal_code = models.CharField(max_length=10, blank=True, default="")
    channel = models.CharField(max_length=8, choices=ServiceQualification.Channel)
    # The version of the words by which they agreed to be written to.
    consent_version = models.CharField(max_length=20)
    added_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField()
    # When a network last came to the place; an answer from before that is asked for anew.
    called_at = models.DateTimeField(null=True, blank=True)
    # The latest answer that was asked for on their behalf; one that is pending is waited for.
    latest_answer = models.ForeignKey(
        ServiceQualification, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    # The answer that found service for them, and when they were told of it.
    found = models.ForeignKey(
        ServiceQualification, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    notified_at = models.DateTimeField(null=True, blank=True)
    # They asked to be taken off the list.
    withdrawn_at = models.DateTimeField(null=True, blank=True)
    # Why the letter could not be sent, until it could.
    last_error = models.CharField(max_length=300, blank=True, default="")

    objects = WaitlistEntries.as_manager()

    class Meta:
        verbose_name_plural = "waitlist entries"
        constraints = [
            models.UniqueConstraint(
                fields=["email", "place_key"], condition=_IS_OPEN, name="waits_once_for_a_place"
            ),
            models.CheckConstraint(
                condition=Q(notified_at__isnull=True) | Q(found__isnull=False),
                name="told_of_an_answer",
            ),
            models.CheckConstraint(
                condition=~_IS_OPEN | Q(found__isnull=False) | Q(next_attempt_at__isnull=False),
                name="nobody_who_waits_is_forgotten",
            ),
            models.CheckConstraint(
                condition=_IS_OPEN | Q(next_attempt_at__isnull=True),
                name="nothing_to_do_for_a_closed_entry",
            ),
        ]
        indexes = [
            # With the key, because a network that comes makes thousands due at the same moment.
            models.Index(
                fields=["next_attempt_at", "id"], condition=_IS_OPEN, name="waitlist_next"
            ),
            models.Index(
                fields=["postal_code"],
                condition=Q(h3_res8="") & _IS_OPEN,
                name="waitlist_without_a_cell",
            ),
        ]

    def __str__(self) -> str:
        return self.email

    @property
    def state(self) -> str:
        """Name what has become of it: waiting, found, notified or withdrawn."""
        if self.withdrawn_at is not None:
            return "withdrawn"
        if self.notified_at is not None:
            return "notified"
        return "waiting" if self.found_id is None else "found"


class ReachedCell(models.Model):
    """An H3 cell in which a network reaches at least one place, or plans to; of every size.

    Worked out of the coverage when it changes, by cell and by premises and for the larger cells
    around them, because a map of a whole country cannot ask a million rows each time it is drawn.
    """

    provider = models.ForeignKey(Partner, on_delete=models.PROTECT, related_name="+")
    cell = models.CharField(max_length=15)
    is_reached = models.BooleanField()
    # The earliest day by which the network is to be built somewhere in the cell.
    planned_date = models.DateField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["cell", "provider"], name="cell_is_reached_once_by_a_network"
            ),
            models.CheckConstraint(
                condition=Q(is_reached=True) | Q(planned_date__isnull=False),
                name="cell_is_reached_or_planned",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.provider} in {self.cell}"
