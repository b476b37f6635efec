"""What stands at the subscriber's place and is configured by us: routers and modems (TR-069)."""

from django.db import models
from django.db.models import F, Q

from ispops.jobs import LeasedRow
from ispops.parties.models import User
from provisioning.models.services import Service


class EquipmentModel(models.Model):
    """A make of router or modem, and where it keeps the name and secret of its line.

    `parameters` has a line for each, `path = value`, with {username} and {password} in the value;
    the paths are those of the device's data model (TR-098, TR-181).
    """

    name = models.CharField(max_length=80, unique=True)
    parameters = models.TextField()

    def __str__(self) -> str:
        return self.name


class SubscriberEquipment(LeasedRow):
    """The router or modem of a line, by the serial number under which the ACS knows it.

    It is due while the device does not have what the line's login says.
    """

    service = models.OneToOneField(Service, on_delete=models.PROTECT, related_name="equipment")
    model = models.ForeignKey(EquipmentModel, on_delete=models.PROTECT, related_name="+")
    serial = models.CharField(max_length=64)
    noted_at = models.DateTimeField()
    noted_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")
    # Raised by whoever changes what the device should have; it has what `written_revision` says.
    revision = models.PositiveIntegerField(default=1)
    written_revision = models.PositiveIntegerField(default=0)
    written_at = models.DateTimeField(null=True, blank=True)
    last_error = models.CharField(max_length=300, blank=True, default="")

    class Meta:
        verbose_name_plural = "subscriber equipment"
        constraints = [
            models.UniqueConstraint(
                fields=["serial"], condition=~Q(serial=""), name="one_line_a_serial"
            ),
            models.CheckConstraint(
                condition=Q(written_revision__lte=F("revision")),
                name="nothing_is_configured_before_it_is_wanted",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.model} {self.serial}"
