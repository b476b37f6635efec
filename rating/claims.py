"""What people ask for and answer about purchases and charges: models of `rating.models`, in a file
of their own."""

from django.conf import settings
from django.db import models
from django.db.models import PROTECT, CheckConstraint, ForeignKey, Index, Q, UniqueConstraint

from ispops.db import PublicIdModel
from ispops.parties.models import Partner, Subscriber


class Dispute(PublicIdModel):
    """That somebody holds a charge to be wrong: the subscriber who pays it, or a partner its share.

    The charge stays as it is, and stays on the bill, until somebody answers.
    """

    PREFIX = "dsp"

    class State(models.TextChoices):
        OPEN = "open", "Waiting for our answer"
        UPHELD = "upheld", "Upheld"
        REJECTED = "rejected", "Rejected"

    charge = ForeignKey("rating.Charge", PROTECT, related_name="disputes")
    subscriber = ForeignKey(Subscriber, PROTECT, related_name="disputes")
    # None where the subscriber disputes what is to be paid.
    partner = ForeignKey(Partner, PROTECT, null=True, blank=True, related_name="disputes")
    words = models.CharField(max_length=1000)
    state = models.CharField(max_length=8, choices=State, default=State.OPEN)
    opened_at = models.DateTimeField()
    opened_by = ForeignKey(settings.AUTH_USER_MODEL, PROTECT, null=True, related_name="+")
    answer = models.CharField(max_length=300, blank=True, default="")
    answered_at = models.DateTimeField(null=True, blank=True)
    answered_by = ForeignKey(settings.AUTH_USER_MODEL, PROTECT, null=True, related_name="+")
    # What was given back to the subscriber, or put right in the partner's share.
    correction = models.OneToOneField(
        "rating.Charge", PROTECT, null=True, blank=True, related_name="upholds"
    )

    class Meta:
        permissions = [("answer_dispute", "Can answer a dispute")]
        constraints = [
            UniqueConstraint(
                fields=["charge", "partner"],
                condition=Q(state="open"),
                nulls_distinct=False,
                name="one_open_dispute_of_a_charge",
            ),
            CheckConstraint(
                condition=Q(state="open", answered_at__isnull=True, answer="")
                | ~Q(state="open") & Q(answered_at__isnull=False) & ~Q(answer=""),
                name="answered_dispute_says_when_and_why",
            ),
            CheckConstraint(
                condition=Q(state="upheld", correction__isnull=False)
                | ~Q(state="upheld") & Q(correction__isnull=True),
                name="upheld_dispute_has_a_correction",
            ),
        ]
        indexes = [Index(fields=["opened_at"], condition=Q(state="open"), name="dispute_open")]

    def __str__(self) -> str:
        return f"{self.charge} disputed by {self.partner or self.subscriber}"
