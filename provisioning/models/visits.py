"""The calendar of technicians' visits, and which order has which of them."""

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q

from ispops.db import PublicIdModel
from ispops.parties.models import User
from provisioning.models.orders import ProductOrder


class InstallSlot(PublicIdModel):
    """A span of time in which the technicians of an area make a number of visits.

    `taken` is moved by a guarded update together with the visits that are booked; the database
    sees that it is their number when the transaction ends, and never more than the capacity. A
    visit that was made keeps its place: the technician's time is gone.
    """

    PREFIX = "slt"

    # Whose places are visited: a city and its state, in capitals; see `visiting.area_of`.
    area = models.CharField(max_length=110)
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    # How many visits the technicians of the area can make in it.
    capacity = models.PositiveSmallIntegerField(
        validators=[MinValueValidator(1), MaxValueValidator(500)]
    )
    taken = models.PositiveSmallIntegerField(default=0)
    # Since when nobody is sent in it any more; what was booked before is to be moved.
    withdrawn_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["area", "starts_at", "ends_at"], name="install_slot_once"
            ),
            models.CheckConstraint(
                condition=Q(ends_at__gt=F("starts_at")), name="install_slot_takes_time"
            ),
            models.CheckConstraint(
                condition=Q(capacity__gte=1, taken__lte=F("capacity")),
                name="install_slot_not_overbooked",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.area}, {self.starts_at:%Y-%m-%d %H:%M} UTC"

    @property
    def places_left(self) -> int:
        return self.capacity - self.taken


class Appointment(PublicIdModel):
    """A visit of a technician for an order. Another time is another row. TM Forum: TMF646."""

    PREFIX = "apt"

    class State(models.TextChoices):
        BOOKED = "booked", "Booked"
        DONE = "done", "Done"
        FAILED = "failed", "In vain"
        MOVED = "moved", "Moved to another time"
        CANCELLED = "cancelled", "Cancelled"

    class Failure(models.TextChoices):
        NOBODY_HOME = "nobody_home", "Nobody was at home"
        NOT_POSSIBLE = "not_possible", "The work was not possible"

    order = models.ForeignKey(ProductOrder, on_delete=models.PROTECT, related_name="appointments")
    slot = models.ForeignKey(InstallSlot, on_delete=models.PROTECT, related_name="appointments")
    state = models.CharField(max_length=9, choices=State, default=State.BOOKED)
    booked_at = models.DateTimeField()
    # None where the step of the order took the first free one.
    booked_by = models.ForeignKey(
        User, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    closed_at = models.DateTimeField(null=True, blank=True)
    # Who said what came of it, why it was in vain, and what whoever comes next should know.
    closed_by = models.ForeignKey(
        User, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    failure = models.CharField(max_length=12, choices=Failure, blank=True, default="")
    note = models.CharField(max_length=300, blank=True, default="")

    class Meta:
        permissions = [("close_appointment", "Can say what came of a visit")]
        constraints = [
            models.UniqueConstraint(
                fields=["order"], condition=Q(state="booked"), name="one_visit_an_order"
            ),
            models.CheckConstraint(
                condition=Q(state="booked", closed_at__isnull=True)
                | ~Q(state="booked") & Q(closed_at__isnull=False),
                name="closed_visit_says_when",
            ),
            models.CheckConstraint(
                condition=~Q(state__in=["done", "failed"])
                | Q(closed_by__isnull=False) & ~Q(note=""),
                name="made_visit_says_by_whom",
            ),
            models.CheckConstraint(
                condition=Q(state="failed") & ~Q(failure="") | ~Q(state="failed") & Q(failure=""),
                name="failed_visit_says_why",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.slot} for {self.order_id}"
